"""What KITTI's metric keeps of each frame: who counts at which difficulty, and all overlaps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.kitti_calibration import Calibration
from kd3d_core.datasets.kitti_calibration import image_boxes
from kd3d_core.datasets.kitti_calibration import to_camera
from kd3d_core.datasets.kitti_labels import TYPE_OF_CLASS
from kd3d_core.datasets.kitti_labels import KittiLabels
from kd3d_core.evaluation.kitti_kernel import COUNTED
from kd3d_core.evaluation.kitti_kernel import FOREIGN
from kd3d_core.evaluation.kitti_kernel import IGNORED
from kd3d_core.evaluation.kitti_kernel import Pairs
from kd3d_core.evaluation.kitti_kernel import camera_overlaps
from kd3d_core.geometry.boxes import Boxes3D

#: Least height in the image [px], largest occlusion and truncation of easy, moderate and hard.
DIFFICULTIES = {"easy": (40.0, 0, 0.15), "moderate": (25.0, 1, 0.3), "hard": (25.0, 2, 0.5)}
#: Types so like a class that finding them is neither right nor wrong.
NEIGHBOUR = {"Car": "Van", "Pedestrian": "Person_sitting"}
METRICS = ("bev", "3d")


@dataclass(frozen=True, eq=False)
class ClassFrame:
    """One frame as one class sees it: G ground truths, D detections, P pairs that overlap.

    Attributes:
        truth_kind: (3, G) int8, COUNTED or IGNORED at each difficulty.
        pred_kind: (3, D) int8, COUNTED, IGNORED or FOREIGN.
        score: (D,) float64.
        excuse: (D,) float64, the largest share of the image box inside a DontCare region.
        pair_truth: (P,) int64, rising.
        pair_pred: (P,) int64, rising within a ground truth.
        overlap: (2, P) float64, in the order of `METRICS`.
    """

    truth_kind: NDArray[np.int8]
    pred_kind: NDArray[np.int8]
    score: NDArray[np.float64]
    excuse: NDArray[np.float64]
    pair_truth: NDArray[np.int64]
    pair_pred: NDArray[np.int64]
    overlap: NDArray[np.float64]


def split_frame(
    pred: Boxes3D,
    labels: KittiLabels,
    calibration: Calibration,
    image_size: tuple[int, int],
    types: Sequence[str],
) -> dict[str, ClassFrame]:
    """One frame as each class sees it; detections that the camera does not see are left out.

    Args:
        pred: Detections in the LiDAR frame.
        labels: Of the frame.
        calibration: Of the frame.
        image_size: Width and height of the image [px].
        types: KITTI's names of the classes.
    """
    camera = to_camera(pred, calibration)
    pixels, _ = image_boxes(camera, calibration.projection, image_size)
    seen = (pixels[:, 2:] > pixels[:, :2]).all(axis=1)
    pred_types = np.array([TYPE_OF_CLASS.get(name, "Misc") for name in pred.names], object)[seen]
    camera, pixels, score = camera[seen], pixels[seen], pred.score[seen].astype(np.float64)
    excuse = _inside(pixels, labels.dont_care)
    truth_types = np.array(labels.types, object)
    frames = {}
    for name in types:
        truth_kind = _truth_kind(truth_types, labels, name)
        pred_kind = _pred_kind(pred_types, pixels[:, 3] - pixels[:, 1], name)
        of_truth = np.flatnonzero((truth_kind != FOREIGN).any(axis=0))
        of_pred = np.flatnonzero((pred_kind != FOREIGN).any(axis=0))
        overlap = np.stack(camera_overlaps(labels.camera_boxes[of_truth], camera[of_pred]))
        pair_truth, pair_pred = np.nonzero(overlap[0])
        frames[name] = ClassFrame(
            truth_kind[:, of_truth],
            pred_kind[:, of_pred],
            score[of_pred],
            excuse[of_pred],
            pair_truth,
            pair_pred,
            overlap[:, pair_truth, pair_pred],
        )
    return frames


def _truth_kind(types: NDArray[np.object_], labels: KittiLabels, name: str) -> NDArray[np.int8]:
    """(3, N) int8: what each label is to a class at each difficulty."""
    height = labels.image_boxes[:, 3] - labels.image_boxes[:, 1]
    own, near = types == name, types == NEIGHBOUR.get(name, "")
    kinds = np.full((len(DIFFICULTIES), len(types)), FOREIGN, np.int8)
    for kind, (least, occluded, truncated) in zip(kinds, DIFFICULTIES.values(), strict=True):
        hard = (labels.occluded > occluded) | (labels.truncated > truncated) | (height < least)
        kind[near | (own & hard)] = IGNORED
        kind[own & ~hard] = COUNTED
    return kinds


def _pred_kind(
    types: NDArray[np.object_], height: NDArray[np.float64], name: str
) -> NDArray[np.int8]:
    """(3, N) int8: what each detection is to a class at each difficulty.

    The development kit asks for the height before the type: a detection of another class that
    is too small is ignored and not foreign, and so may take a ground truth away.
    """
    kinds = np.full((len(DIFFICULTIES), len(types)), FOREIGN, np.int8)
    for kind, (least, _, _) in zip(kinds, DIFFICULTIES.values(), strict=True):
        kind[types == name] = COUNTED
        kind[height < least] = IGNORED
    return kinds


def _inside(pixels: NDArray[np.float64], regions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) float64: the largest share of each (N, 4) image box inside one of (M, 4) regions."""
    low = np.maximum(pixels[:, None, :2], regions[None, :, :2])
    high = np.minimum(pixels[:, None, 2:], regions[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    area = (pixels[:, 2:] - pixels[:, :2]).prod(axis=1)
    return np.asarray(shared.max(axis=1, initial=0.0) / area)


def join(
    frames: Sequence[ClassFrame], metric: str, dont_care: bool
) -> tuple[Pairs, NDArray[np.int8], NDArray[np.int8]]:
    """All frames of a class in one.

    Args:
        frames: At least one.
        metric: One of `METRICS`.
        dont_care: Whether DontCare regions excuse.

    Returns:
        The pairs, (3, G) int8 kinds of the ground truth and (3, D) int8 of the detections.
    """
    truth_start = np.cumsum([0] + [frame.truth_kind.shape[1] for frame in frames])
    pred_start = np.cumsum([0] + [frame.pred_kind.shape[1] for frame in frames])
    offsets = list(zip(frames, truth_start, pred_start, strict=False))
    pair_truth = np.concatenate([frame.pair_truth + first for frame, first, _ in offsets])
    pair_pred = np.concatenate([frame.pair_pred + first for frame, _, first in offsets])
    excuse = np.concatenate([frame.excuse for frame in frames])
    pairs = Pairs(
        pair_start=np.searchsorted(pair_truth, np.arange(truth_start[-1] + 1)).astype(np.int64),
        pair_pred=pair_pred.astype(np.int64),
        overlap=np.concatenate([frame.overlap[METRICS.index(metric)] for frame in frames]),
        score=np.concatenate([frame.score for frame in frames]),
        excuse=excuse if dont_care else np.zeros_like(excuse),
    )
    truth_kind = np.concatenate([frame.truth_kind for frame in frames], axis=1)
    return pairs, truth_kind, np.concatenate([frame.pred_kind for frame in frames], axis=1)
