"""Pictures of frames with their boxes, for a page."""

import base64
import tempfile
from pathlib import Path

import numpy as np

from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.inspection.check import CheckResult
from kd3d_core.visualization.bev import draw_bev
from kd3d_core.visualization.parts import DARK
from kd3d_core.visualization.parts import BevStyle

_PIXELS = 900


def frames_to_draw(result: CheckResult) -> list[int]:
    """Indices of frames: one for each finding, then those with the most boxes, spread out."""
    most = result.config.pictures
    shown = [finding.frames[0] for finding in result.findings if finding.frames]
    wanted = list(dict.fromkeys(shown))[: (most + 1) // 2]
    for part in np.array_split(np.arange(len(result.frames)), max(most - len(wanted), 1)):
        if len(part) and len(wanted) < most:
            best = max(part, key=lambda i: _boxes(result, int(i)))
            wanted.append(result.frames[int(best)].index)
    return sorted(set(wanted))


def frame_picture(frame: Frame) -> str:
    """A frame and its ground truth from above and from the side, as a data URI."""
    boxes = frame.boxes
    if boxes is None:
        boxes = Boxes3D.empty()
    finite = np.isfinite(np.column_stack([boxes.center, boxes.size, boxes.yaw])).all(axis=1)
    boxes = boxes[finite & (boxes.size > 0).all(axis=1)]
    reach = _reach(frame, boxes)
    level = np.quantile(frame.cloud.points[:, 2], 0.05) if len(frame.cloud) else -1.7
    style = BevStyle(
        x=(-reach, reach),
        y=(-reach, reach),
        height=(float(level) - 0.3, float(level) + 3.2),
        pixels=_PIXELS,
        scores=False,
        side=True,
        theme=DARK,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.png"
        draw_bev(frame.cloud, boxes, None, path, style=style)
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _reach(frame: Frame, boxes: Boxes3D) -> float:
    """How far from the sensor the picture reaches [m]: most boxes, else most points."""
    xy = boxes.center[:, :2] if len(boxes) else frame.cloud.points[:, :2]
    if not len(xy):
        return 50.0
    return float(np.clip(1.1 * np.quantile(np.abs(xy).max(axis=1), 0.95), 15.0, 80.0))


def _boxes(result: CheckResult, position: int) -> int:
    """Boxes of a frame that was looked at."""
    boxes = result.frames[position].boxes
    return 0 if boxes is None else len(boxes.boxes)
