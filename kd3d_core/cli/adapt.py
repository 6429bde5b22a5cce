"""`kd3d_core adapt`: a model suited to the user's own sensor, without labels."""

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


def adapt(
    model: Annotated[
        str,
        typer.Argument(
            help="A checkpoint (.ckpt, needs torch), a bundle (.kd3d), or `default` for the "
            "shipped bundle."
        ),
    ],
    recordings: Annotated[
        list[Path],
        typer.Argument(
            metavar="BAGS",
            help="A minute of the sensor: bags (rosbag2, .mcap, .db3, ROS 1 .bag), folders of "
            "bags, or folders of cloud files.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The adapted model: *.kd3d, or *.ckpt from a checkpoint. Without it the sensor "
            "is measured and nothing else is done.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            "-t",
            help="A better model of the same classes (.ckpt or .kd3d), for --batch-norm, --steps "
            "and --thresholds.",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="A data set like that of the model's training, for models that do not say what "
            "intensities and heights they know."
        ),
    ] = None,
    clouds: Annotated[
        int, typer.Option(min=8, help="Look at so many clouds, spread over the recording.")
    ] = 120,
    mount: Annotated[
        bool,
        typer.Option(
            "--mount/--no-mount",
            help="Level the clouds of an unusual mount, for models that take them as they come.",
        ),
    ] = True,
    intensity: Annotated[
        str,
        typer.Option(
            help="match: bring intensities onto those of the training; drop: take them away; "
            "auto: whichever measures better; keep: neither."
        ),
    ] = "auto",
    batch_norm: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the recording in the statistics of batch norm; 0 leaves them. "
            "Checkpoints only.",
        ),
    ] = 0.0,
    thresholds: Annotated[
        bool, typer.Option("--thresholds", help="Choose score thresholds by the teacher's boxes.")
    ] = False,
    steps: Annotated[
        int,
        typer.Option(
            min=0, help="Train for so many steps on the teacher's boxes. Checkpoints only."
        ),
    ] = 0,
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled frames for half of each training step: forget nothing."),
    ] = None,
    learning_rate: Annotated[
        float, typer.Option(min=1e-7, help="Largest learning rate of --steps.")
    ] = 3e-4,
    min_boxes: Annotated[
        int, typer.Option(min=1, help="Classes seen less often do not count in the measure.")
    ] = 30,
    report: Annotated[
        Path | None,
        typer.Option(help="JSON file with everything measured. Default: beside OUT, *.adapt.json"),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="PointCloud2 topic of bags that have several.")
    ] = None,
    intensity_scale: Annotated[
        float | None,
        typer.Option(min=1e-9, help="The sensor's value for full intensity. Default: guessed."),
    ] = None,
    columns: Annotated[
        int | None, typer.Option(min=3, help="float32 values of a point in .bin files.")
    ] = None,
) -> None:
    """Measure a sensor and suit a model to it, from a recording without labels.

    Each step is measured without labels on the half of the recording that it was not made on, and
    kept only if the measure rises; docs/adapt.md says what each is worth. The input is never
    overwritten.
    """
    from rich.console import Console

    from kd3d_core.adaptation.config import AdaptConfig
    from kd3d_core.adaptation.recording import read_recording
    from kd3d_core.adaptation.reference import expectation_of
    from kd3d_core.adaptation.run import adapt as run
    from kd3d_core.adaptation.run import check
    from kd3d_core.adaptation.run import survey
    from kd3d_core.adaptation.subject import open_subject
    from kd3d_core.adaptation.tables import print_findings
    from kd3d_core.adaptation.tables import print_result
    from kd3d_core.adaptation.tables import sensor_table
    from kd3d_core.config import parse_config
    from kd3d_core.datasets.clouds import CloudOptions
    from kd3d_core.datasets.opening import open_dataset

    console = Console()
    bars = console if console.is_terminal else None  # in a file they would be empty lines
    given = {
        "clouds": clouds,
        "mount": mount,
        "intensity": intensity,
        "batch_norm": batch_norm,
        "thresholds": thresholds,
        "min_boxes": min_boxes,
        "steps": steps,
        "learning_rate": learning_rate,
    }
    settings = parse_config(AdaptConfig, given, "the command line")
    path = Path(model)
    _check_out(out, path, teacher)
    subject = open_subject(path)
    master = None if teacher is None else open_subject(teacher)
    check(subject, master, settings)
    known = None if reference is None else expectation_of(open_dataset(reference))
    labelled = None if data is None else open_dataset(data, classes=subject.classes)
    options = CloudOptions(intensity_scale=intensity_scale, columns=columns, topic=topic)
    recording = read_recording(recordings, clouds, options, bars)
    with console.status("measuring the sensor"):
        found = survey(subject, recording, known)
    console.print(sensor_table(found.report))
    print_findings(found.findings, console)
    if recording.malformed:
        console.print(f"[yellow]{recording.malformed} clouds are malformed or nearly empty[/]")
    if out is None:
        _write_report(report, found.to_dict(), console)
        return
    result = run(
        subject, recording, found, settings, teacher=master, labelled=labelled, console=bars
    )
    print_result(result, console)
    with console.status(f"writing {out}"):
        result.subject.write(out, result.record, recording.frames)
    _write_report(report or out.with_suffix(".adapt.json"), result.to_dict(), console)
    changed = "; ".join(result.record.changes) or "nothing but the record of the sensor"
    console.print(f"[green]{out}[/]: {changed}", highlight=False)


def _check_out(out: Path | None, model: Path, teacher: Path | None) -> None:
    """Refuse to overwrite what is read, and names that say no kind."""
    from kd3d_core.errors import Kd3dError

    if out is None:
        return
    for path in (model, teacher):
        if path is not None and path.exists() and out.exists() and path.samefile(out):
            raise Kd3dError(
                f"--out {out} is the model itself, which stays as it is: name another."
            )
    if out.suffix not in (".kd3d", ".ckpt"):
        raise Kd3dError(f"--out {out}: name a bundle (*.kd3d) or a checkpoint (*.ckpt).")
    if out.suffix == ".ckpt" and model.suffix != ".ckpt":
        raise Kd3dError(
            f"--out {out}: what is adapted is a bundle. Name a *.kd3d, or make a checkpoint of it "
            "first (kd3d_core restore) and adapt that."
        )


def _write_report(path: Path | None, data: dict[str, Any], console: "Console") -> None:
    """Everything measured, as JSON."""
    import json

    from kd3d_core.files import write_text

    if path is not None:
        write_text(path, json.dumps(data, indent=2) + "\n")
        console.print(f"report: {path}", highlight=False)
