"""A trained network as a function from frames to boxes."""

from pathlib import Path

import torch

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.inputs import encode
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import collate
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.memory import channels_last
from kd3d_core.training.module import EVAL_DECODE
from kd3d_core.training.module import detections


class NetworkPredictor:
    """Detects in one frame after the other.

    Args:
        model: What the network is.
        network: The network; it is put into evaluation mode.
        decode: How boxes are read; its score threshold bounds the recall.
    """

    def __init__(
        self,
        model: ModelConfig,
        network: CenterPointDetector,
        decode: DecodeConfig = EVAL_DECODE,
    ) -> None:
        self.model = model
        self.network = network.eval()
        self.decode = decode

    @classmethod
    def load(cls, path: Path | str) -> "NetworkPredictor":
        """The model of a checkpoint, on a GPU where there is one."""
        model, network = load_model(path)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(model, channels_last(network.to(device)))

    @torch.inference_mode()
    def __call__(self, frame: Frame) -> Boxes3D:
        """The boxes of a frame, in its own frame of reference, by falling score."""
        cloud = frame.cloud
        fed = encode(cloud.points, self.model.grid, self.model.input, cloud.time)
        inputs = collate([fed])
        device = next(self.network.parameters()).device
        return detections(self.network, self.model, inputs.to(device), self.decode)[0]
