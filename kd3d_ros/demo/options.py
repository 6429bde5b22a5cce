"""What the demo was asked to do."""

from dataclasses import dataclass
from pathlib import Path

from kd3d_core.runtime.default import bundle_path


@dataclass(frozen=True)
class DemoOptions:
    """Settings of one run.

    Attributes:
        input: Folder, file or bag of clouds instead of the simulated LiDAR, or None.
        seconds: How long to run, from the first detection on.
        record: Record this much of it [s]; ten seconds of a 64-beam LiDAR are 200 MB.
        out: Folder for the recording, the picture, the logs and the summary.
        model: Bundle, or None for the shipped one.
        sensor: Simulated LiDAR model.
        seed: Of the simulated street.
        rate: Clouds a second.
        drive: Length of the simulated drive, which is repeated [s].
        backend: What runs the network.
        threads: CPU threads for the network; 0 leaves it to the backend.
        patience: How long to wait for the first detection [s].
    """

    input: Path | None = None
    seconds: float = 20.0
    record: float = 10.0
    out: Path = Path(".demo")
    model: Path | None = None
    sensor: str = "hdl64e"
    seed: int = 7
    rate: float = 10.0
    drive: float = 8.0
    backend: str = "auto"
    threads: int = 0
    patience: float = 120.0

    def source(self) -> tuple[str, str, list[str]]:
        """Name, module and ROS arguments of the process that publishes clouds on /points."""
        if self.input is not None:
            name = "cloud_player"
            values: dict[str, object] = {"path": self.input.resolve(), "rate": self.rate}
        else:
            name = "simulated_lidar"
            # All of the drive is simulated before the first sweep is published, so that the
            # simulator does not take the processor from the detector that is being measured.
            drive = {"duration": self.drive, "ahead": self.drive}
            values = {"sensor": self.sensor, "seed": self.seed, "rate": self.rate, **drive}
        # The detector and the demo itself, so that no cloud is published before both listen.
        values["wait_for_subscribers"] = 2
        remaps = {topic: f"/{topic}" for topic in ("points", "truth/detections", "truth/markers")}
        remaps = {f"/{name}/{topic}": target for topic, target in remaps.items()}
        return name, f"kd3d_ros.sources.{name}", ros_arguments(values, remaps)

    def detector(self) -> list[str]:
        """ROS arguments of the detector."""
        values: dict[str, object] = {"backend": self.backend, "threads": self.threads}
        if self.model is not None:
            values["model"] = bundle_path(self.model, self.backend).resolve()
        return ros_arguments(values, {"~/input/points": "/points"})


def ros_arguments(values: dict[str, object], remaps: dict[str, str]) -> list[str]:
    """Parameters and remappings as a node's command line."""
    arguments = ["--ros-args"]
    for name, value in values.items():
        arguments += ["-p", f"{name}:={value}"]
    for name, target in remaps.items():
        arguments += ["-r", f"{name}:={target}"]
    return arguments
