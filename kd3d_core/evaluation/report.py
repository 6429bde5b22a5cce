"""Metrics as a table."""

from collections.abc import Mapping

from rich.table import Table

from kd3d_core.evaluation.ap import EvalResult


def result_table(result: EvalResult, title: str = "Detection") -> Table:
    """A rich table: one row a class, AP of the whole range and of each ring, operating points."""
    config = result.config
    what = (
        "BEV IoU"
        if config.criterion == "bev_iou"
        else f"centre distance <= {config.center_distance:g} m"
    )
    table = Table(
        title=f"{title}: {result.frames} frames",
        caption=f"AP over all points, match by {what}; ground truth with >= {config.min_points} "
        f"points within {config.max_range:g} m; P and R at score {config.score_threshold:g}",
    )
    table.add_column("class")
    table.add_column("boxes", justify="right")
    for ring in result.metrics:
        table.add_column("AP" if ring == "all" else f"AP {ring}", justify="right")
    for heading in ("P", "R", "best F1", "at score"):
        table.add_column(heading, justify="right")
    for name, whole in result.metrics["all"].items():
        aps = [_percent(classes[name].ap) for classes in result.metrics.values()]
        rates = [_percent(value) for value in (whole.precision, whole.recall, whole.best_f1)]
        at = "-" if whole.best_threshold is None else f"{whole.best_threshold:.2f}"
        table.add_row(name, str(whole.truths), *aps, *rates, at)
    table.add_section()
    means = [_percent(result.mean_ap(ring)) for ring in result.metrics]
    table.add_row("mean", "", *means, "", "", "", "")
    return table


def _percent(value: float | None) -> str:
    """A share in [0, 1] as per cent, or a dash."""
    return "-" if value is None else f"{100 * value:.1f}"


def sensor_table(results: Mapping[str, EvalResult], title: str = "Detection") -> Table:
    """A rich table: one row a sensor, average precision of each class."""
    classes = list(next(iter(results.values())).metrics["all"]) if results else []
    table = Table(title=f"{title}: AP by sensor")
    table.add_column("sensor")
    table.add_column("frames", justify="right")
    for name in (*classes, "mean"):
        table.add_column(name, justify="right")
    for sensor, result in results.items():
        aps = [_percent(result.ap(name)) for name in classes]
        table.add_row(sensor, str(result.frames), *aps, _percent(result.mean_ap()))
    return table
