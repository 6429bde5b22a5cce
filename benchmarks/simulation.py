"""How many HDL-64E sweeps a second the simulator gives, all effects and file writing included.

Run it as `python benchmarks/simulation.py [processes] [drives] [frames a drive]`.
"""

import sys
import tempfile
import time
from pathlib import Path

from kd3d_core.datasets.generate import generate
from kd3d_core.simulation.drives import SimulationConfig
from kd3d_core.simulation.drives import plan_drive
from kd3d_core.simulation.lidar import Lidar
from kd3d_core.simulation.sensors import SENSORS
from kd3d_core.simulation.street import make_scene


def one_process(config: SimulationConfig, frames: int) -> None:
    """Time the steps of one drive in this process."""
    drive = plan_drive(config, 0)
    start = time.perf_counter()
    scene = make_scene(drive.scene_seed, config.lasting_scene)
    made = time.perf_counter()
    lidar = Lidar(scene, SENSORS[drive.sensor], drive.lidar_seed, drive.mount)
    points = len(lidar.scan(0.1).cloud)  # the first scan builds the tree of triangles
    ready = time.perf_counter()
    for number in range(frames):
        lidar.scan(0.2 + number * 0.5)
    done = time.perf_counter()
    triangles = len(scene.static.faces) + sum(len(actor.mesh.faces) for actor in scene.actors)
    print(f"scene: {triangles:,} triangles, {len(scene.actors)} actors, {made - start:.2f} s")
    print(f"first sweep: {ready - made:.2f} s, {points:,} points")
    print(f"further sweeps: {(done - ready) / frames * 1e3:.0f} ms each, one process")


def all_processes(config: SimulationConfig, workers: int) -> None:
    """Time a whole data set, start of the processes included."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        frames = generate(Path(folder) / "set", config, workers)
        took = time.perf_counter() - start
    print(f"{workers} processes: {frames} frames in {took:.1f} s = {frames / took:.1f} a second")


def main() -> None:
    """Run both."""
    workers, drives, frames = (
        int(sys.argv[i]) if len(sys.argv) > i else value for i, value in ((1, 2), (2, 8), (3, 20))
    )
    config = SimulationConfig(drives=drives, frames_per_drive=frames, interval=0.5)
    one_process(config, 20)
    all_processes(config, workers)


if __name__ == "__main__":
    main()
