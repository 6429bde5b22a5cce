"""A bundle in, boxes out; never imports torch."""
