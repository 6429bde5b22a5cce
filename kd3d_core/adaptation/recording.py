"""The user's recording: some of its clouds, evenly spread, in two parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.replay.results import progress_bar
from kd3d_core.replay.source import count_sweeps
from kd3d_core.replay.source import find_recordings
from kd3d_core.replay.source import is_bag
from kd3d_core.replay.source import iter_sweeps

if TYPE_CHECKING:
    from rich.console import Console

#: Clouds with fewer points say nothing.
_FEWEST_POINTS = 200
#: An adaptation to fewer clouds is one to a street, not to a sensor.
FEWEST_CLOUDS = 8
#: The recording is cut into so many pieces, which go to the two parts in turn.
_PIECES = 8


@dataclass(frozen=True, eq=False)
class Recording:
    """Clouds of one sensor.

    Attributes:
        frames: By time, recording after recording; without ground truth.
        paths: The recordings.
        malformed: Clouds that could not be read or are nearly empty.
        period: Median time between clouds of the recording [s]; None for files, which have none.
    """

    frames: tuple[Frame, ...]
    paths: tuple[Path, ...]
    malformed: int
    period: float | None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def learning(self) -> list[Frame]:
        """The clouds to learn from: every other piece of the recording.

        Neighbours tell nearly the same, so judging on every second cloud would be judging on what
        was learnt from; pieces of some seconds are another place.
        """
        return [frame for i, frame in enumerate(self.frames) if self._piece(i) % 2 == 0]

    @property
    def judging(self) -> list[Frame]:
        """The clouds to judge on: all others."""
        return [frame for i, frame in enumerate(self.frames) if self._piece(i) % 2]

    @property
    def words(self) -> str:
        """The recordings by name."""
        names = [path.name for path in self.paths]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return ", ".join(names[:3]) + more

    def _piece(self, index: int) -> int:
        return index * _PIECES // len(self.frames)


def read_recording(
    paths: Sequence[Path],
    count: int,
    options: CloudOptions = CloudOptions(),  # noqa: B008 - frozen
    console: "Console | None" = None,
) -> Recording:
    """Read clouds of bags or of folders of cloud files.

    Args:
        paths: Bags, folders of bags, or folders of clouds; all of one sensor.
        count: At most this many clouds are taken, spread evenly.
        options: What the recordings do not say about themselves.
        console: Where a progress bar goes; none without it.

    Raises:
        Kd3dError: A recording cannot be read, or fewer than 8 clouds are usable.
    """
    found = find_recordings(paths)
    total = sum(count_sweeps(path, options) for path in found)
    every = max(1, -(-total // count))
    frames: list[Frame] = []
    gaps: list[float] = []
    malformed = 0
    with progress_bar(console, "reading clouds", lambda: -(-total // every)) as advance:
        for path in found:
            before: float | None = None
            for sweep in iter_sweeps(path, options, every):
                advance(1)
                if sweep.cloud is None or len(sweep.cloud) < _FEWEST_POINTS:
                    malformed += 1
                    continue
                if before is not None and is_bag(path):
                    gaps.append((sweep.stamp - before) / every)
                before = sweep.stamp
                frames.append(Frame(sweep.cloud, source=sweep.source, stamp=sweep.stamp))
    if len(frames) < FEWEST_CLOUDS:
        raise Kd3dError(
            f"{', '.join(map(str, paths))}: {len(frames)} usable clouds ({malformed} malformed or "
            f"nearly empty) are too few to know a sensor by. Record a minute of driving: "
            f"{FEWEST_CLOUDS} clouds at the least."
        )
    period = float(np.median(gaps)) if gaps and np.median(gaps) > 0 else None
    return Recording(tuple(frames), tuple(found), malformed, period)
