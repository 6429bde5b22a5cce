"""The model that comes with the package."""

from pathlib import Path

import kd3d_core
from kd3d_core.errors import Kd3dError

DEFAULT_BUNDLE = "kd3d-tiny.kd3d"


def default_bundle_path() -> Path:
    """The shipped bundle.

    Raises:
        Kd3dError: This installation has none.
    """
    path = Path(kd3d_core.__file__).parent / "data" / DEFAULT_BUNDLE
    if not path.is_file():
        raise Kd3dError(
            f"this installation comes without the model {DEFAULT_BUNDLE} ({path} is missing). "
            "Name a bundle of your own, or make one: kd3d_core train, then kd3d_core export."
        )
    return path
