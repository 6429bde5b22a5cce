"""The networks that `gpu_latency.py` times: presets with drawn weights, and forms of them."""

import copy
from functools import cached_property
from typing import Any
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import decode
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.inputs import encode
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.models.detector import build_detector
from kd3d_core.models.head import CenterHead
from kd3d_core.models.head import last_layers
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import sha256
from kd3d_core.runtime.manifest import Manifest

#: Peaks of the first cloud that enter suppression: about those of a busy street.
PEAKS = 200


class Subject:
    """A network with drawn weights, and what is needed to run it in many ways.

    Weights do not change how long it takes; the thresholds are set so that about `PEAKS` peaks of
    the first cloud enter suppression.
    """

    def __init__(self, config: ModelConfig, device: str, clouds: list[np.ndarray]) -> None:
        """Build and tame the network."""
        self.config, self.device, self.clouds = config, device, clouds
        torch.manual_seed(0)
        detector = build_detector(config).eval()
        for module in detector.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)
        head = cast(CenterHead, detector.head)
        for layer in last_layers(head):
            layer.weight.data *= 0.1
        size = cast(nn.Conv2d, head.outputs["size"])
        assert size.bias is not None
        size.bias.data[:] = torch.tensor([4.0, 1.8, 1.6]).log()
        self.detector = detector.to(device)
        heat = cast(nn.Conv2d, head.outputs["heatmap"])
        heat.weight.data /= self.maps(self.detector, clouds[0])[0].std()
        everything = DecodeConfig(score_threshold=0.0, pre_nms=PEAKS, max_boxes=10**6)
        found = self.boxes(self.maps(self.detector, clouds[0]), everything)
        self.decode = DecodeConfig(score_threshold=float(found.score.min()))
        self.manifest = Manifest(
            name=config.name,
            classes=config.classes,
            grid=config.grid,
            input=cast(Any, config.input),
            output_stride=config.output_stride,
            head=config.head.layout,
            decode=self.decode,
        )

    def inputs(self, points: np.ndarray) -> tuple[torch.Tensor, ...]:
        """What the network takes of a cloud, made by the CPU, on the device."""
        arrays = encode(points, self.config.grid, self.config.input).arrays
        batched = [a[None] if name == "image" else a for name, a in arrays.items()]
        return tuple(torch.from_numpy(each).to(self.device) for each in batched)

    def maps(self, network: nn.Module, points: np.ndarray) -> list[torch.Tensor]:
        """Maps (1, C, H, W) of a cloud."""
        module = network.exportable() if isinstance(network, CenterPointDetector) else network
        with torch.no_grad():
            return list(module(*self.inputs(points)))

    def boxes(self, maps: list[torch.Tensor], settings: DecodeConfig | None = None) -> Boxes3D:
        """Boxes of maps (1, C, H, W) on the device, read by the CPU."""
        arrays = HeadMaps(*(each[0].cpu().numpy() for each in maps))
        config = self.config
        return decode(
            arrays, config.grid, config.output_stride, config.classes, settings or self.decode
        )

    @cached_property
    def bundle(self) -> Bundle:
        """The network as a graph."""
        from kd3d_core.deployment.onnx_export import export_onnx

        onnx = export_onnx(self.config, copy.deepcopy(self.detector).cpu())
        return Bundle(self.manifest.model_copy(update={"onnx_sha256": sha256(onnx)}), onnx)

    def network(self, precision: str) -> nn.Module:
        """The network for inference: batch norms folded, channels last, in a precision."""
        return Network(self.detector, torch.float16 if precision == "f16" else torch.float32)


class Network(nn.Module):
    """A detector whose batch norms are folded; a pillar encoder stays in float32."""

    def __init__(self, detector: CenterPointDetector, kind: torch.dtype) -> None:
        """Copy and convert.

        Args:
            detector: In evaluation mode.
            kind: Of the arithmetic.
        """
        super().__init__()
        own = fold_norms(copy.deepcopy(detector).eval())
        self.kind = kind
        self.pillars = isinstance(own.config.input, PillarInput)
        self.encoder = own.encoder if self.pillars else own.encoder.to(kind)
        self.rest = nn.Sequential(own.backbone, own.neck, own.head)
        self.rest.to(dtype=kind, memory_format=torch.channels_last)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Inputs of the graph to its outputs."""
        if self.pillars:
            batch = NetworkBatch(1, pillars=inputs[0], cells=inputs[1])
        else:
            image = inputs[0].to(self.kind)
            batch = NetworkBatch(1, image=image.contiguous(memory_format=torch.channels_last))
        maps = self.rest(self.encoder(batch).to(self.kind))
        return tuple(each.float() for each in maps.as_tuple())


def fold_norms(detector: CenterPointDetector) -> CenterPointDetector:
    """Put each batch norm into the convolution before it, in place."""
    for block in [m for m in detector.modules() if isinstance(m, nn.Sequential)]:
        if len(block) == 3 and isinstance(block[1], nn.BatchNorm2d):
            across = isinstance(block[0], nn.ConvTranspose2d)
            block[0] = fuse_conv_bn_eval(cast(Any, block[0]), block[1], transpose=across)
            block[1] = nn.Identity()
    return detector


def small(config: ModelConfig) -> ModelConfig:
    """The same layers on 32 x 32 cells."""
    reach = 16 * config.grid.cell
    grid = config.grid.model_copy(update={"x": (-reach, reach), "y": (-reach, reach)})
    changes: dict[str, Any] = {"grid": grid}
    if isinstance(config.input, PillarInput):
        changes["input"] = config.input.model_copy(update={"max_pillars": 1100})
    return config.model_copy(update=changes)


def synthetic(seed: int, beams: int, steps: int) -> np.ndarray:
    """A sweep 1.73 m above a plane among walls and cars: (beams * steps, 4) float32."""
    generator = np.random.default_rng(seed)
    elevation = np.radians(np.linspace(-24.8, 2.0, beams))[:, None]
    azimuth = np.linspace(-np.pi, np.pi, steps, endpoint=False)[None]
    # Piecewise constant distances of what stands around, a third of it near by.
    pieces = generator.integers(0, 90, steps // 20 + 1).repeat(20)[:steps]
    near, far = generator.uniform(4, 20, 90), generator.uniform(15, 90, 90)
    places = np.where(generator.random(90) < 0.33, near, far)
    wall = places[pieces][None] / np.cos(elevation)
    ground = np.where(elevation < -0.01, 1.73 / np.maximum(np.sin(-elevation), 0.01), 1e9)
    reach = np.minimum(wall, ground) + generator.normal(0, 0.02, (beams, steps))
    flat = reach * np.cos(elevation)
    intensity = generator.random((beams, steps))
    columns = (
        flat * np.cos(azimuth),
        flat * np.sin(azimuth),
        reach * np.sin(elevation),
        intensity,
    )
    return np.stack([each.T.ravel() for each in columns], axis=1).astype(np.float32)
