"""Do these clouds suit this model? Facts and complaints for the diagnostics. Pure: no ROS.

A detector that is fed with a cloud unlike those that it was trained on does not fail, it finds
nothing. Each check here names one cause of that, and the remedy.
"""

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace

from kd3d_core.codec.grid import PillarInput
from kd3d_core.ground import GroundEstimate
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.levelling import Levelling
from kd3d_core.runtime.manifest import Manifest
from kd3d_ros.detector.cloud_facts import CloudFacts
from kd3d_ros.detector.cloud_facts import inspect

#: A mount this much outside the training heights is complained of [m].
HEIGHT_MARGIN = 0.25
#: A mount tilted by more than this is complained of [deg]; slopes of roads stay below it.
TILT_LIMIT = 8.0
#: A cloud with fewer points in the model's range than this has most likely the wrong axes.
FEW_POINTS = 200
FEW_SHARE = 0.1
#: No common LiDAR gives more points in one sweep.
MANY_POINTS = 600_000
#: When 99 % of the intensities are below this, the scale is wrong.
DARK = 0.05
SATURATED_SHARE = 0.3
NO_RETURN_SHARE = 0.9

_KEPT_GROUNDS = 5

__all__ = ["CloudFacts", "Complaint", "HealthWatch", "complaints", "inspect"]


@dataclass(frozen=True)
class Complaint:
    """Something about the clouds that costs detections.

    Attributes:
        key: What it is about: "points", "axes", "range", "ground", "sensor height", "tilt",
            "intensity", "no return" or "cells".
        message: What was found, what was expected, and the remedy.
        severe: Whether the model cannot work like this; otherwise it works less well.
    """

    key: str
    message: str
    severe: bool = False


def complaints(
    facts: CloudFacts, manifest: Manifest, *, intensity_scale: float = 0.0
) -> list[Complaint]:
    """Judge a cloud against what the model was trained on.

    Args:
        facts: About the cloud.
        manifest: Of the model.
        intensity_scale: The parameter of that name; 0 means that the scale was guessed.

    Returns:
        The complaints, severe ones first; none when the cloud suits the model.
    """
    if not facts.points:
        return [
            Complaint(
                "points",
                "the clouds are empty: the sensor's window is covered, or its driver filters "
                "everything away",
            )
        ]
    found = [
        complaint
        for check in (_axes, _ground, _height, _tilt, _range, _amount)
        for complaint in check(facts, manifest)
    ]
    found += _intensity(facts, manifest, intensity_scale)
    return sorted(found, key=lambda complaint: not complaint.severe)


def _axes(facts: CloudFacts, manifest: Manifest) -> Iterator[Complaint]:
    """Which way is up; exchanged x and y axes cannot be told from one cloud."""
    if facts.ground is None or facts.ground.up == "+z":
        return
    if facts.ground.up == "-z":
        what = "the clouds are upside down: the ground lies above the sensor"
    else:
        camera = " (the axes of a camera)" if facts.ground.up == "-y" else ""
        what = f"the axis {facts.ground.up} of the clouds points up, not +z{camera}"
    yield Complaint(
        "axes",
        f"{what}. The model needs x forward, y left, z up: turn the clouds in the driver, or set "
        "model_frame to a frame with these axes",
        severe=True,
    )


def _ground(facts: CloudFacts, manifest: Manifest) -> Iterator[Complaint]:
    """Clouds that should be moved to the height of the training, and are not, or wrongly."""
    wanted, levelling, ground = manifest.ground_height_m, facts.levelling, facts.ground
    if wanted is None or (ground is not None and ground.up != "+z"):
        return
    if levelling is None:
        if ground is not None and abs(ground.height - wanted) > HEIGHT_MARGIN:
            yield Complaint(
                "ground",
                f"levelling is false, and the ground lies {ground.height:.1f} m below the sensor, "
                f"not {wanted:.1f} m as the model wants it: set levelling to true",
            )
    elif levelling.height is None:
        yield Complaint(
            "ground",
            "no ground is in sight, so the model gets the clouds as they come, as if the sensor "
            f"were {wanted:.1f} m above it: set sensor_height to the real height [m]",
        )
    elif (
        levelling.source == "user"
        and ground is not None
        and abs(ground.height - levelling.height) > HEIGHT_MARGIN
    ):
        yield Complaint(
            "ground",
            f"sensor_height is {levelling.height:g} m, but the ground lies {ground.height:.1f} m "
            "below the sensor: correct it, or set it to -1.0 to have it estimated",
        )


def _height(facts: CloudFacts, manifest: Manifest) -> Iterator[Complaint]:
    """The mount against those of the training, for models that take clouds as they come."""
    trained, ground = manifest.sensor_height_m, facts.ground
    if trained is None or ground is None or ground.up != "+z":
        return
    if manifest.ground_height_m is not None:  # `_ground` judges those
        return
    if trained.low - HEIGHT_MARGIN <= ground.height <= trained.high + HEIGHT_MARGIN:
        return
    difference = ground.height - trained.mean
    height = f"{max(ground.height, 0):.1f} m above the ground"
    if ground.height < 0.35:
        height += ", as if the clouds were in base_link"
    yield Complaint(
        "sensor height",
        f"your LiDAR looks {abs(difference):.1f} m {'higher' if difference > 0 else 'lower'} than "
        f"the training sensor ({height}, trained at {trained.low:.1f}-"
        f"{trained.high:.1f} m): set model_frame to a frame "
        f"{trained.mean:.1f} m above the ground, or train with your height",
    )


def _tilt(facts: CloudFacts, manifest: Manifest) -> Iterator[Complaint]:
    """A mount that is far from level."""
    ground = facts.ground
    if ground is None or ground.up != "+z":
        return
    if facts.levelling is not None and facts.levelling.turns:  # mended
        return
    for angle, high, low in (
        (math.degrees(ground.pitch), "down", "up"),
        (math.degrees(ground.roll), "to the right", "to the left"),
    ):
        if abs(angle) > TILT_LIMIT:
            yield Complaint(
                "tilt",
                f"your LiDAR is tilted {abs(angle):.0f} degrees {high if angle > 0 else low}: set "
                "model_frame to a level frame, such as base_link raised to the sensor's height",
            )


def _range(facts: CloudFacts, manifest: Manifest) -> Iterator[Complaint]:
    """Enough points in the grid."""
    few = facts.points_in_range < FEW_POINTS
    if not few and facts.share_in_range >= FEW_SHARE:
        return
    grid = manifest.grid
    extent = ", ".join(
        f"{name} {low:g} to {high:g}"
        for name, (low, high) in (("x", grid.x), ("y", grid.y), ("z", grid.z))
    )
    yield Complaint(
        "range",
        f"almost no points ({facts.points_in_range} of {facts.points}) are in the model's range "
        f"({extent} m): check the sensor's height, that the unit is metres, and that x points "
        "forward and z up",
        severe=few,
    )


def _intensity(facts: CloudFacts, manifest: Manifest, scale: float) -> Iterator[Complaint]:
    """Intensity is there, and on the scale that it was divided by."""
    if not manifest.intensity.used:
        return
    divided = f"after division by intensity_scale {scale:g}" if scale else "by the guessed scale"
    if not facts.has_intensity:
        text = (
            "the clouds have no intensity, but the model was trained with it: switch it on in the "
            "driver, or use a model that was trained without"
        )
    elif facts.intensity_high == 0:
        text = (
            "every intensity is 0, but the model was trained with it: the driver does not fill "
            "the field; switch it on, or use a model that was trained without"
        )
    elif facts.saturated_share > SATURATED_SHARE:
        text = (
            f"{100 * facts.saturated_share:.0f} % of the intensities are at or above full scale "
            f"{divided}: set intensity_scale to the sensor's value for full intensity (255.0 or "
            "65535.0 with most drivers)"
        )
    elif facts.intensity_high < DARK:
        raw = facts.intensity_high * scale
        fit = "1.0" if raw <= 1.5 else "255.0"
        advice = f"{fit} would fit" if 0 < raw <= 255 else "1.0, 255.0, 3300.0, ..."
        text = (
            f"99 % of the intensities are below {facts.intensity_high:.3f} of full scale "
            f"{divided}: set intensity_scale to the sensor's value for full intensity ({advice})"
        )
    else:
        return
    yield Complaint("intensity", text)


def _amount(facts: CloudFacts, manifest: Manifest) -> Iterator[Complaint]:
    """Neither too few nor too many points."""
    if facts.no_return_share > NO_RETURN_SHARE:
        yield Complaint(
            "no return",
            f"{100 * facts.no_return_share:.0f} % of the points have no return: the sensor's "
            "window is dirty or covered, or its driver reports a wrong unit",
        )
    if facts.points > MANY_POINTS:
        yield Complaint(
            "points",
            f"{facts.points} points a cloud are more than a LiDAR gives in one sweep: publish "
            "single sweeps, not an accumulated map, or thin them out",
        )
    if facts.dropped_cells:
        room = (
            f" for {manifest.input.max_pillars}" if isinstance(manifest.input, PillarInput) else ""
        )
        yield Complaint(
            "cells",
            f"the model has no room for {facts.dropped_cells} occupied cells (it has{room}), so "
            "objects may be missed: crop the region of interest, merge fewer sweeps, or export "
            "with a larger max_pillars",
        )


class HealthWatch:
    """Inspects a cloud now and then and remembers what it saw; for any thread."""

    def __init__(self, manifest: Manifest, period: float = 1.0) -> None:
        """Know nothing yet.

        Args:
            manifest: Of the model.
            period: At most one cloud in so many seconds is inspected.
        """
        self._manifest = manifest
        self._period = period
        self._due = -math.inf
        self._lock = threading.Lock()
        self._facts: CloudFacts | None = None
        self._grounds: deque[GroundEstimate] = deque(maxlen=_KEPT_GROUNDS)

    @property
    def facts(self) -> CloudFacts | None:
        """The latest facts, with the median of the last mounts seen; None before the first."""
        with self._lock:
            facts, grounds = self._facts, list(self._grounds)
        if facts is None or not grounds:
            return facts
        up = statistics.mode(ground.up for ground in grounds)
        same = [ground for ground in grounds if ground.up == up]
        middle = sorted(same, key=lambda ground: ground.height)[len(same) // 2]
        return replace(facts, ground=middle)

    def offer(
        self,
        cloud: PointCloud,
        *,
        points_in_range: int | None = None,
        dropped_cells: int = 0,
        levelling: Levelling | None = None,
    ) -> bool:
        """Inspect this cloud if it is time to; arguments as of `inspect`.

        Returns:
            Whether it was inspected.
        """
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + self._period
        facts = inspect(
            cloud,
            self._manifest,
            points_in_range=points_in_range,
            dropped_cells=dropped_cells,
            levelling=levelling,
        )
        with self._lock:
            self._facts = facts
            if facts.ground is not None:
                self._grounds.append(facts.ground)
        return True

    def complaints(self, intensity_scale: float = 0.0) -> list[Complaint]:
        """What is wrong at the moment; nothing before the first cloud."""
        facts = self.facts
        if facts is None:
            return []
        return complaints(facts, self._manifest, intensity_scale=intensity_scale)
