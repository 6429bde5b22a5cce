"""Frames and where they come from. Every reader converts into the one convention at its door."""
