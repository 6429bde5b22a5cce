"""Is int8 still the same detector? Boxes on clouds it was not calibrated on, against float32."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kd3d_core.codec.decode import per_class
from kd3d_core.deployment.quantise import Int8
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.pairing import AgreementConfig
from kd3d_core.evaluation.pairing import pair_boxes
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.onnxruntime import OnnxRuntimeBackend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.manifest import Manifest

#: Least share of boxes in common.
LEAST_AGREEMENT = 0.98
#: A box may come or go whose score is this close to its threshold.
_MARGIN = 0.05
#: At most this part of the convolutions is left in float32 for the sake of agreement.
_MOST_FLOAT32 = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Agreement:
    """Boxes of two arithmetics, those near their thresholds aside.

    Attributes:
        kept: Boxes that both have.
        lost: Boxes that float32 alone has.
        new: Boxes that int8 alone has.
    """

    kept: int
    lost: int
    new: int

    @property
    def share(self) -> float:
        """2 kept / (2 kept + lost + new); 1 where neither has a box."""
        boxes = 2 * self.kept + self.lost + self.new
        return 2 * self.kept / boxes if boxes else 1.0

    def describe(self) -> str:
        """The figures in words."""
        return f"{self.kept} boxes kept, {self.lost} lost, {self.new} new"


def agreement(
    bundle: Bundle, graph: bytes, clouds: Sequence[PointCloud], *, plain: bool = False
) -> Agreement:
    """Compare a graph with the bundle's own, both run by ONNX Runtime.

    Args:
        bundle: In float32.
        graph: Of the same network in another arithmetic.
        clouds: To compare on.
        plain: Run Q/DQ nodes as they stand and not by int8 kernels, which round and saturate in
            ways that are the CPU's and not another device's.
    """
    return _compare(
        _boxes(bundle, bundle.onnx, clouds), _boxes(bundle, graph, clouds, plain), bundle.manifest
    )


def guarded(bundle: Bundle, found: Int8, clouds: Sequence[PointCloud]) -> bytes:
    """The graph in int8, with as many convolutions in float32 as agreement needs.

    Those come first whose results are farthest from float32.

    Args:
        bundle: In float32.
        found: Its convolutions in int8.
        clouds: To compare on; not those of calibration.

    Raises:
        Kd3dError: Half of the convolutions in float32 are not enough.
    """
    reference = _boxes(bundle, bundle.onnx, clouds)
    worst = sorted(found.layers, key=lambda name: -found.layers[name].error)
    for count in range(int(_MOST_FLOAT32 * len(worst)) + 1):
        graph = found.serialised(worst[:count])
        boxes = _boxes(bundle, graph, clouds, plain=found.target == "tensorrt")
        result = _compare(reference, boxes, bundle.manifest)
        if result.share >= LEAST_AGREEMENT:
            if count:
                _log.warning(
                    "int8: %s stay in float32 to keep the boxes (%s)",
                    ", ".join(worst[:count]),
                    result.describe(),
                )
            return graph
    raise Kd3dError(
        f"int8 of {bundle.manifest.name} is another detector than fp32: on {len(clouds)} clouds "
        f"{result.describe()}, even with {count} of {len(worst)} convolutions in float32; at "
        f"least {100 * LEAST_AGREEMENT:g} % must be in common. Calibrate on more clouds, and on "
        "such as the robot sees, or take fp16."
    )


def _compare(
    reference: Sequence[Boxes3D], found: Sequence[Boxes3D], manifest: Manifest
) -> Agreement:
    """Boxes of a graph against those of float32, both down to the margin below thresholds."""
    least = per_class(manifest.decode.score_threshold, manifest.classes, "score_threshold")
    # Distances beyond the usual rings count as well.
    settings = AgreementConfig(rings=(0.0, 1e4))
    kept = lost = new = 0
    for wanted, boxes in zip(reference, found, strict=True):
        pairing = pair_boxes(boxes, wanted, settings)
        sure_wanted = wanted.score >= least[wanted.label]
        sure_boxes = boxes.score >= least[boxes.label]
        both = sure_boxes[pairing.student] | sure_wanted[pairing.reference]
        kept += int(both.sum())
        lost += int(sure_wanted[pairing.missed].sum())
        new += int(sure_boxes[pairing.extra].sum())
    return Agreement(kept, lost, new)


def _boxes(
    bundle: Bundle, graph: bytes, clouds: Sequence[PointCloud], plain: bool = False
) -> list[Boxes3D]:
    """Boxes of a graph down to the margin below the bundle's thresholds."""
    manifest = bundle.manifest
    least = per_class(manifest.decode.score_threshold, manifest.classes, "score_threshold")
    weak = {
        name: max(0.0, float(score) - _MARGIN)
        for name, score in zip(manifest.classes, least, strict=True)
    }
    detector = Detector(bundle, OnnxRuntimeBackend(graph, None, "f32", plain=plain))
    detector = detector.with_decode(score_threshold=weak)
    return [detector(cloud).boxes for cloud in clouds]
