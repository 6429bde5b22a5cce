"""The bird's-eye-view grid and the settings of the network inputs."""

from typing import Annotated
from typing import Literal

from pydantic import Field
from pydantic import PositiveFloat
from pydantic import PositiveInt
from pydantic import model_validator

from kd3d_core.config import Config


class BevGrid(Config):
    """A metric grid seen from above. Maps are laid out (..., rows = y, columns = x).

    Cell (row, column) covers x in [x[0] + column * cell, + cell) and y in
    [y[0] + row * cell, + cell): row 0 is the rightmost strip, column 0 the rearmost.
    """

    x: tuple[float, float] = (-51.2, 51.2)
    """Extent along x [m], [low, high)."""
    y: tuple[float, float] = (-51.2, 51.2)
    """Extent along y [m], [low, high)."""
    z: tuple[float, float] = (-3.0, 2.0)
    """Points outside this height [m], in the sensor's frame, are left out."""
    cell: PositiveFloat = 0.32
    """Edge of a square cell [m]."""

    @model_validator(mode="after")
    def _check(self) -> "BevGrid":
        for name in ("x", "y", "z"):
            low, high = getattr(self, name)
            if not low < high:
                raise ValueError(f"{name}: the low end {low} is not below the high end {high}")
        for name in ("x", "y"):
            low, high = getattr(self, name)
            cells = (high - low) / self.cell
            if abs(cells - round(cells)) > 1e-3:
                raise ValueError(f"{name}: {high - low} m is not a whole number of cells")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return (
            round((self.y[1] - self.y[0]) / self.cell),
            round((self.x[1] - self.x[0]) / self.cell),
        )


class PillarInput(Config):
    """Points grouped by cell, for the learned pillar encoder (PointPillars, CVPR 2019, sec. 2.1).

    Network inputs `pillars` (P, max_points, features) float32 and `cells` (P,) int64 (row *
    columns + column). The nine features: x, y, z [m], intensity, offset to the mean of the
    pillar's points (3) [m], offset to the centre of the cell (2) [m]; a tenth is the point's time,
    where it is asked for. A pillar with fewer points repeats its first one, which leaves the
    maximum over points unchanged and needs no mask in the graph.
    """

    type: Literal["pillars"] = "pillars"
    max_pillars: PositiveInt = 20000
    """Cells beyond this many are dropped (and counted)."""
    max_points: PositiveInt = 16
    """Points of a cell beyond this many are left out."""
    time: bool = False
    """Add the time of each point relative to the newest sweep's stamp [s] as a feature: several
    sweeps in one cloud (`sweeps` of a training) show motion by it. Clouds without times give 0."""

    @property
    def features(self) -> int:
        """Features of a point."""
        return 10 if self.time else 9


class BevImageInput(Config):
    """Hand-made statistics of each cell as an image, for encoders without a learned scatter.

    Network input `image` (slices + 4, rows, columns) float32, every channel about [0, 1]; see
    `bev_image.py` for the channels.
    """

    type: Literal["bev_image"] = "bev_image"
    slices: PositiveInt = 10
    """Number of equal height slices between grid.z[0] and grid.z[1]."""


class VoxelInput(Config):
    """Points averaged in small boxes for sparse 3-D convolutions: SECOND (Sensors 2018), sec. 3.1.

    A voxel is `grid.cell` long and wide. Network inputs `voxels` (V, features) float32, the mean
    x, y, z [m], intensity and, where it is asked for, time of a voxel's points, and `coordinates`
    (V, 3) int32, its place z, y, x.
    """

    type: Literal["voxels"] = "voxels"
    bins: int = Field(default=40, ge=24)
    """Number of equal voxels between grid.z[0] and grid.z[1]; the encoder halves them three to
    four times, so fewer would leave nothing."""
    max_voxels: PositiveInt = 150000
    """Occupied voxels beyond this many are dropped (and counted)."""
    max_points: PositiveInt | None = None
    """Points of a voxel beyond this many are left out of its mean; null averages all of them."""
    time: bool = False
    """Add the mean time of the points [s] as a feature; see `PillarInput.time`."""

    @property
    def features(self) -> int:
        """Features of a voxel."""
        return 5 if self.time else 4


InputConfig = Annotated[PillarInput | BevImageInput | VoxelInput, Field(discriminator="type")]
GraphInputConfig = Annotated[PillarInput | BevImageInput, Field(discriminator="type")]
"""The inputs of networks that an ONNX graph, and so a bundle, can hold."""
