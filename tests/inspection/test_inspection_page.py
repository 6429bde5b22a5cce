import json
from dataclasses import replace

import numpy as np
import pytest
from damaged_frames import FrameList
from damaged_frames import street
from damaged_frames import with_boxes
from typer.testing import CliRunner

from kd3d_core.cli.main import app
from kd3d_core.datasets.folder import FolderDataset
from kd3d_core.datasets.folder_writer import write_folder
from kd3d_core.inspection.check import check_dataset
from kd3d_core.inspection.config import CheckConfig
from kd3d_core.inspection.pictures import frames_to_draw
from kd3d_core.inspection.report import write_check_page
from kd3d_core.inspection.words import verdict

pytest.importorskip("matplotlib", reason="matplotlib (pip install 'kd3d_ros[viz]') is missing")


def test_page_tells_findings_and_draws_their_frames(tmp_path):
    frames = list(street(4))
    yaw = frames[2].boxes.yaw + np.float32(np.pi)
    frames[2] = replace(frames[2], boxes=replace(frames[2].boxes, yaw=yaw), source="<i>bad")
    dataset = FrameList(frames)
    result = check_dataset(dataset, CheckConfig(pictures=2))
    assert frames_to_draw(result)[-1] == 2
    text = write_check_page(tmp_path / "check.html", result, dataset, "my & street").read_text()
    assert "flipped-yaw" in text
    assert "&lt;i&gt;bad #box" in text
    assert "<i>bad" not in text
    assert "my &amp; street" in text
    assert text.count("data:image/png;base64,") == 2
    assert "http" not in text.replace("http-equiv", "")
    assert verdict(result) == "1 thing looks odd."


def test_page_of_a_broken_data_set(tmp_path):
    broken = with_boxes(street(2), center=lambda b: np.full_like(b.center, np.nan))
    result = check_dataset(broken)
    text = write_check_page(tmp_path / "check.html", result, broken, "x").read_text()
    assert "broken-boxes" in text
    assert verdict(result).endswith("mend before you train.")


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_check_from_the_command_line(tmp_path):
    write_folder(street(3), tmp_path / "street")
    out = tmp_path / "out"
    done = run("data", "check", tmp_path / "street", "--out", out, "--pictures", 1)
    assert done.exit_code == 0
    assert "24 boxes of 2 classes in 3 labelled frames" in done.output
    assert "Nothing looks wrong." in done.output
    assert json.loads((out / "check.json").read_text())["findings"] == []
    assert (out / "check.html").stat().st_size > 50_000
    flat = with_boxes(street(3), size=lambda b: b.size[:, [1, 0, 2]])
    write_folder(flat, tmp_path / "flat")
    done = run("data", "check", tmp_path / "flat", "--strict")
    assert done.exit_code == 1
    assert "error: wider-than-long" in done.output
    assert "Length and width are exchanged" in done.output


@pytest.mark.parametrize("layout", ["folder", "bag", "argoverse2"])
def test_convert_from_the_command_line(tmp_path, layout):
    if layout == "argoverse2":
        pytest.importorskip("pyarrow", reason="pyarrow (pip install 'kd3d_ros[data]') is missing")
    write_folder(street(3), tmp_path / "a", drive="d1")
    write_folder(street(2, seed=1), tmp_path / "a", drive="d2")
    done = run("data", "convert", tmp_path / "a", tmp_path / "b", "--to", layout)
    assert done.exit_code == 0, done.output
    from kd3d_core.datasets.opening import open_dataset

    read = open_dataset(tmp_path / "b", classes=("car", "pedestrian"))
    written = FolderDataset(tmp_path / "a")
    assert [read.drive(i) for i in range(5)] == ["d1"] * 3 + ["d2"] * 2
    for one, other in zip(read, written, strict=True):
        np.testing.assert_allclose(one.cloud.xyz, other.cloud.xyz, atol=1e-5)
        np.testing.assert_allclose(one.boxes.center, other.boxes.center, atol=1e-4)
        np.testing.assert_allclose(one.pose, other.pose, atol=1e-6)
        assert one.boxes.names == other.boxes.names
