"""The `kd3d_core` program: collects the verbs and turns user-mendable faults into one line."""

import sys

import typer
from rich.console import Console
from rich.markup import escape

from kd3d_core import __version__
from kd3d_core.cli.adapt import adapt
from kd3d_core.cli.arena import arena
from kd3d_core.cli.bench import bench
from kd3d_core.cli.card import card
from kd3d_core.cli.compile import compile_model
from kd3d_core.cli.data import data
from kd3d_core.cli.detect import detect
from kd3d_core.cli.distill import distill
from kd3d_core.cli.evaluate import evaluate
from kd3d_core.cli.export import export
from kd3d_core.cli.info import info
from kd3d_core.cli.replay import replay
from kd3d_core.cli.restore import restore
from kd3d_core.cli.shadow import shadow
from kd3d_core.cli.simulate import simulate
from kd3d_core.cli.train import train
from kd3d_core.errors import Kd3dError

app = typer.Typer(
    name="kd3d_core",
    help="Train a 3D detector, distil a small one, and run it: from simulation to the robot.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for verb in (
    simulate,
    train,
    distill,
    adapt,
    arena,
    evaluate,
    card,
    export,
    restore,
    detect,
    replay,
    shadow,
    bench,
    info,
):
    app.command()(verb)
app.command("compile")(compile_model)
app.add_typer(data, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _program(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Train a 3D detector, distil a small one, and run it: from simulation to the robot."""


def main() -> None:
    """Run the program; exit with 2 and one clear message on a fault the user can mend."""
    try:
        app()
    except Kd3dError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
