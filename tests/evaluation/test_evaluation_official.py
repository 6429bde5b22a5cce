import numpy as np
import pytest

from kd3d_core.datasets.kitti import KittiDataset
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.official import METRICS
from kd3d_core.evaluation.official import open_benchmark
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

CLASSES = ("car", "pedestrian")


class OneFrame:
    """A data set of a frame that every detector gets right."""

    classes = CLASSES

    def __len__(self):
        return 1

    def __getitem__(self, index):
        boxes = Boxes3D.make(
            [[10, 2, 0], [5, -3, 0]],
            [[4.2, 1.8, 1.5], [0.7, 0.6, 1.75]],
            [0.3, 1],
            [0, 1],
            velocity=np.zeros((2, 2)),
            classes=CLASSES,
        )
        cloud = PointCloud.from_arrays(np.zeros((1, 3)))
        return Frame(cloud, source="one", boxes=boxes, num_points=np.array([30, 9]))


@pytest.mark.parametrize("name", ["nuscenes", "waymo", "argoverse2"])
def test_a_perfect_detector_is_perfect(name):
    dataset = OneFrame()
    benchmark = open_benchmark(name, dataset, CLASSES)
    frame = dataset[0]
    benchmark.add(0, frame, frame.boxes)
    data, table = benchmark.result()
    assert data["frames"] == 1
    assert table.row_count >= 2
    if name == "argoverse2":
        assert data["mean"]["cds"] == pytest.approx(1.0)


def test_what_cannot_be_judged_is_told():
    with pytest.raises(Kd3dError, match="use kd3d or one of nuscenes, kitti, waymo, argoverse2"):
        open_benchmark("coco", OneFrame(), CLASSES)
    with pytest.raises(Kd3dError, match="KITTI's metrics need its labels"):
        open_benchmark("kitti", OneFrame(), CLASSES)
    with pytest.raises(Kd3dError, match="for Argoverse 2 only"):
        open_benchmark("argoverse2", OneFrame(), CLASSES, region=True)
    frame = Frame(OneFrame()[0].cloud, source="bare cloud")
    with pytest.raises(Kd3dError, match="bare cloud has no ground truth"):
        open_benchmark("waymo", OneFrame(), CLASSES).add(0, frame, Boxes3D.empty(CLASSES))
    assert len(METRICS) == 4


def test_kitti_on_its_own_frames(shared_data):
    dataset = KittiDataset(shared_data / "kitti")
    benchmark = open_benchmark("kitti", dataset, dataset.classes)
    for index in range(len(dataset)):
        frame = dataset[index]
        benchmark.add(index, frame, frame.boxes)
    data, _ = benchmark.result()
    assert data["frames"] == 10
