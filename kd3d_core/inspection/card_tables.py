"""The tables of a model card, in Markdown."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from kd3d_core.evaluation.ap import EvalResult
from kd3d_core.evaluation.by_sensor import transfers
from kd3d_core.evaluation.failures import FEW_POINTS
from kd3d_core.evaluation.failures import ClassFailures
from kd3d_core.evaluation.real_judge import Counts
from kd3d_core.evaluation.real_judge import Tally
from kd3d_core.inspection.words import DASH

#: On sensors never trained on, a class must keep this share of its average precision.
KEPT = 0.85
#: Real frames: name of the model, name of the data set, counts.
RealResults = Mapping[str, Mapping[str, Mapping[str, Counts]]]
_REAL_WORDS = {
    "kitti": "KITTI (camera view, within 40 m, 20 points or more)",
    "argoverse2": "Argoverse 2 (all around, within 50 m, 5 points or more)",
}


@dataclass(frozen=True, eq=False)
class Examined:
    """A model on one set of simulated frames.

    Attributes:
        data: What the frames are, in words.
        result: Of all frames.
        by_sensor: Of each sensor's frames.
        failures: Of each class, at the model's own thresholds.
        pictures: File name, relative to the card, and caption of each picture.
    """

    data: str
    result: EvalResult
    by_sensor: Mapping[str, EvalResult]
    failures: Mapping[str, ClassFailures]
    pictures: Sequence[tuple[str, str]] = ()


def average_precision_table(examined: Examined) -> str:
    """Average precision by class and distance."""
    result = examined.result
    rings = list(result.metrics)
    head = ("class", "boxes", *("all" if ring == "all" else ring for ring in rings))
    rows = [
        (name, f"{entry.truths:,}", *(percent(result.ap(name, ring)) for ring in rings))
        for name, entry in result.metrics["all"].items()
    ]
    rows.append(("**mean**", "", *(percent(result.mean_ap(ring)) for ring in rings)))
    config = result.config
    loose = ", ".join(n for n, iou in config.iou_thresholds.items() if iou < config.default_iou)
    words = (
        f"Average precision [%] on {result.frames} frames of {examined.data}; match by BEV IoU "
        f"{config.default_iou:g} ({loose}: 0.3); ground truth with {config.min_points} points or "
        f"more within {config.max_range:g} m."
    )
    return f"{words}\n\n{markdown_table(head, rows)}"


def sensor_table(examined: Examined) -> str:
    """Average precision by sensor."""
    classes = list(examined.result.metrics["all"])
    rows = [
        (
            sensor,
            str(result.frames),
            *(percent(result.ap(name)) for name in classes),
            percent(result.mean_ap()),
        )
        for sensor, result in examined.by_sensor.items()
    ]
    return markdown_table(("sensor", "frames", *classes, "mean"), rows)


def transfer_table(seen: Examined, unseen: Examined) -> str:
    """How much of the average precision is kept on unknown sensors."""
    before, after = (
        {name: part.result.ap(name) for name in part.result.metrics["all"]}
        for part in (seen, unseen)
    )
    told = transfers(before, after)
    rows = [(t.name, percent(t.seen), percent(t.unseen), percent(t.kept)) for t in told]
    short = [t.name for t in told if t.kept is not None and t.kept < KEPT and t.name != "mean"]
    words = (
        f"Every class keeps {100 * KEPT:.0f} % or more of its average precision."
        if not short
        else f"Less than {100 * KEPT:.0f} % of it keep: {', '.join(short)}."
    )
    head = ("class", "AP, trained sensors", "AP, unknown sensors", "kept")
    return f"{words}\n\n{markdown_table(head, rows)}"


def real_table(real: RealResults) -> str:
    """Recall and precision on real frames."""
    parts = [
        "At the model's own score thresholds, which were chosen on simulated frames. Match by BEV "
        "IoU 0.5, in the last two columns by centres within 2 m; the rule is in "
        "`kd3d_core/evaluation/real_judge.py`. Real frames measure, they never train, and they "
        "are few."
    ]
    head = ("model", "what", "labels", "found", "false", "recall", "precision", "recall 2 m",
            "precision 2 m")  # fmt: skip
    for data, words in _REAL_WORDS.items():
        rows = []
        for model, sets in real.items():
            for group, tallies in sets.get(data, {}).get("total", {}).items():
                first, other = tallies["bev_iou"], tallies["center_distance"]
                if first.wanted or first.false:
                    rows.append((model, group, *_tally(first), *_shares(other)))
        if rows:
            parts += [f"{words}:", markdown_table(head, rows)]
    return "\n\n".join(parts)


def _tally(tally: Tally) -> tuple[str, ...]:
    """Counts and shares as cells."""
    return (str(tally.wanted), str(tally.found), str(tally.false), *_shares(tally))


def _shares(tally: Tally) -> tuple[str, str]:
    """Recall and precision as cells."""
    return percent(tally.recall), percent(tally.precision)


def failure_table(seen: Examined) -> str:
    """What goes wrong, at the model's own thresholds."""
    rows = []
    for name, failure in seen.failures.items():
        missed = failure.truths - failure.found
        mixed = ", ".join(f"{count} as {other}" for other, count in failure.mixed_up.items())
        rows.append(
            (
                name,
                f"{failure.found} of {failure.truths}",
                str(missed),
                str(failure.few_points),
                mixed or DASH,
                f"{failure.false} of {failure.detections}",
            )
        )
    head = ("class", "found", "missed", f"of them under {FEW_POINTS} points", "taken for",
            "false detections")  # fmt: skip
    words = f"At the model's own score thresholds, on {seen.data}:"
    return f"{words}\n\n{markdown_table(head, rows)}"


def percent(value: float | None) -> str:
    """A share in per cent, without the sign."""
    return DASH if value is None else f"{100 * value:.1f}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the columns after the first words are to the right."""
    sides = ["---" if i == 0 or len(head) == 2 else "---:" for i in range(len(head))]
    lines = [head, sides, *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
