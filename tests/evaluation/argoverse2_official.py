"""The published evaluation of Argoverse 2 on our boxes, and frames to compare on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kd3d_core.geometry.boxes import Boxes3D

CLASSES = ("REGULAR_VEHICLE", "PEDESTRIAN", "BUS", "BOLLARD", "DOG")
METRICS = ("AP", "ATE", "ASE", "AOE", "CDS")


@dataclass
class Case:
    """Detections, ground truth and points of one frame."""

    pred: Boxes3D
    truth: Boxes3D
    num_points: np.ndarray


def random_cases(count: int, seed: int = 0) -> Iterator[Case]:
    """Frames with what trips evaluations: ties, crowds, nothing at all, empty boxes, far boxes.

    No frame has a truth of "DOG", and none has a detection of "BOLLARD".
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        kind = number % 10 if number % 100 < 30 else 6
        truths = 0 if kind == 1 else int(rng.integers(1, 15))
        truth_label = rng.integers(0, 4, truths)
        reach = 200.0 if kind == 2 else 70.0
        center = rng.uniform(-reach, reach, (truths, 3)) * (1, 1, 0.03)
        size = rng.uniform(0.5, 5.0, (truths, 3))
        yaw = rng.uniform(-np.pi, np.pi, truths)
        if truths > 1:
            yaw[0], yaw[1] = np.pi, -np.pi + 1e-6
        truth = Boxes3D.make(center, size, yaw, truth_label, classes=CLASSES)
        points = rng.integers(0, 4, truths) * rng.integers(0, 50, truths)
        found = rng.permutation(np.repeat(np.arange(truths), 2))[: int(1.2 * truths)]
        noise = rng.normal(0, 0.8, (len(found), 3))
        near = np.where(rng.random(len(found))[:, None] < 0.1, 0.0, noise)
        extra = {1: 10, 3: 0, 4: 300}.get(kind, 5)
        label = np.concatenate([truth_label[found], rng.choice([0, 1, 2, 4], extra)])
        center = np.concatenate(
            [center[found] + near, rng.uniform(-160, 160, (extra, 3)) * (1, 1, 0.03)]
        )
        count_ = len(label)
        score = rng.random(count_)
        if kind in (4, 5):  # ties, in a frame and across frames, more than sixteen at a time
            score = rng.integers(1, 4, count_) / 4
        pred = Boxes3D.make(
            center,
            np.concatenate([size[found], rng.uniform(0.5, 5, (extra, 3))])
            * rng.uniform(0.7, 1.4, (count_, 3)),
            np.concatenate([yaw[found], rng.uniform(-3, 3, extra)]) + rng.normal(0, 1, count_),
            label,
            score=score,
            classes=CLASSES,
        )
        pred = pred[pred.label != CLASSES.index("BOLLARD")]
        if kind == 3:
            pred = pred[:0]
        yield Case(pred, truth, points)


def frames_of(cases, attribute):
    """The boxes of all cases as the table that the published evaluation takes."""
    import pandas as pd

    parts = []
    for number, case in enumerate(cases):
        boxes = getattr(case, attribute)
        half = boxes.yaw.astype(np.float64) / 2
        last = {"score": boxes.score.astype(np.float64)}
        if attribute == "truth":
            last = {"num_interior_pts": case.num_points}
        columns = {
            "log_id": "log",
            "timestamp_ns": number,
            "category": boxes.names,
            **{f"t{axis}_m": boxes.center[:, i].astype(float) for i, axis in enumerate("xyz")},
            **{
                f"{name}_m": boxes.size[:, i].astype(float)
                for i, name in enumerate(("length", "width", "height"))
            },
            **{"qw": np.cos(half), "qx": 0.0, "qy": 0.0, "qz": np.sin(half)},
        }
        if len(boxes):
            parts.append(pd.DataFrame(columns | last))
    return pd.concat(parts, ignore_index=True)


def official(cases, jobs=1):
    """The published evaluation's metrics before they are rounded, by class and for the mean."""
    from av2.evaluation.detection.eval import evaluate
    from av2.evaluation.detection.eval import summarize_metrics
    from av2.evaluation.detection.utils import DetectionCfg

    config = DetectionCfg(categories=CLASSES, eval_only_roi_instances=False)
    pred, truth, rounded = evaluate(
        frames_of(cases, "pred"), frames_of(cases, "truth"), config, n_jobs=jobs
    )
    table = summarize_metrics(pred, truth, config)
    table.loc["AVERAGE_METRICS"] = table.mean()
    assert np.allclose(table.to_numpy(), rounded.to_numpy(), atol=6e-4)
    return table
