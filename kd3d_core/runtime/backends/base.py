"""The protocol of backends, and the choice among them."""

from collections.abc import Mapping
from typing import Any
from typing import Literal
from typing import Protocol

from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.manifest import Signature

BackendName = Literal["auto", "onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"]
Precision = Literal["auto", "f32", "bf16"]

BACKENDS: tuple[str, ...] = ("openvino", "onnxruntime")
#: Those that need a GPU; "auto" does not choose them.
GPU_BACKENDS: tuple[str, ...] = ("tensorrt", "tensorrt-rtx")
PRECISIONS: tuple[str, ...] = ("auto", "f32", "bf16")


class Backend(Protocol):
    """A compiled graph.

    Attributes:
        reason: Why "auto" took it, in words; empty where it was named.
    """

    reason: str

    @property
    def name(self) -> str:
        """Such as "openvino"."""
        ...

    @property
    def precision(self) -> str:
        """The arithmetic it runs in: "f32", "bf16", "fp16" or "int8"."""
        ...

    @property
    def channels_last(self) -> bool:
        """Whether an image is taken without a copy when its channels lie together in memory."""
        ...

    @property
    def inputs(self) -> Signature:
        """Names and shapes of the graph's inputs."""
        ...

    @property
    def outputs(self) -> Signature:
        """Names and shapes of the graph's outputs."""
        ...

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """One forward pass.

        Args:
            arrays: By input name, in the shapes of `inputs`.

        Returns:
            Fresh float32 arrays in the order of `output_order`, in the shapes of `outputs`.
        """
        ...


def make_backend(
    name: str,
    onnx: bytes,
    *,
    threads: int | None = None,
    precision: str = "f32",
    cache_dir: str | None = None,
    largest: int = 20000,
) -> Backend:
    """Compile a graph.

    Args:
        name: "openvino", "onnxruntime", "tensorrt", "tensorrt-rtx", or "auto": of the first two
            the one that is faster on this machine and gives the graph's results (see `choice`).
        onnx: The serialised model.
        threads: CPU threads; None leaves it to the library.
        precision: "f32" gives the results of training. "bf16" is about twice as fast on CPUs
            with AMX or AVX512-BF16 (OpenVINO only), "auto" takes it where the CPU has it.
        cache_dir: Where OpenVINO and TensorRT keep compiled models, to start faster next time.
        largest: The largest size of free dimensions, which TensorRT must know: see
            `Manifest.largest`.

    Raises:
        Kd3dError: The name is unknown, the library is missing, or it cannot run the graph so.
    """
    if precision not in PRECISIONS:
        raise Kd3dError(f"precision '{precision}' is unknown; use {', '.join(PRECISIONS)}.")
    if threads is not None and threads < 1:
        raise Kd3dError(f"threads is {threads}; it must be at least 1.")
    if name == "auto":
        from kd3d_core.runtime.backends.choice import choose

        def make(each: str, arithmetic: str) -> Backend:
            return make_backend(
                each, onnx, threads=threads, precision=arithmetic, cache_dir=cache_dir
            )

        return choose(onnx, threads, precision, make)
    if name == "openvino":
        from kd3d_core.runtime.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(onnx, threads, precision, cache_dir)
    if name == "onnxruntime":
        from kd3d_core.runtime.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(onnx, threads, precision)
    if name in GPU_BACKENDS:
        from kd3d_core.runtime.backends.tensorrt import TensorRtBackend

        return TensorRtBackend(name, onnx, precision, cache_dir, largest)
    known = ", ".join(("auto", *BACKENDS, *GPU_BACKENDS))
    raise Kd3dError(f"backend '{name}' is unknown; use {known}.")
