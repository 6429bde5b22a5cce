"""A bundle read back is the network that it was made from, and a training can go on from it."""

import handmade_bundle
import numpy as np
import onnx
import pytest
import small_checkpoint
import torch

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.inputs import encode
from kd3d_core.deployment.export import ExportOptions
from kd3d_core.deployment.export import draft
from kd3d_core.deployment.float16 import to_fp16
from kd3d_core.deployment.restore import TRAINED_WEIGHT
from kd3d_core.deployment.restore import restore_checkpoint
from kd3d_core.errors import Kd3dError
from kd3d_core.models.batch import collate
from kd3d_core.models.presets import preset
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import sha256
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.checkpoint import read_checkpoint

OPTIONS = ExportOptions(decode=DecodeConfig(score_threshold=0.1), data="streets, 50 frames")
KINDS = {
    "pillars": ("pillars", small_checkpoint.CENTER),
    "image": ("image", small_checkpoint.CENTER),
    "tasks": ("image", small_checkpoint.TASKS),
    "anchors": ("pillars", small_checkpoint.ANCHORS),
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """A checkpoint, its bundle, and the checkpoint read back."""
    folder = tmp_path_factory.mktemp("restore")
    first = small_checkpoint.write(
        folder / "first.ckpt",
        *KINDS[request.param],
        step=1234,
        training={"seed": 7, "data": {"sweeps": 2, "ground_height": None}},
        teacher={"name": "big", "sha256": "ab" * 32},
    )
    bundle = draft(first, OPTIONS).bundle
    restore_checkpoint(bundle, folder / "again.ckpt", small_checkpoint.clouds())
    return first, bundle, folder / "again.ckpt"


def batch_of(clouds: list[PointCloud], model):
    return collate([encode(cloud.points, model.grid, model.input) for cloud in clouds])


def test_it_is_the_same_model_and_says_the_same(pair):
    (wanted, old), (found, new) = load_model(pair[0]), load_model(pair[2])
    assert found == wanted
    batch = batch_of(small_checkpoint.clouds(3)[2:], found)  # not one of those it was read with
    with torch.inference_mode():
        maps = zip(old(batch).outputs.as_tuple(), new(batch).outputs.as_tuple(), strict=True)
    for one, other in maps:
        assert np.ptp(one.numpy()) > 1e-2
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-4)


def test_in_training_it_begins_where_it_stands(pair):
    model, network = load_model(pair[2])
    batch = batch_of(small_checkpoint.clouds(), model)
    with torch.no_grad():
        calm = network(batch).outputs.as_tuple()
        training = network.train()(batch).outputs.as_tuple()
    for one, other in zip(calm, training, strict=True):
        # Clouds have different numbers of pillars: their statistics are joined a bit differently.
        spread = float(one.max() - one.min())
        assert float((one - other).abs().max()) < 0.02 * spread


def test_filters_before_a_norm_turn_as_slowly_as_those_of_a_trained_network(pair):
    network = load_model(pair[2])[1]
    for stage in network.backbone.stages:
        for unit in stage:
            size = unit[0].weight.flatten(1).square().mean(dim=1).sqrt()
            np.testing.assert_allclose(size.detach().numpy(), TRAINED_WEIGHT, rtol=1e-5)


def test_what_the_manifest_knows_is_kept(pair):
    first, again = read_checkpoint(pair[0]), read_checkpoint(pair[2])
    assert (again.step, again.sweeps, again.teacher) == (1234, 2, first.teacher)
    assert again.training["seed"] == 7
    assert set(again.score_threshold.values()) == {0.1}
    manifest = draft(pair[2], ExportOptions()).bundle.manifest
    assert manifest.training.data == "streets, 50 frames"
    assert manifest.teacher == pair[1].manifest.teacher


def test_presets_are_recognised_by_their_graphs(tmp_path):
    for name in ("tiny", "half"):
        model = preset(name)
        detector = small_checkpoint.build_detector(model)
        path = tmp_path / f"{name}.ckpt"
        about = small_checkpoint.Checkpoint(model=model, weights=detector.state_dict())
        small_checkpoint.save_checkpoint(path, about)
        bundle = draft(path, OPTIONS).bundle
        restore_checkpoint(bundle, tmp_path / "again.ckpt", small_checkpoint.clouds(1))
        assert read_checkpoint(tmp_path / "again.ckpt").model == model


def changed(bundle: Bundle, change) -> Bundle:
    """The bundle with another graph."""
    model = onnx.load_from_string(bundle.onnx)
    change(model.graph)
    graph = model.SerializeToString()
    manifest = bundle.manifest.model_copy(update={"onnx_sha256": sha256(graph)})
    return Bundle(manifest, graph)


def test_rounded_weights_are_refused(pair, tmp_path):
    rounded = Bundle(pair[1].manifest, to_fp16(pair[1].onnx))
    with pytest.raises(Kd3dError, match=r"x.kd3d is in int8 or fp16.*bundle in float32"):
        restore_checkpoint(rounded, tmp_path / "a.ckpt", small_checkpoint.clouds(), "x.kd3d")
    assert not list(tmp_path.iterdir())


def test_a_graph_of_another_make_is_refused(tmp_path):
    bundle = Bundle(handmade_bundle.manifest(), handmade_bundle.graph())
    with pytest.raises(Kd3dError, match="not as `kd3d_core export` writes them"):
        restore_checkpoint(bundle, tmp_path / "a.ckpt", small_checkpoint.clouds())


def test_a_graph_that_does_something_else_is_refused(pair, tmp_path):
    def another_nonlinearity(graph):
        last = [node for node in graph.node if node.op_type == "Relu"][-1]
        last.op_type = "Sigmoid"

    with pytest.raises(Kd3dError, match=r"differs from the network; nothing was written"):
        restore_checkpoint(
            changed(pair[1], another_nonlinearity), tmp_path / "a.ckpt", small_checkpoint.clouds()
        )
    assert not list(tmp_path.iterdir())


def test_clouds_must_lie_in_the_grid(pair, tmp_path):
    far = [PointCloud.from_arrays(np.full((5, 3), 99.0))]
    with pytest.raises(Kd3dError, match="no cloud has a point inside the model's grid"):
        restore_checkpoint(pair[1], tmp_path / "a.ckpt", far)
