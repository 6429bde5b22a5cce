"""What happens to a cloud on the GPU before and after the network, kernel by kernel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from numpy.typing import NDArray

from kd3d_core.codec.anchors import Anchor
from kd3d_core.codec.bev_image import CELL_TABLE
from kd3d_core.codec.bev_image import SLICE_TABLE
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import ANCHOR_NAMES
from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.runtime.backends.cuda_gpu import Address
from kd3d_core.runtime.backends.cuda_gpu import Gpu

#: `Grid` of the kernels.
_GRID = np.dtype([("box", np.float64, 5), ("shape", np.int32, 2)])
#: Counters at the front of an answer, uint32, and the places of those that are read.
COUNTERS = 8
INSIDE, PILLARS, DROPPED, PEAKS = range(4)
#: Numbers of a box in an answer, four bytes each, as the kernels order them.
FIELDS = 12
#: int32 words in front of the thresholds of what is told with a cloud.
THRESHOLDS = 4
#: Points that are counted together by `pillar_tally`.
_GROUP = 64
#: Threads that share the peaks.
_PEAK_THREADS = 16384
_NOWHERE = Address(0)


@dataclass(frozen=True)
class Feed:
    """A cloud in the memory of the GPU.

    Attributes:
        header: What is told with it; see `cuda_kernels.cu`.
        points: (capacity, width) float32: x, y, z [m], intensity and, where width is 5, time [s].
        width: 4 or 5.
        capacity: The most points there can be.
    """

    header: Address
    points: Address
    width: int
    capacity: int


class ImageStage:
    """Points to a BEV image."""

    def __init__(self, gpu: Gpu, grid: BevGrid, config: BevImageInput) -> None:
        """Take the memory that it works in."""
        self._gpu = gpu
        self._grid = _struct(grid)
        self._slices = config.slices
        self._cells = grid.shape[0] * grid.shape[1]
        self._sums = gpu.allocate(4 * (config.slices + 3) * self._cells)
        self._intensity = gpu.allocate(8 * self._cells)
        self._tables = constant(gpu, np.concatenate([SLICE_TABLE, CELL_TABLE]), np.float32)

    def queue(self, feed: Feed, counters: Address, image: Address) -> None:
        """Queue the kernels that draw `image` (slices + 4, rows, columns) float32."""
        self._gpu.launch(
            "image_add", feed.capacity, feed.header, feed.points, feed.width, self._grid,
            self._slices, self._sums, self._intensity,
        )  # fmt: skip
        self._gpu.launch(
            "image_write", self._cells, self._cells, self._slices, len(SLICE_TABLE) - 1,
            len(CELL_TABLE) - 1, self._tables, self._sums, self._intensity,
            counters, image,
        )  # fmt: skip


class PillarStage:
    """Points to pillars, always `max_pillars` of them, the missing ones copies of the first."""

    def __init__(self, gpu: Gpu, grid: BevGrid, config: PillarInput, capacity: int) -> None:
        """Take the memory that it works in, for clouds of up to `capacity` points."""
        self._gpu = gpu
        self._grid = _struct(grid)
        self._config = config
        cells = grid.shape[0] * grid.shape[1]
        fine, coarse = (-(-capacity // size) for size in (_GROUP, _GROUP * _GROUP))
        sizes = [cells, cells, 2 * fine, 2 * coarse, config.max_pillars]
        # What has to be zero before every pass lies together.
        self._words = sum(sizes)
        start = gpu.allocate(4 * self._words)
        offsets = np.cumsum([0, *sizes[:-1]])
        self._zeroed = tuple(Address(start + 4 * int(offset)) for offset in offsets)
        self._cell_of = gpu.allocate(4 * capacity)
        self._list = gpu.allocate(4 * capacity)
        self._slot = gpu.allocate(4 * cells)
        self._start = gpu.allocate(4 * config.max_pillars)
        self._place = gpu.allocate(4 * config.max_pillars)
        width = config.features - 5
        self._kept = gpu.allocate(4 * config.max_pillars * config.max_points * width)
        self._means = gpu.allocate(24 * config.max_pillars)

    def queue(
        self, feed: Feed, counters: Address, pillars: Address, cells: Address, *, wide: bool
    ) -> None:
        """Queue the kernels that make the network's inputs.

        Args:
            feed: The cloud.
            counters: Of the pass, zero.
            pillars: (max_pillars, max_points, features) float32; output.
            cells: (max_pillars,) int64, or int32; output.
            wide: Whether cells are int64.
        """
        launch, count, width = self._gpu.launch, feed.capacity, feed.width
        total, first, fine, coarse, cursor = self._zeroed
        cell_of, slot, start = self._cell_of, self._slot, self._start
        most, limit = self._config.max_points, self._config.max_pillars
        launch("clear", self._words, total, self._words)
        launch(
            "pillar_locate", count, feed.header, feed.points, width, self._grid, cell_of, total,
            first,
        )  # fmt: skip
        launch("pillar_tally", count, feed.header, cell_of, total, first, fine, coarse, counters)
        launch(
            "pillar_number", count, feed.header, cell_of, total, first, fine, coarse, limit, slot,
            start, self._place, counters,
        )  # fmt: skip
        launch("pillar_list", count, feed.header, cell_of, slot, start, cursor, self._list)
        launch(
            "pillar_keep", count, feed.header, feed.points, width, cell_of, slot, start, cursor,
            self._list, most, self._kept,
        )  # fmt: skip
        launch("pillar_mean", limit, counters, cursor, self._kept, width, most, self._means)
        narrow_cells, wide_cells = (_NOWHERE, cells) if wide else (cells, _NOWHERE)
        launch(
            "pillar_write", limit * most * self._config.features, counters, cursor, self._kept,
            self._means, self._place, width, most, limit, self._grid, pillars, narrow_cells,
            wide_cells,
        )  # fmt: skip


class CenterStage:
    """The maps of a centre head to boxes before suppression."""

    def __init__(self, gpu: Gpu, grid: BevGrid, stride: int, task: tuple[int, ...]) -> None:
        """Take the memory that it works in.

        Args:
            gpu: Where.
            grid: The input grid.
            stride: Grid cells per output cell.
            task: For each class the number of its task.
        """
        self._gpu = gpu
        self._classes = len(task)
        self._rows, self._columns = (cells // stride for cells in grid.shape)
        self._place = (float(grid.x[0]), float(grid.y[0]), float(grid.cell * stride))
        self._task = constant(gpu, task, np.int32)
        self._numbers = self._classes * self._rows * self._columns
        self._keys = gpu.allocate(8 * self._numbers)

    def queue(
        self, header: Address, counters: Address, maps: Mapping[str, Address], boxes: Address
    ) -> None:
        """Queue the kernels that write the best boxes, by falling score.

        Args:
            header: What is told with the cloud.
            counters: Of the pass.
            maps: (C, rows, columns) float32 each, by the names of `HEAD_NAMES`.
            boxes: (limit of the header, FIELDS); output.
        """
        shape = (self._rows, self._columns)
        self._gpu.launch(
            "peak_find", self._numbers, header, maps["heatmap"], self._classes, *shape,
            self._keys, counters,
        )  # fmt: skip
        self._gpu.launch(
            "peak_read", _PEAK_THREADS, header, counters, self._keys, _PEAK_THREADS,
            _addresses(maps, HEAD_NAMES), self._task, *shape, *self._place, boxes,
        )  # fmt: skip


class AnchorStage:
    """The maps of an anchor head to boxes before suppression."""

    def __init__(self, gpu: Gpu, grid: BevGrid, stride: int, anchors: list[Anchor]) -> None:
        """Take the memory that it works in.

        Args:
            gpu: Where.
            grid: The input grid.
            stride: Grid cells per output cell.
            anchors: One for each class, in the order of the classes.
        """
        self._gpu = gpu
        self._classes = len(anchors)
        self._rows, self._columns = (cells // stride for cells in grid.shape)
        self._place = (float(grid.x[0]), float(grid.y[0]), float(grid.cell * stride))
        self._anchors = constant(gpu, [(*each.size, each.z) for each in anchors], np.float64)
        self._numbers = 2 * self._classes * self._rows * self._columns
        self._keys = gpu.allocate(8 * self._numbers)

    def queue(
        self, header: Address, counters: Address, maps: Mapping[str, Address], boxes: Address
    ) -> None:
        """See `CenterStage.queue`; the maps are those of `ANCHOR_NAMES`."""
        shape = (self._rows, self._columns)
        self._gpu.launch(
            "anchor_find", self._numbers, header, maps["score"], self._classes,
            self._rows * self._columns, self._keys, counters,
        )  # fmt: skip
        self._gpu.launch(
            "anchor_read", _PEAK_THREADS, header, counters, self._keys, _PEAK_THREADS,
            _addresses(maps, ANCHOR_NAMES), self._anchors, self._classes, *shape, *self._place,
            boxes,
        )  # fmt: skip


def constant(gpu: Gpu, values: Any, dtype: DTypeLike) -> Address:
    """Numbers in the memory of the GPU, for good."""
    array = np.asarray(values, dtype).ravel()
    source = gpu.pinned(array.size, dtype)
    source[:] = array
    address = gpu.allocate(array.nbytes)
    gpu.upload(address, source)
    gpu.wait(gpu.mark())
    return address


def _struct(grid: BevGrid) -> NDArray[Any]:
    """`Grid` of the kernels."""
    numbers = (grid.x[0], grid.y[0], *grid.z, grid.cell)
    return np.array((numbers, grid.shape), _GRID)


def _addresses(maps: Mapping[str, Address], names: tuple[str, ...]) -> NDArray[Any]:
    """A structure of pointers."""
    return np.array([int(maps[name]) for name in names], np.uint64)
