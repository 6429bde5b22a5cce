"""`CenterPointDetector`: encoder, backbone, neck and head as one network."""

from dataclasses import dataclass

from torch import Tensor
from torch import nn

from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.inputs import graph_input
from kd3d_core.errors import Kd3dError
from kd3d_core.models.backbone import Backbone
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.config import AnchorHeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.encoders import BevImageEncoder
from kd3d_core.models.encoders import PillarEncoder
from kd3d_core.models.encoders import VoxelEncoder
from kd3d_core.models.encoders import build_encoder
from kd3d_core.models.head import AnchorHead
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

    @property
    def outputs(self) -> HeadMaps[Tensor]:
        """What the head says, whatever its kind."""
        return self.maps


@dataclass(frozen=True)
class AnchorOutput:
    """What a detector with an anchor head says about B clouds.

    Attributes:
        neck: (B, C, H, W) features before the head: where distillation looks.
        outputs: The head's output, (B, C, H, W) each; the scores are logits.
    """

    neck: Tensor
    outputs: AnchorMaps[Tensor]

    @property
    def maps(self) -> HeadMaps[Tensor]:
        """There are none.

        Raises:
            Kd3dError: Always: what asked for them compares heatmaps.
        """
        raise Kd3dError(
            "a network with an anchor head has no heatmap to compare: distil features alone "
            "(fitnet, gt_box, point_distiller, itkd with attention: 0), or choose a model with a "
            "centre head."
        )


class CenterPointDetector(nn.Module):
    """CenterPoint (CVPR 2021) on pillars, on voxels or on a BEV image.

    With an anchor head it is PointPillars (CVPR 2019) or SECOND (Sensors 2018): encoder, backbone
    and neck are the same.

    The behaviour is the same in training and in evaluation but for batch norm: boxes are made
    from the maps by `kd3d_core.codec.decode`, outside of the network.

    Args:
        config: What the parts were made from.
        encoder: Batch to (B, C, rows, columns).
        backbone: Map to a list of maps.
        neck: List of maps to one map.
        head: Map to `HeadMaps`, or to `AnchorMaps`.
    """

    def __init__(
        self,
        config: ModelConfig,
        encoder: PillarEncoder | BevImageEncoder | VoxelEncoder,
        backbone: Backbone,
        neck: Neck,
        head: CenterHead | AnchorHead,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.backbone = backbone
        self.neck = neck
        self.head = head

    def forward(self, batch: NetworkBatch) -> DetectorOutput | AnchorOutput:
        """Run the network on B clouds."""
        neck = self.neck(self.backbone(self.encoder(batch)))
        maps = self.head(neck)
        if isinstance(maps, AnchorMaps):
            return AnchorOutput(neck=neck, outputs=maps)
        return DetectorOutput(neck=neck, maps=maps)

    def exportable(self) -> nn.Module:
        """A view of this network for ONNX: one cloud as plain tensors in, a tuple of maps out.

        Raises:
            Kd3dError: The network takes voxels.
        """
        if isinstance(graph_input(self.config.input, self.config.name), PillarInput):
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
            pillars: (P, max_points, features) float32.
            cells: (P,) int64.

        Returns:
            The maps (1, C, H, W) in the order of `HEAD_NAMES` or `ANCHOR_NAMES`.
        """
        return self.detector(NetworkBatch(1, pillars=pillars, cells=cells)).outputs.as_tuple()


class ExportableImage(nn.Module):
    """A detector on BEV images whose input is that of the ONNX graph."""

    def __init__(self, detector: CenterPointDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run on one image (1, slices + 4, rows, columns) float32.

        Returns:
            The maps (1, C, H, W) in the order of `HEAD_NAMES` or `ANCHOR_NAMES`.
        """
        return self.detector(NetworkBatch(1, image=image)).outputs.as_tuple()


def build_detector(config: ModelConfig) -> CenterPointDetector:
    """Make the network that `config` describes, with fresh weights."""
    encoder = build_encoder(config)
    neck = Neck(config.blocks, config.neck_channels)
    return CenterPointDetector(
        config,
        encoder,
        Backbone(encoder.channels, config.blocks),
        neck,
        build_head(config, neck.channels),
    )


def build_head(config: ModelConfig, inputs: int) -> CenterHead | AnchorHead:
    """The head of a network whose neck puts out `inputs` channels, with fresh weights."""
    if isinstance(config.head, AnchorHeadConfig):
        return AnchorHead(inputs, len(config.classes))
    return CenterHead(inputs, len(config.classes), config.head)
