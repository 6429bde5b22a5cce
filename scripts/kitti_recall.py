#!/usr/bin/env python3
"""How many cars of real KITTI frames does a bundle find? Recall, precision and a picture each.

The rule:

* To be found: labels of type Car, inside the left camera's view (nothing else is labelled), with
  the centre within 40 m and at least 20 points in the box.
* Predictions: class car, at or above the score threshold (the bundle's own, unless told), centre
  inside the camera's view and within 40 m.
* By falling score, a prediction finds the free car with which it has the largest BEV IoU, if that
  is 0.5 or more.
* Of the others, those are left out of the count whose BEV IoU with any label that need not be
  found (a Van, Truck, Tram, Misc, a Car farther away or with fewer points) is 0.1 or more, and
  those whose centre lies in an image region marked DontCare. The rest are false.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from kd3d_core.codec.decode import per_class
from kd3d_core.datasets.kitti import KittiDataset
from kd3d_core.datasets.kitti import project
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.iou import bev_iou
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.detector import Detector
from kd3d_core.visualization.bev import BevStyle
from kd3d_core.visualization.bev import draw_bev


@dataclass(frozen=True)
class Rule:
    """Numbers of the rule above."""

    max_range: float = 40.0
    min_points: int = 20
    found_iou: float = 0.5
    ignored_iou: float = 0.1


@dataclass(frozen=True)
class Score:
    """Counts of one frame: cars to be found, of them found, false and ignored predictions."""

    cars: int
    found: int
    false: int
    ignored: int


def judge(
    dataset: KittiDataset, index: int, cloud: PointCloud, pred: Boxes3D, rule: Rule
) -> tuple[Score, Boxes3D, Boxes3D]:
    """Apply the rule to one frame.

    Args:
        dataset: The frames.
        index: Which frame.
        cloud: Its points.
        pred: Cars above the threshold.
        rule: The numbers.

    Returns:
        The counts, the predictions that were judged and the cars that were to be found.
    """
    labels = dataset.labels(index)
    points = labels.boxes.contains(cloud.points).sum(axis=1)
    wanted = (
        np.array([kind == "Car" for kind in labels.types], bool)
        & dataset.in_camera_view(index, labels.boxes.center)
        & (ground_range(labels.boxes) <= rule.max_range)
        & (points >= rule.min_points)
    )
    cars, others = labels.boxes[wanted], labels.boxes[~wanted]
    inside = dataset.in_camera_view(index, pred.center) & (ground_range(pred) <= rule.max_range)
    pred = pred[inside]
    pred = pred[np.argsort(-pred.score, kind="stable")]
    with_cars, with_others = bev_iou(pred.bev, cars.bev), bev_iou(pred.bev, others.bev)
    pixel, _ = project(dataset.calibration(index), pred.center)
    free = np.ones(len(cars), bool)
    found = false = ignored = 0
    for i in range(len(pred)):
        overlap = np.where(free, with_cars[i], 0.0)
        if len(cars) and overlap.max() >= rule.found_iou:
            free[overlap.argmax()] = False
            found += 1
        elif (with_others[i] >= rule.ignored_iou).any() or in_any(pixel[i], labels.dont_care):
            ignored += 1
        else:
            false += 1
    return Score(len(cars), found, false, ignored), pred, cars


def ground_range(boxes: Boxes3D) -> NDArray[np.float32]:
    """(N,) distance of the centres on the ground [m]."""
    return np.hypot(boxes.center[:, 0], boxes.center[:, 1])


def in_any(pixel: NDArray[np.float64], regions: NDArray[np.float64]) -> bool:
    """Whether (2,) column, row lies in any of (M, 4) left, top, right, bottom [px]."""
    inside = (pixel >= regions[:, :2]) & (pixel <= regions[:, 2:])
    return bool(inside.all(axis=1).any())


def cars_of(boxes: Boxes3D, threshold: float) -> Boxes3D:
    """The boxes of class car at or above a score."""
    return boxes[np.array([n == "car" for n in boxes.names], bool) & (boxes.score >= threshold)]


def reference_reader(folder: Path, dataset: KittiDataset) -> Callable[[int], Boxes3D]:
    """Predictions from text files: x y z l w h yaw class(0 Car) score, a line each."""

    def read(index: int) -> Boxes3D:
        rows = np.loadtxt(folder / f"{dataset.names[index]}.txt", ndmin=2).reshape(-1, 9)
        rows = rows[rows[:, 7] == 0]
        return Boxes3D.make(
            rows[:, :3], rows[:, 3:6], rows[:, 6], np.zeros(len(rows)), score=rows[:, 8]
        )

    return read


def main(
    kitti: Annotated[Path, typer.Argument(help="Folder with training/{velodyne,label_2,calib}.")],
    model: Annotated[Path | None, typer.Option(help="A bundle. Default: the shipped one.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for a picture of each frame.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Instead of the bundle's own.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Judge these text files instead of a bundle.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, openvino or onnxruntime.")] = "auto",
) -> None:
    """Judge a bundle on KITTI frames."""
    console = Console()
    dataset = KittiDataset(kitti)
    rule = Rule()
    if reference is None:
        detector = Detector.load(model, backend)
        name = detector.manifest.name
        if threshold is None:
            config, classes = detector.manifest.decode, detector.manifest.classes
            thresholds = per_class(config.score_threshold, classes, "score_threshold")
            threshold = float(thresholds[list(classes).index("car")])
        else:
            detector = detector.with_decode(score_threshold=threshold)
        predict: Callable[[int], Boxes3D] | None = None
    else:
        name, threshold = str(reference), 0.3 if threshold is None else threshold
        predict = reference_reader(reference, dataset)
    table = Table(title=f"{name}: cars at score >= {threshold:.2f}")
    for heading in ("frame", "cars", "found", "false", "ignored"):
        table.add_column(heading, justify="right")
    total = np.zeros(4, int)
    for index in range(len(dataset)):
        cloud = dataset[index].cloud
        boxes = predict(index) if predict else detector(cloud).boxes
        score, judged, cars = judge(dataset, index, cloud, cars_of(boxes, threshold), rule)
        row = (score.cars, score.found, score.false, score.ignored)
        total += row
        table.add_row(dataset.names[index], *map(str, row))
        if out is not None:
            style = BevStyle(x=(0.0, 50.0), y=(-25.0, 25.0))
            title = f"KITTI {dataset.names[index]}: {score.found} of {score.cars} cars"
            path = out / f"{dataset.names[index]}.png"
            draw_bev(cloud, judged, cars, path, title=title, style=style)
    cars_total, found, false, _ = (int(value) for value in total)
    table.add_section()
    table.add_row("all", *map(str, total))
    console.print(table)
    precision = f"{100 * found / (found + false):.0f} %" if found + false else "none predicted"
    recall = f"{100 * found / cars_total:.0f} %" if cars_total else "no cars"
    console.print(f"recall {recall}, precision {precision}", highlight=False)


if __name__ == "__main__":
    try:
        typer.run(main)
    except Kd3dError as error:
        raise SystemExit(f"error: {error}") from None
