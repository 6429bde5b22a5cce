"""TensorRT and TensorRT for RTX on an NVIDIA GPU.

Building engines is tested for real without a GPU (`tensorrt_rtx`), and so are the kernels before
and after the network, compiled for the CPU. **Running on a GPU is written by the documented API
and has not been done yet**: none was at hand, and no figure of it is claimed.

A graph's own types are its arithmetic: `kd3d_core compile` writes bundles in fp16 and int8.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.codec.heads import output_order
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends.cuda_compile import obtain_kernels
from kd3d_core.runtime.backends.cuda_gpu import CudaGpu
from kd3d_core.runtime.backends.cuda_pipeline import PointPipeline
from kd3d_core.runtime.backends.trt_build import BuildRequest
from kd3d_core.runtime.backends.trt_build import make_logger
from kd3d_core.runtime.backends.trt_build import obtain_engine
from kd3d_core.runtime.backends.trt_cache import default_folder
from kd3d_core.runtime.backends.trt_context import EngineContext
from kd3d_core.runtime.backends.trt_device import device_architecture
from kd3d_core.runtime.backends.trt_module import load_module
from kd3d_core.runtime.manifest import Manifest
from kd3d_core.runtime.manifest import Signature


class TensorRtBackend:
    """An engine, and two ways to run it; see `Backend`.

    `point_pipeline` takes points and gives boxes, all on the GPU: what a `Detector` uses. `run`
    takes what the codec made on the CPU and gives maps, for comparisons.

    Attributes:
        name: "tensorrt" or "tensorrt-rtx".
        precision: The graph's arithmetic: "f32", "fp16" or "int8".
        cached: Whether the engine was found on disk.
        note: What the user should know about the engine, or empty.
    """

    channels_last = False
    reason = ""

    def __init__(
        self,
        name: str,
        onnx: bytes,
        precision: str = "f32",
        cache_dir: str | None = None,
        largest: int = 20000,
    ) -> None:
        """Load the kept engine, or build it.

        Args:
            name: "tensorrt" or "tensorrt-rtx".
            onnx: The serialised graph.
            precision: "f32" computes float32 exactly, "auto" may round it to TF32.
            cache_dir: Where engines are kept; None takes `trt_cache.default_folder`.
            largest: The most pillars there can be.

        Raises:
            Kd3dError: The library or a GPU is missing, or the graph cannot be built.
        """
        if precision == "bf16":
            raise Kd3dError(
                "precision bf16 is not for TensorRT, which takes the arithmetic of the bundle: "
                "make one with `kd3d_core compile MODEL --precision fp16`."
            )
        self._module = module = load_module(name)
        self._architecture = device_architecture()
        self._folder = default_folder() if cache_dir is None else Path(cache_dir)
        request = BuildRequest(onnx, self._architecture, precision, largest)
        self.name = name
        self._largest = largest
        self._messages: list[str] = []
        trt = module.library
        self._runtime = trt.Runtime(make_logger(trt, self._messages))
        built = obtain_engine(module, request, self._folder)
        engine = self._runtime.deserialize_cuda_engine(built.content)
        if engine is None and built.cached:  # whole, but the driver or library has changed
            built = obtain_engine(module, request, self._folder, renew=True)
            engine = self._runtime.deserialize_cuda_engine(built.content)
        if engine is None:
            raise Kd3dError(f"{name} cannot load its engine: {'; '.join(self._messages[-2:])}")
        self.cached = built.cached
        self.note = built.note
        self.precision = {"fp32": "f32"}.get(built.arithmetic, built.arithmetic)
        self._engine = engine
        self._gpu = CudaGpu()
        self._context = self._make_context(self._gpu, self._gpu.stream)
        self._buffers: dict[str, NDArray[Any]] = {}
        self._pipelines: list[PointPipeline] = []

    @property
    def inputs(self) -> Signature:
        """Names and shapes of the graph's inputs."""
        return self._context.inputs

    @property
    def outputs(self) -> Signature:
        """Names and shapes of the graph's outputs."""
        return self._context.outputs

    def point_pipeline(self, manifest: Manifest) -> PointPipeline | None:
        """The way from points to boxes; see `PointBackend`."""
        try:
            gpu = CudaGpu(obtain_kernels(self._architecture, self._folder))
        except Kd3dError as error:
            self.note = "; ".join(filter(None, (self.note, f"points go by the CPU: {error}")))
            return None
        network = self._make_context(gpu, gpu.stream)
        self._pipelines.append(PointPipeline(gpu, network, manifest))
        return self._pipelines[-1]

    def network_on(self, stream: int) -> EngineContext:
        """The engine on a stream of another library, whose memory it can be bound to.

        Args:
            stream: As the number that CUDA knows it by.
        """
        return self._make_context(self._gpu, stream)

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """One forward pass; see `Backend.run`."""
        places = self._context.addresses
        for name, array in arrays.items():
            part = self._buffer(name)[: array.size]
            part[:] = array.ravel()  # TensorRT 8.6 makes int64 inputs int32; cells fit
            self._gpu.upload(places[name], part)
            if None in self.inputs[name]:
                self._context.set_shape(name, array.shape)
        self._context.enqueue()
        names = output_order(self.outputs)
        for name in names:
            self._gpu.download(self._buffer(name), places[name])
        self._gpu.wait(self._gpu.mark())
        # Copied out of the buffer that the next pass overwrites.
        return tuple(
            np.array(self._buffer(name), np.float32).reshape(self._context.shape(name))
            for name in names
        )

    def close(self) -> None:
        """Give the GPU's memory back; neither backend nor pipelines must be used after."""
        for pipeline in self._pipelines:
            pipeline.close()
        self._gpu.close()
        self._pipelines, self._buffers = [], {}

    def _make_context(self, gpu: CudaGpu, stream: int) -> EngineContext:
        """The engine on a stream, in memory of its own."""
        return EngineContext(
            self._module, self._engine, gpu, stream, self._largest, self._messages
        )

    def _buffer(self, name: str) -> NDArray[Any]:
        """Page-locked memory for the largest shape of an input or output."""
        if name not in self._buffers:
            shape = (self.inputs | self.outputs)[name]
            elements = int(np.prod([self._largest if n is None else n for n in shape]))
            self._buffers[name] = self._gpu.pinned(elements, self._context.dtype(name))
        return self._buffers[name]
