"""OpenVINO on the CPU."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.codec.heads import ANCHOR_NAMES
from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.heads import output_order
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.manifest import Signature

#: What inputs and outputs of bundles are called.
_NAMES = frozenset(("image", "pillars", "cells", *HEAD_NAMES, *ANCHOR_NAMES))


class OpenVinoBackend:
    """A model compiled by OpenVINO for low latency; see `Backend`."""

    name = "openvino"
    channels_last = True
    reason = ""

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
        # A thread that is bound to a core waits there for whatever else runs on it, another
        # detector's thread among others, while a core beside it is idle.
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
        if precision != "auto":
            config["INFERENCE_PRECISION_HINT"] = precision
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        if cache_dir is not None:
            config["CACHE_DIR"] = str(cache_dir)
        try:
            core = openvino.Core()
            model = core.read_model(onnx)
            # Convolutions on CPUs work channels last; an image that comes so needs no reordering.
            self._images = [_name(p) for p in model.inputs if len(p.partial_shape) == 4]
            model = _channels_last(model, self._images)
            self._model = core.compile_model(model, "CPU", config)
        # OpenVINO raises RuntimeError for graphs, settings and unwritable caches alike.
        except RuntimeError as error:
            raise Kd3dError(f"OpenVINO cannot compile the graph: {error}") from error
        if precision == "bf16" and self.precision != "bf16":
            raise Kd3dError(
                "precision bf16: this CPU has no bf16 arithmetic; use f32, or auto to take the "
                "best there is."
            )
        self._request = self._model.create_infer_request()
        self._names = output_order(self.outputs)

    @property
    def precision(self) -> str:
        """The arithmetic that OpenVINO chose or was told."""
        kind = str(self._model.get_property("INFERENCE_PRECISION_HINT"))
        return "bf16" if "bf" in kind or "bfloat16" in kind else "f32"

    @property
    def inputs(self) -> Signature:
        """Names and shapes of the graph's inputs."""
        found = _signature(self._model.inputs)
        for name in self._images:
            batch, rows, columns, channels = found[name]
            found[name] = (batch, channels, rows, columns)
        return found

    @property
    def outputs(self) -> Signature:
        """Names and shapes of the graph's outputs."""
        return _signature(self._model.outputs)

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """One forward pass; see `Backend.run`."""
        fed = dict(arrays)
        for name in self._images:
            fed[name] = np.ascontiguousarray(fed[name].transpose(0, 2, 3, 1))
        self._request.infer(fed, share_inputs=True)
        # The request owns its tensors and overwrites them in the next pass.
        return tuple(np.array(self._request.get_tensor(name).data) for name in self._names)


def _channels_last(model: Any, images: list[str]) -> Any:
    """The model with inputs (batch, rows, columns, channels) for those named."""
    if not images:
        return model
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor

    wrapped = PrePostProcessor(model)
    for name in images:
        wrapped.input(name).tensor().set_layout(Layout("NHWC"))
        wrapped.input(name).model().set_layout(Layout("NCHW"))
    return wrapped.build()


def _name(port: Any) -> str:
    """The name that the graph gives an input or output.

    OpenVINO adds those of the casts that it merges with it, as in graphs in fp16.
    """
    names = port.get_names()
    return next((name for name in names if name in _NAMES), min(names))


def _signature(ports: list[Any]) -> Signature:
    """Names and shapes of ports; free dimensions are None."""
    return {
        _name(port): tuple(
            size.get_length() if size.is_static else None for size in port.get_partial_shape()
        )
        for port in ports
    }
