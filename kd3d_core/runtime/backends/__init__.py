"""What runs a graph. One file a library, imported when it is chosen."""
