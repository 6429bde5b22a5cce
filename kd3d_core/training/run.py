"""`train`: a configuration in, a checkpoint out."""

import contextlib
import hashlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch import nn

from kd3d_core.config import dump_config
from kd3d_core.datasets.sampling import ObjectSampler
from kd3d_core.distillation.labels import TeacherLabels
from kd3d_core.distillation.methods import build_loss
from kd3d_core.distillation.methods import check_pair
from kd3d_core.distillation.teacher import FrozenTeacher
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.report import result_table
from kd3d_core.evaluation.score import score
from kd3d_core.files import write_text
from kd3d_core.frame import FrameDataset
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import build_detector
from kd3d_core.training.callbacks import EmaCallback
from kd3d_core.training.callbacks import ReportCallback
from kd3d_core.training.checkpoint import Checkpoint
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.checkpoint import save_checkpoint
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.data import FrameModule
from kd3d_core.training.memory import channels_last
from kd3d_core.training.module import DetectionModule
from kd3d_core.training.predict import NetworkPredictor
from kd3d_core.training.sources import Sources
from kd3d_core.training.sources import in_steps
from kd3d_core.training.sources import open_sampler
from kd3d_core.training.sources import open_sources
from kd3d_core.training.start import average_with_start
from kd3d_core.training.start import check_same_network
from kd3d_core.training.start import start_from
from kd3d_core.training.start import start_student


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    train_frames: FrameDataset | None = None,
    val_frames: FrameDataset | None = None,
    console: Console | None = None,
) -> Path:
    """Train a model, with a teacher when the configuration names one.

    Args:
        config: The run.
        resume: Go on from `last.ckpt` in the output folder.
        train_frames: Frames to learn from, instead of the folder in `config.data`.
        val_frames: The same for validation.
        console: Where to report.

    Returns:
        The checkpoint with the averaged weights, `model.ckpt` in the output folder. `last.ckpt`
        beside it holds the state of the training, `metrics.json` the final validation.

    Raises:
        Kd3dError: Something in the configuration, the data or the teacher does not fit.
    """
    # Under torchrun every rank comes by here, and one voice is enough.
    console = console or Console(quiet=bool(getattr(rank_zero_only, "rank", 0)))
    last = config.out / "last.ckpt"
    if resume and not last.is_file():
        raise Kd3dError(f"there is nothing to resume: {last} does not exist. Leave --resume out.")
    if config.threads:
        torch.set_num_threads(config.threads)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    sources = open_sources(config, console, train_frames, val_frames)
    config = in_steps(config, sources)
    if resume:
        _check_length(config, read_checkpoint(last))
    sampler = open_sampler(config, sources, console)
    module = _build_module(config, sources, sampler, console, resume)
    data = FrameModule(
        config,
        module.model,
        sources.main,
        sources.val,
        None if module.teacher is None else module.teacher.config,
        sampler,
        sources.mixed_in,
        sources.balance,
    )
    write_text(config.out / "config.yaml", dump_config(config))
    _show_plan(config, module, sources, console)
    with _quiet():
        trainer = _trainer(config, console, validate=sources.val is not None)
    with _quiet():
        trainer.fit(module, data, ckpt_path=str(last) if resume else None, weights_only=True)
    return _finish(config, module, data, trainer, console)


def _check_length(config: TrainConfig, last: Checkpoint) -> None:
    """Refuse to go on with a run of another length: its schedule is laid out already."""
    planned = last.training.get("max_steps", config.max_steps)
    if planned != config.max_steps:
        raise Kd3dError(
            f"{config.out / 'last.ckpt'} is of a run of {planned} steps, not {config.max_steps}: "
            "resume with the same length, data, batch size and devices, or start "
            "another run from its weights (init: .../model.ckpt)."
        )


def _build_module(
    config: TrainConfig,
    sources: Sources,
    sampler: ObjectSampler | None = None,
    console: Console | None = None,
    resume: bool = False,
) -> DetectionModule:
    """Student, teacher and losses."""
    model = config.model_config_resolved()
    known = sources.main.classes
    if not set(model.classes) & set(known):
        raise Kd3dError(
            f"the model's classes ({', '.join(model.classes)}) are none of the data set's "
            f"({', '.join(known)})."
        )
    # Before the teacher's, so that one seed is one start, whoever teaches.
    detector = channels_last(build_detector(model))
    teacher, loss, lineage, labels = None, None, None, None
    if config.distill is not None:
        path = config.distill.teacher
        if path is None:
            raise Kd3dError("distill.teacher: give the teacher's checkpoint (--teacher).")
        teacher = _load_teacher(path)
        check_pair(model, teacher.config)
        _check_ground(config, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lineage = {"name": teacher.config.name, "sha256": digest}
        labels = _labels(config, model, teacher.config)
        if config.distill.methods:
            loss = build_loss(config.distill.methods, model, teacher.config)
        if config.distill.start is not None and not resume:
            with (console or Console()).status("starting the student from its teacher"):
                start_student(config, detector, teacher, sources, sampler)
        if loss is None and labels is None:
            teacher = None  # it has said what it had to say, and would only cost time
    if config.init is not None:
        start_from(detector, config.init)
        if config.init_share:
            check_same_network(detector, config.init)
    for layer in detector.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.momentum = config.optimizer.norm_momentum
    about = Checkpoint(model=model, weights={}, data=sources.describe(config), teacher=lineage)
    return DetectionModule(config, model, detector, teacher, loss, about, labels)


def _labels(
    config: TrainConfig, student: ModelConfig, teacher: ModelConfig
) -> TeacherLabels | None:
    """What adds the teacher's boxes to the ground truth, where the configuration wants it."""
    if config.distill is None or config.distill.labels is None:
        return None
    crop = config.data.crop
    seen = (student, teacher) if crop is None else (crop.of(student), crop.of(teacher))
    return TeacherLabels(config.distill.labels, *seen)


def _check_ground(config: TrainConfig, teacher: Path) -> None:
    """Refuse a teacher that would see clouds at another height than it was trained on."""
    wanted, height = read_checkpoint(teacher).ground_height, config.data.ground_height
    if wanted is not None and wanted != height:
        raise Kd3dError(
            f"data.ground_height: {height} does not suit the teacher {teacher}, which was trained "
            f"with {wanted}: both networks see the same clouds, so set it to {wanted}."
        )


def _load_teacher(path: Path) -> FrozenTeacher:
    """The teacher of a checkpoint."""
    model, network = load_model(path)
    return FrozenTeacher(model, channels_last(network))


def _trainer(config: TrainConfig, console: Console, validate: bool) -> lightning.Trainer:
    """The Lightning trainer of a run."""
    callbacks: list[Any] = [
        EmaCallback(config.optimizer.ema_decay),
        ModelCheckpoint(
            dirpath=config.out,
            filename="last",
            every_n_train_steps=min(config.checkpoint_interval, config.max_steps),
            save_top_k=1,
            save_on_exception=True,
            enable_version_counter=False,
        ),
        ReportCallback(max(config.log_interval, config.max_steps // 50), console),
    ]
    if console.is_terminal:
        callbacks.append(RichProgressBar(leave=True))
    world = config.devices * config.num_nodes
    return lightning.Trainer(
        accelerator="auto",
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy="ddp" if world > 1 else "auto",
        use_distributed_sampler=False,
        precision=resolve_precision(config.precision, console),
        max_steps=config.max_steps,
        max_epochs=-1,
        gradient_clip_val=config.optimizer.clip,
        val_check_interval=min(config.val_interval, config.max_steps) if validate else None,
        check_val_every_n_epoch=None if validate else 1,
        limit_val_batches=None if validate else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=config.log_interval,
        logger=TensorBoardLogger(config.out, name="", version="tensorboard"),
        callbacks=callbacks,
        enable_progress_bar=console.is_terminal,
        enable_model_summary=False,
        default_root_dir=config.out,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what Lightning says about things that are as they are meant to be."""
    meant = (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*overridden `transfer_batch_to_device`.*",
        ".*smaller than the logging interval.*",
        # The stream of samples resumes by the step; Lightning cannot know.
        ".*your dataloader is not resumable.*",
        ".*isinstance.treespec, LeafSpec.*",
    )
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in meant:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        logger.setLevel(level)


def resolve_precision(wanted: str, console: Console) -> Any:
    """The number format to train in.

    A CPU without bfloat16 units computes in it through a fallback that is some fifty times slower
    than float32, so such a wish is not granted.
    """
    native = (
        torch.cuda.is_bf16_supported()
        if torch.cuda.is_available()
        else torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    if wanted == "auto":
        return "bf16-mixed" if native else "32-true"
    if wanted == "bf16-mixed" and not native:
        console.print("this machine does not compute in bfloat16: training in float32 instead")
        return "32-true"
    return wanted


def _show_plan(
    config: TrainConfig, module: DetectionModule, sources: Sources, console: Console
) -> None:
    """Say what is about to happen."""
    weights = sum(p.numel() for p in module.detector.parameters())
    text = f"training {module.model.name} ({weights / 1e6:.2f} M weights) on {sources.words()}"
    if module.about is not None and module.about.teacher is not None:
        text += f", taught by {module.about.teacher['name']}"
    console.print(f"{text}: {config.max_steps} steps of {config.batch_size}, into {config.out}")


def _finish(
    config: TrainConfig,
    module: DetectionModule,
    data: FrameModule,
    trainer: lightning.Trainer,
    console: Console,
) -> Path:
    """Validate the averaged weights if that is still to do, and write the model."""
    module.detector.eval()
    told = module.result_step == trainer.global_step
    if config.init is not None and config.init_share:
        average_with_start(module.detector, config.init, config.init_share)
        told = False  # the last validation was of other weights
    if data.val_frames is not None and not told:
        module.result = score(
            NetworkPredictor(
                module.model, module.detector, ground_height=config.data.ground_height
            ),
            data.val_frames.frames,
            config.eval,
            classes=module.model.classes,
            frames=config.data.val_frames,
            console=console,
        )
    path = config.out / "model.ckpt"
    if trainer.is_global_zero:
        save_checkpoint(path, module.description())
        if module.result is not None:
            metrics = json.dumps(module.result.to_dict(), indent=2)
            write_text(config.out / "metrics.json", metrics + "\n")
            console.print(result_table(module.result, title=module.model.name))
        console.print(f"checkpoint: {path}")
    return path
