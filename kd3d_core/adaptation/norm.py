"""Batch norm as it would be if the network had been trained on the user's clouds.

AdaBN: Li et al., Revisiting Batch Normalization For Practical Domain Adaptation (2017,
arXiv 1603.04779), with a share of the old statistics kept as in Schneider et al., Improving
robustness against common corruptions by covariate shift adaptation (2020, arXiv 2006.16971).
"""

import copy
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch import nn

from kd3d_core.adaptation.subject import Settings
from kd3d_core.codec.intensity import remap
from kd3d_core.frame import Frame
from kd3d_core.models.batch import collate
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.training.on_ground import ground_pose
from kd3d_core.training.on_ground import moved
from kd3d_core.training.samples import encoded


def as_seen(frame: Frame, settings: Settings) -> Frame:
    """A frame as the network is to see it: levelled, with mapped intensities."""
    if settings.ground_height is not None:
        height = settings.ground_height
        frame = moved(frame, ground_pose(frame, height), height)
    if settings.intensity is not None and frame.cloud.has_intensity:
        points = remap(frame.cloud.points, settings.intensity.table())
        frame = replace(frame, cloud=replace(frame.cloud, points=points))
    return frame


def with_statistics(
    network: CenterPointDetector,
    model: ModelConfig,
    frames: Sequence[Frame],
    settings: Settings,
    share: float,
    progress: Callable[[Sequence[Frame]], Iterable[Frame]] = iter,
    batch: int = 4,
) -> CenterPointDetector:
    """The network with other means and variances in its batch norms.

    Args:
        network: Stays as it is.
        model: What it is.
        frames: Clouds to take the statistics of; at least `batch`.
        settings: How the network sees them.
        share: Of the new statistics, in [0, 1]; the rest is that of the old ones.
        progress: Wraps the frames.
        batch: Clouds at a time.

    Returns:
        A copy, in evaluation mode.
    """
    network = copy.deepcopy(network).eval()
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    old = []
    for norm in norms:
        old.append((_tensor(norm.running_mean).clone(), _tensor(norm.running_var).clone()))
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    waiting = []
    with torch.no_grad():
        for frame in progress(frames):
            waiting.append(encoded(as_seen(frame, settings), model))
            if len(waiting) == batch:
                network(collate(waiting))
                waiting = []
        for norm, (mean, variance) in zip(norms, old, strict=True):
            _tensor(norm.running_mean).lerp_(mean, 1 - share)
            _tensor(norm.running_var).lerp_(variance, 1 - share)
    return network.eval()


def _tensor(value: Tensor | None) -> Tensor:
    """A running statistic, which every norm of ours has."""
    assert value is not None
    return value
