"""SECOND's middle encoder on full grids: what the sparse one must equal.

Every tensor is a pair of dense features (B, C, D, H, W), 0 where no site is active, and a mask
(B, 1, D, H, W) of the active sites.
"""

import torch
from torch.nn import functional

from kd3d_core.models.sparse import SparseConvNorm
from kd3d_core.models.sparse import SparseResidual


def scatter(features, coordinates, size, grid):
    """Sites (V, C) at (V, 4) to dense features and mask."""
    batch, z, y, x = coordinates.long().unbind(1)
    dense = features.new_zeros(size, *grid, features.shape[1])
    dense = dense.index_put((batch, z, y, x), features)
    mask = features.new_zeros(size, 1, *grid)
    mask[batch, 0, z, y, x] = 1
    return dense.permute(0, 4, 1, 2, 3), mask


def convolve(layer, dense, mask):
    """One convolution: a site of the output is active as `SparseConv` says."""
    weight = layer.weight.permute(0, 4, 1, 2, 3)
    if layer.stride is None:
        padding = [extent // 2 for extent in layer.kernel]
        return functional.conv3d(dense, weight, padding=padding) * mask, mask
    options = {"stride": layer.stride, "padding": layer.padding}
    found = functional.conv3d(mask, mask.new_ones(1, 1, *layer.kernel), **options)
    mask = (found > 0).to(mask.dtype)
    return functional.conv3d(dense, weight, **options) * mask, mask


def normalise(norm, dense, mask):
    """Batch norm over the active sites."""
    where = mask[:, 0].bool()
    sites = dense.permute(0, 2, 3, 4, 1)[where]
    sites = functional.batch_norm(
        sites, norm.running_mean.clone(), norm.running_var.clone(), norm.weight, norm.bias,
        training=norm.training, eps=norm.eps,
    )  # fmt: skip
    out = dense.new_zeros(dense.permute(0, 2, 3, 4, 1).shape)
    return out.masked_scatter(where[..., None].expand_as(out), sites).permute(0, 4, 1, 2, 3)


def conv_norm(module, dense, mask):
    dense, mask = convolve(module.conv, dense, mask)
    dense = normalise(module.norm, dense, mask)
    return (dense.relu() if module.relu else dense), mask


def encode_dense(encoder, features, coordinates, size, shape):
    """`SparseEncoder.forward` on full grids, with its weights."""
    dense, mask = scatter(features, coordinates, size, (encoder.depth, *shape))
    for module in encoder.layers:
        if isinstance(module, SparseResidual):
            changed, _ = conv_norm(module.first, dense, mask)
            changed, _ = conv_norm(module.second, changed, mask)
            dense = (changed + dense).relu()
        else:
            assert isinstance(module, SparseConvNorm)
            dense, mask = conv_norm(module, dense, mask)
    return dense.flatten(1, 2)


def random_sites(generator, count, size, grid, channels):
    """(count, channels) features at distinct random places of `size` grids; none is empty."""
    cells = torch.tensor([size, *grid]).prod().item()
    flat = torch.randperm(cells, generator=generator)[:count]
    places = torch.stack(torch.unravel_index(flat, (size, *grid)), dim=1).int()
    return torch.randn(count, channels, generator=generator), places
