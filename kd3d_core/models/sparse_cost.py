"""What the sparse part of a network costs: it depends on the cloud."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.sparse import SparseConv
from kd3d_core.models.sparse import SparseTensor


def count_pairs(tensor: SparseTensor, key: str) -> int:
    """Pairs of an input and an output site that the convolutions called `key` join.

    Args:
        tensor: Output of such a convolution.
        key: Of its rulebook.
    """
    rules: Any = tensor.find_indice_pair(key)
    # spconv keeps one table for each algorithm; -1 is a site without a partner.
    table = rules.indice_pairs[0] if hasattr(rules, "indice_pairs") else rules.pair_fwd
    return int((table >= 0).sum())


def sparse_macs(network: nn.Module, batch: NetworkBatch) -> dict[str, int]:
    """Multiply-accumulates of each sparse convolution of a network for one cloud of a batch.

    Every pair of an input and an output site under the kernel meets (inputs, outputs) weights
    once. The count is that of the clouds in `batch`, divided by their number.

    Args:
        network: A detector on voxels, or its encoder.
        batch: Voxels of real clouds.

    Returns:
        By the name of the layer, in the order in which they run; empty for other networks.

    Raises:
        Kd3dError: spconv is not installed.
    """
    macs: dict[str, int] = {}

    def recorder(name: str) -> Callable[..., None]:
        def record(layer: SparseConv, inputs: tuple[Any, ...], output: SparseTensor) -> None:
            outputs, *_, inner = layer.weight.shape
            macs[name] = count_pairs(output, layer.key) * inner * outputs // batch.size

        return record

    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, SparseConv)]
    if not layers:
        return macs
    hooks = [module.register_forward_hook(recorder(name)) for name, module in layers]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(batch)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return macs
