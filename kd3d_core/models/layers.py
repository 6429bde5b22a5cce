"""What the networks are built of: convolution, batch norm, ReLU."""

from contextlib import AbstractContextManager
from contextlib import nullcontext

import torch
from torch import nn

#: Batch norm as SECOND (Sensors 2018) and its successors use it, with a quicker running mean:
#: schedules here are short.
NORM_EPS = 1e-3
NORM_MOMENTUM = 0.03


def conv_norm_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU.

    The module maps (B, inputs, H, W) to (B, outputs, H / stride, W / stride), for an odd kernel.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, eps=NORM_EPS, momentum=NORM_MOMENTUM),
        nn.ReLU(inplace=True),
    )


def upsample_norm_relu(inputs: int, outputs: int, factor: int) -> nn.Sequential:
    """Transposed convolution without overlap (a 1x1 one for factor 1), batch norm, ReLU.

    The module maps (B, inputs, H, W) to (B, outputs, H * factor, W * factor).
    """
    if factor == 1:
        return conv_norm_relu(inputs, outputs, kernel=1)
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, factor, stride=factor, bias=False),
        nn.BatchNorm2d(outputs, eps=NORM_EPS, momentum=NORM_MOMENTUM),
        nn.ReLU(inplace=True),
    )


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context in which autocast leaves float32 alone, on devices that have autocast."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
