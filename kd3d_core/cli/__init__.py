"""The `kd3d_core` command: one verb a file."""
