"""PointCloud2 in every layout that drivers publish."""

import array
from types import SimpleNamespace

import numpy as np
import pytest

from kd3d_core.datasets.pointcloud2 import DATATYPES
from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
from kd3d_core.datasets.pointcloud2 import encode_pointcloud2_arrays
from kd3d_core.errors import Kd3dError
from kd3d_core.pointcloud import PointCloud

NUMBER = {kind: number for number, kind in DATATYPES.items()}
XYZ = np.array([[1.5, -2.25, 0.5], [10.0, 20.0, -1.75], [-3.0, 4.0, 1.0], [7.0, 8.0, 9.0]])


def message(columns, *, pad=0, lead=0, big=False, height=1, row_pad=0, stamp=None):
    """Build a message from {name: (kind, values)} with padding where asked."""
    order = ">" if big else "<"
    offset, fields, formats = lead, [], []
    for name, (kind, _) in columns.items():
        fields.append(SimpleNamespace(name=name, offset=offset, datatype=NUMBER[kind], count=1))
        formats.append(order + kind)
        offset += np.dtype(kind).itemsize
    step = offset + pad
    dtype = np.dtype(
        {
            "names": list(columns),
            "formats": formats,
            "offsets": [f.offset for f in fields],
            "itemsize": step,
        }
    )
    count = len(next(iter(columns.values()))[1])
    rows = np.zeros(count, dtype)
    for name, (_, values) in columns.items():
        rows[name] = values
    width = count // height
    raw = np.frombuffer(rows.tobytes(), np.uint8).reshape(height, width * step)
    raw = np.pad(raw, ((0, 0), (0, row_pad)), constant_values=0xAB)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp or SimpleNamespace(sec=0, nanosec=0), frame_id="lidar"),
        height=height,
        width=width,
        fields=fields,
        is_bigendian=big,
        point_step=step,
        row_step=width * step + row_pad,
        data=raw.tobytes(),
    )


def columns(kind="f4", xyz=XYZ, **more):
    """x, y, z of one kind, and other fields."""
    return {name: (kind, xyz[:, i]) for i, name in enumerate("xyz")} | more


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(("lead", "pad"), [(0, 0), (0, 5), (3, 1)])
@pytest.mark.parametrize(("height", "row_pad"), [(1, 0), (2, 0), (2, 7)])
def test_layouts(big, kind, lead, pad, height, row_pad):
    intensity = np.array([0.0, 0.25, 0.5, 1.0])
    msg = message(
        columns(kind, intensity=("f4", intensity)),
        big=big, lead=lead, pad=pad, height=height, row_pad=row_pad,
    )  # fmt: skip
    cloud = decode_pointcloud2(msg)
    np.testing.assert_array_equal(cloud.points, np.c_[XYZ, intensity].astype(np.float32))
    assert cloud.points.dtype == np.float32
    assert cloud.points.flags.c_contiguous
    assert cloud.has_intensity
    assert cloud.dropped == 0


@pytest.mark.parametrize("kind", [bytes, lambda d: array.array("B", d), np.frombuffer, list])
def test_kinds_of_data(kind):
    msg = message(columns())
    msg.data = np.frombuffer(msg.data, np.uint8) if kind is np.frombuffer else kind(msg.data)
    np.testing.assert_array_equal(decode_pointcloud2(msg).xyz, XYZ.astype(np.float32))


@pytest.mark.parametrize(
    ("name", "kind", "raw", "wanted"),
    [
        ("intensity", "u1", [0, 51, 102, 255], [0, 0.2, 0.4, 1]),
        ("i", "u2", [0, 51, 102, 255], [0, 0.2, 0.4, 1]),
        ("reflectivity", "u2", [0, 13107, 26214, 65535], [0, 0.2, 0.4, 1]),
        ("intensity", "f4", [0, 51, 102, 255], [0, 0.2, 0.4, 1]),
        ("intensity", "f4", [0, 0.2, np.nan, 1], [0, 0.2, 0, 1]),
        ("intensity", "f8", [-0.5, 0.2, 0.4, 1.2], [0, 0.2, 0.4, 1]),
    ],
)
def test_intensity_scales_are_guessed(name, kind, raw, wanted):
    cloud = decode_pointcloud2(message(columns(**{name: (kind, raw)})))
    np.testing.assert_allclose(cloud.points[:, 3], wanted, atol=1e-6)


def test_intensity_scale_can_be_told():
    msg = message(columns(intensity=("f4", [0, 50, 100, 200])))
    cloud = decode_pointcloud2(msg, intensity_scale=100.0)
    np.testing.assert_allclose(cloud.points[:, 3], [0, 0.5, 1, 1])


def test_one_outlier_does_not_change_the_scale():
    values = np.full(1000, 200.0)
    values[0] = 300.0
    msg = message(columns(xyz=np.ones((1000, 3)), intensity=("f4", values)))
    np.testing.assert_allclose(decode_pointcloud2(msg).points[1:, 3], 200 / 255, atol=1e-6)


def test_no_intensity():
    cloud = decode_pointcloud2(message(columns()))
    assert not cloud.has_intensity
    assert not cloud.points[:, 3].any()


def test_points_without_a_return_go_with_all_their_columns():
    xyz = np.array([[1, 2, 3], [np.nan, 2, 3], [0, 0, 0], [4, np.inf, 1], [5, 6, 7], [0, 0, 1]])
    ring = np.arange(6)
    cloud = decode_pointcloud2(
        message(columns(xyz=xyz, intensity=("f4", ring / 10), time=("f4", ring / 100)), height=2)
    )
    np.testing.assert_array_equal(cloud.xyz, [[1, 2, 3], [5, 6, 7], [0, 0, 1]])
    np.testing.assert_allclose(cloud.points[:, 3], [0, 0.4, 0.5])
    np.testing.assert_allclose(cloud.time, [0, 0.04, 0.05])
    assert cloud.dropped == 3


@pytest.mark.parametrize(
    ("name", "kind", "values"),
    [
        ("time", "f4", [-0.1, -0.05, -0.02, 0.0]),
        ("t", "u4", [0, 50_000_000, 80_000_000, 100_000_000]),
        ("timestamp", "f8", 1.7e9 + np.array([0.0, 0.05, 0.08, 0.1])),
        ("timestamp", "f8", 1.7e18 + np.array([0.0, 0.05e9, 0.08e9, 0.1e9])),
    ],
    ids=["seconds", "nanoseconds", "clock in seconds", "clock in nanoseconds"],
)
def test_times_are_relative_to_the_stamp(name, kind, values):
    clock = np.max(values) > 1e9
    stamp = SimpleNamespace(sec=1_700_000_000 if clock else 0, nanosec=0)
    cloud = decode_pointcloud2(message(columns(**{name: (kind, values)}), stamp=stamp))
    wanted = [-0.1, -0.05, -0.02, 0] if name == "time" else [0, 0.05, 0.08, 0.1]
    np.testing.assert_allclose(cloud.time, wanted, atol=1e-5)


@pytest.mark.parametrize("from_top", [False, True])
def test_rings_count_from_below(from_top):
    height = np.arange(16) - 8.0
    xyz = np.c_[np.full(16, 20.0), np.zeros(16), height]
    ring = np.arange(16)[::-1] if from_top else np.arange(16)
    cloud = decode_pointcloud2(message(columns(xyz=xyz, ring=("u2", ring))))
    np.testing.assert_array_equal(cloud.ring, np.arange(16))


def test_empty_message():
    msg = message(columns())
    msg.width, msg.row_step, msg.data = 0, 0, b""
    assert len(decode_pointcloud2(msg)) == 0


def test_faults_have_their_sentences():
    with pytest.raises(Kd3dError, match=r"no field z \(its fields: x, y\)"):
        decode_pointcloud2(message({"x": ("f4", [1.0]), "y": ("f4", [1.0])}))
    msg = message(columns(), height=2, row_pad=4)
    msg.data = msg.data[:-5]
    with pytest.raises(Kd3dError, match="truncated: 2 x 2 points of 12 bytes in rows of 28"):
        decode_pointcloud2(msg)
    msg = message(columns(), height=2)
    msg.row_step = 7
    with pytest.raises(Kd3dError, match="truncated"):
        decode_pointcloud2(msg)
    msg = message(columns())
    msg.point_step = 10
    with pytest.raises(Kd3dError, match=r"field z \(offset 8, f4\) does not fit"):
        decode_pointcloud2(msg)
    msg = message(columns())
    msg.fields[1].datatype = 42
    with pytest.raises(Kd3dError, match="field y has the unknown datatype 42"):
        decode_pointcloud2(msg)


@pytest.mark.parametrize("extras", [False, True])
def test_encode_is_the_inverse(extras):
    generator = np.random.default_rng(3)
    count = 500
    xyz = generator.normal(size=(count, 3)) * 20
    cloud = PointCloud.from_arrays(
        xyz,
        generator.uniform(size=count),
        time=generator.uniform(-0.1, 0, count) if extras else None,
        # Beams rise with the elevation, as decoding makes sure.
        ring=np.argsort(np.argsort(xyz[:, 2] / np.hypot(xyz[:, 0], xyz[:, 1])))
        if extras
        else None,
    )
    fields, step, data = encode_pointcloud2_arrays(cloud)
    msg = SimpleNamespace(
        height=1, width=count, is_bigendian=False, point_step=step, row_step=len(data), data=data,
        fields=[SimpleNamespace(name=n, offset=o, datatype=d, count=c) for n, o, d, c in fields],
    )  # fmt: skip
    back = decode_pointcloud2(msg)
    np.testing.assert_array_equal(back.points, cloud.points)
    if extras:
        np.testing.assert_array_equal(back.time, cloud.time)
        np.testing.assert_array_equal(back.ring, cloud.ring)


def test_the_kernel_and_numpy_agree_on_broken_values():
    """Native float32 goes through the kernel, the other byte order through NumPy."""
    rng = np.random.default_rng(5)
    values = rng.uniform(-9, 300, (4, 500)).astype(np.float32)
    for row, bad in ((0, np.nan), (1, np.inf), (3, np.nan), (3, np.inf), (3, -np.inf)):
        values[row, rng.integers(0, 500, 40)] = bad
    values[:3, ::9] = 0.0
    columns = {name: ("f4", each) for name, each in zip(("x", "y", "z", "i"), values, strict=True)}
    for height, scale in ((1, None), (1, 255.0), (5, 1.0)):
        little, big = (
            decode_pointcloud2(message(columns, big=each, height=height, row_pad=3, pad=2), scale)
            for each in (False, True)
        )
        np.testing.assert_array_equal(little.points, big.points)
        assert little.dropped == big.dropped > 100
        assert little.points.flags.c_contiguous
