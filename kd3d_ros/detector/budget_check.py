"""What the diagnostics say about the latency budget."""

from kd3d_core.runtime.budget import Standing
from kd3d_ros.common.diagnostics import WARN
from kd3d_ros.common.diagnostics import Status
from kd3d_ros.common.statistics import Snapshot


def budget_status(shot: Snapshot, standing: Standing, *, active: bool) -> Status:
    """Judge how the budget is kept.

    Args:
        shot: Numbers of the node.
        standing: Of its budget.
        active: Whether the node is working; otherwise nothing is complained of.
    """
    limit, step = standing.limit_ms, standing.step
    p50, p99 = shot.latency.get("pipeline_latency", (float("nan"), float("nan")))
    values = {
        "budget [ms]": f"{limit:g}",
        "pipeline_latency p50 [ms]": f"{p50:.1f}",
        "pipeline_latency p99 [ms]": f"{p99:.1f}",
        "step": f"{standing.index} of {len(standing.steps) - 1}: {step.name}",
        "why": standing.why,
        "for [s]": f"{standing.since:.0f}",
        "changes": str(standing.changes),
        "skipped for the budget": str(shot.total["skipped_for_budget"]),
        **{
            f"seconds of step {number}, {each.name}": f"{seconds:.0f}"
            for number, (each, seconds) in enumerate(
                zip(standing.steps, standing.seconds, strict=True)
            )
        },
    }
    status = Status("budget", message="", values=values)
    if not active:
        return status
    if standing.exhausted:
        status.raise_to(
            WARN,
            f"results are later than latency_budget_ms ({limit:g}), though as little as possible "
            f"is detected ({step.name}): use a smaller model, another backend, more threads or a "
            "larger budget",
        )
    elif standing.index:
        status.raise_to(WARN, f"detecting only {step.name}, to keep {limit:g} ms: {standing.why}")
    return status
