"""Reading a recording: which clouds, in which part."""

import numpy as np
import pytest
import recordings
import small_bags

from kd3d_core.adaptation.recording import read_recording
from kd3d_core.errors import Kd3dError


def test_clouds_are_spread_and_the_rate_is_the_sensors(tmp_path):
    bag = recordings.write(tmp_path / "bag", [recordings.street(i, count=400) for i in range(30)])
    found = read_recording([bag], 10)
    assert len(found) == 10
    assert [frame.source[-3:] for frame in found.frames[:3]] == ["s#0", "s#3", "s#6"]
    assert found.period == pytest.approx(0.1)
    assert found.words == "bag"


def test_the_parts_are_pieces_and_share_nothing(tmp_path):
    bag = recordings.write(tmp_path / "bag", [recordings.street(i, count=400) for i in range(32)])
    found = read_recording([bag], 32)
    learning = [frame.stamp for frame in found.learning]
    judging = [frame.stamp for frame in found.judging]
    assert len(learning) == len(judging) == 16
    assert not set(learning) & set(judging)
    # Pieces of four neighbours, not every other cloud.
    assert np.isclose(np.diff(learning), 0.1).sum() == 12


def test_files_have_no_rate(tmp_path):
    for i in range(9):
        recordings.street(i, count=400).points.tofile(tmp_path / f"{i}.bin")
    found = read_recording([tmp_path], 100)
    assert (len(found), found.period) == (9, None)


def test_malformed_clouds_are_counted_and_too_few_refused(tmp_path):
    bag = small_bags.write(tmp_path / "bag", malformed=True)
    with pytest.raises(Kd3dError, match=r"4 usable clouds \(3 malformed"):
        read_recording([bag], 100)
