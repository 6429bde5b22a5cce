"""The node that hosts other nodes in its process."""

import threading
from collections.abc import Sequence
from typing import Any

from rclpy.executors import ExternalShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

#: How long a node's thread may take to end [s].
_PATIENCE = 10.0


class Composition(Node):
    """Owns nodes and the threads that spin them; `node_main.run` sees one node."""

    def __init__(self, nodes: Sequence[Any], **node_options: Any) -> None:
        """Take the nodes over.

        Args:
            nodes: Each may have `start` and `finished`, see `node_main.run`.
            node_options: Of rclpy's Node, for the host.
        """
        super().__init__("kd3d_composition", **node_options)
        self._parts = list(nodes)
        self._fault: Exception | None = None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the nodes in order, then spin them all.

        Raises:
            Kd3dError: A node could not start.
        """
        for node in self._parts:
            if hasattr(node, "start"):
                node.start()
        for node in self._parts:
            thread = threading.Thread(target=self._spin, args=(node,), name=node.get_name())
            self._threads.append(thread)
            thread.start()

    @property
    def finished(self) -> bool:
        """Whether every node ended by itself.

        Raises:
            Exception: What a node raised while it was spun.
        """
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        return all(getattr(node, "finished", False) for node in self._parts)

    def destroy_node(self) -> None:
        """Join the threads, then take the nodes down, the last one first."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_PATIENCE)
        while self._parts:
            self._parts.pop().destroy_node()
        super().destroy_node()

    def _spin(self, node: Any) -> None:
        """In a thread: spin one node until the end, its own or that of all."""
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(node)
        try:
            while not self._stop.is_set() and not getattr(node, "finished", False):
                executor.spin_once(timeout_sec=0.2)
        except ExternalShutdownException:
            return
        except Exception as error:
            self._fault = error
        finally:
            executor.shutdown()
