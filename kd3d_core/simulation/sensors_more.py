"""More LiDAR models: those of the large public recordings, and of other makers and kinds."""

import numpy as np

from kd3d_core.simulation.sensor_model import SensorModel

Beams = tuple[float, ...]


def _even(lowest: float, highest: float, count: int) -> Beams:
    """`count` evenly spaced elevations [deg]."""
    return tuple(float(value) for value in np.linspace(lowest, highest, count).round(4))


def _steps(start: float, step: float, count: int) -> Beams:
    """`count` elevations [deg] from `start` upwards."""
    return tuple(round(start + i * step, 4) for i in range(count))


def dense_about(lowest: float, highest: float, count: int, middle: float, power: float) -> Beams:
    """Elevations [deg] that are closest about `middle`, by a power law to both sides.

    Args:
        lowest: Of all [deg].
        highest: Of all [deg].
        count: Number of beams.
        middle: Where they are closest [deg].
        power: 1 spaces each side evenly; with more they crowd about the middle.
    """
    share = (middle - lowest) ** (1 / power) / (
        (middle - lowest) ** (1 / power) + (highest - middle) ** (1 / power)
    )
    u = np.linspace(-share, 1 - share, count)
    down = middle - (middle - lowest) * (np.abs(u) / max(share, 1e-6)) ** power
    up = middle + (highest - middle) * (np.abs(u) / max(1 - share, 1e-6)) ** power
    return tuple(float(value) for value in np.where(u < 0, down, up).round(4))


def _pair(beams: tuple[Beams, Beams]) -> tuple[Beams, Beams]:
    """A sensor and another one, upside down, as one: elevations and azimuth offsets [deg]."""
    elevation, offset = beams
    # The other unit's beams fall between, a tenth of a degree off, so that no two are the same.
    both = [*zip(elevation, offset, strict=True)]
    both += [(0.1 - e, -o) for e, o in both]
    both = sorted((round(e, 4), o) for e, o in both)
    return tuple(e for e, _ in both), tuple(o for _, o in both)


def more_models(vlp32c: tuple[Beams, Beams]) -> list[SensorModel]:
    """The models that `SENSORS` has beside the first six.

    Args:
        vlp32c: Elevations and azimuth offsets of the VLP-32C [deg], of which one recording car
            carries two.
    """
    return [*_recorded(vlp32c), *_ouster(), *_velodyne_hesai(), *_robosense(), *_livox()]


def _recorded(vlp32c: tuple[Beams, Beams]) -> list[SensorModel]:
    """As on the cars of the large public recordings."""
    elevation, offset = _pair(vlp32c)
    return [
        SensorModel(  # Argoverse 2: two VLP-32C one above the other, the lower one upside down
            name="vlp32c-pair", elevation_deg=elevation, azimuth_offset_deg=offset,
            azimuth_steps=1800, max_range=200.0, range_10=130.0, range_resolution=0.004,
            range_noise=0.012, range_bias=0.02, loss=0.001,
            intensity_gain=0.65, intensity_power=3.0, beam_gain_spread=0.25, most_silent=0.03,
        ),
        SensorModel(  # Waymo: 64 beams of 2650 steps, denser towards the horizon
            name="top64", elevation_deg=dense_about(-17.6, 2.4, 64, 0.8, 1.35),
            azimuth_steps=2650, max_range=75.0, range_10=100.0, range_noise=0.015,
            intensity_gain=0.3,
        ),
        SensorModel(  # nuScenes: at 20 Hz
            name="hdl32e-20hz", elevation_deg=_even(-30.67, 10.67, 32), azimuth_steps=1085,
            rate_hz=20.0, range_10=60.0,
        ),
    ]  # fmt: skip


def _ouster() -> list[SensorModel]:
    """Ouster OS0, OS1 and OS2: evenly spaced beams."""
    rows = [
        ("os0-128", _even(-45, 45, 128), 75.0, 30.0),
        ("os1-64", _even(-16.6, 16.6, 64), 120.0, 50.0),
        ("os1-32", _even(-22.5, 22.5, 32), 120.0, 50.0),
        ("os2-128", _even(-11.25, 11.25, 128), 200.0, 100.0),
    ]
    return [
        SensorModel(name=name, elevation_deg=elevation, azimuth_steps=1024, min_range=0.5,
                    max_range=reach, range_10=range_10, range_resolution=0.003)
        for name, elevation, reach, range_10 in rows
    ]  # fmt: skip


def _velodyne_hesai() -> list[SensorModel]:
    """Velodyne VLS-128 and Hesai's spinning family."""
    pandar64 = (-25.0, -19.0, *_steps(-14, 1, 8), *_steps(-6, 1 / 6, 49), 3.0, 5.0, 8.0, 11.0,
                15.0)  # fmt: skip
    pandar128 = (*_steps(-25, 0.5, 38), *_steps(-6, 0.125, 65), *_steps(2.5, 0.5, 25))
    return [
        SensorModel(  # at 15 Hz: 0.3 deg a step
            name="vls128", elevation_deg=dense_about(-25, 15, 128, -1.0, 2.0), azimuth_steps=1200,
            rate_hz=15.0, max_range=200.0, range_10=150.0, range_resolution=0.004,
        ),
        SensorModel(name="pandar64", elevation_deg=pandar64, azimuth_steps=1800, min_range=0.3,
                    max_range=200.0, range_10=150.0, range_resolution=0.004),
        SensorModel(name="pandar128", elevation_deg=pandar128, azimuth_steps=1800, min_range=0.3,
                    max_range=200.0, range_10=150.0, range_resolution=0.004),
        SensorModel(name="xt32", elevation_deg=_even(-16, 15, 32), azimuth_steps=2000,
                    min_range=0.05, max_range=120.0, range_10=80.0, range_noise=0.01,
                    range_resolution=0.004),
        SensorModel(name="qt128", elevation_deg=_even(-52.6, 52.6, 128), azimuth_steps=900,
                    min_range=0.05, max_range=50.0, range_10=20.0, range_resolution=0.004),
    ]  # fmt: skip


def _robosense() -> list[SensorModel]:
    """RoboSense: Ruby, Helios, the dome Bpearl hung head down, and the raster-scanning M1."""
    helios = (*_even(-55, -19, 8), *_even(-16.6, 15, 24))
    return [
        SensorModel(name="ruby128", elevation_deg=dense_about(-25, 15, 128, -2.5, 2.4),
                    azimuth_steps=900, rate_hz=20.0, max_range=200.0, range_10=150.0,
                    range_resolution=0.005),
        SensorModel(name="helios32", elevation_deg=helios, azimuth_steps=1800, min_range=0.2,
                    max_range=150.0, range_10=110.0, range_resolution=0.005),
        SensorModel(name="bpearl", elevation_deg=_even(-89.5, -2.3, 32), azimuth_steps=900,
                    min_range=0.2, max_range=100.0, range_10=30.0, range_resolution=0.005),
        SensorModel(name="rs-m1", elevation_deg=_even(-12.4, 12.4, 125), azimuth_steps=1800,
                    field_of_view_deg=120.0, min_range=0.5, max_range=200.0, range_10=150.0,
                    range_resolution=0.005),
    ]  # fmt: skip


def _livox() -> list[SensorModel]:
    """Livox: patterns that never repeat; 20,000 to 24,000 pulses in a tenth of a second."""
    rosettes = [
        ("livox-horizon", _even(-12.5, 12.5, 24), 81.7, 90.0),
        ("livox-avia", _even(-38.6, 38.6, 24), 70.4, 190.0),
    ]
    return [
        *(
            SensorModel(name=name, scan="rosette", elevation_deg=elevation, azimuth_steps=1000,
                        field_of_view_deg=field, max_range=200.0, range_10=range_10,
                        pulse_length=0.0, min_range=0.5)
            for name, elevation, field, range_10 in rosettes
        ),
        SensorModel(name="livox-mid360", scan="waves", elevation_deg=_even(-7, 52, 40),
                    azimuth_steps=500, max_range=70.0, range_10=40.0, pulse_length=0.0,
                    min_range=0.5),
    ]  # fmt: skip
