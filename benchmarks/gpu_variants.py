"""Ways to run a network from cloud to boxes on a GPU; `gpu_latency.py` times them."""

import math
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from functools import partial
from typing import Any
from typing import cast

import gpu_torch
import numpy as np
import torch
from gpu_floor import arithmetic
from gpu_subject import Subject
from torch import nn

from kd3d_core.codec.decode import decode
from kd3d_core.codec.decode import logit
from kd3d_core.codec.decode import suppress
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.inputs import encode
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.backends.cuda_compile import obtain_kernels
from kd3d_core.runtime.backends.cuda_gpu import Address
from kd3d_core.runtime.backends.cuda_gpu import CudaGpu
from kd3d_core.runtime.backends.cuda_pipeline import PointPipeline
from kd3d_core.runtime.backends.trt_device import device_architecture
from kd3d_core.runtime.manifest import Manifest

#: (N, 4) float32 points of a cloud to its boxes.
Detect = Callable[[np.ndarray], Boxes3D]


@dataclass(frozen=True)
class Running:
    """A network that is ready.

    Attributes:
        detect: Cloud to boxes.
        repeat: Runs the last cloud again so many times without copies, and waits; None where the
            GPU is not on its own for a whole cloud.
        check: The largest difference of the network's inputs of the cloud that was last detected
            from those that the CPU makes.
    """

    detect: Detect
    repeat: Callable[[int], None] | None = None
    check: Callable[[np.ndarray], float] | None = None


@dataclass(frozen=True)
class Variant:
    """A way to run a network.

    Attributes:
        name: What is compared.
        precision: "f32", "tf32" or "f16".
        make: Compiles, records, takes memory; may fail.
    """

    name: str
    precision: str
    make: Callable[[], Running]


# ----------------------------------------------------------------------------- PyTorch's own way


def eager(subject: Subject) -> Iterator[Variant]:
    """Input and boxes made by the CPU, as detection toolboxes do."""

    def detect(points: np.ndarray) -> Boxes3D:
        with arithmetic("f32"):
            return subject.boxes(subject.maps(subject.detector, points))

    yield Variant("torch eager, codec on the CPU", "f32", lambda: Running(detect))


class OperationsPipeline:
    """All on the device, the codec as operations of torch; recorded as a graph where asked."""

    def __init__(self, subject: Subject, network: nn.Module, graph: bool) -> None:
        """Take the memory."""
        self.subject, self.network = subject, network
        config, device = subject.config, subject.device
        threshold = logit(np.full(len(config.classes), subject.decode.score_threshold))
        rows, columns = (cells // config.output_stride for cells in config.grid.shape)
        limit = min(subject.decode.pre_nms, len(config.classes) * rows * columns)
        self.codec = gpu_torch.TorchCodec(config, threshold, limit, device)
        most = max(map(len, subject.clouds))
        self.staged = torch.empty(most, 4, pin_memory=device == "cuda")
        self.points = torch.full((most, 4), math.nan, device=device)
        self.answer = torch.zeros(limit, 11, device=device)
        self.read = torch.zeros(limit, 11, pin_memory=device == "cuda")
        self.replay: Callable[[], None] = self.compute
        if graph:
            for _ in range(3):
                self(subject.clouds[0])
            recorded = torch.cuda.CUDAGraph()
            with torch.cuda.graph(recorded):
                self.compute()
            self.replay = recorded.replay

    def compute(self) -> None:
        """Points to the best peaks."""
        with torch.no_grad():
            self.answer.copy_(self.codec.decode(self.network(*self.codec.encode(self.points))))

    def __call__(self, points: np.ndarray) -> Boxes3D:
        """Cloud to boxes."""
        count = len(points)
        self.staged[:count] = torch.from_numpy(points)
        self.points[:count].copy_(self.staged[:count], non_blocking=True)
        self.points[count:] = math.nan
        self.replay()
        self.read.copy_(self.answer, non_blocking=True)
        if self.subject.device == "cuda":
            torch.cuda.synchronize()
        rows = self.read.numpy()
        rows = rows[: int((rows[:, 10] >= 0).sum())]
        boxes = Boxes3D(
            center=rows[:, 1:4],
            size=rows[:, 4:7],
            yaw=rows[:, 7],
            velocity=rows[:, 8:10],
            score=rows[:, 10],
            label=rows[:, 0].astype(np.int64),
            classes=self.subject.config.classes,
        )
        decode = self.subject.decode
        return suppress(boxes, decode, decode.max_boxes)

    def repeat(self, passes: int) -> None:
        """See `Variant.repeat`."""
        for _ in range(passes):
            self.replay()
        if self.subject.device == "cuda":
            torch.cuda.synchronize()


def operations(subject: Subject, *, compiled: bool) -> Iterator[Variant]:
    """The codec as operations of torch, on the device."""
    cuda = subject.device == "cuda"
    for precision in ("f16", "tf32") if cuda else ("f32",):
        network = once(subject, precision, compiled=compiled)
        for graph in (True, False) if cuda else (False,):

            def make(network: Callable[[], nn.Module] = network, graph: bool = graph) -> Running:
                pipeline = OperationsPipeline(subject, network(), graph)
                return Running(pipeline, pipeline.repeat)

            way = way_of(compiled=compiled, graph=graph)
            yield Variant(f"{way}, codec of torch operations", precision, make)


def once(subject: Subject, precision: str, *, compiled: bool) -> Callable[[], nn.Module]:
    """A network in a precision, made when it is first asked for."""

    @cache
    def make() -> nn.Module:
        network = subject.network(precision)
        return cast(nn.Module, torch.compile(network)) if compiled else network

    return make


def way_of(*, compiled: bool, graph: bool) -> str:
    """How a network is run, in words."""
    name = "torch.compile" if compiled else "torch eager"
    return f"CUDA graph over {name}" if graph else name


# -------------------------------------------------------------------------- kd3d's own pipeline


class TorchGpu(CudaGpu):
    """A `Gpu` that shares its stream with torch, and records torch's work too."""

    def __init__(self, kernels: bytes, *, graph: bool) -> None:
        """Make the stream that of torch, for good; `record` records only with `graph`."""
        super().__init__(kernels)
        self._shared = torch.cuda.Stream()
        self._graph = graph
        self.stream = self._shared.cuda_stream
        torch.cuda.set_stream(self._shared)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See `Gpu.record`."""
        if not self._graph:
            return work
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded, stream=self._shared):
            work()
        return recorded.replay


class TorchNetwork:
    """A `DeviceNetwork` that torch runs."""

    wide_cells = True

    def __init__(self, module: nn.Module, manifest: Manifest, device: str) -> None:
        """Take the memory, and compile what is compiled at its first calls."""
        self._module = module
        kinds = {"cells": torch.int64}
        tensors = {}
        for name, shape in (manifest.inputs | manifest.outputs).items():
            full = [manifest.largest if n is None else n for n in shape]
            kind = kinds.get(name, torch.float32)
            tensors[name] = torch.zeros(full, dtype=kind, device=device)
        self.inputs = {name: tensors[name] for name in manifest.inputs}
        self._outputs = [tensors[name] for name in manifest.outputs]
        self.addresses = {name: Address(each.data_ptr()) for name, each in tensors.items()}
        for _ in range(3):
            self.enqueue()

    def enqueue(self) -> None:
        """Queue a pass on torch's stream."""
        with torch.no_grad():
            for place, values in zip(
                self._outputs, self._module(*self.inputs.values()), strict=True
            ):
                place.copy_(values)


def kernels(subject: Subject) -> Iterator[Variant]:
    """Points to boxes by kd3d's kernels and `PointPipeline`, the network by torch."""
    for precision, compiled in (("f16", True), ("tf32", True), ("f16", False), ("tf32", False)):
        network = once(subject, precision, compiled=compiled)
        for graph in (True, False):

            def make(network: Callable[[], nn.Module] = network, graph: bool = graph) -> Running:
                gpu = TorchGpu(obtain_kernels(device_architecture(), None), graph=graph)
                running = TorchNetwork(network(), subject.manifest, "cuda")
                pipeline = PointPipeline(gpu, running, subject.manifest)
                check = partial(_input_error, subject, running)
                return Running(_boxes(subject, pipeline), pipeline.repeat, check)

            way = way_of(compiled=compiled, graph=graph)
            yield Variant(f"{way}, kernels of kd3d", precision, make)


def tensorrt(subject: Subject, *, backend: str) -> Iterator[Variant]:
    """The product's own backend."""
    for precision, named in (("fp16", "f16"), ("fp32", "tf32")):

        def make(precision: str = precision) -> Running:
            from kd3d_core.deployment.precision import to_precision
            from kd3d_core.runtime.backends.tensorrt import TensorRtBackend

            bundle = to_precision(subject.bundle, cast(Any, precision))
            largest = subject.manifest.largest
            with tempfile.TemporaryDirectory() as folder:
                setting = "auto" if precision == "fp32" else "f32"
                running = TensorRtBackend(backend, bundle.onnx, setting, folder, largest)
                pipeline = running.point_pipeline(subject.manifest)
            if pipeline is None:
                raise RuntimeError(running.note)
            return Running(_boxes(subject, pipeline), pipeline.repeat)

        yield Variant(f"{backend}, CUDA graph, kernels of kd3d", named, make)


def _input_error(subject: Subject, running: TorchNetwork, points: np.ndarray) -> float:
    """See `Variant.check`."""
    wanted = encode(points, subject.config.grid, subject.config.input).arrays
    worst = 0.0
    for name, array in wanted.items():
        found = running.inputs[name].cpu().numpy()
        found = found[0] if name == "image" else found[: len(array)]
        worst = max(worst, float(np.abs(found - array).max()))
    return worst


def _boxes(subject: Subject, pipeline: PointPipeline) -> Detect:
    """Cloud to boxes by a pipeline."""
    return lambda points: pipeline(points, subject.decode).boxes


def onnxruntime(subject: Subject) -> Iterator[Variant]:
    """ONNX Runtime, input and boxes made by the CPU."""
    cuda = subject.device == "cuda"
    # The CUDA provider rounds products of float32 to TF32 unless told otherwise.
    for precision, named in (("fp32", "tf32"), ("fp16", "f16")) if cuda else (("fp32", "f32"),):
        make = partial(_session, subject, precision)
        yield Variant("ONNX Runtime, codec on the CPU", named, make)


def _session(subject: Subject, precision: str) -> Running:
    """ONNX Runtime on the subject's device."""
    import onnxruntime as ort

    from kd3d_core.deployment.precision import to_precision

    provider = "CUDAExecutionProvider" if subject.device == "cuda" else "CPUExecutionProvider"
    if provider not in ort.get_available_providers():
        raise RuntimeError(f"this build of ONNX Runtime has no {provider}")
    bundle = to_precision(subject.bundle, cast(Any, precision))
    session = ort.InferenceSession(bundle.onnx, providers=[provider])
    if provider not in session.get_providers():
        raise RuntimeError(f"ONNX Runtime cannot use its {provider} here")
    config, names = subject.config, list(subject.manifest.outputs)

    def detect(points: np.ndarray) -> Boxes3D:
        arrays = encode(points, config.grid, config.input).arrays
        fed = {name: a[None] if name == "image" else a for name, a in arrays.items()}
        maps = HeadMaps(*(each[0] for each in session.run(names, fed)))
        return decode(maps, config.grid, config.output_stride, config.classes, subject.decode)

    return Running(detect)
