"""How every node of this package starts, spins and ends."""

import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from kd3d_core.errors import Kd3dError


def run(make_node: Callable[[], Any], arguments: list[str] | None = None) -> int:
    """Spin a node until Ctrl-C, SIGTERM or its own end.

    Args:
        make_node: Called once ROS is initialised. The node needs `destroy_node` and may have
            `start`, called before spinning, and `finished`, a property that ends the spinning.
        arguments: The command line with `--ros-args`; None takes that of the process.

    Returns:
        Exit status 0, or 2 after a fault that the user can mend, which is printed.
    """
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    # SIGTERM is turned into the same exception as Ctrl-C: worker threads are joined either way.
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    node = None
    try:
        node = make_node()
        if hasattr(node, "start"):
            node.start()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        # From here on a signal only asks for the end: an exception inside the middleware's own
        # code would come out as another one, and with the wrong exit status.
        ending = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ending.set())
        while rclpy.ok() and not ending.is_set() and not getattr(node, "finished", False):
            executor.spin_once(timeout_sec=0.5)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Kd3dError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    finally:
        # A second Ctrl-C must not cut the clean-up short.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
