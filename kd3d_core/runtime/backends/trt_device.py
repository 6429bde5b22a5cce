"""The little of CUDA that running an engine takes, by NVIDIA's own binding `cuda-bindings`.

Chosen over ctypes on libcudart because it brings the runtime with it and checks argument types,
and over torch and CuPy because it is 1 % of their size and never touches arrays.
"""

from typing import Any

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
