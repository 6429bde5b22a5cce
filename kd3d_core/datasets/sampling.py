"""Ground-truth sampling: paste objects of other frames into a frame (SECOND, Sensors 2018)."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic import NonNegativeInt
from pydantic import PositiveInt

from kd3d_core.config import Config
from kd3d_core.datasets.augment import points_in_any
from kd3d_core.datasets.caching import locked
from kd3d_core.datasets.labels import boxes_of
from kd3d_core.files import atomic_path
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.iou import bev_iou

#: Of the files of databases; raised when an older file would be misread.
_VERSION = 2


class SamplingConfig(Config):
    """How many objects a training frame is filled up to, and which may be pasted."""

    per_class: dict[str, NonNegativeInt] = Field(
        default_factory=lambda: {
            "car": 8,
            "truck": 3,
            "bus": 3,
            "pedestrian": 6,
            "cyclist": 5,
            "motorcycle": 4,
        }
    )
    """A frame with fewer objects of a class is filled up to this many."""
    min_points: PositiveInt | dict[str, PositiveInt] = 8
    """Objects with fewer points are not worth pasting: one number, or one by class name."""
    max_objects: PositiveInt = 2000
    """At most this many objects of a class are remembered."""
    probability: float = Field(default=0.7, ge=0, le=1)
    """Share of the frames that are filled up."""
    until: float = Field(default=1.0, ge=0, le=1)
    """Nothing is pasted after this share of the steps: pasted objects stand where none would, and
    the network ends on streets as they are (fading: PointAugmenting, CVPR 2021, sec. 3.4)."""

    def needed(self, name: str) -> int:
        """Points that an object of a class must have."""
        if isinstance(self.min_points, int):
            return self.min_points
        return self.min_points.get(name, 1)


@dataclass(frozen=True, eq=False)
class ObjectDatabase:
    """Objects cut out of a data set.

    Attributes:
        boxes: N boxes, each in the frame of the sweep it was cut out of.
        height: (N,) float32 height of that sweep's sensor above ground [m], NaN when unknown.
        points: (P, 4) float32 points of all objects, one after the other, in the same frames.
        start: (N + 1,) int64: object i owns points[start[i]:start[i + 1]].
        time: (P,) float32 seconds relative to the stamp of its sweep; 0 where that knew none.
    """

    boxes: Boxes3D
    height: NDArray[np.float32]
    points: NDArray[np.float32]
    start: NDArray[np.int64]
    time: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    def points_of(self, index: int) -> NDArray[np.float32]:
        """(M, 4) float32 points of one object."""
        return self.points[self.start[index] : self.start[index + 1]]

    def time_of(self, index: int) -> NDArray[np.float32]:
        """(M,) float32 times of the points of one object [s]."""
        return self.time[self.start[index] : self.start[index + 1]]

    def save(self, path: Path) -> None:
        """Write everything to one npz file, atomically."""
        names = ("center", "size", "yaw", "velocity", "label")
        with atomic_path(path) as temporary:
            np.savez(
                temporary,
                **{name: getattr(self.boxes, name) for name in names},
                classes=np.array(self.boxes.classes),
                height=self.height,
                points=self.points,
                start=self.start,
                time=self.time,
            )

    @classmethod
    def load(cls, path: Path) -> "ObjectDatabase":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as data:
            boxes = Boxes3D.make(
                data["center"],
                data["size"],
                data["yaw"],
                data["label"],
                velocity=data["velocity"],
                classes=tuple(str(name) for name in data["classes"]),
            )
            return cls(boxes, data["height"], data["points"], data["start"], data["time"])


def build_database(
    dataset: FrameDataset, config: SamplingConfig, indices: Sequence[int]
) -> ObjectDatabase:
    """Cut out the objects of the frames at `indices` that have enough points.

    Frames come in the order given until a class has `max_objects`; pass a shuffled order when the
    data set is larger than that.
    """
    classes = tuple(dataset.classes)
    boxes: list[Boxes3D] = [Boxes3D.empty(classes)]
    heights: list[float] = []
    points: list[NDArray[np.float32]] = []
    times: list[NDArray[np.float32]] = []
    counts = dict.fromkeys(range(len(classes)), 0)
    wanted = {i for i, name in enumerate(classes) if config.per_class.get(name, 0)}
    for index in indices:
        open_labels = [label for label in wanted if counts[label] < config.max_objects]
        if not open_labels:
            break
        # Reading points and cutting out is the slow part: classes that are full need none of it.
        told = boxes_of(dataset, index)
        if told is None or not np.isin(told.label, open_labels).any():
            continue
        frame = dataset[index]
        if frame.boxes is None:
            continue
        candidates = frame.boxes[np.isin(frame.boxes.label, open_labels)]
        for i, inside in enumerate(candidates.contains(frame.cloud.points)):
            label = int(candidates.label[i])
            few = inside.sum() < config.needed(classes[label])
            if few or counts[label] >= config.max_objects:
                continue
            counts[label] += 1
            boxes.append(candidates[i])
            heights.append(np.nan if frame.sensor_height is None else frame.sensor_height)
            points.append(frame.cloud.points[inside])
            time = frame.cloud.time
            times.append(np.zeros(inside.sum(), np.float32) if time is None else time[inside])
    lengths = np.array([len(part) for part in points], np.int64)
    return ObjectDatabase(
        boxes=Boxes3D.concatenate(boxes),
        height=np.array(heights, np.float32),
        points=np.concatenate([np.zeros((0, 4), np.float32), *points]),
        start=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        time=np.concatenate([np.zeros(0, np.float32), *times]),
    )


def cached_database(
    dataset: FrameDataset, config: SamplingConfig, seed: int, folder: Path, identity: str
) -> ObjectDatabase:
    """Load the database from `folder`, or build it in a shuffled order and leave it there.

    Args:
        dataset: Where the objects come from.
        config: Which are taken.
        seed: Order of the frames.
        folder: Cache folder.
        identity: What tells this data set from others, such as its absolute path and its age.
    """
    chosen = config.model_dump(mode="json", include={"per_class", "min_points", "max_objects"})
    key = json.dumps([_VERSION, chosen, list(dataset.classes), seed, identity, len(dataset)])
    path = folder / f"objects-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    with locked(path):
        if path.is_file():
            return ObjectDatabase.load(path)
        order = np.random.default_rng(seed).permutation(len(dataset))
        database = build_database(dataset, config, [int(i) for i in order])
        database.save(path)
    return database


class ObjectSampler:
    """Fills frames up with objects of a database, at the places they were cut out of."""

    def __init__(self, database: ObjectDatabase, config: SamplingConfig) -> None:
        self.database = database
        self.config = config
        self._of_class = {
            name: np.flatnonzero(database.boxes.label == label)
            for label, name in enumerate(database.boxes.classes)
        }

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """Paste objects that collide with no other box; scene points inside them go."""
        if frame.boxes is None or rng.random() >= self.config.probability:
            return frame
        chosen = self._choose(frame.boxes, rng)
        if not len(chosen):
            return frame
        boxes = self.database.boxes[chosen]
        lift = self._lift(frame, chosen)
        boxes = replace(boxes, center=boxes.center + lift[:, None] * np.array([0, 0, 1.0]))
        pasted = []
        for index, up in zip(chosen, lift, strict=True):
            part = self.database.points_of(int(index)).copy()
            part[:, 2] += up
            pasted.append(part)
        free = ~points_in_any(boxes, frame.cloud.points)
        time = frame.cloud.time
        if time is not None:
            times = [self.database.time_of(int(index)) for index in chosen]
            time = np.concatenate([time[free], *times])
        # Rings end here: a pasted point has none in this sweep.
        points = np.concatenate([frame.cloud.points[free], *pasted])
        cloud = replace(frame.cloud, points=points, time=time, ring=None)
        counts = np.array([len(part) for part in pasted], np.int64)
        known = frame.num_points
        if known is None:
            known = np.full(len(frame.boxes), np.iinfo(np.int64).max)
        return replace(
            frame,
            cloud=cloud,
            boxes=Boxes3D.concatenate([frame.boxes, boxes]),
            num_points=np.concatenate([known, counts]),
            track_id=None,
        )

    def _choose(self, present: Boxes3D, rng: np.random.Generator) -> NDArray[np.int64]:
        """Indices of objects that fill every class up and collide with nothing."""
        candidates = []
        for name, wanted in self.config.per_class.items():
            pool = self._of_class.get(name, np.zeros(0, np.int64))
            label = present.classes.index(name) if name in present.classes else -1
            missing = min(wanted - int((present.label == label).sum()), len(pool))
            if missing > 0:
                candidates.append(rng.choice(pool, missing, replace=False))
        if not candidates:
            return np.zeros(0, np.int64)
        drawn = rng.permutation(np.concatenate(candidates))
        bev = self.database.boxes[drawn].bev
        free = ~(bev_iou(bev, present.bev) > 0).any(axis=1)
        drawn, bev = drawn[free], bev[free]
        overlap = bev_iou(bev, bev) > 0
        taken: list[int] = []
        for i in range(len(drawn)):
            if not overlap[i, taken].any():
                taken.append(i)
        return drawn[taken]

    def _lift(self, frame: Frame, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """(M,) rise [m] that sets objects cut out under another sensor height on the ground."""
        if frame.sensor_height is None:
            return np.zeros(len(chosen), np.float32)
        return np.nan_to_num(self.database.height[chosen] - np.float32(frame.sensor_height))
