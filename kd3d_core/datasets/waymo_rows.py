"""Single rows of Parquet files that are larger than memory: range images by frame and laser."""

from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.waymo_schema import LASER
from kd3d_core.datasets.waymo_schema import TIME
from kd3d_core.datasets.waymo_schema import open_component
from kd3d_core.errors import Kd3dError


class ImageRows:
    """Range images of a segment, read one row at a time.

    The official files have all frames of a segment in few row groups, in which rows can only be
    reached by decoding those before them. Reading goes on where it stopped, so frames in order
    are each decoded once; a jump back starts the row group again.
    """

    def __init__(self, path: Path, images: Sequence[str], channels: int) -> None:
        """Open a file and find its rows.

        Args:
            path: The file of a component.
            images: Names of columns without their ends `.values` and `.shape`.
            channels: Of a pixel.

        Raises:
            Kd3dError: The file cannot be read or lacks a column.
        """
        self._path, self._images, self._channels = path, tuple(images), channels
        self._columns = [f"{image}.{part}" for image in images for part in ("values", "shape")]
        self._file = open_component(path, [TIME, LASER, *self._columns])
        self._places: dict[tuple[int, int], tuple[int, int]] = {}
        for group in range(self._file.num_row_groups):
            keys = self._file.read_row_group(group, columns=[TIME, LASER])
            rows = zip(keys.column(TIME).to_pylist(), keys.column(LASER).to_pylist(), strict=True)
            self._places |= {(time, laser): (group, row) for row, (time, laser) in enumerate(rows)}
        self._batches: Iterator[Any] = iter(())
        self._next = (-1, 0)

    def read(
        self, time: int, lasers: Sequence[int]
    ) -> dict[int, list[NDArray[np.float32] | None]]:
        """Images of a frame.

        Args:
            time: Of the frame [us].
            lasers: Numbers of lasers; those that the file lacks are left out.

        Returns:
            For each laser, one (H, W, channels) float32 array for each name of an image, None
            where the row has none.
        """
        places = sorted(
            (self._places[time, laser], laser) for laser in lasers if (time, laser) in self._places
        )
        return {laser: self._row(*place) for place, laser in places}

    def _row(self, group: int, row: int) -> list[NDArray[np.float32] | None]:
        """The images of one row."""
        if self._next[0] != group or self._next[1] > row:
            self._batches = self._file.iter_batches(
                batch_size=1, row_groups=[group], columns=self._columns
            )
            self._next = (group, 0)
        for _ in range(row - self._next[1]):
            next(self._batches)
        batch = next(self._batches)
        self._next = (group, row + 1)
        return [self._image(batch, name) for name in self._images]

    def _image(self, batch: Any, name: str) -> NDArray[np.float32] | None:
        """One image of a batch of one row."""
        values, shape = (
            batch.column(batch.schema.get_field_index(f"{name}.{part}"))
            for part in ("values", "shape")
        )
        if values.null_count or shape.null_count:
            return None
        size = shape.flatten().to_pylist()
        flat = values.flatten().to_numpy(zero_copy_only=False)
        if len(size) != 3 or size[2] != self._channels or flat.size != np.prod(size):
            raise Kd3dError(
                f"{self._path}: {name} has {flat.size} values for the shape {size}; the last of "
                f"three sides should be {self._channels}."
            )
        return np.asarray(flat, np.float32).reshape(size)
