"""Start of a student from its teacher: teacher-guided initialisation of SparseKD.

Yang et al., NeurIPS 2022, 2205.15156, sec. 4.3: each layer of the student begins with the first
channels of the teacher's. Where a layer reads several maps side by side (the neck's levels in the
head, the slices of a voxel encoder in the backbone) or writes several (the branches of the head),
the first channels of each of them are meant, not the first of the whole.
"""

from collections.abc import Sequence
from typing import Annotated
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch import nn

from kd3d_core.codec.grid import VoxelInput
from kd3d_core.config import Config
from kd3d_core.distillation.taught import TaughtStartConfig
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.models.head import AnchorHead
from kd3d_core.models.head import CenterHead
from kd3d_core.models.head import last_layers
from kd3d_core.models.sparse import output_layers

#: For each map side by side: channels of the student's and of the teacher's.
Parts = Sequence[tuple[int, int]]
#: Buffers and weights of a batch norm with one number a channel.
_NORM = ("weight", "bias", "running_mean", "running_var")


class FirstChannelsConfig(Config):
    """Settings of the start with the teacher's first channels: there is nothing to choose."""

    type: Literal["first_channels"] = "first_channels"


#: How a student may start from its teacher.
TeacherStartConfig = Annotated[
    FirstChannelsConfig | TaughtStartConfig, Field(discriminator="type")
]


@torch.no_grad()
def start_first_channels(student: CenterPointDetector, teacher: CenterPointDetector) -> int:
    """Copy the teacher's first channels into the student, batch norm statistics included.

    Stage goes to stage, layer to layer and branch to branch; where the teacher is deeper, the last
    layers of each stage have no counterpart, and where the student is deeper, what is left keeps
    its own start. Where the student is wider, its further channels keep theirs too, but what was
    copied does not hear them at first, so that a wider network is the same function (Net2Net,
    ICLR 2016, 1511.05641, sec. 2.2, with weights of zero in the place of copies: new channels
    differ from the old ones and from each other from the first step). Encoders of different kinds
    stay apart, but the backbone is copied also then: its filters in space are worth having, and
    the student's encoder learns to feed them. With equal widths and depths the student becomes
    the teacher, bit by bit.

    Args:
        student: Changed in place.
        teacher: Not changed.

    Returns:
        The number of tensors that got values of the teacher.
    """
    count = _encoder(student.encoder, teacher.encoder)
    read = _canvas(student, teacher)
    maps: list[Parts] = []
    for mine, theirs in zip(student.backbone.stages, teacher.backbone.stages, strict=False):
        for layer, source in zip(_children(mine), _children(theirs), strict=False):
            written = [_width(layer, source)]
            count += _unit(layer, source, read, written)
            read = written
        read = [_width(_children(mine)[-1], _children(theirs)[-1])]
        maps.append(read)
    neck: Parts = []
    levels = zip(student.neck.levels, teacher.neck.levels, maps, strict=False)
    for mine, theirs, read in levels:
        written = [_width(mine, theirs)]
        count += _unit(mine, theirs, read, written)
        neck = [*neck, *written]
    return count + _head(student.head, teacher.head, neck)


def _head(mine: nn.Module, theirs: nn.Module, read: Parts) -> int:
    """Copy a head that reads these maps; heads of two kinds have nothing in common."""
    if isinstance(mine, AnchorHead) and isinstance(theirs, AnchorHead):
        return sum(
            _convolution(layer, theirs.outputs[name], read, [_outs(layer, theirs.outputs[name])])
            for name, layer in mine.outputs.items()
        )
    if not isinstance(mine, CenterHead) or not isinstance(theirs, CenterHead):
        return 0
    shared = [_width(mine.shared, theirs.shared)]
    count = _unit(mine.shared, theirs.shared, read, shared)
    layers, sources = last_layers(mine), last_layers(theirs)
    if [layer.out_channels for layer in layers] != [layer.out_channels for layer in sources]:
        return count  # other tasks: the branches speak of other things
    # One wide convolution holds the branches of all maps and tasks, in the order of the outputs.
    wide = _width(mine.branches, theirs.branches)
    branch = (wide[0] // len(layers), wide[1] // len(layers))
    count += _unit(mine.branches, theirs.branches, shared, [branch] * len(layers))
    for layer, source in zip(layers, sources, strict=True):
        count += _convolution(layer, source, [branch], [_outs(layer, source)])
    return count


def _encoder(mine: nn.Module, theirs: nn.Module) -> int:
    """Copy the first channels of an encoder of the same kind that reads the same numbers.

    Every axis of its weights but the channels is the same then, and no map is read beside another,
    so the first channels are a corner of each tensor.
    """
    target, source = mine.state_dict(), theirs.state_dict()
    if type(mine) is not type(theirs) or target.keys() != source.keys():
        return 0
    first = next(iter(target))
    if target[first].shape[1:] != source[first].shape[1:]:
        return 0
    for name, value in target.items():
        sizes = zip(value.shape, source[name].shape, strict=True)
        corner = tuple(slice(min(pair)) for pair in sizes)
        value[corner[:1]] = 0  # channels that only this one has
        value[corner] = source[name][corner]
    return len(target)


def _canvas(student: CenterPointDetector, teacher: CenterPointDetector) -> Parts:
    """The encoders' maps; that of voxels has the layers of sites of each channel side by side."""
    mine, theirs = student.config.input, teacher.config.input
    widths = student.encoder.channels, teacher.encoder.channels
    if not isinstance(mine, VoxelInput) or not isinstance(theirs, VoxelInput):
        return [widths]
    layers = output_layers(mine.bins), output_layers(theirs.bins)
    return [layers] * min(widths[0] // layers[0], widths[1] // layers[1])


def _unit(mine: nn.Module, theirs: nn.Module, read: Parts, written: Parts) -> int:
    """Copy convolution and batch norm of `conv_norm_relu` or `upsample_norm_relu`."""
    (layer, norm), (source, other) = _children(mine)[:2], _children(theirs)[:2]
    count = _convolution(layer, source, read, written)
    if not count:
        return 0
    rows, origin = _places(written)
    for name in _NORM:
        getattr(norm, name)[rows] = getattr(other, name)[origin]
    norm.get_buffer("num_batches_tracked").copy_(other.get_buffer("num_batches_tracked"))
    return count + len(_NORM) + 1


def _convolution(layer: nn.Module, source: nn.Module, read: Parts, written: Parts) -> int:
    """Copy a convolution, plain or transposed, and its bias; 0 where their kernels do not fit.

    Args:
        layer: Of the student.
        source: Of the teacher.
        read: The maps that it reads.
        written: The maps that it writes.
    """
    if type(layer) is not type(source):
        return 0
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    assert isinstance(source, nn.Conv2d | nn.ConvTranspose2d)
    weight = _with_kernel(source.weight, layer.kernel_size, isinstance(layer, nn.Conv2d))
    if weight is None:
        return 0
    (rows, origin), (columns, beginning) = _places(written), _places(read)
    if isinstance(layer, nn.ConvTranspose2d):  # (in, out, ...) instead of (out, in, ...)
        layer.weight[:, rows] = 0  # channels that only the student has
        layer.weight[columns[:, None], rows] = weight[beginning[:, None], origin]
    else:
        layer.weight[rows] = 0
        layer.weight[rows[:, None], columns] = weight[origin[:, None], beginning]
    if layer.bias is None or source.bias is None:
        return 1
    layer.bias[rows] = source.bias[origin]
    return 2


def _with_kernel(weight: Tensor, size: Sequence[int], plain: bool) -> Tensor | None:
    """A weight (..., h, w) as one with a kernel of this size, or None.

    A wide kernel becomes a 1x1 one by its sum, not by its centre: where a map is locally constant
    the answer stays the same, so the bias and what the output means stay right, while the centre
    alone would answer with some ninth of it. A 1x1 one becomes the centre of a wide one, which is
    the same function.
    """
    if tuple(weight.shape[2:]) == tuple(size):
        return weight
    if plain and tuple(size) == (1, 1):
        return weight.sum(dim=(2, 3), keepdim=True)
    if plain and tuple(weight.shape[2:]) == (1, 1) and size[0] % 2 and size[1] % 2:
        return nn.functional.pad(weight, [size[1] // 2] * 2 + [size[0] // 2] * 2)
    return None


def _places(parts: Parts) -> tuple[Tensor, Tensor]:
    """(n,) int64 channels of the student's maps side by side and (n,) those of the teacher's."""
    mine, theirs, low, base = [], [], 0, 0
    for student, teacher in parts:
        first = torch.arange(min(student, teacher))
        mine.append(first + low)
        theirs.append(first + base)
        low, base = low + student, base + teacher
    return torch.cat(mine), torch.cat(theirs)


def _width(mine: nn.Module, theirs: nn.Module) -> tuple[int, int]:
    """Channels that two units of convolution, batch norm and ReLU write."""
    norms = _children(mine)[1], _children(theirs)[1]
    assert isinstance(norms[0], nn.BatchNorm2d)
    assert isinstance(norms[1], nn.BatchNorm2d)
    return norms[0].num_features, norms[1].num_features


def _outs(layer: nn.Module, source: nn.Module) -> tuple[int, int]:
    """Channels that two convolutions write."""
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(source, nn.Conv2d)
    return layer.out_channels, source.out_channels


def _children(module: nn.Module) -> list[nn.Module]:
    """What a sequence is made of."""
    return list(module.children())
