"""Our networks beside the published figures of their originals."""

from dataclasses import asdict
from dataclasses import dataclass
from typing import Any
from typing import Literal

from kd3d_core.models.complexity import Complexity
from kd3d_core.models.complexity import count
from kd3d_core.models.presets import preset

#: Relative difference up to which a figure counts as reproduced.
TOLERANCE = 0.01

Quantity = Literal["parameters", "charged", "macs", "parameters ratio", "macs ratio"]

#: What each quantity is, for people.
WORDS: dict[str, str] = {
    "parameters": "parameters [M]",
    "charged": "GMAC, as the papers count",
    "macs": "GMAC, true",
    "parameters ratio": "parameters, original / half",
    "macs ratio": "GMAC, true, original / half",
}


@dataclass(frozen=True)
class Published:
    """A figure of a paper.

    Attributes:
        model: Name of our preset.
        quantity: What was counted. "charged" is the papers' convention, see `complexity.count`.
        value: In millions or thousand millions; a ratio is that of the preset to its "-half".
        original: What the paper calls the network.
        source: The paper.
    """

    model: str
    quantity: Quantity
    value: float
    original: str
    source: str


@dataclass(frozen=True)
class Comparison:
    """A published figure and ours.

    Attributes:
        published: The figure.
        ours: Ours in the same unit.
    """

    published: Published
    ours: float

    @property
    def difference(self) -> float:
        """Relative to the published figure; 0.01 is one per cent more."""
        return self.ours / self.published.value - 1

    @property
    def ok(self) -> bool:
        """Whether the figure is reproduced."""
        return abs(self.difference) <= TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        facts = asdict(self.published)
        return facts | {"ours": self.ours, "difference": self.difference, "ok": self.ok}


#: What the papers call our presets.
ORIGINALS = {
    "waymo-voxel": "CP-Voxel",
    "waymo-voxel-s": "CP-Voxel-S",
    "waymo-voxel-xs": "CP-Voxel-XS",
    "waymo-voxel-xxs": "CP-Voxel-XXS",
    "waymo-pillar": "CP-Pillar",
    "waymo-pillar-v032": "CP-Pillar 0.32",
    "waymo-pillar-v040": "CP-Pillar v0.4",
    "waymo-pillar-v048": "CP-Pillar v0.48",
    "waymo-pillar-v064": "CP-Pillar v0.64",
    "nuscenes-voxel": "CP-Voxel, six tasks",
    "nuscenes-voxel-s": "CP-Voxel-S, six tasks",
}


def _rows(quantity: Quantity, source: str, figures: dict[str, float]) -> tuple[Published, ...]:
    """Figures of one kind from one source, by the name of our preset."""
    return tuple(
        Published(name, quantity, value, ORIGINALS[name], source)
        for name, value in figures.items()
    )


_PILLARS = ("waymo-pillar-v032", "waymo-pillar-v040", "waymo-pillar-v048", "waymo-pillar-v064")
_VOXELS = ("waymo-voxel", "waymo-voxel-s", "waymo-voxel-xs", "waymo-voxel-xxs")


def _named(names: tuple[str, ...], *values: float) -> dict[str, float]:
    """Values by name."""
    return dict(zip(names, values, strict=True))


#: RDD (ICCV 2023) and SparseKD (NeurIPS 2022) count alike; itKD is of CVPR 2023.
PUBLISHED: tuple[Published, ...] = (
    *_rows("parameters", "RDD", _named(_VOXELS, 7.76, 4.04, 2.82, 1.01) | {"waymo-pillar": 5.22}),
    *_rows("parameters", "RDD", {"nuscenes-voxel": 8.94, "nuscenes-voxel-s": 4.34}),
    *_rows("charged", "RDD", _named(_PILLARS, 336.5, 211.6, 152.1, 84.1)),
    *_rows("macs", "RDD", _named(_PILLARS, 220.1, 138.4, 99.5, 55.0)),
    *_rows("charged", "RDD", _named(_VOXELS, 92.7, 25.8, 24.5, 6.5)),
    *_rows("parameters ratio", "itKD", {"waymo-pillar": 3.44}),
    *_rows("macs ratio", "itKD", {"waymo-pillar": 2.21}),
)

#: What remains different between the networks compared, and what cannot be compared.
NOTES = (
    "GMAC: thousand millions of multiply-accumulates of backbone, neck and head. The papers' "
    "counter charges a transposed convolution kernel^2 times too much.",
    "Left out: our velocity branch on Waymo, which the originals lack; the pillar encoder, which "
    "the papers do not count; the sparse 3-D part (published: about 22.0 x width^2 G), which "
    "costs what the cloud makes it cost.",
    "Ours reads the yaw from four channels instead of two, and a pillar has nine features instead "
    "of ten: together less than 0.3 %.",
)


def compare() -> list[Comparison]:
    """Every published figure beside ours."""
    return [Comparison(figure, _ours(figure)) for figure in PUBLISHED]


def _ours(figure: Published) -> float:
    """Our value in the unit of a published one."""
    own = _figures(figure.model)
    if figure.quantity.endswith(" ratio"):
        kind = figure.quantity.removesuffix(" ratio")
        return own[kind] / _figures(f"{figure.model}-half")[kind]
    return own[figure.quantity]


def _figures(name: str) -> dict[str, float]:
    """Parameters [M], true and charged multiply-accumulates [G] of a preset."""
    cost = count(preset(name), pillars=0)
    without = (0, 0, 0) if name.startswith("nuscenes") else _velocity_branch(cost)
    return {
        "parameters": (cost.parameters - without[0]) / 1e6,
        "macs": (cost.macs - without[1]) / 1e9,
        "charged": (cost.charged - without[2]) / 1e9,
    }


def _velocity_branch(cost: Complexity) -> tuple[int, int, int]:
    """Parameters, true and charged multiply-accumulates of the velocity of a single task."""
    layers = {layer.name: layer for layer in cost.layers}
    output = layers["head.outputs.velocity"]
    joined = layers["head.branches.0"]  # all branches side by side, of equal width
    branches = sum(name.startswith("head.outputs.") for name in layers)
    width = joined.output[0] // branches
    return (
        output.parameters + joined.parameters // branches + 2 * width,  # batch norm: two each
        output.macs + joined.macs // branches,
        output.charged + joined.charged // branches,
    )
