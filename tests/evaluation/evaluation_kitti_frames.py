"""Random KITTI frames with every kind of trouble in them."""

import numpy as np

from kd3d_core.datasets.kitti_calibration import Calibration
from kd3d_core.datasets.kitti_calibration import image_boxes
from kd3d_core.datasets.kitti_calibration import to_camera
from kd3d_core.datasets.kitti_labels import label_line
from kd3d_core.geometry.boxes import Boxes3D

#: A camera a little above and behind the LiDAR.
CALIBRATION = Calibration(
    np.array([[0, -1.0, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1]]),
    np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]]),
)
_TYPES = ("Car", "Car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "Truck", "Misc")
_SIZES = {"Car": (4.2, 1.7, 1.5), "Van": (5, 1.9, 2.1), "Truck": (9, 2.6, 3.2)}
_CLASS = {
    "Car": 0, "Van": 0, "Truck": 1, "Pedestrian": 3, "Person_sitting": 3, "Cyclist": 4, "Misc": 2,
}  # fmt: skip


def random_frame(generator):
    """Label lines, and detections: jittered, doubled, of wrong classes, with tied scores."""
    count = int(generator.integers(0, 14))
    types = generator.choice(_TYPES, count)
    # Also beyond the image, behind the camera and too far to be high enough.
    ahead, aside = generator.uniform(-3, 50, count), generator.uniform(-0.6, 0.6, count)
    center = np.c_[ahead, aside * np.abs(ahead), generator.uniform(-1.2, -0.6, count)]
    size = np.array([_SIZES.get(kind, (0.8, 0.7, 1.75)) for kind in types]).reshape(-1, 3)
    boxes = Boxes3D.make(
        center,
        size * generator.uniform(0.9, 1.1, (count, 3)),
        generator.uniform(-np.pi, np.pi, count),
        [_CLASS[kind] for kind in types],
    )
    camera = to_camera(boxes, CALIBRATION)
    pixels, outside = image_boxes(camera, CALIBRATION.projection)
    lines = []
    for i, kind in enumerate(types):
        occluded = int(generator.choice([0, 0, 0, 1, 2, 3]))
        if outside[i] < 1:
            lines.append(label_line(kind, outside[i], occluded, pixels[i], camera[i]))
    for _ in range(int(generator.integers(0, 3))):
        left, top = generator.uniform(0, 900), generator.uniform(100, 250)
        right, bottom = left + generator.uniform(20, 300), top + generator.uniform(20, 120)
        lines.append(
            f"DontCare -1 -1 -10 {left:.2f} {top:.2f} {right:.2f} {bottom:.2f} "
            "-1 -1 -1 -1000 -1000 -1000 -10"
        )
    generator.shuffle(lines)
    return lines, _detections(generator, boxes)


def _detections(generator, boxes):
    """What a mediocre detector makes of the boxes."""
    of = generator.integers(0, max(len(boxes), 1), int(generator.integers(0, 16)))
    of = of[: len(boxes) * 3]
    sigma = generator.choice([0.0, 0.05, 0.3], (len(of), 1))
    label = boxes.label[of]
    wrong = generator.uniform(size=len(of)) < 0.15
    false = int(generator.integers(0, 5))
    ahead = generator.uniform(5, 60, false)
    return Boxes3D.make(
        np.r_[
            boxes.center[of] + sigma * generator.normal(size=(len(of), 3)) * [1, 1, 0.3],
            np.c_[ahead, ahead * generator.uniform(-0.7, 0.7, false), np.full(false, -1.0)],
        ],
        np.r_[
            boxes.size[of] * (1 + 0.2 * sigma * generator.normal(size=(len(of), 3))),
            np.tile([[4, 1.7, 1.5]], (false, 1)),
        ],
        np.r_[boxes.yaw[of] + sigma[:, 0] * generator.normal(size=len(of)), ahead],
        np.r_[np.where(wrong, 3 - np.minimum(label, 3), label), np.zeros(false, int)],
        score=generator.uniform(0.1, 1, len(of) + false).round(1),
    )
