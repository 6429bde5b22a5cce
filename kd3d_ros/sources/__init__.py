"""Nodes that publish clouds: a simulated LiDAR, and a player of files and bags."""
