"""Point cloud files: `.bin`, `.npy`, `.pcd`, `.ply`, and folders and bags of clouds."""

import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.pointcloud2 import INTENSITY_NAMES
from kd3d_core.datasets.pointcloud2 import RING_NAMES
from kd3d_core.datasets.pointcloud2 import TIME_NAMES
from kd3d_core.datasets.pointcloud2 import guess_intensity_scale
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.pointcloud import PointCloud

#: Files that hold one cloud.
CLOUD_SUFFIXES = (".bin", ".npy", ".pcd", ".ply")
#: Files that hold many.
BAG_SUFFIXES = (".mcap", ".db3", ".bag")

_PLAIN_NAMES = ("x", "y", "z", "intensity", "ring", "time")


@dataclass(frozen=True)
class CloudOptions:
    """What files do not say about themselves.

    Attributes:
        intensity_scale: The value for full intensity; None guesses it from the values of each
            cloud (see `guess_intensity_scale`).
        columns: float32 values of a point in `.bin` files; None takes 4 (KITTI: x, y, z,
            intensity), or 5 (then the ring) for names that end in `.pcd.bin` (nuScenes).
        topic: The topic to read from a bag; None takes the only PointCloud2 topic.
    """

    intensity_scale: float | None = None
    columns: int | None = None
    topic: str | None = None


def read_cloud(path: Path | str, options: CloudOptions = CloudOptions()) -> PointCloud:
    """Read one cloud; the format is chosen by the suffix.

    Args:
        path: A `.bin` (raw float32), `.npy` ((N, 3 or more) or structured), `.pcd` (any encoding)
            or `.ply` file.
        options: What the file does not say about itself.

    Raises:
        Kd3dError: The file cannot be read, is empty, truncated, malformed or of unknown format.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise Kd3dError(
            f"{path}: unknown point cloud format '{path.suffix}'; use one of "
            f"{', '.join(CLOUD_SUFFIXES)}, or a bag ({', '.join(BAG_SUFFIXES)})."
        )
    try:
        if path.stat().st_size == 0:
            raise Kd3dError(f"{path} is empty: there is no point cloud in it.")
        columns = reader(path, options)
    except OSError as error:
        raise Kd3dError(f"cannot read {path}: {error.strerror or error}.") from error
    return _cloud_from_columns(columns, path, options.intensity_scale)


def find_clouds(paths: Iterable[Path | str]) -> list[Path]:
    """Cloud files and bags below `paths`, folders expanded in natural order (2 before 10).

    Raises:
        Kd3dError: A path does not exist, is of unknown format, or a folder holds no cloud.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir() and not (path / "metadata.yaml").is_file():
            inside = [item for item in path.iterdir() if _is_source(item)]
            if not inside:
                raise Kd3dError(
                    f"{path} holds no point clouds ({', '.join(CLOUD_SUFFIXES + BAG_SUFFIXES)})."
                )
            found += sorted(inside, key=_natural)
        elif not path.exists():
            raise Kd3dError(f"{path} does not exist.")
        elif not _is_source(path):
            raise Kd3dError(
                f"{path}: unknown point cloud format '{path.suffix}'; use one of "
                f"{', '.join(CLOUD_SUFFIXES + BAG_SUFFIXES)}, or a folder of them."
            )
        else:
            found.append(path)
    return found


def iter_clouds(
    paths: Iterable[Path | str], options: CloudOptions = CloudOptions()
) -> Iterator[Frame]:
    """Frames (without ground truth) from files, folders and bags, in the order given.

    Raises:
        Kd3dError: See `find_clouds`, `read_cloud` and `iter_bag`; unknown paths are reported
            before the first frame is read.
    """
    for path in find_clouds(paths):
        if path.is_dir() or path.suffix.lower() in BAG_SUFFIXES:
            from kd3d_core.datasets.bags import iter_bag

            yield from iter_bag(path, options.topic, options.intensity_scale)
        else:
            yield Frame(cloud=read_cloud(path, options), source=str(path))


def _is_source(path: Path) -> bool:
    """Whether `path` looks like a cloud, a bag file or a bag folder; hidden files do not."""
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return (path / "metadata.yaml").is_file()
    return path.suffix.lower() in CLOUD_SUFFIXES + BAG_SUFFIXES


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """A sort key that reads runs of digits as numbers."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _read_bin(path: Path, options: CloudOptions) -> dict[str, NDArray[Any]]:
    """Raw little-endian float32 rows."""
    count = options.columns or (5 if path.name.lower().endswith(".pcd.bin") else 4)
    if count < 3:
        raise Kd3dError(f"{path}: columns is {count}, but x, y and z alone are 3.")
    size = path.stat().st_size
    if size % (4 * count):
        raise Kd3dError(
            f"{path} is truncated or has other columns: {size} bytes are not a multiple of "
            f"{4 * count} ({count} float32 values a point). Tell the number of columns if it is "
            "not this many."
        )
    rows = np.fromfile(path, "<f4").reshape(-1, count)
    with np.errstate(invalid="ignore"):
        # Wrongly cut bytes are still floats, but absurd ones.
        sane = np.abs(rows[:, :3]) < 1e4
    if np.count_nonzero(sane | np.isnan(rows[:, :3])) < 0.9 * sane.size:
        raise Kd3dError(
            f"{path} does not hold {count} float32 values a point (x, y, z, intensity, ...): "
            "most coordinates are beyond 10 km."
        )
    return dict(zip(_PLAIN_NAMES[:count], rows.T, strict=False))


def _read_npy(path: Path, options: CloudOptions) -> dict[str, NDArray[Any]]:
    """A plain (N, 3 or more) or a structured array."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise Kd3dError(f"{path} is not a readable NumPy file: {error}") from error
    if array.dtype.names:
        return {name: array[name].ravel() for name in array.dtype.names}
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise Kd3dError(
            f"{path} has shape {array.shape} of {array.dtype}; a cloud is (N, 3 or more) numbers "
            "x, y, z[, intensity], or a structured array with these names."
        )
    return dict(zip(_PLAIN_NAMES[:4], array.T, strict=False))


def _read_pcd(path: Path, options: CloudOptions) -> dict[str, NDArray[Any]]:
    """PCL's format: ascii, binary or binary_compressed."""
    import pypcd4

    try:
        cloud = pypcd4.PointCloud.from_path(path)
    except OSError:
        raise
    # The parser has no exception of its own: any kind means that the file does not parse.
    except Exception as error:
        raise Kd3dError(f"{path} is not a readable PCD file: {error}") from error
    data = cloud.pc_data
    if len(data) != cloud.metadata.points:
        raise Kd3dError(
            f"{path} is truncated: its header promises {cloud.metadata.points} points, "
            f"it holds {len(data)}."
        )
    return {name: data[name] for name in data.dtype.names or ()}


def _read_ply(path: Path, options: CloudOptions) -> dict[str, NDArray[Any]]:
    """The `vertex` element of a PLY file."""
    import plyfile

    try:
        vertex = plyfile.PlyData.read(path, mmap=False)["vertex"].data
    except OSError:
        raise
    except KeyError as error:
        raise Kd3dError(f"{path} has no element 'vertex', so no points.") from error
    except Exception as error:
        raise Kd3dError(f"{path} is not a readable PLY file: {error}") from error
    # CloudCompare writes its fields as scalar_Intensity and the like.
    return {name.removeprefix("scalar_"): vertex[name] for name in vertex.dtype.names or ()}


_READERS = {".bin": _read_bin, ".npy": _read_npy, ".pcd": _read_pcd, ".ply": _read_ply}


def _cloud_from_columns(
    columns: Mapping[str, NDArray[Any]], path: Path, scale: float | None
) -> PointCloud:
    """Name the columns as the project does; see `PointCloud.from_arrays`."""
    named = {name.lower(): values for name, values in columns.items()}
    missing = [name for name in "xyz" if name not in named]
    if missing:
        raise Kd3dError(
            f"{path} has no column {', '.join(missing)} (its columns: {', '.join(columns)})."
        )
    xyz = np.stack([np.asarray(named[name], np.float32) for name in "xyz"], axis=1)
    if not len(xyz):
        raise Kd3dError(f"{path} is empty: there are no points in it.")

    def pick(names: tuple[str, ...]) -> NDArray[Any] | None:
        return next((named[name] for name in names if name in named), None)

    intensity = pick(INTENSITY_NAMES)
    time = pick(TIME_NAMES[:1])  # the other names have units that a file does not tell
    ring = pick(RING_NAMES)
    if intensity is not None and scale is None:
        scale = guess_intensity_scale(intensity)
    return PointCloud.from_arrays(
        xyz,
        intensity,
        intensity_scale=scale or 1.0,
        time=time,
        ring=None if ring is None else np.nan_to_num(ring).astype(np.int16),
    )
