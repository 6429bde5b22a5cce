"""benchmarks/gpu_latency.py runs end to end on a CPU, and what it measures with is right."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch, which the benchmark compares with")
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import gpu_floor
import gpu_latency
import gpu_report
import gpu_subject
import gpu_torch
import gpu_variants
import torch

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import decode
from kd3d_core.codec.decode import logit
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.heads import head_channels
from kd3d_core.codec.inputs import encode
from kd3d_core.models.presets import preset

GRID = BevGrid(x=(-12.8, 12.8), y=(-9.6, 9.6), z=(-3.0, 2.0), cell=0.32)


def model(name, **changes):
    return preset(name).model_copy(update={"grid": GRID, **changes})


def points(count=3000):
    generator = np.random.default_rng(0)
    cloud = generator.uniform((-15, -12, -3.5, 0), (15, 12, 2.5, 1), (count, 4))
    cloud[: count // 2, :2] = generator.normal((3, 2), 0.4, (count // 2, 2))
    cloud[7] = np.nan
    return generator.permutation(cloud).astype(np.float32)


def test_images_of_torch_operations_are_those_of_the_codec():
    config = model("tiny")
    codec = gpu_torch.TorchCodec(config, np.zeros(6), 10, "cpu")
    (image,) = codec.encode(torch.from_numpy(points()))
    wanted = encode(points(), GRID, config.input).arrays["image"]
    np.testing.assert_allclose(image[0].numpy(), wanted, rtol=0, atol=2e-6)


def test_pillars_of_torch_operations_are_those_of_the_codec():
    taken = PillarInput(max_pillars=3000, max_points=5)
    codec = gpu_torch.TorchCodec(model("teacher", input=taken), np.zeros(6), 10, "cpu")
    made, cells = (each.numpy() for each in codec.encode(torch.from_numpy(points())))
    wanted = encode(points(), GRID, taken).arrays
    order = np.argsort(wanted["cells"])
    count = len(order)
    np.testing.assert_array_equal(cells[:count], wanted["cells"][order])
    np.testing.assert_allclose(made[:count], wanted["pillars"][order], rtol=0, atol=1e-5)
    assert (cells[count:] == cells[0]).all()
    assert (made[count:] == made[0]).all()


def test_boxes_of_torch_operations_are_those_of_the_codec():
    config, generator = model("tiny"), np.random.default_rng(1)
    rows, columns = (cells // 2 for cells in GRID.shape)
    maps = [
        generator.normal(size=(1, width, rows, columns)).astype(np.float32)
        for width in head_channels(6).values()
    ]
    settings = DecodeConfig(score_threshold=0.9, nms_threshold=1.0, max_boxes=10**6)
    wanted = decode(HeadMaps(*(each[0] for each in maps)), GRID, 2, config.classes, settings)
    codec = gpu_torch.TorchCodec(config, logit(np.full(6, 0.9)), 400, "cpu")
    rows = codec.decode(tuple(torch.from_numpy(each) for each in maps)).numpy()
    rows = rows[rows[:, 10] >= 0]
    assert len(rows) == len(wanted) > 50
    np.testing.assert_array_equal(rows[:, 0], wanted.label)
    np.testing.assert_allclose(rows[:, 1:4], wanted.center, atol=1e-5)
    np.testing.assert_allclose(rows[:, 4:7], wanted.size, rtol=1e-5)
    np.testing.assert_allclose(np.cos(rows[:, 7]), np.cos(wanted.yaw), atol=1e-5)
    np.testing.assert_allclose(rows[:, 8:10], wanted.velocity)
    np.testing.assert_allclose(rows[:, 10], wanted.score, atol=1e-6)


@pytest.fixture(scope="module")
def subject():
    cloud = gpu_subject.synthetic(0, 32, 150)
    return gpu_subject.Subject(gpu_subject.small(preset("tiny")), "cpu", [cloud])


def test_folding_batch_norms_changes_nothing(subject):
    for module in subject.detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
    network = subject.network("f32")
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.rest.modules())
    plain, folded = (subject.maps(n, subject.clouds[0]) for n in (subject.detector, network))
    for one, other in zip(plain, folded, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_floors_follow_from_the_layers(subject):
    chip = gpu_floor.Ceilings(1e9, 1e9, {"f32": 1e12})
    inputs = subject.inputs(subject.clouds[0])
    floor = gpu_floor.network_floor(subject.detector, inputs, "f32", chip)
    from kd3d_core.models.complexity import count

    assert floor.macs == count(subject.config).macs
    assert floor.arithmetic == pytest.approx(1e3 * floor.macs / 1e12)
    assert floor.layers >= 1e3 * floor.moved / 1e9 * 0.999  # at this chip memory decides
    assert floor.arithmetic <= floor.once <= floor.layers


def test_the_share_of_the_same_boxes(subject):
    boxes = gpu_variants.eager(subject)
    found = next(boxes).make().detect(subject.clouds[0])
    assert len(found) > 3
    assert gpu_latency.shared(found, found) == 1
    assert gpu_latency.shared(found, found[:0]) == 0


def test_the_script_runs_and_a_fault_stops_nothing(tmp_path, monkeypatch, capsys):
    def no_such_thing():
        raise RuntimeError("no such thing\nat all")

    def faulty(subject):
        yield gpu_variants.Variant("magic", "f16", no_such_thing)
        yield next(gpu_variants.eager(subject))

    monkeypatch.setitem(gpu_latency.FAMILIES, "onnxruntime", ("torch", faulty))
    made = gpu_subject.synthetic(5, 16, 90)
    made.tofile(tmp_path / "cloud.bin")
    out = tmp_path / "figures.json"
    command = ["gpu_latency.py", "--device", "cpu", "--quick", "--models", "tiny"]
    command += ["--clouds", str(tmp_path / "cloud.bin"), "--output", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    gpu_latency.main()
    records = json.loads(out.read_text())["records"]
    times = gpu_report.of_kind(records, "time")
    families = [each["family"] for each in times]
    assert families == ["eager", "onnxruntime", "operations-eager"]
    for each in times:
        assert 0 < each["least_ms"] <= each["p50_ms"] <= each["p99_ms"]
        assert each["same_boxes"] == 1
        assert each["boxes"] > 3
    (failure,) = gpu_report.of_kind(records, "failure")
    assert failure["error"] == "RuntimeError: no such thing"
    assert gpu_report.of_kind(records, "floor")[0]["macs"] > 1e6
    printed = capsys.readouterr().out
    assert "| tiny | torch eager, codec on the CPU | f32 |" in printed
    assert "not run: tiny, magic, f16: RuntimeError: no such thing" in printed


def test_a_family_in_a_process_of_its_own_tells_what_it_did(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu_latency.py", "--device", "cpu", "--quick"])
    options = gpu_latency.parse()
    # Without a GPU the kernels cannot run: the process says so for each variant and ends well.
    records = list(gpu_latency.in_process(options, "kernels", "tiny", 300.0))
    assert len(records) == 8
    for record in records:
        assert record["kind"] == "failure"
        assert "Kd3dError" in record["error"]
    (late,) = gpu_latency.in_process(options, "eager", "tiny", 0.1)
    assert "stopped after 0 s" in late["error"]
