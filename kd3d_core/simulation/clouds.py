"""Where dust and spray hang: behind moving vehicles and along the way."""

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.simulation.moving import Sighting
from kd3d_core.simulation.nuisances import Cloud
from kd3d_core.simulation.nuisances import Nuisances
from kd3d_core.simulation.scene import Scene

#: Vehicles slower than this raise nothing [m/s].
_SLOW = 4.0
#: Kept clear of clouds: nobody sees anything from within one [m].
_CLEAR = 6.0


def clouds_in_sight(
    nuisances: Nuisances,
    scene: Scene,
    moving: list[tuple[int, Sighting]],
    pose: NDArray[np.float64],
    seed: int,
) -> list[Cloud]:
    """The clouds of one sweep, in its sensor frame.

    Args:
        nuisances: How many and how dense.
        scene: Gives the ego vehicle's way and the size of the moving ones.
        moving: Index of each moving actor and when the beam meets it.
        pose: (4, 4) world_from_sensor at the middle of the sweep.
        seed: Of the drive: clouds that stand keep their places.
    """
    clouds: list[Cloud] = []
    if nuisances.spray > 0:
        for i, sighting in moving:
            cloud = _wake(scene, i, sighting, nuisances.spray)
            if cloud is not None:
                clouds.append(cloud)
    if nuisances.dust_clouds:
        clouds += _standing(nuisances, scene, pose, seed)
    return clouds


def _wake(scene: Scene, index: int, sighting: Sighting, density: float) -> Cloud | None:
    """What a wheeled actor raises behind itself."""
    actor = scene.actors[index]
    speed = float(np.linalg.norm(actor.path.velocity(sighting.time)))
    length, width, height = actor.size
    if speed < _SLOW or length < 1.7:
        return None
    trail = min(1.0 + 0.3 * speed, 5.0)
    local = invert_pose(sighting.sensor) @ sighting.body
    back = np.array([-length / 2 - 0.8 * trail, 0.0, -height / 2 + 0.5, 1.0])
    radii = np.array([trail, 0.6 * width, min(0.9, 0.5 * height)])
    return Cloud((local @ back)[:3], local[:3, :3].T, radii, density)


def _standing(
    nuisances: Nuisances, scene: Scene, pose: NDArray[np.float64], seed: int
) -> list[Cloud]:
    """Clouds that hang in the street, drawn anew for each drive only."""
    rng = np.random.default_rng([seed, 0xD057])
    here = invert_pose(pose)
    clouds: list[Cloud] = []
    for _ in range(nuisances.dust_clouds):
        k = int(rng.integers(len(scene.ego.time)))
        at = scene.ego.position[k] + np.append(rng.uniform(-18, 18, 2), rng.uniform(0.3, 1.5))
        radii = rng.uniform([0.8, 0.8, 0.4], [4.0, 4.0, 1.6])
        density = nuisances.dust * float(rng.uniform(0.3, 1.5))
        center = (here @ np.append(at, 1.0))[:3]
        if np.linalg.norm(center) > _CLEAR:
            clouds.append(Cloud(center, here[:3, :3].T, radii, density))
    return clouds
