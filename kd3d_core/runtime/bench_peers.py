"""Other projects, each in a process of its own, timed on the same clouds in the same run."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from kd3d_core.codec.grid import BevGrid
from kd3d_core.errors import Kd3dError
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bench import Pass
from kd3d_core.runtime.bench import Record

#: The peers, which of their stages are compared with which of ours, and what to install.
PEERS = {
    "open3d-pointpillars": ("total", "pip install 'open3d-cpu[ml]==0.20.0' and PyTorch 2.13"),
    "spconv-voxels": ("encode", "pip install spconv-cu120 and PyTorch"),
    "mmdet3d": ("total", "MMDetection3D with an mmcv whose operators are compiled"),
}


class PeerAbsentError(Kd3dError):
    """A peer cannot run here; the message says why."""


class PeerRunner:
    """A peer as a `Runner`: a child process that is asked for one turn at a time.

    A context: leaving it ends the child.
    """

    def __init__(
        self,
        name: str,
        program: Path,
        python: str,
        clouds: Path,
        *,
        threads: int | None,
        grid: BevGrid,
    ) -> None:
        """Start it and wait until it has run once.

        Args:
            name: Of `PEERS`.
            program: What the child runs.
            python: The interpreter that has the peer's packages.
            clouds: The folder of `save_clouds`.
            threads: CPU threads; None: the peer's choice.
            grid: What a voxeliser fills: the cells that our model looks at.

        Raises:
            Kd3dError: The name is unknown.
            PeerAbsentError: It does not run here.
        """
        if name not in PEERS:
            raise Kd3dError(f"--against {name} is unknown; use {', '.join(PEERS)}.")
        self.name = name
        low, high = zip(grid.x, grid.y, grid.z, strict=True)
        options = {"threads": threads, "range": [*low, *high], "cell": grid.cell}
        count = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        # Read from its end when the child dies: libraries warn a lot before they fail.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `close`)
        try:
            self._child = subprocess.Popen(
                [python, str(program), name, str(clouds), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env={**os.environ, **count},
            )
        except OSError as error:
            self._errors.close()
            raise Kd3dError(f"--peer-python {python} cannot be started: {error}.") from error
        self._memory: float | None = None
        self.about: dict[str, Any] = {}
        try:
            self.about = self._introduction(python)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "PeerRunner":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def turn(self, clouds: Sequence[int]) -> list[Pass]:
        """Run clouds after one that is not timed; see `Runner`.

        Raises:
            Kd3dError: The child has died.
        """
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps([clouds[0], *clouds]) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError as error:
            raise Kd3dError(f"the peer {self.name} ended: {self._last_words()}") from error
        answer = self._answer()
        self._memory = answer["rss_mb"]
        return [Pass(**each) for each in answer["passes"]]

    def memory_mb(self) -> float | None:
        """Of the child, after its latest turn."""
        return self._memory

    def close(self) -> None:
        """End the child."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with suppress(BrokenPipeError):  # it may have ended already
            self._child.stdin.close()  # at the end of its input it ends by itself
        try:
            self._child.wait(10.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()
        self._errors.close()

    def _introduction(self, python: str) -> dict[str, Any]:
        """What the peer says about itself.

        Raises:
            PeerAbsentError: It does not run here.
        """
        try:
            about = self._answer()
        except Kd3dError as error:
            raise PeerAbsentError(f"{self.name} does not run here: {error}") from error
        if "absent" in about:
            raise PeerAbsentError(
                f"{self.name} does not run here ({about['absent']}): it needs "
                f"{PEERS[self.name][1]}, in {python} or in another interpreter that "
                "--peer-python names."
            )
        about["model"] = about.pop("name")
        return about

    def _answer(self) -> dict[str, Any]:
        """The child's next line.

        Raises:
            Kd3dError: There is none, because it has died.
        """
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise Kd3dError(f"the peer {self.name} ended: {self._last_words()}")
        found = json.loads(line)
        assert isinstance(found, dict)
        return found

    def _last_words(self) -> str:
        """How the child ended: its status and the last of what it wrote to standard error."""
        status = self._child.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"exit status {status}; {lines[-1] if lines else 'it said nothing'}"


def save_clouds(clouds: Sequence[PointCloud], folder: Path) -> None:
    """Write clouds for the children: `0.npy`, `1.npy`, ..., (N, 4) float32."""
    for number, cloud in enumerate(clouds):
        np.save(folder / f"{number}.npy", cloud.points)


def ratios(ours: Record, peers: Sequence[Record]) -> list[dict[str, Any]]:
    """How many times as long each peer takes as we do.

    Args:
        ours: From the bytes of a message to boxes; peers are handed arrays.
        peers: Records of peers.

    Returns:
        For each peer the stage compared, the ratios of the wall times' medians and least, and that
        of the medians of CPU time, which is a whole pass's and so None where a part is compared.
    """
    found = []
    for peer in peers:
        stage = PEERS[peer.name][0]
        whole = stage == "total"
        found.append(
            {
                "peer": peer.name,
                "against": ours.name,
                "stage": stage,
                "wall": peer.times(stage).p50 / ours.times(stage).p50,
                "least": peer.times(stage).least / ours.times(stage).least,
                "cpu": peer.cpu.p50 / ours.cpu.p50 if whole else None,
            }
        )
    return found
