"""Checkpoints as safe data: tensors, numbers and JSON, no pickled classes."""

import json
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import nn

import kd3d_core
from kd3d_core.codec.intensity import IntensityMap
from kd3d_core.config import parse_config
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.models.detector import build_detector

#: Layout of the "kd3d" entry; raised when an older reader would misread it.
FORMAT = 1
#: Where the detector's weights lie in a Lightning checkpoint.
PREFIX = "detector."


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and where it came from.

    Attributes:
        model: What the network is.
        weights: Its averaged weights by name.
        step: Training steps taken.
        training: The training configuration, as plain data.
        data: What it was trained on, as plain data; of a bundle that was read back, "words" alone.
        metrics: Results on the validation set (`EvalResult.to_dict`), or empty.
        teacher: Name and sha256 of the teacher's checkpoint, or None.
        intensity_map: What intensities are turned into before the network sees them, or None.
        score_threshold: By class, where an adaptation chose them.
        adaptation: What `adapt` did (`AdaptationRecord` as plain data), or empty.
        version: Version of kd3d that wrote it.
    """

    model: ModelConfig
    weights: dict[str, Tensor]
    step: int = 0
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, str] | None = None
    intensity_map: IntensityMap | None = None
    score_threshold: dict[str, float] = field(default_factory=dict)
    adaptation: dict[str, Any] = field(default_factory=dict)
    version: str = kd3d_core.__version__

    @property
    def sweeps(self) -> int:
        """Sweeps in the clouds that it was trained on."""
        return int(self.training.get("data", {}).get("sweeps", 1))

    @property
    def ground_height(self) -> float | None:
        """How far below the origin it wants the ground [m]; None takes clouds as they come."""
        height = self.training.get("data", {}).get("ground_height")
        return None if height is None else float(height)


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """The "kd3d" entry of a checkpoint file: everything but the weights, as JSON text."""
    intensity = checkpoint.intensity_map
    return {
        "format": FORMAT,
        "model": checkpoint.model.model_dump_json(),
        "step": checkpoint.step,
        "training": json.dumps(checkpoint.training),
        "data": json.dumps(checkpoint.data),
        "metrics": json.dumps(checkpoint.metrics),
        "teacher": json.dumps(checkpoint.teacher),
        "intensity_map": json.dumps(None if intensity is None else intensity.model_dump()),
        "score_threshold": json.dumps(checkpoint.score_threshold),
        "adaptation": json.dumps(checkpoint.adaptation),
        "version": checkpoint.version,
    }


def save_checkpoint(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write a model without the state of its training, atomically."""
    weights = {PREFIX + name: value.detach().cpu() for name, value in checkpoint.weights.items()}
    with atomic_path(path) as temporary:
        torch.save({"kd3d": describe(checkpoint), "state_dict": weights}, temporary)


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a finished model or the checkpoint of a training that still runs.

    Raises:
        Kd3dError: There is no such file, it is no checkpoint, or not one of this program.
    """
    path = Path(path)
    if not path.is_file():
        raise Kd3dError(
            f"there is no checkpoint {path}; `kd3d_core train` prints where it leaves one."
        )
    if path.suffix == ".kd3d":
        raise Kd3dError(
            f"{path} is a bundle, not a checkpoint: make one of it with `kd3d_core restore {path} "
            f"{path.stem}.ckpt`."
        )
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch reports foreign files by whatever its unpickler stumbles over first.
        raise Kd3dError(
            f"{path} is not a readable checkpoint ({type(error).__name__}): give a .ckpt file "
            "that `kd3d_core train` or `distill` wrote."
        ) from error
    entry = data.get("kd3d") if isinstance(data, dict) else None
    if not isinstance(entry, dict) or "state_dict" not in data:
        raise Kd3dError(
            f"{path} holds no kd3d model: give a .ckpt file that `kd3d_core train` or `distill` "
            "wrote."
        )
    if entry.get("format") != FORMAT:
        raise Kd3dError(
            f"{path} has checkpoint format {entry.get('format')}, this program reads {FORMAT}: "
            "use the kd3d version that wrote it, or train anew."
        )
    weights = data["state_dict"]
    # Checkpoints from before there was `adapt` have none of its entries.
    intensity = json.loads(entry.get("intensity_map", "null"))
    return Checkpoint(
        model=parse_config(ModelConfig, json.loads(entry["model"]), f"model of {path}"),
        weights={k[len(PREFIX) :]: v for k, v in weights.items() if k.startswith(PREFIX)},
        step=int(entry["step"]),
        training=json.loads(entry["training"]),
        data=json.loads(entry["data"]),
        metrics=json.loads(entry["metrics"]),
        teacher=json.loads(entry["teacher"]),
        intensity_map=None
        if intensity is None
        else parse_config(IntensityMap, intensity, f"intensity_map of {path}"),
        score_threshold=json.loads(entry.get("score_threshold", "{}")),
        adaptation=json.loads(entry.get("adaptation", "{}")),
        version=entry["version"],
    )


def load_model(path: Path | str) -> tuple[ModelConfig, CenterPointDetector]:
    """The model of a checkpoint with its averaged weights, in evaluation mode, on the CPU.

    Raises:
        Kd3dError: The file is missing, foreign, or its weights do not fit its description.
    """
    checkpoint = read_checkpoint(path)
    detector = build_detector(checkpoint.model)
    try:
        detector.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise Kd3dError(
            f"the weights in {path} do not fit the model {checkpoint.model.name} it describes: "
            f"it was written by kd3d {checkpoint.version}; use that version, or train anew."
        ) from error
    return checkpoint.model, detector.eval()


def load_fitting(network: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Copy the weights whose name and shape are the network's own; the rest stays as it is.

    Returns:
        The names of the network's weights that were left alone.
    """
    own = network.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))
