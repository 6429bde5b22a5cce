"""`kd3d_core replay`: a recording through a model, every cloud counted."""

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from kd3d_core.replay.run import ReplaySummary


def replay(
    model: Annotated[
        str, typer.Argument(help="A bundle (.kd3d), or `default` for the shipped one.")
    ],
    bag: Annotated[
        Path,
        typer.Argument(
            help="A bag (rosbag2 folder, .mcap, .db3, ROS 1 .bag), or a folder of cloud files."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    teacher: Annotated[
        str | None,
        typer.Option(help="Another bundle to compare with on the same clouds, or `teacher`."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(help="Topic of the bag with ground truth (Detection3DArray) to score with."),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="PointCloud2 topic of a bag that has several.")
    ] = None,
    score_threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="One threshold for all classes, not the model's."),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="What runs the network: auto, openvino or onnxruntime.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="Arithmetic: f32, bf16 (OpenVINO) or auto.")
    ] = "f32",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: the backend's choice.")
    ] = None,
    intensity_scale: Annotated[
        float | None,
        typer.Option(min=1e-9, help="The sensor's value for full intensity. Default: guessed."),
    ] = None,
    columns: Annotated[
        int | None, typer.Option(min=3, help="float32 values of a point in .bin files.")
    ] = None,
) -> None:
    """Run a model over a recording, in this process: no cloud is dropped, whatever the speed.

    Writes detections.jsonl (a line a cloud), detections/ (an mcap bag with the original stamps
    and times, for Foxglove and `ros2 bag play`), summary.json and timing.json. All but timing.json
    are equal, byte for byte, on every run. Clouds that cannot be read are counted and named.
    """
    from rich.console import Console

    from kd3d_core.replay.models import ModelSpec
    from kd3d_core.replay.run import ReplayOptions
    from kd3d_core.replay.run import replay as run
    from kd3d_core.replay.source import single_recording

    recording = single_recording(bag)  # a wrong path is told before a model is compiled
    spec = ModelSpec(
        path=Path(model),
        backend=backend,
        precision=precision,
        threads=threads,
        score_threshold=score_threshold,
    )
    other = None
    if teacher is not None:
        fields = {"path": Path(teacher), "score_threshold": None}
        other = spec.model_copy(update=fields).load()
    options = ReplayOptions(
        topic=topic, truth=truth, intensity_scale=intensity_scale, columns=columns
    )
    console = Console()
    summary = run(spec.load(), recording, out, options, teacher=other, console=console)
    _show(summary, console)


def _show(summary: "ReplaySummary", console: "Console") -> None:
    """What a person wants to know at once."""
    from kd3d_core.evaluation.report import result_table
    from kd3d_core.replay.tables import agreement_table
    from kd3d_core.replay.tables import print_malformed
    from kd3d_core.replay.tables import timing_table

    found = ", ".join(f"{count} {name}" for name, count in summary.boxes.items() if count)
    console.print(f"{summary.clouds} clouds: {found or 'no detections'}", highlight=False)
    labels = {"detector_ms": "model", "teacher_ms": "teacher"}
    rows = {
        f"{words}, {stage}": values
        for key, words in labels.items()
        for stage, values in summary.timing.get(key, {}).items()
    }
    console.print(timing_table(rows))
    if summary.agreement is not None:
        console.print(agreement_table(summary.agreement, "Agreement with the teacher"))
    if summary.metrics is not None:
        console.print(result_table(summary.metrics, "Against the ground truth"))
        console.print(
            "AP counts what the model reports: --score-threshold 0.05 gives the whole curve."
        )
    if summary.without_truth:
        console.print(
            f"[yellow]{summary.without_truth} cloud(s) have no ground truth of their stamp and "
            "are not scored.[/]"
        )
    if summary.overflowing:
        console.print(
            f"[yellow]{summary.overflowing} cloud(s) have more occupied cells than the model "
            "takes: objects may be missed.[/]"
        )
    print_malformed(summary.malformed, console)
    console.print(f"results: {summary.out}", highlight=False)
