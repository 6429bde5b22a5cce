"""Rules about what moves: headings against motion, times, poses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kd3d_core.inspection.config import CheckConfig
from kd3d_core.inspection.facts import FrameFacts
from kd3d_core.inspection.findings import Finding
from kd3d_core.inspection.findings import examples
from kd3d_core.inspection.findings import percent
from kd3d_core.inspection.sizes import plausible
from kd3d_core.inspection.table import BoxTable
from kd3d_core.inspection.table import neighbours


def heading_findings(table: BoxTable, config: CheckConfig) -> list[Finding]:
    """Moving objects that do not face the way they move."""
    follows = np.array([_faces_motion(name) for name in table.name.tolist()], bool)
    moving = np.flatnonzero(follows & table.finite & (table.speed > config.moving))
    if len(moving) < config.few:
        return []
    motion = np.arctan2(table.velocity[moving, 1], table.velocity[moving, 0])
    along = np.cos(table.yaw[moving] - motion)
    back, side = moving[along < -0.7], moving[np.abs(along) < 0.7]
    if len(side) > config.sideways_share * len(moving):
        return [_sideways(table, moving, motion, side)]
    if len(back) <= config.flipped_share * len(moving):
        return []
    most = len(back) > 0.5 * len(moving)
    return [
        Finding(
            "flipped-yaw",
            "error" if most else "warning",
            f"{len(back)} of {len(moving)} objects that move ({percent(len(back), len(moving))}) "
            "face backwards.",
            "Add pi to all yaws: the x axis of a box points to its front."
            if most
            else "Turn these boxes by 180 degrees; where nobody annotated which end is the front, "
            "take the direction of motion.",
            *table.examples(back),
        )
    ]


def _sideways(
    table: BoxTable,
    moving: NDArray[np.int64],
    motion: NDArray[np.float64],
    side: NDArray[np.int64],
) -> Finding:
    """Many objects move across their heading: which convention would explain it."""
    yaw = table.yaw[moving]
    guesses = {
        "clockwise, not counter-clockwise": -yaw,
        "from the y axis, not from the x axis (add 90 degrees)": yaw + np.pi / 2,
        "from the -y axis, not from the x axis (subtract 90 degrees)": yaw - np.pi / 2,
        "clockwise from the y axis (90 degrees minus yaw)": np.pi / 2 - yaw,
        "as KITTI's rotation_y (-yaw - 90 degrees)": -yaw - np.pi / 2,
        "in degrees, not in radians": np.deg2rad(yaw),
    }
    fit = {words: float(np.mean(np.cos(guess - motion))) for words, guess in guesses.items()}
    best = max(fit, key=lambda words: fit[words])
    cause = f" It fits if yaw is given {best}." if fit[best] > 0.85 else ""
    return Finding(
        "sideways-yaw",
        "error",
        f"{len(side)} of {len(moving)} objects that move ({percent(len(side), len(moving))}) move "
        f"across their heading.{cause}",
        "Yaw is counter-clockwise from +x in radians, and velocities are over ground in the axes "
        "of the cloud: convert what differs.",
        *table.examples(side),
    )


def _faces_motion(name: str) -> bool:
    """Whether objects of a class move the way they face, as far as is known."""
    limits = plausible(name)
    return limits is not None and limits.faces_motion


def time_findings(frames: Sequence[FrameFacts]) -> list[Finding]:
    """Times that stand still or run backwards."""
    pairs = neighbours(frames)
    steps = np.array([frames[j].stamp - frames[i].stamp for i, j in pairs])
    if not len(pairs):
        return []
    if not steps.any() and not any(facts.stamp for facts in frames):
        return [
            Finding(
                "no-times",
                "note",
                "no frame has a time.",
                "Without times there are no sweeps and no velocities; detection needs neither.",
            )
        ]
    bad = [pairs[k] for k in np.flatnonzero(steps <= 0)]
    found = []
    if bad:
        found.append(
            Finding(
                "times",
                "error",
                f"in {len(bad)} of {len(pairs)} neighbouring frames of a drive, the time does not "
                "advance.",
                "Check the unit and the order of the time stamps, and that each drive has a "
                "folder of its own.",
                *examples([(frames[j], None) for _, j in bad]),
            )
        )
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    gaps = [pairs[k] for k in np.flatnonzero(steps > 3 * usual)] if usual else []
    if len(gaps) > 0.02 * len(pairs):
        found.append(
            Finding(
                "gaps",
                "note",
                f"{len(gaps)} of {len(pairs)} steps in time are more than 3 times the usual "
                f"{usual:.3g} s.",
                "Sweeps that are missing make the clouds of several sweeps uneven.",
                *examples([(frames[j], None) for _, j in gaps]),
            )
        )
    return found


def pose_findings(frames: Sequence[FrameFacts], config: CheckConfig) -> list[Finding]:
    """Poses that are none, and poses that jump."""
    posed = [facts for facts in frames if facts.pose is not None]
    if not posed:
        return []
    found = []
    crooked = [facts for facts in posed if not _rigid(facts.pose)]
    if crooked:
        found.append(
            Finding(
                "broken-poses",
                "error",
                f"{len(crooked)} of {len(posed)} poses are no rotation and translation.",
                "A pose is (4, 4), world_from_sensor; quaternions are x, y, z, w in our files.",
                *examples([(facts, None) for facts in crooked]),
            )
        )
    jumps = [
        (frames[j], None) for i, j in neighbours(frames) if _jumps(frames[i], frames[j], config)
    ]
    if jumps:
        found.append(
            Finding(
                "jumping-poses",
                "error",
                f"the sensor jumps in {len(jumps)} steps: faster than {config.fastest:g} m/s or "
                f"turning faster than {config.fastest_turn:g} rad/s.",
                "Poses are world_from_sensor of the very sweep, not the inverse, and not relative "
                "to the sweep before; leave out frames whose localisation was lost.",
                *examples(jumps),
            )
        )
    return found


def _rigid(pose: NDArray[np.floating] | None) -> bool:
    """Whether a (4, 4) pose is finite and its rotation is one."""
    if pose is None or not np.isfinite(pose).all():
        return False
    turn = pose[:3, :3]
    return bool(np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) and np.linalg.det(turn) > 0)


def _jumps(here: FrameFacts, there: FrameFacts, config: CheckConfig) -> bool:
    """Whether the way from one pose to the next is not believed."""
    if not _rigid(here.pose) or not _rigid(there.pose):
        return False
    first, second = np.asarray(here.pose), np.asarray(there.pose)
    seconds = there.stamp - here.stamp
    if not 0 < seconds < 5:
        return False
    moved = float(np.linalg.norm(second[:3, 3] - first[:3, 3]))
    cosine = (np.trace(first[:3, :3].T @ second[:3, :3]) - 1) / 2
    turned = float(np.arccos(np.clip(cosine, -1, 1)))
    return moved > config.fastest * seconds or turned > max(config.fastest_turn * seconds, 0.05)
