"""A detector small enough for tests, with weights that make its maps vary."""

from pathlib import Path

import numpy as np
import torch

from kd3d_core.codec.anchors import Anchor
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.models.config import AnchorHeadConfig
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.models.detector import build_detector
from kd3d_core.pointcloud import PointCloud
from kd3d_core.training.checkpoint import Checkpoint
from kd3d_core.training.checkpoint import save_checkpoint

GRID = BevGrid(x=(-10.24, 10.24), y=(-10.24, 10.24), z=(-3.0, 2.0), cell=0.32)

CENTER = HeadConfig(shared_channels=8, branch_channels=8)
#: Heads of more than one task and of anchors, for the same classes.
TASKS = CENTER.model_copy(
    update={"tasks": (("car",), ("truck", "bus"), ("pedestrian", "cyclist", "motorcycle"))}
)
ANCHORS = AnchorHeadConfig(
    anchors={
        name: Anchor(size=(1.0 + i, 0.5 + i / 4, 1.5), z=-1.0)
        for i, name in enumerate(DEFAULT_CLASSES)
    }
)


def config(kind: str = "pillars", head: HeadConfig | AnchorHeadConfig = CENTER) -> ModelConfig:
    """A model of two blocks on a 64 x 64 grid."""
    return ModelConfig(
        name=f"small-{kind}",
        grid=GRID,
        input=PillarInput(max_points=8) if kind == "pillars" else BevImageInput(slices=5),
        encoder_channels=8,
        blocks=(BlockConfig(channels=8, layers=1), BlockConfig(channels=16, layers=1)),
        neck_channels=8,
        head=head,
    )


def detector(
    kind: str = "pillars", seed: int = 0, head: HeadConfig | AnchorHeadConfig = CENTER
) -> CenterPointDetector:
    """Weights and running statistics drawn so that no layer passes by unnoticed."""
    torch.manual_seed(seed)
    network = build_detector(config(kind, head))
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm1d)):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.bias, 0, 0.2)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return network.eval()


def write(
    path: Path,
    kind: str = "pillars",
    head: HeadConfig | AnchorHeadConfig = CENTER,
    **about,
) -> Path:
    """Write a checkpoint."""
    weights = detector(kind, head=head).state_dict()
    save_checkpoint(path, Checkpoint(model=config(kind, head), weights=weights, **about))
    return path


def clouds(count: int = 2) -> list[PointCloud]:
    """Random points, a different number in each."""
    generator = np.random.default_rng(0)
    return [
        PointCloud.from_arrays(
            generator.uniform((-10, -10, -3), (10, 10, 2), (1500 + 900 * i, 3)),
            generator.uniform(size=1500 + 900 * i),
        )
        for i in range(count)
    ]
