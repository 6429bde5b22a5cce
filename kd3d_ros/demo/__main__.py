"""The command line of the demo."""

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from kd3d_core.errors import Kd3dError
from kd3d_ros import environment
from kd3d_ros.demo.options import DemoOptions


def demo(
    input: Annotated[
        Path | None,
        typer.Option(help="Clouds to play instead of the simulated LiDAR: folder, file or bag."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Run for so long [s].")] = 20.0,
    record: Annotated[float, typer.Option(min=0, help="Record so much of it [s].")] = 10.0,
    out: Annotated[Path, typer.Option(help="Folder for recording, picture, logs.")] = Path(
        ".demo"
    ),
    model: Annotated[
        Path | None, typer.Option(help="Bundle; the shipped one if not given.")
    ] = None,
    sensor: Annotated[str, typer.Option(help="Simulated LiDAR model.")] = DemoOptions.sensor,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated street.")] = DemoOptions.seed,
    rate: Annotated[float, typer.Option(min=0.1, max=30, help="Clouds a second.")] = 10.0,
    backend: Annotated[str, typer.Option(help="auto, openvino or onnxruntime.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: the backend's choice.")] = 0,
) -> None:
    """Run a LiDAR and the detector as ROS 2 nodes, watch them, and sum up.

    Everything runs in a ROS domain of its own on this machine. Exits with 1 when a process dies
    or nothing is detected.
    """
    options = DemoOptions(
        input=input,
        seconds=seconds,
        record=record,
        out=out,
        model=model,
        sensor=sensor,
        seed=seed,
        rate=rate,
        backend=backend,
        threads=threads,
    )
    console = Console()
    # A signal only asks for the end: an exception could come out in a callback of the middleware
    # that swallows it, and the demo would go on. The children are ended in `finally` blocks.
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    try:
        environment.prepare()
        from kd3d_ros.demo.run import run_demo

        run_demo(options, console, interrupted)
    except Kd3dError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("interrupted; all processes of the demo have been ended")
        sys.exit(130)


def main() -> None:
    """The console script."""
    typer.run(demo)


if __name__ == "__main__":
    main()
