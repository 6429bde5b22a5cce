"""What a sensor is like, measured on its clouds."""

from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.adaptation.intensity import quantiles
from kd3d_core.adaptation.recording import Recording
from kd3d_core.frame import Frame
from kd3d_core.ground import GroundEstimate
from kd3d_core.ground import estimate_ground
from kd3d_core.pointcloud import PointCloud

#: Width of the sectors in which the view is looked at [deg].
SECTOR = 5
#: Edges of the distance rings [m].
RINGS = (0.0, 20.0, 35.0, 50.0)
#: A sector with fewer points than this share of the middle one is blind.
_BLIND = 0.05
#: Returns closer than this [m], and higher above the ground than this [m], may be the vehicle.
_NEAR, _ABOVE_GROUND = 2.5, 0.3
#: Edge of the cubes in which the vehicle's own returns stay [m], and in how many clouds they do.
_CUBE, _STAYS = 0.25, 0.8
#: Clouds looked at for the slow measurements.
_SOME = 40


@dataclass(frozen=True)
class SensorReport:
    """The sensor of a recording. Angles are in its own frame, counter-clockwise from +x.

    Attributes:
        clouds: How many were looked at.
        rate_hz: Clouds a second; None for files.
        points: Median points of a cloud.
        points_by_ring: Median points by distance, "0-20 m" and so on.
        far: Distance that one in a thousand points exceeds [m].
        beams: Number of rings in the clouds; None where the driver does not tell them.
        elevation_deg: Between which angles 99 % of the points lie.
        blind_deg: Sectors without points, (from, to).
        vehicle_deg: Sectors with returns that stay while everything else moves: the own vehicle.
        vehicle_share: Share of the points that are.
        ego_box: x_min, y_min, z_min, x_max, y_max, z_max [m] around them; None without any.
        ground_share: Share of the clouds in which the ground was found.
        up: The axis that points up in most of them; None where no ground was found.
        height: Of the sensor above the ground [m], median.
        height_spread: Between the quarters of the clouds [m].
        pitch_deg: Median; positive looks down.
        roll_deg: Median; positive tips to the right.
        has_intensity: Whether the clouds have intensities that differ.
        intensity: (33,) quantiles in [0, 1] at evenly spaced ranks, from the lowest on.
        zero_share: Share of the points with intensity 0.
        full_share: Share with full intensity.
        levels: Different intensities seen.
    """

    clouds: int
    rate_hz: float | None
    points: float
    points_by_ring: dict[str, float]
    far: float
    beams: int | None
    elevation_deg: tuple[float, float]
    blind_deg: tuple[tuple[int, int], ...]
    vehicle_deg: tuple[tuple[int, int], ...]
    vehicle_share: float
    ego_box: tuple[float, ...] | None
    ground_share: float
    up: str | None
    height: float | None
    height_spread: float | None
    pitch_deg: float | None
    roll_deg: float | None
    has_intensity: bool
    intensity: tuple[float, ...]
    zero_share: float
    full_share: float
    levels: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @property
    def mount(self) -> dict[str, float]:
        """Height [m], pitch and roll [deg] by name; empty where no ground was in sight."""
        if self.height is None or self.pitch_deg is None or self.roll_deg is None:
            return {}
        return {
            "height_m": self.height,
            "pitch_deg": self.pitch_deg,
            "roll_deg": self.roll_deg,
        }


def measure_sensor(recording: Recording) -> SensorReport:
    """Measure what can be told from clouds alone."""
    frames = recording.frames
    some = [
        frames[i] for i in np.linspace(0, len(frames) - 1, min(_SOME, len(frames))).astype(int)
    ]
    clouds = [frame.cloud for frame in some]
    everything = np.concatenate([cloud.points for cloud in clouds])
    flat = np.hypot(everything[:, 0], everything[:, 1])
    elevation = np.degrees(np.arctan2(everything[:, 2], flat))
    rings = [cloud.ring for cloud in clouds if cloud.ring is not None and len(cloud)]
    values = everything[:, 3]
    ground = _ground(clouds)
    return SensorReport(
        clouds=len(recording),
        rate_hz=None if recording.period is None else _rounded(1 / recording.period, 2),
        points=float(np.median([len(frame.cloud) for frame in frames])),
        points_by_ring=_by_ring(clouds),
        far=_rounded(np.quantile(np.linalg.norm(everything[:, :3], axis=1), 0.999), 1),
        beams=len(np.unique(np.concatenate(rings))) if rings else None,
        elevation_deg=tuple(_rounded(v, 1) for v in np.quantile(elevation, (0.005, 0.995))),  # type: ignore[arg-type]
        blind_deg=_blind(everything),
        **_vehicle(some, ground["height"]),
        **ground,
        has_intensity=any(cloud.has_intensity for cloud in clouds) and bool(np.ptp(values) > 0),
        intensity=quantiles(clouds),
        zero_share=_rounded(np.mean(values == 0), 4),
        full_share=_rounded(np.mean(values >= 1), 4),
        levels=len(np.unique(values)),
    )


def _ground(clouds: Sequence[PointCloud]) -> dict[str, Any]:
    """The fields about the ground."""
    all_found = [found for found in map(estimate_ground, clouds) if found is not None]
    if not all_found:
        names = ("up", "height", "height_spread", "pitch_deg", "roll_deg")
        return {"ground_share": 0.0} | dict.fromkeys(names)
    votes = [found.up for found in all_found]
    up = max(set(votes), key=votes.count)
    found: list[GroundEstimate] = [each for each in all_found if each.up == up]
    heights = np.array([each.height for each in found])
    low, high = np.quantile(heights, (0.25, 0.75))
    return {
        "ground_share": _rounded(len(found) / len(clouds), 3),
        "up": up,
        "height": _rounded(np.median(heights), 3),
        "height_spread": _rounded(high - low, 3),
        "pitch_deg": _rounded(np.degrees(np.median([each.pitch for each in found])), 2),
        "roll_deg": _rounded(np.degrees(np.median([each.roll for each in found])), 2),
    }


def _by_ring(clouds: Sequence[PointCloud]) -> dict[str, float]:
    """Median points of a cloud in each ring of distance."""
    edges = (*RINGS, np.inf)
    counts = np.array(
        [np.histogram(np.hypot(c.points[:, 0], c.points[:, 1]), edges)[0] for c in clouds]
    )
    names = [f"{a:g}-{b:g} m" for a, b in pairwise(RINGS)]
    names.append(f"beyond {RINGS[-1]:g} m")
    return dict(zip(names, np.median(counts, axis=0).tolist(), strict=True))


def _sector(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) int64 number of the sector of (N, 3 or more) points, from -180 deg on."""
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    return np.minimum((azimuth + 180) // SECTOR, 360 // SECTOR - 1).astype(np.int64)


def _blind(points: NDArray[np.float32]) -> tuple[tuple[int, int], ...]:
    """Sectors in which hardly any of (N, 4) points lie."""
    counts = np.bincount(_sector(points), minlength=360 // SECTOR)
    seen = counts[counts > 0]
    return joined(counts < _BLIND * (np.median(seen) if len(seen) else 1.0))


def _vehicle(frames: Sequence[Frame], height: float | None) -> dict[str, Any]:
    """The fields about the own vehicle: near cubes above the ground that stay occupied."""
    floor = -np.inf if height is None else _ABOVE_GROUND - height
    cubes, total = [], 0
    for frame in frames:
        xyz = frame.cloud.xyz
        total += len(xyz)
        near = xyz[(np.hypot(xyz[:, 0], xyz[:, 1]) < _NEAR) & (xyz[:, 2] > floor)]
        cubes.append(np.floor(near / _CUBE).astype(np.int64))
    each, times = np.unique(
        np.concatenate([np.unique(cube, axis=0) for cube in cubes]), axis=0, return_counts=True
    )
    staying = {tuple(cube) for cube in each[times >= _STAYS * len(frames)].tolist()}
    if not staying:
        return {"vehicle_deg": (), "vehicle_share": 0.0, "ego_box": None}
    points = sum(
        int(count)
        for cube in cubes
        for place, count in zip(*np.unique(cube, axis=0, return_counts=True), strict=True)
        if tuple(place.tolist()) in staying
    )
    low = np.array(sorted(staying)) * _CUBE
    mask = np.zeros(360 // SECTOR, bool)
    mask[_sector((low + _CUBE / 2).astype(np.float32))] = True
    box = (*low.min(axis=0).tolist(), *(low.max(axis=0) + _CUBE).tolist())
    return {
        "vehicle_deg": joined(mask),
        "vehicle_share": _rounded(points / total, 4),
        "ego_box": tuple(_rounded(value, 2) for value in box),
    }


def joined(mask: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Neighbouring marked sectors as one each.

    Args:
        mask: (360 / SECTOR,) bool, from -180 deg on.

    Returns:
        (from, to) [deg] with from < to; a sector across the rear ends above 180.
    """
    if mask.all():
        return ((-180, 180),)
    # From a free sector on, so that none is cut in two at the rear.
    start = int(np.argmin(mask))
    turned = np.roll(mask, -start)
    edges = np.flatnonzero(np.diff(turned.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    found = []
    for low, high in edges.tolist():
        first = -180 + (start + low) * SECTOR
        first = first - 360 if first >= 180 else first
        found.append((first, first + (high - low) * SECTOR))
    return tuple(sorted(found))


def _rounded(value: Any, digits: int) -> float:
    """A number for people and for JSON."""
    return round(float(value), digits) + 0.0
