"""NVRTC compiles the kernels for real, without a GPU."""

import re

import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends import cuda_compile
from kd3d_core.runtime.backends.cuda_compile import compile_kernels
from kd3d_core.runtime.backends.cuda_compile import kernel_source
from kd3d_core.runtime.backends.cuda_compile import obtain_kernels

NAMES = re.findall(r"__global__ void (\w+)\(", kernel_source())


@pytest.fixture(scope="module")
def nvrtc():
    """Skips where the compiler is not installed."""
    pytest.importorskip("cuda.bindings.nvrtc", reason="needs cuda-bindings")
    try:
        compile_kernels("sm_90")
    except Kd3dError as error:
        if "needs NVRTC" in str(error):
            pytest.skip("needs nvidia-cuda-nvrtc, which compiles CUDA without a GPU")
        raise


@pytest.mark.parametrize("architecture", ["sm_80", "sm_87", "sm_89", "sm_90"])
def test_every_kernel_becomes_machine_code(nvrtc, architecture):
    code = compile_kernels(architecture)
    assert code.startswith(b"\x7fELF")
    assert len(NAMES) == 14
    for name in NAMES:
        assert b".text." + name.encode() + b"\0" in code


def test_an_unknown_architecture_is_named(nvrtc):
    with pytest.raises(Kd3dError, match="sm_12345"):
        compile_kernels("sm_12345")


def test_machine_code_is_kept_and_a_damaged_one_replaced(nvrtc, tmp_path, monkeypatch):
    first = obtain_kernels("sm_86", tmp_path)
    (path,) = tmp_path.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(cuda_compile, "_load", None)  # a robot without NVRTC
        assert obtain_kernels("sm_86", tmp_path) == first
    path.write_bytes(path.read_bytes()[:-1])
    assert obtain_kernels("sm_86", tmp_path).startswith(b"\x7fELF")
    obtain_kernels("sm_87", tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "file").write_text("")
    assert obtain_kernels("sm_86", tmp_path / "file" / "below")  # only not kept


def test_without_the_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings", None)
    with pytest.raises(Kd3dError, match="pip install nvidia-cuda-nvrtc"):
        compile_kernels("sm_90")
