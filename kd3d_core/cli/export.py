"""`kd3d_core export`: a checkpoint becomes the bundle that robots run."""

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

if TYPE_CHECKING:
    from kd3d_core.pointcloud import PointCloud


def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint of [b]train[/] or [b]distill[/].")
    ],
    out: Annotated[Path, typer.Argument(help="The bundle to write, *.kd3d.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the bundle. Default: the model's.")
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Labelled frames (simulated or KITTI) to choose score thresholds with: the best "
            "F1 of each class. Their metrics go into the manifest."
        ),
    ] = None,
    calibrate_frames: Annotated[
        int, typer.Option(min=1, help="At most this many of them, evenly spread.")
    ] = 100,
    score_threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Threshold where none is calibrated.")
    ] = 0.3,
    parity: Annotated[
        list[Path] | None,
        typer.Option(
            help="Clouds, folders or bags to compare graph and network on. Repeatable. Default: "
            "two simulated sweeps."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The training data in words, for the manifest.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "Apache-2.0",
) -> None:
    """Write a checkpoint as one file that needs no torch: graph, settings, lineage.

    The graph is compared with the network on every installed backend, and nothing is written when
    they differ.
    """
    from rich.console import Console

    from kd3d_core.adaptation.reference import expectation_of
    from kd3d_core.adaptation.reference import manifest_changes
    from kd3d_core.adaptation.reference import training_folder
    from kd3d_core.cli.calibrate import calibrate as calibrate_thresholds
    from kd3d_core.codec.decode import DecodeConfig
    from kd3d_core.datasets.opening import open_dataset
    from kd3d_core.deployment.export import ExportOptions
    from kd3d_core.deployment.export import draft
    from kd3d_core.deployment.export import finish
    from kd3d_core.evaluation.report import result_table
    from kd3d_core.training.checkpoint import read_checkpoint

    console = Console()
    options = ExportOptions(
        name=name,
        decode=DecodeConfig(score_threshold=score_threshold),
        data=data,
        licence=licence,
    )
    labelled = None if calibrate is None else open_dataset(calibrate)
    clouds = _parity_clouds(parity or [])
    with console.status("tracing the network"):
        proposal = draft(checkpoint, options)
    changes: dict[str, object] = {}
    folder = training_folder(read_checkpoint(checkpoint).data)
    trained_on = labelled if folder is None else open_dataset(folder)
    if trained_on is not None:
        changes |= manifest_changes(expectation_of(trained_on), proposal.bundle.manifest)
    if labelled is not None:
        found = calibrate_thresholds(proposal.bundle, labelled, calibrate_frames, console)
        console.print(result_table(found.result, title="Calibration"))
        changes["decode"] = found.decode
        changes["metrics"] = proposal.bundle.manifest.metrics | found.metrics()
    with console.status("comparing graph and network"):
        report = finish(proposal, out, clouds, options, changes)
    for backend, result in report.parity.items():
        console.print(f"parity on {backend}: {result.describe()}", highlight=False)
    manifest = report.manifest
    console.print(
        f"[green]{out}[/]: {manifest.name}, {manifest.parameters / 1e6:.2f} M parameters, "
        f"{manifest.macs / 1e9:.2f} GMAC, {report.size / 1e6:.2f} MB",
        highlight=False,
    )


def _parity_clouds(paths: list[Path]) -> "list[PointCloud]":
    """The clouds named, at most eight, or two sweeps of a simulated street."""
    from itertools import islice

    from kd3d_core.datasets.clouds import iter_clouds

    if paths:
        return [frame.cloud for frame in islice(iter_clouds(paths), 8)]
    from kd3d_core.simulation.lidar import Lidar
    from kd3d_core.simulation.sensors import SENSORS
    from kd3d_core.simulation.street import make_scene

    lidar = Lidar(make_scene(1), SENSORS["hdl32e"], 1)
    return [lidar.scan(time).cloud for time in (0.0, 1.0)]
