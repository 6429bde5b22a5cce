"""`CenterPointDetector`: encoder, backbone, neck and head as one network."""

from dataclasses import dataclass

from torch import Tensor
from torch import nn

from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.inputs import image_channels
from kd3d_core.models.backbone import Backbone
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.encoders import BevImageEncoder
from kd3d_core.models.encoders import PillarEncoder
from kd3d_core.models.head import CenterHead
from kd3d_core.models.neck import Neck


@dataclass(frozen=True)
class DetectorOutput:
    """What a detector says about B clouds.

    Attributes:
        neck: (B, C, H, W) features before the head: where distillation looks.
        maps: The head's output, (B, C, H, W) each; the heatmap is logits.
    """

    neck: Tensor
    maps: HeadMaps[Tensor]


class CenterPointDetector(nn.Module):
    """CenterPoint (CVPR 2021) on pillars or on a BEV image.

    The behaviour is the same in training and in evaluation but for batch norm: boxes are made
    from the maps by `kd3d_core.codec.decode`, outside of the network.

    Args:
        config: What the parts were made from.
        encoder: Batch to (B, C, rows, columns).
        backbone: Map to a list of maps.
        neck: List of maps to one map.
        head: Map to `HeadMaps`.
    """

    def __init__(
        self,
        config: ModelConfig,
        encoder: PillarEncoder | BevImageEncoder,
        backbone: Backbone,
        neck: Neck,
        head: CenterHead,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.backbone = backbone
        self.neck = neck
        self.head = head

    def forward(self, batch: NetworkBatch) -> DetectorOutput:
        """Run the network on B clouds."""
        neck = self.neck(self.backbone(self.encoder(batch)))
        return DetectorOutput(neck=neck, maps=self.head(neck))

    def exportable(self) -> nn.Module:
        """A view of this network for ONNX: one cloud as plain tensors in, a tuple of maps out."""
        if isinstance(self.config.input, PillarInput):
            return ExportablePillars(self)
        return ExportableImage(self)


class ExportablePillars(nn.Module):
    """A pillar detector whose inputs are those of the ONNX graph."""

    def __init__(self, detector: CenterPointDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pillars: Tensor, cells: Tensor) -> tuple[Tensor, ...]:
        """Run on one cloud.

        Args:
            pillars: (P, max_points, 9) float32.
            cells: (P,) int64.

        Returns:
            The maps (1, C, H, W) in the order of `HEAD_NAMES`.
        """
        return self.detector(NetworkBatch(1, pillars=pillars, cells=cells)).maps.as_tuple()


class ExportableImage(nn.Module):
    """A detector on BEV images whose input is that of the ONNX graph."""

    def __init__(self, detector: CenterPointDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run on one image (1, slices + 4, rows, columns) float32.

        Returns:
            The maps (1, C, H, W) in the order of `HEAD_NAMES`.
        """
        return self.detector(NetworkBatch(1, image=image)).maps.as_tuple()


def build_detector(config: ModelConfig) -> CenterPointDetector:
    """Make the network that `config` describes, with fresh weights."""
    encoder: PillarEncoder | BevImageEncoder
    if isinstance(config.input, PillarInput):
        encoder = PillarEncoder(config.encoder_channels, config.grid.shape)
    else:
        encoder = BevImageEncoder(image_channels(config.input), config.encoder_channels)
    neck = Neck(config.blocks, config.neck_channels)
    return CenterPointDetector(
        config,
        encoder,
        Backbone(config.encoder_channels, config.blocks),
        neck,
        CenterHead(neck.channels, len(config.classes), config.head),
    )
