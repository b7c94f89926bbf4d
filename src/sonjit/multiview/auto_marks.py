"""Labels in space as the machine's marks in every view, which the page shows for a person to accept or correct."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.multiview.marks import MACHINE, PER_HAND, Mark

if TYPE_CHECKING:
    from sonjit.multiview.auto_labels import Labels
    from sonjit.multiview.cameras import CameraRig


def marks_of_labels(rig: CameraRig, labels: Labels, version: str) -> list[Mark]:
    """A mark for each label and view in whose picture it lies: seen where the view agrees, else hidden.

    Args:
        rig: the cameras of `labels.seen`.
        labels: in space.
        version: makes the marks' ids those of one run.
    """
    marks: list[Mark] = []
    pixels = rig.project(labels.points_m)  # (C, N, 2, 21, 2)
    for view, camera in enumerate(rig):
        inside = camera.inside(np.nan_to_num(pixels[view], nan=-1.0))
        for row, side, joint in np.argwhere(inside).tolist():
            frame, place = int(labels.frames[row]), PER_HAND * side + joint
            x, y = pixels[view, row, side, joint].tolist()
            state = "seen" if labels.seen[row, view, side, joint] else "occluded"
            name = f"{version}-{frame}-{view}-{place}"
            marks.append(Mark(name, frame, camera.name, place, MACHINE, state, round(x, 2), round(y, 2), "M"))
    return marks
