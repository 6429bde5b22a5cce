"""Point cloud files: every format gives the same cloud, every fault its sentence."""

import numpy as np
import plyfile
import pypcd4
import pytest

from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import find_clouds
from kd3d_core.datasets.clouds import iter_clouds
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.errors import Kd3dError

GENERATOR = np.random.default_rng(0)
POINTS = np.c_[GENERATOR.normal(size=(100, 3)) * 20, GENERATOR.uniform(size=100)].astype("f4")


def structured(points, names=("x", "y", "z", "intensity")):
    """(N,) records of (N, C) columns."""
    rows = np.zeros(len(points), [(name, "f4") for name in names])
    for i, name in enumerate(names):
        rows[name] = points[:, i]
    return rows


def write_pcd(path, points=POINTS, encoding=pypcd4.Encoding.BINARY, names="x y z intensity"):
    names = tuple(names.split())
    kinds = (np.float32,) * len(names)
    cloud = pypcd4.PointCloud.from_points(points[:, : len(names)], names, kinds)
    cloud.save(path, encoding)


def write_ply(path, points=POINTS, text=False, name="intensity", element="vertex"):
    rows = structured(points, ("x", "y", "z", name))
    plyfile.PlyData([plyfile.PlyElement.describe(rows, element)], text=text).write(path)


WRITERS = {
    "a.bin": lambda path: POINTS.tofile(path),
    "a.npy": lambda path: np.save(path, POINTS),
    "b.npy": lambda path: np.save(path, structured(POINTS)),
    "c.npy": lambda path: np.save(path, POINTS.astype(np.float64)),
    "a.pcd": write_pcd,
    "b.pcd": lambda path: write_pcd(path, encoding=pypcd4.Encoding.ASCII),
    "c.pcd": lambda path: write_pcd(path, encoding=pypcd4.Encoding.BINARY_COMPRESSED),
    "d.pcd": lambda path: write_pcd(path, names="x y z i"),
    "a.ply": write_ply,
    "b.ply": lambda path: write_ply(path, text=True),
    "c.ply": lambda path: write_ply(path, name="scalar_Intensity"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_cloud(tmp_path, name):
    WRITERS[name](tmp_path / name)
    cloud = read_cloud(tmp_path / name)
    np.testing.assert_allclose(cloud.points, POINTS, rtol=1e-5, atol=1e-5)
    assert cloud.has_intensity


def test_columns_of_bin_files(tmp_path):
    rows = np.c_[POINTS[:, :3], POINTS[:, 3] * 255, np.arange(100) % 32].astype("f4")
    for name, columns in (("sweep.pcd.bin", None), ("five.bin", 5)):
        rows.tofile(tmp_path / name)
        cloud = read_cloud(tmp_path / name, CloudOptions(columns=columns))
        np.testing.assert_allclose(cloud.points, POINTS, atol=1e-5)
        np.testing.assert_array_equal(cloud.ring, np.arange(100) % 32)
    POINTS[:, :3].tofile(tmp_path / "three.bin")
    cloud = read_cloud(tmp_path / "three.bin", CloudOptions(columns=3))
    assert not cloud.has_intensity


def test_intensity_scale(tmp_path):
    np.save(tmp_path / "a.npy", POINTS * [1, 1, 1, 255])
    guessed = read_cloud(tmp_path / "a.npy").points[:, 3]
    np.testing.assert_allclose(guessed, POINTS[:, 3], atol=1e-5)
    told = read_cloud(tmp_path / "a.npy", CloudOptions(intensity_scale=510.0)).points[:, 3]
    np.testing.assert_allclose(told, POINTS[:, 3] / 2, atol=1e-5)


@pytest.mark.parametrize("name", ["a.bin", "a.npy", "a.pcd", "b.pcd", "c.pcd", "a.ply", "b.ply"])
def test_truncated_and_empty_files(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3 + 1])
    with pytest.raises(Kd3dError, match=name.replace(".", r"\.")):
        read_cloud(path)
    path.write_bytes(b"")
    with pytest.raises(Kd3dError, match="is empty"):
        read_cloud(path)
    path.write_bytes(b"\x00not a cloud\xff" * 30)
    with pytest.raises(Kd3dError, match=name.replace(".", r"\.")):
        read_cloud(path)


def test_bin_of_other_content_is_refused(tmp_path):
    path = tmp_path / "noise.bin"
    path.write_bytes(GENERATOR.bytes(1600))
    with pytest.raises(Kd3dError, match="beyond 10 km"):
        read_cloud(path)


def test_faults_have_their_sentences(tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros(12))
    with pytest.raises(Kd3dError, match=r"shape \(12,\)"):
        read_cloud(tmp_path / "flat.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(Kd3dError, match="not a readable NumPy file"):
        read_cloud(tmp_path / "objects.npy")
    np.save(tmp_path / "none.npy", np.zeros((0, 4)))
    with pytest.raises(Kd3dError, match="is empty: there are no points"):
        read_cloud(tmp_path / "none.npy")
    np.save(tmp_path / "named.npy", structured(POINTS, ("x", "y", "height", "intensity")))
    with pytest.raises(Kd3dError, match=r"no column z \(its columns: x, y, height, intensity\)"):
        read_cloud(tmp_path / "named.npy")
    write_pcd(tmp_path / "named.pcd", names="x y height")
    with pytest.raises(Kd3dError, match=r"no column z"):
        read_cloud(tmp_path / "named.pcd")
    write_ply(tmp_path / "other.ply", element="face")
    with pytest.raises(Kd3dError, match="no element 'vertex'"):
        read_cloud(tmp_path / "other.ply")
    (tmp_path / "a.las").write_bytes(b"LASF")
    with pytest.raises(Kd3dError, match=r"unknown point cloud format '\.las'; use one of \.bin"):
        read_cloud(tmp_path / "a.las")
    with pytest.raises(Kd3dError, match="No such file"):
        read_cloud(tmp_path / "missing.bin")


def test_folders_are_read_in_natural_order(tmp_path):
    folder = tmp_path / "clouds"
    folder.mkdir()
    for number in (10, 9, 100, 1):
        POINTS[:number].tofile(folder / f"{number}.bin")
    (folder / "notes.txt").write_text("")
    (folder / ".hidden.bin").write_bytes(b"1")
    POINTS[:7].tofile(tmp_path / "last.bin")
    frames = list(iter_clouds([folder, tmp_path / "last.bin"]))
    assert [len(frame.cloud) for frame in frames] == [1, 9, 10, 100, 7]
    assert frames[0].source == str(folder / "1.bin")
    assert frames[0].boxes is None


def test_paths_are_checked_before_anything_is_read(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Kd3dError, match="holds no point clouds"):
        find_clouds([tmp_path / "empty"])
    with pytest.raises(Kd3dError, match=r"gone\.bin does not exist"):
        find_clouds([tmp_path / "gone.bin"])
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(Kd3dError, match=r"unknown point cloud format '\.txt'"):
        find_clouds([tmp_path / "a.txt"])
