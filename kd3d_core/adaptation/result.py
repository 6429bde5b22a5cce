"""What comes of a survey and of an adaptation."""

import hashlib
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from kd3d_core.adaptation.recording import Recording
from kd3d_core.adaptation.sensor import SensorReport
from kd3d_core.adaptation.steps import Attempt
from kd3d_core.adaptation.subject import Expectation
from kd3d_core.adaptation.subject import Subject
from kd3d_core.inspection.findings import Finding
from kd3d_core.runtime.manifest import AdaptationRecord


@dataclass(frozen=True)
class Survey:
    """A sensor beside what a model expects of it.

    Attributes:
        report: Of the sensor.
        expects: Of the model's training, as far as anybody says.
        findings: What the report means for the model.
    """

    report: SensorReport
    expects: Expectation
    findings: list[Finding]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "sensor": self.report.to_dict(),
            "findings": [
                {k: getattr(f, k) for k in ("rule", "severity", "message", "remedy")}
                for f in self.findings
            ],
        }


@dataclass(frozen=True)
class Adaptation:
    """What came of it.

    Attributes:
        subject: The model with every change that was kept.
        recording: What it was adapted to.
        survey: Of the sensor.
        attempts: What was tried, in order.
    """

    subject: Subject
    recording: Recording
    survey: Survey
    attempts: list[Attempt]

    @property
    def record(self) -> AdaptationRecord:
        """For the manifest."""
        path = self.subject.path
        return AdaptationRecord(
            source=self.recording.words,
            clouds=len(self.recording),
            model=path.name,
            model_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            changes=tuple(
                f"{a.what} ({a.measure}: {100 * a.before:.1f} -> {100 * a.after:.1f})"
                for a in self.attempts
                if a.kept
            ),
            mount=self.survey.report.mount,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **self.survey.to_dict(),
            "record": self.record.model_dump(mode="json"),
            "attempts": [asdict(attempt) for attempt in self.attempts],
        }
