"""The parameters of the detector node."""

from dataclasses import dataclass

from kd3d_ros.parameters import parameter


@dataclass(frozen=True)
class DetectorSettings:
    """Values of the node's parameters; their descriptions are what `ros2 param describe` says."""

    model: str = parameter(
        "", "Path of the bundle (*.kd3d); empty takes the one that comes with the package."
    )
    backend: str = parameter(
        "auto",
        "What runs the network.",
        choices=("auto", "openvino", "onnxruntime"),
    )
    threads: int = parameter(
        0, "CPU threads for the network; 0 leaves it to the backend.", low=0, high=256
    )
    autostart: bool = parameter(
        True, "Configure and activate at start; false waits for lifecycle transitions."
    )
    reliability: str = parameter(
        "best_effort",
        "QoS reliability of the cloud subscription; best_effort fits every publisher.",
        choices=("best_effort", "reliable"),
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
    score_threshold: float = parameter(
        0.0,
        "Boxes below this score are left out; 0.0 takes the thresholds of the model.",
        low=0.0,
        high=1.0,
        dynamic=True,
    )
    skip_when_unsubscribed: bool = parameter(
        True, "Do not run the network while nobody subscribes to its results.", dynamic=True
    )
    publish_markers: bool = parameter(
        True, "Publish boxes for RViz as well, while somebody subscribes to them.", dynamic=True
    )
    marker_lifetime: float = parameter(
        0.5, "After this many seconds RViz forgets a box.", low=0.0, high=60.0, dynamic=True
    )
