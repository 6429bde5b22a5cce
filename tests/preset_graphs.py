"""The presets' own graphs, with all their layers and widths, on a grid small enough for tests."""

import functools

import numpy as np

from kd3d_core.codec.grid import PillarInput
from kd3d_core.deployment.onnx_export import export_onnx
from kd3d_core.models.detector import build_detector
from kd3d_core.models.presets import preset
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import sha256
from kd3d_core.runtime.manifest import Manifest

EXTENT = (-5.12, 5.12)


@functools.cache
def bundle(name: str) -> Bundle:
    """The bundle of a preset with drawn weights, on 32 x 32 cells; traced once a process."""
    import torch

    config = preset(name)
    grid = config.grid.model_copy(update={"x": EXTENT, "y": EXTENT})
    config = config.model_copy(update={"grid": grid})
    torch.manual_seed(0)
    network = build_detector(config)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight)
    graph = export_onnx(config, network)
    manifest = Manifest(
        name=name,
        classes=config.classes,
        grid=grid,
        input=config.input,
        output_stride=config.output_stride,
        head=config.head.layout,
        onnx_sha256=sha256(graph),
    )
    return Bundle(manifest, graph)


def clouds(count: int = 3) -> list[PointCloud]:
    """Random points, a different number in each."""
    generator = np.random.default_rng(0)
    return [
        PointCloud.from_arrays(
            generator.uniform((-5, -5, -3), (5, 5, 2), (1500 + 900 * i, 3)),
            generator.uniform(size=1500 + 900 * i),
        )
        for i in range(count)
    ]


def is_pillars(found: Bundle) -> bool:
    """Whether the bundle takes pillars."""
    return isinstance(found.manifest.input, PillarInput)
