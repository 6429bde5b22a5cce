"""TensorRT and TensorRT for RTX on an NVIDIA GPU.

Building engines is tested for real without a GPU (`tensorrt_rtx`). **Running them is written by
the documented API and has not been run yet**: no GPU was at hand, and no figure of it is claimed.

A graph's own types are its arithmetic: `kd3d_core compile` writes bundles in fp16 and int8.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.codec.heads import output_order
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends.trt_build import BuildRequest
from kd3d_core.runtime.backends.trt_build import make_logger
from kd3d_core.runtime.backends.trt_build import obtain_engine
from kd3d_core.runtime.backends.trt_cache import default_folder
from kd3d_core.runtime.backends.trt_device import PinnedBuffer
from kd3d_core.runtime.backends.trt_device import checked
from kd3d_core.runtime.backends.trt_device import cuda_runtime
from kd3d_core.runtime.backends.trt_device import device_architecture
from kd3d_core.runtime.backends.trt_module import load_module
from kd3d_core.runtime.manifest import Signature


class TensorRtBackend:
    """An engine with its buffers on one stream; see `Backend`.

    Where all shapes are fixed, the copies and kernels of a pass are recorded as one CUDA graph in
    the second pass and replayed from then on. With a free number of pillars each pass is queued
    anew, because a graph holds for one shape.

    Attributes:
        name: "tensorrt" or "tensorrt-rtx".
        precision: The graph's arithmetic: "f32", "fp16" or "int8".
        cached: Whether the engine was found on disk.
        note: What the user should know about the engine, or empty.
    """

    channels_last = False

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
        module = load_module(name)
        folder = default_folder() if cache_dir is None else Path(cache_dir)
        request = BuildRequest(onnx, device_architecture(), precision, largest)
        self.name = name
        self._messages: list[str] = []
        self._trt = module.library
        self._runtime = self._trt.Runtime(make_logger(self._trt, self._messages))
        built = obtain_engine(module, request, folder)
        engine = self._runtime.deserialize_cuda_engine(built.content)
        if engine is None and built.cached:  # whole, but the driver or library has changed
            built = obtain_engine(module, request, folder, renew=True)
            engine = self._runtime.deserialize_cuda_engine(built.content)
        if engine is None:
            raise Kd3dError(f"{name} cannot load its engine: {'; '.join(self._messages[-2:])}")
        self.cached = built.cached
        self.note = built.note
        self.precision = {"fp32": "f32"}.get(built.arithmetic, built.arithmetic)
        self._engine = engine
        self._context = engine.create_execution_context()
        self._cuda = cuda_runtime()
        self._stream = checked(self._cuda.cudaStreamCreate())
        shapes = self.inputs | self.outputs
        self._fixed = all(size is not None for shape in shapes.values() for size in shape)
        self._buffers = {n: self._make_buffer(n, shape, largest) for n, shape in shapes.items()}
        self._names = output_order(self.outputs)
        self._passes = 0
        self._graph: Any = None

    @property
    def inputs(self) -> Signature:
        """Names and shapes of the graph's inputs."""
        return self._signature(self._trt.TensorIOMode.INPUT)

    @property
    def outputs(self) -> Signature:
        """Names and shapes of the graph's outputs."""
        return self._signature(self._trt.TensorIOMode.OUTPUT)

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """One forward pass; see `Backend.run`."""
        for name, array in arrays.items():
            # TensorRT 8.6 makes int64 inputs int32; cells fit.
            self._buffers[name].host[: array.size] = array.ravel()
            if not self._fixed:
                self._context.set_input_shape(name, array.shape)
        sizes = {name: array.size for name, array in arrays.items()}
        if self._graph is not None:
            checked(self._cuda.cudaGraphLaunch(self._graph, self._stream))
        elif self._fixed and self._passes == 1:
            # The first pass was queued plainly: libraries set themselves up in it.
            self._graph = self._record(sizes)
            checked(self._cuda.cudaGraphLaunch(self._graph, self._stream))
        else:
            self._enqueue(sizes)
        self._passes += 1
        checked(self._cuda.cudaStreamSynchronize(self._stream))
        return tuple(self._result(name) for name in self._names)

    def close(self) -> None:
        """Give the GPU's memory back; the backend must not be used after."""
        if self._graph is not None:
            self._cuda.cudaGraphExecDestroy(self._graph)
            self._graph = None
        self._context = self._engine = None
        for buffer in self._buffers.values():
            buffer.free()
        self._buffers = {}
        self._cuda.cudaStreamDestroy(self._stream)

    def _signature(self, mode: Any) -> Signature:
        """Names and shapes of inputs or outputs; free dimensions are None."""
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        return {
            name: tuple(None if n < 0 else int(n) for n in engine.get_tensor_shape(name))
            for name in names
            if engine.get_tensor_mode(name) == mode
        }

    def _make_buffer(self, name: str, shape: tuple[int | None, ...], largest: int) -> PinnedBuffer:
        """Memory for the largest shape of an input or output, bound to the context."""
        elements = int(np.prod([largest if n is None else n for n in shape]))
        dtype = self._trt.nptype(self._engine.get_tensor_dtype(name))
        buffer = PinnedBuffer(elements, dtype)
        self._context.set_tensor_address(name, buffer.device)
        return buffer

    def _enqueue(self, sizes: Mapping[str, int]) -> None:
        """Queue the copies and kernels of a pass; `sizes` are the inputs' elements."""
        for name, elements in sizes.items():
            self._buffers[name].to_device(elements, self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise Kd3dError(f"{self.name} failed: {'; '.join(self._messages[-2:])}")
        for name in self._names:
            self._buffers[name].to_host(self._buffers[name].host.size, self._stream)

    def _record(self, sizes: Mapping[str, int]) -> Any:
        """A pass as an executable CUDA graph."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(self._cuda.cudaStreamBeginCapture(self._stream, mode))
        self._enqueue(sizes)
        graph = checked(self._cuda.cudaStreamEndCapture(self._stream))
        executable = checked(self._cuda.cudaGraphInstantiate(graph, 0))
        checked(self._cuda.cudaGraphDestroy(graph))
        return executable

    def _result(self, name: str) -> NDArray[Any]:
        """An output, copied out of the buffer that the next pass overwrites."""
        shape = tuple(self._engine.get_tensor_shape(name))
        return np.array(self._buffers[name].host, np.float32).reshape(shape)
