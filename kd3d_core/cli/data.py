"""`kd3d_core data`: look at a data set, and write it in another layout."""

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from kd3d_core.inspection.check import CheckResult

data = typer.Typer(help="Look at data sets and convert them.", no_args_is_help=True)

_FORMATS = (
    "simulated, kitti, kitti-tracking, kitti-raw, nuscenes, waymo, argoverse2, folder or bag; "
    "told by what lies in the folder if left out."
)


@data.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder of a data set, or a bag with labels.")],
    format: Annotated[str | None, typer.Option(help=f"Layout: {_FORMATS}")] = None,
    split: Annotated[str | None, typer.Option(help="Which part, in the data set's words.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for check.html and check.json.")
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, help="At most this many frames, in pairs spread evenly.")
    ] = 200,
    pictures: Annotated[int, typer.Option(min=0, help="Frames drawn in the page.")] = 4,
    strict: Annotated[bool, typer.Option(help="Exit with 1 when something is wrong.")] = False,
) -> None:
    """Tell what a data set holds and what looks wrong in it, and how to mend that.

    Headings against motion, sizes, empty and floating boxes, duplicates, intensity, times, poses.
    """
    import json

    from rich.console import Console

    from kd3d_core.datasets.opening import open_dataset
    from kd3d_core.files import write_text
    from kd3d_core.inspection.check import check_dataset
    from kd3d_core.inspection.config import CheckConfig

    console = Console()
    dataset = open_dataset(path, format=format, split=split)
    config = CheckConfig(frames=frames, pictures=pictures)
    result = check_dataset(dataset, config, console)
    _show(result, str(path), console)
    if out is not None:
        from kd3d_core.inspection.report import write_check_page

        write_text(out / "check.json", json.dumps(result.to_dict(), indent=2) + "\n")
        page = write_check_page(out / "check.html", result, dataset, str(path))
        console.print(f"written: {page}", highlight=False)
    if strict and any(finding.severity == "error" for finding in result.findings):
        raise typer.Exit(1)


@data.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Folder of a data set, or a bag with labels.")],
    target: Annotated[Path, typer.Argument(help="Folder that gets the other layout.")],
    to: Annotated[str, typer.Option(help="kitti, nuscenes, waymo, argoverse2, folder or bag.")],
    format: Annotated[str | None, typer.Option(help=f"Layout of SOURCE: {_FORMATS}")] = None,
    split: Annotated[str | None, typer.Option(help="Which part of SOURCE.")] = None,
    as_split: Annotated[str, typer.Option(help="What the frames are in TARGET.")] = "train",
) -> None:
    """Write a data set in another layout: for other people's tools, or for tests of ours.

    What a layout cannot say is lost: KITTI has no poses, bags have no velocities.
    """
    from rich.console import Console

    from kd3d_core.datasets.converting import convert_dataset
    from kd3d_core.datasets.opening import open_dataset

    console = Console()
    dataset = open_dataset(source, format=format, split=split)
    count = convert_dataset(dataset, target, to, split=as_split, console=console)
    console.print(f"{count} frames written: {target}", highlight=False)


def _show(result: "CheckResult", title: str, console: "Console") -> None:
    """What a person wants to know at once."""
    from rich.markup import escape

    from kd3d_core.inspection.words import class_table
    from kd3d_core.inspection.words import summary_words
    from kd3d_core.inspection.words import verdict

    console.print(f"[bold]{escape(title)}[/]", highlight=False)
    for name, words in summary_words(result):
        console.print(f"  {escape(name)}: {escape(words)}", highlight=False)
    if len(result.table):
        console.print(class_table(result))
    colours = {"error": "bold red", "warning": "yellow", "note": "cyan"}
    for finding in result.findings:
        colour = colours[finding.severity]
        console.print(f"[{colour}]{finding.severity}: {finding.rule}[/]", highlight=False)
        console.print(f"  {escape(finding.message)}", highlight=False)
        console.print(f"  to do: {escape(finding.remedy)}", highlight=False)
        for example in finding.examples[:2]:
            console.print(f"  [dim]{escape(example)}[/]", highlight=False)
    console.print(f"[bold]{verdict(result)}[/]", highlight=False)
