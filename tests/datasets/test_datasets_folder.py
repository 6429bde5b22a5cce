import json
from dataclasses import replace

import numpy as np
import pytest

from kd3d_core.datasets.folder import FolderDataset
from kd3d_core.datasets.folder import is_folder
from kd3d_core.datasets.folder_writer import boxes_csv
from kd3d_core.datasets.folder_writer import write_folder
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud

CLASSES = ("forklift", "pedestrian")


def frame(number=0, classes=CLASSES):
    rng = np.random.default_rng(number)
    boxes = Boxes3D.make(
        [[5, 1, 0.8], [8, -2, 0.9]],
        [[2.4, 1.2, 2.1], [0.6, 0.7, 1.8]],
        [0.5, -3.0],
        [0, 1],
        velocity=[[1.5, 0.25], [np.nan, np.nan]],
        classes=classes,
    )
    cloud = PointCloud.from_arrays(
        rng.uniform(-20, 20, (500, 3)) * (1, 1, 0.1),
        rng.random(500),
        time=np.linspace(-0.1, 0, 500),
        ring=rng.integers(0, 16, 500),
    )
    return Frame(
        cloud,
        source=str(number),
        stamp=100.0 + number / 3,
        boxes=boxes,
        track_id=np.array([4, 9]),
        pose=pose_matrix((number, 2, 0.5), yaw=0.1 * number, roll=0.02),
        sensor="vlp16",
        sensor_height=1.1,
    )


def test_writing_and_reading_gives_the_same_frames(tmp_path):
    frames = [frame(i) for i in range(3)]
    write_folder(frames, tmp_path, drive="a")
    write_folder(frames[:2], tmp_path, drive="b")
    assert is_folder(tmp_path)
    dataset = FolderDataset(tmp_path)
    assert dataset.classes == CLASSES
    assert [dataset.drive(i) for i in range(len(dataset))] == ["a", "a", "a", "b", "b"]
    for written, read in zip([*frames, *frames[:2]], dataset, strict=True):
        np.testing.assert_array_equal(read.cloud.points, written.cloud.points)
        np.testing.assert_array_equal(read.cloud.time, written.cloud.time)
        np.testing.assert_array_equal(read.cloud.ring, written.cloud.ring)
        for name in ("center", "size", "yaw", "label", "velocity"):
            np.testing.assert_array_equal(getattr(read.boxes, name), getattr(written.boxes, name))
        np.testing.assert_array_equal(read.track_id, written.track_id)
        np.testing.assert_allclose(read.pose, written.pose, atol=1e-12)
        assert (read.stamp, read.sensor, read.sensor_height) == (written.stamp, "vlp16", 1.1)
        inside = written.boxes.contains(written.cloud.points).sum(axis=1)
        np.testing.assert_array_equal(read.num_points, inside)


def by_hand(root, rows="", suffix=".csv"):
    """One raw cloud of 1,000 points on a line, and its boxes."""
    (root / "clouds").mkdir()
    (root / "boxes").mkdir()
    points = np.zeros((1000, 4), np.float32)
    points[:, 1] = np.linspace(0, 20, 1000)
    points[:, 3] = 128
    points.tofile(root / "clouds" / "one.bin")
    if rows:
        (root / "boxes" / f"one{suffix}").write_text(rows)
    return root


def test_a_folder_made_by_hand(tmp_path):
    header = "class, x, y, z, length, width, height, yaw\n"
    root = by_hand(tmp_path, header + "car, 0, 10, 0, 4, 2, 1.5, 1.5708\ndog,0,1,0,1,1,1,0\n")
    (root / "dataset.yaml").write_text("frame: rfu\nintensity_scale: 256\nclasses: [car]\n")
    read = FolderDataset(root)[0]
    # Ahead of a sensor whose y axis points forward is +x of ours.
    np.testing.assert_allclose(read.boxes.center, [[10, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(read.boxes.yaw, 0, atol=1e-4)
    np.testing.assert_allclose(read.cloud.points[-1], [20, 0, 0, 0.5], atol=1e-5)
    assert read.num_points[0] == 200
    assert read.track_id is None
    assert np.isnan(read.boxes.velocity).all()


def test_boxes_may_be_json(tmp_path):
    rows = [dict(zip(("class", "x", "y", "z", "length", "width", "height", "yaw"),
                     ("car", 0, 10, 0, 4, 2, 1.5, 0), strict=True)) | {"track": 5}]  # fmt: skip
    read = FolderDataset(by_hand(tmp_path, json.dumps(rows), ".json"))[0]
    assert read.boxes.names == ["car"]
    assert read.track_id.tolist() == [5]


def test_a_cloud_without_a_box_file_is_unlabelled_and_an_empty_file_says_none(tmp_path):
    root = by_hand(tmp_path)
    assert FolderDataset(root)[0].boxes is None
    (root / "boxes" / "one.csv").write_text("class,x,y,z,length,width,height,yaw\n")
    assert len(FolderDataset(root)[0].boxes) == 0


def test_splits(tmp_path):
    write_folder([frame(i) for i in range(3)], tmp_path, drive="a")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "val.txt").write_text("a/000002\n")
    assert FolderDataset(tmp_path, split="val")[0].stamp == pytest.approx(100 + 2 / 3)
    write_folder([frame(0)], tmp_path / "extra", drive="b")
    assert len(FolderDataset(tmp_path, split="extra")) == 1
    with pytest.raises(Kd3dError, match="has no split test"):
        FolderDataset(tmp_path, split="test")
    (tmp_path / "splits" / "val.txt").write_text("a/7\n")
    with pytest.raises(Kd3dError, match="holds no cloud a/7"):
        FolderDataset(tmp_path, split="val")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("class,x,y,z\ncar,1,2,3\n", "box 1 has no length, width, height, yaw"),
        ("class,x,y,z,length,width,height,yaw\ncar,1,2,three,4,2,1,0\n", "could not convert"),
    ],
)
def test_malformed_boxes_are_told(tmp_path, rows, message):
    with pytest.raises(Kd3dError, match=message):
        FolderDataset(by_hand(tmp_path, rows))


def test_boxes_text_leaves_unknown_speeds_empty():
    text = boxes_csv(replace(frame().boxes, yaw=np.zeros(2)))
    assert text.splitlines()[0].endswith("yaw,vx,vy")
    assert text.splitlines()[2].endswith("0.0,,")
