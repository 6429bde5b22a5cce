"""Export: the bundle says what the network says, or it is not written."""

import numpy as np
import onnx
import pytest
import small_checkpoint
import torch

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.inputs import encode
from kd3d_core.deployment.export import Draft
from kd3d_core.deployment.export import ExportOptions
from kd3d_core.deployment.export import draft
from kd3d_core.deployment.export import finish
from kd3d_core.deployment.export import installed_backends
from kd3d_core.errors import Kd3dError
from kd3d_core.models.batch import collate
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.detector import Detector

OPTIONS = ExportOptions(decode=DecodeConfig(score_threshold=0.1), licence="CC0-1.0")
METRICS = {"metrics": {"all": {"car": {"ap": 0.7}, "bus": {"ap": None}}}, "mean_ap": {"all": 0.7}}


@pytest.fixture(scope="module", params=["pillars", "image"])
def proposal(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    small_checkpoint.write(
        path,
        request.param,
        step=1234,
        training={"seed": 7},
        data={"train": "/home/somebody/data/sim/train", "frames": 50},
        metrics=METRICS,
        teacher={"name": "teacher", "sha256": "ab" * 32},
    )
    return draft(path, OPTIONS)


def test_bundle_runs_as_the_network_does(proposal, tmp_path):
    report = finish(proposal, tmp_path / "a.kd3d", small_checkpoint.clouds(), OPTIONS)
    assert set(report.parity) == set(installed_backends())
    for result in report.parity.values():
        assert result.frames == 2
        assert result.boxes > 0
        # A graph of zeros would agree on nothing; rounding stays far below the tolerance.
        assert max(result.maps.values()) < 1e-4
    manifest = read_bundle(tmp_path / "a.kd3d").manifest
    for cloud in small_checkpoint.clouds(3):
        fed = encode(cloud.points, manifest.grid, manifest.input)
        with torch.inference_mode():
            wanted = proposal.detector(collate([fed])).maps
        for backend in installed_backends():
            found = Detector.load(tmp_path / "a.kd3d", backend, 1).raw_maps(cloud)
            for one, other in zip(found.as_tuple(), wanted.as_tuple(), strict=True):
                assert np.ptp(one) > 1e-2
                np.testing.assert_allclose(one, other[0], atol=1e-4)


def test_manifest_tells_where_the_weights_came_from(proposal):
    manifest = proposal.bundle.manifest
    assert manifest.training.steps == 1234
    assert manifest.training.seed == 7
    assert manifest.training.data == "sim/train, 50 frames"
    assert manifest.metrics == {"AP/car": 0.7, "AP/mean": 0.7}
    assert manifest.teacher is not None
    assert manifest.teacher.sha256 == "ab" * 32
    assert manifest.licence == "CC0-1.0"
    assert manifest.decode.score_threshold == 0.1
    assert manifest.parameters == sum(p.numel() for p in proposal.detector.parameters())
    assert manifest.macs > 0


def test_graph_names_no_place_of_the_builder(proposal):
    model = onnx.load_from_string(proposal.bundle.onnx)
    for trace in (b"/home", b"/root", b"/tmp", b".py", b"site-packages", b"somebody"):
        assert trace not in proposal.bundle.onnx
    assert not model.metadata_props
    assert all(not node.metadata_props and not node.doc_string for node in model.graph.node)
    assert model.opset_import[0].version == 18


def test_export_is_reproducible(proposal, tmp_path):
    again = draft(proposal.checkpoint, OPTIONS)
    for name, each in (("a.kd3d", proposal), ("b.kd3d", again)):
        finish(each, tmp_path / name, small_checkpoint.clouds(1), OPTIONS)
    assert (tmp_path / "a.kd3d").read_bytes() == (tmp_path / "b.kd3d").read_bytes()


def test_tampered_graph_is_refused(proposal, tmp_path):
    model = onnx.load_from_string(proposal.bundle.onnx)
    # The first weights of the graph: far from the output, seen only through all the rest.
    first = next(each for each in model.graph.initializer if len(each.dims) >= 2)
    values = onnx.numpy_helper.to_array(first) * np.float32(1.05)
    first.CopyFrom(onnx.numpy_helper.from_array(values, first.name))
    bundle = type(proposal.bundle)(proposal.bundle.manifest, model.SerializeToString())
    bad = Draft(bundle, proposal.detector, proposal.checkpoint)
    with pytest.raises(Kd3dError, match=r"differs from the network; nothing was written.*heatmap"):
        finish(bad, tmp_path / "a.kd3d", small_checkpoint.clouds(), OPTIONS)
    assert not list(tmp_path.iterdir())


def test_parity_needs_points(proposal, tmp_path):
    empty = [PointCloud.from_arrays(np.full((5, 3), 99.0))]
    with pytest.raises(Kd3dError, match="no cloud has a point inside the model's grid"):
        finish(proposal, tmp_path / "a.kd3d", empty, OPTIONS)


def test_unwritable_output(proposal, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Kd3dError, match="cannot write"):
        finish(proposal, tmp_path / "file" / "a.kd3d", small_checkpoint.clouds(1), OPTIONS)


def test_thresholds_must_name_the_classes(proposal):
    options = ExportOptions(decode=DecodeConfig(score_threshold={"car": 0.5}))
    with pytest.raises(Kd3dError, match="score_threshold has values for"):
        draft(proposal.checkpoint, options)
