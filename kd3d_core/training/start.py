"""A student's start from its teacher, on the frames that training will see."""

from kd3d_core.datasets.sampling import ObjectSampler
from kd3d_core.distillation.start import start_first_channels
from kd3d_core.distillation.taught import TaughtStartConfig
from kd3d_core.distillation.taught import start_taught
from kd3d_core.distillation.teacher import FrozenTeacher
from kd3d_core.errors import Kd3dError
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.training.batches import collate_train
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.samples import TrainSamples
from kd3d_core.training.sources import Sources


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
