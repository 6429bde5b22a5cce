"""A start from the teacher: each layer of the student is solved for what the teacher's says.

Copying the teacher's first channels (SparseKD, NeurIPS 2022, sec. 4.3) keeps filters but not their
inputs: a filter that read 64 channels reads 16, and adds up to something else. Here the student is
walked through from the input to the head. For each layer some channels of the teacher's layer at
the same depth are chosen, those from which the rest can best be told, and the student's weights
are those of the ridge regression from the student's OWN features, as they come out of the layers
before, to these channels. So errors of one layer are seen, and made up for, by the next. Only the
last two layers, which have few channels, are fitted by gradient (`taught_head.py`). No label is
needed: some clouds and a minute.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from pydantic import NonNegativeInt
from pydantic import PositiveFloat
from pydantic import PositiveInt
from torch import Tensor
from torch import nn
from torch.nn import functional

from kd3d_core.config import Config
from kd3d_core.distillation.places import Places
from kd3d_core.distillation.places import choose_places
from kd3d_core.distillation.places import patches
from kd3d_core.distillation.regression import pivots
from kd3d_core.distillation.regression import rectified_ridge
from kd3d_core.distillation.taught_head import fit_head
from kd3d_core.errors import Kd3dError
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.models.encoders import BevImageEncoder
from kd3d_core.models.encoders import PillarEncoder
from kd3d_core.models.head import CenterHead
from kd3d_core.models.head import last_layers

Pair = tuple[NetworkBatch, NetworkBatch]
Unit = tuple[nn.Module, nn.BatchNorm2d]


class TaughtStartConfig(Config):
    """Settings of the start by layer-wise regression."""

    type: Literal["taught"] = "taught"
    frames: PositiveInt = 24
    """Clouds of the training data to solve on."""
    places: PositiveInt = 1500
    """Places of each cloud and resolution that enter the regression."""
    focus: float = Field(default=0.5, ge=0, le=1)
    """Share of the places that lie where the teacher sees objects; the rest is where there are
    points."""
    ridge: PositiveFloat = 1e-3
    """Weight of the penalty beside the mean square of a feature."""
    rounds: PositiveInt = 3
    """Regressions of a layer: what the teacher's ReLU cuts off need not be met, only be cut off
    too, and each round asks less of it."""
    steps: NonNegativeInt = 600
    """Steps in which the last two layers of the head are fitted together."""


def start_taught(
    student: CenterPointDetector,
    teacher: CenterPointDetector,
    pairs: Sequence[Pair],
    config: TaughtStartConfig | None = None,
) -> int:
    """Give a fresh student weights by which it says what the teacher says.

    Args:
        student: Changed in place.
        teacher: In evaluation mode; not changed.
        pairs: The same clouds encoded for the student and for the teacher.
        config: The settings.

    Returns:
        How many layers were solved.

    Raises:
        Kd3dError: The networks are not of one build: their output grids or stages differ.
    """
    _check(student, teacher)
    config = config or TaughtStartConfig()
    with torch.no_grad():
        solver = _Solver(student.train(False), teacher, pairs, config)
        count = solver.run()
    student.train()
    return count


def _check(student: CenterPointDetector, teacher: CenterPointDetector) -> None:
    """Refuse networks whose layers have no counterpart."""
    mine, theirs = student.config, teacher.config
    centred = all(isinstance(network.head, CenterHead) for network in (student, teacher))
    if not centred or mine.head.layout != theirs.head.layout:
        raise Kd3dError(
            f"distill.start: `taught` wants two centre heads with the same tasks, which "
            f"{mine.name} and {theirs.name} do not have. Use `type: first_channels`, or leave "
            "`start` out."
        )
    strides = [tuple(block.stride for block in model.blocks) for model in (mine, theirs)]
    if mine.grid != theirs.grid or strides[0] != strides[1]:
        raise Kd3dError(
            f"distill.start: `taught` wants student and teacher on one grid with stages of the "
            f"same strides, but {mine.name} has cells of {mine.grid.cell} m and strides "
            f"{strides[0]}, {theirs.name} {theirs.grid.cell} m and {strides[1]}. Use "
            "`type: first_channels`, or leave `start` out."
        )


class _Solver:
    """Walks through the student; `maps` are its features so far, one tensor a pair."""

    def __init__(
        self,
        student: CenterPointDetector,
        teacher: CenterPointDetector,
        pairs: Sequence[Pair],
        config: TaughtStartConfig,
    ) -> None:
        self.student = student
        self.teacher = teacher
        self.pairs = pairs
        self.config = config
        self.count = 0
        heads = student.head, teacher.head
        assert isinstance(heads[0], CenterHead)
        assert isinstance(heads[1], CenterHead)
        self.heads = heads[0], heads[1]
        self.places = [
            choose_places(teacher, pair[1], config.places, config.focus) for pair in pairs
        ]
        self.told = self._listen()

    def run(self) -> int:
        """Solve everything; the number of layers."""
        student, teacher = self.student, self.teacher
        head, source = self.heads
        maps = self._encoder()
        levels = []
        stages = zip(student.backbone.stages, teacher.backbone.stages, strict=True)
        for number, (mine, theirs) in enumerate(stages):
            layers, sources = list(mine.children()), list(theirs.children())
            for i, layer in enumerate(layers):
                # The last layer follows the last one; those before lie evenly between.
                follows = sources[round((i + 1) * len(sources) / len(layers)) - 1]
                maps = self._layer(_unit(layer), _unit(follows), maps, number)
            levels.append(maps)
        joined = [
            self._level(_unit(mine), _unit(theirs), levels[number], number)
            for number, (mine, theirs) in enumerate(
                zip(student.neck.levels, teacher.neck.levels, strict=True)
            )
        ]
        maps = [torch.cat(parts, dim=1) for parts in zip(*joined, strict=True)]
        shared = self._layer(_unit(head.shared), _unit(source.shared), maps, 0)
        chunks = len(last_layers(head))
        self._layer(_unit(head.branches), _unit(source.branches), shared, 0, chunks)
        self._head(shared)
        return self.count

    def _listen(self) -> dict[nn.Module, list[Tensor]]:
        """What each of the teacher's batch norms says at the places: (n, C), one a pair."""
        told: dict[nn.Module, list[Tensor]] = {}
        resolution = dict(_resolutions(self.teacher))
        current: list[Places] = []

        def note(norm: nn.Module, number: int, factor: int) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
                place = current[0].at(number)
                told.setdefault(norm, []).append(place.blocks(output, factor))

            return hook

        handles = [
            norm.register_forward_hook(note(norm, number, factor))
            for norm, (number, factor) in resolution.items()
        ]
        try:
            for (_, batch), places in zip(self.pairs, self.places, strict=True):
                current[:] = [places]
                self.teacher(batch)
        finally:
            for handle in handles:
                handle.remove()
        return told

    def _encoder(self) -> list[Tensor]:
        """Solve or copy the encoder; the student's maps."""
        mine, theirs = self.student.encoder, self.teacher.encoder
        targets = [self.teacher.encoder(batch) for _, batch in self.pairs]
        spoken = [
            place.at(-1).of(target) for place, target in zip(self.places, targets, strict=True)
        ]
        if isinstance(mine, PillarEncoder):
            if isinstance(theirs, PillarEncoder):
                chosen = pivots(torch.cat(spoken), mine.channels)
                _copy_pillars(mine, theirs, chosen)
                self.count += 1
        elif isinstance(mine, BevImageEncoder):
            images = [batch.image for batch, _ in self.pairs if batch.image is not None]
            return self._solve(_unit(mine.stem), torch.cat(spoken), images, -1)
        return [mine(batch) for batch, _ in self.pairs]

    def _layer(
        self, unit: Unit, source: Unit, maps: list[Tensor], number: int, chunks: int = 1
    ) -> list[Tensor]:
        """Solve one convolution with its batch norm, from maps (B, C, H, W) to the next."""
        return self._solve(unit, torch.cat(self.told[source[1]]), maps, number, chunks)

    def _solve(
        self,
        unit: Unit,
        spoken: Tensor,
        maps: list[Tensor],
        number: int,
        chunks: int = 1,
    ) -> list[Tensor]:
        """Regress from patches of `maps` to channels of `spoken` (n, C) before the ReLU."""
        conv, norm = unit
        assert isinstance(conv, nn.Conv2d)
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        inputs = torch.cat(
            [
                patches(item, place.at(number), kernel, stride)
                for item, place in zip(maps, self.places, strict=True)
            ]
        )
        rows, target = _assign(spoken, conv.out_channels, chunks)
        weight, bias = rectified_ridge(inputs, target, self.config.ridge, self.config.rounds)
        shape = conv.weight.shape[1:]
        conv.weight[rows] = weight.view(-1, *shape).to(conv.weight.dtype)
        self.count += 1
        return _settle(conv, norm, rows, bias, maps)

    def _level(self, unit: Unit, source: Unit, maps: list[Tensor], number: int) -> list[Tensor]:
        """Solve one level of the neck, a transposed convolution whose outputs do not overlap."""
        conv, norm = unit
        if isinstance(conv, nn.Conv2d):
            return self._layer(unit, source, maps, number)
        assert isinstance(conv, nn.ConvTranspose2d)
        inputs = torch.cat(
            [place.at(number).of(item) for item, place in zip(maps, self.places, strict=True)]
        )
        spoken = torch.cat(self.told[source[1]])
        factor = conv.kernel_size[0]
        blocks = spoken.view(len(spoken), -1, factor * factor)
        every = blocks.transpose(1, 2).reshape(-1, blocks.shape[1])
        chosen = pivots(every.relu(), conv.out_channels)
        target = blocks[:, chosen].flatten(1)
        weight, bias = rectified_ridge(
            inputs, target, self.config.ridge, self.config.rounds, shared=factor * factor
        )
        rows = torch.arange(len(chosen))
        # (chosen * factor^2, in) to the layer's (in, out, factor, factor).
        solved = weight.t().reshape(conv.in_channels, len(chosen), factor, factor)
        conv.weight[:, rows] = solved.to(conv.weight.dtype)
        self.count += 1
        return _settle(conv, norm, rows, bias.view(len(chosen), -1)[:, 0], maps)

    def _head(self, shared: list[Tensor]) -> None:
        """Fit the last two layers of the head on what its shared convolution says."""
        head = self.heads[0]
        bias = fit_head(
            head,
            shared,
            [self.teacher(batch).maps for _, batch in self.pairs],
            [place.at(0) for place in self.places],
            ridge=self.config.ridge,
            steps=self.config.steps,
        )
        conv, norm = _unit(head.branches)
        _settle(conv, norm, torch.arange(len(bias)), bias, shared)
        self.count += len(last_layers(head))


def _unit(layer: nn.Module) -> Unit:
    """Convolution and batch norm of a `conv_norm_relu` or `upsample_norm_relu`."""
    conv, norm = list(layer.children())[:2]
    assert isinstance(norm, nn.BatchNorm2d)
    return conv, norm


def _resolutions(network: CenterPointDetector) -> Iterator[tuple[nn.Module, tuple[int, int]]]:
    """Each batch norm with the stage at whose places it is heard, and output cells per place."""
    for number, stage in enumerate(network.backbone.stages):
        for layer in stage.children():
            yield _unit(layer)[1], (number, 1)
    for number, level in enumerate(network.neck.levels):
        conv, norm = _unit(level)
        yield norm, (number, conv.stride[0] if isinstance(conv, nn.ConvTranspose2d) else 1)
    assert isinstance(network.head, CenterHead)
    for part in (network.head.shared, network.head.branches):
        yield _unit(part)[1], (0, 1)


def _assign(spoken: Tensor, outputs: int, chunks: int) -> tuple[Tensor, Tensor]:
    """Which of the student's output channels take which of the teacher's.

    Args:
        spoken: (n, C) the teacher's channels before the ReLU.
        outputs: Channels of the student's layer.
        chunks: Groups of equal width that keep apart, such as the branches of a head.

    Returns:
        (k,) int64 channels of the student and (n, k) their targets.
    """
    rows, targets = [], []
    width = outputs // chunks
    for i, part in enumerate(spoken.chunk(chunks, dim=1)):
        chosen = pivots(part.relu(), width)
        rows.append(torch.arange(len(chosen)) + i * width)
        targets.append(part[:, chosen])
    return torch.cat(rows), torch.cat(targets, dim=1)


def _settle(
    conv: nn.Module, norm: nn.BatchNorm2d, rows: Tensor, bias: Tensor, maps: list[Tensor]
) -> list[Tensor]:
    """Make the batch norm add `bias` to the solved channels and change nothing else.

    Its statistics are those of the layer's output over the whole maps, as training will see them,
    so that training starts from the function that was solved for.

    Returns:
        The maps after batch norm and ReLU.
    """
    results = [conv(item) for item in maps]
    # One map after the other: all at once would be another copy of everything.
    count = sum(item.numel() // item.shape[1] for item in results)
    mean = sum(item.double().sum(dim=(0, 2, 3)) for item in results) / count
    square = sum((item.double() ** 2).sum(dim=(0, 2, 3)) for item in results) / count
    assert isinstance(mean, Tensor)
    assert isinstance(square, Tensor)
    variance = (square - mean**2).clamp(min=0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight[rows] = (variance[rows] + norm.eps).sqrt().to(norm.weight.dtype)
    norm.bias[rows] = (bias + mean[rows]).to(norm.bias.dtype)
    return [functional.relu(norm(item)) for item in results]


def _copy_pillars(mine: PillarEncoder, theirs: PillarEncoder, chosen: Tensor) -> None:
    """The chosen channels of the teacher's pillar encoder as the student's first ones."""
    rows = torch.arange(len(chosen))
    mine.linear.weight[rows] = theirs.linear.weight[chosen]
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(mine.norm, name)[rows] = getattr(theirs.norm, name)[chosen]
