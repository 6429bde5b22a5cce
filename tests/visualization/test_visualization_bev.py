"""BEV pictures: valid PNGs in which things are where they ought to be."""

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

plt = pytest.importorskip("matplotlib.image")

from kd3d_core.visualization.bev import BevStyle  # noqa: E402
from kd3d_core.visualization.bev import class_colour  # noqa: E402
from kd3d_core.visualization.bev import draw_bev  # noqa: E402

EMPTY = PointCloud.from_arrays(np.zeros((0, 3)))
PLAIN = BevStyle(x=(-20, 20), y=(-20, 20), pixels=400, scores=False, labels=False)


def near(image, name, classes=("car", "bus")):
    """Rows and columns of pixels in the colour of a class."""
    colour = class_colour(name, classes)
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.argwhere(np.abs(image[..., :3] - wanted).max(axis=-1) < 0.06)


def box(x, y, yaw=0.0, label=0, classes=("car", "bus")):
    return Boxes3D.make([[x, y, 0]], [[6, 2, 2]], [yaw], [label], classes=classes)


def test_forward_is_up_and_left_is_left(tmp_path):
    path = tmp_path / "a.png"
    draw_bev(EMPTY, box(10, 5), path=path, style=PLAIN)
    pixels = near(plt.imread(path), "car")
    # 10 m forward of the middle (row 200) is row 100; 5 m to the left is column 150.
    row, column = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
    assert column == pytest.approx(150, abs=3)
    assert row == pytest.approx(100, abs=8)  # the tick at the front stands out
    assert np.ptp(pixels[:, 1]) == pytest.approx(20, abs=4)


def test_tick_shows_the_heading(tmp_path):
    rows = []
    for yaw in (0.0, np.pi):
        draw_bev(EMPTY, box(0, 8, yaw), path=tmp_path / "a.png", style=PLAIN)
        pixels = near(plt.imread(tmp_path / "a.png"), "car")
        rows.append((pixels[:, 0].min(), pixels[:, 0].max()))
    assert rows[0][0] < rows[1][0]  # heading forward reaches higher
    assert rows[0][1] < rows[1][1]


@pytest.mark.parametrize("side", [False, True])
@pytest.mark.parametrize("pixels", [300, 800])
def test_sizes(tmp_path, side, pixels):
    generator = np.random.default_rng(0)
    cloud = PointCloud.from_arrays(generator.normal(size=(500, 3)) * 10)
    style = BevStyle(x=(0, 50), y=(-25, 25), pixels=pixels, side=side)
    truth = box(9, 0)
    draw_bev(cloud, box(10, 0), truth, tmp_path / "a.png", title="frame", style=style)
    height, width = plt.imread(tmp_path / "a.png").shape[:2]
    assert max(height, width) == pytest.approx(pixels, abs=2)
    assert height % 2 == width % 2 == 0
    assert (height > width) == side


def test_same_frame_gives_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        draw_bev(EMPTY, box(3, 3), path=tmp_path / name, style=PLAIN)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "a.png").read_bytes()


def test_nothing_to_draw_and_unknown_classes(tmp_path):
    draw_bev(EMPTY, Boxes3D.empty(), Boxes3D.empty(), tmp_path / "a.png")
    assert plt.imread(tmp_path / "a.png").shape[:2] == (1000, 1000)
    classes = ("tram", "boat")
    draw_bev(EMPTY, box(3, 3, label=1, classes=classes), path=tmp_path / "b.png", style=PLAIN)
    assert len(near(plt.imread(tmp_path / "b.png"), "boat", classes))


def test_unwritable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Kd3dError, match="cannot write"):
        draw_bev(EMPTY, Boxes3D.empty(), path=tmp_path / "file" / "a.png", style=PLAIN)
