"""What an arena's report says in words, its limits included."""

from collections.abc import Sequence

from kd3d_core.arena.config import BASELINE
from kd3d_core.arena.config import ArenaConfig
from kd3d_core.arena.result import CellResult
from kd3d_core.arena.summary import Row
from kd3d_core.replay.report_words import listed


def verdict(rows: Sequence[Row]) -> str:
    """Who is ahead, student by student."""
    ahead: dict[str, list[str]] = {}
    for student in dict.fromkeys(row.student for row in rows):
        own = [row for row in rows if row.student == student and row.ap is not None]
        if own:
            best = max(own, key=lambda row: row.ap.mean if row.ap else 0.0)
            ahead.setdefault(best.method, []).append(student)
    parts = [f"{method} is ahead on {listed(of)}" for method, of in ahead.items()]
    return f"{'; '.join(parts)}." if parts else "No training is done yet."


def certainty(rows: Sequence[Row]) -> str:
    """Which gains the seeds vouch for."""
    judged = [row for row in rows if row.gain is not None and row.gain.low is not None]
    if not judged:
        return (
            f"Whether a method gains over the student alone ({BASELINE}) cannot be told yet: that "
            "needs at least two seeds of both."
        )
    sure = [row for row in judged if row.gain and row.gain.low and row.gain.low > 0]
    worse = [row for row in judged if row.gain and row.gain.high and row.gain.high < 0]
    text = (
        f"In {len(sure)} of {len(judged)} pairs of student and method the 95 % interval of the "
        "gain lies above 0"
    )
    named = ", ".join(f"{row.method} on {row.student}" for row in sure)
    text += f" ({named})" if sure and len(sure) <= 6 else ""
    return text + (f"; in {len(worse)} it lies below 0." if worse else ".")


def budget(config: ArenaConfig, results: Sequence[CellResult]) -> str:
    """What each training had."""
    frames = results[0].scores.frames if results else 0
    steps = results[0].cost.steps if results else config.train.get("max_steps", "?")
    return (
        f"{len(config.methods)} methods, {len(config.students)} students, {len(config.seeds)} "
        f"seeds; {steps} steps of {config.train.get('batch_size', 4)} frames each; judged on "
        f"{frames} frames."
    )


def limits(config: ArenaConfig) -> list[str]:
    """What the figures do not say."""
    n = len(config.seeds)
    return [
        f"Intervals are Student's t over {n} seed{'' if n == 1 else 's'}: they tell how far "
        "another initialisation and order of the frames would move the mean, if its values are "
        "normal. They do not tell how far other streets or other validation frames would.",
        "A gain is paired: the method minus the student alone with the same seed, which sees "
        "the same frames and, unless the method gives another start, starts from the same "
        "weights. Its interval can be narrower than those of the two means.",
        f"{len(config.methods) * len(config.students)} means are compared at once: at 95 %, one "
        "interval in twenty misses by chance.",
        "All methods have the same budget, and the weights that the file gives them. A method "
        "that needs a longer schedule or another weight is judged below its best.",
        "The frames that decide have chosen nothing during training: the last weights are "
        "judged, not the best of several.",
        "NDS is the nuScenes detection score without attributes, on this data and these classes: "
        "not comparable with nuScenes' leader board.",
        "Times are wall time; trainings beside each other and other work on the machine disturb "
        "them. Memory is the training process without its "
        "data workers (on a GPU: what torch held there).",
    ]
