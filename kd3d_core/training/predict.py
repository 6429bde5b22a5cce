"""A trained network as a function from frames to boxes."""

from pathlib import Path

import torch

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.intensity import IntensityMap
from kd3d_core.codec.intensity import remap
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.models.batch import collate
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.memory import channels_last
from kd3d_core.training.module import EVAL_DECODE
from kd3d_core.training.module import detections
from kd3d_core.training.on_ground import ground_pose
from kd3d_core.training.on_ground import moved


class NetworkPredictor:
    """Detects in one frame after the other.

    Args:
        model: What the network is.
        network: The network; it is put into evaluation mode.
        decode: How boxes are read; its score threshold bounds the recall.
        ground_height: How far below the origin the network wants the ground [m]; None shows it
            clouds as they come.
        intensity: What intensities are turned into; None leaves them.
    """

    def __init__(
        self,
        model: ModelConfig,
        network: CenterPointDetector,
        decode: DecodeConfig = EVAL_DECODE,
        ground_height: float | None = None,
        intensity: IntensityMap | None = None,
    ) -> None:
        self.model = model
        self.network = network.eval()
        self.decode = decode
        self.ground_height = ground_height
        self._intensity = None if intensity is None else intensity.table()

    @classmethod
    def load(cls, path: Path | str) -> "NetworkPredictor":
        """The model of a checkpoint, on a GPU where there is one."""
        model, network = load_model(path)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        about = read_checkpoint(path)
        return cls(
            model,
            channels_last(network.to(device)),
            ground_height=about.ground_height,
            intensity=about.intensity_map,
        )

    @torch.inference_mode()
    def __call__(self, frame: Frame) -> Boxes3D:
        """The boxes of a frame, in its own frame of reference, by falling score."""
        pose = None
        if self.ground_height is not None:
            pose = ground_pose(frame, self.ground_height)
            frame = moved(frame, pose, self.ground_height)
        points = frame.cloud.points
        if self._intensity is not None and frame.cloud.has_intensity:
            points = remap(points, self._intensity)
        fed = encode(points, self.model.grid, self.model.input, frame.cloud.time)
        inputs = collate([fed])
        device = next(self.network.parameters()).device
        boxes = detections(self.network, self.model, inputs.to(device), self.decode)[0]
        return boxes if pose is None else boxes.transformed(invert_pose(pose))
