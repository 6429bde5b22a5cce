"""Where a network starts: from a checkpoint, or a student from its teacher."""

from pathlib import Path

import torch

from kd3d_core.datasets.sampling import ObjectSampler
from kd3d_core.distillation.start import start_first_channels
from kd3d_core.distillation.taught import TaughtStartConfig
from kd3d_core.distillation.taught import start_taught
from kd3d_core.distillation.teacher import FrozenTeacher
from kd3d_core.errors import Kd3dError
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.training.batches import collate_train
from kd3d_core.training.checkpoint import load_fitting
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.samples import TrainSamples
from kd3d_core.training.sources import Sources


def start_from(network: CenterPointDetector, path: Path) -> None:
    """Give the network the weights of a checkpoint as far as its shapes allow.

    Tensors of the same name and shape are copied. Where the checkpoint is narrower, its channels
    become the network's first ones and the network is the same function, ready to learn more;
    where it is wider, its first channels are taken (`start_first_channels`).

    Args:
        network: Fresh; changed in place, on the CPU.
        path: The checkpoint.

    Raises:
        Kd3dError: The file is missing or foreign.
    """
    source = load_model(path)[1]
    if load_fitting(network, source.state_dict()):
        start_first_channels(network, source)


def check_same_network(network: CenterPointDetector, path: Path) -> None:
    """Refuse to average a network with another one.

    Raises:
        Kd3dError: The checkpoint's network has other weights, or the file is missing or foreign.
    """
    mine, theirs = network.state_dict(), load_model(path)[1].state_dict()
    if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in theirs.items()}:
        raise Kd3dError(
            f"init_share: {path} is of another network than {network.config.name}, so their "
            "weights have no mean; leave init_share out."
        )


@torch.no_grad()
def average_with_start(network: CenterPointDetector, path: Path, share: float) -> None:
    """Move weights and batch statistics towards those of a checkpoint of the same network.

    WiSE-FT, Wortsman et al., CVPR 2022, 2109.01903.

    Args:
        network: Changed in place.
        path: The checkpoint that it started from.
        share: Of the checkpoint's weights in the result, 0 to 1.
    """
    start = load_model(path)[1].state_dict()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(start[name].to(value.device), share)


def start_student(
    config: TrainConfig,
    student: CenterPointDetector,
    teacher: FrozenTeacher,
    sources: Sources,
    sampler: ObjectSampler | None,
) -> int:
    """Give the student the start that `config.distill.start` wants.

    Args:
        config: The run.
        student: Fresh; changed in place, on the CPU.
        teacher: Not changed.
        sources: The frames of the run.
        sampler: Pastes objects into them, or None.

    Returns:
        How many tensors were copied or layers solved.

    Raises:
        Kd3dError: There is another start already, or the networks have no layer in common.
    """
    assert config.distill is not None
    start = config.distill.start
    assert start is not None
    network = teacher.network
    assert isinstance(network, CenterPointDetector)
    if config.init is not None:
        raise Kd3dError(
            f"distill.start and init ({config.init}) both say where the student starts: leave one "
            "out."
        )
    if isinstance(start, TaughtStartConfig):
        samples = TrainSamples(
            sources.main, config, student.config, teacher.config, sampler, sources.mixed_in
        )
        batches = (collate_train([samples[number]]) for number in range(start.frames))
        # One cloud a batch: the maps of all of them are held at a time.
        pairs = [(batch.inputs, batch.teacher_inputs or batch.inputs) for batch in batches]
        return start_taught(student, network, pairs, start)
    count = start_first_channels(student, network)
    if not count:
        raise Kd3dError(
            f"distill.start: no layer of {student.config.name} fits one of the teacher "
            f"{teacher.config.name}: leave it out."
        )
    return count
