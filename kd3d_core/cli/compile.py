"""`kd3d_core compile`: a bundle in every precision, side by side, and engines ahead of time."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from kd3d_core.cli.compile_compare import Quality
    from kd3d_core.cli.compile_engines import Engines
    from kd3d_core.cli.compile_material import Material
    from kd3d_core.frame import FrameDataset
    from kd3d_core.runtime.bench import Record
    from kd3d_core.runtime.bundle import Bundle


def compile_model(
    model: Annotated[Path, typer.Argument(help="Bundle of [b]export[/], *.kd3d, in fp32.")],
    backend: Annotated[
        str | None,
        typer.Option(
            help="cpu: bundles only, which every CPU backend reads. tensorrt-rtx: engines too, "
            "without a GPU. tensorrt: engines, on the robot itself. Default: cpu, or tensorrt-rtx "
            "where --arch is given."
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, fp16 or int8. Repeatable. Default: all three."),
    ] = None,
    arch: Annotated[
        list[str] | None,
        typer.Option(
            help="GPU architecture, such as sm_89. Repeatable; tensorrt-rtx only. Default: that "
            "of the GPU at hand."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled frames to take average precision on, or clouds to compare boxes on. "
            "Default: four simulated sweeps."
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Frames or clouds to calibrate int8 on. Default: those of --data that are not "
            "judged on."
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, help="At most this many to judge on, evenly spread.")
    ] = 64,
    thresholds: Annotated[
        Path | None,
        typer.Option(
            help="Labelled frames to choose the score thresholds of each precision on, because "
            "their scores differ. Default: those of MODEL."
        ),
    ] = None,
    passes: Annotated[int, typer.Option(min=1, help="Passes that latency is taken over.")] = 20,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: the backend's choice.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for bundles and engines.")
    ] = Path("compiled"),
) -> None:
    """Make a bundle in every precision and show what each one costs and loses.

    Size, latency on the CPU backends at hand, and accuracy stand side by side: average precision
    where --data has labels, else the boxes in common with fp32. A precision that loses more than
    0.01 mean AP is warned of, on the screen and in OUT/NAME-precisions.json.

    With TensorRT it also builds engines ahead of time, beside the bundles, because TensorRT takes
    its arithmetic from the graph. A robot takes them with the parameters model:=OUT/NAME.kd3d
    backend:=BACKEND engine_cache:=OUT. An engine that is there already is not built again.
    """
    from rich.console import Console

    from kd3d_core.cli.compile_engines import Engines
    from kd3d_core.cli.compile_material import gather
    from kd3d_core.cli.compile_show import show
    from kd3d_core.cli.compile_show import write
    from kd3d_core.datasets.opening import open_dataset
    from kd3d_core.runtime.bundle import read_bundle

    console = Console()
    labelled = None if thresholds is None else open_dataset(thresholds)
    wanted = _precisions(precision or [])
    engines = Engines.plan(_known(backend, arch or []), arch or [])
    bundle = read_bundle(model)
    material = gather(data, calibration, frames, bundle.manifest)
    bundles, refused = _made(bundle, wanted, material, engines, out / model.stem, console)
    found = _judged({"fp32": bundle, **bundles}, material, engines, console)
    times = _timed(bundles, threads, passes, console)
    show(bundles, found, times, material, console)
    for sentence in refused.values():
        console.print(f"[bold red]not made:[/] {sentence}", highlight=False)
    path = out / f"{model.stem}-precisions.json"
    write(path, bundles, found, times, material, refused)
    console.print(f"wrote {path}", highlight=False)
    if labelled is not None:
        _recalibrate(bundles, labelled, frames, out / model.stem, console)
    engines.build(bundles, out / "tensorrt", model.name, console)


def _precisions(names: Sequence[str]) -> list[str]:
    """The precisions wanted, each once."""
    from kd3d_core.deployment.precision import GRAPH_PRECISIONS
    from kd3d_core.errors import Kd3dError

    for name in names:
        if name not in GRAPH_PRECISIONS:
            raise Kd3dError(f"--precision {name} is unknown; use {', '.join(GRAPH_PRECISIONS)}.")
    return list(dict.fromkeys(names or GRAPH_PRECISIONS))


def _known(backend: str | None, architectures: Sequence[str]) -> str:
    """The backend, if there is such a one to compile for."""
    from kd3d_core.errors import Kd3dError
    from kd3d_core.runtime.backends.trt_module import MODULES

    if backend is None:
        return "tensorrt-rtx" if architectures else "cpu"
    known = ("cpu", *MODULES)
    if backend not in known:
        raise Kd3dError(f"--backend {backend} is nothing to compile for; use {', '.join(known)}.")
    return backend


def _made(
    bundle: "Bundle",
    precisions: Sequence[str],
    material: "Material",
    engines: "Engines",
    stem: Path,
    console: "Console",
) -> "tuple[dict[str, Bundle], dict[str, str]]":
    """The bundle in each precision, written, and why some could not be made.

    Raises:
        Kd3dError: None could be made.
    """
    from kd3d_core.deployment.precision import to_precision
    from kd3d_core.errors import Kd3dError
    from kd3d_core.runtime.backends.base import make_backend
    from kd3d_core.runtime.bundle import Bundle
    from kd3d_core.runtime.bundle import write_bundle

    bundles: dict[str, Bundle] = {}
    refused: dict[str, str] = {}
    for precision in precisions:
        try:
            with console.status(f"making the graph in {precision}"):
                variant = to_precision(
                    bundle,
                    precision,  # type: ignore[arg-type]
                    material.calibration,
                    engines.target,
                )
                if engines.target == "cpu":
                    make_backend("auto", variant.onnx)  # refuses what no backend runs rightly
        except Kd3dError as error:
            refused[precision] = str(error)
            if len(refused) == len(precisions):
                raise
            continue
        graph = engines.readable(variant.onnx)
        path = _path(stem, precision)
        bundles[precision] = Bundle(write_bundle(path, variant.manifest, graph), graph)
        console.print(f"[green]{path}[/]", highlight=False)
    return bundles, refused


def _judged(
    bundles: "dict[str, Bundle]", material: "Material", engines: "Engines", console: "Console"
) -> "dict[str, Quality]":
    """What each precision finds, with a word of where we are."""
    from rich.progress import Progress

    from kd3d_core.cli.compile_compare import judge

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("judging the precisions", total=None)
        plain = engines.target == "tensorrt"
        return judge(bundles, material, lambda: progress.advance(task), plain=plain)


def _recalibrate(
    bundles: "dict[str, Bundle]",
    labelled: "FrameDataset",
    frames: int,
    stem: Path,
    console: "Console",
) -> None:
    """Write the bundles again, each with the thresholds that suit its own scores."""
    from kd3d_core.cli.calibrate import calibrate
    from kd3d_core.runtime.bundle import write_bundle

    for precision, bundle in bundles.items():
        found = calibrate(bundle, labelled, frames, console)
        old = bundle.manifest
        manifest = old.model_copy(
            update={"decode": found.decode, "metrics": old.metrics | found.metrics()}
        )
        path = _path(stem, precision)
        write_bundle(path, manifest, bundle.onnx)
        console.print(f"{path}: thresholds {found.decode.score_threshold}", highlight=False)


def _path(stem: Path, precision: str) -> Path:
    """Where the bundle of a precision lies."""
    return stem.with_name(f"{stem.name}-{precision}.kd3d")


def _timed(
    bundles: "dict[str, Bundle]", threads: int | None, passes: int, console: "Console"
) -> "dict[tuple[str, str], Record]":
    """Latency of each precision on each CPU backend installed, taken in turns."""
    import importlib.util

    from kd3d_core.cli.bench_clouds import reader
    from kd3d_core.cli.bench_clouds import synthetic
    from kd3d_core.errors import Kd3dError
    from kd3d_core.runtime.backends.base import BACKENDS
    from kd3d_core.runtime.backends.base import make_backend
    from kd3d_core.runtime.bench import race
    from kd3d_core.runtime.bench_runners import OwnRunner
    from kd3d_core.runtime.detector import Detector

    runners = {}
    readers = [reader(each) for each in synthetic(next(iter(bundles.values())).manifest.grid)]
    for precision, bundle in bundles.items():
        for name in BACKENDS:
            if importlib.util.find_spec(name) is None:
                continue
            try:
                backend = make_backend(name, bundle.onnx, threads=threads)
            except Kd3dError as error:
                console.print(f"[yellow]{precision} on {name}:[/] {error}", highlight=False)
                continue
            runners[precision, name] = OwnRunner(Detector(bundle, backend), readers)
    with console.status("taking latencies"):
        records = race([(runner, passes) for runner in runners.values()], len(readers), turns=4)
    return dict(zip(runners, records, strict=True))
