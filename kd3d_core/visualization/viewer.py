"""A window to walk round a cloud and its boxes in, by Open3D."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.visualization.bev import class_colour

#: Corner pairs of the twelve edges of a box, in the order of `Boxes3D.corners`.
_EDGES = [*((i, (i + 1) % 4) for i in range(4)), *((i + 4, (i + 1) % 4 + 4) for i in range(4))]
_EDGES += [(i, i + 4) for i in range(4)]


def geometries(cloud: PointCloud, boxes: Boxes3D) -> list[Any]:
    """Open3D geometries: the points, grey by intensity, and the edges and heading of each box.

    Raises:
        Kd3dError: Open3D is not installed or cannot be loaded.
    """
    o3d = _open3d()
    points = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud.xyz.astype(np.float64)))
    grey = np.repeat(0.35 + 0.65 * cloud.points[:, 3:].astype(np.float64), 3, axis=1)
    points.colors = o3d.utility.Vector3dVector(grey)
    return [points, *(_box(o3d, boxes, i) for i in range(len(boxes)))]


def show(cloud: PointCloud, boxes: Boxes3D, title: str) -> None:
    """Open a window and wait until it is closed.

    Raises:
        Kd3dError: Open3D is not installed, or there is no screen.
    """
    items = geometries(cloud, boxes)
    viewer = _open3d().visualization.Visualizer()
    if not viewer.create_window(window_name=title, width=1280, height=800):
        raise Kd3dError("no window can be opened here: use --png for a picture instead.")
    for item in items:
        viewer.add_geometry(item)
    viewer.get_render_option().background_color = np.array([0.05, 0.07, 0.09])
    viewer.run()
    viewer.destroy_window()


def _box(o3d: Any, boxes: Boxes3D, index: int) -> Any:
    """The lines of one box: twelve edges and one from its centre to the middle of its front."""
    corners: NDArray[np.float64] = boxes.corners()[index].astype(np.float64)
    front = corners[[0, 3, 4, 7]].mean(axis=0)
    vertices = np.concatenate([corners, [corners.mean(axis=0), front]])
    lines = o3d.geometry.LineSet(
        o3d.utility.Vector3dVector(vertices), o3d.utility.Vector2iVector([*_EDGES, (8, 9)])
    )
    colour = class_colour(boxes.names[index], boxes.classes)
    lines.paint_uniform_color([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return lines


def _open3d() -> Any:
    """The module, imported only when a window is wanted."""
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise Kd3dError(
            f"the 3D view needs Open3D ({error}): pip install 'kd3d_ros[viz]', and on Debian and "
            "Ubuntu apt install libusb-1.0-0 libgl1."
        ) from error
    return open3d
