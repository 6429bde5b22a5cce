"""`kd3d_core detect` and `export` from end to end."""

import json
from types import SimpleNamespace

import handmade_bundle
import pytest
import small_checkpoint
import typer
from typer.testing import CliRunner

from kd3d_core.cli.detect import detect
from kd3d_core.cli.detect import frame_record
from kd3d_core.cli.export import export
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.bundle import read_bundle

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(detect)
app.command()(export)


def run(*arguments):
    """Run a verb; a `Kd3dError` comes out as it does in the program's main."""
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return handmade_bundle.write(tmp_path_factory.mktemp("model") / "handmade.kd3d")


@pytest.fixture
def clouds(tmp_path):
    folder = tmp_path / "clouds"
    folder.mkdir()
    for name, place in (("2.bin", (4.3, -2.2)), ("10.bin", (-6.0, 6.0))):
        handmade_bundle.clump(*place).points.tofile(folder / name)
    return folder


def test_json_is_exact(model, clouds, tmp_path):
    out = tmp_path / "boxes.json"
    result = run("detect", model, clouds / "2.bin", "--out", out, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "1 car" in result.output
    data = json.loads(out.read_text())
    score = data["frames"][0]["boxes"][0].pop("score")
    assert score > 0.9
    assert data == {
        "frames": [
            {
                "source": str(clouds / "2.bin"),
                "boxes": [
                    {
                        "label": "car",
                        "center": [4.16, -2.24, -1.0],
                        "size": [4.0, 2.0, 1.5],
                        "yaw": 1.5708,
                        "velocity": [0.0, 0.0],
                    }
                ],
            }
        ]
    }


def test_folder_gives_numbered_pictures_in_order(model, clouds, tmp_path):
    out, png = tmp_path / "boxes.json", tmp_path / "pictures" / "view.png"
    result = run("detect", model, clouds, "--out", out, "--png", png)
    assert result.exit_code == 0, result.output
    frames = json.loads(out.read_text())["frames"]
    assert [frame["source"] for frame in frames] == [str(clouds / n) for n in ("2.bin", "10.bin")]
    assert frames[1]["boxes"][0]["center"][:2] == pytest.approx([-6, 6], abs=0.4)
    names = sorted(path.name for path in png.parent.iterdir())
    assert names == ["view_0000.png", "view_0001.png"]
    assert (png.parent / names[0]).read_bytes().startswith(b"\x89PNG")


def test_one_cloud_gives_one_picture(model, clouds, tmp_path):
    run("detect", model, clouds / "2.bin", "--png", tmp_path / "one.png")
    assert (tmp_path / "one.png").is_file()


def test_threshold_and_backend(model, clouds, tmp_path):
    out = tmp_path / "boxes.json"
    run("detect", model, clouds, "--out", out, "--score-threshold", 1.0)
    assert [frame["boxes"] for frame in json.loads(out.read_text())["frames"]] == [[], []]
    result = run("detect", model, clouds, "--backend", "onnxruntime")
    assert "onnxruntime (f32)" in result.output


def test_unknown_velocity_is_null():
    boxes = Boxes3D.make([[1, 2, 3]], [[1, 1, 1]], [0.5], [3])
    record = frame_record(SimpleNamespace(source="a"), SimpleNamespace(boxes=boxes))
    assert record["boxes"][0]["velocity"] == [None, None]
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_bad_file_among_several_leaves_nothing_behind(model, clouds, tmp_path):
    (clouds / "3.bin").write_bytes(b"\x00" * 33)
    out = tmp_path / "results"
    with pytest.raises(Kd3dError, match=r"3\.bin is truncated"):
        run("detect", model, clouds, "--out", out / "b.json", "--png", out / "v.png")
    assert not out.exists() or not list(out.iterdir())


def test_earlier_results_survive_a_failure(model, clouds, tmp_path):
    out = tmp_path / "boxes.json"
    out.write_text("earlier")
    (clouds / "3.bin").write_bytes(b"")
    with pytest.raises(Kd3dError, match=r"3\.bin is empty"):
        run("detect", model, clouds, "--out", out)
    assert out.read_text() == "earlier"


def test_unwritable_output(model, clouds, tmp_path):
    (tmp_path / "file").write_text("")
    for option, name in (("--out", "b.json"), ("--png", "v.png")):
        with pytest.raises(Kd3dError, match="cannot write"):
            run("detect", model, clouds, option, tmp_path / "file" / name)


def test_arguments_that_are_missing_or_wrong(model, clouds, tmp_path):
    with pytest.raises(Kd3dError, match="name at least one point cloud after the model"):
        run("detect", model)
    with pytest.raises(Kd3dError, match=r"gone\.bin does not exist"):
        run("detect", model, clouds, clouds / "gone.bin")
    with pytest.raises(Kd3dError, match=r"cannot read the bundle .*gone\.kd3d"):
        run("detect", tmp_path / "gone.kd3d", clouds)


def test_export_then_detect(tmp_path, clouds):
    checkpoint = small_checkpoint.write(tmp_path / "model.ckpt", "image", step=5)
    out = tmp_path / "small.kd3d"
    result = run(
        "export", checkpoint, out, "--parity", clouds, "--name", "mine", "--score-threshold", 0.45,
        "--data", "nothing at all",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "parity on" in result.output
    manifest = read_bundle(out).manifest
    assert manifest.name == "mine"
    assert manifest.training.data == "nothing at all"
    assert manifest.decode.score_threshold == 0.45
    result = run("detect", out, clouds, "--out", tmp_path / "boxes.json")
    assert result.exit_code == 0, result.output
    scores = [
        box["score"]
        for frame in json.loads((tmp_path / "boxes.json").read_text())["frames"]
        for box in frame["boxes"]
    ]
    assert all(score >= 0.45 for score in scores)


def test_calibration_picks_the_threshold_between_right_and_wrong(model):
    from kd3d_core.cli.calibrate import calibrate

    found = calibrate(read_bundle(model), handmade_bundle.labelled(30), 25)
    assert found.result.frames == 25
    threshold = found.decode.score_threshold
    assert threshold["car"] > 0.99
    assert threshold["bus"] == 0.3  # nothing to learn from: as it was
    assert found.metrics()["F1/car"] == pytest.approx(1.0)
