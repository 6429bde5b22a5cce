"""Matching and metrics."""
