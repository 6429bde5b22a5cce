"""The models that come with the package."""

from pathlib import Path

import kd3d_core
from kd3d_core.errors import Kd3dError

DEFAULT_BUNDLE = "kd3d-tiny.kd3d"
#: The same network in int8, fitted for CPUs: see `kd3d_core.deployment.quantise`.
DEFAULT_CPU_BUNDLE = "kd3d-tiny-int8.kd3d"
#: What a shadow compares a student with.
DEFAULT_TEACHER = "kd3d-teacher.kd3d"
#: The backends that run on a CPU.
_ON_CPU = ("auto", "openvino", "onnxruntime")


def default_bundle_path(backend: str | None = None) -> Path:
    """The shipped bundle.

    Args:
        backend: What is to run it, as `make_backend` names it: CPUs get the one in int8, which
            takes about half the time; None and GPUs, which choose their arithmetic themselves, the
            one in float32.

    Raises:
        Kd3dError: This installation has none.
    """
    return _shipped(DEFAULT_CPU_BUNDLE if backend in _ON_CPU else DEFAULT_BUNDLE)


def default_teacher_path() -> Path:
    """The bundle of the network that the shipped one was distilled from.

    Raises:
        Kd3dError: This installation has none.
    """
    return _shipped(DEFAULT_TEACHER)


def _shipped(name: str) -> Path:
    """The path of a file in the package's data."""
    path = Path(kd3d_core.__file__).parent / "data" / name
    if not path.is_file():
        raise Kd3dError(
            f"this installation comes without the model {name} ({path} is missing). "
            "Name a bundle of your own, or make one: kd3d_core train, then kd3d_core export."
        )
    return path
