"""Look at a data set: what was found, and what looks wrong."""

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from kd3d_core.errors import Kd3dError
from kd3d_core.frame import FrameDataset
from kd3d_core.inspection.config import CheckConfig
from kd3d_core.inspection.facts import FrameFacts
from kd3d_core.inspection.facts import frame_facts
from kd3d_core.inspection.findings import Finding
from kd3d_core.inspection.findings import by_severity
from kd3d_core.inspection.rules_boxes import box_findings
from kd3d_core.inspection.rules_clouds import cloud_findings
from kd3d_core.inspection.rules_motion import heading_findings
from kd3d_core.inspection.rules_motion import pose_findings
from kd3d_core.inspection.rules_motion import time_findings
from kd3d_core.inspection.summary import Summary
from kd3d_core.inspection.summary import summarise
from kd3d_core.inspection.table import BoxTable
from kd3d_core.inspection.table import box_table


@dataclass(frozen=True, eq=False)
class CheckResult:
    """What a check found.

    Attributes:
        total: Frames of the data set.
        frames: Those that were looked at, in the order of the data set.
        table: Their boxes.
        summary: Figures of all.
        findings: What looks wrong, the worst first.
        config: What was looked at.
    """

    total: int
    frames: tuple[FrameFacts, ...]
    table: BoxTable
    summary: Summary
    findings: tuple[Finding, ...]
    config: CheckConfig

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "frames": self.total,
            "looked_at": len(self.frames),
            "summary": asdict(self.summary),
            "findings": [asdict(finding) for finding in self.findings],
            "config": self.config.model_dump(mode="json"),
        }


def check_dataset(
    dataset: FrameDataset, config: CheckConfig | None = None, console: Console | None = None
) -> CheckResult:
    """Look at a data set; one frame is in memory at a time.

    Args:
        dataset: Any reader. A method `drive(index)` tells which frames belong together; without,
            all are one drive.
        config: What to look at.
        console: Where a progress bar goes; none without it.

    Raises:
        Kd3dError: No frame can be read.
    """
    config = config or CheckConfig()
    indices: Iterable[int] = sample(len(dataset), config.frames)
    if console is not None:
        indices = track(list(indices), "looking", console=console, transient=True)
    drive = getattr(dataset, "drive", lambda index: "")
    facts: list[FrameFacts] = []
    unread: list[tuple[int, str]] = []
    for index in indices:
        try:
            facts.append(frame_facts(dataset[index], index, drive(index)))
        except Kd3dError as error:
            unread.append((index, str(error)))
    if not facts:
        raise Kd3dError(unread[0][1] if unread else "the data set has no frames.")
    table = box_table(facts)
    findings = [
        *_unread(unread, len(facts)),
        *cloud_findings(facts, config),
        *box_findings(table, dataset.classes, config),
        *heading_findings(table, config),
        *time_findings(facts),
        *pose_findings(facts, config),
    ]
    summary = summarise(facts, table, dataset.classes, drives(dataset))
    return CheckResult(
        len(dataset), tuple(facts), table, summary, tuple(by_severity(findings)), config
    )


def sample(total: int, most: int) -> list[int]:
    """At most `most` indices below `total`: all, or pairs of neighbours spread evenly."""
    if total <= most:
        return list(range(total))
    starts = np.linspace(0, total - 2, max(most // 2, 1)).round().astype(int)
    return sorted({int(i) for start in starts for i in (start, start + 1)})[:most]


def drives(dataset: FrameDataset) -> int:
    """How many drives a data set has; 1 where the reader does not tell."""
    drive = getattr(dataset, "drive", None)
    return 1 if drive is None else len({drive(index) for index in range(len(dataset))})


def _unread(unread: Sequence[tuple[int, str]], read: int) -> list[Finding]:
    """Frames that cannot be read."""
    if not unread:
        return []
    return [
        Finding(
            "unreadable",
            "error",
            f"{len(unread)} of {len(unread) + read} frames cannot be read.",
            "Download or copy these files again.",
            tuple(index for index, _ in unread[:5]),
            tuple(message for _, message in unread[:5]),
        )
    ]
