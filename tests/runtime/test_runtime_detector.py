"""`Detector`: boxes where the graph was made to see them, on every backend."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import handmade_bundle
import numpy as np
import pytest

import kd3d_core
from kd3d_core.errors import Kd3dError
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.bundle import write_bundle
from kd3d_core.runtime.detector import Detector

ROOT = Path(kd3d_core.__file__).parents[1]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return handmade_bundle.write(tmp_path_factory.mktemp("bundle") / "handmade.kd3d")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_finds_what_the_graph_was_made_to_see(path, backend):
    pytest.importorskip(backend)
    detector = Detector.load(path, backend, threads=1)
    result = detector(handmade_bundle.clump(4.3, -2.2))
    assert detector.backend.name == backend
    assert result.boxes.names == ["car"]
    # The middle of the 0.64 m cell that holds (4.3, -2.2).
    np.testing.assert_allclose(result.boxes.center, [[4.16, -2.24, -1.0]], atol=1e-5)
    np.testing.assert_allclose(result.boxes.size, [handmade_bundle.SIZE], rtol=1e-5)
    np.testing.assert_allclose(result.boxes.yaw, [np.pi / 2], atol=1e-6)
    assert result.points_in_range == 200
    assert result.dropped_cells == 0
    stages = (result.preprocess_ms, result.inference_ms, result.postprocess_ms)
    assert all(stage > 0 for stage in stages)
    assert result.total_ms == pytest.approx(sum(stages))


def test_backends_agree(path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    generator = np.random.default_rng(1)
    xyz = generator.uniform((-10, -10, -3), (10, 10, 2), (5000, 3))
    cloud = PointCloud.from_arrays(xyz, generator.uniform(size=5000))
    maps = [Detector.load(path, name, 1).raw_maps(cloud) for name in ("onnxruntime", "openvino")]
    for one, other in zip(*(each.as_tuple() for each in maps), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    "cloud",
    [
        PointCloud.from_arrays(np.zeros((0, 3))),
        PointCloud.from_arrays(np.full((3, 3), np.nan)),
        PointCloud.from_arrays(np.full((10, 3), 500.0)),
    ],
    ids=["empty", "not finite", "out of range"],
)
def test_nothing_to_see_gives_no_boxes(path, cloud):
    result = Detector.load(path, threads=1)(cloud)
    assert len(result.boxes) == 0
    assert result.boxes.classes == handmade_bundle.manifest().classes
    assert result.points_in_range == 0


def test_with_decode_changes_a_copy_only(path):
    detector = Detector.load(path, threads=1)
    strict = detector.with_decode(max_boxes=1)
    cloud = PointCloud(np.concatenate([handmade_bundle.clump(x, 0).points for x in (-8, 0.1, 8)]))
    assert len(detector(cloud).boxes) == 3
    assert len(strict(cloud).boxes) == 1
    assert len(detector(cloud).boxes) == 3


def test_threads_may_share_a_detector(path):
    detector = Detector.load(path, threads=1)
    places = [(x, y) for x in (-7.0, 0.2, 7.0) for y in (-7.0, 0.2, 7.0)] * 4

    def find(place):
        return detector(handmade_bundle.clump(*place)).boxes.center[:, :2]

    with ThreadPoolExecutor(4) as pool:
        found = pool.map(find, places)
    for place, center in zip(places, found, strict=True):
        assert center.shape == (1, 2)
        np.testing.assert_allclose(center[0], place, atol=0.4)


def test_runs_without_torch(path):
    code = (
        "import sys, numpy as np\n"
        "from kd3d_core.pointcloud import PointCloud\n"
        "from kd3d_core.runtime.detector import Detector\n"
        f"detector = Detector.load({str(path)!r}, threads=1)\n"
        "detector.warm_up()\n"
        "detector(PointCloud.from_arrays(np.zeros((5, 3))))\n"
        "foreign = {'torch', 'lightning', 'rclpy', 'onnx'} & set(sys.modules)\n"
        "assert not foreign, foreign\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_bad_settings_are_told(path):
    with pytest.raises(Kd3dError, match="backend 'tpu' is unknown; use auto, openvino"):
        Detector.load(path, "tpu")
    with pytest.raises(Kd3dError, match="threads is 0"):
        Detector.load(path, threads=0)
    with pytest.raises(Kd3dError, match="precision 'f8' is unknown"):
        Detector.load(path, precision="f8")
    with pytest.raises(Kd3dError, match="bf16 needs backend openvino"):
        Detector.load(path, "onnxruntime", precision="bf16")


def test_bf16_is_used_or_refused(path):
    pytest.importorskip("openvino")
    auto = Detector.load(path, "openvino", precision="auto").backend.precision
    if auto == "bf16":
        assert Detector.load(path, "openvino", precision="bf16").backend.precision == "bf16"
    else:
        with pytest.raises(Kd3dError, match="this CPU has no bf16 arithmetic"):
            Detector.load(path, "openvino", precision="bf16")
    assert Detector.load(path, "openvino", precision="f32").backend.precision == "f32"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_missing_library_names_the_remedy(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Kd3dError, match=r"not installed: pip install 'kd3d_ros\[cpu\]'"):
        make_backend(name, handmade_bundle.graph())


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_graph_that_is_none(name):
    with pytest.raises(Kd3dError, match="cannot"):
        make_backend(name, b"no graph at all")


def test_graph_that_does_not_fit_its_manifest(tmp_path):
    path = tmp_path / "a.kd3d"
    write_bundle(path, handmade_bundle.manifest(classes=("car", "bus")), handmade_bundle.graph())
    with pytest.raises(Kd3dError, match=r"a\.kd3d: 'heatmap' of the graph's outputs"):
        Detector.load(path)
