"""The parameters of the detector node."""

from collections.abc import Sequence
from dataclasses import dataclass

from kd3d_ros.common.filters import region_problem
from kd3d_ros.common.parameters import parameter


def _region(values: Sequence[float], count: int) -> str:
    """What is wrong with a region of so many numbers, or empty."""
    if len(values) != count:
        return f"{list(values)}: give {count} numbers, all 0.0 for none"
    return region_problem(values)


@dataclass(frozen=True)
class DetectorSettings:
    """Values of the node's parameters; their descriptions are what `ros2 param describe` says."""

    # --- the model
    model: str = parameter(
        "",
        "Path of the bundle (*.kd3d), or the name of a shipped one: teacher; empty takes the "
        "shipped student. While the node runs a change takes effect when ~/load_model is called.",
        dynamic=True,
    )
    backend: str = parameter(
        "auto",
        "What runs the network.",
        choices=("auto", "openvino", "onnxruntime", "tensorrt", "tensorrt-rtx"),
    )
    precision: str = parameter(
        "f32",
        "Arithmetic of the network; bf16 is quicker on CPUs that have it (OpenVINO only).",
        choices=("f32", "bf16", "auto"),
    )
    threads: int = parameter(
        0, "CPU threads for the network; 0 leaves it to the backend.", low=0, high=256
    )
    engine_cache: str = parameter(
        "", "Folder for compiled networks; empty takes ~/.cache/kd3d/engines (XDG_CACHE_HOME)."
    )
    force_engine_update: bool = parameter(
        False, "Compile the network anew even if the cache has it."
    )
    build_only: bool = parameter(
        False, "Compile and warm the model, fill the cache and end, without subscribing."
    )
    autostart: bool = parameter(
        True, "Configure and activate at start; false waits for lifecycle transitions."
    )
    # --- the clouds
    reliability: str = parameter(
        "best_effort",
        "QoS reliability of the cloud subscription; best_effort fits every publisher.",
        choices=("best_effort", "reliable"),
    )
    durability: str = parameter(
        "volatile",
        "QoS durability of the cloud subscription; transient_local also gets the last cloud of a "
        "latched topic.",
        choices=("volatile", "transient_local"),
    )
    queue_depth: int = parameter(
        5, "QoS history depth of the cloud subscription.", low=1, high=100
    )
    frame_id: str = parameter(
        "", "Refuse clouds in another frame than this; empty takes any.", dynamic=True
    )
    intensity_scale: float = parameter(
        0.0,
        "The sensor's value for full intensity (1, 255, 65535, ...); 0.0 guesses it.",
        low=0.0,
        high=1e6,
        dynamic=True,
    )
    ego_box: Sequence[float] = parameter(
        [0.0] * 6,
        "Points in this box are left out: x_min, y_min, z_min, x_max, y_max, z_max [m] in the "
        "cloud's frame; all 0.0 for none.",
        dynamic=True,
        check=lambda values: _region(values, 6),
    )
    levelling: bool = parameter(
        True,
        "Show clouds to the model level and as high above the ground as in training: they are "
        "moved, and the boxes moved back. Models without ground_height_m take them as they come.",
        dynamic=True,
    )
    sensor_height: float = parameter(
        -1.0,
        "Height of the level sensor above the ground [m], for levelling; -1.0 estimates height "
        "and tilt from the clouds.",
        low=-1.0,
        high=6.0,
        dynamic=True,
    )
    # --- the time it may take
    latency_budget_ms: float = parameter(
        0.0,
        "How old boxes may be when they are published [ms]; where they are late, fewer sweeps, "
        "less range and at last fewer clouds are looked at. 0.0 always looks at everything.",
        low=0.0,
        high=10_000.0,
        dynamic=True,
    )
    # --- several sweeps and frames: the only ones that need /tf
    sweeps: int = parameter(
        1, "How many sweeps are merged through /tf; 1 uses no /tf.", low=1, high=20
    )
    fixed_frame: str = parameter(
        "odom", "Frame that stands still while the vehicle moves; sweeps are merged through it."
    )
    model_frame: str = parameter(
        "",
        "Move clouds into this frame of /tf before anything else: level, x forward, z up, as high "
        "as the training sensor. Empty detects in the frame of the cloud.",
    )
    target_frame: str = parameter(
        "", "Publish boxes in this frame of /tf; empty keeps the frame they were detected in."
    )
    tf_timeout: float = parameter(
        0.0,
        "How long a cloud waits for its transforms [s]; 0.0 takes the newest known.",
        low=0.0,
        high=2.0,
        dynamic=True,
    )
    # --- what is published
    score_threshold: float = parameter(
        0.0,
        "Boxes below this score are left out; 0.0 takes the thresholds of the model.",
        low=0.0,
        high=1.0,
        dynamic=True,
    )
    score_thresholds: Sequence[str] = parameter(
        [""],
        "Least scores by class of the model and distance [m]: CLASS=SCORE[,SCORE@METRES...], such "
        "as car=0.4,0.25@30 (0.25 from 30 m on); the class * is every other one. They overrule "
        "score_threshold.",
        dynamic=True,
    )
    class_remap: Sequence[str] = parameter(
        [""],
        "Published names by class of the model: CLASS=NAME, such as truck=vehicle; CLASS= leaves "
        "the class out.",
        dynamic=True,
    )
    roi: Sequence[float] = parameter(
        [0.0] * 4,
        "Region of interest x_min, y_min, x_max, y_max [m] in the cloud's frame; all 0.0 for "
        "none.",
        dynamic=True,
        check=lambda values: _region(values, 4),
    )
    roi_crops: str = parameter(
        "boxes",
        "What the region of interest leaves out: boxes by their centre, points, or both.",
        choices=("boxes", "points", "both"),
        dynamic=True,
    )
    skip_when_unsubscribed: bool = parameter(
        True, "Do not run the network while nobody subscribes to its results.", dynamic=True
    )
    publish_markers: bool = parameter(
        True, "Publish boxes for RViz as well, while somebody subscribes to them.", dynamic=True
    )
    marker_lifetime: float = parameter(
        0.5,
        "After this many seconds RViz forgets a box; 0.0 keeps it.",
        low=0.0,
        high=60.0,
        dynamic=True,
    )

    @property
    def uses_tf(self) -> bool:
        """Whether transforms are needed at all."""
        return self.sweeps > 1 or bool(self.target_frame or self.model_frame)
