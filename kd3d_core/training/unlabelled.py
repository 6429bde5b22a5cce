"""Unlabelled clouds to training frames: the teacher's boxes stand in for the ground truth."""

import hashlib
import json
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import per_class
from kd3d_core.datasets.augment import count_points
from kd3d_core.datasets.recorded import Read
from kd3d_core.datasets.recorded import RecordedClouds
from kd3d_core.datasets.recorded import RecordedOptions
from kd3d_core.datasets.recorded import cache_clouds
from kd3d_core.distillation.methods import check_pair
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.config import ModelConfig
from kd3d_core.training.checkpoint import Checkpoint
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.config import UnlabelledConfig
from kd3d_core.training.predict import NetworkPredictor

#: The score that makes a box a label where neither the configuration nor the teacher says one.
LABEL_SCORE = 0.35
#: Fields of `Boxes3D` that are kept in a file of labels.
_FIELDS = ("center", "size", "yaw", "velocity", "score", "label")


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What a teacher saw in F clouds.

    Attributes:
        boxes: All its boxes, cloud after cloud, with its scores.
        num_points: (N,) int64 points in each box.
        start: (F + 1,) int64: cloud i owns boxes start[i]:start[i + 1].
    """

    boxes: Boxes3D
    num_points: NDArray[np.int64]
    start: NDArray[np.int64]

    def of(self, index: int) -> tuple[Boxes3D, NDArray[np.int64]]:
        """The boxes of one cloud and the points in them."""
        own = slice(int(self.start[index]), int(self.start[index + 1]))
        return self.boxes[own], self.num_points[own]

    def save(self, path: Path) -> None:
        """Write everything but the class names to one npz file, atomically."""
        with atomic_path(path) as temporary:
            np.savez(
                temporary,
                **{name: getattr(self.boxes, name) for name in _FIELDS},
                num_points=self.num_points,
                start=self.start,
            )

    @classmethod
    def load(cls, path: Path, classes: Sequence[str]) -> "PseudoLabels":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as data:
            boxes = Boxes3D(**{name: data[name] for name in _FIELDS}, classes=tuple(classes))
            return cls(boxes, data["num_points"], data["start"])


class TaughtFrames:
    """Recorded clouds with a teacher's boxes as their ground truth.

    Boxes with at least the score of a label are as good as true and get the score 1. Those below
    keep theirs, which tells `make_targets` that they are doubtful.

    Args:
        clouds: The clouds.
        labels: What the teacher saw in them.
        label_score: (K,) score from which on a box of each class is a label.
    """

    def __init__(
        self,
        clouds: RecordedClouds | Sequence[Frame],
        labels: PseudoLabels,
        label_score: NDArray[np.float64],
    ) -> None:
        if len(labels.start) != len(clouds) + 1:
            raise ValueError(f"labels of {len(labels.start) - 1} clouds for {len(clouds)}")
        sure = labels.boxes.score >= label_score[labels.boxes.label]
        score = np.where(sure, np.float32(1), labels.boxes.score)
        self.clouds = clouds
        self.labels = replace(labels, boxes=replace(labels.boxes, score=score))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.labels.boxes.classes

    @property
    def sure(self) -> int:
        """Boxes that are labels."""
        return int(np.count_nonzero(self.labels.boxes.score == 1))

    @property
    def doubtful(self) -> int:
        """Boxes that are not."""
        return len(self.labels.boxes) - self.sure

    def __len__(self) -> int:
        return len(self.clouds)

    def __getitem__(self, index: int) -> Frame:
        boxes, num_points = self.labels.of(index)
        return replace(self.clouds[index], boxes=boxes, num_points=num_points)


def open_unlabelled(config: TrainConfig, console: Console) -> TaughtFrames | None:
    """The unlabelled clouds of a configuration, labelled by its teacher; None when it has none.

    Clouds and labels are kept in the output folder, so that a resumed run finds them.

    Raises:
        Kd3dError: There is no teacher, it does not fit the student, the recordings cannot be read
            or hold no usable cloud, or the teacher sees nothing in any of them.
    """
    if config.distill is None or not config.distill.unlabelled.bags:
        return None
    path, settings = config.distill.teacher, config.distill.unlabelled
    if path is None:
        raise Kd3dError("distill.teacher: give the teacher's checkpoint (--teacher).")
    teacher, student = read_checkpoint(path), config.model_config_resolved()
    check_pair(student, teacher.model)
    threshold = label_scores(teacher, settings)
    clouds = _clouds(settings, student, config.out / "cache", console)
    labels = _cached_labels(path, clouds, teacher.model, threshold * settings.doubt, console)
    frames = TaughtFrames(clouds, labels, threshold)
    if not frames.sure:
        raise Kd3dError(
            f"the teacher {teacher.model.name} finds nothing to learn from in the {len(clouds)} "
            "clouds: no box reaches distill.unlabelled.label_score. Look at what it sees with "
            "`kd3d_core export` and `detect`; mind the sensor's height and intensity_scale."
        )
    console.print(
        f"{len(frames)} unlabelled clouds ({clouds.left_out} left out as malformed or too empty): "
        f"the teacher gives {frames.sure} labels and leaves {frames.doubtful} places open"
    )
    return frames


def label_scores(teacher: Checkpoint, settings: UnlabelledConfig) -> NDArray[np.float64]:
    """(K,) float64 score from which on the teacher's boxes of each class are labels.

    Raises:
        Kd3dError: `label_score` does not fit the teacher's classes.
    """
    classes = teacher.model.classes
    if settings.label_score is not None:
        return per_class(settings.label_score, classes, "distill.unlabelled.label_score")
    known = teacher.metrics.get("metrics", {}).get("all", {})
    best = [known.get(name, {}).get("best_threshold") for name in classes]
    return np.array([LABEL_SCORE if value is None else value for value in best], np.float64)


def predict_labels(
    predict: Callable[[Frame], Boxes3D],
    frames: Iterable[Frame],
    classes: Sequence[str],
    floor: NDArray[np.float64],
) -> PseudoLabels:
    """What a detector sees in clouds.

    Args:
        predict: Gives the boxes of a frame.
        frames: The clouds, in order.
        classes: The K class names.
        floor: (K,) boxes with a lower score are background.
    """
    boxes, counts, start = [Boxes3D.empty(classes)], [np.zeros(0, np.int64)], [0]
    for frame in frames:
        found = predict(frame)
        found = found[found.score >= floor[found.label]]
        boxes.append(found)
        counts.append(count_points(found, frame.cloud.points))
        start.append(start[-1] + len(found))
    return PseudoLabels(
        Boxes3D.concatenate(boxes), np.concatenate(counts), np.array(start, np.int64)
    )


def _clouds(
    settings: UnlabelledConfig, student: ModelConfig, folder: Path, console: Console
) -> RecordedClouds:
    """The usable clouds, in the cache."""
    options = RecordedOptions(
        topic=settings.topic,
        intensity_scale=settings.intensity_scale,
        every=settings.every,
        x=student.grid.x,
        y=student.grid.y,
        min_points=settings.min_points,
    )

    def bar(frames: Iterable[Read]) -> Iterable[Read]:
        # Bags do not say how many clouds they hold before they are read.
        return track(frames, "copying clouds", console=console, transient=True)

    return cache_clouds(settings.bags, folder, options, bar)


def _cached_labels(
    path: Path,
    clouds: RecordedClouds,
    model: ModelConfig,
    floor: NDArray[np.float64],
    console: Console,
) -> PseudoLabels:
    """The teacher's boxes, from the file beside the clouds where this teacher saw them before."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    key = hashlib.sha256(json.dumps([digest, floor.tolist()]).encode()).hexdigest()[:16]
    file = clouds.folder.parent / f"{clouds.folder.name}-labels-{key}.npz"
    if file.is_file():
        return PseudoLabels.load(file, model.classes)
    predictor = NetworkPredictor.load(path)
    predictor.decode = DecodeConfig(score_threshold=tuple(floor.tolist()))
    frames = (
        clouds[i]
        for i in track(range(len(clouds)), "asking the teacher", console=console, transient=True)
    )
    labels = predict_labels(predictor, frames, model.classes, floor)
    labels.save(file)
    return labels
