"""The last two layers of a head, fitted to what a teacher answers at chosen places.

A small student has a handful of channels for each map. None of the teacher's channels, of which
there are many, says alone what they must: channels that are chosen and regressed one by one leave
most of a heatmap unexplained. So the two layers together are fitted by gradient to the teacher's
answers. What they read is known by then and does not change, which makes a step some milliseconds.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch import nn
from torch.nn import functional

from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.distillation.places import Grid
from kd3d_core.distillation.places import patches
from kd3d_core.distillation.regression import rectified_ridge
from kd3d_core.models.head import CenterHead
from kd3d_core.models.head import last_layers

#: Places a step, and the size of the first steps of Adam.
_BATCH, _RATE = 2048, 3e-3
#: Beyond these logits (one in a hundred) a heatmap says no more: regress no farther.
_LOGIT = 4.6


def fit_head(
    head: CenterHead,
    shared: Sequence[Tensor],
    answers: Sequence[HeadMaps[Tensor]],
    places: Sequence[Grid],
    *,
    ridge: float,
    steps: int,
) -> Tensor:
    """Fit branches and last layers; the branches' batch norms must be set anew afterwards.

    The last layers start from a ridge regression on what the branches say. Then both are trained:
    cross-entropy with the teacher's scores everywhere, the L1 of the other maps weighted by the
    teacher's score, for they mean something only at objects.

    Args:
        head: Changed in place: the convolutions of the branches and of the last layers. What the
            batch norm scales is moved into the convolution's weight.
        shared: (B, C, H, W) outputs of the student's shared convolution, one a batch.
        answers: The teacher's maps for them.
        places: Where to look.
        ridge: Penalty of the regression.
        steps: Of the training; 0 keeps the regression.

    Returns:
        The biases (channels of the branches) that the batch norm has to add.
    """
    layers = last_layers(head)
    size = layers[0].kernel_size[0]
    # What the two layers see of a place: the windows of both kernels together.
    windows = _windows(shared, places, size + 2)
    # The last layer sees zeros beyond the rim of the map, whatever the branches would say there.
    inside = _windows([item.new_ones(item[:, :1].shape) for item in shared], places, size)
    said = _said(answers, places)
    heat = said["heatmap"].sigmoid()
    weight, bias = _plain_branches(head)
    regress_outputs(layers, _branches(windows, weight, bias) * inside, said, ridge)
    peak = heat.amax(dim=1)
    parameters = [weight, bias, *(p for layer in layers for p in layer.parameters())]
    optimizer = torch.optim.Adam(parameters, lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        for _ in range(steps):
            index = torch.randint(len(windows), (_BATCH,), generator=generator)
            features = _branches(windows[index], weight, bias) * inside[index]
            found = _outputs(layers, features)
            focus = peak[index] / peak[index].sum().clamp(min=1e-6)
            loss = functional.binary_cross_entropy_with_logits(found["heatmap"], heat[index])
            for name in HEAD_NAMES[1:]:
                error = (found[name] - said[name][index]).abs().sum(dim=1)
                loss = loss + (error * focus).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    for parameter in parameters:
        parameter.grad = None
    conv = head.branches[0]
    assert isinstance(conv, nn.Conv2d)
    conv.weight.copy_(weight.detach())
    return bias.detach()


def regress_outputs(
    layers: Sequence[nn.Conv2d], features: Tensor, said: dict[str, Tensor], ridge: float
) -> None:
    """Set the last layers by regression: heat at all places, the other maps at objects.

    Args:
        layers: In the order of `last_layers`; changed in place.
        features: (n, channels, k, k) what the branches say round n places.
        said: (n, C) of the teacher, for each map.
        ridge: The penalty.
    """
    heat = said["heatmap"].sigmoid().amax(dim=1)
    clipped = said | {"heatmap": said["heatmap"].clamp(-_LOGIT, _LOGIT)}
    # Layers and channels are in the same order: map after map, task after task.
    widths = [layer.out_channels for layer in layers]
    targets = torch.cat([clipped[name] for name in HEAD_NAMES], dim=1).split(widths, dim=1)
    tasks = len(layers) // len(HEAD_NAMES)
    parts = features.flatten(2).chunk(len(layers), dim=1)
    for i, (layer, part, target) in enumerate(zip(layers, parts, targets, strict=True)):
        weight, bias = rectified_ridge(
            part.flatten(1), target, ridge, rounds=0, scale=None if i < tasks else heat
        )
        assert layer.bias is not None
        layer.weight.copy_(weight.view_as(layer.weight))
        layer.bias.copy_(bias)


def _windows(maps: Sequence[Tensor], places: Sequence[Grid], size: int) -> Tensor:
    """(n, C, size, size) pieces of (B, C, H, W) maps round the places, zero beyond the rim."""
    rows = [patches(item, place, size, 1) for item, place in zip(maps, places, strict=True)]
    return torch.cat(rows).view(sum(map(len, rows)), -1, size, size)


def _said(answers: Sequence[HeadMaps[Tensor]], places: Sequence[Grid]) -> dict[str, Tensor]:
    """The teacher's maps at the places, (n, C) each."""
    return {
        name: torch.cat(
            [place.of(getattr(item, name)) for place, item in zip(places, answers, strict=True)]
        )
        for name in HEAD_NAMES
    }


def _plain_branches(head: CenterHead) -> tuple[Tensor, Tensor]:
    """The branches' convolution with its batch norm folded in, as leaves to be trained."""
    conv, norm = head.branches[0], head.branches[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = conv.weight * scale[:, None, None, None]
    bias = norm.bias - norm.running_mean * scale
    return weight.detach().requires_grad_(), bias.detach().requires_grad_()


def _branches(windows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(n, C, k + 2, k + 2) windows to what the branches say, (n, channels, k, k)."""
    return functional.conv2d(windows, weight, bias).relu()


def _outputs(layers: Sequence[nn.Conv2d], features: Tensor) -> dict[str, Tensor]:
    """(n, channels, k, k) of the branches to the (n, C) of each map."""
    parts = features.chunk(len(layers), dim=1)
    found = [
        functional.conv2d(part, layer.weight, layer.bias)[:, :, 0, 0]
        for part, layer in zip(parts, layers, strict=True)
    ]
    tasks = len(layers) // len(HEAD_NAMES)
    return {
        name: torch.cat(found[i * tasks : (i + 1) * tasks], dim=1)
        for i, name in enumerate(HEAD_NAMES)
    }
