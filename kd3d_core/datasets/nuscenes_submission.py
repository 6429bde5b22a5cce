"""Detections as nuScenes' submission file: JSON, boxes in the world frame."""

import json
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd3d_core.datasets.nuscenes import NuScenesDataset
from kd3d_core.datasets.nuscenes_classes import guess_attributes
from kd3d_core.datasets.nuscenes_classes import official_name
from kd3d_core.datasets.nuscenes_frames import level_turn
from kd3d_core.datasets.nuscenes_frames import turned_yaw
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.geometry.boxes import Boxes3D

#: Detections that a sample may have.
MAX_BOXES = 500
#: What the detections were made of.
META = {
    "use_camera": False,
    "use_lidar": True,
    "use_radar": False,
    "use_map": False,
    "use_external": False,
}


def write_submission(
    path: Path | str,
    dataset: NuScenesDataset,
    predictions: Iterable[tuple[int, Boxes3D]],
    attributes: Iterable[Sequence[str]] | None = None,
) -> None:
    """Write detections for the evaluation server, or for nuscenes-devkit.

    Every sample of the data set gets an entry: one without detections an empty one. Of more
    detections than a sample may have, the best are written.

    Args:
        path: The JSON file.
        dataset: Whose samples they are.
        predictions: Index of a frame and its boxes in the frame's sensor frame.
        attributes: For each of them one name a box, "" for none; None guesses them from class
            and speed.

    Raises:
        Kd3dError: A class is none of nuScenes', a frame comes twice, or the file cannot be
            written.
    """
    results: dict[str, list[dict[str, Any]]] = {token: [] for token in dataset.tokens}
    seen: set[int] = set()
    names = iter(attributes) if attributes is not None else None
    for index, boxes in predictions:
        if index in seen:
            raise Kd3dError(f"{path}: frame {index} has detections twice; give each frame once.")
        seen.add(index)
        rows = submission_boxes(dataset, index, boxes, None if names is None else next(names))
        results[dataset.tokens[index]] = rows
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        # A NaN velocity is written as NaN, which the devkit reads.
        json.dump({"meta": META, "results": results}, file)


def submission_boxes(
    dataset: NuScenesDataset, index: int, boxes: Boxes3D, attributes: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """The records of one sample; arguments as in `write_submission`.

    Raises:
        Kd3dError: A class is none of nuScenes', or the attributes are not one a box.
    """
    pose, token = dataset.pose(index), dataset.tokens[index]
    official = [official_name(name) for name in boxes.classes]
    turn = level_turn(pose)
    center = boxes.center.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    yaw = turned_yaw(turn, boxes.yaw)
    velocity = boxes.velocity.astype(np.float64) @ turn.T
    names = [official[label] for label in boxes.label]
    if attributes is None:
        attributes = guess_attributes(names, boxes.velocity)
    if len(attributes) != len(boxes):
        raise Kd3dError(
            f"frame {index} has {len(boxes)} detections but {len(attributes)} attributes."
        )
    # Of equal scores the later one ranks first, as in the metrics; the order itself is kept.
    best = np.argsort(boxes.score, kind="stable")[::-1][:MAX_BOXES]
    return [
        {
            "sample_token": token,
            "translation": center[i].tolist(),
            "size": boxes.size[i, [1, 0, 2]].tolist(),  # width, length, height
            "rotation": [float(np.cos(yaw[i] / 2)), 0.0, 0.0, float(np.sin(yaw[i] / 2))],
            "velocity": velocity[i].tolist(),
            "detection_name": names[i],
            "detection_score": float(boxes.score[i]),
            "attribute_name": attributes[i],
        }
        for i in np.sort(best).tolist()
    ]
