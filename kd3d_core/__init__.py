"""kd3d: distilled 3D detection from LiDAR, from simulation to the robot. Free of ROS."""

__version__ = "0.1.0"
