"""The benchmarks' metrics on the frames of a data set, one way to call them all."""

from collections.abc import Sequence
from typing import Any
from typing import Literal
from typing import Protocol
from typing import get_args

from rich.table import Table

from kd3d_core.datasets.argoverse2 import Argoverse2Dataset
from kd3d_core.datasets.kitti import KittiDataset
from kd3d_core.datasets.nuscenes import NuScenesDataset
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.argoverse2 import Argoverse2Accumulator
from kd3d_core.evaluation.argoverse2 import InRegion
from kd3d_core.evaluation.argoverse2_region import RegionOfInterest
from kd3d_core.evaluation.argoverse2_result import argoverse2_table
from kd3d_core.evaluation.kitti_r40 import KittiAccumulator
from kd3d_core.evaluation.kitti_r40 import kitti_table
from kd3d_core.evaluation.nuscenes import NuScenesAccumulator
from kd3d_core.evaluation.nuscenes_result import nuscenes_table
from kd3d_core.evaluation.nuscenes_submission import NuScenesScorer
from kd3d_core.evaluation.waymo import WaymoAccumulator
from kd3d_core.evaluation.waymo_result import waymo_table
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D

#: Whose metrics.
Metrics = Literal["nuscenes", "kitti", "waymo", "argoverse2"]
METRICS: tuple[Metrics, ...] = get_args(Metrics)


class Benchmark(Protocol):
    """A benchmark's metrics, frame by frame."""

    def add(self, index: int, frame: Frame, pred: Boxes3D) -> None:
        """Account for the detections of a frame of the data set."""
        ...

    def result(self) -> "tuple[dict[str, Any], Table]":
        """Metrics over all frames so far: plain data for JSON, and a table."""
        ...


def open_benchmark(
    name: str, dataset: FrameDataset, classes: Sequence[str], *, region: bool = False
) -> Benchmark:
    """The metrics of a benchmark.

    On the benchmark's own data set everything that it knows counts: attributes, bicycle racks,
    "don't care" regions, occlusion. On other data the rules of ranges, points and matches hold.

    Args:
        name: One of `METRICS`.
        dataset: Where the frames come from.
        classes: To report; those of KITTI and Waymo are fixed.
        region: Leave out boxes outside the region of interest (Argoverse 2, where maps are).

    Raises:
        Kd3dError: There is no such benchmark, or it cannot judge this data set.
    """
    if name == "nuscenes":
        return _NuScenes(dataset, classes)
    if name == "kitti":
        return _Kitti(dataset)
    if name == "waymo":
        return _Waymo()
    if name == "argoverse2":
        return _Argoverse2(dataset, classes, region)
    raise Kd3dError(f"metrics {name} are unknown; use kd3d or one of {', '.join(METRICS)}.")


def _truth(frame: Frame) -> Boxes3D:
    """The ground truth of a frame."""
    if frame.boxes is None:
        raise Kd3dError(f"{frame.source} has no ground truth, so nothing can be scored.")
    return frame.boxes


class _NuScenes:
    """nuScenes' mAP, NDS and errors."""

    def __init__(self, dataset: FrameDataset, classes: Sequence[str]) -> None:
        self._own = NuScenesScorer(dataset) if isinstance(dataset, NuScenesDataset) else None
        self._any = NuScenesAccumulator(classes) if self._own is None else None

    def add(self, index: int, frame: Frame, pred: Boxes3D) -> None:
        """See `Benchmark.add`."""
        if self._own is not None:
            self._own.add(index, pred)
        elif self._any is not None:
            self._any.add(pred, _truth(frame), num_points=frame.num_points)

    def result(self) -> tuple[dict[str, Any], Table]:
        """See `Benchmark.result`."""
        source = self._own or self._any
        assert source is not None
        result = source.result()
        return result.to_dict(), nuscenes_table(result)


class _Kitti:
    """KITTI's AP R40, which needs what only its own labels tell."""

    def __init__(self, dataset: FrameDataset) -> None:
        if not isinstance(dataset, KittiDataset):
            raise Kd3dError(
                "KITTI's metrics need its labels (occlusion, truncation, don't care): evaluate on "
                "the KITTI object layout; `kd3d_core data convert ... --to kitti` writes it."
            )
        self._dataset = dataset
        self._accumulator = KittiAccumulator()

    def add(self, index: int, frame: Frame, pred: Boxes3D) -> None:
        """See `Benchmark.add`."""
        labels, calibration = self._dataset.labels(index), self._dataset.calibration(index)
        self._accumulator.add(pred, labels, calibration)

    def result(self) -> tuple[dict[str, Any], Table]:
        """See `Benchmark.result`."""
        result = self._accumulator.result()
        return result.to_dict(), kitti_table(result)


class _Waymo:
    """Waymo's AP and APH."""

    def __init__(self) -> None:
        self._accumulator = WaymoAccumulator()

    def add(self, index: int, frame: Frame, pred: Boxes3D) -> None:
        """See `Benchmark.add`."""
        truth = _truth(frame)
        points = frame.num_points
        if points is None:
            points = truth.contains(frame.cloud.points).sum(axis=1)
        self._accumulator.add(pred, truth, points)

    def result(self) -> tuple[dict[str, Any], Table]:
        """See `Benchmark.result`."""
        result = self._accumulator.result()
        return result.to_dict(), waymo_table(result)


class _Argoverse2:
    """Argoverse 2's AP, errors and CDS."""

    def __init__(self, dataset: FrameDataset, classes: Sequence[str], region: bool) -> None:
        if region and not isinstance(dataset, Argoverse2Dataset):
            raise Kd3dError("a region of interest is known for Argoverse 2 only: leave it out.")
        self._dataset = dataset if isinstance(dataset, Argoverse2Dataset) and region else None
        self._accumulator = Argoverse2Accumulator(classes)
        self._log = ""
        self._map: RegionOfInterest | None = None

    def add(self, index: int, frame: Frame, pred: Boxes3D) -> None:
        """See `Benchmark.add`."""
        region = self._region(index, frame)
        self._accumulator.add(pred, _truth(frame), frame.num_points, region=region)

    def result(self) -> tuple[dict[str, Any], Table]:
        """See `Benchmark.result`."""
        result = self._accumulator.result()
        return result.to_dict(), argoverse2_table(result)

    def _region(self, index: int, frame: Frame) -> InRegion | None:
        """The region of a frame's log, read once for each log."""
        if self._dataset is None or frame.pose is None:
            return None
        name = self._dataset.drive(index)
        if name != self._log:
            self._map = RegionOfInterest.load(self._dataset.log(index).folder / "map")
            self._log = name
        area, pose = self._map, frame.pose
        return None if area is None else lambda boxes: area.contains(boxes, pose)
