"""`kd3d_core restore`: a bundle becomes a checkpoint again."""

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kd3d_core.pointcloud import PointCloud

#: Sweeps that the statistics of batch norms are taken from.
_SWEEPS = 16


def restore(
    model: Annotated[
        str,
        typer.Argument(
            help="A bundle (.kd3d) in float32; [b]default[/] is the shipped student, "
            "[b]teacher[/] its teacher."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The checkpoint to write, *.ckpt.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Frames like those that it was trained on; a few give batch norms their "
            "statistics. Default: some simulated sweeps of many sensors."
        ),
    ] = None,
) -> None:
    """Write the network of a bundle as a checkpoint: to train on, to adapt, or to teach.

    The checkpoint says what the bundle says: both are compared, and nothing is written when they
    differ. A rounded bundle (int8, fp16) is refused.
    """
    from rich.console import Console

    from kd3d_core.deployment.restore import restore_checkpoint
    from kd3d_core.errors import Kd3dError
    from kd3d_core.runtime.bundle import read_bundle
    from kd3d_core.runtime.default import bundle_path

    if out.suffix != ".ckpt":
        raise Kd3dError(f"{out}: a checkpoint's name ends in .ckpt.")
    path = bundle_path(model)
    console = Console()
    bundle = read_bundle(path)
    clouds = _simulated_clouds() if data is None else _clouds_of(data)
    with console.status("reading the network"):
        parity = restore_checkpoint(bundle, out, clouds, str(path))
    console.print(f"network against graph: {parity.describe()}", highlight=False)
    console.print(f"[green]{out}[/]: {bundle.manifest.name}", highlight=False)


def _clouds_of(folder: Path) -> "Iterator[PointCloud]":
    """Clouds spread evenly over a data set."""
    import numpy as np

    from kd3d_core.datasets.opening import open_dataset

    frames = open_dataset(folder)
    chosen = np.linspace(0, len(frames) - 1, min(_SWEEPS, len(frames))).astype(int)
    return (frames[int(i)].cloud for i in chosen)


def _simulated_clouds() -> "Iterator[PointCloud]":
    """One sweep of each of some streets, half of them seen by a sensor of their own."""
    from kd3d_core.simulation.domain import DomainConfig
    from kd3d_core.simulation.drives import SimulationConfig
    from kd3d_core.simulation.drives import simulate_drive

    config = SimulationConfig(
        drives=_SWEEPS,
        frames_per_drive=1,
        sensors=("hdl64e", "random", "os1-128", "random-near", "hdl32e", "random"),
        seed=5,
        domain=DomainConfig(),
    )
    for i in range(config.drives):
        yield from (frame.cloud for _, frame in simulate_drive(config, i))
