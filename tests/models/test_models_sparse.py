"""The sparse encoder against the same network on full grids, and what it says when it cannot."""

import copy
import sys

import pytest
import torch
from dense_reference import convolve
from dense_reference import encode_dense
from dense_reference import random_sites
from dense_reference import scatter

from kd3d_core.errors import Kd3dError
from kd3d_core.models import sparse
from kd3d_core.models.sparse import SparseConv
from kd3d_core.models.sparse import SparseEncoder
from kd3d_core.models.sparse import SparseNorm
from kd3d_core.models.sparse import load_spconv
from kd3d_core.models.sparse import output_layers
from kd3d_core.models.sparse_cost import count_pairs


@pytest.fixture
def spconv():
    """The package, where there is one that can be used."""
    pytest.importorskip("spconv", reason="spconv is not installed (pip install spconv-cu120)")
    return load_spconv()


LAYERS = {
    "submanifold": {},
    "down": {"stride": (2, 2, 2)},
    "down without padding in z": {"stride": (2, 2, 2), "padding": (0, 1, 1)},
    "flat": {"kernel": (3, 1, 1), "stride": (2, 1, 1), "padding": (0, 0, 0)},
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("count", [1, 40, 400])
def test_a_convolution_equals_the_dense_one(spconv, kind, count):
    torch.manual_seed(count)
    grid, size = (7, 10, 8), 2
    generator = torch.Generator().manual_seed(3)
    features, places = random_sites(generator, count, size, grid, 5)
    layer = SparseConv(5, 6, "x", **LAYERS[kind])
    results = []
    for run in ("sparse", "dense"):
        layer.weight.grad, inputs = None, features.clone().requires_grad_()
        if run == "sparse":
            made = layer(spconv.SparseConvTensor(inputs, places, list(grid), size))
            output, _ = scatter(made.features, made.indices, size, made.spatial_shape)
        else:
            output, _ = convolve(layer, *scatter(inputs, places, size, grid))
        pull = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
        (output * pull).sum().backward()
        results.append((output.detach(), inputs.grad, layer.weight.grad))
    for mine, wanted in zip(*results, strict=True):
        torch.testing.assert_close(mine, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("blocks", ["residual", "plain"])
@pytest.mark.parametrize("training", [True, False])
def test_the_encoder_equals_the_dense_one(spconv, blocks, training):
    torch.manual_seed(0)
    shape, size, bins = (16, 24), 2, 40
    generator = torch.Generator().manual_seed(0)
    # Doubles, because the question is the mathematics: 18 layers of floats differ by 1e-4.
    features, places = random_sites(generator, 900, size, (bins, *shape), 4)
    encoder = SparseEncoder(4, 6, bins, blocks).double().train(training)
    for name, buffer in encoder.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5, generator=generator) if "var" in name else buffer.normal_()
    dense = copy.deepcopy(encoder)
    results = []
    for network, run in ((encoder, encoder), (dense, encode_dense)):
        inputs = features.double().requires_grad_()
        arguments = (inputs, places, size, shape)
        output = network(*arguments) if run is encoder else run(network, *arguments)
        pull = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).double()
        (output * pull).sum().backward()
        results.append((output.detach(), inputs.grad, network))
    (mine, mine_grad, _), (wanted, wanted_grad, _) = results
    assert mine.shape == (size, encoder.channels, 2, 3)
    assert encoder.channels == 6 * 8 * 2
    assert wanted.abs().max() > 0.1
    torch.testing.assert_close(mine, wanted, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(mine_grad, wanted_grad, atol=1e-9, rtol=1e-7)
    for (name, a), b in zip(encoder.named_parameters(), dense.parameters(), strict=True):
        assert b.grad.abs().sum() > 0, name
        torch.testing.assert_close(a.grad, b.grad, atol=1e-8, rtol=1e-6, msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_graphics_card_gives_what_the_cpu_gives(spconv):
    torch.manual_seed(0)
    features, places = random_sites(torch.Generator().manual_seed(5), 900, 2, (40, 16, 24), 4)
    encoder = SparseEncoder(4, 8, 40).train()
    other = copy.deepcopy(encoder).cuda()
    results = []
    for network, device in ((encoder, "cpu"), (other, "cuda")):
        output = network(features.to(device), places.to(device), 2, (16, 24))
        output.square().mean().backward()
        results.append([output, *(p.grad for p in network.parameters())])
    for mine, wanted in zip(*results, strict=True):
        difference = (mine.detach() - wanted.detach().cpu()).abs().max()
        assert difference <= 1e-2 * mine.abs().max()  # the card may multiply in TF32


def test_order_of_the_voxels_does_not_matter(spconv):
    generator = torch.Generator().manual_seed(2)
    features, places = random_sites(generator, 500, 2, (24, 16, 16), 4)
    encoder = SparseEncoder(4, 4, 24).eval()
    shuffle = torch.randperm(500, generator=generator)
    with torch.no_grad():
        first = encoder(features, places, 2, (16, 16))
        second = encoder(features[shuffle], places[shuffle], 2, (16, 16))
    torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-5)


def test_layers_that_the_strides_leave():
    assert [output_layers(bins) for bins in (23, 24, 39, 40, 55, 56)] == [0, 1, 1, 2, 2, 3]


def test_width_scales_all_stages():
    full, half = SparseEncoder(4, 16, 40), SparseEncoder(4, 8, 40)
    assert (full.channels, half.channels) == (256, 128)
    # SpMiddleResNetFHD with four inputs: its convolutions, without the biases before batch norm.
    convolutions = sum(m.weight.numel() for m in full.modules() if isinstance(m, SparseConv))
    assert convolutions == 27 * (
        4 * 16 + 4 * 16**2 + 16 * 32 + 4 * 32**2 + 32 * 64 + 4 * 64**2 + 64 * 128 + 4 * 128**2
    ) + 3 * 128**2  # fmt: skip
    halved = sum(m.weight.numel() for m in half.modules() if isinstance(m, SparseConv))
    assert halved == (convolutions - 27 * 64) // 4 + 27 * 32


def test_pairs_are_those_of_the_dense_kernel(spconv):
    grid = (5, 6, 7)
    features, places = random_sites(torch.Generator().manual_seed(0), 60, 1, grid, 3)
    _, mask = scatter(features, places, 1, grid)
    ones = torch.ones(1, 1, 3, 3, 3)
    met = torch.nn.functional.conv3d(mask, ones, padding=1)
    tensor = spconv.SparseConvTensor(features, places, list(grid), 1)
    assert count_pairs(SparseConv(3, 2, "a")(tensor), "a") == (met * mask).sum()
    strided = torch.nn.functional.conv3d(mask, ones, padding=1, stride=2)
    assert count_pairs(SparseConv(3, 2, "b", stride=(2, 2, 2))(tensor), "b") == strided.sum()


def test_one_site_trains():
    norm = SparseNorm(3).train()
    norm(torch.randn(1, 3)).sum().backward()
    assert norm.num_batches_tracked == 0
    norm(torch.randn(2, 3))
    assert norm.num_batches_tracked == 1


def test_without_spconv_a_network_is_built_but_does_not_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "spconv", None)
    monkeypatch.setitem(sys.modules, "spconv.pytorch", None)
    encoder = SparseEncoder(4, 4, 24)
    features, places = random_sites(torch.Generator(), 10, 1, (24, 8, 8), 4)
    with pytest.raises(Kd3dError, match=r"needs spconv.*kd3d_ros\[gpu\]"):
        encoder(features, places, 1, (8, 8))


def test_the_cpu_only_build_is_refused(spconv, monkeypatch):
    monkeypatch.setattr(sys.modules["spconv.cppconstants"], "CPU_ONLY_BUILD", True)
    with pytest.raises(Kd3dError, match=r"CPU-only build.*pip uninstall spconv"):
        sparse.load_spconv()
