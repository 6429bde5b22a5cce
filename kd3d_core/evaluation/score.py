"""Run a detector over a data set and score it."""

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.progress import track

from kd3d_core.datasets.kitti import KittiDataset
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.ap import ApAccumulator
from kd3d_core.evaluation.ap import EvalResult
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D


def spread(total: int, count: int | None) -> list[int]:
    """At most `count` indices below `total`, evenly spaced; all of them when None."""
    if count is None or count >= total:
        return list(range(total))
    return [int(i) for i in np.linspace(0, total - 1, count).round()]


def in_labelled_view(dataset: FrameDataset, index: int, pred: Boxes3D) -> Boxes3D:
    """Detections where the ground truth of a frame reaches: KITTI's camera sees a part only."""
    if isinstance(dataset, KittiDataset):
        return pred[dataset.in_camera_view(index, pred.center)]
    return pred


def score(
    predict: Callable[[Frame], Boxes3D],
    dataset: FrameDataset,
    config: EvalConfig,
    *,
    classes: Sequence[str] | None = None,
    frames: int | None = None,
    console: Console | None = None,
    also: Sequence[Callable[[int, Frame, Boxes3D], None]] = (),
) -> EvalResult:
    """Metrics of a detector on the frames of a data set.

    KITTI's ground truth covers the view of one camera only: detections outside it are left out
    there, because nobody knows whether they are right.

    Args:
        predict: Gives the boxes of a frame from its cloud.
        dataset: Frames with ground truth.
        config: What counts.
        classes: Classes to report; those of the data set when None.
        frames: At most this many frames, spread evenly; all when None.
        console: Where a progress bar goes; none without it.
        also: Are called with the index, the frame and all its detections: other metrics that look
            at the same frames.

    Raises:
        Kd3dError: A frame has no ground truth.
    """
    accumulator = ApAccumulator(classes or dataset.classes, config)
    indices: Sequence[int] = spread(len(dataset), frames)
    shown = (
        indices
        if console is None
        else track(indices, "evaluating", console=console, transient=True)
    )
    for index in shown:
        frame = dataset[index]
        if frame.boxes is None:
            raise Kd3dError(f"{frame.source} has no ground truth, so nothing can be scored.")
        pred = predict(frame)
        for listener in also:
            listener(index, frame, pred)
        pred = in_labelled_view(dataset, index, pred)
        accumulator.add(pred, frame.boxes, frame.num_points)
    return accumulator.result()
