"""Encoders, backbone, neck, head and losses of the detectors; torch."""
