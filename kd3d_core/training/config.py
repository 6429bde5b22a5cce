"""`TrainConfig`: everything that makes a training run, from one YAML file."""

from pathlib import Path
from typing import Any
from typing import Literal

from pydantic import Field
from pydantic import NonNegativeFloat
from pydantic import NonNegativeInt
from pydantic import PositiveFloat
from pydantic import PositiveInt
from pydantic import model_validator

from kd3d_core.codec.decode import PerClass
from kd3d_core.codec.grid import BevGrid
from kd3d_core.config import Config
from kd3d_core.datasets.augment import AugmentConfig
from kd3d_core.datasets.opening import Format
from kd3d_core.datasets.sampling import SamplingConfig
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.labels import LabelDistillConfig
from kd3d_core.distillation.methods import MethodConfig
from kd3d_core.distillation.start import TeacherStartConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.losses import LossWeights
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
    """Data set to learn from."""
    also: tuple[Path, ...] = ()
    """More data sets to learn from in the same run, of the same layout and split."""
    val: Path | None = None
    """Data set for validation; none means no validation."""
    format: Format | None = None
    """Layout of them (docs/data.md); null tells it by what lies in the folder."""
    split: str | None = None
    """Part of `train` to learn from, in the words of the data set; null takes all."""
    val_split: str | None = None
    """Part of `val` to validate on; null takes all."""
    class_map: dict[str, str] = Field(default_factory=dict)
    """Class of the model by class of the data set, where their names differ; several classes of
    the data set may become one. Boxes of classes that the model lacks are left out."""
    sweeps: PositiveInt = 1
    """Sweeps that make a cloud, earlier ones moved to where the vehicle is; needs poses. The
    model's `input.time` tells it which point is how old."""
    sweep_stride: PositiveInt = 1
    """Every so many-th frame back is joined; nuScenes takes every sweep."""
    balance: Literal["none", "cbgs"] = "none"
    """cbgs: every class has the same share of the frames (Zhu et al. 2019, arXiv 1908.09492)."""
    cache_gb: NonNegativeFloat = 0.0
    """Hold as many decoded frames in memory as fit into so many gigabytes (of each device)."""
    val_frames: PositiveInt = 100
    """At most this many frames of it, spread evenly."""
    ground_height: float | None = Field(default=None, ge=0, le=6)
    """Clouds and boxes are shifted along z so that the ground lies this far below the origin [m],
    by the height of the sensor that the data set states, else by an estimate from the cloud. The
    model then works at every height of a mount, because the robot shifts its clouds alike; null
    takes clouds as they come."""
    min_points: NonNegativeInt = 4
    """Boxes with fewer points are not asked for: nobody could see them."""
    workers: NonNegativeInt = 1
    """Processes that load, augment and encode, but no more than there are cores; 0 does it in the
    training process."""
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
    methods: tuple[MethodConfig, ...] = (ItKDConfig(),)
    """Methods whose terms are added to the detection loss. Where `labels` or `start` is given and
    nothing is said here, there is none."""
    labels: LabelDistillConfig | None = None
    """The teacher's sure boxes join the ground truth; null for none. {} takes the defaults."""
    start: TeacherStartConfig | None = None
    """The student starts from the teacher's weights; null starts fresh, or from `init`."""
    unlabelled: UnlabelledConfig = UnlabelledConfig()
    """Clouds without ground truth to learn from."""

    @model_validator(mode="before")
    @classmethod
    def _no_method_unasked(cls, data: Any) -> Any:
        """Who asks for labels or a start alone shall not get the default method with them."""
        if isinstance(data, dict) and not (data.get("labels") is data.get("start") is None):
            return {"methods": (), **data}
        return data

    @model_validator(mode="after")
    def _check(self) -> "DistillConfig":
        types = [method.type for method in self.methods]
        twice = sorted({name for name in types if types.count(name) > 1})
        if twice:
            raise ValueError(f"methods: {', '.join(twice)} twice; give each method once")
        if not (types or self.labels or self.start or self.unlabelled.bags):
            raise ValueError("methods: nothing listens to the teacher; give one, labels or start")
        return self


class TrainConfig(Config):
    """One training run. `kd3d_core train --config` reads this from YAML."""

    model: str | ModelConfig
    """Name of a preset, or a model spelt out."""
    grid: BevGrid | None = None
    """Another grid than the model's own."""
    init: Path | None = None
    """Checkpoint whose weights are the start, wherever their shapes fit. A network that is wider
    than it starts as the same function, with channels to spare; one that is narrower takes its
    first channels. null starts fresh."""
    init_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the weights of `init`, which must be of the same network, in those that are written
    (WiSE-FT, CVPR 2022, 2109.01903: the mean of a network before and after fine-tuning is better
    than the latter on data of another kind). 0 writes what was trained."""
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    distill: DistillConfig | None = None
    eval: EvalConfig = EvalConfig()
    out: Path = Path("runs/train")
    """Folder for checkpoints and logs."""
    max_steps: PositiveInt = 2000
    max_epochs: PositiveFloat | None = None
    """Times round the frames (with cbgs: round the balanced ones) instead of `max_steps`; the
    steps follow from the data, the batch size and the devices."""
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

    @model_validator(mode="after")
    def _shares_what_there_is(self) -> "TrainConfig":
        if self.init_share and self.init is None:
            raise ValueError("init_share: there is no init to share; give one, or leave it out")
        return self

    @property
    def samples(self) -> int:
        """Frames that all devices see together over the whole run."""
        return self.max_steps * self.batch_size * self.devices * self.num_nodes

    def model_config_resolved(self) -> ModelConfig:
        """The model: the preset looked up and the grid replaced.

        Raises:
            Kd3dError: There is no such preset.
        """
        model = self.model
        if isinstance(model, str):
            try:
                model = preset(model)
            except Kd3dError as error:
                raise Kd3dError(f"model: {error} Or spell the model out.") from error
        if self.grid is None:
            return model
        return ModelConfig.model_validate(model.model_dump() | {"grid": self.grid.model_dump()})
