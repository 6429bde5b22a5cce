"""The bundle: what is written is read back, and each thing wrong has its own sentence."""

import json
import os
import zipfile
from pathlib import Path

import handmade_bundle
import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.bundle import check_signature
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.bundle import sha256
from kd3d_core.runtime.bundle import write_bundle
from kd3d_core.runtime.default import SHIPPED
from kd3d_core.runtime.default import bundle_path

GRAPH = b"the graph" * 1000


def rewrite(path, **members):
    """Replace members of a zip; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content.update({name.replace("_", "."): value for name, value in members.items()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)


def edited(path, **changes):
    """The manifest of a bundle as JSON with keys changed; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        data = json.loads(archive.read("manifest.json")) | changes
    return json.dumps({key: value for key, value in data.items() if value is not None})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.kd3d"
    write_bundle(path, handmade_bundle.manifest(metrics={"AP/car": 0.5}), GRAPH)
    return path


def test_round_trip(path):
    bundle = read_bundle(path)
    wanted = handmade_bundle.manifest(metrics={"AP/car": 0.5}, onnx_sha256=sha256(GRAPH))
    assert bundle.manifest == wanted
    assert bundle.onnx == GRAPH


def test_equal_content_gives_equal_bytes(path, tmp_path):
    other = tmp_path / "elsewhere" / "b.kd3d"
    write_bundle(other, read_bundle(path).manifest, GRAPH)
    os.utime(path, (0, 0))
    assert other.read_bytes() == path.read_bytes()


def test_each_fault_has_its_sentence(path):
    whole = path.read_bytes()

    def expect(pattern):
        with pytest.raises(Kd3dError, match=pattern) as caught:
            read_bundle(path)
        assert str(path) in str(caught.value)
        path.write_bytes(whole)

    path.write_bytes(b"")
    expect("is empty")
    path.write_bytes(b"\x89PNG\r\n" + b"x" * 500)
    expect("is not a kd3d bundle; make one with `kd3d_core export")
    path.write_bytes(whole[: len(whole) // 2])
    expect("is truncated or damaged")
    middle = bytearray(whole)
    middle[whole.index(b"model.onnx") + 14] ^= 0xFF
    path.write_bytes(bytes(middle))
    expect("damaged")
    rewrite(path, model_onnx=None)
    expect(r"without model\.onnx")
    rewrite(path, manifest_json=None)
    expect(r"without manifest\.json")
    rewrite(path, model_onnx=GRAPH + b"!")
    expect("sha256 differs")
    rewrite(path, manifest_json=b"{")
    expect("not valid JSON")
    rewrite(path, manifest_json=b"[1]")
    expect("names no format_version")
    rewrite(path, manifest_json=edited(path, format_version=99))
    expect("bundle format 99.*update kd3d")
    rewrite(path, manifest_json=edited(path, format_version=0))
    expect("outdated bundle format 0.*export its checkpoint again")
    rewrite(path, manifest_json=edited(path, name=None))
    expect("name: Field required")
    rewrite(path, manifest_json=edited(path, colour="red"))
    expect("colour: unknown key")
    rewrite(path, manifest_json=edited(path, output_stride=3))
    expect("not a multiple of output_stride 3")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(Kd3dError, match=r"cannot read the bundle .*none\.kd3d: No such file"):
        read_bundle(tmp_path / "none.kd3d")
    with pytest.raises(Kd3dError, match="cannot read the bundle"):
        read_bundle(tmp_path)


def test_unwritable_output(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Kd3dError, match="cannot write"):
        write_bundle(tmp_path / "file" / "a.kd3d", handmade_bundle.manifest(), GRAPH)


def test_signature_of_the_graph_is_checked():
    manifest = handmade_bundle.manifest()
    check_signature(manifest, manifest.inputs, manifest.outputs, "x")
    with pytest.raises(Kd3dError, match="has the inputs picture, the manifest needs image"):
        check_signature(manifest, {"picture": (1, 9, 64, 64)}, manifest.outputs, "x")
    outputs = manifest.outputs | {"heatmap": (1, 3, 32, 32)}
    with pytest.raises(Kd3dError, match=r"'heatmap' .*\(1, 3, 32, 32\).*needs \(1, 6, 32, 32\)"):
        check_signature(manifest, manifest.inputs, outputs, "x")
    # A graph that takes any number of what the manifest fixes is fine; the reverse is not.
    check_signature(manifest, {"image": (None, 9, 64, 64)}, manifest.outputs, "x")


def test_default_bundle_is_there_or_says_so(monkeypatch):
    monkeypatch.setattr("kd3d_core.runtime.default.DEFAULT_BUNDLE", "nothing.kd3d")
    with pytest.raises(Kd3dError, match=r"without the model nothing\.kd3d"):
        bundle_path()


def test_shipped_models_have_names_wherever_a_path_is_asked_for(tmp_path):
    assert read_bundle(bundle_path()).manifest.name == "kd3d-tiny"
    assert bundle_path("default") == bundle_path()
    assert read_bundle(bundle_path("default", "auto")).manifest.name == "kd3d-tiny-int8"
    for name, file in SHIPPED.items():
        assert bundle_path(Path(name)) == bundle_path(name)
        assert bundle_path(name).name == file
        assert read_bundle(bundle_path(name)).manifest.name == f"kd3d-{name}"
    assert bundle_path(tmp_path / "teacher") == tmp_path / "teacher"
