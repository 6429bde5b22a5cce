"""Detectors of the handmade network for the tests of replay."""

import handmade_bundle
import pytest

from kd3d_core.runtime.detector import Detector


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The bundle's file; its own threshold of 0.3 reports sure and doubtful cars."""
    return handmade_bundle.write(tmp_path_factory.mktemp("model") / "handmade.kd3d")


@pytest.fixture(scope="session")
def detector(model):
    return Detector.load(model, "onnxruntime", 1)


@pytest.fixture(scope="session")
def weak(detector):
    """Reports sure cars only."""
    return detector.with_decode(score_threshold=0.9)
