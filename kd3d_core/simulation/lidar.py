"""A LiDAR driving through a scene."""

import numpy as np
from numpy.typing import NDArray

from kd3d_core.frame import Frame
from kd3d_core.pointcloud import PointCloud
from kd3d_core.simulation import effects
from kd3d_core.simulation import nuisances as spoil
from kd3d_core.simulation.clouds import clouds_in_sight
from kd3d_core.simulation.labels import count_points
from kd3d_core.simulation.labels import make_labels
from kd3d_core.simulation.mounting import Mount
from kd3d_core.simulation.moving import Sighting
from kd3d_core.simulation.moving import is_parked
from kd3d_core.simulation.moving import sensor_pose
from kd3d_core.simulation.moving import sight_all
from kd3d_core.simulation.moving import swept_mesh
from kd3d_core.simulation.nuisances import Nuisances
from kd3d_core.simulation.scene import Scene
from kd3d_core.simulation.sensor_model import SensorModel
from kd3d_core.simulation.sweep import Sweep
from kd3d_core.simulation.sweep import box_window
from kd3d_core.simulation.sweep import make_sweep
from kd3d_core.simulation.sweep import turn_rays
from kd3d_core.simulation.tracing import Surfaces
from kd3d_core.simulation.tracing import World
from kd3d_core.simulation.tracing import look_into_puddles
from kd3d_core.simulation.tracing import look_through_panes
from kd3d_core.simulation.wear import Wear


class Lidar:
    """A sensor on the ego vehicle of a scene.

    A sweep is centred on its time: the head starts behind the vehicle half a turn earlier, faces
    forward at `time`, and ends behind it half a turn later, so `PointCloud.time` runs from
    -period/2 to +period/2. Each column of beams fires from where the vehicle is at that moment,
    and its points are given in the sensor frame of that moment, as a raw sensor gives them.

    Ground truth fits those points: each box is where its actor is, seen from where the sensor is,
    when the beam passes the actor's centre. With `motion_compensated` both points and boxes are
    expressed in the sensor frame at `time` instead; a moving actor still is where the beam met it.
    """

    def __init__(
        self,
        scene: Scene,
        sensor: SensorModel,
        seed: int = 0,
        mount: Mount | None = None,
        *,
        motion_compensated: bool = False,
        nuisances: Nuisances | None = None,
    ) -> None:
        """Prepare the part of the scene that stands still, once for all sweeps.

        Args:
            scene: The world.
            sensor: The model.
            seed: Of the specimen's calibration and of all chance in its sweeps.
            mount: Of the sensor on the ego vehicle; `Mount()` by default.
            motion_compensated: Undo the ego vehicle's motion during the sweep.
            nuisances: What spoils the sweeps; nothing by default.
        """
        self.scene = scene
        self.sensor = sensor
        self.seed = seed
        self.mount = mount or Mount()
        self.motion_compensated = motion_compensated
        self.unit = effects.Unit.make(sensor, seed)
        self._wear = Wear.draw(seed)
        self._parked = [is_parked(actor.path) for actor in scene.actors]
        still = [
            actor.mesh.moved(actor.path.pose(0.0))
            for actor, parked in zip(scene.actors, self._parked, strict=True)
            if parked
        ]
        self._still = Surfaces.of([scene.static, *still])
        self.nuisances = nuisances or Nuisances()
        self._hidden = np.zeros((sensor.azimuth_steps, sensor.beams), bool)
        self._regular = self._blind(*self._regular_angles()) if self._is_regular else None

    def scan(self, time: float) -> Frame:
        """One sweep, in whose middle is `time` [s].

        Returns:
            The points in firing order (by column, then from the lowest beam up) with intensity,
            time and ring; boxes of all actors within 100 m and the sensor's range, those
            without a point included.
        """
        # Time goes in as whole microseconds: a seed must be a non-negative integer.
        rng = np.random.default_rng([self.seed, round(time * 1e6) + (1 << 40)])
        sensor = self.sensor
        sweep = make_sweep(
            sensor, self.unit.elevation, self.mount, self.scene.ego, time, float(rng.random())
        )
        self._hidden = self._blind_rays(sweep)
        sightings = self._sightings(time)
        echoes = self._trace(sweep, sightings, rng)
        echoes.distance[self._hidden] = np.inf
        measured = self._measure(sweep, echoes, sightings, rng)
        valid = measured.valid
        column, ring = np.nonzero(valid)
        pose = sensor_pose(self.scene.ego, self.mount, time)
        xyz = self._place(sweep, valid, measured.distance[valid], pose)
        # Compensation moves points by the ego's way in half a turn, 2 m at 40 m/s.
        spare = 2.0 if self.motion_compensated else 0.0
        points = np.concatenate([xyz, measured.intensity[valid][:, None]], axis=1)
        common = pose if self.motion_compensated else None
        boxes, track_id = make_labels(self.scene, sightings, sensor, common)
        return Frame(
            cloud=PointCloud(
                points=np.ascontiguousarray(points, np.float32),
                time=(sweep.time[column] - time).astype(np.float32),
                ring=ring.astype(np.int16),
            ),
            source=f"simulation:{sensor.name}@{time:.3f}",
            stamp=time,
            boxes=boxes,
            num_points=count_points(sensor, points, column, boxes, spare),
            track_id=track_id,
            pose=pose,
            sensor=sensor.name,
            sensor_height=self.mount.height,
        )

    @property
    def _is_regular(self) -> bool:
        """Whether every sweep has the same rays."""
        return self.sensor.scan == "spinning"

    def _regular_angles(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(C, B) azimuth and elevation of the rays of a spinning sensor [rad]."""
        steps, beams = self.sensor.azimuth_steps, self.sensor.beams
        azimuth = np.pi - 2 * np.pi * (np.arange(steps) + 0.5) / steps
        offset = np.deg2rad(self.sensor.azimuth_offset_deg or (0.0,) * beams)
        return azimuth[:, None] + offset, np.broadcast_to(self.unit.elevation, (steps, beams))

    def _blind_rays(self, sweep: Sweep) -> NDArray[np.bool_]:
        """(C, B) bool: rays of this sweep that see nothing of the scene."""
        if self._regular is not None:
            return self._regular
        x, y, z = np.moveaxis(sweep.local.astype(np.float64), -1, 0)
        return self._blind(np.arctan2(y, x), np.arcsin(np.clip(z, -1, 1)))

    def _blind(
        self, azimuth: NDArray[np.float64], elevation: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """(C, B) bool: rays that end on the ego vehicle, leave the field of view, or are dead."""
        roof, half = self.mount.roof, np.deg2rad(self.sensor.field_of_view_deg) / 2
        blind = np.zeros(azimuth.shape, bool)
        if roof is not None:
            blind |= roof.hides(azimuth, elevation)
        if half < np.pi:
            blind |= np.abs(azimuth) > half
        blind[:, list(self.nuisances.dead_beams)] = True
        return blind

    def _measure(
        self,
        sweep: Sweep,
        echoes: effects.Echoes,
        sightings: list[tuple[int, Sighting]],
        rng: np.random.Generator,
    ) -> effects.Measurement:
        """What the sensor reports, nuisances included."""
        nuisances, sensor = self.nuisances, self.sensor
        echoes.gain *= self._wear.factor(sweep, echoes.distance)
        spoil.fade(echoes, nuisances.extinction)
        spoil.lengthen(echoes, nuisances.ghosts, rng)
        measured = effects.measure(sensor, self.unit, echoes, rng)
        measured = spoil.answer_in_air(nuisances, sensor, measured, rng)
        if nuisances.spray > 0 or nuisances.dust_clouds:
            moving = [(i, seen) for i, seen in sightings if not self._parked[i]]
            middle = sensor_pose(self.scene.ego, self.mount, float(np.median(sweep.time)))
            clouds = clouds_in_sight(nuisances, self.scene, moving, middle, self.seed)
            measured = spoil.answer_in_clouds(clouds, sensor, sweep.local, measured, rng)
        measured = effects.Measurement(
            measured.valid & ~self._hidden, measured.distance, measured.intensity
        )
        if self.mount.roof is not None and self.mount.roof.shown:
            measured = spoil.show_roof(self.mount.roof, sensor, sweep.local, measured, rng)
        return spoil.report_intensity(nuisances, measured)

    def _sightings(self, time: float) -> list[tuple[int, Sighting]]:
        """The actors in reach of the sensor, by index, and when the beam passes them."""
        scene, reach = self.scene, self.sensor.max_range + 10  # 10 m for half a turn's motion
        here = sensor_pose(scene.ego, self.mount, time)[:2, 3]
        near = [
            i
            for i, path in enumerate(actor.path for actor in scene.actors)
            if abs(np.interp(time, path.time, path.position[:, 0]) - here[0]) < reach
            and abs(np.interp(time, path.time, path.position[:, 1]) - here[1]) < reach
        ]
        actors = [scene.actors[i] for i in near]
        seen = sight_all(scene.ego, actors, self.mount, time, self.sensor.period)
        return list(zip(near, seen, strict=True))

    def _trace(
        self, sweep: Sweep, sightings: list[tuple[int, Sighting]], rng: np.random.Generator
    ) -> effects.Echoes:
        """What each ray of the sweep meets, behind panes too."""
        moving = [(i, sighting) for i, sighting in sightings if not self._parked[i]]
        period = self.sensor.period
        meshes = [swept_mesh(self.scene.actors[i], seen, period) for i, seen in moving]
        world = World([(self._still, ~self._hidden.ravel())], self.sensor.max_range + 1)
        if meshes:
            mask = (self._near(moving) & ~self._hidden).ravel()
            world.layers.append((Surfaces.of(meshes), mask))
        origins = np.repeat(sweep.origin, self.sensor.beams, axis=0)
        directions = sweep.world.reshape(-1, 3)
        echoes = world.nearest(origins, directions)
        look_through_panes(world, echoes, origins, directions, rng)
        if self.nuisances.mirror > 0:
            look_into_puddles(world, echoes, origins, directions, self.nuisances.mirror, rng)
        return echoes.reshape(self._hidden.shape)

    def _near(self, sightings: list[tuple[int, Sighting]]) -> NDArray[np.bool_]:
        """(C, B) bool: rays that may meet one of the actors."""
        steps, beams = self._hidden.shape
        mask = np.zeros((steps, beams), bool)
        for i, sighting in sightings:
            columns, low, high = box_window(
                self.sensor, sighting.offset, self.scene.actors[i].size
            )
            inside = (self.unit.elevation >= low) & (self.unit.elevation <= high)
            mask[np.ix_(columns, np.flatnonzero(inside))] = True
        return mask

    def _place(
        self,
        sweep: Sweep,
        valid: NDArray[np.bool_],
        distance: NDArray[np.float32],
        pose: NDArray[np.float64],
    ) -> NDArray[np.float32]:
        """(N, 3) points [m] of the valid rays, in the frame that `motion_compensated` asks for."""
        raw = np.asarray(sweep.local[valid] * distance[:, None])
        if not self.motion_compensated:
            return raw
        # Relative to the sensor at the middle of the sweep, where float32 is fine enough.
        column = np.nonzero(valid)[0]
        turn = self.mount.pose()[:3, :3].T.astype(np.float32)
        middle_yaw = np.arctan2(pose[1, 0], pose[0, 0])
        level = turn_rays((raw @ turn)[:, None], (sweep.yaw - middle_yaw)[column])[:, 0]
        shift = (sweep.origin.astype(np.float64) - pose[:3, 3])[column]
        cos, sin = np.cos(middle_yaw), np.sin(middle_yaw)
        shift = shift @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        return np.asarray((level + shift.astype(np.float32)) @ turn.T, np.float32)
