"""Boxes, rigid transforms, overlap and suppression. NumPy (and numba); imports no other room.

The one convention of the whole project: x forward, y left, z up, metres, seconds. Yaw is
counter-clockwise from +x, in (-pi, pi]. A box is its geometric centre, its size (length along
the heading, width, height), its yaw and its velocity in the same frame.
"""
