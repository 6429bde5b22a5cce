import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kd3d_core.datasets.converting import convert_dataset
from kd3d_core.datasets.converting import drives_of
from kd3d_core.datasets.opening import FORMATS
from kd3d_core.datasets.opening import open_dataset
from kd3d_core.datasets.opening import recognise
from kd3d_core.datasets.simulated import write_frame
from kd3d_core.datasets.simulated import write_index
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud


class TwoDrives:
    """Two drives of two frames, with everything that a layout may ask for."""

    classes = ("car", "truck", "bus", "pedestrian", "cyclist", "motorcycle")

    def __len__(self):
        return 4

    def drive(self, index):
        return f"street/{index // 2}"

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        boxes = Boxes3D.make(
            [[12, 1, -0.9], [9, -2, -0.8]],
            [[4.2, 1.8, 1.5], [0.7, 0.6, 1.75]],
            [0.3, -1.0],
            [0, 3],
            velocity=np.zeros((2, 2)),
        )
        azimuth = np.linspace(np.pi, -np.pi, 400, endpoint=False)
        elevation = np.deg2rad(np.linspace(-24, 2, 64))
        ring, turn = np.meshgrid(np.arange(64), azimuth, indexing="ij")
        distance = rng.uniform(5, 30, ring.shape)
        flat = distance * np.cos(elevation[ring])
        xyz = np.stack(
            [flat * np.cos(turn), flat * np.sin(turn), distance * np.sin(elevation[ring])], -1
        )
        cloud = PointCloud.from_arrays(
            xyz.reshape(-1, 3),
            rng.random(ring.size),
            time=np.zeros(ring.size),
            ring=ring.ravel(),
        )
        return Frame(
            cloud,
            source=f"made {index}",
            stamp=1000.0 + 0.1 * index,
            boxes=boxes,
            num_points=boxes.contains(cloud.points).sum(axis=1),
            track_id=np.array([1, 2]),
            pose=pose_matrix((index, 0, 1.7), yaw=0.1),
            sensor="hdl64e",
            sensor_height=1.7,
        )


def test_every_layout_that_is_written_is_recognised(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow (pip install 'kd3d_ros[data]') is missing")
    dataset = TwoDrives()
    for layout in FORMATS:
        root = tmp_path / layout
        if layout == "simulated":
            write_index(root, {}, 4)
            for index in range(4):
                drive = root / f"drive_{index // 2:05d}" / f"frame_{index % 2:04d}.npz"
                write_frame(drive, replace(dataset[index], source=str(drive)))
        else:
            assert convert_dataset(dataset, root, layout, split="train") == 4
        assert recognise(root) == layout
        read = open_dataset(root, split="training" if layout == "waymo" else None)
        assert len(read) == 4, layout
        frame = read[0]
        assert len(frame.boxes) == 2, layout
        np.testing.assert_allclose(frame.boxes.size[0], [4.2, 1.8, 1.5], atol=0.01, err_msg=layout)
        np.testing.assert_allclose(np.sort(frame.boxes.yaw), [-1, 0.3], atol=0.25, err_msg=layout)


def test_splits_and_classes_reach_the_readers(tmp_path):
    convert_dataset(TwoDrives(), tmp_path, "folder", split="val")
    read = open_dataset(tmp_path, split="val", classes=("pedestrian",))
    assert len(read) == 4
    assert read[3].boxes.names == ["pedestrian"]
    with pytest.raises(Kd3dError, match="has no split train"):
        open_dataset(tmp_path, split="train")


def test_drives_are_read_when_they_are_asked_for():
    told = []
    first, second = drives_of(TwoDrives(), told.append)
    assert (first.name, second.name) == ("street_0", "street_1")
    assert [frame.source for frame in second] == ["made 2", "made 3"]
    assert sum(told) == 2
    assert first[-1].source == "made 1"
    assert [frame.source for frame in first[:1]] == ["made 0"]


def test_an_unknown_folder_is_told_what_was_looked_for(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(Kd3dError) as error:
        open_dataset(tmp_path)
    for name in FORMATS:
        assert f"\n  {name}: " in str(error.value)
    with pytest.raises(Kd3dError, match="there is no data set"):
        open_dataset(tmp_path / "nothing")
    with pytest.raises(Kd3dError, match="format coco is unknown; use one of simulated"):
        open_dataset(tmp_path, format="coco")
    with pytest.raises(Kd3dError, match="has no splits"):
        open_dataset(tmp_path, format="simulated", split="val")
    with pytest.raises(Kd3dError, match="cannot write the layout coco"):
        convert_dataset(TwoDrives(), tmp_path, "coco")


def test_real_data_sets_are_recognised(shared_data: Path):
    assert recognise(shared_data / "kitti") == "kitti"
    if os.path.isdir(shared_data / "argoverse2"):
        assert recognise(shared_data / "argoverse2") == "argoverse2"
