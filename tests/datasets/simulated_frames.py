"""A short simulated drive for tests of readers and writers."""

from functools import lru_cache

import pytest


@lru_cache(maxsize=1)
def short_drive():
    """Three HDL-64E sweeps 0.1 s apart."""
    pytest.importorskip("embreex", reason="the simulation needs the extra 'sim' (embreex)")
    from kd3d_core.simulation.drives import SimulationConfig
    from kd3d_core.simulation.drives import simulate_drive

    config = SimulationConfig(drives=1, frames_per_drive=3, interval=0.1, seed=11)
    return tuple(frame for _, frame in simulate_drive(config, 0))
