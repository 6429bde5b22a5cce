"""CenterPoint-Voxel and its students of RDD (ICCV 2023), sec. 4.1, on kd3d's range and classes.

1024 x 1024 x 40 voxels of 0.1 x 0.1 x 0.125 m, output maps of 128 x 128. They see the ground that
the pillar and image presets see, so that they can teach those.
"""

from collections.abc import Callable
from functools import partial

from kd3d_core.codec.grid import BevGrid
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.presets_papers import waymo_voxel


def voxel(
    name: str = "voxel", encoder: float = 1.0, width: float = 1.0, head: float = 1.0
) -> ModelConfig:
    """CenterPoint-Voxel (CVPR 2021).

    Args:
        name: Of the model.
        encoder: Width of the sparse encoder as a share of the paper's.
        width: Of backbone and neck.
        head: Of the head.
    """
    layout = {"classes": DEFAULT_CLASSES, "grid": BevGrid(cell=0.1)}
    return waymo_voxel(name, encoder, width, head).model_copy(update=layout)


VOXEL_MAKERS: dict[str, Callable[[], ModelConfig]] = {
    "voxel": voxel,
    "voxel-s": partial(voxel, "voxel-s", 1.0, 0.5, 0.5),
    "voxel-xs": partial(voxel, "voxel-xs", 0.75, 0.5, 0.5),
    "voxel-xxs": partial(voxel, "voxel-xxs", 0.5, 0.25, 0.25),
}
