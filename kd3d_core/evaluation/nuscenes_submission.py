"""The nuScenes metrics of a data set: of a submission file, or of a detector's boxes.

Everything is compared in float64 in the world frame, as the official evaluation does.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.nuscenes import NuScenesDataset
from kd3d_core.datasets.nuscenes import NuScenesLabels
from kd3d_core.datasets.nuscenes_classes import NUSCENES_CLASSES
from kd3d_core.datasets.nuscenes_classes import OFFICIAL_NAMES
from kd3d_core.datasets.nuscenes_classes import VERSION_OF_SPLIT
from kd3d_core.datasets.nuscenes_classes import guess_attributes
from kd3d_core.datasets.nuscenes_classes import official_name
from kd3d_core.datasets.nuscenes_frames import yaws
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.nuscenes import NuScenesAccumulator
from kd3d_core.evaluation.nuscenes_boxes import LevelBoxes
from kd3d_core.evaluation.nuscenes_boxes import level_boxes
from kd3d_core.evaluation.nuscenes_config import NuScenesEvalConfig
from kd3d_core.evaluation.nuscenes_result import NuScenesResult
from kd3d_core.geometry.boxes import Boxes3D


class NuScenesScorer:
    """Takes the detections of a data set's frames one by one, as a detector makes them."""

    def __init__(self, dataset: NuScenesDataset, config: NuScenesEvalConfig | None = None) -> None:
        """Start with no frames.

        Args:
            dataset: With ground truth; its classes are the ones that are reported.
            config: What counts; the official protocol when None.
        """
        self.dataset = dataset
        self._accumulator = NuScenesAccumulator(dataset.classes, config)

    def add(self, index: int, pred: Boxes3D, attributes: Sequence[str] | None = None) -> None:
        """Account for the detections of a frame.

        Args:
            index: The frame.
            pred: Its boxes in the frame's sensor frame; classes that the data set lacks are left
                out.
            attributes: One name a box, "" for none; None guesses them from class and speed, as
                `write_submission` does.
        """
        pose = self.dataset.pose(index)
        if attributes is None:
            names = [OFFICIAL_NAMES.get(name, name) for name in pred.names]
            attributes = guess_attributes(names, pred.velocity)
        # A detector of cyclists is judged by the bicycles of the official classes.
        known = self.dataset.classes
        names = [n if n in known else OFFICIAL_NAMES.get(n, n) for n in pred.classes]
        pred = replace(pred, classes=tuple(names))
        boxes, _ = level_boxes(pred, self.dataset.classes, attributes, pose)
        self.add_level(index, boxes)

    def add_level(self, index: int, pred: LevelBoxes) -> None:
        """Account for the detections of a frame, given in the world."""
        labels = self.dataset.labels(index)
        known = labels.known
        self._accumulator.add_level(
            pred,
            _level(labels, known),
            num_points=(labels.lidar_points + labels.radar_points)[known],
            ego=self.dataset.ego(index),
            racks=_level(labels, labels.racks) if labels.racks.any() else None,
        )

    def result(self) -> NuScenesResult:
        """Metrics over all frames so far."""
        return self._accumulator.result()


def evaluate_submission(
    dataset: NuScenesDataset, path: Path | str, config: NuScenesEvalConfig | None = None
) -> NuScenesResult:
    """The official metrics of a submission file, in place of nuscenes-devkit's `DetectionEval`.

    Args:
        dataset: The split that the file answers; made with the ten official classes and as few
            sweeps as one likes: no points are read.
        path: The JSON file.
        config: What counts; the official protocol when None.

    Raises:
        Kd3dError: The file cannot be read, lacks samples of the data set or has others, has too
            many boxes of one, or a box that is malformed.
    """
    scorer = NuScenesScorer(dataset, config)
    results = read_submission(path)
    row_of = {token: i for i, token in enumerate(dataset.tokens)}
    missing = [token for token in row_of if token not in results]
    strange = [token for token in results if token not in row_of]
    for tokens, problem in ((missing, "lacks"), (strange, "has other samples than")):
        if tokens:
            raise Kd3dError(
                f"{path} {problem} the split {dataset.split or 'of all scenes'} of "
                f"{dataset.root / dataset.version}: {len(tokens)} sample(s), for example "
                f"{tokens[0]}. Evaluate the split that the detections were made for."
            )
    limit = (config or NuScenesEvalConfig()).max_boxes
    for token, boxes in results.items():
        if len(boxes) > limit:
            raise Kd3dError(f"{path}: sample {token} has {len(boxes)} boxes, more than {limit}.")
    every = _submitted(list(chain.from_iterable(results.values())), dataset.classes, str(path))
    ends = np.cumsum([len(boxes) for boxes in results.values()]).tolist()
    ranges = {
        row_of[token]: slice(end - len(results[token]), end)
        for token, end in zip(results, ends, strict=True)
    }
    # Between equal scores the order decides: officially that of the file for an official split,
    # that of the table for one of the data set's own.
    official = dataset.split is None or dataset.split in VERSION_OF_SPLIT
    for index in ranges if official else dataset.table_order.tolist():
        part = every[ranges[index]]
        scorer.add_level(index, part[part.label >= 0])
    return scorer.result()


def read_submission(path: Path | str) -> dict[str, list[dict[str, Any]]]:
    """The boxes of each sample of a submission file, as they stand there.

    Raises:
        Kd3dError: The file cannot be read or is no submission.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Kd3dError(f"cannot read the submission {path}: {error}.") from error
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise Kd3dError(
            f"{path} is no nuScenes submission: it must hold 'results', a list of boxes a sample."
        )
    return results


def _submitted(boxes: list[dict[str, Any]], classes: Sequence[str], where: str) -> LevelBoxes:
    """All boxes of a submission; label -1 where a class is not among `classes`."""
    order = {official_name(name): i for i, name in enumerate(classes)}
    known = set(NUSCENES_CLASSES)
    try:
        strange = {box["detection_name"] for box in boxes} - known
        if strange:
            raise Kd3dError(f"{where}: nuScenes has no class {sorted(strange)[0]!r}.")
        rotation = _column(boxes, "rotation", 4)
        result = LevelBoxes(
            center=_column(boxes, "translation", 3),
            size=_column(boxes, "size", 3)[:, [1, 0, 2]],
            yaw=yaws(rotation),
            velocity=_column(boxes, "velocity", 2),
            score=np.array([box["detection_score"] for box in boxes], np.float64),
            label=np.array([order.get(box["detection_name"], -1) for box in boxes], np.int64),
            attribute=np.array([box["attribute_name"] for box in boxes], np.str_),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Kd3dError(f"{where}: a box is malformed or lacks a field: {error}.") from error
    for name in ("center", "size", "yaw", "score"):
        if not np.isfinite(getattr(result, name)).all():
            raise Kd3dError(f"{where}: {name} of a box is not finite; only velocity may be NaN.")
    if (result.size <= 0).any():
        raise Kd3dError(f"{where}: the size of a box is not positive.")
    return result


def _column(boxes: list[dict[str, Any]], name: str, width: int) -> NDArray[np.float64]:
    """(N, width) of a field of N boxes."""
    return np.array([box[name] for box in boxes], np.float64).reshape(len(boxes), width)


def _level(labels: NuScenesLabels, chosen: NDArray[np.bool_]) -> LevelBoxes:
    """Some of the annotations of a sample."""
    return LevelBoxes(
        center=labels.center[chosen],
        size=labels.size[chosen],
        yaw=labels.yaw[chosen],
        velocity=labels.velocity[chosen],
        score=np.ones(int(chosen.sum())),
        label=labels.label[chosen],
        attribute=labels.attributes[chosen],
    )
