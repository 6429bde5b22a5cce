"""Failures at a model's thresholds, and average precision by sensor."""

import numpy as np
import pytest

from kd3d_core.evaluation.by_sensor import SensorAccumulator
from kd3d_core.evaluation.by_sensor import plain
from kd3d_core.evaluation.by_sensor import transfers
from kd3d_core.evaluation.failures import FailureAccumulator
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

CLASSES = ("car", "truck", "pedestrian")


def boxes(rows):
    """Boxes of 4 x 2 m from rows of label, x, y, score."""
    table = np.array(rows, float).reshape(-1, 4)
    return Boxes3D.make(
        np.column_stack([table[:, 1:3], np.zeros(len(table))]),
        np.tile([4, 2, 1.5], (len(table), 1)),
        np.zeros(len(table)),
        table[:, 0].astype(int),
        score=table[:, 3],
        classes=CLASSES,
    )


def frame(truth, points, sensor="a"):
    cloud = PointCloud.from_arrays(np.zeros((1, 3)))
    return Frame(cloud, "frame", boxes=truth, num_points=np.array(points), sensor=sensor)


def test_misses_mix_ups_and_inventions_are_counted():
    truth = boxes([(0, 10, 0, 1), (0, 20, 0, 1), (0, 30, 0, 1), (1, 10, 10, 1), (0, 40, 0, 1)])
    pred = boxes(
        [
            (0, 10, 0, 0.9),  # right
            (1, 20, 0, 0.9),  # a truck on the second car
            (0, 30, 0, 0.2),  # below the threshold: the third car, of 8 points, is missed
            (2, 5, -9, 0.9),  # a pedestrian where nothing is
            (1, 10, 10, 0.35),  # right: the truck's threshold is lower
            (0, 40, 0, 0.9),  # on a car that need not be found
        ]
    )
    failures = FailureAccumulator(CLASSES, {"car": 0.5, "truck": 0.3, "pedestrian": 0.5})
    failures(7, frame(truth, [50, 60, 8, 90, 2]), pred)
    told = failures.result()
    car, truck, pedestrian = (told[name] for name in CLASSES)
    assert (car.truths, car.found, car.mixed_up, car.few_points) == (3, 1, {"truck": 1}, 1)
    assert (car.false, car.detections) == (0, 1)
    assert (truck.found, truck.false, truck.detections) == (1, 1, 2)
    assert (truck.recall, truck.precision) == (1.0, 0.5)
    assert (pedestrian.recall, pedestrian.precision) == (None, 0.0)
    (bad,) = failures.worst(3)
    assert (bad.index, bad.missed, bad.false) == (7, 1, 2)


def test_the_worst_frames_show_different_sensors_first():
    failures = FailureAccumulator(CLASSES, {})
    for index, (sensor, wrong) in enumerate([("a", 3), ("a", 2), ("b", 1), ("c", 0)]):
        pred = boxes([(0, 10 + 5 * i, 0, 0.9) for i in range(wrong)])
        failures(index, frame(boxes([]), [], sensor), pred)
    assert [bad.index for bad in failures.worst(2)] == [0, 2]
    assert [bad.index for bad in failures.worst(9)] == [0, 2, 1]  # nothing is wrong in the last


def test_average_precision_by_sensor():
    truth = boxes([(0, 10, 0, 1), (0, 20, 0, 1)])
    sensors = SensorAccumulator(CLASSES)
    sensors(0, frame(truth, [50, 50], "far"), boxes([(0, 10, 0, 0.9), (0, 20, 0, 0.8)]))
    sensors(1, frame(truth, [50, 50], "dim"), boxes([(0, 10, 0, 0.9)]))
    sensors(2, frame(None, [], "dim"), boxes([]))
    told = plain(sensors.result())
    assert list(told) == ["dim", "far"]
    assert (told["far"]["ap"]["car"], told["dim"]["ap"]["car"]) == (1.0, 0.5)
    assert (told["dim"]["frames"], told["dim"]["boxes"]["car"]) == (1, 2)
    assert told["dim"]["ap"]["truck"] is None


def test_what_is_kept_on_unknown_sensors():
    seen = {"car": 0.8, "truck": 0.5, "bus": None, "pedestrian": 0.4}
    unseen = {"car": 0.72, "truck": 0.3, "bus": 0.2, "pedestrian": None}
    kept = {row.name: row.kept for row in transfers(seen, unseen)}
    assert kept["car"] == pytest.approx(0.9)
    assert kept["truck"] == pytest.approx(0.6)
    assert kept["bus"] is None
    assert kept["pedestrian"] is None
    assert kept["mean"] == pytest.approx((0.72 + 0.3) / (0.8 + 0.5))  # of those in both
