"""The shadow node: a teacher that watches a detector."""
