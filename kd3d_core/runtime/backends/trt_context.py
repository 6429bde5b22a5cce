"""An engine at work: where its inputs and outputs lie, and a pass of it on a stream."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends.cuda_gpu import Address
from kd3d_core.runtime.backends.cuda_gpu import Gpu
from kd3d_core.runtime.backends.trt_module import TrtModule
from kd3d_core.runtime.manifest import Signature


class EngineContext:
    """One execution context of an engine, with memory for the largest inputs and outputs.

    A `DeviceNetwork`: free dimensions are at their largest until `set_shape` says otherwise.
    """

    def __init__(
        self,
        module: TrtModule,
        engine: Any,
        gpu: Gpu,
        stream: int,
        largest: int,
        messages: list[str],
    ) -> None:
        """Take the memory.

        Args:
            module: The library.
            engine: Loaded.
            gpu: Where.
            stream: Of it.
            largest: The largest size of free dimensions.
            messages: Errors of the library, filled while it works.

        Raises:
            Kd3dError: The GPU is out of memory.
        """
        self._trt, self._engine = module.library, engine
        self._stream, self._messages = stream, messages
        self._context = module.create_context(engine)
        if self._context is None:
            raise Kd3dError(f"TensorRT cannot run its engine: {'; '.join(messages[-2:])}")
        self._addresses: dict[str, Address] = {}
        for name, shape in (self.inputs | self.outputs).items():
            full = tuple(largest if n is None else n for n in shape)
            count = int(np.prod(full)) * np.dtype(self.dtype(name)).itemsize
            self._addresses[name] = gpu.allocate(count)
            self._context.set_tensor_address(name, int(self._addresses[name]))
            if full != shape:
                self.set_shape(name, full)

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Inputs and outputs by name."""
        return self._addresses

    @property
    def wide_cells(self) -> bool:
        """Whether the input `cells` is int64: TensorRT 8.6 makes it int32."""
        return "cells" in self.inputs and self.dtype("cells") == np.int64

    @property
    def inputs(self) -> Signature:
        """Names and shapes of the engine's inputs; free dimensions are None."""
        return self._signature(self._trt.TensorIOMode.INPUT)

    @property
    def outputs(self) -> Signature:
        """Names and shapes of the engine's outputs."""
        return self._signature(self._trt.TensorIOMode.OUTPUT)

    def dtype(self, name: str) -> Any:
        """The NumPy type of an input or output."""
        return np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an output, none of whose dimensions is free."""
        return tuple(int(n) for n in self._engine.get_tensor_shape(name))

    def set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Say how large an input with a free dimension is from the next pass on."""
        self._context.set_input_shape(name, shape)

    def bind(self, name: str, address: int) -> None:
        """Take an input or output somewhere else from the next pass on."""
        self._addresses[name] = Address(address)
        self._context.set_tensor_address(name, address)

    def enqueue(self) -> None:
        """Queue a pass.

        Raises:
            Kd3dError: TensorRT refuses it.
        """
        if not self._context.execute_async_v3(self._stream):
            raise Kd3dError(f"TensorRT failed: {'; '.join(self._messages[-2:])}")

    def _signature(self, mode: Any) -> Signature:
        """Names and shapes of inputs or outputs."""
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        return {
            name: tuple(None if n < 0 else int(n) for n in engine.get_tensor_shape(name))
            for name in names
            if engine.get_tensor_mode(name) == mode
        }
