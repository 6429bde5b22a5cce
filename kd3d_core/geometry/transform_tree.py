"""`TransformTree`: where every frame was at every moment of the last seconds.

It does what tf2's buffer does, because tf2_ros exists only inside a full ROS installation (there
is no wheel of it), and a node in a pip environment must compensate motion as well.
"""

import math
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.transform_link import Link
from kd3d_core.geometry.transform_link import Quaternion
from kd3d_core.geometry.transform_link import Sample
from kd3d_core.geometry.transform_link import TransformError
from kd3d_core.geometry.transform_link import Vector
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import matrix_from_quaternion
from kd3d_core.geometry.transforms import quaternion_from_matrix

__all__ = ["TransformError", "TransformTree"]


class TransformTree:
    """Frames joined by transforms over time; any thread may write and read.

    A child has one parent at a time. A static link holds for all times; a dynamic one is kept for
    `history` seconds and interpolated, linearly in place and along the shortest turn in rotation.
    A link that turns from dynamic to static or back forgets what it was.
    """

    def __init__(self, history: float = 10.0) -> None:
        """Start empty.

        Args:
            history: How long dynamic transforms are kept [s].
        """
        self._history = history
        self._links: dict[str, Link] = {}
        self._names: set[str] = set()
        self._changed = threading.Condition()

    @property
    def frames(self) -> tuple[str, ...]:
        """The names of all frames, sorted."""
        with self._changed:
            return tuple(sorted(self._names))

    @property
    def newest(self) -> float | None:
        """The highest stamp of all dynamic transforms [s], or None."""
        with self._changed:
            stamps = [link.newest().stamp for link in self._links.values() if not link.static]
        return max(stamps, default=None)

    def set(
        self,
        parent: str,
        child: str,
        transform: NDArray[np.floating[Any]],
        stamp: float | None = None,
    ) -> bool:
        """Tell where a frame is.

        Args:
            parent: The frame that the transform leads into.
            child: The frame that it leads out of.
            transform: (4, 4) parent_from_child, rigid.
            stamp: When [s]; None for always.

        Returns:
            False when it was ignored: older than the history, or of a known stamp.

        Raises:
            ValueError: The transform is not rigid, or a name is empty or both are the same.
        """
        rotation = np.asarray(transform, np.float64)[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4):
            raise ValueError(f"the transform {parent} -> {child} is not rigid: {transform}")
        x, y, z = (float(value) for value in transform[:3, 3])
        return self.set_parts(parent, child, (x, y, z), quaternion_from_matrix(rotation), stamp)

    def set_parts(
        self,
        parent: str,
        child: str,
        translation: Vector,
        quaternion: Quaternion,
        stamp: float | None = None,
    ) -> bool:
        """`set` with the parts of a ROS message: x, y, z [m] and the rotation's x, y, z, w."""
        parent, child = _plain(parent), _plain(child)
        if not parent or not child or parent == child:
            raise ValueError(
                f"a transform needs two different frames, not {parent!r} -> {child!r}"
            )
        length = math.sqrt(sum(value * value for value in quaternion))
        # tf2's own tolerance is 0.01; anything else is a publisher's mistake, such as all zeros.
        if not abs(length - 1) < 0.01 or not math.isfinite(sum(translation)):
            raise ValueError(
                f"the transform {parent} -> {child} has the translation {translation} and the "
                f"quaternion {quaternion}: both must be finite, and the quaternion of length 1"
            )
        x, y, z, w = (value / length for value in quaternion)
        static = stamp is None
        sample = Sample(math.inf if stamp is None else stamp, parent, translation, (x, y, z, w))
        with self._changed:
            link = self._links.get(child)
            if link is None or link.static != static:
                link = self._links[child] = Link(child, static)
            self._names |= {parent, child}
            taken = link.insert(sample, self._history)
            self._changed.notify_all()
        return taken

    def lookup(
        self,
        target: str,
        source: str,
        stamp: float | None = None,
        *,
        extrapolation: float = 0.0,
        timeout: float = 0.0,
    ) -> NDArray[np.float64]:
        """Where one frame is in another.

        Args:
            target: The frame that points shall be moved into.
            source: The frame that they are in.
            stamp: When [s]; None takes the latest moment that every link on the way knows.
            extrapolation: How far outside the known times constant motion is assumed [s].
            timeout: How long to wait for a moment that is still to come [s].

        Returns:
            (4, 4) float64 target_from_source.

        Raises:
            TransformError: A frame or a path between them is missing, or not known at that time.
        """
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                try:
                    return self._find(_plain(target), _plain(source), stamp, extrapolation)
                except TransformError as error:
                    left = end - time.monotonic()
                    if error.kind != "future" or left <= 0:
                        raise
                    self._changed.wait(left)

    def can_answer(
        self, target: str, source: str, stamp: float | None = None, *, extrapolation: float = 0.0
    ) -> bool:
        """Whether `lookup` would succeed now."""
        try:
            self.lookup(target, source, stamp, extrapolation=extrapolation)
        except TransformError:
            return False
        return True

    def latest_common_time(self, target: str, source: str) -> float | None:
        """The latest moment at which every link on the way is known [s]; None when all are static.

        Raises:
            TransformError: A frame or a path between them is missing.
        """
        with self._changed:
            return self._common_time(_plain(target), _plain(source))

    def clear(self, *, static: bool = True) -> None:
        """Forget everything, or with `static=False` everything but the static links."""
        with self._changed:
            kept = {} if static else {c: link for c, link in self._links.items() if link.static}
            self._links = kept
            self._names = set(kept) | {link.newest().parent for link in kept.values()}

    def _find(
        self, target: str, source: str, stamp: float | None, extrapolation: float
    ) -> NDArray[np.float64]:
        """`lookup` of plain names, under the lock."""
        if target == source:
            return np.eye(4)
        if stamp is None:
            stamp = self._common_time(target, source)
        moment = 0.0 if stamp is None else stamp  # any will do for static links
        up, down = self._path(target, source, lambda link: link.at(moment, extrapolation))
        return invert_pose(_chained(down)) @ _chained(up)

    def _common_time(self, target: str, source: str) -> float | None:
        """`latest_common_time` of plain names, under the lock."""
        if target == source:
            return None
        up, down = self._path(target, source, Link.newest)
        stamp = min(sample.stamp for sample in (*up, *down))
        return None if stamp == math.inf else stamp

    def _path(
        self, target: str, source: str, pick: Callable[[Link], Sample]
    ) -> tuple[list[Sample], list[Sample]]:
        """The links from `source` up to the nearest common ancestor, and those from `target`.

        Args:
            target: A frame.
            source: Another one.
            pick: Takes the sample of each link.
        """
        for name in (target, source):
            if name not in self._names:
                known = ", ".join(sorted(self._names)) or "none at all"
                raise TransformError(
                    "unknown",
                    f"there is no frame '{name}' in tf (known: {known}): start what publishes "
                    "it, or correct the name of the frame",
                )
        ups, up_names, up_gap = self._climb(source, pick)
        downs, down_names, down_gap = self._climb(target, pick)
        depth = {name: index for index, name in enumerate(down_names)}
        for index, name in enumerate(up_names):
            if name in depth:
                return ups[:index], downs[: depth[name]]
        gap = up_gap or down_gap
        if gap is not None:
            raise gap
        raise TransformError(
            "disconnected",
            f"the frames '{target}' (in the tree of '{down_names[-1]}') and '{source}' (in the "
            f"tree of '{up_names[-1]}') are not connected in tf: publish a transform between "
            "the two trees, such as odom -> base_link or the mount of the sensor",
        )

    def _climb(
        self, name: str, pick: Callable[[Link], Sample]
    ) -> tuple[list[Sample], list[str], TransformError | None]:
        """All links above a frame, the names passed (one more), and what ended the climb early."""
        samples: list[Sample] = []
        names = [name]
        while (link := self._links.get(names[-1])) is not None:
            try:
                sample = pick(link)
            except TransformError as gap:
                # It may lie above the common ancestor, where nobody needs it.
                return samples, names, gap
            if sample.parent in names:  # a loop, which no robot has: go no further
                break
            samples.append(sample)
            names.append(sample.parent)
        return samples, names, None


def _chained(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """(4, 4) pose of the first sample's child in the last one's parent."""
    pose = np.eye(4)
    for sample in samples:
        step = np.eye(4)
        step[:3, :3] = matrix_from_quaternion(sample.rotation)
        step[:3, 3] = sample.translation
        pose = step @ pose
    return pose


def _plain(name: str) -> str:
    """A frame's name without the slash that ROS 1 put before it."""
    return name.removeprefix("/")
