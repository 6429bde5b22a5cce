"""The tables of nuScenes as arrays: what a LiDAR detector needs of them."""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.nuscenes_annotations import Annotations
from kd3d_core.datasets.nuscenes_annotations import read_annotations
from kd3d_core.datasets.nuscenes_classes import scenes_of_split
from kd3d_core.datasets.nuscenes_frames import poses
from kd3d_core.datasets.nuscenes_frames import quarter_turn
from kd3d_core.datasets.nuscenes_frames import quarter_turns
from kd3d_core.datasets.nuscenes_json import read_table
from kd3d_core.errors import Kd3dError

#: The LiDAR on the roof, the only one.
CHANNEL = "LIDAR_TOP"


@dataclass(frozen=True, eq=False)
class Samples:
    """S annotated moments, scene after scene, in the order of time.

    Attributes:
        tokens: Of each.
        scene: Name of the scene of each.
        timestamp: (S,) int64 [us].
        sweep: (S,) int64, row of its LiDAR sweep in `Sweeps`.
        table_order: (S,) int64, the samples in the order of the file.
    """

    tokens: list[str]
    scene: list[str]
    timestamp: NDArray[np.int64]
    sweep: NDArray[np.int64]
    table_order: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sweeps:
    """M sweeps of the LiDAR.

    Attributes:
        filenames: Of each, relative to the root.
        timestamp: (M,) int64 [us].
        earlier: (M,) int64, row of the sweep before it, -1 where the scene begins.
        turns: (M,) int64: our sensor frame is the file's, turned by as many quarter turns.
        world_from_sensor: (M, 4, 4) float64, of our sensor frame.
        ego: (M, 3) float64, the vehicle in the world [m].
        height: (M,) float64, of the sensor above the vehicle's origin, which is on the ground [m].
    """

    filenames: list[str]
    timestamp: NDArray[np.int64]
    earlier: NDArray[np.int64]
    turns: NDArray[np.int64]
    world_from_sensor: NDArray[np.float64]
    ego: NDArray[np.float64]
    height: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tables:
    """A version of nuScenes, or the scenes of one split of it."""

    samples: Samples
    sweeps: Sweeps
    annotations: Annotations | None


def read_tables(folder: Path, split: str | None) -> Tables:
    """Read the tables of a version.

    Args:
        folder: Of the JSON files.
        split: Which scenes to keep; None keeps all.

    Raises:
        Kd3dError: A table is missing or damaged, the split is unknown or has no scene here.
    """
    names = _scene_names(folder, split)
    order = {token: i for i, token in enumerate(names)}
    rows = [
        (order[scene], time, token)
        for token, scene, time in read_table(folder, "sample", "token", "scene_token", "timestamp")
        if scene in names
    ]
    place = sorted(range(len(rows)), key=lambda i: rows[i][:2])
    tokens = [rows[i][2] for i in place]
    timestamp = np.array([rows[i][1] for i in place], np.int64)
    row_of = {token: i for i, token in enumerate(tokens)}
    sweeps, sweep = _read_sweeps(folder, row_of)
    scenes = list(names.values())
    samples = Samples(
        tokens=tokens,
        scene=[scenes[rows[i][0]] for i in place],
        timestamp=timestamp,
        sweep=sweep,
        table_order=np.argsort(place),
    )
    return Tables(samples, sweeps, read_annotations(folder, row_of, timestamp))


def _scene_names(folder: Path, split: str | None) -> dict[str, str]:
    """Token -> name of the scenes of a split, in the order of the table."""
    scenes = dict(read_table(folder, "scene", "token", "name"))
    if not scenes:
        raise Kd3dError(f"{folder / 'scene.json'} lists no scenes.")
    if split is None:
        return scenes
    path = folder / "splits.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise Kd3dError(f"cannot read {path}: {error}.") from error
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise Kd3dError(f"{path} must map the name of each split to a list of scene names.")
    wanted = scenes_of_split(split, content, path)
    kept = {token: name for token, name in scenes.items() if name in wanted}
    if not kept:
        raise Kd3dError(
            f"none of the {len(scenes)} scenes of {folder} belongs to the split {split!r}. "
            f"Another version holds them, or name this data set's own scenes in {path}."
        )
    return kept


def _read_sweeps(folder: Path, samples: dict[str, int]) -> tuple[Sweeps, NDArray[np.int64]]:
    """The LiDAR sweeps of the samples (token -> row), and the row of each sample's own."""
    calibrations, mounts = _read_mounts(folder)
    tokens: dict[str, int] = {}
    filenames: list[str] = []
    pose_tokens: list[str] = []
    before: list[str] = []
    timestamp, mount = array("q"), array("q")
    own = np.full(len(samples), -1, np.int64)
    for token, sample, mounted, pose, time, filename, is_key, previous in read_table(
        folder,
        "sample_data",
        "token",
        "sample_token",
        "calibrated_sensor_token",
        "ego_pose_token",
        "timestamp",
        "filename",
        "is_key_frame",
        "prev",
    ):
        if mounted not in calibrations or sample not in samples:
            continue
        if is_key:
            own[samples[sample]] = len(filenames)
        tokens[token] = len(filenames)
        filenames.append(filename)
        pose_tokens.append(pose)
        before.append(previous)
        timestamp.append(time)
        mount.append(calibrations[mounted])
    if (own < 0).any():
        token = list(samples)[int(np.argmin(own))]
        raise Kd3dError(
            f"{folder / 'sample_data.json'} has no {CHANNEL} key frame of sample {token}."
        )
    world_from_ego = _read_ego_poses(folder, pose_tokens)
    ego_from_sensor, turns = mounts
    rows = np.array(mount, np.int64)
    return Sweeps(
        filenames=filenames,
        timestamp=np.array(timestamp, np.int64),
        earlier=np.array([tokens.get(token, -1) for token in before], np.int64),
        turns=turns[rows],
        world_from_sensor=world_from_ego @ ego_from_sensor[rows],
        ego=world_from_ego[:, :3, 3].copy(),
        height=ego_from_sensor[rows, 2, 3],
    ), own


def _read_mounts(
    folder: Path,
) -> tuple[dict[str, int], tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Calibrations of the LiDAR.

    Returns:
        Token -> row, and of each row the (4, 4) ego_from_sensor pose of our sensor frame and the
        quarter turns from the file's frame to it.
    """
    sensors = {
        token
        for token, channel in read_table(folder, "sensor", "token", "channel")
        if channel == CHANNEL
    }
    fields = ("token", "sensor_token", "translation", "rotation")
    rows = [row for row in read_table(folder, "calibrated_sensor", *fields) if row[1] in sensors]
    if not rows:
        raise Kd3dError(f"{folder / 'calibrated_sensor.json'} has no calibration of {CHANNEL}.")
    ego_from_lidar = poses([row[2] for row in rows], [row[3] for row in rows])
    turns = np.array([quarter_turns(pose) for pose in ego_from_lidar], np.int64)
    back = np.array([quarter_turn(-int(turn)) for turn in turns])
    return {row[0]: i for i, row in enumerate(rows)}, (ego_from_lidar @ back, turns)


def _read_ego_poses(folder: Path, tokens: Sequence[str]) -> NDArray[np.float64]:
    """(M, 4, 4) world_from_ego of M tokens."""
    row_of = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    values = np.full((len(row_of), 7), np.nan)
    fields = ("token", "translation", "rotation")
    for token, translation, rotation in read_table(folder, "ego_pose", *fields):
        row = row_of.get(token)
        if row is not None:
            values[row] = [*translation, *rotation]
    missing = np.isnan(values).any(axis=1)
    if missing.any():
        raise Kd3dError(
            f"{folder / 'ego_pose.json'} lacks {int(missing.sum())} pose(s) of LiDAR sweeps, for "
            f"example {list(row_of)[int(np.argmax(missing))]}."
        )
    unique = poses(values[:, :3], values[:, 3:])
    return unique[[row_of[token] for token in tokens]]
