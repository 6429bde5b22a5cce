"""The models that come with the package, and their names."""

from pathlib import Path

import kd3d_core
from kd3d_core.errors import Kd3dError

DEFAULT_BUNDLE = "kd3d-tiny.kd3d"
#: The same network in int8, fitted for CPUs: see `kd3d_core.deployment.quantise`.
DEFAULT_CPU_BUNDLE = "kd3d-tiny-int8.kd3d"
#: The others by the names that stand for them: what the default was distilled from.
SHIPPED = {"teacher": "kd3d-teacher.kd3d"}
#: The backends that run on a CPU.
_ON_CPU = ("auto", "openvino", "onnxruntime")


def bundle_path(model: Path | str | None = None, backend: str | None = None) -> Path:
    """The file of a model that is to be run, trained on or adapted.

    Args:
        model: A path; a name of `SHIPPED`; "default" or None for the shipped student.
        backend: What is to run it, as `make_backend` names it: CPUs get the student in int8,
            which takes about half the time; None and GPUs, which choose their arithmetic
            themselves, the one in float32.

    Raises:
        Kd3dError: A shipped model is asked for, and this installation has none.
    """
    if model is None or str(model) == "default":
        return _shipped(DEFAULT_CPU_BUNDLE if backend in _ON_CPU else DEFAULT_BUNDLE)
    if str(model) in SHIPPED:
        return _shipped(SHIPPED[str(model)])
    return Path(model)


def _shipped(name: str) -> Path:
    """The path of a file in the package's data."""
    path = Path(kd3d_core.__file__).parent / "data" / name
    if not path.is_file():
        raise Kd3dError(
            f"this installation comes without the model {name} ({path} is missing). "
            "Name a bundle of your own, or make one: kd3d_core train, then kd3d_core export."
        )
    return path
