"""A model card: what a bundle is, what it is for, how well it does and where it fails.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Every figure is measured when
the card is made; the words are the same for every model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kd3d_core.inspection.card_tables import Examined
from kd3d_core.inspection.card_tables import RealResults
from kd3d_core.inspection.card_tables import average_precision_table
from kd3d_core.inspection.card_tables import failure_table
from kd3d_core.inspection.card_tables import markdown_table
from kd3d_core.inspection.card_tables import percent
from kd3d_core.inspection.card_tables import real_table
from kd3d_core.inspection.card_tables import sensor_table
from kd3d_core.inspection.card_tables import transfer_table

_FREE = (
    ", for the weights and everything they were made from: the data is simulated by this project, "
    "and no recorded frame or label took part in the training."
)


@dataclass(frozen=True, eq=False)
class CardFacts:
    """All that a card tells.

    Attributes:
        name: Of the model.
        classes: That it detects.
        facts: Headings and values of the table about the network.
        training: Headings and values about where the weights come from.
        licence: Of the weights.
        simulated: Whether all of the training data was.
        seen: On sensors that it was trained on, other streets.
        unseen: On sensors that it was not trained on; None when not measured.
        real: On real frames, with others beside it; None when not measured.
        command: That makes this card.
    """

    name: str
    classes: Sequence[str]
    facts: Sequence[tuple[str, str]]
    training: Sequence[tuple[str, str]]
    licence: str
    simulated: bool
    seen: Examined
    unseen: Examined | None
    real: RealResults | None
    command: str


def card_text(facts: CardFacts) -> str:
    """The card as Markdown."""
    parts = [
        f"# {facts.name}",
        f"A 3D object detector for LiDAR: {', '.join(facts.classes)}. Figures are measured by the "
        f"command at the end; pictures and figures are of frames that no training saw.",
        "## The model",
        markdown_table(("", ""), facts.facts),
        "## Intended use",
        _use(),
        "## Training",
        markdown_table(("", ""), facts.training),
        "## Accuracy: simulated, sensors of the training",
        average_precision_table(facts.seen),
        sensor_table(facts.seen),
    ]
    if facts.unseen is not None:
        parts += [
            "## Accuracy: simulated, sensors never trained on",
            transfer_table(facts.seen, facts.unseen),
            average_precision_table(facts.unseen),
            sensor_table(facts.unseen),
        ]
    if facts.real is not None:
        parts += ["## Accuracy: real frames", real_table(facts.real)]
    parts += ["## Known failures", *_failures(facts)]
    parts += [
        "## Limits",
        _limits(facts),
        "## Licence",
        facts.licence + (_FREE if facts.simulated else "."),
        "## This card",
        f"    {facts.command}",
    ]
    return "\n\n".join(parts) + "\n"


def _use() -> str:
    """What it is for, and what not."""
    return (
        "Finding road users around a vehicle or robot from the sweeps of one LiDAR; labelling "
        "recordings before people check them; a start for training on your own data. On a sensor "
        "of yours, run `kd3d_core adapt MODEL BAG` with a minute of your recordings, and judge "
        "the result on frames of your own before you rely on it.\n\n"
        "Not for: safety functions on its own; anything but roads and yards (indoors, forests, "
        "rails); telling who somebody is."
    )


def _failures(facts: CardFacts) -> list[str]:
    """What goes wrong, in figures and in pictures."""
    pictures = [
        f"![{caption}]({file})\n\n*{caption}*"
        for part in (facts.seen, facts.unseen)
        if part is not None
        for file, caption in part.pictures
    ]
    shown = "The worst simulated frames (truth dashed, detections solid):"
    return [failure_table(facts.seen), *([shown, *pictures] if pictures else [])]


def _limits(facts: CardFacts) -> str:
    """What not to expect, with its figures."""
    result = facts.seen.result
    ranked = [(ap, name) for name in facts.classes if (ap := result.ap(name)) is not None]
    weakest = ", ".join(f"{name} ({percent(ap)} %)" for ap, name in sorted(ranked)[:2])
    lines = [f"* Weakest classes: {weakest}." if weakest else ""]
    rings = [ring for ring in result.metrics if ring != "all"]
    if len(rings) > 1:
        near, far = (percent(result.mean_ap(ring)) for ring in (rings[0], rings[-1]))
        lines.append(f"* Far objects: mean AP {near} % at {rings[0]}, {far} % at {rings[-1]}.")
    sensors = {**facts.seen.by_sensor, **(facts.unseen.by_sensor if facts.unseen else {})}
    if len(sensors) > 1:
        poor = sorted((ap, s) for s, r in sensors.items() if (ap := r.mean_ap()) is not None)[:3]
        words = ", ".join(f"{sensor} ({percent(ap)} %)" for ap, sensor in poor)
        lines.append(f"* Sensors with the lowest mean AP: {words}.")
    if facts.simulated:
        lines.append(
            "* Trained on simulated sweeps alone: what the simulator does not have "
            "(docs/reality.md) it has never seen."
        )
    return "\n".join(line for line in lines if line)
