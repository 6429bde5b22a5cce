"""Voxel networks of a 16 m x 16 m world."""

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig

VOXEL_GRID = BevGrid(x=(-8, 8), y=(-4, 12), z=(-1, 2), cell=0.5)


def small_voxel_model(**changes):
    settings = {
        "name": "small-voxels",
        "grid": VOXEL_GRID,
        "input": VoxelInput(bins=24),
        "encoder_channels": 4,
        "blocks": (
            BlockConfig(channels=8, layers=1, stride=1),
            BlockConfig(channels=12, layers=1),
        ),
        "neck_channels": 5,
        "head": HeadConfig(shared_channels=8, branch_channels=4),
    }
    return ModelConfig(**(settings | changes))
