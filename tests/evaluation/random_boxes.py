"""Random boxes for tests of agreement."""

from dataclasses import replace

import numpy as np

from kd3d_core.geometry.boxes import Boxes3D

CLASSES = ("car", "pedestrian", "cyclist")


def boxes(generator, count, extent=15.0, classes=CLASSES):
    """Boxes so close together that many pairs compete."""
    return Boxes3D.make(
        generator.uniform(-extent, extent, (count, 3)),
        generator.uniform(0.5, 4.0, (count, 3)),
        generator.uniform(-np.pi, np.pi, count),
        generator.integers(0, len(classes), count),
        velocity=generator.normal(size=(count, 2)),
        score=generator.uniform(size=count),
        classes=classes,
    )


def jittered(generator, original, sigma=0.4):
    """The same objects as another detector sees them."""
    noise = generator.normal(0, sigma, (len(original), 3))
    return replace(original, center=original.center + noise.astype(np.float32))


def car(x, y=0.0, *, yaw=0.0, score=0.9, label=0, size=(4, 2, 1.5), velocity=(0, 0)):
    """One box."""
    return Boxes3D.make(
        [[x, y, 0]],
        [size],
        [yaw],
        [label],
        velocity=[velocity],
        score=[score],
        classes=CLASSES,
    )
