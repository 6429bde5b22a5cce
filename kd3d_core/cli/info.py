"""`kd3d_core info`: what a preset, a checkpoint or a bundle is, and what it costs."""

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

from kd3d_core.errors import Kd3dError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from kd3d_core.models.config import ModelConfig


def info(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[PRESET|CHECKPOINT|BUNDLE]",
            help="A preset's name, a .ckpt file or a .kd3d bundle. Default: all presets.",
        ),
    ] = None,
    pillars: Annotated[
        int | None,
        typer.Option(min=0, help="Occupied cells to charge pillar encoders for. Default: most."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Our networks beside the published figures."),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="With --compare: print JSON instead of a table."),
    ] = False,
) -> None:
    """Show the presets, or one model layer by layer, or what a bundle says of itself."""
    from rich.console import Console

    console = Console()
    if (as_json and not compare) or (compare and target is not None):
        raise Kd3dError("info: use --compare without a target, and --json with --compare.")
    if compare:
        _print_comparison(console, as_json)
    elif target is None:
        _print_presets(console, pillars)
    elif target.endswith(".kd3d"):
        _print_bundle(console, Path(target))
    elif Path(target).suffix or Path(target).is_file():
        _print_checkpoint(console, Path(target), pillars)
    else:
        from kd3d_core.models.presets import preset

        _print_layers(console, preset(target), pillars)


def _print_presets(console: "Console", pillars: int | None) -> None:
    """A table with a row for each preset, then one for the networks of the papers."""
    from kd3d_core.models.presets import PAPER_PRESETS
    from kd3d_core.models.presets import PRESETS
    from kd3d_core.models.presets import VOXEL_PRESETS

    console.print(_preset_table("Model presets", (*PRESETS, *VOXEL_PRESETS), pillars))
    console.print(_preset_table("Networks of the papers", PAPER_PRESETS, pillars))
    console.print(
        "GMAC: true multiply-accumulates of one cloud, in thousand millions, without sparse "
        "convolutions. `kd3d_core info PRESET` lists the layers, `kd3d_core info --compare` what "
        "was published.",
        style="dim",
    )


def _preset_table(title: str, names: tuple[str, ...], pillars: int | None) -> "Table":
    """A table with a row for each of the presets."""
    from rich.table import Table

    from kd3d_core.models.complexity import count
    from kd3d_core.models.presets import preset

    table = Table(title=title)
    for name in ("preset", "input", "blocks", "neck", "head"):
        table.add_column(name)
    for name in ("parameters", "GMAC"):
        table.add_column(name, justify="right")
    for name in names:
        config = preset(name)
        cost = count(config, pillars)
        table.add_row(
            name,
            _input_words(config),
            " ".join(f"{block.layers + 1}x{block.channels}" for block in config.blocks),
            f"{len(config.blocks)}x{config.neck_channels}",
            _head_words(config),
            f"{cost.parameters:,}",
            f"{cost.macs / 1e9:.2f}",
        )
    return table


def _head_words(config: "ModelConfig") -> str:
    """The head in short, such as `64/64, 6 tasks`."""
    head = config.head
    if head.type == "anchor":
        return f"{2 * len(head.anchors)} anchors"
    tasks = f", {len(head.tasks)} tasks" if head.tasks else ""
    return f"{head.shared_channels}/{head.branch_channels}{tasks}"


def _print_comparison(console: "Console", as_json: bool) -> None:
    """Every published figure beside ours, as a table or as JSON."""
    import json

    from rich.table import Table

    from kd3d_core.models.compare import NOTES
    from kd3d_core.models.compare import WORDS
    from kd3d_core.models.compare import compare

    rows = compare()
    if as_json:
        typer.echo(json.dumps([row.to_dict() for row in rows], indent=2))
        return
    table = Table(title="Published figures and ours")
    for name in ("network", "preset", "what", "source"):
        table.add_column(name)
    for name in ("published", "ours", "difference", ""):
        table.add_column(name, justify="right")
    for row in rows:
        told = row.published
        table.add_row(
            told.original,
            told.model,
            WORDS[told.quantity],
            told.source,
            f"{told.value:g}",
            f"{row.ours:.2f}",
            f"{100 * row.difference:+.2f} %",
            "OK" if row.ok else "differs",
        )
    console.print(table)
    for note in NOTES:
        console.print(note, style="dim")


def _print_layers(console: "Console", config: "ModelConfig", pillars: int | None) -> None:
    """A table with a row for each layer that multiplies, and the sums."""
    from rich.table import Table

    from kd3d_core.models.complexity import count

    cost = count(config, pillars)
    grid = config.grid
    console.print(
        f"[bold]{config.name}[/]: {_input_words(config)}; x {grid.x[0]:g} to {grid.x[1]:g} m, "
        f"y {grid.y[0]:g} to {grid.y[1]:g} m, z {grid.z[0]:g} to {grid.z[1]:g} m, cells of "
        f"{grid.cell:g} m; classes: {', '.join(config.classes)}",
        highlight=False,
    )
    charged = f", encoder for {cost.pillars} pillars" if cost.pillars else ""
    table = Table(show_footer=True, title=f"Layers of {config.name}{charged}")
    table.add_column("layer", footer="sum, with batch norm")
    table.add_column("kind")
    table.add_column("output", justify="right")
    table.add_column("parameters", f"{cost.parameters:,}", justify="right")
    table.add_column("MMAC", f"{cost.macs / 1e6:,.1f}", justify="right")
    for layer in cost.layers:
        output = " x ".join(map(str, layer.output))
        macs = f"{layer.macs / 1e6:,.1f}"
        table.add_row(layer.name, layer.kind, output, f"{layer.parameters:,}", macs)
    console.print(table)


def _print_checkpoint(console: "Console", path: Path, pillars: int | None) -> None:
    """What a checkpoint was trained on and how, then its layers."""
    from kd3d_core.training.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    facts = {
        "model": checkpoint.model.name,
        "steps": checkpoint.step,
        "teacher": checkpoint.teacher,
        "data": checkpoint.data,
        "metrics": checkpoint.metrics,
        "adaptation": checkpoint.adaptation,
        "written by kd3d": checkpoint.version,
    }
    _print_facts(console, str(path), facts)
    _print_layers(console, checkpoint.model, pillars)


def _print_bundle(console: "Console", path: Path) -> None:
    """The manifest of a bundle, after its graph has been checked against it."""
    from kd3d_core.runtime.bundle import read_bundle

    bundle = read_bundle(path)
    facts = bundle.manifest.model_dump(mode="json")
    facts["graph_bytes"] = len(bundle.onnx)
    _print_facts(console, str(path), facts)


def _print_facts(console: "Console", title: str, facts: dict[str, object]) -> None:
    """Two columns, key and value; nested values get dotted keys, empty ones are left out."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in _flatten(facts):
        table.add_row(escape(key), escape(value))
    console.print(table)


def _flatten(facts: dict[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Every leaf of nested dicts with its dotted key, as text."""
    rows = []
    for key, value in facts.items():
        if isinstance(value, dict):
            rows += _flatten(value, f"{prefix}{key}.")
        elif value is not None and value != "" and value != []:
            plain = isinstance(value, (list, tuple))
            text = ", ".join(map(str, value)) if plain else str(value)  # type: ignore[call-overload]
            rows.append((f"{prefix}{key}", text))
    return rows


def _input_words(config: "ModelConfig") -> str:
    """The kind and size of the input, such as `pillars 320x320`."""
    rows, columns = config.grid.shape
    return f"{config.input.type} {rows}x{columns}"
