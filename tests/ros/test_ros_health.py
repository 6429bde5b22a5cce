"""Complaints name the cause and the remedy, and clouds that suit the model raise none."""

import numpy as np
import pytest

from kd3d_core.codec.grid import PillarInput
from kd3d_core.ground import GroundEstimate
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.manifest import IntensityRecord
from kd3d_core.runtime.manifest import Manifest
from kd3d_core.runtime.manifest import SensorHeightRecord
from kd3d_ros.detector import health

MANIFEST = Manifest(
    name="trained", sensor_height_m=SensorHeightRecord(mean=1.73, low=1.63, high=1.83)
)
UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0])
CAMERA = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float)


def street(height=1.73, *, gain=1.0, rotation=None, intensity=True):
    """Ground, boxes on it and a wall, seen from `height`; intensities around 0.3."""
    rng = np.random.default_rng(0)
    reach, angle = rng.uniform(2, 40, 9000), rng.uniform(-np.pi, np.pi, 9000)
    ground = np.column_stack([reach * np.cos(angle), reach * np.sin(angle), np.zeros(9000)])
    spots = rng.uniform(-25, 25, (12, 1, 3)) * (1, 1, 0)
    things = (spots + rng.uniform((-1, -1, 0), (1, 1, 1.8), (12, 200, 3))).reshape(-1, 3)
    xyz = np.concatenate([ground, things]) - (0, 0, height)
    values = np.minimum(rng.gamma(3, 0.1, len(xyz)), 0.99) * gain
    if rotation is not None:
        xyz = xyz @ rotation.T
    return PointCloud.from_arrays(xyz, values if intensity else None)


def judge(cloud, manifest=MANIFEST, *, intensity_scale=0.0, **detection):
    facts = health.inspect(cloud, manifest, **detection)
    found = health.complaints(facts, manifest, intensity_scale=intensity_scale)
    return {complaint.key: complaint for complaint in found}


def test_cloud_like_the_training_is_not_complained_of():
    facts = health.inspect(street(), MANIFEST)
    assert health.complaints(facts, MANIFEST) == []
    values = facts.values()
    assert float(values["sensor height [m]"]) == pytest.approx(1.73, abs=0.03)
    assert float(values["points in range [%]"]) > 99
    assert values["axis that points up"] == "+z"
    assert "median 0.2" in values["intensity"]


@pytest.mark.parametrize(
    ("height", "words"),
    [
        (0.6, ("1.1 m lower", "0.6 m above the ground", "trained at 1.6-1.8 m", "model_frame")),
        (3.0, ("1.3 m higher", "3.0 m above the ground")),
        (0.0, ("1.7 m lower", "as if the clouds were in base_link", "1.7 m above the ground,")),
    ],
)
def test_other_mounts_are_named_in_metres(height, words):
    found = judge(street(height))
    assert list(found) == ["sensor height"]
    assert not found["sensor height"].severe
    for word in words:
        assert word in found["sensor height"].message


def test_heights_are_not_judged_without_a_record():
    assert judge(street(0.6), Manifest(name="silent")) == {}


@pytest.mark.parametrize(
    ("rotation", "word"), [(UPSIDE_DOWN, "upside down"), (CAMERA, "axes of a camera")]
)
def test_wrong_axes_are_severe_and_come_first(rotation, word):
    facts = health.inspect(street(rotation=rotation), MANIFEST)
    first = health.complaints(facts, MANIFEST)[0]
    assert first.key == "axes"
    assert first.severe
    assert word in first.message


def test_tilt():
    turn = 0.25
    rotation = np.array(
        [[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]]
    )
    assert "14 degrees down" in judge(street(rotation=rotation))["tilt"].message


@pytest.mark.parametrize(
    ("cloud", "scale", "words"),
    [
        (street(intensity=False), 0.0, ("no intensity", "trained with")),
        (street(gain=0.0), 0.0, ("every intensity is 0",)),
        (street(gain=1 / 255), 255.0, ("intensity_scale 255", "1.0 would fit")),
        (street(gain=255 / 65535), 65535.0, ("below 0.00", "255.0 would fit")),
        (street(gain=1 / 255), 0.0, ("by the guessed scale",)),
        (street(gain=255.0), 1.0, ("at or above full scale", "intensity_scale 1", "255.0")),
    ],
)
def test_intensity_on_another_scale(cloud, scale, words):
    found = judge(cloud, intensity_scale=scale)
    assert list(found) == ["intensity"]
    for word in words:
        assert word in found["intensity"].message
    blind = MANIFEST.model_copy(update={"intensity": IntensityRecord(used=False)})
    assert judge(cloud, blind, intensity_scale=scale) == {}


def test_range_losses_and_overflow():
    millimetres = street()
    millimetres = PointCloud.from_arrays(millimetres.xyz * 1000, millimetres.points[:, 3])
    found = judge(millimetres)
    assert found["range"].severe
    assert "unit is metres" in found["range"].message
    assert judge(street(), points_in_range=1000)["range"].severe is False
    pillars = MANIFEST.model_copy(update={"input": PillarInput(max_pillars=500)})
    found = judge(street(), pillars, dropped_cells=77)
    assert "77 occupied cells (it has for 500)" in found["cells"].message
    cloud = street()
    holes = np.full((20 * len(cloud), 3), np.nan)
    xyz = np.concatenate([cloud.xyz, holes])
    hidden = PointCloud.from_arrays(xyz, np.full(len(xyz), 0.3))
    assert "95 % of the points" in judge(hidden)["no return"].message
    crowd = PointCloud(np.tile(cloud.points, (60, 1)))
    assert "single sweeps" in judge(crowd)["points"].message


def test_empty_clouds_have_one_complaint():
    found = judge(PointCloud(np.zeros((0, 4), np.float32)))
    assert list(found) == ["points"]
    assert "empty" in found["points"].message


def test_watch_looks_now_and_then_and_does_not_flap():
    watch = health.HealthWatch(MANIFEST, period=60.0)
    assert watch.facts is None
    assert watch.complaints() == []
    assert watch.offer(street())
    assert not watch.offer(street(0.6))
    assert watch.complaints() == []
    eager = health.HealthWatch(MANIFEST, period=0.0)
    for height in (1.73, 1.73, 0.6, 1.73):
        assert eager.offer(street(height))
    assert eager.complaints() == []
    for _ in range(3):
        eager.offer(street(0.6))
    assert [complaint.key for complaint in eager.complaints()] == ["sensor height"]
    assert isinstance(eager.facts.ground, GroundEstimate)


def test_real_clouds_suit_the_shipped_model(shared_data):
    from kd3d_core.datasets.clouds import read_cloud
    from kd3d_core.runtime.bundle import read_bundle
    from kd3d_core.runtime.default import bundle_path

    manifest = read_bundle(bundle_path()).manifest
    for path in sorted((shared_data / "kitti/training/velodyne").glob("*.bin"))[::3]:
        assert judge(read_cloud(path), manifest) == {}, path
