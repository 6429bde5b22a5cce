"""The region of interest of Argoverse 2: what is within 5 m of the drivable area.

The benchmark leaves out boxes none of whose corners lies in it. The map is drawn on a grid of
10 cm, as the benchmark draws it, so that both agree on every corner.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D

#: Cells of the grid in a metre, and how far the region reaches beyond the drivable area [cells].
_CELLS, _REACH = 10.0, 50.0


class RegionOfInterest:
    """Where boxes count.

    Args:
        polygons: (P, 2 or more) corners x, y [m] of each drivable area, in the frame of the city.

    Raises:
        Kd3dError: There is no polygon, or Pillow is missing.
    """

    def __init__(self, polygons: list[NDArray[np.floating[Any]]]) -> None:
        try:
            from PIL import Image
            from PIL import ImageDraw
        except ImportError as error:
            raise Kd3dError(
                "the region of interest needs Pillow: pip install pillow, or leave it out."
            ) from error
        if not polygons:
            raise Kd3dError("the map has no drivable area: leave the region of interest out.")
        corners = [np.asarray(polygon, np.float64)[:, :2] for polygon in polygons]
        low = np.floor(np.min([polygon.min(axis=0) for polygon in corners], axis=0))
        high = np.ceil(np.max([polygon.max(axis=0) for polygon in corners], axis=0))
        width, height = ((high - low + 1) * _CELLS).astype(int).tolist()
        picture = Image.new("L", (width, height), 0)
        for polygon in corners:
            cells = np.round((polygon - low) * _CELLS).astype(np.int32)
            ImageDraw.Draw(picture).polygon(
                [(int(x), int(y)) for x, y in cells], outline=1, fill=1
            )
        self._low = low
        self._area = np.array(picture, bool)
        # A cell outside is as far from the area as from its rim.
        inner = np.zeros_like(self._area)
        inner[1:-1, 1:-1] = (
            self._area[:-2, 1:-1] & self._area[2:, 1:-1] & self._area[1:-1, :-2]
        ) & self._area[1:-1, 2:]
        self._rim = cKDTree(np.argwhere(self._area & ~inner))

    @classmethod
    def load(cls, folder: Path) -> "RegionOfInterest":
        """Read the map of a log.

        Args:
            folder: The `map` folder of a log, with `log_map_archive_*.json`.

        Raises:
            Kd3dError: There is no map, or it is damaged.
        """
        paths = sorted(folder.glob("log_map_archive_*.json"))
        if not paths:
            raise Kd3dError(
                f"{folder} holds no log_map_archive_*.json: download the maps, or evaluate "
                "without the region of interest."
            )
        try:
            areas = json.loads(paths[0].read_text(encoding="utf-8"))["drivable_areas"]
            polygons = [
                np.array([(corner["x"], corner["y"]) for corner in area["area_boundary"]])
                for area in areas.values()
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Kd3dError(
                f"{paths[0]} is not a readable Argoverse 2 map ({error!r})."
            ) from error
        return cls(polygons)

    def contains_points(self, xy: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """(N,) bool: which of (N, 2) places x, y [m] in the frame of the city lie in it."""
        # Towards zero, not down: the benchmark counts a cell to the left and below the map as in.
        cell = ((np.asarray(xy, np.float64) - self._low) * _CELLS).astype(np.int64)
        row, column = cell[:, 1], cell[:, 0]
        height, width = self._area.shape
        valid = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        inside = np.zeros(len(cell), bool)
        inside[valid] = self._area[row[valid], column[valid]]
        near = np.flatnonzero(valid & ~inside)
        distance, _ = self._rim.query(cell[near][:, ::-1], distance_upper_bound=_REACH + 0.5)
        inside[near] = distance <= _REACH
        return inside

    def contains(
        self, boxes: Boxes3D, city_from_vehicle: NDArray[np.floating[Any]]
    ) -> NDArray[np.bool_]:
        """Which boxes have a corner in it.

        Args:
            boxes: N boxes in the frame of the vehicle.
            city_from_vehicle: (4, 4) pose.

        Returns:
            (N,) bool.
        """
        corners = boxes.corners().reshape(-1, 3).astype(np.float64)
        city = corners @ city_from_vehicle[:3, :3].T + city_from_vehicle[:3, 3]
        inside = self.contains_points(city[:, :2]).reshape(-1, 8)
        return np.asarray(inside.any(axis=1))
