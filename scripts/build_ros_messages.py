"""Build `vision_msgs` and `tf2_msgs` into this virtual environment.

PyPI has wheels of rclpy and of the common interfaces for ROS 2 Jazzy, but none of these two.
This script runs the wheels' own rosidl generators over the plain field lists below, so the
messages have the RIHS01 type hashes of an ordinary ROS installation and talk with one on the
wire. On a machine with ROS installed it is not needed.

Usage: python scripts/build_ros_messages.py [--force]
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = Path(sys.prefix)

#: Package -> interface -> fields, as in ROS 2 Jazzy (vision_msgs 4.1.1, tf2_msgs 0.36).
INTERFACES: dict[str, dict[str, str]] = {
    "tf2_msgs": {
        "TFMessage": "geometry_msgs/TransformStamped[] transforms",
    },
    "vision_msgs": {
        "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
        "Detection3D": (
            "std_msgs/Header header\n"
            "ObjectHypothesisWithPose[] results\n"
            "BoundingBox3D bbox\n"
            "string id"
        ),
        "Detection3DArray": "std_msgs/Header header\nDetection3D[] detections",
        "LabelInfo": (
            "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold"
        ),
        "ObjectHypothesis": "string class_id\nfloat64 score",
        "ObjectHypothesisWithPose": (
            "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
        ),
        "VisionClass": "uint16 class_id\nstring class_name",
    },
}
VERSIONS = {"tf2_msgs": "0.36.0", "vision_msgs": "4.1.1"}
DEPENDENCIES = ("std_msgs", "geometry_msgs")

#: What the result depends on, besides the field lists.
GENERATORS = ("rosidl_generator_c", "rosidl_generator_py", "rosidl_typesupport_fastrtps_c")


def main() -> int:
    """Build what is missing; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--force", action="store_true", help="build even when up to date")
    force = parser.parse_args().force
    if Path(sys.base_prefix) == PREFIX:
        print("error: run this with the Python of a virtual environment.", file=sys.stderr)
        return 2
    if not (PREFIX / "share" / "rosidl_generator_py").is_dir():
        print(
            f"error: {PREFIX} lacks the rosidl generators; run: pip install -e '.[ros]'",
            file=sys.stderr,
        )
        return 2
    for package in INTERFACES:
        stamp = PREFIX / "share" / package / "kd3d_build.sha256"
        digest = fingerprint(package)
        if not force and stamp.is_file() and stamp.read_text().strip() == digest:
            print(f"{package}: up to date")
            continue
        start = time.monotonic()
        print(f"{package}: building {len(INTERFACES[package])} messages ...", flush=True)
        rewrite_exported_paths()
        if not build(package):
            return 1
        stamp.write_text(digest + "\n")
        print(f"{package}: built in {time.monotonic() - start:.0f} s")
    return 0


def fingerprint(package: str) -> str:
    """What the built files depend on: the field lists, the interpreter and the generators."""
    parts = (package, VERSIONS[package], INTERFACES[package], DEPENDENCIES, sys.version, PREFIX)
    state = hashlib.sha256(repr(parts).encode())
    for generator in GENERATORS:
        manifest = PREFIX / "share" / generator / "package.xml"
        state.update(manifest.read_bytes())
    return state.hexdigest()


def rewrite_exported_paths() -> None:
    """Point the CMake files of the wheels at this interpreter's headers.

    They carry the include folders of the machine that built the wheels, and CMake refuses a
    target whose include folders do not exist.
    """
    import numpy

    here = {
        "/include/python": sysconfig.get_path("include"),
        "/numpy/": numpy.get_include(),
    }
    for path in PREFIX.glob("share/*/cmake/export_*__rosidl_generator_pyExport.cmake"):
        lines = path.read_text().splitlines(keepends=True)
        fixed = [
            _replace_folders(line, here) if "INTERFACE_INCLUDE_DIRECTORIES" in line else line
            for line in lines
        ]
        if fixed != lines:
            temporary = path.with_name(path.name + ".new")
            temporary.write_text("".join(fixed))
            temporary.replace(path)


def _replace_folders(line: str, here: dict[str, str]) -> str:
    """Exchange those folders of a quoted CMake list which are absent on this machine."""
    head, listed, tail = line.split('"')
    folders = []
    for folder in listed.split(";"):
        known = folder.startswith("${") or Path(folder).is_dir()
        match = next((new for part, new in here.items() if part in folder), folder)
        folders.append(folder if known else match)
    return f'{head}"{";".join(folders)}"{tail}'


def build(package: str) -> bool:
    """Generate, compile and install one package; False when a step failed."""
    with build_folder() as folder:
        write_package(package, folder)
        environment = dict(os.environ, AMENT_PREFIX_PATH=str(PREFIX))
        environment["PATH"] = f"{PREFIX / 'bin'}{os.pathsep}{environment['PATH']}"
        environment["CMAKE_PREFIX_PATH"] = str(PREFIX)
        configure = [
            "cmake",
            "-S",
            str(folder),
            "-B",
            str(folder / "build"),
            "-G",
            "Ninja",
            f"-DCMAKE_INSTALL_PREFIX={PREFIX}",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_TESTING=OFF",
            f"-DPython3_EXECUTABLE={PREFIX / 'bin' / 'python'}",
            "-DPython3_FIND_VIRTUALENV=ONLY",
        ]
        compile_ = ["cmake", "--build", str(folder / "build"), "--target", "install"]
        return run(configure, environment) and run(compile_, environment)


def run(command: list[str], environment: dict[str, str]) -> bool:
    """Run quietly; on failure print the end of what it said."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        text = (done.stdout + done.stderr).splitlines()
        print("\n".join(text[-60:]), file=sys.stderr)
        print(f"error: {' '.join(command)} failed ({done.returncode}).", file=sys.stderr)
    return done.returncode == 0


@contextmanager
def build_folder() -> Iterator[Path]:
    """A scratch folder that goes away again."""
    folder = Path(tempfile.mkdtemp(prefix="kd3d-messages-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_package(package: str, folder: Path) -> None:
    """Write the sources of one interface package: .msg files, manifest and CMake project."""
    (folder / "msg").mkdir()
    for name, fields in INTERFACES[package].items():
        (folder / "msg" / f"{name}.msg").write_text(fields + "\n")
    depends = "".join(f"  <depend>{name}</depend>\n" for name in DEPENDENCIES)
    (folder / "package.xml").write_text(
        '<?xml version="1.0"?>\n<package format="3">\n'
        f"  <name>{package}</name>\n  <version>{VERSIONS[package]}</version>\n"
        "  <description>Interfaces generated from their field lists.</description>\n"
        '  <maintainer email="maintainers@kd3d.dev">kd3d</maintainer>\n'
        "  <license>Apache-2.0</license>\n"
        "  <buildtool_depend>ament_cmake</buildtool_depend>\n" + depends + "  "
        "<member_of_group>rosidl_interface_packages</member_of_group>\n"
        "  <export><build_type>ament_cmake</build_type></export>\n</package>\n"
    )
    messages = " ".join(f'"msg/{name}.msg"' for name in INTERFACES[package])
    required = ("ament_cmake", "rosidl_default_generators", *DEPENDENCIES)
    found = "\n".join(f"find_package({name} REQUIRED)" for name in required)
    (folder / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.16)\nproject({package} C CXX)\n"
        f"{found}\n"
        f"rosidl_generate_interfaces({package} {messages} DEPENDENCIES {' '.join(DEPENDENCIES)})\n"
        "ament_package()\n"
    )


if __name__ == "__main__":
    sys.exit(main())
