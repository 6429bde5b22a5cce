"""A network on a smaller grid: less range for less work, with the same weights.

A network of convolutions computes the same for a place whatever the size of the map around it,
up to its rim. So the graph of a bundle, made for smaller maps, is a detector for a smaller range
that costs about as much less as its area, and switching to it costs nothing once it is compiled.
"""

import math
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.codec.grid import BevGrid
from kd3d_core.errors import Kd3dError
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.base import Backend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import sha256
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.onnx_shapes import resize_maps

#: Shares of the range that crops keep, of a square grid 64 % and 36 % of its area.
SCALES = (0.8, 0.6)
#: Crops begin and end at multiples of so many cells, where all strides of a network meet.
_ALIGNMENT = 16
#: Maps in the middle of a crop may differ so much from those of the whole, relative to their
#: norm: arithmetic in bf16 and int8 rounds otherwise for other sizes; a misread graph gives
#: differences of about 1.
_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class Crops:
    """Detectors of smaller ranges.

    Attributes:
        detectors: Ready to run, from the largest range to the smallest; none where the graph
            cannot be made smaller.
        notes: Why some are missing.
    """

    detectors: tuple[Detector, ...] = ()
    notes: tuple[str, ...] = ()


def crop_grid(grid: BevGrid, scale: float) -> BevGrid:
    """The part of a grid that is within `scale` of its range, to every side.

    Args:
        grid: Whole.
        scale: Share of the distance from the sensor to each edge that stays, in (0, 1).

    Returns:
        The smaller grid, whose cells are cells of the whole one; it is the whole one where the
        grid is too small to be cut.
    """
    unit = math.gcd(_ALIGNMENT, *grid.shape)
    rows, columns = grid.shape

    def span(low: float, cells: int) -> tuple[float, float]:
        behind = min(max(-low / grid.cell, 0.0), cells)
        first = round((1 - scale) * behind / unit) * unit
        last = cells - round((1 - scale) * (cells - behind) / unit) * unit
        # Rounded, because 0.32 m is no binary fraction: -40.96 shall not become -40.960000000001.
        return round(low + first * grid.cell, 6), round(low + last * grid.cell, 6)

    return grid.model_copy(update={"x": span(grid.x[0], columns), "y": span(grid.y[0], rows)})


def crop_bundle(bundle: Bundle, grid: BevGrid) -> Bundle:
    """The bundle's network on a smaller grid.

    Args:
        bundle: With a graph of convolutions, on pillars or an image.
        grid: From `crop_grid`.

    Returns:
        A bundle whose manifest and graph fit each other.

    Raises:
        Kd3dError: The graph cannot be made smaller.
    """
    manifest = bundle.manifest
    onnx = resize_maps(bundle.onnx, manifest.grid.shape, grid.shape)
    share = math.prod(grid.shape) / math.prod(manifest.grid.shape)
    changes = {
        "grid": grid,
        "onnx_sha256": sha256(onnx),
        "macs": round(share * manifest.macs),
        "metrics": {},  # they were measured on the whole grid
    }
    return Bundle(manifest.model_copy(update=changes), onnx)


def load_crops(
    full: Detector,
    bundle: Bundle,
    compile_graph: Callable[[bytes], Backend],
    scales: Sequence[float] = SCALES,
) -> Crops:
    """Compile, warm up and check the network on smaller grids.

    Args:
        full: The detector of the whole bundle.
        bundle: It.
        compile_graph: Makes a backend of a serialised ONNX model, as that of `full` was made.
        scales: Shares of the range, falling.
    """
    detectors: list[Detector] = []
    notes: list[str] = []
    known = {bundle.manifest.grid.shape}
    for scale in scales:
        grid = crop_grid(bundle.manifest.grid, scale)
        if grid.shape in known:
            continue
        known.add(grid.shape)
        reach = f"{reach_of(grid):.0f} m"
        try:
            part = crop_bundle(bundle, grid)
            detector = Detector(part, compile_graph(part.onnx), f"{full.source} ({reach})")
            detector.warm_up()
            differs = difference(full, detector)
        except Kd3dError as error:
            notes.append(f"the network cannot be cropped to {reach}: {error}")
            continue
        if not differs <= _TOLERANCE:  # NaN too
            notes.append(
                f"the network is not cropped to {reach}: its maps would differ by "
                f"{100 * differs:.0f} %, so it looks at more than the neighbourhood of a place"
            )
            continue
        detectors.append(detector)
    return Crops(tuple(detectors), tuple(notes))


def reach_of(grid: BevGrid) -> float:
    """How far a grid reaches from the sensor along its longest side [m]."""
    return max(abs(edge) for edge in (*grid.x, *grid.y))


def difference(full: Detector, part: Detector) -> float:
    """How far the maps of a crop are from those of the whole, in the middle of the crop.

    Args:
        full: Of the whole grid.
        part: Of a crop of it.

    Returns:
        The largest norm of a difference relative to the norm of the map, over the outputs; the
        middle is a quarter as long and wide as the crop, because what lies beyond the rim is
        missing near it.
    """
    grid, whole, stride = part.manifest.grid, full.manifest.grid, full.manifest.output_stride
    cloud = _probe(grid)
    rows, columns = (cells // stride for cells in grid.shape)
    row = round((grid.y[0] - whole.y[0]) / whole.cell) // stride
    column = round((grid.x[0] - whole.x[0]) / whole.cell) // stride
    worst = 0.0
    # As it comes: where a heap of random points has its ground is of no interest here.
    maps = (each.with_leveller(None).raw_maps(cloud).as_tuple() for each in (full, part))
    for large, small in zip(*maps, strict=True):
        seen = large[:, row : row + rows, column : column + columns]
        worst = float(np.maximum(worst, _apart(_middle(seen), _middle(small))))
    return worst


def _apart(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The norm of the difference relative to the norm of the first; NaN stays NaN."""
    size = float(np.linalg.norm(one))
    apart = float(np.linalg.norm(one - other))
    return apart if size == 0 else apart / size


def _middle(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The middle quarter of rows and columns."""
    (top, bottom), (left, right) = ((3 * n // 8, n - 3 * n // 8) for n in maps.shape[1:])
    return maps[:, top:bottom, left:right]


def _probe(grid: BevGrid) -> PointCloud:
    """Clumps of points all over a grid, the same each time."""
    generator = np.random.default_rng(0)
    low, high = np.array([grid.x, grid.y, grid.z], np.float64).T
    centres = generator.uniform(low, high, (200, 3))
    spread = generator.normal(0.0, 0.7, (200, 30, 3))
    xyz = (centres[:, None] + spread).reshape(-1, 3)
    return PointCloud.from_arrays(xyz, generator.uniform(size=len(xyz)))
