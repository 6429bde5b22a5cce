"""PointDistiller: local distillation, reweighted (Zhang et al., CVPR 2023, 2205.11098)."""

from typing import Literal

import torch
from pydantic import NonNegativeFloat
from pydantic import PositiveFloat
from pydantic import PositiveInt
from torch import Tensor
from torch import nn
from torch.nn import functional

from kd3d_core.config import Config
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.protocol import full
from kd3d_core.distillation.protocol import gather_cells
from kd3d_core.models.layers import NORM_EPS
from kd3d_core.models.layers import full_precision

#: Neighbours by likeness are looked for among this many times the sampled cells.
_CANDIDATES = 16


class PointDistillerConfig(Config):
    """Settings of PointDistiller on a BEV map."""

    type: Literal["point_distiller"] = "point_distiller"
    weight: NonNegativeFloat = 1.0
    """Weight of the term."""
    cells: PositiveInt = 256
    """N: cells of the teacher's map that are distilled in each frame, the most important ones."""
    neighbours: PositiveInt = 16
    """K: nodes of the graph of a cell, itself among them (the published code: 128)."""
    graph: Literal["ground", "feature"] = "ground"
    """Neighbours are the nearest cells on the ground, or those with the most similar features of
    the teacher (the published code), which costs some times as much."""
    channels: PositiveInt = 32
    """Width of the graph features of both networks."""
    temperature: PositiveFloat = 0.5
    """Tau of the weights of the cells, in units of the mean importance; more treats all alike."""


class PointDistiller(DistillationLoss):
    """Match local geometry round the places that matter most to the teacher.

    The paper's: a place's importance is the largest value among the teacher's channels there (so
    it says for raw points; its code does it for BEV maps); the N most important places of a frame
    are distilled; each is the centre of a graph of K places; each edge joins the features of the
    centre and of a neighbour, and passes through a learned linear layer, batch norm and ReLU, one
    for each network; the squared error between the two networks' edges is weighted by a softmax of
    the importance over the N places (eq. 2), scaled so that the weights are 1 on average.

    Adapted: it distils pillars or voxels with many points before the backbone, from a teacher and
    a student on one grid. Here the places are cells of the neck's output, where every kind of
    network looks alike; a student on another grid is read at the teacher's cells bilinearly.
    Neighbours on the ground are the default, for they cost nothing. The importance is divided by
    its mean before the softmax: its scale is the teacher's own affair. The norms have no learned
    scale: both layers learn, and with one they could agree on nothing at all. Between equal widths
    both layers begin alike, so that a student which starts as its teacher pays nothing.

    The term is the mean squared error of features of variance 1 (before the ReLU): of order 1 at
    the start, whatever the networks.

    Args:
        student_channels: Width of the student's neck output.
        teacher_channels: Width of the teacher's.
        config: Weight and options.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        config: PointDistillerConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config or PointDistillerConfig()
        self.student = EdgeLayer(student_channels, self.config.channels)
        self.teacher = EdgeLayer(teacher_channels, self.config.channels)
        if student_channels == teacher_channels:
            self.student.load_state_dict(self.teacher.state_dict())

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The weighted term "point_distiller"."""
        with full_precision(batch.student.neck.device):
            teacher, student = full(batch.teacher.neck).detach(), full(batch.student.neck)
            cell, share = important(teacher, self.config.cells, self.config.temperature)
            if self.config.graph == "ground":
                shape = (teacher.shape[-2], teacher.shape[-1])
                nodes = nearest_on_ground(cell, shape, self.config.neighbours)
            else:
                nodes = nearest_in_feature(cell, teacher, self.config.neighbours)
            theirs = self.teacher(teacher, teacher, cell, nodes)
            mine = self.student(student, teacher, cell, nodes)
            error = (mine - theirs).square().mean(dim=(1, 3))
            return {"point_distiller": self.config.weight * (share * error).mean()}


class EdgeLayer(nn.Module):
    """Features of the edges of graphs on a map: linear, batch norm without scale, ReLU.

    The linear layer of two joined features is the sum of one for the neighbour and one for the
    centre, so both are applied to the map, once for every cell and not once for every edge.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.centre = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.neighbour = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=NORM_EPS, affine=False)

    def forward(self, feature: Tensor, like: Tensor, cell: Tensor, nodes: Tensor) -> Tensor:
        """Edge features.

        Args:
            feature: (B, C, h, w).
            like: (B, any, H, W) map on whose grid the cells are counted.
            cell: (B, N) int64 centres.
            nodes: (B, N, K) int64 nodes of each graph.

        Returns:
            (B, outputs, N, K).
        """
        maps = [self.centre(feature), self.neighbour(feature)]
        if feature.shape[-2:] != like.shape[-2:]:
            maps = [
                functional.interpolate(one, like.shape[-2:], mode="bilinear", align_corners=False)
                for one in maps
            ]
        centre = gather_cells(maps[0], cell).transpose(1, 2)
        nodes_of = gather_cells(maps[1], nodes.flatten(1)).transpose(1, 2)
        edges = centre[..., None] + nodes_of.unflatten(2, nodes.shape[1:])
        return self.norm(edges).relu()


@torch.no_grad()
def important(teacher: Tensor, count: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Where the teacher's features are strongest, and how much each place counts.

    Args:
        teacher: (B, C, H, W).
        count: Cells a frame, N (all, if there are fewer).
        temperature: Of the softmax, in units of the mean importance.

    Returns:
        (B, N) int64 cells, the most important first, and (B, N) weights of mean 1.
    """
    score = teacher.amax(dim=1).flatten(1)
    best, cell = score.topk(min(count, score.shape[1]), dim=1)
    unit = best.abs().mean().clamp(min=torch.finfo(best.dtype).tiny)
    share = (best / unit / temperature).softmax(dim=1) * best.shape[1]
    return cell, share


def nearest_on_ground(cell: Tensor, shape: tuple[int, int], count: int) -> Tensor:
    """The nearest cells of each cell, itself first; beyond the rim the rim's cells again.

    Args:
        cell: (B, N) int64 row * W + column.
        shape: (H, W) of the map.
        count: Cells, K.

    Returns:
        (B, N, K) int64.
    """
    rows, columns = shape
    reach = torch.arange(-count, count + 1, device=cell.device)
    reach = reach[reach.abs() <= int(count**0.5) + 1]
    down, right = torch.meshgrid(reach, reach, indexing="ij")
    order = (down**2 + right**2).flatten().argsort(stable=True)[:count]
    row = (cell // columns)[..., None] + down.flatten()[order]
    column = (cell % columns)[..., None] + right.flatten()[order]
    return row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)


@torch.no_grad()
def nearest_in_feature(cell: Tensor, feature: Tensor, count: int) -> Tensor:
    """The cells whose features are most like those of each cell, among the strongest of the map.

    Args:
        cell: (B, N) int64.
        feature: (B, C, H, W).
        count: Cells, K, not more than there are.

    Returns:
        (B, N, K) int64.
    """
    strength = feature.amax(dim=1).flatten(1)
    size = min(_CANDIDATES * cell.shape[1], strength.shape[1])
    candidates = strength.topk(size, dim=1).indices
    place = gather_cells(feature, candidates)
    # |a - b|^2 without |a|^2, which is the same for all neighbours of a.
    far = torch.baddbmm(
        place.square().sum(dim=2)[:, None],
        gather_cells(feature, cell),
        place.transpose(1, 2),
        alpha=-2,
    )
    nearest = far.topk(min(count, size), dim=2, largest=False).indices
    return candidates.gather(1, nearest.flatten(1)).view_as(nearest)
