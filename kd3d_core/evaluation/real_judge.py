"""Real frames as an examination: what must be found, what may be found, what is wrong.

The rule, for KITTI's and Argoverse 2's frames alike. Classes are judged in groups (on Argoverse 2
car, truck and bus are one group, "vehicle"; on KITTI each class is its own).

* To be found: labels of the group's types, within the range, with enough points in the box;
  on KITTI with the centre in the left camera's view, where alone objects are labelled.
* By falling score, a detection of the group finds the free label that is most alike and alike
  enough: BEV IoU of 0.5 or more or, beside it, centres at most 2 m apart.
* Left out of the count: other detections that match, by the same measure, a label of the group
  that need not be found (out of range, few points, outside the view) or of a neighbouring type (a
  Van for a car, as KITTI does); whose centre is outside the range or the view; and on KITTI those
  of whose image box half or more lies in a region marked DontCare (KITTI's rule).
* Every other detection is false: also one on an object that nobody labelled, a second one on a
  label, and on KITTI a car on a Truck, a Tram or Misc.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.matching import FALSE_POSITIVE
from kd3d_core.evaluation.matching import IGNORED
from kd3d_core.evaluation.matching import TRUE_POSITIVE
from kd3d_core.evaluation.matching import match
from kd3d_core.evaluation.matching import similarity
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

#: How alike a detection and a label must be, in the terms of `matching.similarity`.
CRITERIA = {"bev_iou": 0.5, "center_distance": -2.0}


@dataclass(frozen=True)
class Group:
    """Classes that are judged as one.

    Attributes:
        classes: Detections of these names belong to the group.
        types: Labels of these types, in the data set's words, are to be found.
        neighbours: Labels of these may be found.
    """

    classes: tuple[str, ...]
    types: tuple[str, ...]
    neighbours: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Target:
    """The labels of one group in one frame.

    Attributes:
        boxes: M labels, to be found or not, in the cloud's frame.
        wanted: (M,) bool: to be found.
    """

    boxes: Boxes3D
    wanted: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RealFrame:
    """One frame of the examination.

    Attributes:
        name: Within its data set.
        frame: The cloud, its sensor and how high that is mounted.
        groups, targets: By name of the group.
        may_be_wrong: Tells of N detections which count when they match nothing, (N,) bool.
    """

    name: str
    frame: Frame
    groups: Mapping[str, Group]
    targets: Mapping[str, Target]
    may_be_wrong: Callable[[Boxes3D], NDArray[np.bool_]]


@dataclass(frozen=True)
class Tally:
    """Counts of one group: labels to be found, of them found, false and left-out detections."""

    wanted: int = 0
    found: int = 0
    false: int = 0
    ignored: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.wanted + other.wanted,
            self.found + other.found,
            self.false + other.false,
            self.ignored + other.ignored,
        )

    @property
    def recall(self) -> float | None:
        """Share of what was to be found; None where there was nothing."""
        return self.found / self.wanted if self.wanted else None

    @property
    def precision(self) -> float | None:
        """Share of the detections that count that are right; None without any."""
        counted = self.found + self.false
        return self.found / counted if counted else None


@dataclass(frozen=True, eq=False)
class Verdict:
    """What became of the detections of one group in one frame.

    Attributes:
        tally: The counts.
        boxes: The detections that were right or false.
        truth: The labels that were to be found.
        missed: (K,) bool, of `truth`.
    """

    tally: Tally
    boxes: Boxes3D
    truth: Boxes3D
    missed: NDArray[np.bool_]


def judge(real: RealFrame, pred: Boxes3D, group: str, criterion: str = "bev_iou") -> Verdict:
    """Apply the rule to the detections of one group.

    Args:
        real: The frame.
        pred: Detections of all classes in the cloud's frame, at the scores that are to be judged.
        group: One of `real.groups`.
        criterion: "bev_iou" or "center_distance".
    """
    target, classes = real.targets[group], real.groups[group].classes
    pred = pred[np.array([name in classes for name in pred.names], bool)]
    pred = pred[np.argsort(-pred.score, kind="stable")]
    alike = similarity(pred, target.boxes, criterion)
    outcome, index = match(alike, CRITERIA[criterion], target.wanted, real.may_be_wrong(pred))
    missed = target.wanted.copy()
    missed[index[outcome == TRUE_POSITIVE]] = False
    counts = {kind: int((outcome == kind).sum()) for kind in (TRUE_POSITIVE, FALSE_POSITIVE)}
    return Verdict(
        tally=Tally(
            wanted=int(target.wanted.sum()),
            found=counts[TRUE_POSITIVE],
            false=counts[FALSE_POSITIVE],
            ignored=int((outcome == IGNORED).sum()),
        ),
        boxes=pred[outcome != IGNORED],
        truth=target.boxes[target.wanted],
        missed=missed[target.wanted],
    )


#: Counts by group and criterion.
Counts = dict[str, dict[str, Tally]]


def examine(
    predict: Callable[[RealFrame], Boxes3D],
    frames: Iterable[RealFrame],
    also: Callable[[RealFrame, Boxes3D], None] | None = None,
) -> dict[str, Counts]:
    """Judge a detector on all frames of one data set.

    Args:
        predict: Gives the boxes of a frame, in the cloud's frame, at its own score threshold.
        frames: Of `kitti_frames` or `argoverse2_frames`.
        also: Is called with each frame and its boxes.

    Returns:
        The counts of each frame by its name, and their sums as "total".
    """
    told: dict[str, Counts] = {"total": {}}
    for real in frames:
        boxes = predict(real)
        if also is not None:
            also(real, boxes)
        told[real.name] = {
            group: {by: judge(real, boxes, group, by).tally for by in CRITERIA}
            for group in real.groups
        }
        for group, counts in told[real.name].items():
            sums = told["total"].get(group, dict.fromkeys(CRITERIA, Tally()))
            told["total"][group] = {by: sums[by] + counts[by] for by in CRITERIA}
    return told


def plain(told: Mapping[str, Counts]) -> dict[str, Any]:
    """What `examine` gives, for JSON: counts with recall and precision, None where undefined."""
    return {
        frame: {
            group: {
                by: asdict(tally) | {"recall": tally.recall, "precision": tally.precision}
                for by, tally in tallies.items()
            }
            for group, tallies in counts.items()
        }
        for frame, counts in told.items()
    }


def at_trained_height(
    detect: Callable[[PointCloud], Boxes3D], trained: float | None
) -> Callable[[RealFrame], Boxes3D]:
    """A detector that does not level clouds itself, given clouds as high as it was trained.

    Args:
        detect: Gives the boxes of a cloud.
        trained: Mean height of the training sensors above the ground [m]; None: clouds are given
            as they are, as is one whose sensor's height is not known.

    Returns:
        The detector of frames; its boxes are in the frame of the cloud as it came.
    """

    def predict(real: RealFrame) -> Boxes3D:
        height, cloud = real.frame.sensor_height, real.frame.cloud
        if trained is None or height is None:
            return detect(cloud)
        shift = np.eye(4)
        shift[2, 3] = height - trained
        return detect(cloud.transformed(shift)).transformed(np.linalg.inv(shift))

    return predict
