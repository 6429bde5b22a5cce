"""The names of nuScenes: categories, detection classes, attributes and splits.

Source: the annotation instructions and the detection task of the nuScenes documentation
(Caesar et al., nuScenes, CVPR 2020).
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError

#: The ten classes of the detection task, in the order of its result tables.
NUSCENES_CLASSES = (
    "car",
    "truck",
    "bus",
    "trailer",
    "construction_vehicle",
    "pedestrian",
    "motorcycle",
    "bicycle",
    "traffic_cone",
    "barrier",
)
#: Annotated categories that count as a detection class; the others are not evaluated.
CLASS_OF_CATEGORY = {
    "vehicle.car": "car",
    "vehicle.truck": "truck",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.trailer": "trailer",
    "vehicle.construction": "construction_vehicle",
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "vehicle.motorcycle": "motorcycle",
    "vehicle.bicycle": "bicycle",
    "movable_object.trafficcone": "traffic_cone",
    "movable_object.barrier": "barrier",
}
#: The category in which unattended bicycles stand: boxes of cycles inside are not evaluated.
RACK_CATEGORY = "static_object.bicycle_rack"
#: nuScenes boxes of bicycles enclose the rider, as our class of that name does.
OUR_NAMES = {"bicycle": "cyclist"}
OFFICIAL_NAMES = {ours: official for official, ours in OUR_NAMES.items()}

_VEHICLES = ("car", "truck", "bus", "trailer", "construction_vehicle")
_CYCLES = ("bicycle", "motorcycle")
#: Every attribute there is.
ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
#: Speed from which an object counts as moving when its attribute is guessed [m/s].
MOVING = 0.2

#: The scenes of the two splits of v1.0-mini. The long lists of the full set are not repeated here.
MINI_SPLITS = {
    "mini_train": (
        "scene-0061",
        "scene-0553",
        "scene-0655",
        "scene-0757",
        "scene-0796",
        "scene-1077",
        "scene-1094",
        "scene-1100",
    ),
    "mini_val": ("scene-0103", "scene-0916"),
}
#: The folder that each official split lies in.
VERSION_OF_SPLIT = {
    "mini_train": "v1.0-mini",
    "mini_val": "v1.0-mini",
    "train": "v1.0-trainval",
    "val": "v1.0-trainval",
    "train_detect": "v1.0-trainval",
    "train_track": "v1.0-trainval",
    "test": "v1.0-test",
}


def label_of_category(category: str, classes: Sequence[str]) -> int:
    """Index in `classes` of a category's detection class, -1 where it has none there.

    Without a class "bicycle", a class "cyclist" takes the bicycles.
    """
    name = CLASS_OF_CATEGORY.get(category, "")
    for candidate in (name, OUR_NAMES.get(name, "")):
        if candidate in classes:
            return tuple(classes).index(candidate)
    return -1


def official_name(name: str) -> str:
    """The detection task's name of a class of ours.

    Raises:
        Kd3dError: nuScenes has no such class.
    """
    official = OFFICIAL_NAMES.get(name, name)
    if official not in NUSCENES_CLASSES:
        known = ", ".join((*NUSCENES_CLASSES, *OFFICIAL_NAMES))
        raise Kd3dError(f"nuScenes has no class {name!r}; it has: {known}.")
    return official


def guess_attribute(name: str, speed: float) -> str:
    """The likeliest attribute of an object, from its official class and speed [m/s].

    Returns:
        An attribute, or "" for classes that have none. An unknown (NaN) speed counts as rest.
    """
    moving = speed > MOVING
    if name in _VEHICLES:
        # A bus at rest waits at a stop; other vehicles at rest are mostly parked.
        return (
            "vehicle.moving" if moving else f"vehicle.{'stopped' if name == 'bus' else 'parked'}"
        )
    if name in _CYCLES:
        return "cycle.with_rider" if moving else "cycle.without_rider"
    if name == "pedestrian":
        return "pedestrian.moving" if moving else "pedestrian.standing"
    return ""


def guess_attributes(names: Sequence[str], velocity: NDArray[np.floating[Any]]) -> list[str]:
    """`guess_attribute` of N boxes: official class names, (N, 2) velocity [m/s]."""
    speeds = np.hypot(velocity[:, 0], velocity[:, 1]).tolist()
    return [guess_attribute(name, speed) for name, speed in zip(names, speeds, strict=True)]


def scenes_of_split(split: str, splits_file: dict[str, Any], where: Path) -> set[str]:
    """Names of the scenes of a split.

    A split of the data set's own `splits.json` comes first, then the built-in mini splits, then
    the official lists, which are taken from an installed nuscenes-devkit.

    Args:
        split: Its name.
        splits_file: Content of `splits.json`: split -> scene names; empty without one.
        where: Path of that file, for messages.

    Raises:
        Kd3dError: Nobody knows the split.
    """
    if split in splits_file:
        return {str(name) for name in splits_file[split]}
    if split in MINI_SPLITS:
        return set(MINI_SPLITS[split])
    own = f"write its scene names into {where} as {{{split!r}: ['scene-0001', ...]}}"
    if split not in VERSION_OF_SPLIT:
        known = ", ".join(dict.fromkeys([*splits_file, *VERSION_OF_SPLIT]))
        raise Kd3dError(f"there is no nuScenes split {split!r}; use one of {known}, or {own}.")
    try:
        official = importlib.import_module("nuscenes.utils.splits").create_splits_scenes()
    except ImportError as error:
        raise Kd3dError(
            f"the scenes of the official split {split!r} come with nuscenes-devkit, which cannot "
            f"be imported here ({error}). Install it (`pip install --no-deps nuscenes-devkit "
            f"pyquaternion`, and what it imports), or {own}."
        ) from error
    return set(official[split])
