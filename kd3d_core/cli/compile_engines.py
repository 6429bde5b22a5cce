"""`kd3d_core compile`: the engines of TensorRT, where they are wanted."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kd3d_core.deployment.precision import Int8Target
from kd3d_core.deployment.precision import lower_opset
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends.cuda_compile import obtain_kernels
from kd3d_core.runtime.backends.trt_build import BuildRequest
from kd3d_core.runtime.backends.trt_build import obtain_engine
from kd3d_core.runtime.backends.trt_device import device_architecture
from kd3d_core.runtime.backends.trt_module import TrtModule
from kd3d_core.runtime.backends.trt_module import load_module
from kd3d_core.runtime.bundle import Bundle


@dataclass(frozen=True)
class Engines:
    """What is to be built.

    Attributes:
        module: TensorRT, or None where no engines are wanted.
        architectures: Of the GPUs.
    """

    module: TrtModule | None = None
    architectures: tuple[str, ...] = ()

    @classmethod
    def plan(cls, backend: str, names: Sequence[str]) -> "Engines":
        """Find the library and what to build for.

        Args:
            backend: "cpu", "tensorrt" or "tensorrt-rtx".
            names: Architectures wanted; empty takes that of the GPU at hand.

        Raises:
            Kd3dError: The library is missing, or cannot build for an architecture.
        """
        if backend == "cpu":
            if names:
                raise Kd3dError("--arch is for engines: use --backend tensorrt-rtx.")
            return cls()
        module = load_module(backend)
        return cls(module, tuple(_architectures(module, names)))

    @property
    def target(self) -> Int8Target:
        """What is to run int8."""
        return "cpu" if self.module is None else "tensorrt"

    def readable(self, graph: bytes) -> bytes:
        """The graph in an ONNX version that the library reads."""
        return graph if self.module is None or self.module.strongly_typed else lower_opset(graph)

    def build(
        self, bundles: Mapping[str, Bundle], folder: Path, title: str, console: Console
    ) -> None:
        """Build the engines and print a line for each.

        Args:
            bundles: By precision.
            folder: For the engines.
            title: Name of the model.
            console: To print to.
        """
        if self.module is None:
            return
        table = Table(title=f"{self.module.name} {self.module.version}: engines of {title}")
        for heading in ("precision", "GPU"):
            table.add_column(heading)
        for heading in ("graph MB", "engine MB", "layers", "build s"):
            table.add_column(heading, justify="right")
        for precision, bundle in bundles.items():
            for architecture in self.architectures:
                request = BuildRequest(bundle.onnx, architecture, "f32", bundle.manifest.largest)
                engine = obtain_engine(self.module, request, folder)
                table.add_row(
                    precision,
                    architecture,
                    f"{len(bundle.onnx) / 1e6:.2f}",
                    f"{len(engine.content) / 1e6:.2f}",
                    str(engine.layers),
                    f"{engine.seconds:.1f}",
                )
                if engine.note:
                    console.print(f"[yellow]note:[/] {engine.note}", highlight=False)
        console.print(table)
        for architecture in self.architectures:
            try:  # what the robot runs before and after the engine
                obtain_kernels(architecture, folder)
            except Kd3dError as error:
                console.print(f"[yellow]note:[/] {error}", highlight=False)


def _architectures(module: TrtModule, names: Sequence[str]) -> list[str]:
    """What to build for: those named, or the GPU's."""
    unknown = [name for name in names if name not in module.architectures]
    if names and not module.architectures:
        raise Kd3dError(
            "--arch: backend tensorrt builds for the GPU of the machine it runs on; leave it out."
        )
    if unknown:
        raise Kd3dError(
            f"--arch {unknown[0]}: {module.name} {module.version} builds for "
            f"{', '.join(module.architectures)}. For others use backend tensorrt on the robot."
        )
    if names:
        return list(dict.fromkeys(names))
    try:
        return [device_architecture()]
    except Kd3dError as error:
        if not module.architectures:
            raise
        raise Kd3dError(
            f"there is no GPU to compile for ({error}): name one with --arch; {module.name} "
            f"{module.version} builds for {', '.join(module.architectures)}."
        ) from error
