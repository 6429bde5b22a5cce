"""Transforms for a student that publishes in another frame than that of the clouds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.transform_tree import TransformTree
from kd3d_ros.common.transforms import TransformListener

#: How far beyond the latest transform motion is taken to go on [s].
_EXTRAPOLATION = 0.1


class FrameBridge:
    """Listens to /tf from the first time on that a transform is asked for.

    Most students publish in the frame of the cloud, and a thousand transforms a second cost more
    than all else that the node does between two clouds.
    """

    def __init__(self, node: Node) -> None:
        """Listen to nothing yet.

        Args:
            node: That will own the subscriptions.
        """
        self._node = node
        self._tree = TransformTree()
        self._listener: TransformListener | None = None
        self._wanted = False

    def lookup(self, target: str, source: str, stamp: float) -> NDArray[np.floating[Any]]:
        """(4, 4) target_from_source at a time [s]; for any thread.

        Raises:
            Kd3dError: It is not known, or not yet.
        """
        if self._listener is None:
            self._wanted = True
            raise Kd3dError(
                f"the student's boxes are in the frame '{source}', the clouds in '{target}': /tf "
                "is listened to from now on"
            )
        return self._tree.lookup(target, source, stamp, extrapolation=_EXTRAPOLATION)

    def tend(self) -> None:
        """Start listening when that was wanted; called now and then in the executor."""
        if self._wanted and self._listener is None:
            self._listener = TransformListener(self._node, self._tree)

    def close(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._listener.destroy()
        self._listener, self._wanted = None, False
