"""What `adapt` may do."""

from typing import Literal

from pydantic import Field
from pydantic import NonNegativeInt
from pydantic import PositiveInt

from kd3d_core.config import Config

#: What may be done about intensity.
IntensityChoice = Literal["auto", "match", "drop", "keep"]


class AdaptConfig(Config):
    """The steps of an adaptation. On by default is what helped (docs/adapt.md)."""

    clouds: PositiveInt = 120
    """So many clouds are taken, spread evenly over the recording; about 1.5 MB of memory each."""
    mount: bool = True
    """Level the clouds of a mount that differs from that of the training, for a model that takes
    clouds as they come."""
    intensity: IntensityChoice = "auto"
    """auto: bring the intensities onto those of the training, or take them away, whichever
    measures better; match and drop try that one alone; keep leaves them."""
    batch_norm: float = Field(default=0.0, ge=0, le=1)
    """Share of the user's clouds in the statistics of batch norm; 0 leaves them (checkpoints)."""
    thresholds: bool = False
    """Choose the score threshold of each class by agreement with the teacher."""
    min_boxes: PositiveInt = 30
    """Classes of which the teacher sees fewer boxes keep their threshold, and do not count in the
    measure: the best of few is chance."""
    steps: NonNegativeInt = 0
    """Training steps on the teacher's boxes; 0 trains nothing (checkpoints)."""
    batch_size: PositiveInt = 4
    """Clouds of a training step."""
    learning_rate: float = Field(default=3e-4, gt=0)
    """Largest learning rate of the training."""
    least_gain: float = Field(default=0.002, ge=0, le=1)
    """A step is kept when the measure rises by at least this much. It is below what chance gives,
    but the order of the steps is that of how surely they help."""
    seed: int = 0
