"""`kd3d_core compile`: the clouds that precisions are calibrated and judged on."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from kd3d_core.datasets.clouds import iter_clouds
from kd3d_core.datasets.opening import open_dataset
from kd3d_core.datasets.opening import recognise
from kd3d_core.evaluation.score import in_labelled_view
from kd3d_core.evaluation.score import spread
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.manifest import Manifest

#: More clouds than this make int8 no better, and calibration takes seconds a cloud.
_CALIBRATED = 24


@dataclass(frozen=True)
class Material:
    """What precisions are calibrated and judged on: other clouds, unless there is but one.

    Attributes:
        calibration: For int8.
        judged: Opens the frames to judge on, one after the other, and says which of some boxes
            lie where their labels reach.
        labelled: Whether they have ground truth.
        words: Where they come from.
    """

    calibration: list[PointCloud]
    judged: Callable[[], Iterator[tuple[Frame, Callable[[Boxes3D], Boxes3D]]]]
    labelled: bool
    words: str


def gather(data: Path | None, calibration: Path | None, frames: int, model: Manifest) -> Material:
    """Choose clouds.

    Args:
        data: Labelled frames or clouds; None simulates streets.
        calibration: More of them, for int8; None takes clouds of `data` that are not judged on,
            from between those that are.
        frames: At most this many to judge on; as many, but at most 24, are calibrated on.
        model: Gives the classes of labels and the sweeps that a cloud joins.
    """
    if data is None:
        simulated = (frame.cloud for frame in _simulated(range(1, 5)))
        return Material(
            list(islice(simulated, frames))
            if calibration is None
            else _read(calibration, frames, model),
            lambda: ((frame, _all) for frame in _simulated(range(5, 9))),
            True,
            "four simulated sweeps",
        )
    fitted = min(frames, _CALIBRATED)
    dataset = _open(data, model)
    total = len(dataset)
    judged = spread(total, frames)
    if calibration is None:
        # Half of a small data set each; without a frame to spare they are the same ones.
        judged = judged[::2] if len(judged) == total and total > 1 else judged
        rest = [i for i in range(total) if i not in set(judged)] or judged
        clouds = [dataset[rest[i]].cloud for i in spread(len(rest), fitted)]
    else:
        clouds = _read(calibration, fitted, model)

    def opened() -> Iterator[tuple[Frame, Callable[[Boxes3D], Boxes3D]]]:
        for index in judged:
            yield dataset[index], partial(in_labelled_view, dataset, index)

    labelled = total > 0 and dataset[judged[0]].boxes is not None
    return Material(clouds, opened, labelled, f"{len(judged)} frames of {data}")


def _open(path: Path, model: Manifest) -> FrameDataset:
    """Frames of a data set, or clouds of files and folders as frames without labels."""
    if path.exists() and recognise(path) is None:
        return _Clouds(list(iter_clouds([path])), model.classes)
    return open_dataset(path, classes=model.classes, sweeps=model.sweeps)


def _read(path: Path, frames: int, model: Manifest) -> list[PointCloud]:
    """At most so many clouds, evenly spread."""
    dataset = _open(path, model)
    return [dataset[i].cloud for i in spread(len(dataset), frames)]


@dataclass(frozen=True)
class _Clouds:
    """Clouds without labels as a `FrameDataset`."""

    frames: list[Frame]
    classes: Sequence[str]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]


def _simulated(seeds: Sequence[int]) -> Iterator[Frame]:
    """A sweep of a street for each seed."""
    from kd3d_core.simulation.lidar import Lidar
    from kd3d_core.simulation.sensors import SENSORS
    from kd3d_core.simulation.street import make_scene

    for seed in seeds:
        yield Lidar(make_scene(seed), SENSORS["hdl64e"], seed).scan(0.0)


def _all(boxes: Boxes3D) -> Boxes3D:
    """Labels reach everywhere."""
    return boxes
