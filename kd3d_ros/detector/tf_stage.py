"""The part of the detector that needs /tf: other frames, and several sweeps as one."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from rclpy.node import Node

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transform_tree import TransformError
from kd3d_core.geometry.transform_tree import TransformTree
from kd3d_core.pointcloud import PointCloud
from kd3d_ros.common.transforms import TransformListener
from kd3d_ros.detector.settings import DetectorSettings
from kd3d_ros.detector.sweeps import SweepBuffer

#: Odometry comes a little later than the cloud it belongs to: so far beyond its newest transform
#: [s] the motion is taken to go on as it was.
_EXTRAPOLATION = 0.1


class TfStage:
    """Exists only while the settings ask for more than one sweep or for another frame.

    A transform that is missing or late never stops a detection: the sweeps fall back to the
    newest one, cloud and boxes to the frame they were in, and `reasons` says why.

    Attributes:
        sweeps: How many sweeps the latest cloud was made of.
        reasons: Why the latest cloud got less than was asked for; empty when it did not.
    """

    def __init__(self, node: Node, settings: DetectorSettings) -> None:
        """Subscribe to /tf and /tf_static.

        Args:
            node: That owns the subscriptions.
            settings: At the time of activation.

        Raises:
            Kd3dError: tf2_msgs is not installed.
        """
        self._tree = TransformTree()
        self._listener = TransformListener(node, self._tree)
        self._buffer = SweepBuffer(settings.sweeps, settings.fixed_frame)
        self._model_frame = settings.model_frame
        self._target = settings.target_frame
        self.sweeps = 1
        self.reasons: tuple[str, ...] = ()
        self._found: list[str] = []

    def place(
        self, cloud: PointCloud, stamp_ns: int, frame_id: str, timeout: float
    ) -> tuple[PointCloud, str]:
        """A sweep in the frame the model looks in; in the worker's thread, first of all.

        Args:
            cloud: The newest sweep.
            stamp_ns: Of its header [ns].
            frame_id: Of its header.
            timeout: How long to wait for transforms [s].

        Returns:
            The sweep and the frame it is in: its own when no transform is known.
        """
        self._found = []
        if not self._model_frame or self._model_frame == frame_id:
            return cloud, frame_id
        try:
            pose = self._pose(self._model_frame, frame_id, 1e-9 * stamp_ns, timeout)
        except TransformError as error:
            self._found.append(f"the model looks in the frame '{frame_id}': {error}")
            return cloud, frame_id
        return cloud.transformed(pose), self._model_frame

    def merge(
        self,
        cloud: PointCloud,
        stamp_ns: int,
        frame_id: str,
        timeout: float,
        most: int | None = None,
    ) -> PointCloud:
        """The newest sweeps as one cloud; in the worker's thread, after `place`.

        Args:
            cloud: The newest sweep.
            stamp_ns: Of its header [ns].
            frame_id: Where `place` put it.
            timeout: How long to wait for transforms [s].
            most: At most so many sweeps; None takes as many as the settings say.
        """
        self._buffer.add(cloud, stamp_ns, frame_id)
        merged = self._buffer.merged(self._lookup(timeout), most)
        self.sweeps = merged.sweeps
        if merged.reason:
            self._found.append(merged.reason)
        return merged.cloud

    def to_target(
        self, boxes: Boxes3D, stamp_ns: int, frame_id: str, timeout: float
    ) -> tuple[Boxes3D, str]:
        """The boxes in the target frame; in the worker's thread, after `merge`.

        Returns:
            The boxes and the frame they are in: the one they were in when no transform is known.
        """
        if self._target and self._target != frame_id:
            try:
                pose = self._pose(self._target, frame_id, 1e-9 * stamp_ns, timeout)
            except TransformError as error:
                self._found.append(f"boxes stay in the frame '{frame_id}': {error}")
            else:
                boxes, frame_id = boxes.transformed(pose), self._target
        self.reasons = tuple(self._found)
        return boxes, frame_id

    def forget(self) -> None:
        """Let go of earlier sweeps, because time went back; in the worker's thread."""
        self._buffer.clear()

    def age(self, now: float) -> float | None:
        """How old the newest transform is [s]; None while there is none."""
        return self._listener.age(now)

    @property
    def received(self) -> int:
        """Transforms heard so far."""
        return self._listener.received

    def destroy(self) -> None:
        """Unsubscribe."""
        self._listener.destroy()
        self._tree.clear()

    def _lookup(self, timeout: float) -> Callable[[str, str, float], NDArray[Any]]:
        """How transforms are asked for: exact within the timeout, else extrapolated a little."""

        def find(target: str, source: str, stamp: float) -> NDArray[Any]:
            if timeout > 0:
                try:
                    return self._tree.lookup(target, source, stamp, timeout=timeout)
                except TransformError as error:
                    if error.kind != "future":
                        raise
            return self._tree.lookup(target, source, stamp, extrapolation=_EXTRAPOLATION)

        return find

    def _pose(self, target: str, source: str, stamp: float, timeout: float) -> NDArray[Any]:
        """(4, 4) target_from_source at the stamp, or the newest known one.

        Raises:
            TransformError: The frames are not joined.
        """
        try:
            return self._lookup(timeout)(target, source, stamp)
        except TransformError as error:
            if error.kind not in ("future", "too old"):
                raise
            pose = self._tree.lookup(target, source)
            self._found.append(f"the newest known transform is used instead: {error}")
            return pose
