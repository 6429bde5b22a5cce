"""ONNX Runtime on the CPU."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from kd3d_core.codec.heads import output_order
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.manifest import Signature


class OnnxRuntimeBackend:
    """A session of ONNX Runtime's CPU execution provider; see `Backend`."""

    name = "onnxruntime"
    precision = "f32"
    channels_last = False
    reason = ""

    def __init__(
        self, onnx: bytes, threads: int | None, precision: str, *, plain: bool = False
    ) -> None:
        """Build the session.

        Args:
            onnx: The serialised model.
            threads: CPU threads; None leaves it to the library.
            precision: "f32" or "auto".
            plain: Run operator by operator as the graph says, without fusing any: slow, and what
                others are held against.

        Raises:
            Kd3dError: The library is missing, refuses the graph, or is asked for bf16.
        """
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise Kd3dError(
                "backend onnxruntime is not installed: pip install 'kd3d_ros[cpu]'."
            ) from error
        if precision == "bf16":
            raise Kd3dError("precision bf16 needs backend openvino; onnxruntime runs f32.")
        options = ort.SessionOptions()
        options.log_severity_level = 3  # warnings about graph details help no user
        # Threads that wait in a loop take 1.6 times the CPU time; other nodes of a robot want it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
        if plain:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        # The library raises bare classes of its C++ side that share no base of their own.
        except Exception as error:
            raise Kd3dError(f"ONNX Runtime cannot load the graph: {error}") from error
        self._names = output_order(self.outputs)

    @property
    def inputs(self) -> Signature:
        """Names and shapes of the graph's inputs."""
        return _signature(self._session.get_inputs())

    @property
    def outputs(self) -> Signature:
        """Names and shapes of the graph's outputs."""
        return _signature(self._session.get_outputs())

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """One forward pass; see `Backend.run`."""
        return tuple(self._session.run(list(self._names), dict(arrays)))


def _signature(nodes: list[Any]) -> Signature:
    """Names and shapes; symbolic dimensions come as strings or None."""
    return {
        node.name: tuple(size if isinstance(size, int) else None for size in node.shape)
        for node in nodes
    }
