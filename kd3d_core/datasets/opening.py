"""Which reader a folder of labelled frames asks for."""

from pathlib import Path

from kd3d_core.datasets.kitti import KittiDataset
from kd3d_core.datasets.simulated import SimulatedDataset
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import FrameDataset


def open_dataset(root: Path | str) -> FrameDataset:
    """Open a KITTI folder (`training/velodyne` or `velodyne`) or a simulated data set.

    Raises:
        Kd3dError: There is no such folder, or the reader finds it lacking.
    """
    root = Path(root)
    if not root.exists():
        raise Kd3dError(f"there is no data set {root}.")
    if (root / "training" / "velodyne").is_dir() or (root / "velodyne").is_dir():
        return KittiDataset(root)
    return SimulatedDataset(root)
