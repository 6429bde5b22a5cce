"""What is measured of a sensor, and what is said about it."""

from dataclasses import replace

import numpy as np
import pytest
import recordings

from kd3d_core.adaptation.findings import sensor_findings
from kd3d_core.adaptation.recording import Recording
from kd3d_core.adaptation.sensor import SECTOR
from kd3d_core.adaptation.sensor import joined
from kd3d_core.adaptation.sensor import measure_sensor
from kd3d_core.adaptation.subject import Expectation
from kd3d_core.adaptation.subject import Settings
from kd3d_core.frame import Frame
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.manifest import SensorHeightRecord

AS_IT_COMES = Settings(None, None, {})
CAR = Expectation(tuple(np.linspace(0, 1, 33)), SensorHeightRecord(mean=1.7, low=1.6, high=1.8))


def recording(clouds):
    return Recording(tuple(Frame(cloud, str(i)) for i, cloud in enumerate(clouds)), (), 0, 0.1)


@pytest.fixture(scope="module")
def report():
    return measure_sensor(recording([recordings.street(i, height=1.1) for i in range(10)]))


def rules(report, expects=CAR, settings=AS_IT_COMES):
    return {finding.rule: finding for finding in sensor_findings(report, expects, settings)}


def test_mount_rate_and_range(report):
    assert report.height == pytest.approx(1.1, abs=0.02)
    assert abs(report.pitch_deg) < 0.3
    assert report.up == "+z"
    assert report.ground_share == 1
    assert report.rate_hz == 10
    assert report.points == 4000
    assert 23.5 < report.far < 24.5
    assert sum(report.points_by_ring.values()) == pytest.approx(4000, rel=0.01)
    assert report.mount.keys() == {"height_m", "pitch_deg", "roll_deg"}


def test_a_low_mount_is_told_with_its_height(report):
    finding = rules(report)["height"]
    assert finding.severity == "warning"
    assert "1.10 m" in finding.message
    assert "1.6 to 1.8 m" in finding.message


def test_a_model_that_levels_makes_it_a_note(report):
    found = rules(report, settings=Settings(None, 1.7, {}))
    assert found["height"].severity == "note"


def test_intensity_as_in_training_is_not_worth_a_word(report):
    assert "intensity" not in rules(report)
    faint = measure_sensor(recording([recordings.street(i, gain=0.4) for i in range(8)]))
    assert "0.20 instead of 0.50" in rules(faint)["intensity"].message


def test_no_intensity_at_all(report):
    bare = replace(report, has_intensity=False)
    assert rules(bare).keys() & {"no-intensity", "intensity"} == {"no-intensity"}


def test_upside_down_is_an_error_and_comes_first():
    def turned(index):
        points = recordings.street(index).points * np.array([1, -1, -1, 1], np.float32)
        return PointCloud(points)

    report = measure_sensor(recording([turned(i) for i in range(8)]))
    found = sensor_findings(report, CAR, AS_IT_COMES)
    assert (found[0].rule, found[0].severity) == ("axes", "error")
    assert "-z" in found[0].message


def test_blind_sector_and_own_vehicle():
    def seen(index):
        cloud = recordings.street(index, height=1.5)
        azimuth = np.degrees(np.arctan2(cloud.points[:, 1], cloud.points[:, 0]))
        cloud = cloud[np.abs(azimuth) < 150]
        # A bonnet: the same returns in every cloud, 1 m above the ground.
        bonnet = np.array([(x, y, -0.5, 0.1) for x in (1.1, 1.3) for y in (-0.3, 0.1)], np.float32)
        return PointCloud(np.concatenate([cloud.points, bonnet]))

    report = measure_sensor(recording([seen(i) for i in range(10)]))
    assert report.blind_deg == ((150, 210),)
    low, high = report.vehicle_deg[0][0], report.vehicle_deg[-1][1]
    assert -30 <= low < 0 < high <= 30
    box = report.ego_box
    assert box[0] <= 1.1 < 1.3 <= box[3]
    assert box[2] <= -0.5 <= box[5]
    assert report.vehicle_share == pytest.approx(40 / (10 * report.points), rel=0.05)
    found = rules(report)
    assert "60 of 360 degrees" in found["blind"].message
    assert "ego_box:=[" in found["vehicle"].remedy


def test_sectors_across_the_rear_stay_one():
    mask = np.zeros(360 // SECTOR, bool)
    mask[[0, 1, -1]] = True
    assert joined(mask) == ((175, 190),)
    assert joined(np.zeros_like(mask)) == ()
    assert joined(np.ones_like(mask)) == ((-180, 180),)


def test_no_ground_is_told():
    report = measure_sensor(recording([recordings.cars(i) for i in range(8)]))
    assert report.height is None
    assert report.mount == {}
    assert rules(report)["no-ground"].severity == "warning"
