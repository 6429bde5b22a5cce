"""CBGS, names of classes, labels without points, frames in memory."""

import numpy as np
import pytest
from simulated_frames import short_drive

from kd3d_core.datasets.balance import ClassBalance
from kd3d_core.datasets.balance import cached_counts
from kd3d_core.datasets.balance import count_classes
from kd3d_core.datasets.caching import FramesInMemory
from kd3d_core.datasets.converting import convert_dataset
from kd3d_core.datasets.opening import open_dataset
from kd3d_core.datasets.relabel import Renamed
from kd3d_core.datasets.simulated import frame_path
from kd3d_core.datasets.simulated import write_frame
from kd3d_core.datasets.simulated import write_index
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud


class Labels:
    """Frames with the labels given, which counts how often their points are read."""

    classes = ("car", "bus", "tram")

    def __init__(self, labels):
        self.labels = labels
        self.read = 0

    def boxes(self, index):
        label = self.labels[index]
        count = len(label)
        center = np.zeros((count, 3))
        return Boxes3D.make(center, center + 1, np.zeros(count), label, classes=self.classes)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        self.read += 1
        cloud = PointCloud(np.zeros((100, 4), np.float32))
        return Frame(cloud, f"labels:{index}", boxes=self.boxes(index))


#: 20 frames: 16 of cars, 3 of cars and a bus, one without anything; no tram.
STREET = Labels([[0, 0]] * 16 + [[0, 1]] * 3 + [[]])


def test_every_class_gives_the_same_share_of_an_epoch():
    counts = count_classes(STREET, STREET.classes)
    assert counts.sum(axis=0).tolist() == [35, 3, 0]
    balance = ClassBalance(counts)
    # 19 frames show a car and 3 a bus: 22 in an epoch, 11 drawn for each.
    assert len(balance) == 22
    orders = [balance.order(np.random.default_rng(seed)) for seed in range(40)]
    assert all(len(order) == 22 and 19 not in order for order in orders)
    assert (orders[0] == balance.order(np.random.default_rng(0))).all()
    assert (orders[0] != orders[1]).any()
    bus = [np.isin(order, [16, 17, 18]).sum() for order in orders]
    assert min(bus) >= 11
    assert np.mean(bus) == pytest.approx(11 + 11 * 3 / 19, abs=0.5)
    # The frames of a rare class come equally often, but for the rest of a division.
    often = np.bincount(orders[0], minlength=20)[16:19]
    assert often.min() >= 3


def test_counting_reads_no_points_and_is_done_once(tmp_path):
    before = STREET.read
    first = cached_counts(STREET, ("bus", "car"), tmp_path, "street")
    assert STREET.read == before
    assert first.sum(axis=0).tolist() == [3, 35]
    other = Labels([[1]] * 20)
    again = cached_counts(other, ("bus", "car"), tmp_path, "street")  # of the cache, not of it
    np.testing.assert_array_equal(again, first)
    assert cached_counts(other, ("bus", "car"), tmp_path, "another").sum() == 20


def test_nothing_to_balance_is_an_error():
    with pytest.raises(Kd3dError, match="class_map"):
        ClassBalance(count_classes(STREET, ("tram",)))


def test_renamed_classes_may_become_one():
    frames = Renamed(STREET, {"bus": "large", "tram": "large"})
    assert frames.classes == ("car", "large")
    assert list(frames.boxes(17).names) == ["car", "large"]
    assert frames[17].boxes.label.tolist() == [0, 1]
    assert len(frames) == 20


def test_memory_holds_what_its_budget_allows():
    frames = Labels([[0]] * 5)
    held = FramesInMemory(frames, 3 * 1600)
    assert held.kept == 3
    read = frames.read
    assert [held[i].source for i in range(5)] == [f"labels:{i}" for i in range(5)]
    assert frames.read == read + 2


LAYOUTS = ["simulated", "nuscenes", "kitti", "kitti-tracking", "waymo", "argoverse2", "folder"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_without_points_are_those_of_the_frame(layout, tmp_path):
    if layout in ("waymo", "argoverse2"):
        pytest.importorskip("pyarrow", reason="Parquet and Feather need pyarrow")
    frames = short_drive()[:2]
    for i, frame in enumerate(frames):
        write_frame(frame_path(tmp_path / "sim", 0, i), frame)
    write_index(tmp_path / "sim", {}, len(frames))
    root = tmp_path / "sim"
    dataset = open_dataset(root)
    if layout != "simulated":
        root = tmp_path / layout
        convert_dataset(dataset, root, layout, split="training" if layout == "waymo" else "train")
        split = "training" if layout == "waymo" else None
        dataset = open_dataset(root, format=layout, split=split)
    assert len(dataset) == 2
    for index in range(2):
        whole, alone = dataset[index].boxes, dataset.boxes(index)
        assert len(whole) > 3
        assert whole.classes == alone.classes == tuple(dataset.classes)
        for name in ("center", "size", "yaw", "velocity", "label"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(whole, name))
