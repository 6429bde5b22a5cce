"""The rotation code: every yaw comes back, whatever is uncertain about the front."""

import numpy as np

from kd3d_core.codec.rotation import decode_rotation
from kd3d_core.codec.rotation import encode_rotation
from kd3d_core.geometry.boxes import wrap_angle

YAW = np.linspace(-np.pi, np.pi, 721)


def test_every_yaw_comes_back_whatever_the_length_of_the_code():
    for scale in (1.0, 0.1, 30.0):
        error = wrap_angle(decode_rotation(scale * encode_rotation(YAW)) - YAW)
        assert np.abs(error).max() < 1e-5


def test_an_unknown_front_keeps_the_axis():
    code = encode_rotation(YAW)
    code[:, :2] = 0
    error = wrap_angle(2 * (decode_rotation(code) - YAW))  # modulo a half turn
    assert np.abs(error).max() < 1e-5


def test_a_rough_heading_is_enough_to_choose_the_front():
    code = encode_rotation(YAW)
    code[:, :2] = 0.05 * encode_rotation(YAW + 1.2)[:, :2]
    assert np.abs(wrap_angle(decode_rotation(code) - YAW)).max() < 1e-5
