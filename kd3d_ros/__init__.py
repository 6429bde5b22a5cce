"""ROS 2 nodes around `kd3d_core`: thin, typed, and honest about what they drop.

The convention of the core holds here too: x forward, y left, z up, in the frame of the cloud.
Headers (stamp and frame_id) are passed on unchanged.
"""
