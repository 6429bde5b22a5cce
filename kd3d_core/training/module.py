"""The Lightning module: a student, perhaps a teacher, losses, schedule, validation."""

from typing import Any

import lightning
import torch
from torch import Tensor

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.layout import decode_outputs
from kd3d_core.distillation.labels import TeacherLabels
from kd3d_core.distillation.methods import CombinedLoss
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.teacher import FrozenTeacher
from kd3d_core.evaluation.ap import ApAccumulator
from kd3d_core.evaluation.ap import EvalResult
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.anchor_losses import detection_loss
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.training.batches import TrainBatch
from kd3d_core.training.batches import ValBatch
from kd3d_core.training.checkpoint import Checkpoint
from kd3d_core.training.checkpoint import describe
from kd3d_core.training.config import TrainConfig

#: Average precision wants the weak detections too.
EVAL_DECODE = DecodeConfig(score_threshold=0.05)


class DetectionModule(lightning.LightningModule):
    """Trains `detector`; only its weights are the product.

    Args:
        config: The run.
        model: What the detector is.
        detector: The network that learns.
        teacher: The frozen teacher, or None.
        distillation: The loss between the two, or None.
        about: What it is trained on and by whom, for the checkpoint.
        labels: Adds the teacher's boxes to the ground truth, or None.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: ModelConfig,
        detector: CenterPointDetector,
        teacher: FrozenTeacher | None = None,
        distillation: CombinedLoss | None = None,
        about: Checkpoint | None = None,
        labels: TeacherLabels | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.model = model
        self.detector = detector
        self.teacher = teacher
        self.distillation = distillation
        self.labels = labels
        self.criterion = detection_loss(model, config.loss)
        self.about = about
        self.result: EvalResult | None = None
        self.result_step = -1
        self._accumulator: ApAccumulator | None = None

    def forward(self, batch: NetworkBatch) -> HeadMaps[Tensor] | AnchorMaps[Tensor]:
        """What the head says of a batch."""
        return self.detector(batch).outputs

    def on_fit_start(self) -> None:
        """The teacher is no submodule, so it follows the student to its device by hand."""
        if self.teacher is not None:
            self.teacher.to(self.device)

    def training_step(self, batch: TrainBatch, index: int) -> Tensor:
        """The loss of one batch."""
        terms, loss = self.losses(batch)
        shown = {name: value.detach() for name, value in terms.items()} | self.monitors()
        logged = {f"train/{name}": value for name, value in shown.items()}
        size = batch.inputs.size
        self.log_dict({"train/loss": loss.detach(), **logged}, batch_size=size)
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=size)
        return loss

    def losses(self, batch: TrainBatch) -> tuple[dict[str, Tensor], Tensor]:
        """Every term by its name, and their weighted sum."""
        output = self.detector(batch.inputs)
        if self.teacher is None:
            terms = self.criterion(output.outputs, batch.targets)
            return terms, self.config.detection_weight * torch.stack(list(terms.values())).sum()
        if batch.teacher_inputs is None or batch.teacher_targets is None:
            raise ValueError("the batch was not encoded for the teacher")
        taught = self.teacher(batch.teacher_inputs)
        targets, teacher_targets = batch.targets, batch.teacher_targets
        if self.labels is not None:
            targets, teacher_targets = self.labels(targets, teacher_targets, taught.outputs)
        terms = self.criterion(output.outputs, targets)
        loss = self.config.detection_weight * torch.stack(list(terms.values())).sum()
        if self.distillation is None:
            return terms, loss
        extra = self.distillation(
            DistillationBatch(
                student=output,
                teacher=taught,
                targets=targets,
                teacher_targets=teacher_targets,
                student_cell=_output_cell(self.model),
                teacher_cell=_output_cell(self.teacher.config),
            )
        )
        for value in extra.values():
            loss = loss + value
        return {**terms, **extra}, loss

    def monitors(self) -> dict[str, Tensor]:
        """Scalars of the last step that are no loss but worth a curve."""
        sources = (self.distillation, self.labels)
        return {
            name: value
            for source in sources
            if source is not None
            for name, value in source.monitors().items()
        }

    def on_validation_epoch_start(self) -> None:
        """Begin with no frame."""
        self._accumulator = ApAccumulator(self.model.classes, self.config.eval)

    def validation_step(self, batch: ValBatch, index: int) -> None:
        """Detect and account."""
        if self._accumulator is None:
            raise RuntimeError("validation_step before on_validation_epoch_start")
        for pred, truth, counts in zip(
            detections(self.detector, self.model, batch.inputs),
            batch.truth,
            batch.num_points,
            strict=True,
        ):
            self._accumulator.add(pred, truth, counts)

    def on_validation_epoch_end(self) -> None:
        """Log the average precisions and remember the result."""
        if self._accumulator is None:
            return
        self.result, self.result_step = self._accumulator.result(), self.global_step
        values = {name: self.result.ap(name) for name in self.model.classes}
        logged = {f"val/ap_{name}": ap for name, ap in values.items() if ap is not None}
        self.log_dict(logged, rank_zero_only=True)
        self.log("val/mean_ap", self.result.mean_ap() or 0.0, prog_bar=True, rank_zero_only=True)
        text = "  ".join(f"{name} {100 * ap:.1f}" for name, ap in values.items() if ap is not None)
        self.print(f"step {self.global_step}: validation AP  {text}")

    def configure_optimizers(self) -> Any:
        """AdamW under one cycle; norms and biases do not decay."""
        options = self.config.optimizer
        trained = [p for p in self.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in trained if p.ndim > 1]},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups,
            lr=options.lr_max,
            weight_decay=options.weight_decay,
            betas=(0.9, 0.99),
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=options.lr_max,
            # One step more than are taken: the schedule is stepped after the last one too.
            total_steps=self.config.max_steps + 1,
            pct_start=options.warm_up,
            div_factor=options.div_factor,
            final_div_factor=options.final_div_factor,
            base_momentum=0.85,
            max_momentum=0.95,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the file what the weights are."""
        checkpoint["kd3d"] = describe(self.description())

    def description(self) -> Checkpoint:
        """The state of the training as a checkpoint of the detector's present weights."""
        about = self.about
        return Checkpoint(
            model=self.model,
            weights=self.detector.state_dict(),
            step=self.global_step,
            training=self.config.model_dump(mode="json"),
            data={} if about is None else about.data,
            metrics={} if self.result is None else self.result.to_dict(),
            teacher=None if about is None else about.teacher,
        )

    def transfer_batch_to_device(
        self, batch: TrainBatch | ValBatch, device: torch.device, dataloader_idx: int
    ) -> TrainBatch | ValBatch:
        """Move the tensors of a batch."""
        if isinstance(batch, TrainBatch):
            return batch.to(device)
        return ValBatch(batch.inputs.to(device), batch.truth, batch.num_points)


def detections(
    network: CenterPointDetector,
    model: ModelConfig,
    inputs: NetworkBatch,
    config: DecodeConfig = EVAL_DECODE,
) -> list[Boxes3D]:
    """Run a network on a batch and decode every frame of it."""
    with torch.no_grad():
        maps = network(inputs).outputs
    arrays = [item.float().cpu().numpy() for item in maps.as_tuple()]
    return [
        decode_outputs(
            [array[i] for array in arrays],
            model.head.layout,
            model.grid,
            model.output_stride,
            model.classes,
            config,
        )
        for i in range(inputs.size)
    ]


def _output_cell(model: ModelConfig) -> float:
    """Edge of an output cell [m]."""
    return model.grid.cell * model.output_stride
