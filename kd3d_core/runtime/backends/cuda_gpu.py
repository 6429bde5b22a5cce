"""A GPU as the point pipeline sees it: memory, copies, kernels and graphs on one stream."""

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends.trt_device import checked
from kd3d_core.runtime.backends.trt_device import cuda_runtime

#: Threads of a block; kernels do not depend on it.
BLOCK = 256


class Address(int):
    """A place in the memory of the GPU; a type of its own so that kernels are given 64 bits."""


#: What a kernel takes: a place, an int (32 bits), a float (64 bits), or a structure of NumPy.
Argument = Address | int | float | NDArray[Any]


class Gpu(Protocol):
    """All that the pipeline asks of a GPU; what is queued runs in order."""

    def allocate(self, count: int) -> Address:
        """So many bytes of the GPU's memory, set to zero, until `close`."""
        ...

    def pinned(self, elements: int, dtype: DTypeLike) -> NDArray[Any]:
        """(elements,) of this machine's memory that the GPU copies from and to directly."""
        ...

    def upload(self, to: Address, source: NDArray[Any]) -> None:
        """Queue a copy of a contiguous part of a `pinned` array to the GPU."""
        ...

    def download(self, target: NDArray[Any], source: Address) -> None:
        """Queue a copy into a contiguous part of a `pinned` array."""
        ...

    def launch(self, kernel: str, threads: int, *arguments: Argument) -> None:
        """Queue a kernel of `cuda_kernels.cu` for at least so many threads."""
        ...

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What `work` queues, as one call that queues it again; `work` has run once before."""
        ...

    def mark(self) -> Any:
        """A place in the queue, to be waited for."""
        ...

    def wait(self, mark: Any) -> None:
        """Return when everything queued before a mark is done."""
        ...

    def close(self) -> None:
        """Give everything back; nothing of it must be used after."""
        ...


def pack(arguments: tuple[Argument, ...]) -> tuple[list[NDArray[Any]], NDArray[np.uint64]]:
    """What a launch is given.

    Args:
        arguments: Of a kernel.

    Returns:
        The arguments in memory, and (N,) uint64 where each of them lies.
    """
    kept = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            kept.append(argument)
        elif isinstance(argument, Address):
            kept.append(np.array(argument, np.uint64))
        elif isinstance(argument, int):
            kept.append(np.array(argument, np.int32))
        else:
            kept.append(np.array(argument, np.float64))
    return kept, np.array([each.ctypes.data for each in kept], np.uint64)


@dataclass(eq=False)
class _Owned:
    """What a `CudaGpu` has taken and gives back at its end."""

    cuda: Any
    stream: Any
    memory: list[int] = field(default_factory=list)
    locked: list[int] = field(default_factory=list)
    graphs: list[Any] = field(default_factory=list)
    driver: Any = None
    module: Any = None

    def release(self) -> None:
        """Wait for what is queued, then free all."""
        cuda = self.cuda
        cuda.cudaStreamSynchronize(self.stream)
        for graph in self.graphs:
            cuda.cudaGraphExecDestroy(graph)
        for address in self.memory:
            cuda.cudaFree(address)
        for address in self.locked:
            cuda.cudaFreeHost(address)
        if self.module is not None:
            self.driver.cuModuleUnload(self.module)
        cuda.cudaStreamDestroy(self.stream)


class CudaGpu:
    """A `Gpu` by NVIDIA's own binding `cuda-bindings`.

    Attributes:
        stream: Where everything is queued, as the number that CUDA knows it by. One of another
            library may take its place, such as PyTorch's while it records.
    """

    def __init__(self, kernels: bytes | None = None) -> None:
        """Make a stream and load the kernels.

        Args:
            kernels: From `obtain_kernels`; None where none will be launched.

        Raises:
            Kd3dError: There is no GPU, or it does not take the kernels.
        """
        self._cuda = cuda_runtime()
        stream = checked(self._cuda.cudaStreamCreate())  # makes the GPU's context current, too
        self.stream = int(stream)
        self._functions: dict[str, Any] = {}
        self._owned = _Owned(self._cuda, stream)
        # A model that is swapped for another gives its memory back when nobody holds it any more.
        self._end = weakref.finalize(self, self._owned.release)
        self._end.atexit = False  # the driver may be gone by then, and frees all itself
        if kernels is not None:
            from cuda.bindings import driver

            image = np.frombuffer(kernels, np.uint8)
            self._owned.driver = driver
            self._owned.module = checked(driver.cuModuleLoadData(image.ctypes.data))

    def allocate(self, count: int) -> Address:
        """See `Gpu.allocate`."""
        address = int(checked(self._cuda.cudaMalloc(max(count, 1))))
        self._owned.memory.append(address)
        checked(self._cuda.cudaMemset(address, 0, max(count, 1)))
        # The stream does not wait for the default one, on which memory is set.
        checked(self._cuda.cudaDeviceSynchronize())
        return Address(address)

    def pinned(self, elements: int, dtype: DTypeLike) -> NDArray[Any]:
        """See `Gpu.pinned`."""
        count = max(elements, 1) * np.dtype(dtype).itemsize
        address = int(checked(self._cuda.cudaMallocHost(count)))
        self._owned.locked.append(address)
        memory = memoryview((ctypes.c_byte * count).from_address(address))
        return np.frombuffer(memory, np.dtype(dtype))

    def upload(self, to: Address, source: NDArray[Any]) -> None:
        """See `Gpu.upload`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(int(to), source.ctypes.data, source.nbytes, kind)

    def download(self, target: NDArray[Any], source: Address) -> None:
        """See `Gpu.download`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(target.ctypes.data, int(source), target.nbytes, kind)

    def launch(self, kernel: str, threads: int, *arguments: Argument) -> None:
        """See `Gpu.launch`."""
        driver = self._owned.driver
        if kernel not in self._functions:
            if driver is None:
                raise Kd3dError(f"CUDA: the kernel {kernel} was not loaded.")
            found = checked(driver.cuModuleGetFunction(self._owned.module, kernel.encode()))
            self._functions[kernel] = found
        kept, places = pack(arguments)
        blocks = max(-(-threads // BLOCK), 1)
        checked(
            driver.cuLaunchKernel(
                self._functions[kernel], blocks, 1, 1, BLOCK, 1, 1, 0, self.stream,
                places.ctypes.data, 0,
            )
        )  # fmt: skip
        del kept  # CUDA has read them

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See `Gpu.record`: a CUDA graph."""
        cuda = self._cuda
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(cuda.cudaStreamBeginCapture(self.stream, mode))
        try:
            work()
        except BaseException:
            cuda.cudaStreamEndCapture(self.stream)  # its status would only say that work failed
            raise
        graph = checked(cuda.cudaStreamEndCapture(self.stream))
        executable = checked(cuda.cudaGraphInstantiate(graph, 0))
        checked(cuda.cudaGraphDestroy(graph))
        self._owned.graphs.append(executable)
        return lambda: checked(cuda.cudaGraphLaunch(executable, self.stream))

    def mark(self) -> Any:
        """See `Gpu.mark`: an event."""
        flags = self._cuda.cudaEventDisableTiming
        event = checked(self._cuda.cudaEventCreateWithFlags(flags))
        checked(self._cuda.cudaEventRecord(event, self.stream))
        return event

    def wait(self, mark: Any) -> None:
        """See `Gpu.wait`."""
        checked(self._cuda.cudaEventSynchronize(mark))
        checked(self._cuda.cudaEventDestroy(mark))

    def close(self) -> None:
        """See `Gpu.close`; done when the object goes, too."""
        self._end()
        self._functions = {}

    def _copy(self, target: int, source: int, count: int, kind: Any) -> None:
        """Queue a copy of so many bytes."""
        checked(self._cuda.cudaMemcpyAsync(target, source, count, kind, self.stream))
