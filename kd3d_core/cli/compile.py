"""`kd3d_core compile`: engines ahead of time, in every precision, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import NamedTuple

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from kd3d_core.pointcloud import PointCloud
    from kd3d_core.runtime.backends.trt_module import TrtModule
    from kd3d_core.runtime.bundle import Bundle


class Row(NamedTuple):
    """A line of the table."""

    precision: str
    architecture: str
    graph: int
    """Bytes."""
    engine: int
    """Bytes."""
    layers: int
    seconds: float
    change: str


def compile_model(
    model: Annotated[Path, typer.Argument(help="Bundle of [b]export[/], *.kd3d, in fp32.")],
    backend: Annotated[
        str, typer.Option(help="tensorrt-rtx builds without a GPU; tensorrt on the robot itself.")
    ] = "tensorrt-rtx",
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
            help="Labelled frames or clouds to calibrate int8 on and to compare the precisions "
            "on. Default: simulated sweeps."
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, help="At most this many of them, evenly spread.")
    ] = 16,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for bundles and engines.")
    ] = Path("compiled"),
) -> None:
    """Build TensorRT engines ahead of time and show what each precision costs.

    Writes a bundle for each precision, because TensorRT takes its arithmetic from the graph, and
    the engines beside them. A robot takes them with the parameters model:=OUT/NAME.kd3d
    backend:=BACKEND engine_cache:=OUT. An engine that is there already is not built again.
    """
    from rich.console import Console

    from kd3d_core.runtime.backends.trt_module import load_module
    from kd3d_core.runtime.bundle import read_bundle

    console = Console()
    wanted = _precisions(precision or [])
    module = load_module(_known(backend))
    architectures = _architectures(module, arch or [])
    bundle = read_bundle(model)
    clouds = _clouds(data, frames) if wanted != ["fp32"] else []
    rows: list[Row] = []
    for name in wanted:
        with console.status(f"making the graph in {name}"):
            variant, path = _write_variant(bundle, name, clouds, module, out / model.stem)
            change = "" if name == "fp32" else _change(bundle, variant, clouds)
        console.print(f"[green]{path}[/]", highlight=False)
        for architecture in architectures:
            row, note = _build(module, variant, name, architecture, out / "tensorrt", change)
            rows.append(row)
            if note:
                console.print(f"[yellow]note:[/] {note}", highlight=False)
    _show(rows, f"{module.name} {module.version}: {model.name}", len(clouds), console)


def _precisions(names: Sequence[str]) -> list[str]:
    """The precisions wanted, each once."""
    from kd3d_core.deployment.precision import GRAPH_PRECISIONS
    from kd3d_core.errors import Kd3dError

    for name in names:
        if name not in GRAPH_PRECISIONS:
            raise Kd3dError(f"--precision {name} is unknown; use {', '.join(GRAPH_PRECISIONS)}.")
    return list(dict.fromkeys(names or GRAPH_PRECISIONS))


def _known(backend: str) -> str:
    """The backend, if it compiles."""
    from kd3d_core.errors import Kd3dError
    from kd3d_core.runtime.backends.trt_module import MODULES

    if backend not in MODULES:
        raise Kd3dError(
            f"--backend {backend} does not compile ahead of time; use {', '.join(MODULES)}."
        )
    return backend


def _architectures(module: "TrtModule", names: Sequence[str]) -> list[str]:
    """What to build for: those named, or the GPU's."""
    from kd3d_core.errors import Kd3dError
    from kd3d_core.runtime.backends.trt_device import device_architecture

    unknown = [name for name in names if name not in module.architectures]
    if names and not module.architectures:
        raise Kd3dError(
            "--arch: backend tensorrt builds for the GPU of the machine it runs on; leave it out."
        )
    if unknown:
        raise Kd3dError(
            f"--arch {unknown[0]}: {module.name} {module.version} builds for "
            f"{', '.join(module.architectures)}. For others use backend tensorrt on the robot."
        )
    if names:
        return list(dict.fromkeys(names))
    try:
        return [device_architecture()]
    except Kd3dError as error:
        if not module.architectures:
            raise
        raise Kd3dError(
            f"there is no GPU to compile for ({error}): name one with --arch; {module.name} "
            f"{module.version} builds for {', '.join(module.architectures)}."
        ) from error


def _clouds(data: Path | None, frames: int) -> "list[PointCloud]":
    """Clouds to calibrate and compare on, evenly spread over the data."""
    from kd3d_core.datasets.clouds import iter_clouds
    from kd3d_core.datasets.opening import open_dataset
    from kd3d_core.datasets.opening import recognise

    if data is None:
        from kd3d_core.simulation.lidar import Lidar
        from kd3d_core.simulation.sensors import SENSORS
        from kd3d_core.simulation.street import make_scene

        lidars = [Lidar(make_scene(seed), SENSORS["hdl64e"], seed) for seed in range(1, 5)]
        return [lidar.scan(0.0).cloud for lidar in lidars][:frames]
    if data.exists() and recognise(data) is None:
        found = [frame.cloud for frame in iter_clouds([data])]
        return [found[i] for i in _spread(len(found), frames)]
    dataset = open_dataset(data)
    return [dataset[i].cloud for i in _spread(len(dataset), frames)]


def _spread(count: int, most: int) -> list[int]:
    """At most so many indices of `count`, evenly spread."""
    taken = min(count, most)
    return [i * count // taken for i in range(taken)]


def _write_variant(
    bundle: "Bundle",
    precision: str,
    clouds: "Sequence[PointCloud]",
    module: "TrtModule",
    stem: Path,
) -> "tuple[Bundle, Path]":
    """The bundle in a precision, in words that the module reads, written beside the engines."""
    from kd3d_core.deployment.precision import lower_opset
    from kd3d_core.deployment.precision import to_precision
    from kd3d_core.runtime.bundle import Bundle
    from kd3d_core.runtime.bundle import write_bundle

    variant = to_precision(bundle, precision, clouds)  # type: ignore[arg-type]
    graph = variant.onnx if module.strongly_typed else lower_opset(variant.onnx)
    path = stem.with_name(f"{stem.name}-{precision}.kd3d")
    return Bundle(write_bundle(path, variant.manifest, graph), graph), path


def _build(
    module: "TrtModule",
    bundle: "Bundle",
    precision: str,
    architecture: str,
    folder: Path,
    change: str,
) -> tuple[Row, str]:
    """The engine of a bundle: its line of the table, and a note or ""."""
    from kd3d_core.runtime.backends.trt_build import BuildRequest
    from kd3d_core.runtime.backends.trt_build import obtain_engine

    request = BuildRequest(bundle.onnx, architecture, "f32", bundle.manifest.largest)
    engine = obtain_engine(module, request, folder)
    row = Row(
        precision,
        architecture,
        len(bundle.onnx),
        len(engine.content),
        engine.layers,
        engine.seconds,
        change,
    )
    return row, engine.note


def _change(bundle: "Bundle", variant: "Bundle", clouds: "Sequence[PointCloud]") -> str:
    """How the boxes differ from those in fp32, both run by ONNX Runtime on the CPU, in words."""
    import numpy as np

    from kd3d_core.evaluation.pairing import pair_boxes
    from kd3d_core.runtime.backends.base import make_backend
    from kd3d_core.runtime.detector import Detector

    one, other = (
        Detector(each, make_backend("onnxruntime", each.onnx)) for each in (bundle, variant)
    )
    pairs = missed = extra = 0
    score = 0.0
    for cloud in clouds:
        wanted, found = one(cloud).boxes, other(cloud).boxes
        pairing = pair_boxes(found, wanted)
        pairs += len(pairing.student)
        missed += len(pairing.missed)
        extra += len(pairing.extra)
        gaps = np.abs(found.score[pairing.student] - wanted.score[pairing.reference])
        score = max(score, float(gaps.max(initial=0.0)))
    return f"{pairs} kept, {missed} lost, {extra} new; scores within {score:.3f}"


def _show(rows: list[Row], title: str, clouds: int, console: "Console") -> None:
    """Print the table."""
    from rich.table import Table

    table = Table(title=title)
    for heading in ("precision", "GPU", "graph MB", "engine MB", "layers", "build s"):
        table.add_column(heading, justify="left" if heading in ("precision", "GPU") else "right")
    table.add_column("boxes against fp32")
    for row in rows:
        table.add_row(
            row.precision,
            row.architecture,
            f"{row.graph / 1e6:.2f}",
            f"{row.engine / 1e6:.2f}",
            str(row.layers),
            f"{row.seconds:.1f}",
            row.change,
        )
    if clouds:
        table.caption = f"boxes: {clouds} clouds, both precisions run by ONNX Runtime on the CPU"
    console.print(table)
