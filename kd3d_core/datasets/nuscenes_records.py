"""The linked records of nuScenes' tables, made drive by drive."""

import json
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.nuscenes_fixed import MAP_FILE
from kd3d_core.datasets.nuscenes_fixed import Record
from kd3d_core.datasets.nuscenes_fixed import category_of_class
from kd3d_core.datasets.nuscenes_fixed import fixed_tables
from kd3d_core.datasets.nuscenes_fixed import make_token
from kd3d_core.errors import Kd3dError
from kd3d_core.files import write_text
from kd3d_core.geometry.transforms import quaternion_from_matrix


@dataclass(frozen=True)
class BoxRecord:
    """One annotation, upright in the world.

    Attributes:
        name: Official class.
        attribute: Or "".
        track: Number of the object in its drive; None for an object seen once.
        center: x, y, z [m].
        size: Length, width, height [m].
        yaw: [rad].
        points: LiDAR points inside.
    """

    name: str
    attribute: str
    track: int | None
    center: Sequence[float]
    size: Sequence[float]
    yaw: float
    points: int


class Records:
    """The tables in the making; frames come drive by drive, in the order of time."""

    def __init__(self, version: str) -> None:
        """Start with the tables that never change."""
        self.version = version
        self.scenes: list[str] = []
        self.mount: NDArray[np.float64] = np.eye(4)
        self._tables = fixed_tables()
        self._waiting: list[Record] = []
        self._sweep: Record | None = None
        self._sample: Record | None = None
        self._tracks: dict[int, tuple[Record, Record]] = {}

    @property
    def sweep_count(self) -> int:
        """Sweeps noted so far."""
        return len(self._tables["sample_data"])

    def begun(self, scene: str) -> bool:
        """Whether this is the drive in hand."""
        return bool(self.scenes) and self.scenes[-1] == scene

    def begin(self, scene: str, ego_from_lidar: NDArray[np.float64]) -> None:
        """Begin a drive whose sensor is mounted so."""
        self._end_scene()
        self.scenes.append(scene)
        self.mount = ego_from_lidar
        self._sweep = self._sample = None
        self._tracks = {}
        log, calibration = make_token("log", scene), make_token("calibrated_sensor", scene)
        self._tables["log"].append(
            {
                "token": log,
                "logfile": scene,
                "vehicle": "simulated",
                "date_captured": "1970-01-01",
                "location": "simulated",
            }
        )
        self._tables["calibrated_sensor"].append(
            {
                "token": calibration,
                "sensor_token": self._tables["sensor"][0]["token"],
                **_placed(ego_from_lidar),
                "camera_intrinsic": [],
            }
        )
        self._tables["scene"].append(
            {
                "token": make_token("scene", scene),
                "log_token": log,
                "nbr_samples": 0,
                "first_sample_token": "",
                "last_sample_token": "",
                "name": scene,
                "description": "simulated",
            }
        )

    def add_sweep(
        self,
        filename: str,
        stamp: int,
        world_from_ego: NDArray[np.float64],
        *,
        is_key: bool,
        source: str,
    ) -> None:
        """Note a sweep at `stamp` [us]; the first one of a drive must be a key frame.

        Raises:
            Kd3dError: It is not later than the one before.
        """
        before, token = self._sweep, make_token("sample_data", filename)
        if before is not None and stamp <= before["timestamp"]:
            raise Kd3dError(
                f"{source} is not later than the frame before it: give the frames of a drive in "
                "the order of time, and each drive by itself."
            )
        pose = make_token("ego_pose", filename)
        self._tables["ego_pose"].append(
            {"token": pose, "timestamp": stamp, **_placed(world_from_ego)}
        )
        self._sweep = {
            "token": token,
            "sample_token": "",
            "ego_pose_token": pose,
            "calibrated_sensor_token": self._tables["calibrated_sensor"][-1]["token"],
            "timestamp": stamp,
            "fileformat": "pcd",
            "is_key_frame": is_key,
            "height": 0,
            "width": 0,
            "filename": filename,
            "prev": before["token"] if before else "",
            "next": "",
        }
        if before:
            before["next"] = token
        self._tables["sample_data"].append(self._sweep)
        self._waiting.append(self._sweep)
        if is_key:
            self._add_sample(stamp)

    def add_box(self, box: BoxRecord) -> None:
        """Note an annotation of the sample in hand."""
        sample = self._sample
        assert sample is not None, "a key frame comes before its boxes"
        token = make_token(
            "sample_annotation", sample["token"], len(self._tables["sample_annotation"])
        )
        instance, last = self._instance(box, token)
        record = {
            "token": token,
            "sample_token": sample["token"],
            "instance_token": instance["token"],
            "visibility_token": "",
            "attribute_tokens": [make_token("attribute", box.attribute)] if box.attribute else [],
            "translation": list(box.center),
            "size": [box.size[1], box.size[0], box.size[2]],  # width, length, height
            "rotation": [float(np.cos(box.yaw / 2)), 0.0, 0.0, float(np.sin(box.yaw / 2))],
            "prev": last["token"] if last else "",
            "next": "",
            "num_lidar_pts": box.points,
            "num_radar_pts": 0,
        }
        if last:
            last["next"] = token
        instance["nbr_annotations"] += 1
        instance["last_annotation_token"] = token
        self._tables["sample_annotation"].append(record)
        if box.track is not None:
            self._tracks[box.track] = instance, record

    def write(self, root: Path, splits: Mapping[str, Sequence[str]]) -> Path:
        """Write the tables, `sample.json` last: it makes the folder a data set."""
        self._end_scene()
        folder = root / self.version
        logs = [record["token"] for record in self._tables["log"]]
        self._tables["map"] = [
            {
                "token": make_token("map"),
                "log_tokens": logs,
                "category": "semantic_prior",
                "filename": MAP_FILE,
            }
        ]
        named = {name: list(scenes) for name, scenes in splits.items()}
        write_text(folder / "splits.json", json.dumps(named, indent=1) + "\n")
        for name in sorted(self._tables, key=lambda name: name == "sample"):
            # One record a line: `indent` would leave json's compiled encoder.
            lines = ",\n".join(json.dumps(record) for record in self._tables[name])
            write_text(folder / f"{name}.json", f"[\n{lines}\n]\n")
        return folder

    def _add_sample(self, stamp: int) -> None:
        """Make a sample of the sweep in hand; it takes the sweeps since the one before."""
        scene, before = self._tables["scene"][-1], self._sample
        token = make_token("sample", self.scenes[-1], stamp)
        self._sample = {
            "token": token,
            "timestamp": stamp,
            "prev": before["token"] if before else "",
            "next": "",
            "scene_token": scene["token"],
        }
        if before:
            before["next"] = token
        self._tables["sample"].append(self._sample)
        scene["nbr_samples"] += 1
        scene["first_sample_token"] = scene["first_sample_token"] or token
        scene["last_sample_token"] = token
        self._give_sweeps(token)

    def _give_sweeps(self, sample: str) -> None:
        """Let the sweeps without a sample belong to this one."""
        for sweep in self._waiting:
            sweep["sample_token"] = sample
        self._waiting = []

    def _end_scene(self) -> None:
        """Sweeps after the last key frame belong to it."""
        if self._sample:
            self._give_sweeps(self._sample["token"])

    def _instance(self, box: BoxRecord, first: str) -> tuple[Record, Record | None]:
        """The object of a box and its annotation before, if it was seen."""
        known = None if box.track is None else self._tracks.get(box.track)
        if known:
            return known
        instance = {
            "token": make_token("instance", first),
            "category_token": make_token("category", category_of_class(box.name)),
            "nbr_annotations": 0,
            "first_annotation_token": first,
            "last_annotation_token": first,
        }
        self._tables["instance"].append(instance)
        return instance, None


def _placed(pose: NDArray[np.float64]) -> Record:
    """Translation and rotation (w, x, y, z) of a (4, 4) pose."""
    x, y, z, w = quaternion_from_matrix(pose[:3, :3])
    return {"translation": pose[:3, 3].tolist(), "rotation": [w, x, y, z]}
