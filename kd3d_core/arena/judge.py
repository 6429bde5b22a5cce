"""A checkpoint on the frames that decide: average precision, and what nuScenes counts."""

from collections.abc import Sequence
from pathlib import Path

from kd3d_core.arena.result import Scores
from kd3d_core.datasets.relabel import with_classes
from kd3d_core.datasets.simulated import SimulatedDataset
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.ap import ApAccumulator
from kd3d_core.evaluation.nuscenes import NuScenesAccumulator
from kd3d_core.evaluation.nuscenes import NuScenesEvalConfig
from kd3d_core.evaluation.score import spread
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.predict import NetworkPredictor


def judge(checkpoint: Path, config: TrainConfig) -> Scores:
    """Detect on the frames of `config.data.val` once and count in every way.

    Args:
        checkpoint: The detector.
        config: Says which frames and what counts.

    Raises:
        Kd3dError: The checkpoint or the frames cannot be read, or have no ground truth.
    """
    predict = NetworkPredictor.load(checkpoint)
    classes = predict.model.classes
    if config.data.val is None:
        raise ValueError("an arena without frames that decide")
    dataset = SimulatedDataset(config.data.val)
    precision = ApAccumulator(classes, config.eval)
    nuscenes = NuScenesAccumulator(classes, _protocol(classes, config.eval.max_range))
    indices = spread(len(dataset), config.data.val_frames)
    for index in indices:
        frame = with_classes(dataset[index], classes)
        if frame.boxes is None:
            raise Kd3dError(f"{frame.source} has no ground truth, so nothing can be scored.")
        found = predict(frame)
        precision.add(found, frame.boxes, frame.num_points)
        nuscenes.add(found, frame.boxes, num_points=frame.num_points)
    result, official = precision.result(), nuscenes.result()
    return Scores(
        frames=len(indices),
        mean_ap=result.mean_ap(),
        ap={name: result.ap(name) for name in classes},
        ap_by_ring={ring: result.mean_ap(ring) for ring in result.metrics if ring != "all"},
        nds=official.nds,
        nuscenes_map=official.mean_ap,
        nuscenes_errors={str(name): error for name, error in official.errors.items()},
    )


def _protocol(classes: Sequence[str], max_range: float) -> NuScenesEvalConfig:
    """What nuScenes counts, less the attributes, which simulated objects have not, and no farther.

    Args:
        classes: Of the detector.
        max_range: Ground truth beyond it does not count in average precision either [m].
    """
    official = NuScenesEvalConfig.without_attributes()
    ranges = {name: min(official.range_of(name), max_range) for name in classes}
    return official.model_copy(update={"class_range": ranges})
