"""What a cell leaves behind, as typed data that survives a file."""

import json
from pathlib import Path

from pydantic import Field

from kd3d_core.config import Config
from kd3d_core.config import parse_config
from kd3d_core.errors import Kd3dError
from kd3d_core.files import write_text

#: Raised when a result would mean something else, so that older ones are trained anew.
FORMAT = 1
RESULT = "result.json"

#: (step, value) pairs in the order of the steps.
Curve = tuple[tuple[int, float], ...]


class Scores(Config):
    """How well a detector did on the frames that decide; None where there is no ground truth."""

    frames: int
    mean_ap: float | None
    """Mean of `ap` over the classes with ground truth, in [0, 1]."""
    ap: dict[str, float | None]
    """Average precision by class."""
    ap_by_ring: dict[str, float | None]
    """Mean average precision by distance ring."""
    nds: float | None = None
    """nuScenes detection score of the same detections, in [0, 1]."""
    nuscenes_map: float | None = None
    """Mean average precision as nuScenes counts it: centre distances of 0.5, 1, 2 and 4 m."""
    nuscenes_errors: dict[str, float | None] = Field(default_factory=dict)
    """Mean true-positive errors by their official names."""


class Cost(Config):
    """What a training took."""

    steps: int
    step_seconds: float
    """Median wall time of a step [s]: other work on the machine disturbs it little."""
    train_seconds: float
    """Wall time of all steps [s], interrupted stretches left out."""
    eval_seconds: float
    """Wall time of the evaluation [s]."""
    peak_memory_mb: float
    """Largest resident memory of the training process, without its data workers [MiB]."""
    peak_gpu_mb: float | None = None
    """Largest memory that torch held on the GPU [MiB]; None without one."""


class Network(Config):
    """How large a detector is."""

    name: str
    parameters: int
    macs: int
    """True multiply-accumulates of a cloud, as `models.complexity.count` counts them."""


class Machine(Config):
    """Where and with what it ran."""

    device: str
    kd3d: str
    torch: str
    python: str


class CellResult(Config):
    """One training of one student by one method with one seed."""

    hash: str
    """Of everything that decides the outcome, see `cells.fingerprint`."""
    student: str
    method: str
    seed: int
    network: Network
    scores: Scores
    cost: Cost
    machine: Machine
    curves: dict[str, Curve]
    """Logged terms of the loss and monitors, thinned out, by name without "train/"."""


class TeacherResult(Config):
    """The teacher on the same frames."""

    hash: str
    """Of its checkpoint, the frames and what counts on them."""
    sha256: str
    """Of its checkpoint."""
    network: Network
    scores: Scores
    machine: Machine


def write_result(folder: Path, result: CellResult | TeacherResult) -> None:
    """Leave a result in its folder, atomically."""
    text = json.dumps({"format": FORMAT} | result.model_dump(mode="json"), allow_nan=False)
    write_text(folder / RESULT, text + "\n")


def read_cell(folder: Path, key: str) -> CellResult | None:
    """The result in `folder` when it is whole and has the hash `key`, else None."""
    data = _read(folder)
    known = data is not None and data.pop("format", None) == FORMAT and data.get("hash") == key
    return parse_config(CellResult, data, str(folder / RESULT)) if known else None


def read_teacher(folder: Path, key: str) -> TeacherResult | None:
    """The teacher's result in `folder` when it is whole and has the hash `key`, else None."""
    data = _read(folder)
    known = data is not None and data.pop("format", None) == FORMAT and data.get("hash") == key
    return parse_config(TeacherResult, data, str(folder / RESULT)) if known else None


def _read(folder: Path) -> dict[str, object] | None:
    """The file as plain data, None when there is none.

    Raises:
        Kd3dError: The file is not what this program writes.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Kd3dError(f"{path} cannot be read ({error}): remove it to train anew.") from error
    if not isinstance(data, dict):
        raise Kd3dError(f"{path} is no result of an arena: remove it to train anew.")
    return data
