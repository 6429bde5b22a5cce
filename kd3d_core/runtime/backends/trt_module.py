"""The one seam between kd3d and TensorRT's Python modules, whose rules differ.

| module | arithmetic | targets |
|---|---|---|
| `tensorrt` 8.6 | builder flags; the graph's types are hints | the GPU at hand |
| `tensorrt` 10, 11 | strongly typed: the graph's types | the GPU at hand |
| `tensorrt_rtx` | strongly typed, always | a list of architectures, without a GPU |

For kd3d the arithmetic is always that of the graph (`kd3d_core.deployment.precision`): where a
version wants flags as well, they are set to what the graph says.
"""

import importlib
import re
from dataclasses import dataclass
from typing import Any

from kd3d_core.errors import Kd3dError

#: Names of the backends, and the Python modules behind them.
MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}

_INSTALL = {
    "tensorrt": "it comes with JetPack and with NVIDIA's apt and pip repositories "
    "(pip install tensorrt --extra-index-url https://pypi.nvidia.com)",
    "tensorrt-rtx": "pip install tensorrt-rtx",
}


@dataclass(frozen=True)
class TrtModule:
    """A TensorRT library.

    Attributes:
        name: "tensorrt" or "tensorrt-rtx".
        library: The Python module.
        version: Such as "10.3.0".
    """

    name: str
    library: Any
    version: str

    @property
    def strongly_typed(self) -> bool:
        """Whether networks are built with the types of the graph and no builder flags."""
        return self.name == "tensorrt-rtx" or int(self.version.split(".")[0]) >= 10

    @property
    def times_kernels(self) -> bool:
        """Whether builds measure kernels on the GPU, so that keeping the timings shortens them."""
        return self.name == "tensorrt"

    @property
    def architectures(self) -> tuple[str, ...]:
        """GPU architectures it builds for without having one, such as "sm_89"; may be empty."""
        listed = getattr(self.library, "ComputeCapability", None)
        names = () if listed is None else listed.__members__
        found = [re.fullmatch(r"SM(\d+)", name) for name in names]
        return tuple(
            f"sm_{number}" for number in sorted(int(each[1]) for each in found if each is not None)
        )

    def network_flags(self) -> int:
        """The flags to create a network with."""
        flags = self.library.NetworkDefinitionCreationFlag
        if self.strongly_typed:
            # Later releases may make it the only way and drop the flag.
            typed = getattr(flags, "STRONGLY_TYPED", None)
            return 0 if typed is None else 1 << int(typed)
        return 1 << int(flags.EXPLICIT_BATCH)

    def allow_types(self, config: Any, precision: str) -> None:
        """Tell a weakly typed builder which arithmetic the graph has.

        Args:
            config: The `IBuilderConfig`.
            precision: "fp32", "fp16" or "int8"; see `network_precision`.
        """
        if self.strongly_typed:
            return
        if precision != "fp32":
            config.set_flag(self.library.BuilderFlag.FP16)
        if precision == "int8":
            config.set_flag(self.library.BuilderFlag.INT8)

    def create_context(self, engine: Any) -> Any:
        """An execution context of an engine; None where the library cannot make one.

        `tensorrt_rtx` compiles kernels for the sizes of free dimensions on the GPU. By custom it
        goes on with general ones meanwhile; those would stay in a recorded CUDA graph for good,
        so here it waits.
        """
        if self.name != "tensorrt-rtx":
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        strategies = self.library.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        return engine.create_execution_context(config)

    def target(self, config: Any, architecture: str) -> None:
        """Build for this architecture.

        Args:
            config: The `IBuilderConfig`.
            architecture: Such as "sm_89". `tensorrt` builds for the GPU at hand, whatever is said.

        Raises:
            Kd3dError: `tensorrt-rtx` does not know it.
        """
        if self.name != "tensorrt-rtx":
            return
        if architecture not in self.architectures:
            raise Kd3dError(
                f"tensorrt-rtx {self.version} does not build for {architecture}; it builds for "
                f"{', '.join(self.architectures)}. For others use backend tensorrt on the machine "
                "itself."
            )
        config.num_compute_capabilities = 1
        kind = getattr(self.library.ComputeCapability, f"SM{architecture.removeprefix('sm_')}")
        config.set_compute_capability(kind, 0)


def load_module(name: str) -> TrtModule:
    """Import a TensorRT library.

    Args:
        name: "tensorrt" or "tensorrt-rtx".

    Raises:
        Kd3dError: It is absent, too old, or does not load; the message says what to install.
    """
    try:
        library = importlib.import_module(MODULES[name])
    except ImportError as error:
        raise Kd3dError(f"backend {name} is not installed ({error}): {_INSTALL[name]}.") from error
    version = str(library.__version__)
    module = TrtModule(name, library, version)
    if name == "tensorrt" and tuple(map(int, version.split(".")[:2])) < (8, 6):
        raise Kd3dError(f"backend tensorrt needs TensorRT 8.6 or newer, this is {version}.")
    return module


def network_precision(module: TrtModule, network: Any) -> str:
    """The arithmetic of a parsed network: "fp32", "fp16" or "int8"."""
    trt = module.library
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    if any(layer.type == trt.LayerType.QUANTIZE for layer in layers):
        return "int8"
    half = any(
        layer.num_outputs and layer.get_output(0).dtype == trt.DataType.HALF for layer in layers
    )
    return "fp16" if half else "fp32"
