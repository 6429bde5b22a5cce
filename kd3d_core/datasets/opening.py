"""Which reader a folder of labelled frames asks for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import get_args

from kd3d_core.errors import Kd3dError

if TYPE_CHECKING:
    from kd3d_core.frame import FrameDataset

#: Layouts on disk, in the order in which they are looked for.
Format = Literal[
    "simulated",
    "nuscenes",
    "waymo",
    "argoverse2",
    "kitti",
    "kitti-tracking",
    "kitti-raw",
    "folder",
    "bag",
]
FORMATS: tuple[Format, ...] = get_args(Format)

#: What tells each layout, for the message to whom nothing was found.
LOOKED_FOR: dict[Format, str] = {
    "simulated": "dataset.json of `kd3d_core simulate`",
    "nuscenes": "v1.0-*/sample.json beside samples/",
    "waymo": "<split>/lidar/*.parquet and lidar_box/",
    "argoverse2": "[<split>/]<log>/sensors/lidar/*.feather",
    "kitti": "[training/]velodyne/*.bin beside label_2/ and calib/",
    "kitti-tracking": "[training/]velodyne/0000/*.bin beside label_02/",
    "kitti-raw": "<date>/<drive>_sync/velodyne_points/",
    "folder": "clouds/*.pcd, .ply, .bin or .npy, and boxes/",
    "bag": "a rosbag2 folder, .mcap, .db3 or .bag, or a folder of them",
}


def open_dataset(
    root: Path | str,
    *,
    format: str | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    sweeps: int | None = None,
    sweep_stride: int = 1,
) -> "FrameDataset":
    """Open labelled frames of any layout that the project reads.

    Args:
        root: The folder as its data set's page says to unpack it, or a bag.
        format: One of `FORMATS`; None tells it by what lies in the folder.
        split: Which part, in the words of the data set ("val", "mini_val", for kitti-tracking
            sequences such as "0003,0007"); None takes all, but for Waymo, which wants one.
        classes: What the labels point into; None takes the classes of the data set itself.
        sweeps: How many a cloud joins, where the data set has poses; None leaves it to the reader
            (nuScenes 10, others 1).
        sweep_stride: Every so many-th frame back is joined; nuScenes takes every sweep.

    Raises:
        Kd3dError: There is no such folder, no layout fits (the message says what was looked for),
            the data set has no splits, or the reader finds it lacking.
    """
    root = Path(root)
    if not root.exists():
        raise Kd3dError(f"there is no data set {root}.")
    kind = recognise(root) if format is None else _checked(format)
    if kind is None:
        looked = "\n".join(f"  {name}: {LOOKED_FOR[name]}" for name in FORMATS)
        raise Kd3dError(f"{root} is no data set of a known layout. Looked for:\n{looked}")
    return _open_sweeps(
        kind, root, split, None if classes is None else tuple(classes), sweeps, sweep_stride
    )


def recognise(root: Path) -> Format | None:
    """The layout of a folder or a bag, told by what lies in it; None when none fits.

    No two layouts fit one folder, so the order is that of the cost of looking.
    """
    from kd3d_core.datasets.argoverse2 import is_argoverse2
    from kd3d_core.datasets.folder import is_folder
    from kd3d_core.datasets.kitti import is_kitti
    from kd3d_core.datasets.labelled_bag import find_bags
    from kd3d_core.datasets.nuscenes import is_nuscenes
    from kd3d_core.datasets.simulated import INDEX

    if (root / INDEX).is_file():
        return "simulated"
    if find_bags(root):
        return "bag"
    if not root.is_dir():
        return None
    if is_nuscenes(root):
        return "nuscenes"
    if is_kitti(root):
        return "kitti"
    if is_folder(root):
        return "folder"
    if is_argoverse2(root):
        return "argoverse2"
    return _recognise_others(root)


def _recognise_others(root: Path) -> Format | None:
    """`recognise`, the rest."""
    from kd3d_core.datasets.kitti_raw import is_kitti_raw
    from kd3d_core.datasets.kitti_tracking import is_kitti_tracking
    from kd3d_core.datasets.waymo import is_waymo

    if is_waymo(root):
        return "waymo"
    if is_kitti_tracking(root):
        return "kitti-tracking"
    return "kitti-raw" if is_kitti_raw(root) else None


def _checked(name: str) -> Format:
    """A format by its name."""
    for known in FORMATS:
        if name == known:
            return known
    raise Kd3dError(f"format {name} is unknown; use one of {', '.join(FORMATS)}.")


def _open_sweeps(
    kind: Format,
    root: Path,
    split: str | None,
    classes: tuple[str, ...] | None,
    sweeps: int | None,
    stride: int,
) -> "FrameDataset":
    """The reader of a layout, with so many sweeps in a cloud."""
    from kd3d_core.datasets.sweeps import MergedSweeps

    if kind == "nuscenes" and stride != 1:
        raise Kd3dError("nuScenes takes every sweep: leave sweep_stride at 1.")
    own = kind == "nuscenes" or (kind == "argoverse2" and stride == 1)
    options: dict[str, Any] = {"sweeps": sweeps} if own and sweeps is not None else {}
    dataset = _open(kind, root, split, classes, options)
    return dataset if own or sweeps in (None, 1) else MergedSweeps(dataset, sweeps or 1, stride)


def _open(
    kind: Format,
    root: Path,
    split: str | None,
    classes: tuple[str, ...] | None,
    options: dict[str, Any],
) -> "FrameDataset":
    """The reader of a layout; modules are imported when they are needed."""
    chosen = dict(options) if classes is None else {**options, "classes": classes}
    if split is not None:
        if kind in ("simulated", "kitti-raw", "bag"):
            raise Kd3dError(f"{root}: the layout {kind} has no splits; give a folder of the part.")
        chosen["split"] = split
    if kind == "simulated":
        from kd3d_core.datasets.simulated import SimulatedDataset

        return SimulatedDataset(root)
    if kind == "bag":
        from kd3d_core.datasets.labelled_bag import LabelledBagDataset

        return LabelledBagDataset(root, **chosen)
    if kind == "nuscenes":
        from kd3d_core.datasets.nuscenes import NuScenesDataset

        return NuScenesDataset(root, **chosen)
    if kind == "waymo":
        from kd3d_core.datasets.waymo import WaymoDataset

        return WaymoDataset(root, **chosen)
    if kind == "argoverse2":
        from kd3d_core.datasets.argoverse2 import Argoverse2Dataset

        return Argoverse2Dataset(root, **chosen)
    if kind == "folder":
        from kd3d_core.datasets.folder import FolderDataset

        return FolderDataset(root, **chosen)
    return _open_kitti(kind, root, chosen)


def _open_kitti(kind: Format, root: Path, chosen: dict[str, Any]) -> "FrameDataset":
    """The reader of one of KITTI's three layouts; a split of drives is a list of sequences."""
    if kind == "kitti":
        from kd3d_core.datasets.kitti import KittiDataset

        return KittiDataset(root, **chosen)
    if kind == "kitti-tracking":
        from kd3d_core.datasets.kitti_tracking import KittiTrackingDataset

        split = chosen.pop("split", None)
        sequences = None if split is None else tuple(split.split(","))
        return KittiTrackingDataset(root, sequences=sequences, **chosen)
    from kd3d_core.datasets.kitti_raw import KittiRawDataset

    return KittiRawDataset(root, **chosen)
