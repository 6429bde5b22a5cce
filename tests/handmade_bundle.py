"""A bundle whose graph is written by hand, so that a test knows what it must find.

The network is one 2x2 convolution of stride 2 on the BEV image: a car wherever there are points,
4 x 2 x 1.5 m, centre at z = -1 m, heading +y, at rest.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto
from onnx import helper
from onnx import numpy_helper

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.heads import head_channels
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bundle import write_bundle
from kd3d_core.runtime.manifest import Manifest

GRID = BevGrid(x=(-10.24, 10.24), y=(-10.24, 10.24), z=(-3.0, 2.0), cell=0.32)
SIZE = (4.0, 2.0, 1.5)


def manifest(**changes) -> Manifest:
    """The manifest that fits `graph()`."""
    return Manifest(
        name="handmade",
        grid=GRID,
        input=BevImageInput(slices=5),
        output_stride=2,
        decode=DecodeConfig(score_threshold=0.3),
    ).model_copy(update=changes)


def graph(classes: int = 6, dtype=np.float32) -> bytes:
    """The serialised model."""
    widths = head_channels(classes)
    total = sum(widths.values())
    weight = np.zeros((total, 9, 2, 2), dtype)
    bias = np.zeros(total, dtype)
    weight[0, :5] = 3.0
    bias[:classes] = -6.0
    at = classes
    bias[at : at + 2] = 0.5
    bias[at + 2] = -1.0
    bias[at + 3 : at + 6] = np.log(SIZE)
    # Sine and cosine of a quarter turn, then of twice that.
    bias[at + 6 : at + 10] = (1.0, 0.0, 0.0, -1.0)
    rows, columns = GRID.shape
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, width, rows // 2, columns // 2))
        for name, width in widths.items()
    ]
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Conv", ["image", "w", "b"], ["maps"], strides=[2, 2]),
                helper.make_node("Split", ["maps", "split"], list(widths), axis=1),
            ],
            "handmade",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 9, rows, columns))],
            outputs,
            [
                numpy_helper.from_array(weight, "w"),
                numpy_helper.from_array(bias, "b"),
                numpy_helper.from_array(np.array(list(widths.values()), np.int64), "split"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write(path: Path, **changes) -> Path:
    """Write the bundle to `path`."""
    write_bundle(path, manifest(**changes), graph())
    return path


def clump(x: float, y: float, count: int = 200) -> PointCloud:
    """Points within 5 cm of a place, from z = -2 to 1 m."""
    generator = np.random.default_rng(0)
    xyz = generator.uniform((x - 0.05, y - 0.05, -2), (x + 0.05, y + 0.05, 1), (count, 3))
    return PointCloud.from_arrays(xyz, np.full(count, 0.5))


def labelled(count: int) -> list[Frame]:
    """Frames of a dense clump labelled as a car, and a thin one that is none and scores less."""
    generator = np.random.default_rng(0)
    frames = []
    for number in range(count):
        x, y = generator.uniform(-8, -2), generator.uniform(2, 8)
        cell = np.floor(np.array([x, y]) / 0.64) * 0.64 + 0.32
        points = [clump(*cell).points, clump(6.0, -6.0, 6).points]
        truth = Boxes3D.make([[*cell, -1]], [SIZE], [np.pi / 2], [0])
        frames.append(
            Frame(
                cloud=PointCloud(np.concatenate(points)),
                source=str(number),
                boxes=truth,
                num_points=np.array([200]),
            )
        )
    return frames
