"""The frozen teacher."""

from typing import Any

import torch
from torch import nn

from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import DetectorOutput


class FrozenTeacher:
    """A detector that answers and never learns.

    It is deliberately no `nn.Module`: as a plain attribute of the training module it is in no
    optimiser, no checkpoint, no weight average, and no `train()` can switch its batch norms on.

    Args:
        config: What the network is.
        network: The network with its weights; it is frozen and put into evaluation mode.
    """

    def __init__(self, config: ModelConfig, network: nn.Module) -> None:
        self.config = config
        self.network = network.eval().requires_grad_(False)

    def __call__(self, batch: NetworkBatch) -> DetectorOutput:
        """The teacher's answer to a batch that was encoded for it, without gradient."""
        with torch.no_grad():
            return self.network(batch)

    def to(self, *args: Any, **kwargs: Any) -> "FrozenTeacher":
        """Move or convert the network as `nn.Module.to` does."""
        self.network.to(*args, **kwargs)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenTeacher":
        """Itself: what never changes need not be copied."""
        return self
