"""The annotations of nuScenes as arrays, with the velocities that follow from them."""

from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.nuscenes_frames import yaws
from kd3d_core.datasets.nuscenes_json import read_table
from kd3d_core.errors import Kd3dError

_FIELDS = (
    "token",
    "sample_token",
    "instance_token",
    "attribute_tokens",
    "prev",
    "next",
    "translation",
    "size",
    "rotation",
    "num_lidar_pts",
    "num_radar_pts",
)
#: Annotations farther apart in time than this tell no velocity [s].
MAX_GAP = 1.5


@dataclass(frozen=True, eq=False)
class Annotations:
    """K annotated boxes in the world frame, sorted by sample.

    Attributes:
        starts: (S + 1,) int64: sample i has the rows starts[i] to starts[i + 1].
        tokens: Of each.
        center: (K, 3) float64 [m].
        size: (K, 3) float64 length, width, height [m].
        yaw: (K,) float64 [rad].
        velocity: (K, 2) float64 [m/s], NaN where unknown.
        category: (K,) int64, index into `categories`.
        attribute: (K,) int64, index into `attributes`; 0 is "".
        instance: (K,) int64: the same object keeps its number.
        lidar_points: (K,) int64 points of the LiDAR's key frame in the box.
        radar_points: (K,) int64 points of the radars in it.
        categories: (C,) str, names of the categories.
        attributes: (A,) str, names of the attributes, "" first.
    """

    starts: NDArray[np.int64]
    tokens: list[str]
    center: NDArray[np.float64]
    size: NDArray[np.float64]
    yaw: NDArray[np.float64]
    velocity: NDArray[np.float64]
    category: NDArray[np.int64]
    attribute: NDArray[np.int64]
    instance: NDArray[np.int64]
    lidar_points: NDArray[np.int64]
    radar_points: NDArray[np.int64]
    categories: NDArray[np.str_]
    attributes: NDArray[np.str_]


def read_annotations(
    folder: Path, samples: dict[str, int], timestamp: NDArray[np.int64]
) -> Annotations | None:
    """Read the annotations of the samples.

    Args:
        folder: Of the tables.
        samples: Token -> row.
        timestamp: (S,) int64 of each row [us].

    Returns:
        None when the table is empty, as in v1.0-test.

    Raises:
        Kd3dError: A table is missing, damaged, or refers to records that there are not.
    """
    categories, category_of = _read_categories(folder)
    attribute_of = dict(read_table(folder, "attribute", "token", "name"))
    attributes = ("", *dict.fromkeys(attribute_of.values()))
    instance_of = {token: i for i, token in enumerate(category_of)}
    tokens: list[str] = []
    links: list[tuple[str, str]] = []
    boxes = array("d")
    codes = array("q")
    empty = True
    for token, sample, instance, named, previous, following, *place, lidar, radar in read_table(
        folder, "sample_annotation", *_FIELDS
    ):
        empty = False
        if sample not in samples:
            continue
        tokens.append(token)
        links.append((previous, following))
        for part in place:
            boxes.extend(part)
        try:
            attribute = attributes.index(attribute_of[named[0]]) if named else 0
            numbers = [samples[sample], category_of[instance], attribute, instance_of[instance]]
        except KeyError as error:
            raise Kd3dError(
                f"{folder / 'sample_annotation.json'}: record {token} names {error}, which "
                "instance.json or attribute.json does not hold."
            ) from error
        codes.extend([*numbers, lidar, radar])
    if empty:
        return None
    table = np.array(boxes, np.float64).reshape(-1, 10)
    coded = np.array(codes, np.int64).reshape(-1, 6)
    velocity = _velocities(folder, tokens, links, table[:, :3], timestamp[coded[:, 0]])
    order = np.argsort(coded[:, 0], kind="stable")
    table, coded = table[order], coded[order]
    return Annotations(
        starts=np.searchsorted(coded[:, 0], np.arange(len(samples) + 1)),
        tokens=[tokens[i] for i in order],
        center=table[:, :3],
        size=table[:, [4, 3, 5]],  # the file has width, length, height
        yaw=yaws(table[:, 6:]),
        velocity=velocity[order],
        category=coded[:, 1],
        attribute=coded[:, 2],
        instance=coded[:, 3],
        lidar_points=coded[:, 4],
        radar_points=coded[:, 5],
        categories=np.array(categories, np.str_),
        attributes=np.array(attributes, np.str_),
    )


def _read_categories(folder: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the categories, and instance token -> index into them."""
    names = dict(read_table(folder, "category", "token", "name"))
    row = {token: i for i, token in enumerate(names)}
    try:
        instances = {
            token: row[category]
            for token, category in read_table(folder, "instance", "token", "category_token")
        }
    except KeyError as error:
        raise Kd3dError(
            f"{folder / 'instance.json'} names category {error}, which category.json does not "
            "hold."
        ) from error
    return tuple(names.values()), instances


def _velocities(
    folder: Path,
    tokens: list[str],
    links: list[tuple[str, str]],
    center: NDArray[np.float64],
    timestamp: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(K, 2) velocities [m/s]: the way from the annotation before to the one after, over its time.

    At the ends of a track the annotation itself takes the missing place. A single one, or one
    whose neighbours are too far away in time, has none (NaN); the bound doubles between two
    neighbours. This is the definition of the official detection metrics.
    """
    row = {token: i for i, token in enumerate(tokens)}
    here = np.arange(len(tokens))
    try:
        before = np.array([row[a] if a else i for i, (a, _) in enumerate(links)], np.int64)
        after = np.array([row[b] if b else i for i, (_, b) in enumerate(links)], np.int64)
    except KeyError as error:
        raise Kd3dError(
            f"{folder / 'sample_annotation.json'} refers to the annotation {error}, which it does "
            "not hold."
        ) from error
    way = center[after, :2] - center[before, :2]
    # In this order, as the reference rounds it.
    time = 1e-6 * timestamp[after] - 1e-6 * timestamp[before]
    limit = np.where((before != here) & (after != here), 2 * MAX_GAP, MAX_GAP)
    known = (before != after) & (time <= limit)
    velocity = np.full((len(tokens), 2), np.nan)
    velocity[known] = way[known] / time[known, None]
    return velocity
