"""A network on voxels in two parts: spconv encodes, a compiled graph does the rest.

The sparse encoder has no ONNX operator, so such a network has no bundle. Its dense part, which is
most of a large one's work, is a graph like any other: this module exports it, compiles it with any
backend, and feeds it with the map that spconv makes. On a GPU with TensorRT the map stays where it
is. It needs torch, so it is for servers and large robots, not for the node.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import Protocol
from typing import cast
from typing import runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch import nn

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.layout import decode_outputs
from kd3d_core.deployment.float16 import to_fp16
from kd3d_core.deployment.onnx_export import output_names
from kd3d_core.deployment.onnx_export import trace
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import collate
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.base import Backend
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.manifest import Signature
from kd3d_core.training.checkpoint import load_model

#: The input of the dense graph: the encoder's map (1, channels, rows / 8, columns / 8) float32.
MAP = "map"


class BoundNetwork(Protocol):
    """A compiled graph that is told where its inputs and outputs lie."""

    def bind(self, name: str, address: int) -> None:
        """Take an input or output there from the next pass on."""
        ...

    def enqueue(self) -> None:
        """Queue a pass."""
        ...


@runtime_checkable
class StreamBackend(Protocol):
    """A backend that can work on torch's stream and in torch's memory."""

    def network_on(self, stream: int) -> BoundNetwork:
        """The graph on a stream, told as the number that CUDA knows it by."""
        ...


class DensePart(nn.Module):
    """Backbone, neck and head of a detector, for ONNX."""

    def __init__(self, detector: CenterPointDetector) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = detector.backbone, detector.neck, detector.head

    def forward(self, canvas: Tensor) -> tuple[Tensor, ...]:
        """The encoder's map (1, C, H, W) to the maps of the head, in the order of the graph."""
        return cast(tuple[Tensor, ...], self.head(self.neck(self.backbone(canvas))).as_tuple())


def export_dense(detector: CenterPointDetector) -> bytes:
    """The dense part of a detector on voxels as a serialised ONNX model.

    Args:
        detector: Its weights; put into evaluation mode here, and left in it.

    Returns:
        One input, `MAP`, and the outputs of `output_channels`, all of fixed shapes.

    Raises:
        Kd3dError: The network does not take voxels, so it can be exported whole.
    """
    config = detector.config
    if not isinstance(config.input, VoxelInput):
        raise Kd3dError(
            f"the model {config.name} takes no voxels and needs no splitting: export it whole "
            "with `kd3d_core export`."
        )
    rows, columns = (cells // config.encoder_stride for cells in config.grid.shape)
    example = torch.rand(1, detector.encoder.channels, rows, columns)
    part = DensePart(detector.eval().cpu()).eval()
    return trace(part, (example,), (MAP,), output_names(config), ({},))


class SplitDetector:
    """A detector on voxels whose dense part is compiled. Not for several threads at once."""

    def __init__(
        self,
        detector: CenterPointDetector,
        backend: Backend,
        decode: DecodeConfig = DecodeConfig(score_threshold=0.3),  # noqa: B008 - frozen
        device: str = "cpu",
    ) -> None:
        """Join the parts.

        Args:
            detector: On voxels.
            backend: Made from its `export_dense`.
            decode: How maps become boxes.
            device: Where spconv works, "cpu" or "cuda". With a backend of the GPU the map stays
                there.

        Raises:
            Kd3dError: The backend was made from something else.
        """
        self._config = detector.config
        self._encoder = detector.encoder.eval().to(device)
        self._backend, self._decode, self._device = backend, decode, device
        if set(backend.inputs) != {MAP} or set(backend.outputs) != set(output_names(self._config)):
            raise Kd3dError(
                f"the graph does not belong to {self._config.name}: it has the inputs "
                f"{', '.join(backend.inputs)}; make it with `export_dense`."
            )
        self._bound: BoundNetwork | None = None
        self._maps: dict[str, Tensor] = {}
        if isinstance(backend, StreamBackend):
            self._bind(backend, backend.outputs)

    def __call__(self, cloud: PointCloud) -> Boxes3D:
        """Detect objects in one cloud, in the cloud's frame, by falling score.

        Raises:
            Kd3dError: spconv is not installed, or the backend fails.
        """
        config = self._config
        fed = encode(cloud.points, config.grid, config.input, cloud.time)
        if fed.points_in_range == 0:
            return Boxes3D.empty(config.classes)
        with torch.inference_mode():
            canvas = self._encoder(collate([fed]).to(self._device)).float().contiguous()
            maps = self._dense(canvas)
        return decode_outputs(
            maps,
            config.head.layout,
            config.grid,
            config.output_stride,
            config.classes,
            self._decode,
        )

    def _bind(self, backend: StreamBackend, outputs: Signature) -> None:
        """Let the graph write into memory of torch."""
        stream = torch.cuda.current_stream().cuda_stream if self._device == "cuda" else 0
        self._bound = backend.network_on(stream)
        for name in output_names(self._config):
            shape = cast(tuple[int, ...], outputs[name])
            self._maps[name] = torch.zeros(shape, device=self._device)
            self._bound.bind(name, self._maps[name].data_ptr())

    def _dense(self, canvas: Tensor) -> Sequence[NDArray[Any]]:
        """Maps (C, H, W) of the encoder's map."""
        if self._bound is None:
            return [each[0] for each in self._backend.run({MAP: canvas.cpu().numpy()})]
        self._bound.bind(MAP, canvas.data_ptr())
        self._bound.enqueue()  # on torch's stream, so after the encoder and before the copies
        return [np.asarray(each[0].cpu().numpy()) for each in self._maps.values()]


def load_split(
    checkpoint: Path | str,
    backend: str = "auto",
    *,
    decode: DecodeConfig = DecodeConfig(score_threshold=0.3),  # noqa: B008 - frozen
    half: bool = False,
    cache_dir: str | None = None,
) -> SplitDetector:
    """Read a checkpoint of a network on voxels and compile its dense part.

    Args:
        checkpoint: Of `kd3d_core train` or `distill`.
        backend: See `make_backend`; with "tensorrt" or "tensorrt-rtx" spconv works on the GPU too.
        decode: How maps become boxes.
        half: Run the dense part in float16 (TensorRT).
        cache_dir: See `make_backend`.

    Raises:
        Kd3dError: The checkpoint is unreadable or takes no voxels, or the backend is missing.
    """
    _, detector = load_model(checkpoint)
    graph = export_dense(detector)
    made = make_backend(backend, to_fp16(graph) if half else graph, cache_dir=cache_dir)
    device = "cuda" if isinstance(made, StreamBackend) else "cpu"
    return SplitDetector(detector, made, decode, device)
