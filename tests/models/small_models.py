"""Networks of an 8 m x 8 m world, which run in milliseconds."""

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig

GRID = BevGrid(x=(-4, 4), y=(-2, 6), z=(-1, 1), cell=0.5)


def small_model(kind="pillars"):
    return ModelConfig(
        name="small",
        grid=GRID,
        input=PillarInput(max_points=6) if kind == "pillars" else BevImageInput(slices=3),
        encoder_channels=8,
        blocks=(BlockConfig(channels=8, layers=1), BlockConfig(channels=12, layers=1)),
        neck_channels=5,
        head=HeadConfig(shared_channels=8, branch_channels=4, output_kernel=3),
    )
