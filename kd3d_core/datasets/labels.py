"""What some readers can tell of a frame without reading its points.

A reader may have `boxes(index)`, the ground truth of a frame alone, and `drive(index)`, the name
of the drive that it belongs to. Points are most of the cost of a frame, so who looks through a
whole data set for labels asks here.
"""

from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D


def boxes_of(dataset: FrameDataset, index: int) -> Boxes3D | None:
    """The ground truth of a frame, without its points where the reader can."""
    read = getattr(dataset, "boxes", None)
    if read is None:
        return dataset[index].boxes
    found: Boxes3D | None = read(index)
    return found


def drive_of(dataset: FrameDataset, index: int) -> str:
    """Name of the drive of a frame; "" where the reader knows none."""
    drive = getattr(dataset, "drive", None)
    return "" if drive is None else str(drive(index))
