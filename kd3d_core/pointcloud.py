"""`PointCloud`: one sweep of a LiDAR, clean and in the project's convention."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.transforms import transform_points


@dataclass(frozen=True, eq=False)
class PointCloud:
    """N finite points in the sensor's frame.

    Attributes:
        points: (N, 4) float32, C-contiguous: x, y, z [m], intensity in [0, 1].
        time: (N,) float32 seconds relative to the stamp of the sweep (<= 0 for earlier points),
            or None when the sensor does not say.
        ring: (N,) int16 beam index from the lowest beam up, or None.
        has_intensity: False when the source carried no intensity; the column is then 0.
        dropped: How many non-finite points were removed when the cloud was made.
    """

    points: NDArray[np.float32]
    time: NDArray[np.float32] | None = None
    ring: NDArray[np.int16] | None = None
    has_intensity: bool = True
    dropped: int = 0

    @classmethod
    def from_arrays(
        cls,
        xyz: NDArray[Any],
        intensity: NDArray[Any] | None = None,
        *,
        intensity_scale: float = 1.0,
        time: NDArray[Any] | None = None,
        ring: NDArray[Any] | None = None,
    ) -> "PointCloud":
        """Build a cloud from raw columns: non-finite points go, intensity becomes [0, 1].

        Args:
            xyz: (N, 3) coordinates [m], any float dtype.
            intensity: (N,) in the source's own scale, or None.
            intensity_scale: The source's value for full intensity (1, 255, ...).
            time: (N,) seconds relative to the sweep's stamp, or None.
            ring: (N,) beam index, or None.

        Raises:
            ValueError: The columns differ in length, or xyz is not (N, 3).
        """
        xyz = np.asarray(xyz)
        if xyz.ndim != 2 or xyz.shape[1] != 3:
            raise ValueError(f"PointCloud: xyz has shape {xyz.shape}, not (N, 3)")
        for name, column in (("intensity", intensity), ("time", time), ("ring", ring)):
            if column is not None and np.shape(column) != (len(xyz),):
                raise ValueError(f"PointCloud: {name} has shape {np.shape(column)}")
        points = np.zeros((len(xyz), 4), np.float32)
        points[:, :3] = xyz
        if intensity is not None:
            # A broken return may carry NaN intensity with good coordinates: keep the point.
            scaled = np.nan_to_num(np.asarray(intensity, np.float32) / intensity_scale)
            points[:, 3] = np.clip(scaled, 0.0, 1.0)
        finite = np.isfinite(points[:, :3]).all(axis=1).reshape(-1)
        keep: Any = slice(None) if finite.all() else finite
        return cls(
            points=np.ascontiguousarray(points[keep]),
            time=None if time is None else np.asarray(time, np.float32)[keep],
            ring=None if ring is None else np.asarray(ring, np.int16)[keep],
            has_intensity=intensity is not None,
            dropped=int(np.count_nonzero(~finite)),
        )

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: Any) -> "PointCloud":
        """Select points by slice, mask (N,) bool or indices (M,) int."""
        return replace(
            self,
            points=np.ascontiguousarray(self.points[index]),
            time=None if self.time is None else self.time[index],
            ring=None if self.ring is None else self.ring[index],
        )

    @property
    def xyz(self) -> NDArray[np.float32]:
        """(N, 3) float32 view of the coordinates [m]."""
        return self.points[:, :3]

    def transformed(self, pose: NDArray[np.floating[Any]]) -> "PointCloud":
        """The same points in another frame; `pose` is (4, 4) target_from_source."""
        return replace(self, points=transform_points(pose, self.points))


def merge_sweeps(
    newest: PointCloud, earlier: Sequence[tuple[PointCloud, NDArray[np.floating[Any]], float]]
) -> PointCloud:
    """One cloud of several sweeps, in the frame and at the time of the newest.

    Args:
        newest: Its points come first, unmoved.
        earlier: For each further sweep the cloud, its (4, 4) pose newest_from_earlier and by how
            much it is earlier [s, >= 0].

    Returns:
        The points of all; `time` is relative to the newest stamp; `ring` is kept when every sweep
        has it, intensity likewise. `dropped` is the newest sweep's alone.
    """
    clouds = [newest, *(cloud for cloud, _, _ in earlier)]
    ends = np.cumsum([len(cloud) for cloud in clouds])
    points = np.empty((int(ends[-1]), 4), np.float32)
    time = np.empty(len(points), np.float32)
    points[: ends[0]] = newest.points
    time[: ends[0]] = 0.0 if newest.time is None else newest.time
    for start, end, (cloud, pose, age) in zip(ends[:-1], ends[1:], earlier, strict=True):
        # One (N, 4) @ (4, 4) product that passes intensity through is twice as quick as moving
        # three of four columns, whose rows are not contiguous.
        turn = np.eye(4, dtype=np.float32)
        turn[:3, :3] = pose[:3, :3].T
        shift = np.append(pose[:3, 3], 0.0).astype(np.float32)
        np.matmul(cloud.points, turn, out=points[start:end])
        points[start:end] += shift
        time[start:end] = -age if cloud.time is None else cloud.time - np.float32(age)
    rings = [cloud.ring for cloud in clouds if cloud.ring is not None]
    return PointCloud(
        points=points,
        time=time,
        ring=np.concatenate(rings) if len(rings) == len(clouds) else None,
        has_intensity=all(cloud.has_intensity for cloud in clouds),
        dropped=newest.dropped,
    )
