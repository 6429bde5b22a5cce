"""Where ROS and this package's own files are, in a ROS installation and in a pip environment."""

import importlib.util
import os
import socket
import sys
from pathlib import Path

from kd3d_core.errors import Kd3dError

PACKAGE = "kd3d_ros"


def prepare() -> None:
    """Make ROS ready for import; call this before the first import of rclpy.

    The wheels on PyPI put a whole ROS prefix into the virtual environment, but nothing sets
    AMENT_PREFIX_PATH, without which no middleware is found. A sourced ROS stays untouched.

    Raises:
        Kd3dError: rclpy is not installed.
    """
    if importlib.util.find_spec("rclpy") is None:
        raise Kd3dError(
            "rclpy is not installed. Source a ROS 2 installation "
            "(source /opt/ros/jazzy/setup.bash) or run: pip install 'kd3d_ros[ros]'"
        )
    prefix = Path(sys.prefix)
    if not os.environ.get("AMENT_PREFIX_PATH") and (prefix / "share" / "ament_index").is_dir():
        os.environ["AMENT_PREFIX_PATH"] = str(prefix)


def share_folder() -> Path:
    """The folder that holds `launch/` and `config/`: installed, or the source tree.

    Raises:
        Kd3dError: Neither is there.
    """
    source = Path(__file__).resolve().parents[1]
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    installed = [Path(prefix) / "share" / PACKAGE for prefix in prefixes if prefix]
    for folder in (source, *installed):
        if (folder / "config" / "fastdds").is_dir():
            return folder
    raise Kd3dError("the files of kd3d_ros (share/kd3d_ros) are missing: install the package anew")


def fastdds_profile() -> Path:
    """The Fast DDS profile whose shared memory holds whole clouds."""
    return share_folder() / "config" / "fastdds" / "large_clouds.xml"


def local_environment(domain: int) -> dict[str, str]:
    """Environment variables for processes that shall talk with each other on this machine only.

    Args:
        domain: The ROS_DOMAIN_ID, see `free_domain`.
    """
    return {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(fastdds_profile()),
        "FASTDDS_DEFAULT_PROFILES_FILE": str(fastdds_profile()),
    }


def free_domain(seed: int) -> int:
    """A ROS domain in 1..101 in which no participant of this machine is.

    Args:
        seed: Where to start looking; processes that start together should differ in it.

    Raises:
        Kd3dError: All of them are taken.
    """
    for step in range(101):
        domain = 1 + (seed + step) % 101
        # DDS-I RTPS 9.6.1.1: the first participant of a domain listens on this unicast port.
        port = 7400 + 250 * domain + 10
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return domain
    raise Kd3dError("no free ROS_DOMAIN_ID is left on this machine: stop other ROS programs")
