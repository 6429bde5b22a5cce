"""What the detector node's diagnostics judge by, beside its counters."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import TYPE_CHECKING

from rclpy.node import Node
from rclpy.time import Time

from kd3d_core.runtime.budget import Standing
from kd3d_ros.detector.cloud_input import CloudInput
from kd3d_ros.detector.health import Complaint
from kd3d_ros.detector.settings import DetectorSettings
from kd3d_ros.detector.tf_stage import TfStage

if TYPE_CHECKING:
    from kd3d_ros.detector.pipeline import Pipeline


@dataclass(frozen=True)
class TfFacts:
    """What is known about transforms.

    Attributes:
        age: Of the newest dynamic transform [s], or None.
        received: Transforms heard.
        reasons: Why the latest cloud got less than was asked for.
    """

    age: float | None = None
    received: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class DetectorFacts:
    """The state of a detector node beside its counters.

    Attributes:
        state: Name of the lifecycle state.
        problem: Why the node could not be configured, or empty.
        idle_reason: Why clouds are not worked on at the moment, or empty.
        refused_qos: What publishers ask for that the subscription does not offer, or empty.
        topic: Of the clouds, after remapping.
        publishers: How many publish it.
        clock_stopped: Whether the node waits for /clock.
        period: The usual time between clouds [s], or None.
        model: Facts about the model by name.
        model_problem: Why the latest ~/load_model changed nothing, or empty.
        model_notes: What else is to be known about it.
        trained_sweeps: How many merged sweeps the model was trained on.
        wanted_sweeps: The parameter `sweeps`.
        sensor: Facts about the clouds by name.
        complaints: About the clouds, worst first.
        box_complaint: What is wrong with the boxes' shape or heading, or empty.
        quiet_for: How long nothing has been published [s].
        listeners: Subscribers of detections and of markers.
        publish_markers: The parameter.
        marker_lifetime: The parameter [s].
        tf: None while no transforms are needed.
        budget: None while there is no latency budget.
    """

    state: str = "active"
    problem: str = ""
    idle_reason: str = ""
    refused_qos: str = ""
    topic: str = ""
    publishers: int = 1
    clock_stopped: bool = False
    period: float | None = None
    model: dict[str, str] = field(default_factory=dict)
    model_problem: str = ""
    model_notes: tuple[str, ...] = ()
    trained_sweeps: int = 1
    wanted_sweeps: int = 1
    sensor: dict[str, str] = field(default_factory=dict)
    complaints: Sequence[Complaint] = ()
    box_complaint: str = ""
    quiet_for: float = 0.0
    listeners: tuple[int, int] = (0, 0)
    publish_markers: bool = True
    marker_lifetime: float = 0.5
    tf: TfFacts | None = None
    budget: Standing | None = None


def gather(
    node: Node,
    settings: DetectorSettings,
    pipeline: "Pipeline",
    clouds: CloudInput | None,
    known: DetectorFacts,
    model_problem: str,
) -> DetectorFacts:
    """The state of a configured node, filled in.

    Args:
        node: For its clock.
        settings: Its parameters.
        pipeline: Its model and publishers.
        clouds: Its subscription while it is active.
        known: What the node knows itself: its lifecycle state and problem.
        model_problem: Why the latest ~/load_model changed nothing, or empty.
    """
    now = node.get_clock().now()
    health = pipeline.health
    return replace(
        known,
        refused_qos=clouds.refused_qos if clouds is not None else "",
        topic=clouds.topic if clouds is not None else "",
        publishers=clouds.publishers if clouds is not None else 0,
        clock_stopped=now.nanoseconds == 0,
        period=clouds.period if clouds is not None else None,
        model=_model(pipeline, settings),
        model_problem=model_problem,
        model_notes=pipeline.loaded.notes,
        trained_sweeps=pipeline.loaded.detector.manifest.sweeps,
        wanted_sweeps=settings.sweeps,
        sensor=health.facts.values() if health.facts is not None else {},
        complaints=health.complaints(settings.intensity_scale),
        box_complaint=pipeline.boxes.complaint(),
        quiet_for=pipeline.quiet_for,
        listeners=pipeline.outputs.listeners,
        publish_markers=settings.publish_markers,
        marker_lifetime=settings.marker_lifetime,
        tf=_tf(pipeline.tf, now),
        budget=pipeline.budget.standing if settings.latency_budget_ms else None,
    )


def _model(pipeline: "Pipeline", settings: DetectorSettings) -> dict[str, str]:
    """The model in use, by name of the fact."""
    loaded = pipeline.loaded
    manifest, backend = loaded.detector.manifest, loaded.detector.backend
    return {
        "name": manifest.name,
        "sha256": manifest.onnx_sha256,
        "bundle": loaded.detector.source,
        "parameter model": settings.model or "(the one of the package)",
        "backend": backend.name,
        "why this backend": backend.reason or f"the parameter backend is {settings.backend}",
        "precision": backend.precision,
        "engine": loaded.engine,
        "classes": ", ".join(pipeline.view.classes),
        "trained on": manifest.training.data or "unknown",
    }


def _tf(stage: TfStage | None, now: Time) -> TfFacts | None:
    """What is known about transforms, where they are used."""
    if stage is None:
        return None
    return TfFacts(stage.age(1e-9 * now.nanoseconds), stage.received, stage.reasons)
