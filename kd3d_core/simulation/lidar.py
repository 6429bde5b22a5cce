"""A spinning LiDAR driving through a scene."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.frame import Frame
from kd3d_core.pointcloud import PointCloud
from kd3d_core.simulation import effects
from kd3d_core.simulation.labels import count_points
from kd3d_core.simulation.labels import make_labels
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.moving import Sighting
from kd3d_core.simulation.moving import is_parked
from kd3d_core.simulation.moving import sensor_pose
from kd3d_core.simulation.moving import sight_all
from kd3d_core.simulation.moving import swept_mesh
from kd3d_core.simulation.raycast import RayCaster
from kd3d_core.simulation.scene import Scene
from kd3d_core.simulation.sensors import Mount
from kd3d_core.simulation.sensors import SensorModel
from kd3d_core.simulation.sweep import Sweep
from kd3d_core.simulation.sweep import box_window
from kd3d_core.simulation.sweep import make_sweep
from kd3d_core.simulation.sweep import turn_rays


@dataclass(frozen=True, eq=False)
class _Surfaces:
    """Triangles made ready for rays, and what each one belongs to.

    Attributes:
        caster: Of the triangles.
        material: (F,) uint8.
    """

    caster: RayCaster
    material: NDArray[np.uint8]

    @classmethod
    def of(cls, parts: list[TriangleMesh]) -> "_Surfaces":
        """Join the parts."""
        mesh = TriangleMesh.join(parts)
        return cls(RayCaster(mesh), np.append(mesh.material, np.uint8(0)))


#: Surfaces, and which of the (N,) rays may meet them.
_Layer = tuple[_Surfaces, NDArray[np.bool_]]


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
    ) -> None:
        """Prepare the part of the scene that stands still, once for all sweeps.

        Args:
            scene: The world.
            sensor: The model.
            seed: Of the specimen's calibration and of all chance in its sweeps.
            mount: Of the sensor on the ego vehicle; `Mount()` by default.
            motion_compensated: Undo the ego vehicle's motion during the sweep.
        """
        self.scene = scene
        self.sensor = sensor
        self.seed = seed
        self.mount = mount or Mount()
        self.motion_compensated = motion_compensated
        self.unit = effects.Unit.make(sensor, seed)
        self._parked = [is_parked(actor.path) for actor in scene.actors]
        still = [
            actor.mesh.moved(actor.path.pose(0.0))
            for actor, parked in zip(scene.actors, self._parked, strict=True)
            if parked
        ]
        self._still = _Surfaces.of([scene.static, *still])
        self._hidden = self._ego_mask()

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
        sightings = self._sightings(time)
        echoes = self._trace(sweep, sightings, rng)
        echoes.distance[self._hidden] = np.inf
        measured = effects.measure(sensor, self.unit, echoes, rng)
        valid = measured.valid & ~self._hidden
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

    def _ego_mask(self) -> NDArray[np.bool_]:
        """(C, B) bool: rays that end on the ego vehicle."""
        shape = (self.sensor.azimuth_steps, self.sensor.beams)
        if self.mount.roof is None:
            return np.zeros(shape, bool)
        azimuth = np.pi - 2 * np.pi * (np.arange(shape[0]) + 0.5) / shape[0]
        offset = np.deg2rad(self.sensor.azimuth_offset_deg or (0.0,) * shape[1])
        return self.mount.roof.hides(
            azimuth[:, None] + offset, np.broadcast_to(self.unit.elevation, shape)
        )

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
        layers: list[_Layer] = [(self._still, ~self._hidden.ravel())]
        if meshes:
            layers.append((_Surfaces.of(meshes), (self._near(moving) & ~self._hidden).ravel()))
        origins = np.repeat(sweep.origin, self.sensor.beams, axis=0)
        directions = sweep.world.reshape(-1, 3)
        echoes = self._nearest(origins, directions, layers)
        self._look_through_panes(echoes, origins, directions, layers, rng)
        return echoes.reshape(self._hidden.shape)

    def _look_through_panes(
        self,
        echoes: effects.Echoes,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        layers: list[_Layer],
        rng: np.random.Generator,
    ) -> None:
        """Replace, in place, what hit glass: some is lost, some meets what is behind the pane."""
        glass = echoes.material == int(Material.GLASS)
        pane = np.flatnonzero(glass & np.isfinite(echoes.distance))
        fate = rng.random(len(pane))
        passed = pane[fate >= 1 - effects.GLASS_PASSES]
        first = echoes.distance[passed] + np.float32(0.02)
        echoes.distance[pane[fate >= effects.GLASS_RETURNS]] = np.inf
        starts = origins[passed] + first[:, None] * directions[passed]
        everywhere = np.ones(len(passed), bool)
        behind = self._nearest(
            starts, directions[passed], [(surfaces, everywhere) for surfaces, _ in layers]
        )
        echoes.distance[passed] = first + behind.distance
        echoes.cosine[passed] = behind.cosine
        echoes.material[passed] = behind.material
        echoes.gain[passed] = effects.GLASS_GAIN

    def _nearest(
        self,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        layers: list[_Layer],
    ) -> effects.Echoes:
        """The nearest surface on each of (N, 3) rays, over layers that each serve some rays."""
        count = len(origins)
        echoes = effects.Echoes(
            distance=np.full(count, np.inf, np.float32),
            cosine=np.zeros(count, np.float32),
            material=np.zeros(count, np.uint8),
            gain=np.ones(count, np.float32),
        )
        limit = np.float32(self.sensor.max_range + 1)
        for surfaces, serves in layers:
            rays = np.flatnonzero(serves)
            hits = surfaces.caster.cast(
                origins[rays], directions[rays], np.minimum(echoes.distance[rays], limit)
            )
            met = hits.face >= 0
            rays = rays[met]
            echoes.distance[rays] = hits.distance[met]
            echoes.cosine[rays] = hits.cosine[met]
            echoes.material[rays] = surfaces.material[hits.face[met]]
        return echoes

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
