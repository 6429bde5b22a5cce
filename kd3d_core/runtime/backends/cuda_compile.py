"""The kernels of `cuda_kernels.cu`, compiled for a GPU by NVRTC, with or without that GPU."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends.trt_cache import EngineKey
from kd3d_core.runtime.backends.trt_cache import read_sealed
from kd3d_core.runtime.backends.trt_cache import write_sealed

#: No contraction to fused multiply-adds: results shall be those of the CPU.
_OPTIONS = ("--fmad=false", "--std=c++17")


@cache
def kernel_source() -> str:
    """The text of `cuda_kernels.cu`."""
    return Path(__file__).with_name("cuda_kernels.cu").read_text(encoding="utf-8")


def obtain_kernels(architecture: str, folder: Path | None) -> bytes:
    """The kept machine code, or a new one, which is kept: compiling takes about half a second.

    Machine code that `kd3d_core compile` has put there needs no NVRTC on the robot.

    Args:
        architecture: Of the GPU, such as "sm_89".
        folder: Where engines are kept; None keeps nothing.

    Raises:
        Kd3dError: There is none, and NVRTC is missing or does not know the architecture.
    """
    digest = hashlib.sha256(kernel_source().encode()).hexdigest()
    key = EngineKey(digest, "kernels", "1", architecture, "f32", " ".join(_OPTIONS))
    name = Path(key.file_name).with_suffix(".cubin")
    if folder is not None:
        kept = read_sealed(folder / name, key).content
        if kept is not None:
            return kept
    content = compile_kernels(architecture)
    if folder is not None:
        try:
            write_sealed(folder / name, key, content, {})
        except Kd3dError:  # told with the engine, which cannot be kept there either
            return content
    return content


def compile_kernels(architecture: str) -> bytes:
    """Machine code (a cubin) for one architecture.

    Args:
        architecture: Of the GPU, such as "sm_89".

    Raises:
        Kd3dError: NVRTC is missing, or does not know the architecture.
    """
    nvrtc = _load()
    program = _checked(
        nvrtc, nvrtc.nvrtcCreateProgram(kernel_source().encode(), b"kd3d.cu", 0, [], [])
    )
    options = [f"--gpu-architecture={architecture}", *_OPTIONS]
    status = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    if int(status[0]) != 0:
        log = b" " * int(_checked(nvrtc, nvrtc.nvrtcGetProgramLogSize(program)))
        _checked(nvrtc, nvrtc.nvrtcGetProgramLog(program, log))
        reason = log.decode(errors="replace").strip("\0 \n") or _name(nvrtc, status[0])
        raise Kd3dError(f"NVRTC cannot compile the kernels for {architecture}: {reason}")
    content = b" " * int(_checked(nvrtc, nvrtc.nvrtcGetCUBINSize(program)))
    _checked(nvrtc, nvrtc.nvrtcGetCUBIN(program, content))
    nvrtc.nvrtcDestroyProgram(program)
    return content


def _load() -> Any:
    """The module `cuda.bindings.nvrtc`, with its library.

    Raises:
        Kd3dError: One of them is missing.
    """
    remedy = "pip install nvidia-cuda-nvrtc (nvidia-cuda-nvrtc-cu12 for a CUDA 12 driver)"
    try:
        from cuda.bindings import nvrtc

        status = nvrtc.nvrtcVersion()[0]
    except (ImportError, RuntimeError) as error:  # the library is looked for by the first call
        reason = str(error).partition(":")[0]
        raise Kd3dError(f"compiling CUDA kernels needs NVRTC ({reason}): {remedy}.") from error
    if int(status) != 0:
        raise Kd3dError(f"compiling CUDA kernels needs NVRTC, which does not work: {remedy}.")
    return nvrtc


def _checked(nvrtc: Any, result: tuple[Any, ...]) -> Any:
    """The value that a function of NVRTC gives beside its status."""
    if int(result[0]) != 0:
        raise Kd3dError(f"NVRTC: {_name(nvrtc, result[0])}.")
    return result[1] if len(result) > 1 else None


def _name(nvrtc: Any, status: Any) -> str:
    """What NVRTC calls a status."""
    return str(nvrtc.nvrtcGetErrorString(status)[1].decode())
