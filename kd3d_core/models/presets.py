"""The named networks. Each is a function that gives a `ModelConfig`; change it with `model_copy`.

`PRESETS` look 51.2 m in every direction at cells of 0.32 m (320 x 320), with output maps of 160 x
160. `VOXEL_PRESETS` look as far at 0.1 m, with output maps of 128 x 128. `PAPER_PRESETS` have the
layouts of the data sets that the papers measured on.
"""

from collections.abc import Callable

from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.errors import Kd3dError
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.presets_papers import PAPER_MAKERS
from kd3d_core.models.presets_voxel import VOXEL_MAKERS

#: Convolutions after the strided one in each block: PointPillars (CVPR 2019), sec. 2.2.
_POINTPILLARS_LAYERS = (3, 5, 5)


def teacher() -> ModelConfig:
    """CenterPoint-Pillar: the teacher of itKD (CVPR 2023), sec. 4."""
    return _pillar_network("teacher", (64, 128, 256), 128)


def half() -> ModelConfig:
    """The teacher with half the channels in backbone and neck: itKD's larger student."""
    return _pillar_network("half", (32, 64, 128), 64)


def quarter() -> ModelConfig:
    """The teacher with a quarter of the channels in backbone and neck: itKD's smaller student."""
    return _pillar_network("quarter", (16, 32, 64), 32)


def tiny() -> ModelConfig:
    """A student made for two CPU cores: a BEV image in, channels in multiples of 16."""
    return ModelConfig(
        name="tiny",
        input=BevImageInput(),
        encoder_channels=16,
        blocks=(
            BlockConfig(channels=16, layers=2),
            BlockConfig(channels=48, layers=3),
            BlockConfig(channels=96, layers=3),
        ),
        neck_channels=16,
        head=HeadConfig(shared_channels=32, branch_channels=8, output_kernel=1),
    )


def _pillar_network(name: str, channels: tuple[int, ...], neck: int) -> ModelConfig:
    """A network on pillars with PointPillars' depths; encoder and head keep the teacher's 64."""
    blocks = zip(channels, _POINTPILLARS_LAYERS, strict=True)
    return ModelConfig(
        name=name,
        input=PillarInput(),
        blocks=tuple(BlockConfig(channels=width, layers=depth) for width, depth in blocks),
        neck_channels=neck,
    )


_MAKERS: dict[str, Callable[[], ModelConfig]] = {
    "teacher": teacher,
    "half": half,
    "quarter": quarter,
    "tiny": tiny,
}

#: kd3d's own networks, from the largest to the smallest.
PRESETS = tuple(_MAKERS)
#: Teachers, and students on voxels: their sparse encoder needs spconv to run, and has no bundle.
VOXEL_PRESETS = tuple(VOXEL_MAKERS)
#: The networks of the papers.
PAPER_PRESETS = tuple(PAPER_MAKERS)


def preset(name: str) -> ModelConfig:
    """The network of that name, of `PRESETS`, `VOXEL_PRESETS` or `PAPER_PRESETS`.

    Raises:
        Kd3dError: There is no such preset.
    """
    makers = _MAKERS | VOXEL_MAKERS | PAPER_MAKERS
    if name not in makers:
        known = ", ".join(makers)
        raise Kd3dError(f"there is no model preset {name!r}; use one of: {known}.")
    return makers[name]()
