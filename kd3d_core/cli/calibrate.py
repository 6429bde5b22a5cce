"""Score thresholds for a bundle, from labelled frames; shared by verbs."""

from dataclasses import dataclass

import numpy as np
from rich.console import Console

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import per_class
from kd3d_core.evaluation.ap import EvalResult
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.evaluation.score import score
from kd3d_core.frame import FrameDataset
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.detector import Detector

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
    """Find the threshold of each class: the lowest whose F1 is within 0.01 of the best.

    Sensors and streets that the frames do not show get lower scores than these, and F1 hardly
    changes about its best value, so the lowest of equally good thresholds is taken.

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
        enough = entry.truths >= _FEWEST and entry.recall_threshold is not None
        best = float(entry.recall_threshold or 0.0) if enough else float(threshold)
        # Rounded down: the box that set the threshold must stay above it.
        thresholds[name] = float(np.floor(best * 1000) / 1000)
    decode = bundle.manifest.decode.model_copy(update={"score_threshold": thresholds})
    return Calibration(decode, result)
