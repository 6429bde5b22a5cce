"""Class names of two models made one set, so that their boxes can be compared. Free of ROS."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_ros.common.filters import parse_remap


class CommonClasses:
    """Gives both sides the same classes.

    Attributes:
        names: The classes of every comparison: the teacher's, renamed.
    """

    def __init__(self, teacher: Sequence[str], entries: Sequence[str] = ()) -> None:
        """Read the parameter `class_remap`, which is written as the detector's.

        Args:
            teacher: The teacher's classes.
            entries: "truck=vehicle" or, to leave a class out, "truck=". An entry applies to the
                teacher if it has such a class, and to the student.

        Raises:
            Kd3dError: An entry cannot be read, or renames to what the teacher does not have.
        """
        left = {entry: entry.partition("=")[0].strip() for entry in entries}
        about_teacher = [entry for entry in entries if left[entry] in teacher or "=" not in entry]
        self._teacher = parse_remap(about_teacher, teacher)
        self.names = self._teacher.classes
        self._student: dict[str, str] = {}
        for entry in filter(None, (text.strip() for text in entries)):
            old, _, new = (part.strip() for part in entry.partition("="))
            if new and new not in self.names:
                raise Kd3dError(
                    f"class_remap: '{entry}' names the class '{new}', but the teacher has: "
                    f"{', '.join(self.names)}"
                )
            self._student[old] = new

    def of_teacher(self, boxes: Boxes3D, overlap: NDArray[np.float64]) -> Boxes3D:
        """The teacher's boxes with the common classes.

        Args:
            boxes: With the teacher's classes.
            overlap: (K,) by class of the teacher: the rotated IoU above which two boxes that have
                become one class are one object.
        """
        return self._teacher.apply(boxes, overlap)

    def of_student(self, boxes: Boxes3D) -> tuple[Boxes3D, set[str]]:
        """The student's boxes with the common classes.

        Args:
            boxes: With whatever classes the student published.

        Returns:
            The boxes whose class the teacher has too, and the names of the classes of those that
            were left out without having been asked for.
        """
        renamed = [self._student.get(name, name) for name in boxes.classes]
        places = [self.names.index(name) if name in self.names else -1 for name in renamed]
        label = np.array([*places, -1], np.int64)[boxes.label]
        keep = label >= 0
        strangers = {renamed[k] for k in boxes.label[~keep] if renamed[k]}
        # Labels and classes change together: either alone would point outside of the other.
        return replace(boxes[keep], label=label[keep], classes=self.names), strangers
