"""`kd3d_core detect`: boxes for point clouds, as JSON, pictures and a table."""

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from kd3d_core.datasets.clouds import CloudOptions
    from kd3d_core.frame import Frame
    from kd3d_core.runtime.detector import Detection
    from kd3d_core.runtime.detector import Detector


def detect(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] CLOUDS",
            help="Point clouds (.bin .npy .pcd .ply), folders of them, or bags. A first argument "
            "that ends in .kd3d is the model; without it, the shipped one runs.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the boxes to this JSON file.")
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(help="Draw each cloud from above; several clouds are numbered."),
    ] = None,
    view: Annotated[
        bool, typer.Option("--view", help="Show each cloud in a 3D window (Open3D).")
    ] = False,
    backend: Annotated[
        str, typer.Option(help="What runs the network: auto, openvino or onnxruntime.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="Arithmetic: f32, bf16 (OpenVINO) or auto.")
    ] = "f32",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: the backend's choice.")
    ] = None,
    score_threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="One threshold for all classes, not the model's."),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="PointCloud2 topic of a bag that has several.")
    ] = None,
    intensity_scale: Annotated[
        float | None,
        typer.Option(min=1e-9, help="The sensor's value for full intensity. Default: guessed."),
    ] = None,
    columns: Annotated[
        int | None, typer.Option(min=3, help="float32 values of a point in .bin files.")
    ] = None,
) -> None:
    """Detect objects in point clouds, without ROS and without torch."""
    from rich.console import Console

    from kd3d_core.datasets.clouds import CloudOptions
    from kd3d_core.datasets.clouds import find_clouds
    from kd3d_core.errors import Kd3dError
    from kd3d_core.runtime.detector import Detector

    has_model = inputs[0].suffix == ".kd3d"
    model, paths = (inputs[0], inputs[1:]) if has_model else (None, inputs)
    if not paths:
        raise Kd3dError(f"name at least one point cloud after the model {model}.")
    find_clouds(paths)  # a wrong path is told before the model is compiled
    detector = Detector.load(model, backend, threads, precision=precision)
    if score_threshold is not None:
        detector = detector.with_decode(score_threshold=score_threshold)
    detector.warm_up()
    options = CloudOptions(intensity_scale=intensity_scale, columns=columns, topic=topic)
    _run(detector, paths, options, out, png, view, Console())


def _run(
    detector: "Detector",
    paths: list[Path],
    options: "CloudOptions",
    out: Path | None,
    png: Path | None,
    view: bool,
    console: "Console",
) -> None:
    """Detect in every cloud; results appear together at the end, or not at all."""
    from contextlib import ExitStack

    from rich.progress import Progress

    from kd3d_core.datasets.clouds import CLOUD_SUFFIXES
    from kd3d_core.datasets.clouds import find_clouds
    from kd3d_core.datasets.clouds import iter_clouds
    from kd3d_core.files import write_text

    sources = find_clouds(paths)
    files = all(path.suffix.lower() in CLOUD_SUFFIXES for path in sources)
    several = len(sources) > 1 or not files
    records: list[dict[str, object]] = []
    rows: list[tuple[str, Detection]] = []
    with ExitStack() as stack:
        pictures = stack.enter_context(_PictureFolder(png, several)) if png else None
        progress = stack.enter_context(Progress(console=console, transient=True))
        task = progress.add_task("detecting", total=len(sources) if files else None)
        for frame in iter_clouds(paths, options):
            result = detector(frame.cloud)
            records.append(frame_record(frame, result))
            rows.append((frame.source, result))
            if pictures is not None:
                _draw(frame, result, detector, pictures.next())
            if view:
                from kd3d_core.visualization.viewer import show

                show(frame.cloud, result.boxes, frame.source)
            progress.advance(task)
        if out is not None:
            write_text(out, _json_text(records))
        written = ([out] if out else []) + (pictures.keep() if pictures else [])
    _print_table(console, detector, rows)
    if written:
        more = f" and {len(written) - 3} more" if len(written) > 3 else ""
        console.print(f"wrote {', '.join(map(str, written[:3]))}{more}", highlight=False)


def frame_record(frame: "Frame", result: "Detection") -> dict[str, object]:
    """The JSON entry of a frame; an unknown velocity is null."""
    from kd3d_core.replay.results import box_records

    return {"source": frame.source, "boxes": box_records(result.boxes)}


def _json_text(records: list[dict[str, object]]) -> str:
    """JSON with a line for each box: json.dumps offers only one line, or one a number."""
    import json

    frames = []
    for record in records:
        boxes = record["boxes"]
        assert isinstance(boxes, list)
        lines = ",".join(f"\n   {json.dumps(box)}" for box in boxes)
        end = "\n  " if boxes else ""
        frames.append(f'\n  {{"source": {json.dumps(record["source"])}, "boxes": [{lines}{end}]}}')
    return '{"frames": [' + ",".join(frames) + "\n]}\n"


class _PictureFolder:
    """Pictures drawn beside their target, which appear only when all are there."""

    def __init__(self, target: Path, several: bool) -> None:
        """Name them like `target`; several are numbered: view.png -> view_0003.png."""
        self._target = target if target.suffix else target.with_suffix(".png")
        self._several = several
        self._names: list[str] = []

    def __enter__(self) -> "_PictureFolder":
        import tempfile

        from kd3d_core.errors import Kd3dError

        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(dir=self._target.parent, prefix=".kd3d-")
        except OSError as error:
            raise Kd3dError(f"cannot write {self._target}: {error.strerror or error}.") from error
        return self

    def __exit__(self, *exc: object) -> None:
        self._folder.cleanup()

    def next(self) -> Path:
        """Where to draw the next picture."""
        number = f"_{len(self._names):04d}" if self._several else ""
        self._names.append(f"{self._target.stem}{number}{self._target.suffix}")
        return Path(self._folder.name) / self._names[-1]

    def keep(self) -> list[Path]:
        """Move what was drawn into place."""
        from kd3d_core.errors import Kd3dError

        kept = [self._target.with_name(name) for name in self._names]
        for path in kept:
            try:
                (Path(self._folder.name) / path.name).replace(path)
            except OSError as error:
                raise Kd3dError(f"cannot write {path}: {error.strerror or error}.") from error
        return kept


def _draw(frame: "Frame", result: "Detection", detector: "Detector", path: Path) -> None:
    """A picture of the model's range."""
    from kd3d_core.visualization.bev import BevStyle
    from kd3d_core.visualization.bev import draw_bev

    grid = detector.manifest.grid
    title = f"{Path(frame.source).name}   {detector.manifest.name}   {result.total_ms:.0f} ms"
    style = BevStyle(x=grid.x, y=grid.y, height=grid.z)
    draw_bev(frame.cloud, result.boxes, path=path, title=title, style=style)


def _print_table(
    console: "Console", detector: "Detector", rows: "list[tuple[str, Detection]]"
) -> None:
    """Counts by class and the time of each stage, a row a cloud (at most 20), then medians."""
    from statistics import median

    from rich.table import Table

    backend = detector.backend
    table = Table(
        title=f"{detector.manifest.name} on {backend.name} ({backend.precision}), "
        f"{len(rows)} cloud(s)"
    )
    table.add_column("cloud", overflow="fold")
    table.add_column("objects")
    for heading in ("points", "encode", "network", "decode", "total [ms]"):
        table.add_column(heading, justify="right")

    def times(results: "list[Detection]") -> list[str]:
        names = ("preprocess_ms", "inference_ms", "postprocess_ms", "total_ms")
        return [f"{median(getattr(result, name) for result in results):.1f}" for name in names]

    for source, result in rows[:20]:
        names = result.boxes.names
        counts = {name: names.count(name) for name in result.boxes.classes if name in names}
        words = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
        table.add_row(Path(source).name, words, str(result.points_in_range), *times([result]))
    if len(rows) > 1:
        table.add_section()
        objects = sum(len(result.boxes) for _, result in rows)
        points = f"{median(result.points_in_range for _, result in rows):.0f}"
        label = "median" if len(rows) <= 20 else f"median of all {len(rows)}"
        table.add_row(label, f"{objects} in all", points, *times([r for _, r in rows]))
    console.print(table)
    dropped = sum(result.dropped_cells > 0 for _, result in rows)
    if dropped:
        console.print(
            f"[yellow]{dropped} cloud(s) have more occupied cells than the model takes: objects "
            "may be missed.[/]"
        )
