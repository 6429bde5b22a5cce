"""A `Gpu` that is this machine's CPU: the kernels' own source, compiled by g++.

Everything but CUDA's own calls is what runs on a GPU: the kernels, their arguments, the buffers,
the order of the launches, the pipeline. Memory is not the memory of a GPU, but it is set to
garbage where CUDA promises nothing.
"""

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from kd3d_core.runtime.backends import cuda_gpu
from kd3d_core.runtime.backends.cuda_gpu import Address

HERE = Path(__file__).parent
SOURCE = Path(cuda_gpu.__file__).with_name("cuda_kernels.cu")


@functools.cache
def library():
    """The kernels as a shared library; compiled once a process."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++, which compiles the CUDA kernels for the CPU")
    folder = tempfile.TemporaryDirectory(prefix="kd3d_kernels_")
    path = Path(folder.name) / "kernels.so"
    command = [
        compiler, "-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wno-unused-function",
        "-shared", "-fPIC", f'-DKERNELS="{SOURCE}"', str(HERE / "cuda_on_host.cpp"),
        "-o", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)
    loaded = ctypes.CDLL(str(path))
    loaded.folder = folder  # lives as long as the library
    loaded.launch.argtypes = [
        ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_int,
    ]  # fmt: skip
    return loaded


class HostGpu:
    """See `Gpu`; `order` is the order of the threads, 0 to 2, see cuda_on_host.cpp."""

    def __init__(self, order=0):
        self.order = order
        self.memory = {}
        self.recorded = 0
        self.replayed = 0
        self.closed = False

    def allocate(self, count):
        array = np.zeros(max(count, 1) + 64, np.uint8)
        start = -array.ctypes.data % 64
        part = array[start : start + max(count, 1)]
        self.memory[part.ctypes.data] = part
        return Address(part.ctypes.data)

    def pinned(self, elements, dtype):
        array = np.empty(max(elements, 1), dtype)
        array.view(np.uint8)[:] = 0xA5
        return array

    def upload(self, to, source):
        assert source.flags.c_contiguous
        ctypes.memmove(int(to), source.ctypes.data, source.nbytes)

    def download(self, target, source):
        assert target.flags.c_contiguous
        ctypes.memmove(target.ctypes.data, int(source), target.nbytes)

    def launch(self, kernel, threads, *arguments):
        kept, places = cuda_gpu.pack(arguments)
        blocks = max(-(-threads // cuda_gpu.BLOCK), 1)
        done = library().launch(
            kernel.encode(), blocks, cuda_gpu.BLOCK, places.ctypes.data, self.order
        )
        assert done, f"no kernel {kernel}"
        del kept

    def record(self, work):
        self.recorded += 1

        def replay():
            self.replayed += 1
            work()

        return replay

    def mark(self):
        return object()

    def wait(self, mark):
        assert mark is not None

    def close(self):
        self.closed = True

    def view(self, address, shape, dtype):
        """Memory as an array, without a copy."""
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        buffer = (ctypes.c_byte * count).from_address(int(address))
        return np.frombuffer(buffer, dtype).reshape(shape)
