"""Layout of weights in memory."""

from typing import TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def channels_last(module: ModuleT) -> ModuleT:
    """Lay every convolution's weights out with the channels last, in place.

    Values stay as they are; convolutions on a CPU become up to twice as fast.
    """
    for weight in module.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return module
