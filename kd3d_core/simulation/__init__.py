"""Procedural streets, LiDAR sensor models and drives, with exact ground truth."""
