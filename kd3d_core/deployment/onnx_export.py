"""A detector as an ONNX graph that tells nothing about the machine it was made on."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.inputs import graph_input
from kd3d_core.codec.layout import output_channels
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import CenterPointDetector

OPSET = 18
PRODUCER = "kd3d"


def export_onnx(config: ModelConfig, detector: CenterPointDetector) -> bytes:
    """Trace the detector for one cloud.

    Args:
        config: What the detector was built from.
        detector: Its weights; put into evaluation mode here, and left in it.

    Returns:
        A serialised model with inputs named as `NetworkInput.arrays` (`pillars` (P, M, F) and
        `cells` (P,) with free P, or `image` (1, C, rows, columns)) and outputs named by
        `output_channels`, each (1, channels, rows, columns).
    """
    module = detector.eval().exportable().eval()
    example, names, dynamic = _example(config)
    return trace(module, example, names, output_names(config), dynamic)


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """The outputs of the graph of a network, in their order."""
    return tuple(output_channels(config.head.layout, len(config.classes)))


def trace(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: tuple[dict[int, object], ...],
) -> bytes:
    """A module as a serialised ONNX model without any trace of this machine.

    Args:
        module: In evaluation mode; plain tensors in, a tuple of tensors out.
        example: Inputs of the shapes that the graph shall take.
        inputs: Their names.
        outputs: Names of what comes out.
        dynamic: For each input its free dimensions, as `torch.onnx.export` takes them.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            module,
            example,
            str(path),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic,
            external_data=False,
            verbose=False,
        )
        model = onnx.load(str(path))
    strip_metadata(model)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def strip_metadata(model: onnx.ModelProto) -> None:
    """Remove stack traces, doc strings and names of files, in place.

    The exporter notes for each node which line of which file made it: of no use to a robot, and
    it carries the builder's folders.
    """
    model.producer_name = PRODUCER
    model.producer_version = ""
    model.doc_string = ""
    del model.metadata_props[:]
    for function in model.functions:
        del function.metadata_props[:]
        function.doc_string = ""
        _strip(function.node)
        _strip(function.value_info)
    graph = model.graph
    graph.name = PRODUCER
    graph.doc_string = ""
    for part in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        _strip(part)
    del graph.metadata_props[:]


def _strip(messages: object) -> None:
    """Clear what is free text in repeated protobuf messages."""
    for message in messages:  # type: ignore[attr-defined]
        message.doc_string = ""
        del message.metadata_props[:]


def _example(
    config: ModelConfig,
) -> tuple[tuple[torch.Tensor, ...], tuple[str, ...], tuple[dict[int, object], ...]]:
    """Example inputs of one cloud, their names and their free dimensions."""
    rows, columns = config.grid.shape
    taken = graph_input(config.input, config.name)
    if isinstance(taken, PillarInput):
        count = 64
        generator = torch.Generator().manual_seed(0)
        cells = torch.randperm(rows * columns, generator=generator)[:count].sort().values
        pillars = torch.rand((count, taken.max_points, taken.features), generator=generator)
        free = torch.export.Dim("pillars_count", min=1, max=rows * columns)
        return (pillars, cells), ("pillars", "cells"), ({0: free}, {0: free})
    image = torch.rand((1, taken.slices + 4, rows, columns))
    return (image,), ("image",), ({},)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress lines and its own deprecation warnings from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
