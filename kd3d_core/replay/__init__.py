"""Recorded bags through detectors: replay, comparison with a teacher, reports."""
