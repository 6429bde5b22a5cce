"""OpenVINO on the CPU."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.manifest import Signature


class OpenVinoBackend:
    """A model compiled by OpenVINO for low latency; see `Backend`."""

    name = "openvino"

    def __init__(
        self, onnx: bytes, threads: int | None, precision: str, cache_dir: str | None = None
    ) -> None:
        """Compile the model.

        Raises:
            Kd3dError: The library is missing, or refuses the graph or the settings.
        """
        try:
            import openvino
        except ImportError as error:
            raise Kd3dError(
                "backend openvino is not installed: pip install 'kd3d_ros[cpu]'."
            ) from error
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if precision != "auto":
            config["INFERENCE_PRECISION_HINT"] = precision
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        if cache_dir is not None:
            config["CACHE_DIR"] = str(cache_dir)
        try:
            core = openvino.Core()
            self._model = core.compile_model(core.read_model(onnx), "CPU", config)
        # OpenVINO raises RuntimeError for graphs, settings and unwritable caches alike.
        except RuntimeError as error:
            raise Kd3dError(f"OpenVINO cannot compile the graph: {error}") from error
        if precision == "bf16" and self.precision != "bf16":
            raise Kd3dError(
                "precision bf16: this CPU has no bf16 arithmetic; use f32, or auto to take the "
                "best there is."
            )
        self._request = self._model.create_infer_request()

    @property
    def precision(self) -> str:
        """The arithmetic that OpenVINO chose or was told."""
        kind = str(self._model.get_property("INFERENCE_PRECISION_HINT"))
        return "bf16" if "bf" in kind or "bfloat16" in kind else "f32"

    @property
    def inputs(self) -> Signature:
        """Names and shapes of the graph's inputs."""
        return _signature(self._model.inputs)

    @property
    def outputs(self) -> Signature:
        """Names and shapes of the graph's outputs."""
        return _signature(self._model.outputs)

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """One forward pass; see `Backend.run`."""
        self._request.infer(dict(arrays))
        # The request owns its tensors and overwrites them in the next pass.
        return tuple(np.array(self._request.get_tensor(name).data) for name in HEAD_NAMES)


def _signature(ports: list[Any]) -> Signature:
    """Names and shapes of ports; free dimensions are None."""
    return {
        port.get_any_name(): tuple(
            size.get_length() if size.is_static else None for size in port.get_partial_shape()
        )
        for port in ports
    }
