"""A low mount in the node: boxes where the things are, and diagnostics that say what is done."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.bundle import write_bundle
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.levelling import ByStream
from kd3d_core.runtime.levelling import ByUser
from kd3d_core.runtime.levelling import Levelling
from kd3d_core.runtime.levelling import as_it_is
from kd3d_core.runtime.manifest import Manifest
from kd3d_core.runtime.manifest import SensorHeightRecord
from kd3d_ros.detector import health

WANTED = 1.73
MANIFEST = Manifest(
    name="levelled",
    ground_height_m=WANTED,
    sensor_height_m=SensorHeightRecord(mean=1.73, low=1.63, high=1.83),
)


def street(height: float, pitch: float = 0.0, floor: bool = True) -> PointCloud:
    """Ground and a post, seen from `height`."""
    rng = np.random.default_rng(0)
    # Thin: the known network takes 16 points in a cell for a car.
    ground = np.column_stack([rng.uniform(-35, 35, (9000, 2)), np.zeros(9000)])
    post = rng.uniform((5.05, -3.45, 0.1), (5.45, -3.05, 1.9), (200, 3))
    world = np.concatenate([ground, post] if floor else [post]) - (0, 0, height)
    cos, sin = np.cos(pitch), np.sin(pitch)
    turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    return PointCloud.from_arrays(world @ turn.T, np.full(len(world), 0.4))


@pytest.fixture(scope="module")
def levelled(known: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The known network, which wants the ground 1.73 m below the origin."""
    bundle = read_bundle(known.path)
    path = tmp_path_factory.mktemp("levelled") / "levelled.kd3d"
    about = bundle.manifest.model_copy(update={"ground_height_m": WANTED})
    write_bundle(path, about, bundle.onnx)
    return path


def judge(
    cloud: PointCloud, levelling: Levelling | None, manifest: Manifest = MANIFEST
) -> dict[str, str]:
    facts = health.inspect(cloud, manifest, levelling=levelling)
    return {each.key: each.message for each in health.complaints(facts, manifest)}


@pytest.mark.parametrize(("height", "pitch"), [(0.5, 0.0), (2.6, 0.0), (0.0, 0.0), (0.9, 0.25)])
def test_mounts_that_are_levelled_are_not_complained_of(height: float, pitch: float) -> None:
    cloud = street(height, pitch)
    levelling = ByStream(WANTED)(cloud)
    assert judge(cloud, levelling) == {}
    facts = health.inspect(cloud, MANIFEST, levelling=levelling)
    assert f"sensor height {height:.2f} m, estimated" in facts.values()["levelling"].replace(
        "-0.00", "0.00"
    )
    assert facts.share_in_range > 0.9
    silent = MANIFEST.model_copy(update={"ground_height_m": None})
    assert judge(cloud, None, silent).keys() & {"sensor height", "tilt"}


def test_what_hinders_levelling_is_named_with_its_remedy() -> None:
    said = judge(street(0.5), None)
    assert list(said) == ["ground"]
    assert "levelling is false" in said["ground"]
    assert "0.5 m below the sensor, not 1.7 m" in said["ground"]
    assert judge(street(1.73), None) == {}
    hollow = street(0.5, floor=False)
    assert "no ground is in sight" in judge(hollow, as_it_is())["ground"]
    assert "set sensor_height" in judge(hollow, as_it_is())["ground"]
    cloud = street(0.5)
    wrong = judge(cloud, ByUser(WANTED, 1.2)(cloud))
    assert "sensor_height is 1.2 m, but the ground lies 0.5 m below" in wrong["ground"]
    assert judge(cloud, ByUser(WANTED, 0.5)(cloud)) == {}


def test_settings_choose_the_leveller_and_keep_what_it_knows(levelled: Path, known: Any) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    from kd3d_ros.detector.model_view import ModelView
    from kd3d_ros.detector.settings import DetectorSettings

    detector = Detector.load(levelled, "onnxruntime", 1)
    first = ModelView.make(detector, DetectorSettings(), (detector,))
    assert isinstance(first.detector.leveller, ByStream)
    assert first.crops[0].leveller is first.detector.leveller
    again = ModelView.make(detector, DetectorSettings(score_threshold=0.5), (), first)
    assert again.detector.leveller is first.detector.leveller
    given = ModelView.make(detector, DetectorSettings(sensor_height=0.5), (), first)
    assert isinstance(given.detector.leveller, ByUser)
    off = ModelView.make(detector, DetectorSettings(levelling=False), (), given)
    assert off.detector.leveller is None
    other = ModelView.make(
        Detector.load(levelled, "onnxruntime", 1), DetectorSettings(), (), first
    )
    assert other.detector.leveller is not first.detector.leveller
    old = ModelView.make(Detector.load(known.path, "onnxruntime", 1), DetectorSettings())
    assert old.detector.leveller is None


def test_a_low_mount_live(graph: Any, known: Any, levelled: Path) -> None:
    from detector_bench import Bench
    from detector_bench import message
    from rclpy.parameter import Parameter

    bench = Bench(graph, known, model=str(levelled)).start()

    def height(offset: int) -> float:
        found = bench.detect(message(street(0.5), offset=offset)).detections
        assert len(found) == 1
        place = found[0].bbox.center.position
        assert (place.x, place.y) == pytest.approx((5.25, -3.25), abs=1e-3)
        return float(place.z)

    raised = known.height + WANTED - 0.5
    assert height(0) == pytest.approx(raised, abs=0.03)
    # The node publishes boxes first, and looks at the cloud's health afterwards.
    bench.graph.until(lambda: bench.node._pipeline.health.facts is not None)
    values = {each.key: each.value for each in bench.status("sensor").values}
    assert values["levelling"].startswith("raised by -1.2")
    assert not any(key.startswith("complaint") for key in values)
    bench.node.set_parameters([Parameter("sensor_height", value=0.7)])
    assert height(1) == pytest.approx(raised - 0.2, abs=1e-3)
    bench.node.set_parameters([Parameter("levelling", value=False)])
    assert height(2) == pytest.approx(known.height, abs=1e-3)
