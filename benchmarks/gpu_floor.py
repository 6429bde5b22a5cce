"""The least time that a chip could take for a network: what it must multiply and must move.

Two floors. "once": everything multiplied at the chip's peak, or the weights, the input and the
outputs moved once, whichever takes longer: no program can be faster. "by layer": the sum over the
layers of the longer of both, each layer's maps moved in and out: what separate layers cost that
run as well as the chip can, unless its cache keeps the maps.

The chip's rates are measured in the same run: a large copy (bytes read and written), a large
matrix product.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.models.encoders import PillarEncoder

#: Bytes of a number, and whether it is multiplied as float16, by precision.
BYTES = {"f32": 4, "tf32": 4, "f16": 2}


@dataclass(frozen=True)
class Ceilings:
    """What the chip reached.

    Attributes:
        bandwidth: Bytes a second, read and written, of a copy within its memory.
        upload: Bytes a second from page-locked memory to the chip.
        rate: Multiply-accumulates a second of a matrix product, by precision.
    """

    bandwidth: float
    upload: float
    rate: dict[str, float]


@dataclass(frozen=True)
class Floor:
    """Milliseconds; see the text of this module.

    Attributes:
        arithmetic: Of all layers.
        once: Of the whole.
        layers: By layer.
        macs: Multiply-accumulates.
        moved: Bytes, layer by layer.
    """

    arithmetic: float
    once: float
    layers: float
    macs: int
    moved: int


def timed(work: Callable[[], Any], device: str, passes: int) -> float:
    """Seconds of the quickest of some passes."""
    best = float("inf")
    for _ in range(passes):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return best


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def measure_ceilings(device: str, quick: bool) -> Ceilings:
    """Measure the chip, a second or two."""
    size, edge, repeats = (1 << 22, 256, 1) if quick else (1 << 29, 8192, 10)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copies() -> None:
        for _ in range(repeats):
            target.copy_(source)

    bandwidth = 2 * size * repeats / timed(copies, device, 3)
    here = torch.zeros(min(size, 1 << 26), dtype=torch.uint8, pin_memory=device == "cuda")
    there = torch.empty_like(here, device=device)
    upload = len(here) / timed(lambda: there.copy_(here, non_blocking=True), device, 5)
    rate = {}
    for precision in ("f32", "tf32", "f16"):
        if device == "cpu" and precision != "f32":
            continue
        kind = torch.float16 if precision == "f16" else torch.float32
        factors = [torch.randn(edge, edge, device=device, dtype=kind) for _ in range(2)]
        with arithmetic(precision):

            def products(factors: list[torch.Tensor] = factors) -> None:
                for _ in range(repeats):
                    torch.mm(*factors)

            rate[precision] = edge**3 * repeats / timed(products, device, 4)
    return Ceilings(bandwidth, upload, rate)


class arithmetic:  # noqa: N801 - a context, as torch writes them
    """Float32 products are rounded to TF32, or not, while this lasts."""

    def __init__(self, precision: str) -> None:
        self.allowed = precision != "f32"

    def __enter__(self) -> None:
        self.before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        torch.backends.cuda.matmul.allow_tf32 = self.allowed
        torch.backends.cudnn.allow_tf32 = self.allowed

    def __exit__(self, *error: object) -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self.before


def network_floor(
    detector: CenterPointDetector, inputs: tuple[torch.Tensor, ...], precision: str, chip: Ceilings
) -> Floor:
    """Count a network, layer by layer.

    Args:
        detector: In evaluation mode.
        inputs: Those of its graph, for one cloud.
        precision: "f32", "tf32" or "f16"; a pillar encoder stays in float32.
        chip: Its rates.
    """
    work: list[tuple[int, float, float]] = []  # multiply-accumulates, their seconds, bytes

    def count(module: nn.Module, given: tuple[Any, ...], output: torch.Tensor) -> None:
        if isinstance(module, PillarEncoder):
            pillars = given[0].pillars
            macs = module.linear.weight.numel() * pillars.shape[0] * pillars.shape[1]
            moved = 4 * (pillars.numel() + module.linear.weight.numel() + output.numel())
            work.append((macs, macs / chip.rate["f32"], moved))
            return
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        across = given[0] if isinstance(module, nn.ConvTranspose2d) else output
        macs = weight.numel() * across[0, 0].numel()
        moved = BYTES[precision] * (given[0].numel() + weight.numel() + output.numel())
        work.append((macs, macs / chip.rate[precision], moved))

    kinds = (nn.Conv2d, nn.ConvTranspose2d, PillarEncoder)
    hooks = [m.register_forward_hook(count) for m in detector.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        outputs = detector.exportable().eval()(*inputs)
    for hook in hooks:
        hook.remove()
    weights = sum(parameter.numel() for parameter in detector.parameters())
    edges = sum(each.numel() for each in (*inputs, *outputs))
    least = (BYTES[precision] * weights + 4 * edges) / chip.bandwidth
    multiplied = sum(seconds for _, seconds, _ in work)
    layered = sum(max(seconds, moved / chip.bandwidth) for _, seconds, moved in work)
    return Floor(
        arithmetic=1e3 * multiplied,
        once=1e3 * max(multiplied, least),
        layers=1e3 * layered,
        macs=sum(macs for macs, _, _ in work),
        moved=sum(moved for _, _, moved in work),
    )
