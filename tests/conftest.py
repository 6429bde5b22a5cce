"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real LiDAR frames; tests that need it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("KD3D_TEST_DATA", default))
    if not (path / "kitti" / "training" / "velodyne").is_dir():
        pytest.skip(
            f"no real LiDAR frames at {path}: set KD3D_TEST_DATA to a folder that has them"
        )
    return path
