"""The detector node: clouds in, boxes out."""
