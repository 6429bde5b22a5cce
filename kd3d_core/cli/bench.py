"""`kd3d_core bench`: how long each stage takes on this machine, and what others take."""

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import ExitStack
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from kd3d_core.pointcloud import PointCloud
    from kd3d_core.runtime.bench import Runner
    from kd3d_core.runtime.bundle import Bundle

#: The program that peers run in.
_PEER_PROGRAM = Path(__file__).with_name("bench_peer.py")


def bench(
    model: Annotated[
        Path | None, typer.Argument(help="Bundle, *.kd3d. Default: the shipped one.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Clouds, folders of them, or bags. Repeatable. Default: --synthetic."),
    ] = None,
    synthetic: Annotated[
        bool,
        typer.Option("--synthetic", help="Made-up clouds of 120,000 points, for timing."),
    ] = False,
    frames: Annotated[int, typer.Option(min=1, help="Clouds to measure.")] = 200,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: the backend's choice.")
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="What runs the network. Repeatable, to compare. Default: auto."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Arithmetic: f32, bf16 (OpenVINO) or auto.")
    ] = "f32",
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Time this on the same clouds in the same run: open3d-pointpillars, "
            "spconv-voxels or mmdet3d. Repeatable."
        ),
    ] = None,
    peer_frames: Annotated[int, typer.Option(min=1, help="Clouds to measure peers on.")] = 30,
    peer_python: Annotated[
        str | None,
        typer.Option(
            help="Interpreter that has the peers' packages, where this one has not; it needs "
            "nothing of kd3d."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the figures to this JSON file.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw stages and distributions to this picture (*.png, *.svg)."),
    ] = None,
) -> None:
    """Time every stage from the bytes of a message to boxes, on this machine.

    Backends and peers take turns of a few clouds each, so that a busy machine is fair to all.
    """
    import json

    from rich.console import Console

    from kd3d_core.cli.bench_show import report
    from kd3d_core.cli.bench_show import show
    from kd3d_core.errors import Kd3dError
    from kd3d_core.files import write_text
    from kd3d_core.runtime.bench import race
    from kd3d_core.runtime.bundle import read_bundle
    from kd3d_core.runtime.default import bundle_path

    if data and synthetic:
        raise Kd3dError("bench: use --data or --synthetic, not both.")
    console = Console(stderr=as_json)
    path = bundle_path(model, (backend or ["auto"])[0])
    bundle = read_bundle(path)
    clouds = bench_clouds(data, bundle)
    with ExitStack() as stack:
        own = own_runners(path, bundle, clouds, backend or ["auto"], threads, precision)
        peers, absent = _peers(stack, against or [], peer_python, clouds, bundle, threads)
        runners = [(each, frames) for each in own] + [(each, peer_frames) for each in peers]
        with _progress(console, runners) as advance:
            records = race(runners, len(clouds), report=advance)
    found = report(records, clouds, absent)
    text = json.dumps(found, indent=2) + "\n"
    if out is not None:
        write_text(out, text)
    if plot is not None:
        from kd3d_core.runtime.bench_plot import plot as draw

        ours = [each for each in records if "read" in each.stages]
        rest = [each for each in records if each not in ours]
        draw(ours, rest, plot, f"{bundle.manifest.name}, {found['machine']['processor']}")
    if as_json:
        typer.echo(text, nl=False)
        return
    show(records, found, console)
    for written in filter(None, (out, plot)):
        console.print(f"wrote {written}", highlight=False)


def own_runners(
    path: Path,
    bundle: "Bundle",
    clouds: "Sequence[PointCloud]",
    backends: Sequence[str],
    threads: int | None,
    precision: str,
) -> "list[Runner]":
    """Our backends, and OpenVINO's bare loop behind the first that is OpenVINO.

    Args:
        path: Of the bundle.
        bundle: What is in it.
        clouds: To run on.
        backends: By name, "auto" among them.
        threads: CPU threads; None: the backend's choice.
        precision: See `make_backend`.
    """
    from kd3d_core.cli.bench_clouds import reader
    from kd3d_core.runtime.backends.choice_cache import forget
    from kd3d_core.runtime.bench_runners import BareOpenVino
    from kd3d_core.runtime.bench_runners import OwnRunner
    from kd3d_core.runtime.detector import Detector
    from kd3d_core.runtime.levelling import leveller_for_stream

    readers = [reader(cloud) for cloud in clouds]
    runners: list[Runner] = []
    for name in backends:
        if name == "auto":
            forget(bundle.onnx)  # who asks for a measurement gets one
        detector = Detector.load(path, name, threads, precision=precision)
        # As the node does: over the sweeps of a stream, not anew for each.
        detector = detector.with_leveller(leveller_for_stream(detector.manifest))
        about = {"threads": threads, "sha256": bundle.manifest.onnx_sha256}
        runner = OwnRunner(detector, readers, **about)
        if runner.name not in [each.name for each in runners]:
            runners.append(runner)
    if any(runner.about["backend"] == "openvino" for runner in runners):
        runners.append(BareOpenVino(bundle, clouds[0], threads, precision))
    return runners


def bench_clouds(data: list[Path] | None, bundle: "Bundle") -> "list[PointCloud]":
    """A few clouds that are kept in memory: real ones, or made up."""
    from itertools import islice

    from kd3d_core.cli.bench_clouds import KEPT
    from kd3d_core.cli.bench_clouds import synthetic
    from kd3d_core.datasets.clouds import iter_clouds

    if data:
        return [frame.cloud for frame in islice(iter_clouds(data), KEPT)]
    return synthetic(bundle.manifest.grid)


def _peers(
    stack: ExitStack,
    names: Sequence[str],
    python: str | None,
    clouds: "Sequence[PointCloud]",
    bundle: "Bundle",
    threads: int | None,
) -> "tuple[list[Runner], dict[str, str]]":
    """The peers that run here, started, and why the others do not, by name."""
    import sys
    import tempfile

    from kd3d_core.runtime.bench_peers import PeerAbsentError
    from kd3d_core.runtime.bench_peers import PeerRunner
    from kd3d_core.runtime.bench_peers import save_clouds

    peers: list[Runner] = []
    absent = {}
    if names:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        save_clouds(clouds, folder)
    for name in dict.fromkeys(names):
        try:
            peer = PeerRunner(
                name,
                _PEER_PROGRAM,
                python or sys.executable,
                folder,
                threads=threads,
                grid=bundle.manifest.grid,
            )
        except PeerAbsentError as error:
            absent[name] = str(error)
            continue
        peers.append(stack.enter_context(peer))
    return peers, absent


@contextmanager
def _progress(console: "Console", runners: "Sequence[tuple[Runner, int]]") -> Iterator[Any]:
    """A bar for each runner; gives what moves them."""
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        bars = {
            runner.name: progress.add_task(f"timing {runner.name}", total=frames)
            for runner, frames in runners
        }
        yield lambda name, count: progress.advance(bars[name], count)
