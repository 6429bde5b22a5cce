"""The parameters of the shadow node."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kd3d_ros.common.filters import region_problem
from kd3d_ros.common.parameters import parameter


def _rings_problem(edges: Sequence[float]) -> str:
    """What is wrong with the parameter `rings`."""
    if len(edges) < 2 or edges[0] < 0 or any(low >= high for low, high in pairwise(edges)):
        return f"{list(edges)}: give two or more distances that rise, such as [0.0, 20.0, 50.0]"
    return ""


@dataclass(frozen=True)
class ShadowSettings:
    """Values of the node's parameters; their descriptions are what `ros2 param describe` says."""

    teacher: str = parameter(
        "",
        "Path of the bundle (*.kd3d) that the student is compared with; empty: the shipped one.",
    )
    backend: str = parameter(
        "auto",
        "What runs the teacher.",
        choices=("auto", "openvino", "onnxruntime", "tensorrt", "tensorrt-rtx"),
    )
    threads: int = parameter(
        1, "CPU threads for the teacher; 0 leaves it to the backend.", low=0, high=256
    )
    autostart: bool = parameter(
        True, "Configure and activate at start; false waits for lifecycle transitions."
    )
    nice: int = parameter(
        10,
        "Niceness of the whole process: the higher, the more willingly it yields the processor. "
        "0 leaves it alone, which is right where the detector is in the same process.",
        low=0,
        high=19,
    )
    every: int = parameter(
        1,
        "Compare every n-th cloud that the student answers.",
        low=1,
        high=100_000,
        dynamic=True,
    )
    cpu_budget: float = parameter(
        0.5,
        "Share of the time that may be spent comparing; the node rests after each cloud.",
        low=0.01,
        high=1.0,
        dynamic=True,
    )
    reliability: str = parameter(
        "best_effort",
        "QoS reliability of both subscriptions; best_effort fits every publisher, stalls none.",
        choices=("best_effort", "reliable"),
    )
    buffer: int = parameter(
        20, "Clouds that are held until the student's answer comes.", low=1, high=1000
    )
    intensity_scale: float = parameter(
        0.0,
        "The sensor's value for full intensity (1, 255, 65535, ...); 0.0 guesses it.",
        low=0.0,
        high=1e6,
        dynamic=True,
    )
    class_remap: tuple[str, ...] = parameter(
        ("",),
        "Gives student and teacher the same classes: truck=vehicle renames, truck= leaves out. "
        "Take over the detector's class_remap.",
    )
    roi: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0, 0.0),
        "x_min, y_min, x_max, y_max [m] of the region that is compared; all 0.0 is everything. "
        "Take over the detector's roi.",
        check=region_problem,
    )
    rings: tuple[float, ...] = parameter(
        (0.0, 20.0, 35.0, 50.0),
        "Edges of the distance rings [m]; boxes beyond the last are not judged.",
        check=_rings_problem,
    )
    student_threshold: float = parameter(
        0.0, "Student's boxes below this score are left out; 0.0 takes all.", low=0.0, high=1.0
    )
    teacher_threshold: float = parameter(
        0.0,
        "Teacher's boxes below this score are left out; 0.0 takes its model's thresholds.",
        low=0.0,
        high=1.0,
    )
    window: int = parameter(
        300, "The figures are over so many of the latest compared clouds.", low=1, high=1_000_000
    )
    min_frames: int = parameter(
        30, "No alarm before so many compared clouds.", low=1, high=1_000_000
    )
    min_recall: float = parameter(
        0.5,
        "Alarm when the student surely finds less of what the teacher finds; 0.0 is never.",
        low=0.0,
        high=1.0,
    )
    min_precision: float = parameter(
        0.5,
        "Alarm when surely less of what the student finds is confirmed; 0.0 is never.",
        low=0.0,
        high=1.0,
    )
    max_centre_error: float = parameter(
        0.75,
        "Alarm when paired centres are farther apart on average [m]; 0.0 is never.",
        low=0.0,
        high=10.0,
    )
    baseline: str = parameter(
        "", "Path of the agreement.json of a good drive to compare with; empty is none."
    )
    max_drop: float = parameter(
        0.15,
        "Alarm when recall or precision falls this far behind the baseline; 0.0 is never.",
        low=0.0,
        high=1.0,
    )
    publish_markers: bool = parameter(
        True, "Publish agreement for RViz as well, while somebody subscribes to it.", dynamic=True
    )
    marker_lifetime: float = parameter(
        1.0, "After this many seconds RViz forgets a box.", low=0.0, high=60.0, dynamic=True
    )
    mine_frames: int = parameter(
        40, "How many of the worst clouds to keep for distillation; 0 is none.", low=0, high=10_000
    )
    mine_bytes: int = parameter(
        128 * 2**20, "Memory that the kept clouds may take [bytes].", low=2**20, high=2**36
    )
    mine_gap: float = parameter(
        1.0, "Least time between two kept clouds [s].", low=0.0, high=3600.0
    )
    mine_folder: str = parameter(
        "~/.ros/kd3d_mined", "Folder for the bags of kept clouds, one bag an activation."
    )
    save_period: float = parameter(
        60.0, "Write the kept clouds so often, if they changed [s].", low=1.0, high=86_400.0
    )
