"""Does the graph say the same as the network it was made from?"""

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kd3d_core.codec.decode import per_class
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.layout import decode_outputs
from kd3d_core.config import Config
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import collate
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.base import Backend
from kd3d_core.runtime.levelling import level_cloud
from kd3d_core.runtime.manifest import Manifest


class ParityConfig(Config):
    """How far the graph may be from the network. Rounding alone stays ten times below this."""

    map_difference: float = 5e-4
    """Largest difference of any value of any map (logits, metres, ...), as a share of 1 + the
    largest absolute value of that map: sums of large logits are rounded more coarsely."""
    box_distance: float = 0.01
    """Largest distance of the centres of corresponding boxes [m]."""
    score_difference: float = 1e-3
    """Largest difference of their scores; also how close to its threshold a box may come or go."""


_DEFAULTS = ParityConfig()


@dataclass(frozen=True)
class ParityResult:
    """The largest differences over all frames.

    Attributes:
        frames: How many clouds were compared.
        maps: Largest difference by map, as a share of 1 + its largest absolute value.
        boxes: Boxes of the network.
        unmatched: Boxes that one has and the other has not, other than at the threshold.
        box_distance: Largest distance of the centres of corresponding boxes [m].
        score_difference: Largest difference of their scores.
    """

    frames: int
    maps: dict[str, float]
    boxes: int
    unmatched: int
    box_distance: float
    score_difference: float

    def describe(self) -> str:
        """The figures in one line."""
        maps = ", ".join(f"{name} {value:.1e}" for name, value in self.maps.items())
        return (
            f"{self.frames} frame(s); largest difference of the maps: {maps}; {self.boxes} boxes, "
            f"{self.unmatched} unmatched, centres within {self.box_distance:.1e} m, "
            f"scores within {self.score_difference:.1e}"
        )


def compare(
    detector: CenterPointDetector,
    backend: Backend,
    manifest: Manifest,
    clouds: Iterable[PointCloud],
    config: ParityConfig = _DEFAULTS,
) -> ParityResult:
    """Run both on clouds.

    Args:
        detector: The network, in evaluation mode.
        backend: Runs the graph.
        manifest: Grid, input and decoding.
        clouds: At least one that has points in the grid.
        config: Tolerance for boxes at their threshold.

    Raises:
        Kd3dError: No cloud has a point in the grid.
    """
    maps = dict.fromkeys(manifest.outputs, 0.0)
    frames = boxes = unmatched = 0
    distance = score = 0.0
    for cloud in clouds:
        cloud = level_cloud(cloud, manifest)
        fed = encode(cloud.points, manifest.grid, manifest.input, cloud.time)
        if fed.points_in_range == 0:
            continue
        with torch.inference_mode():
            output = detector.eval()(collate([fed])).outputs
        wanted = [tensor[0].float().numpy() for tensor in output.as_tuple()]
        arrays = {n: a[None] if n == "image" else a for n, a in fed.arrays.items()}
        found = [array[0] for array in backend.run(arrays)]
        for name, mine, theirs in zip(maps, wanted, found, strict=True):
            maps[name] = max(maps[name], _difference(mine, theirs))
        pair = [_decoded(each, manifest) for each in (wanted, found)]
        lost, far, off = compare_boxes(pair[0], pair[1], manifest, config)
        frames, boxes, unmatched = frames + 1, boxes + len(pair[0]), unmatched + lost
        distance, score = max(distance, far), max(score, off)
    if frames == 0:
        raise Kd3dError("parity: no cloud has a point inside the model's grid; give others.")
    return ParityResult(frames, maps, boxes, unmatched, distance, score)


def require_parity(result: ParityResult, config: ParityConfig = _DEFAULTS) -> None:
    """Refuse a graph that is beyond tolerance.

    Raises:
        Kd3dError: With the figures.
    """
    worst = max(result.maps.values())
    # `not <=` also refuses NaN.
    if (
        not worst <= config.map_difference
        or result.unmatched
        or not result.box_distance <= config.box_distance
        or not result.score_difference <= config.score_difference
    ):
        raise Kd3dError(
            f"the exported graph differs from the network; nothing was written. Tolerance: maps "
            f"{config.map_difference:g}, centres {config.box_distance:g} m, scores "
            f"{config.score_difference:g}. Found: {result.describe()}."
        )


def _difference(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Of a map, as in `ParityResult`; infinite where the shapes differ, NaN where a value is."""
    if wanted.shape != found.shape:
        return float("inf")
    return float(np.abs(wanted - found).max() / (1 + np.abs(wanted).max()))


def _decoded(maps: Sequence[NDArray[np.float32]], manifest: Manifest) -> Boxes3D:
    """Maps (C, H, W) of one cloud to boxes."""
    return decode_outputs(
        maps,
        manifest.head,
        manifest.grid,
        manifest.output_stride,
        manifest.classes,
        manifest.decode,
    )


def compare_boxes(
    wanted: Boxes3D, found: Boxes3D, manifest: Manifest, config: ParityConfig
) -> tuple[int, float, float]:
    """Pair each box with the nearest of its class.

    Returns:
        Boxes without a partner, largest distance [m] and largest score difference of the pairs.
    """
    distance = score = 0.0
    unmatched = 0
    taken = np.zeros(len(found), bool)
    for i in range(len(wanted)):
        candidates = np.flatnonzero((found.label == wanted.label[i]) & ~taken)
        gaps = np.linalg.norm(found.center[candidates] - wanted.center[i], axis=1)
        if not len(gaps) or gaps.min() > 0.5:
            unmatched += not _at_threshold(wanted, i, manifest, config)
            continue
        j = candidates[gaps.argmin()]
        taken[j] = True
        distance = max(distance, float(gaps.min()))
        score = max(score, abs(float(found.score[j]) - float(wanted.score[i])))
    unmatched += sum(
        not _at_threshold(found, int(j), manifest, config) for j in np.flatnonzero(~taken)
    )
    return unmatched, distance, score


def _at_threshold(boxes: Boxes3D, index: int, manifest: Manifest, config: ParityConfig) -> bool:
    """Whether rounding may have decided about this box: it is the least sure one allowed."""
    decode = manifest.decode
    thresholds = per_class(decode.score_threshold, manifest.classes, "score_threshold")
    threshold = float(thresholds[boxes.label[index]])
    return abs(float(boxes.score[index]) - threshold) <= config.score_difference
