"""`TrainConfig`: everything that makes a training run, from one YAML file."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic import NonNegativeFloat
from pydantic import NonNegativeInt
from pydantic import PositiveFloat
from pydantic import PositiveInt

from kd3d_core.codec.decode import PerClass
from kd3d_core.codec.grid import BevGrid
from kd3d_core.config import Config
from kd3d_core.datasets.augment import AugmentConfig
from kd3d_core.datasets.sampling import SamplingConfig
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.methods import MethodConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.losses import LossWeights
from kd3d_core.models.presets import PRESETS
from kd3d_core.models.presets import preset


class CropConfig(Config):
    """The part of the model's area that a training frame shows."""

    x: tuple[float, float]
    """Extent along x [m]."""
    y: tuple[float, float]
    """Extent along y [m]."""

    def of(self, model: ModelConfig) -> ModelConfig:
        """The model on this part of its grid; its strides must divide it."""
        grid = model.grid.model_dump() | {"x": self.x, "y": self.y}
        return ModelConfig.model_validate(model.model_dump() | {"grid": grid})


class DataConfig(Config):
    """Where the frames come from and how they are fed."""

    train: Path = Path("data/sim/train")
    """Data set to learn from (as `kd3d_core simulate` writes it)."""
    val: Path | None = None
    """Data set for validation; none means no validation."""
    val_frames: PositiveInt = 100
    """At most this many frames of it, spread evenly."""
    min_points: NonNegativeInt = 4
    """Boxes with fewer points are not asked for: nobody could see them."""
    workers: NonNegativeInt = 1
    """Processes that load, augment and encode; 0 does it in the training process."""
    augment: AugmentConfig | None = Field(default_factory=AugmentConfig)
    """Random changes of the frames; null for none."""
    sampling: SamplingConfig | None = Field(default_factory=SamplingConfig)
    """Objects pasted from other frames; null for none."""
    crop: CropConfig | None = None
    """Learn on this part of the area only, which makes a step cheaper; validation and the saved
    model keep the whole. With `augment.rotation: 3.14159` every direction comes into view."""


class OptimizerConfig(Config):
    """AdamW under a one-cycle schedule (as in CenterPoint and itKD)."""

    lr_max: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.01
    warm_up: float = Field(default=0.3, gt=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    div_factor: PositiveFloat = 10.0
    """The learning rate starts at lr_max over this."""
    final_div_factor: PositiveFloat = 1e3
    """And ends at its start over this."""
    clip: PositiveFloat = 35.0
    """Largest norm of the gradient."""
    norm_momentum: float = Field(default=0.1, gt=0, le=1)
    """Share of a batch in the running statistics of batch norm: trainings of some hundred steps
    need more than the 0.01 of the long schedules, and the weight average smooths them anyway."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the exponential average of the weights, reached after a warm-up."""


class UnlabelledConfig(Config):
    """Recorded clouds that nobody labelled: the teacher's boxes stand in for the ground truth."""

    bags: tuple[Path, ...] = ()
    """Bags (mined or not), folders of bags, or files with clouds; none: no unlabelled clouds."""
    topic: str | None = None
    """PointCloud2 topic; null takes the only one of each bag."""
    intensity_scale: PositiveFloat | None = None
    """The sensor's value for full intensity; null guesses it from the values of each cloud."""
    every: PositiveInt = 1
    """Use every n-th cloud: neighbours in a drive at 10 Hz tell nearly the same."""
    min_points: PositiveInt = 200
    """Clouds with fewer points within the student's range are left out."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Share of these clouds in every batch; the rest are labelled frames of `data.train`, so that
    nothing is forgotten. 1 learns from these clouds alone."""
    label_score: PerClass | None = None
    """The teacher's boxes with at least this score are taken for true: one value, or one by class
    name. null takes the scores with the best F1 in the teacher's own validation, and 0.35 for
    classes that it did not validate."""
    doubt: float = Field(default=0.5, ge=0.05, le=1)
    """Boxes with at least this share of `label_score` are doubtful: at their place the student is
    neither rewarded nor punished. 1 takes every box below `label_score` for background."""


class DistillConfig(Config):
    """A teacher and how it is listened to."""

    teacher: Path | None = None
    """Checkpoint of the teacher."""
    methods: tuple[MethodConfig, ...] = Field(default=(ItKDConfig(),), min_length=1)
    """Methods whose terms are added to the detection loss."""
    unlabelled: UnlabelledConfig = UnlabelledConfig()
    """Clouds without ground truth to learn from."""


class TrainConfig(Config):
    """One training run. `kd3d_core train --config` reads this from YAML."""

    model: str | ModelConfig
    """Name of a preset, or a model spelt out."""
    grid: BevGrid | None = None
    """Another grid than the model's own."""
    init: Path | None = None
    """Checkpoint whose weights are the start, wherever their shapes fit; null starts fresh."""
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    distill: DistillConfig | None = None
    eval: EvalConfig = EvalConfig()
    out: Path = Path("runs/train")
    """Folder for checkpoints and logs."""
    max_steps: PositiveInt = 2000
    batch_size: PositiveInt = 4
    """Frames a step and device."""
    loss: LossWeights = LossWeights()
    """Weights of the terms of the detection loss."""
    detection_weight: NonNegativeFloat = 1.0
    """Weight of the detection loss beside the distillation terms."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Number format; auto: bf16-mixed where the hardware computes in bfloat16, else 32-true."""
    seed: int = 0
    threads: NonNegativeInt = 0
    """CPU threads of the training process; 0 leaves it to torch."""
    devices: PositiveInt = 1
    """Devices a machine; more than one trains with distributed data parallel."""
    num_nodes: PositiveInt = 1
    val_interval: PositiveInt = 500
    """Steps between validations; there is always one at the end."""
    checkpoint_interval: PositiveInt = 200
    """Steps between checkpoints from which `--resume` can go on."""
    log_interval: PositiveInt = 10
    """Steps between log entries."""

    def model_config_resolved(self) -> ModelConfig:
        """The model: the preset looked up and the grid replaced.

        Raises:
            Kd3dError: There is no such preset.
        """
        model = self.model
        if isinstance(model, str):
            if model not in PRESETS:
                raise Kd3dError(
                    f"model: there is no preset {model!r}; use one of {', '.join(PRESETS)}, or "
                    "spell the model out."
                )
            model = preset(model)
        if self.grid is None:
            return model
        return ModelConfig.model_validate(model.model_dump() | {"grid": self.grid.model_dump()})
