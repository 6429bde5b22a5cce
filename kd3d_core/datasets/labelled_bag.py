"""Bags with labels as a data set: PointCloud2 with Detection3DArray of the same stamp.

The layout is that of `drive_bags.write_drive_bag`, and of a recording beside which somebody
published labels: one topic of clouds, one of boxes whose header stamps are those of the clouds,
and, where there is one, `/tf` with a transform into the clouds' frame at that stamp. A folder of
bags is a data set of as many drives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.bags import POINT_CLOUD
from kd3d_core.datasets.bags import BagMessage
from kd3d_core.datasets.bags import iter_messages
from kd3d_core.datasets.bags import open_bag
from kd3d_core.datasets.bags import seconds
from kd3d_core.datasets.clouds import BAG_SUFFIXES
from kd3d_core.datasets.detection3d import DETECTIONS
from kd3d_core.datasets.detection3d import from_message
from kd3d_core.datasets.detection3d import labels_in
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.transforms import matrix_from_quaternion

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader

TRANSFORM = "tf2_msgs/msg/TFMessage"


@dataclass(frozen=True)
class _Entry:
    """Where a cloud lies.

    Attributes:
        bag: Index of its bag.
        topic: Of the bag.
        index: Its number on the topic.
        log_ns: When it was recorded [ns].
        number: How many of the topic were recorded at that very time before it.
    """

    bag: int
    topic: str
    index: int
    log_ns: int
    number: int


class LabelledBagDataset:
    """Frames of bags: every cloud, with its boxes where a message of its stamp has them.

    Bags are read once when they are opened, for what lies where; then a cloud is read when it is
    asked for. Velocities are unknown: Detection3D has none.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        topic: str | None = None,
        truth: str | None = None,
        classes: Sequence[str] | None = None,
        intensity_scale: float | None = None,
    ) -> None:
        """Find clouds and boxes.

        Args:
            root: A bag (rosbag2 folder, `.mcap`, `.db3` or ROS 1 `.bag`), or a folder of bags.
            topic: Of the clouds; None takes the only one of its type.
            truth: Of the boxes; None takes the only one of its type.
            classes: What the labels point into; boxes of others are left out. None takes all that
                the messages name.
            intensity_scale: The sensor's value for full intensity; None guesses it.

        Raises:
            Kd3dError: There is no bag, it cannot be read, or a topic is missing or not unique.
        """
        self.root = Path(root)
        self.bags = find_bags(self.root)
        if not self.bags:
            raise Kd3dError(f"{root} is no bag and holds none.")
        self._scale = intensity_scale
        self._entries: list[_Entry] = []
        self._truth: list[dict[int, Any]] = []
        self._poses: list[dict[tuple[str, int], NDArray[np.float64]]] = []
        for bag in self.bags:
            self._index(bag, topic, truth)
        names = {name for found in self._truth for name in labels_in(found.values())}
        ours = [name for name in DEFAULT_CLASSES if name in names]
        self._classes = tuple(classes or (*ours, *sorted(names - set(ours))))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self._classes

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Frame:
        """One frame; `boxes` is None where no message has the cloud's stamp."""
        entry = self._entries[index]
        item = self._read(entry)
        cloud = item.cloud(self._scale)
        stamp = item.stamp_ns
        message = self._truth[entry.bag].get(stamp)
        boxes = None if message is None else from_message(message, self._classes)
        counts = None if boxes is None else boxes.contains(cloud.points).sum(axis=1)
        return Frame(
            cloud=cloud,
            source=item.source,
            stamp=seconds(stamp),
            boxes=boxes,
            num_points=None if counts is None else counts.astype(np.int64),
            pose=self._poses[entry.bag].get((item.message.header.frame_id, stamp)),
        )

    def drive(self, index: int) -> str:
        """Name of the bag that a frame lies in."""
        return self.bags[self._entries[index].bag].name

    def _index(self, bag: Path, topic: str | None, truth: str | None) -> None:
        """Note where the clouds of a bag lie, and keep its boxes and poses."""
        number = len(self._truth)
        with open_bag(bag) as reader:
            clouds = _only(reader, bag, POINT_CLOUD, topic)
            labels = _only(reader, bag, DETECTIONS, truth)
            moved = [c.topic for c in reader.connections if c.msgtype == TRANSFORM]
            last, same = -1, 0
            wanted = [c for c in reader.connections if c.topic == clouds]
            for index, (_, log_ns, _) in enumerate(reader.messages(wanted)):
                same = same + 1 if log_ns == last else 0
                last = log_ns
                self._entries.append(_Entry(number, clouds, index, log_ns, same))
        found = iter_messages(bag, {labels: DETECTIONS})
        self._truth.append({i.stamp_ns: i.message for i in found if i.message is not None})
        poses: dict[tuple[str, int], NDArray[np.float64]] = {}
        if moved:
            for item in iter_messages(bag, dict.fromkeys(moved, TRANSFORM)):
                poses |= _poses(item)
        self._poses.append(poses)

    def _read(self, entry: _Entry) -> BagMessage:
        """The message of a cloud."""
        bag = self.bags[entry.bag]
        source = f"{bag}:{entry.topic}#{entry.index}"
        with open_bag(bag) as reader:
            wanted = [c for c in reader.connections if c.topic == entry.topic]
            found = reader.messages(wanted, start=entry.log_ns, stop=entry.log_ns + 1)
            for number, (connection, log_ns, raw) in enumerate(found):
                if number == entry.number:
                    message = reader.deserialize(raw, connection.msgtype)
                    return BagMessage(
                        entry.topic, entry.index, log_ns, bytes(raw), message, "", source,
                        reader.is2,
                    )  # fmt: skip
        raise Kd3dError(f"{source} is not in the bag any more: open it again.")


def find_bags(root: Path) -> list[Path]:
    """The bag that a path is, or the bags in a folder, by name."""
    if _is_bag(root):
        return [root]
    return sorted(path for path in root.iterdir() if _is_bag(path)) if root.is_dir() else []


def _is_bag(path: Path) -> bool:
    """Whether a path is a rosbag2 folder or a bag file."""
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return (path / "metadata.yaml").is_file()
    return path.suffix.lower() in BAG_SUFFIXES and path.is_file()


def _only(reader: "AnyReader", bag: Path, kind: str, topic: str | None) -> str:
    """The topic of a type, which must be the only one unless it is named."""
    found = sorted({c.topic for c in reader.connections if c.msgtype == kind})
    if topic is not None and topic in found:
        return topic
    if topic is None and len(found) == 1:
        return found[0]
    what = f"no topic {topic}" if topic is not None else f"{len(found)} topics"
    remedy = f"choose one of {', '.join(found)}" if found else "a bag with labels needs one"
    raise Kd3dError(f"{bag} has {what} of type {kind}: {remedy}.")


def _poses(item: BagMessage) -> dict[tuple[str, int], NDArray[np.float64]]:
    """(4, 4) parent_from_child by child and stamp [ns] of a TFMessage."""
    poses = {}
    for transform in item.message.transforms if item.message is not None else ():
        stamp = transform.header.stamp
        place, turn = transform.transform.translation, transform.transform.rotation
        pose = np.eye(4)
        pose[:3, :3] = matrix_from_quaternion((turn.x, turn.y, turn.z, turn.w))
        pose[:3, 3] = place.x, place.y, place.z
        poses[transform.child_frame_id, int(stamp.sec) * 10**9 + int(stamp.nanosec)] = pose
    return poses
