"""Keeps the clouds on which student and teacher disagree most, and writes them to a bag."""

import shutil
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kd3d_core.datasets.mined import MinedFrame
from kd3d_core.datasets.mined import WorstFrames

#: Writes frames to a bag of this path: whole, or not at all.
Writer = Callable[[Path, Sequence[MinedFrame]], Path]

#: How often the thread looks whether the interpreter is ending [s].
_LOOK = 1.0


@dataclass(frozen=True)
class MiningCounts:
    """What the miner has.

    Attributes:
        kept: Frames held.
        bytes: Memory they take.
        offered: Frames that were offered.
        saved: The latest bag, or None.
        unsaved: Whether something was kept since.
        error: Why the latest attempt to write failed, or empty.
    """

    kept: int
    bytes: int
    offered: int
    saved: Path | None
    unsaved: bool
    error: str


class Miner:
    """A `WorstFrames` that is written to disk by a thread of its own.

    A new bag is written beside the old one, and only then the old one is removed: at no moment is
    less on disk than there was before. The thread is no daemon: an interpreter that ends waits
    until it has written.
    """

    def __init__(self, keeper: WorstFrames, folder: Path, period: float, write: Writer) -> None:
        """Prepare, but do not start.

        Args:
            keeper: Empty; decides which frames are kept.
            folder: Where bags go; need not exist.
            period: Write what changed so often [s].
            write: Writes one bag.
        """
        self._keeper = keeper
        self._stem = folder / time.strftime("mined_%Y%m%dT%H%M%S", time.gmtime())
        self._period = period
        self._write = write
        self._changed = threading.Condition()
        self._offered = self._changes = self._saved_changes = 0
        self._wishes = self._granted = 0
        self._stopping = False
        self._saved: Path | None = None
        self._error = ""
        self._thread = threading.Thread(target=self._run, name="miner")

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread runs, so that frames may still be written."""
        return self._thread.is_alive()

    def offer(self, frame: MinedFrame) -> bool:
        """Keep a frame if it is among the worst.

        Returns:
            Whether it is.
        """
        with self._changed:
            self._offered += 1
            kept = self._keeper.offer(frame)
            self._changes += kept
            return kept

    def save(self) -> MiningCounts:
        """Have everything written now, and wait for it; the counts after it."""
        with self._changed:
            self._wishes += 1
            wish = self._wishes
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._granted >= wish or self._stopping)
        return self.counts

    def close(self) -> MiningCounts:
        """Write what is unsaved and end the thread; the counts after it. May be called again."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        return self.counts

    @property
    def counts(self) -> MiningCounts:
        """A consistent snapshot."""
        with self._changed:
            return MiningCounts(
                kept=len(self._keeper.frames),
                bytes=self._keeper.bytes,
                offered=self._offered,
                saved=self._saved,
                unsaved=self._changes != self._saved_changes,
                error=self._error,
            )

    def _run(self) -> None:
        """The thread: wait, write what changed, tell those who wait for it."""
        stopping = False
        while not stopping:
            with self._changed:
                stopping = self._wait()
                wishes = self._wishes
                frames, changes = list(self._keeper.frames), self._changes
                due = changes != self._saved_changes
            if due:
                self._save(frames, changes)
            with self._changed:
                self._granted = wishes
                self._changed.notify_all()

    def _wait(self) -> bool:
        """Until the period is over or a save is wished for; True when it is the last."""
        end = time.monotonic() + self._period
        while not self._stopping and threading.main_thread().is_alive():
            left = end - time.monotonic()
            if left <= 0 or self._wishes > self._granted:
                return False
            self._changed.wait(min(left, _LOOK))
        return True

    def _save(self, frames: list[MinedFrame], changes: int) -> None:
        """Write one bag, then remove the one before."""
        path = self._free_path()
        try:
            path = self._write(path, frames)
        except Exception as error:  # a full disk must not end the comparison; diagnostics tell
            with self._changed:
                self._error = f"cannot write {path}: {error}"
            return
        with self._changed:
            before, self._saved = self._saved, path
            self._saved_changes, self._error = changes, ""
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)

    def _free_path(self) -> Path:
        """The next name that nothing has."""
        number = 1
        while (path := self._stem.with_name(f"{self._stem.name}_{number:03d}")).exists():
            number += 1
        return path
