"""What a model expects of a sensor, measured on the data that it was trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kd3d_core.adaptation.intensity import quantiles
from kd3d_core.adaptation.subject import Expectation
from kd3d_core.frame import FrameDataset
from kd3d_core.runtime.manifest import Manifest
from kd3d_core.runtime.manifest import SensorHeightRecord

#: Frames of a data set that are looked at.
_SOME = 60


def expectation_of(dataset: FrameDataset) -> Expectation:
    """Intensities and mount of a data set's sensors, by frames spread evenly over it."""
    chosen = np.linspace(0, len(dataset) - 1, min(_SOME, len(dataset))).astype(int)
    frames = [dataset[int(i)] for i in chosen]
    heights = [frame.sensor_height for frame in frames if frame.sensor_height is not None]
    height = None
    if heights:
        mean, low, high = (round(float(f(heights)), 3) for f in (np.mean, np.min, np.max))
        height = SensorHeightRecord(mean=mean, low=low, high=high)
    return Expectation(quantiles(frame.cloud for frame in frames), height)


def training_folder(data: Mapping[str, Any]) -> Path | None:
    """The data set that a checkpoint says it was trained on, if it is still there."""
    path = Path(str(data.get("train", "")))
    return path if data.get("train") and path.is_dir() else None


def manifest_changes(expected: Expectation, manifest: Manifest) -> dict[str, Any]:
    """Fields of a manifest that say what a model expects."""
    intensity = manifest.intensity.model_copy(update={"quantiles": expected.quantiles})
    return {"intensity": intensity, "sensor_height_m": expected.height}
