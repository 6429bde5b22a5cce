"""What a sensor report means, in plain words."""

from kd3d_core.adaptation.intensity import intensity_distance
from kd3d_core.adaptation.sensor import SensorReport
from kd3d_core.adaptation.subject import Expectation
from kd3d_core.adaptation.subject import Settings
from kd3d_core.inspection.findings import Finding

#: A model was shown heights this far beyond its sensors' by augmentation [m].
_HEIGHT_SLACK = 0.2
#: Tilts that matter [deg].
_TILT = 3.0
#: Distance of intensity distributions that matters.
_DISTANCE = 0.05
#: Below this many points within 50 m everybody is nearly blind.
_THIN = 5_000


def sensor_findings(
    report: SensorReport, expects: Expectation, settings: Settings
) -> list[Finding]:
    """Everything worth saying, the gravest first."""
    found = [
        *_ground(report, expects, settings),
        *_intensity(report, expects, settings),
        *_view(report),
    ]
    order = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _ground(report: SensorReport, expects: Expectation, settings: Settings) -> list[Finding]:
    """Mount and axes."""
    height = report.height
    if height is None:
        return [
            Finding(
                "no-ground",
                "warning",
                "no ground was found below the sensor.",
                "Check that the clouds are in metres and in the sensor's own frame, and that it "
                "sees the ground within 25 m.",
            )
        ]
    if report.up != "+z":
        return [
            Finding(
                "axes",
                "error",
                f"the ground lies across {report.up}, not across +z: the sensor is mounted upside "
                "down, or the axes are a camera's.",
                "Turn the clouds (x forward, y left, z up); the node does it with `model_frame` "
                "and a transform.",
            )
        ]
    found = []
    tilt = max(abs(report.pitch_deg or 0.0), abs(report.roll_deg or 0.0))
    levelled = settings.ground_height is not None
    if tilt > _TILT:
        found.append(
            Finding(
                "tilt",
                "note" if levelled else "warning",
                f"the sensor is tilted: pitch {report.pitch_deg:+.1f}, roll "
                f"{report.roll_deg:+.1f} degrees (positive looks down, tips right).",
                "The model levels its clouds."
                if levelled
                else "Boxes stand upright in the sensor's frame: mount it level, or give the node "
                "a level `model_frame`.",
            )
        )
    known = expects.height
    low, high = (1.5, 2.0) if known is None else (known.low, known.high)
    if not low - _HEIGHT_SLACK <= height <= high + _HEIGHT_SLACK:
        asked = "heights of a car's roof" if known is None else f"{low:g} to {high:g} m"
        found.append(
            Finding(
                "height",
                "note" if levelled else "warning",
                f"the sensor is {height:.2f} m above the ground; the model was trained with "
                f"{asked}.",
                "The model levels its clouds."
                if levelled
                else "The step `mount` tries to mend it; else train with `data.ground_height`.",
            )
        )
    if report.ground_share < 0.5:
        found.append(
            Finding(
                "little-ground",
                "note",
                f"the ground was found in {report.ground_share:.0%} of the clouds only.",
                "The height is uncertain: record on a flat road.",
            )
        )
    return found


def _intensity(report: SensorReport, expects: Expectation, settings: Settings) -> list[Finding]:
    """Intensity against what the model knows."""
    if not report.has_intensity:
        return [
            Finding(
                "no-intensity",
                "note",
                "the clouds have no intensity, or the same one everywhere.",
                "The models were shown such clouds in training and lose a little.",
            )
        ]
    found = []
    if report.full_share > 0.3 or report.intensity[-2] < 0.02:
        found.append(
            Finding(
                "intensity-scale",
                "warning",
                f"{report.full_share:.0%} of the points have full intensity, 97 % lie below "
                f"{report.intensity[-2]:.2f}: the scale was guessed wrongly.",
                "Tell it with --intensity-scale (the sensor's value for full intensity).",
            )
        )
    if not expects.quantiles:
        found.append(
            Finding(
                "unknown-training",
                "note",
                "the model does not say which intensities it was trained on.",
                "Give --reference, a data set like that of its training, to match them.",
            )
        )
    elif settings.intensity is None:
        apart = intensity_distance(report.intensity, expects.quantiles)
        middle = len(expects.quantiles) // 2
        if apart > _DISTANCE:
            found.append(
                Finding(
                    "intensity",
                    "note",
                    f"intensities differ from those of the training: median "
                    f"{report.intensity[len(report.intensity) // 2]:.2f} instead of "
                    f"{expects.quantiles[middle]:.2f}.",
                    "The step `intensity` tries to mend it.",
                )
            )
    return found


def _view(report: SensorReport) -> list[Finding]:
    """What the sensor does not see."""
    found = []
    if report.blind_deg:
        lost = sum(high - low for low, high in report.blind_deg)
        found.append(
            Finding(
                "blind",
                "note",
                f"nothing is seen in {lost} of 360 degrees ({_sectors(report.blind_deg)}).",
                "Nothing will be found there either; mind it in planning.",
            )
        )
    if report.vehicle_deg:
        found.append(
            Finding(
                "vehicle",
                "note",
                f"the own vehicle seems to be in view at {_sectors(report.vehicle_deg)} degrees "
                f"({report.vehicle_share:.1%} of the points). If the recording stands still, "
                "these may be other things.",
                "If boxes appear there, leave these points out: "
                f"`ego_box:={_box(report.ego_box)}` for the node.",
            )
        )
    near = sum(count for name, count in report.points_by_ring.items() if "beyond" not in name)
    if near < _THIN:
        found.append(
            Finding(
                "thin",
                "warning",
                f"a cloud has {near:.0f} points within 50 m.",
                "Small objects will be found close by only; merging sweeps (docs/ros.md) helps.",
            )
        )
    return found


def _box(box: tuple[float, ...] | None) -> str:
    """A box as a ROS parameter."""
    return "[" + ", ".join(f"{value:g}" for value in box or ()) + "]"


def _sectors(sectors: tuple[tuple[int, int], ...]) -> str:
    """Sectors in words."""
    return ", ".join(f"{low} to {high}" for low, high in sectors)
