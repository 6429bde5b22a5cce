"""What can be replayed: a bag, or a folder of cloud files, as one sequence of sweeps."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kd3d_core.datasets.bags import cloud_to_cdr
from kd3d_core.datasets.bags import count_clouds
from kd3d_core.datasets.bags import iter_cloud_messages
from kd3d_core.datasets.bags import iter_messages
from kd3d_core.datasets.bags import seconds
from kd3d_core.datasets.clouds import BAG_SUFFIXES
from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import find_clouds
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.datasets.detection3d import DETECTIONS
from kd3d_core.datasets.detection3d import from_message
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

#: Files carry no time: they count as the sweeps of a sensor with 10 Hz, from second 0.
FILE_PERIOD_NS = 10**8
FILE_FRAME_ID = "lidar"


@dataclass(frozen=True, eq=False)
class Sweep:
    """One cloud of a recording.

    Attributes:
        index: Its number in the recording, from 0.
        source: "bag:topic#index" or the path of the file.
        stamp_ns: Of its header [ns since the epoch].
        log_ns: When it was recorded [ns since the epoch].
        frame_id: Of its header; empty when it cannot be read.
        cloud: The points; None when it is malformed.
        error: Why, in a sentence that names it.
        packed: Gives it as a serialised PointCloud2: the recorded bytes where there are any.
    """

    index: int
    source: str
    stamp_ns: int
    log_ns: int
    frame_id: str
    cloud: PointCloud | None
    error: str
    packed: Callable[[], bytes]

    @property
    def stamp(self) -> float:
        """Of its header [s]."""
        return seconds(self.stamp_ns)


def find_recordings(paths: Iterable[Path | str]) -> list[Path]:
    """The recordings below `paths`: each bag is one, and so is a folder of cloud files.

    Raises:
        Kd3dError: A path does not exist or holds no recording.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if (path / "dataset.json").is_file():
            raise Kd3dError(
                f"{path} is a simulated data set. Write its drives as bags with "
                f"`kd3d_core simulate {path} --bag` and give {path / 'bags'}."
            )
        inside = find_clouds([path])
        bags = [item for item in inside if is_bag(item)]
        if bags and len(bags) < len(inside):
            raise Kd3dError(f"{path} holds both bags and cloud files; keep them apart.")
        found += bags or [path]
    return found


def single_recording(path: Path) -> Path:
    """The one recording that `path` is or holds.

    Raises:
        Kd3dError: It holds none, or several.
    """
    found = find_recordings([path])
    if len(found) > 1:
        names = ", ".join([*(str(item) for item in found[:5]), *(["..."] if found[5:] else [])])
        raise Kd3dError(f"{path} holds {len(found)} bags ({names}); name one of them.")
    return found[0]


def is_bag(path: Path) -> bool:
    """Whether `path` is a bag: a folder with its metadata, or a bag file."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file()
    return path.suffix.lower() in BAG_SUFFIXES


def count_sweeps(path: Path, options: CloudOptions, every: int = 1) -> int:
    """How many sweeps `iter_sweeps` will give.

    Raises:
        Kd3dError: The recording cannot be read.
    """
    total = count_clouds(path, options.topic) if is_bag(path) else len(find_clouds([path]))
    return -(-total // every)


def iter_sweeps(path: Path, options: CloudOptions, every: int = 1) -> Iterator[Sweep]:
    """The sweeps of one recording, in order; malformed ones come with an error.

    Args:
        path: One of `find_recordings`.
        options: What it does not say about itself.
        every: Take every n-th sweep only.

    Raises:
        Kd3dError: The recording cannot be read at all.
    """
    return (_from_bag if is_bag(path) else _from_files)(path, options, every)


def read_truth(bag: Path, topic: str, classes: Sequence[str]) -> dict[int, Boxes3D]:
    """The ground truth of a bag, read ahead: it may be recorded before or after its cloud.

    Args:
        bag: The recording.
        topic: A Detection3DArray topic; its stamps are those of the clouds.
        classes: For the labels; boxes of other classes are left out.

    Returns:
        Stamp [ns] -> boxes in the frame of the cloud with this stamp.

    Raises:
        Kd3dError: There is no such topic, or nothing readable on it.
    """
    if not is_bag(bag):
        raise Kd3dError(f"{bag} is no bag, so it has no topic {topic} to score with.")
    truth = {
        item.stamp_ns: from_message(item.message, classes)
        for item in iter_messages(bag, {topic: DETECTIONS})
        if item.message is not None
    }
    if not truth:
        raise Kd3dError(f"{bag}: the topic {topic} holds no readable message.")
    return truth


def _from_bag(path: Path, options: CloudOptions, every: int) -> Iterator[Sweep]:
    """The PointCloud2 messages of a bag."""
    for item in iter_cloud_messages(path, options.topic):
        if item.index % every:
            continue
        cloud, error = None, ""
        try:
            cloud = item.cloud(options.intensity_scale)
        except Kd3dError as problem:
            error = str(problem)
        frame_id = "" if item.message is None else str(item.message.header.frame_id)
        yield Sweep(
            item.index,
            item.source,
            item.stamp_ns,
            item.log_ns,
            frame_id,
            cloud,
            error,
            item.cloud_cdr,
        )


def _from_files(path: Path, options: CloudOptions, every: int) -> Iterator[Sweep]:
    """The cloud files of a folder, or one file."""
    for index, file in enumerate(find_clouds([path])):
        if index % every:
            continue
        cloud, error = None, ""
        try:
            cloud = read_cloud(file, options)
        except Kd3dError as problem:
            error = str(problem)
        stamp = index * FILE_PERIOD_NS

        def packed(cloud: PointCloud | None = cloud, stamp: int = stamp) -> bytes:
            if cloud is None:
                raise ValueError("Sweep.packed: the cloud is malformed")
            return cloud_to_cdr(cloud, stamp, FILE_FRAME_ID)

        yield Sweep(index, str(file), stamp, stamp, FILE_FRAME_ID, cloud, error, packed)
