"""From a graph to an engine: parse, build with a progress line, keep."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends.trt_cache import EngineKey
from kd3d_core.runtime.backends.trt_cache import read_sealed
from kd3d_core.runtime.backends.trt_cache import write_sealed
from kd3d_core.runtime.backends.trt_module import TrtModule
from kd3d_core.runtime.backends.trt_module import network_precision
from kd3d_core.runtime.backends.trt_progress import BuildProgress


@dataclass(frozen=True)
class BuildRequest:
    """What to build.

    Attributes:
        onnx: The serialised graph.
        architecture: Of the GPU, such as "sm_89".
        precision: "f32", or "auto" to let float32 be rounded to TF32.
        largest: The largest size of free dimensions (pillars).
    """

    onnx: bytes
    architecture: str
    precision: str = "f32"
    largest: int = 20000

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Smallest, usual and largest size of free dimensions.

        The largest is the usual one: `PointPipeline` fills up with copies, for one CUDA graph.
        """
        return 1, self.largest, self.largest

    def key(self, module: TrtModule) -> EngineKey:
        """What the engine depends on."""
        return EngineKey(
            hashlib.sha256(self.onnx).hexdigest(),
            module.name,
            module.version,
            self.architecture,
            self.precision,
            "/".join(map(str, self.sizes)),
        )


@dataclass(frozen=True)
class Engine:
    """A serialised engine.

    Attributes:
        content: The bytes to deserialise.
        arithmetic: Of the graph: "fp32", "fp16" or "int8".
        layers: Of the network that was parsed.
        seconds: How long the build took.
        cached: Whether it was found on disk.
        note: What the user should know, such as a damaged file that was replaced, or empty.
    """

    content: bytes
    arithmetic: str
    layers: int
    seconds: float
    cached: bool = False
    note: str = ""


@dataclass(frozen=True, eq=False)
class ParsedGraph:
    """A network and what must live as long as it.

    Attributes:
        builder: Made the network.
        network: The `INetworkDefinition`.
        parser: Owns the weights that the network points to.
        messages: Errors of the library, filled while it works.
    """

    builder: Any
    network: Any
    parser: Any
    messages: list[str]


def obtain_engine(
    module: TrtModule, request: BuildRequest, folder: Path | None, *, renew: bool = False
) -> Engine:
    """The kept engine, or a new one, which is kept.

    Args:
        module: The library.
        request: What to build.
        folder: Of engines; None keeps nothing.
        renew: Build even if one is kept.

    Raises:
        Kd3dError: The library cannot build the graph. A folder that cannot be written is no
            fault, only a note.
    """
    key = request.key(module)
    note = ""
    if folder is not None and not renew:
        kept = read_sealed(folder / key.file_name, key)
        if kept.content is not None:
            facts = kept.facts
            return Engine(
                kept.content,
                str(facts["arithmetic"]),
                int(facts["layers"]),
                float(facts["seconds"]),
                cached=True,
            )
        note = f"{kept.fault}; it is built again" if kept.fault else ""
    built = build_engine(module, request, folder)
    facts = {"arithmetic": built.arithmetic, "layers": built.layers, "seconds": built.seconds}
    if folder is not None:
        try:
            write_sealed(folder / key.file_name, key, built.content, facts)
        except Kd3dError as error:
            note = f"the engine is not kept: {error}"
    return Engine(built.content, built.arithmetic, built.layers, built.seconds, note=note)


def build_engine(module: TrtModule, request: BuildRequest, folder: Path | None = None) -> Engine:
    """Build an engine.

    Args:
        module: The library.
        request: What to build.
        folder: Where timings of kernels are kept, which make the next build shorter.

    Raises:
        Kd3dError: The library refuses graph or architecture, or needs a GPU and there is none.
    """
    parsed = parse_graph(module, request.onnx)
    trt, network = module.library, parsed.network
    arithmetic = network_precision(module, network)
    layers = int(network.num_layers)
    config = parsed.builder.create_builder_config()
    module.target(config, request.architecture)
    module.allow_types(config, arithmetic)
    if request.precision == "f32":
        config.clear_flag(trt.BuilderFlag.TF32)
    _add_profile(parsed, config, request.sizes)
    key = request.key(module)
    timings = folder if module.times_kernels else None
    if timings is not None:
        _use_timings(config, timings, key)
    start = time.perf_counter()
    with BuildProgress(f"building for {request.architecture} ({arithmetic})") as progress:
        if hasattr(config, "progress_monitor"):
            config.progress_monitor = progress.monitor(trt)
        content = parsed.builder.build_serialized_network(network, config)
    if content is None:
        raise Kd3dError(
            f"{module.name} {module.version} cannot build the graph for {request.architecture}: "
            f"{_last(parsed.messages)}"
        )
    if timings is not None:
        _keep_timings(config, timings, key)
    return Engine(bytes(content), arithmetic, layers, time.perf_counter() - start)


def parse_graph(module: TrtModule, onnx: bytes) -> ParsedGraph:
    """Read a graph into a network.

    Raises:
        Kd3dError: The library does not take it, or cannot work on this machine.
    """
    trt = module.library
    messages: list[str] = []
    logger = make_logger(trt, messages)
    try:
        builder = trt.Builder(logger)
    except (TypeError, RuntimeError) as error:  # what pybind makes of a null pointer
        raise Kd3dError(
            f"{module.name} {module.version} cannot build here ({_last(messages)}): it needs a "
            "GPU and its driver. Without a GPU use backend tensorrt-rtx."
        ) from error
    network = builder.create_network(module.network_flags())
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        reasons = [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]
        raise Kd3dError(
            f"{module.name} {module.version} cannot read the graph: "
            f"{'; '.join(reasons) or _last(messages)}"
        )
    return ParsedGraph(builder, network, parser, messages)


def make_logger(trt: Any, messages: list[str]) -> Any:
    """A logger of the library that collects errors instead of printing."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind wants its own base called so

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                messages.append(message)

    return Logger()


def _add_profile(parsed: ParsedGraph, config: Any, sizes: tuple[int, int, int]) -> None:
    """Say which sizes of free dimensions the engine must take, where there are any."""
    inputs = [parsed.network.get_input(index) for index in range(parsed.network.num_inputs)]
    free = [tensor for tensor in inputs if -1 in tuple(tensor.shape)]
    if not free:
        return
    profile = parsed.builder.create_optimization_profile()
    for tensor in free:
        shapes = [tuple(size if n == -1 else n for n in tensor.shape) for size in sizes]
        profile.set_shape(tensor.name, *shapes)
    config.add_optimization_profile(profile)


def _use_timings(config: Any, folder: Path, key: EngineKey) -> None:
    """Start from the timings of earlier builds; from none where they are absent or damaged."""
    kept = read_sealed(folder / key.timing_name, _shared(key)).content
    cache = config.create_timing_cache(kept or b"")
    config.set_timing_cache(cache, False)


def _keep_timings(config: Any, folder: Path, key: EngineKey) -> None:
    """Keep the timings; that they cannot be kept is told when the engine cannot be either."""
    cache = config.get_timing_cache()
    if cache is None:
        return
    try:
        write_sealed(folder / key.timing_name, _shared(key), bytes(cache.serialize()), {})
    except Kd3dError:
        return


def _shared(key: EngineKey) -> EngineKey:
    """The key without what timings do not depend on."""
    return EngineKey("", key.module, key.version, key.architecture, "", "")


def _last(messages: list[str]) -> str:
    """The last errors in one line."""
    return "; ".join(messages[-2:]) or "it does not say why"
