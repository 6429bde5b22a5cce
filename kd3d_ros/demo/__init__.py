"""`python -m kd3d_ros.demo`: a LiDAR, the detector and a judge, on real ROS 2, in one command."""
