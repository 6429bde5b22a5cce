"""The little of CUDA that running an engine takes, by NVIDIA's own binding `cuda-bindings`.

Chosen over ctypes on libcudart because it brings the runtime with it and checks argument types,
and over torch and CuPy because it is 1 % of their size and never touches arrays.
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError


def cuda_runtime() -> Any:
    """The module of the CUDA runtime's functions.

    Raises:
        Kd3dError: `cuda-bindings` is not installed.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise Kd3dError(
            f"running TensorRT needs cuda-bindings ({error}): pip install 'cuda-bindings~=12.9', "
            "or ~=13.0 with a CUDA 13 driver."
        ) from error
    return runtime


def checked(result: tuple[Any, ...]) -> Any:
    """The value that a function of the CUDA runtime gives beside its status.

    Args:
        result: (status,), or (status, value).

    Raises:
        Kd3dError: The status is an error.
    """
    status, *values = result
    if int(status) != 0:
        raise Kd3dError(f"CUDA: {getattr(status, 'name', status)}; is the GPU's driver in order?")
    return values[0] if values else None


def device_architecture(device: int = 0) -> str:
    """The architecture of a GPU, such as "sm_89".

    Raises:
        Kd3dError: There is no GPU, or no driver for it.
    """
    cuda = cuda_runtime()
    try:
        found = checked(cuda.cudaGetDeviceCount())
    except Kd3dError as error:
        raise Kd3dError(
            f"backend tensorrt needs an NVIDIA GPU and its driver ({error})"
        ) from error
    if found <= device:
        raise Kd3dError("backend tensorrt needs an NVIDIA GPU; there is none.")
    kinds = cuda.cudaDeviceAttr
    major, minor = (
        checked(cuda.cudaDeviceGetAttribute(kind, device))
        for kind in (
            kinds.cudaDevAttrComputeCapabilityMajor,
            kinds.cudaDevAttrComputeCapabilityMinor,
        )
    )
    return f"sm_{major}{minor}"


class PinnedBuffer:
    """Page-locked memory and as much memory of the GPU.

    Attributes:
        host: 1-D array on the page-locked memory.
        device: Address on the GPU.
    """

    def __init__(self, size: int, dtype: DTypeLike) -> None:
        """Allocate both.

        Args:
            size: Elements, at least 1.
            dtype: Their type.

        Raises:
            Kd3dError: The GPU is out of memory.
        """
        self._cuda = cuda_runtime()
        self._size = np.dtype(dtype).itemsize
        count = max(size, 1) * self._size
        self._pinned = int(checked(self._cuda.cudaMallocHost(count)))
        self.device = int(checked(self._cuda.cudaMalloc(count)))
        memory = memoryview((ctypes.c_byte * count).from_address(self._pinned))
        self.host: NDArray[Any] = np.frombuffer(memory, np.dtype(dtype))

    def to_device(self, elements: int, stream: Any) -> None:
        """Queue a copy of the first elements to the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        count = elements * self._size
        checked(self._cuda.cudaMemcpyAsync(self.device, self._pinned, count, kind, stream))

    def to_host(self, elements: int, stream: Any) -> None:
        """Queue a copy of the first elements from the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        count = elements * self._size
        checked(self._cuda.cudaMemcpyAsync(self._pinned, self.device, count, kind, stream))

    def free(self) -> None:
        """Give the memory back; the array must not be used after."""
        self._cuda.cudaFree(self.device)
        self._cuda.cudaFreeHost(self._pinned)
