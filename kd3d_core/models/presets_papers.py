"""The networks of the papers, in the layouts of the data sets that they were measured on.

`pillar-v040` and `pillar-v064` are the same for kd3d's own range and classes, so that the preset
`teacher` can teach them (0.48 m does not divide that range).

RDD (ICCV 2023) and SparseKD (NeurIPS 2022) for the students s, xs, xxs and v040 to v064, itKD
(CVPR 2023) for half and quarter, PointPillars (CVPR 2019) and SECOND (Sensors 2018) for KITTI.
A teacher and its student must see the same range: ranges of 76.8 m suit pillars of every size here
(`grid` of a training configuration).
"""

from collections.abc import Callable
from functools import partial

from kd3d_core.codec.anchors import Anchor
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.codec.heads import Tasks
from kd3d_core.models.config import AnchorHeadConfig
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig

WAYMO_CLASSES = ("vehicle", "pedestrian", "cyclist")
#: CenterPoint's tasks on nuScenes: classes of like size and shape share branches.
NUSCENES_TASKS: Tasks = (
    ("car",),
    ("truck", "construction_vehicle"),
    ("bus", "trailer"),
    ("barrier",),
    ("motorcycle", "bicycle"),
    ("pedestrian", "traffic_cone"),
)
KITTI_CLASSES = ("car", "pedestrian", "cyclist")
#: Sizes and matching thresholds of SECOND, "Anchors and Targets", and PointPillars, sec. 3.1.
KITTI_ANCHORS = {
    "car": Anchor(size=(3.9, 1.6, 1.56), z=-1.0, matched=0.6, unmatched=0.45),
    "pedestrian": Anchor(size=(0.8, 0.6, 1.73), z=-0.6, matched=0.5, unmatched=0.35),
    "cyclist": Anchor(size=(1.76, 0.6, 1.73), z=-0.6, matched=0.5, unmatched=0.35),
}


def waymo_pillar(name: str, cell: float, reach: float, width: float = 1.0) -> ModelConfig:
    """CenterPoint-Pillar on Waymo: one head, three classes, output maps of the input's cells.

    Args:
        name: Of the model.
        cell: Edge of a pillar [m].
        reach: Half the edge of the square that is seen [m].
        width: Of backbone and neck, as a share of the teacher's; itKD keeps encoder and head.
    """
    return ModelConfig(
        name=name,
        classes=WAYMO_CLASSES,
        grid=BevGrid(x=(-reach, reach), y=(-reach, reach), z=(-2.0, 4.0), cell=cell),
        input=PillarInput(max_pillars=32000, max_points=20),
        blocks=_pillar_blocks(width, (1, 2, 2)),
        neck_channels=round(128 * width),
    )


def waymo_voxel(
    name: str, encoder: float = 1.0, width: float = 1.0, head: float = 1.0
) -> ModelConfig:
    """CenterPoint-Voxel on Waymo: 1504 x 1504 x 40 voxels, output maps of 188 x 188.

    Args:
        name: Of the model.
        encoder: Width of the sparse encoder as a share of the teacher's.
        width: Of backbone and neck.
        head: Of the head.
    """
    return ModelConfig(
        name=name,
        classes=WAYMO_CLASSES,
        grid=BevGrid(x=(-75.2, 75.2), y=(-75.2, 75.2), z=(-2.0, 4.0), cell=0.1),
        input=VoxelInput(bins=40),
        encoder_channels=round(16 * encoder),
        blocks=_voxel_blocks(width),
        neck_channels=round(256 * width),
        head=_center_head(head),
    )


def nuscenes_pillar(name: str, width: float = 1.0) -> ModelConfig:
    """CenterPoint-Pillar on nuScenes: six tasks, 512 x 512 pillars of 0.2 m, sweeps told by time.

    Args:
        name: Of the model.
        width: Of backbone and neck, as a share of the teacher's.
    """
    return ModelConfig(
        name=name,
        classes=tuple(label for task in NUSCENES_TASKS for label in task),
        grid=BevGrid(z=(-5.0, 3.0), cell=0.2),
        input=PillarInput(max_pillars=30000, max_points=20, time=True),
        blocks=_pillar_blocks(width, (2, 2, 2)),
        neck_channels=round(128 * width),
        head=_center_head(1.0, NUSCENES_TASKS),
    )


def nuscenes_voxel(
    name: str, encoder: float = 1.0, width: float = 1.0, head: float = 1.0
) -> ModelConfig:
    """CenterPoint-Voxel on nuScenes: six tasks, 1024 x 1024 x 40 voxels, sweeps told by time.

    The arguments are those of `waymo_voxel`.
    """
    return ModelConfig(
        name=name,
        classes=tuple(label for task in NUSCENES_TASKS for label in task),
        grid=BevGrid(z=(-5.0, 3.0), cell=0.1),
        input=VoxelInput(bins=40, time=True),
        encoder_channels=round(16 * encoder),
        blocks=_voxel_blocks(width),
        neck_channels=round(256 * width),
        head=_center_head(head, NUSCENES_TASKS),
    )


def kitti_pointpillars(name: str, encoder: float = 1.0, width: float = 1.0) -> ModelConfig:
    """PointPillars on KITTI: 432 x 496 pillars of 0.16 m in front of the car, anchor head.

    Args:
        name: Of the model.
        encoder: Width of the pillar encoder as a share of the published one.
        width: Of backbone and neck.
    """
    return ModelConfig(
        name=name,
        classes=KITTI_CLASSES,
        grid=BevGrid(x=(0.0, 69.12), y=(-39.68, 39.68), z=(-3.0, 1.0), cell=0.16),
        input=PillarInput(max_pillars=16000, max_points=32),
        encoder_channels=round(64 * encoder),
        blocks=_pillar_blocks(width, (2, 2, 2)),
        neck_channels=round(128 * width),
        head=AnchorHeadConfig(anchors=KITTI_ANCHORS),
    )


def kitti_second(name: str, encoder: float = 1.0, width: float = 1.0) -> ModelConfig:
    """SECOND on KITTI: 1408 x 1600 x 40 voxels of 0.05 x 0.05 x 0.1 m, anchor head.

    Args:
        name: Of the model.
        encoder: Width of the sparse encoder as a share of the published one.
        width: Of backbone and neck.
    """
    return ModelConfig(
        name=name,
        classes=KITTI_CLASSES,
        grid=BevGrid(x=(0.0, 70.4), y=(-40.0, 40.0), z=(-3.0, 1.0), cell=0.05),
        input=VoxelInput(bins=40, max_voxels=40000),
        encoder_channels=round(16 * encoder),
        sparse_blocks="plain",
        blocks=_voxel_blocks(width),
        neck_channels=round(256 * width),
        head=AnchorHeadConfig(anchors=KITTI_ANCHORS),
    )


def own_pillar(name: str, cell: float) -> ModelConfig:
    """CenterPoint-Pillar at kd3d's range with pillars of another size.

    Args:
        name: Of the model.
        cell: Edge of a pillar [m].
    """
    return ModelConfig(
        name=name,
        grid=BevGrid(cell=cell),
        blocks=_pillar_blocks(1.0, (2, 2, 2)),
        neck_channels=128,
    )


def _pillar_blocks(width: float, strides: tuple[int, int, int]) -> tuple[BlockConfig, ...]:
    """PointPillars' backbone (sec. 2.2) at a share of its width."""
    stages = zip((64, 128, 256), (3, 5, 5), strides, strict=True)
    return tuple(
        BlockConfig(channels=round(channels * width), layers=layers, stride=stride)
        for channels, layers, stride in stages
    )


def _voxel_blocks(width: float) -> tuple[BlockConfig, ...]:
    """The backbone after a sparse encoder (SECOND, sec. 3.1) at a share of its width."""
    stages = ((128, 1), (256, 2))
    return tuple(BlockConfig(channels=round(c * width), layers=5, stride=s) for c, s in stages)


def _center_head(width: float, tasks: Tasks = ()) -> HeadConfig:
    """CenterPoint's head at a share of its width."""
    channels = round(64 * width)
    return HeadConfig(shared_channels=channels, branch_channels=channels, tasks=tasks)


#: Shares of encoder, backbone and head: RDD, sec. 4.1.
_STUDENTS = {"s": (1.0, 0.5, 0.5), "xs": (0.75, 0.5, 0.5), "xxs": (0.5, 0.25, 0.25)}
#: itKD, sec. 4: shares of backbone and neck.
_WIDTHS = {"": 1.0, "-half": 0.5, "-quarter": 0.25}
#: Pillars of RDD, and half the edge of what they see [m]: the range about 75 m whose whole number
#: of pillars, a multiple of eight, costs what the paper prints.
_PILLARS = {
    "v032": (0.32, 74.24),
    "v040": (0.4, 73.6),
    "v048": (0.48, 74.88),
    "v064": (0.64, 74.24),
}


def _makers() -> dict[str, Callable[[], ModelConfig]]:
    """What makes each network, by name."""
    calls: dict[str, Callable[[str], ModelConfig]] = {}
    for end, width in _WIDTHS.items():
        calls[f"waymo-pillar{end}"] = partial(waymo_pillar, cell=0.32, reach=74.88, width=width)
    for end, (cell, reach) in _PILLARS.items():
        calls[f"waymo-pillar-{end}"] = partial(waymo_pillar, cell=cell, reach=reach)
    for end, width in _WIDTHS.items():
        calls[f"nuscenes-pillar{end}"] = partial(nuscenes_pillar, width=width)
    for data, maker in (("waymo", waymo_voxel), ("nuscenes", nuscenes_voxel)):
        for end, width in _WIDTHS.items():
            calls[f"{data}-voxel{end}"] = partial(maker, width=width)
        for end, (encoder, width, head) in _STUDENTS.items():
            student = partial(maker, encoder=encoder, width=width, head=head)
            calls[f"{data}-voxel-{end}"] = student
    for name, anchored in (("pointpillars", kitti_pointpillars), ("second", kitti_second)):
        calls[f"kitti-{name}"] = anchored
        for end, encoder in (("s", 0.75), ("xs", 0.5)):
            calls[f"kitti-{name}-{end}"] = partial(anchored, encoder=encoder, width=0.5)
    for end in ("v040", "v064"):
        calls[f"pillar-{end}"] = partial(own_pillar, cell=_PILLARS[end][0])
    return {name: partial(call, name) for name, call in calls.items()}


PAPER_MAKERS = _makers()
