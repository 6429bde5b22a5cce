"""Score thresholds for a bundle, from labelled frames; shared by verbs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import per_class
from kd3d_core.evaluation.ap import EvalResult
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.evaluation.score import score
from kd3d_core.evaluation.score import spread
from kd3d_core.frame import FrameDataset
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.manifest import SensorHeightRecord

#: Below this score no threshold is looked for.
_LOWEST = 0.05
#: Classes with fewer labelled boxes keep the threshold they have: the best of few is chance.
_FEWEST = 20


@dataclass(frozen=True)
class Calibration:
    """Thresholds and what they rest on.

    Attributes:
        decode: The bundle's settings with one threshold a class.
        result: Metrics on the frames.
    """

    decode: DecodeConfig
    result: EvalResult

    def metrics(self) -> dict[str, float]:
        """AP and best F1 by class, for the manifest."""
        found: dict[str, float | None] = {"AP/mean": self.result.mean_ap()}
        for name, entry in self.result.metrics["all"].items():
            found |= {f"AP/{name}": entry.ap, f"F1/{name}": entry.best_f1}
        return {name: round(value, 4) for name, value in found.items() if value is not None}


def calibrate(
    bundle: Bundle, dataset: FrameDataset, limit: int, console: Console | None = None
) -> Calibration:
    """Find the threshold with the best F1 for each class.

    Args:
        bundle: Read or not yet written.
        dataset: Labelled frames that the network was not trained on.
        limit: At most this many of them, spread evenly.
        console: Where the progress bar goes; none without it.

    Raises:
        Kd3dError: The frames have no labels.
    """
    classes = bundle.manifest.classes
    detector = Detector(bundle, make_backend("auto", bundle.onnx))
    detector = detector.with_decode(score_threshold=_LOWEST)
    result = score(
        lambda frame: detector(frame.cloud).boxes,
        dataset,
        EvalConfig(),
        classes=classes,
        frames=limit,
        console=console,
    )
    old = per_class(bundle.manifest.decode.score_threshold, classes, "score_threshold")
    thresholds = {}
    for name, threshold in zip(classes, old, strict=True):
        entry = result.metrics["all"][name]
        enough = entry.truths >= _FEWEST and entry.best_threshold is not None
        best = float(entry.best_threshold or 0.0) if enough else float(threshold)
        # Rounded down: the box that set the threshold must stay above it.
        thresholds[name] = float(np.floor(best * 1000) / 1000)
    decode = bundle.manifest.decode.model_copy(update={"score_threshold": thresholds})
    return Calibration(decode, result)


def sensor_height(dataset: FrameDataset, limit: int = 100) -> SensorHeightRecord | None:
    """Mean and range [m] over frames spread evenly, or None where they do not say."""
    frames = (dataset[number] for number in spread(len(dataset), limit))
    heights = [frame.sensor_height for frame in frames if frame.sensor_height is not None]
    if not heights:
        return None
    mean, low, high = (round(float(f(heights)), 3) for f in (np.mean, np.min, np.max))
    return SensorHeightRecord(mean=mean, low=low, high=high)


def training_folder(data: dict[str, object]) -> Path | None:
    """The folder that a checkpoint says it was trained on, if it is still there."""
    path = Path(str(data.get("train", "")))
    return path if data.get("train") and path.is_dir() else None
