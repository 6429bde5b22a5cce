"""`kd3d_core compile`: what each precision costs and what it loses, on the CPU at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np

from kd3d_core.cli.compile_material import Material
from kd3d_core.codec.decode import per_class
from kd3d_core.evaluation.ap import ApAccumulator
from kd3d_core.evaluation.ap import EvalResult
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.evaluation.pairing import AgreementConfig
from kd3d_core.evaluation.pairing import pair_boxes
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.backends.onnxruntime import OnnxRuntimeBackend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.detector import Detector

#: A precision that loses more mean AP than this against fp32 is warned of.
TOLERATED_LOSS = 0.01
#: Without labels: the least share of boxes that a precision has in common with fp32.
TOLERATED_AGREEMENT = 0.98
#: With fewer frames an AP of a class may be off by more than what is warned of.
ENOUGH_FRAMES = 50
#: Average precision wants weak detections too.
_WEAK = 0.05


@dataclass
class Quality:
    """What a precision finds.

    Attributes:
        result: Average precision, where there are labels.
        kept: Boxes that fp32 and it have in common, at the bundle's own thresholds.
        lost: Boxes that fp32 alone has.
        new: Boxes that it alone has.
        score_gap: Largest difference of the scores of common boxes.
    """

    accumulator: ApAccumulator
    labelled: bool
    kept: int = 0
    lost: int = 0
    new: int = 0
    score_gap: float = 0.0
    _result: list[EvalResult] = field(default_factory=list)

    @property
    def result(self) -> EvalResult | None:
        """Average precision, or None without labels."""
        if self.labelled and not self._result:
            self._result.append(self.accumulator.result())
        return self._result[0] if self.labelled else None

    @property
    def mean_ap(self) -> float | None:
        """Mean average precision, or None without labels."""
        return None if self.result is None else self.result.mean_ap()

    @property
    def agreement(self) -> float:
        """Share of boxes in common with fp32, both ways: 2 kept / (2 kept + lost + new)."""
        boxes = 2 * self.kept + self.lost + self.new
        return 2 * self.kept / boxes if boxes else 1.0

    def compare(self, wanted: Boxes3D, found: Boxes3D) -> None:
        """Count what became of the boxes of fp32 in one cloud."""
        # Distances beyond the usual rings count as well.
        pairing = pair_boxes(found, wanted, AgreementConfig(rings=(0.0, 1e4)))
        self.kept += len(pairing.student)
        self.lost += len(pairing.missed)
        self.new += len(pairing.extra)
        gaps = np.abs(found.score[pairing.student] - wanted.score[pairing.reference])
        self.score_gap = max(self.score_gap, float(gaps.max(initial=0.0)))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        by_class = {}
        if self.result is not None:
            by_class = {name: self.result.ap(name) for name in self.accumulator.classes}
        return {
            "mean_ap": self.mean_ap,
            "ap": by_class,
            "agreement_with_fp32": self.agreement,
            "boxes": {"kept": self.kept, "lost": self.lost, "new": self.new},
            "largest_score_difference": self.score_gap,
        }


def judge(
    bundles: dict[str, Bundle],
    material: Material,
    report: Callable[[], None] = lambda: None,
    *,
    plain: bool = False,
) -> dict[str, Quality]:
    """Run precisions on the same clouds.

    Args:
        bundles: By precision; "fp32" among them, against which the others are compared.
        material: What to run on.
        report: Called after each cloud.
        plain: Run graphs as they stand, for another device: int8 arithmetic of CPUs rounds and
            saturates in ways of its own.

    Returns:
        What each finds, on the backend that `auto` takes for it unless `plain`.
    """
    manifest = bundles["fp32"].manifest
    found = {
        name: Quality(ApAccumulator(manifest.classes, EvalConfig()), material.labelled)
        for name in bundles
    }
    detectors = {
        name: Detector(
            bundle,
            OnnxRuntimeBackend(bundle.onnx, None, "f32", plain=True)
            if plain
            else make_backend("auto", bundle.onnx),
        ).with_decode(score_threshold=_WEAK)
        for name, bundle in bundles.items()
    }
    least = per_class(manifest.decode.score_threshold, manifest.classes, "score_threshold")
    for frame, in_view in material.judged():
        usual: dict[str, Boxes3D] = {}
        for name, detector in detectors.items():
            weak = detector(frame.cloud).boxes
            if frame.boxes is not None:
                found[name].accumulator.add(in_view(weak), frame.boxes, frame.num_points)
            # Weak boxes suppress no stronger ones, so these are those of the usual thresholds.
            usual[name] = weak[weak.score >= least[weak.label]]
        for name, boxes in usual.items():
            found[name].compare(usual["fp32"], boxes)
        report()
    return found


def warnings(found: dict[str, Quality]) -> dict[str, str]:
    """Sentences about precisions that lose more than is tolerated, by precision."""
    base = found["fp32"]
    told = {}
    for name, quality in found.items():
        loss = None if base.mean_ap is None else base.mean_ap - (quality.mean_ap or 0.0)
        if loss is None and quality.agreement < TOLERATED_AGREEMENT:
            told[name] = (
                f"{name} has {100 * quality.agreement:.1f} % of its boxes in common with fp32, "
                f"less than {100 * TOLERATED_AGREEMENT:g} %: give --data with labels to see what "
                "that costs before a robot runs it."
            )
        elif loss is not None and loss > TOLERATED_LOSS:
            told[name] = (
                f"{name} loses {loss:.3f} mean AP against fp32 ({quality.mean_ap or 0.0:.3f} of "
                f"{base.mean_ap:.3f}; most: {_worst(base, quality)}), more than {TOLERATED_LOSS}: "
                "do not fly on it without knowing why."
            )
    return told


def _worst(base: Quality, quality: Quality) -> str:
    """The class that loses most, with its figures."""
    assert base.result is not None
    assert quality.result is not None
    losses = {}
    for name in base.accumulator.classes:
        before, after = base.result.ap(name), quality.result.ap(name)
        if before is not None and after is not None:
            losses[name] = (before - after, before, after)
    name, (_, before, after) = max(losses.items(), key=lambda item: item[1][0])
    return f"{name}, {after:.3f} of {before:.3f}"
