"""Labels in space as the machine's marks in every view, which the page shows for a person to accept or correct.

Labels by machine for a person to correct: Sonjit's own hands in each view, as marks of the annotator `machine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from sonjit.multiview.annotation.marks import MACHINE, PER_HAND, SIDES, Mark

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.automatic.labels import Labels
    from sonjit.multiview.cameras.rig import CameraRig
    from sonjit.results import Hand


def marks_of_labels(rig: CameraRig, labels: Labels, version: str) -> list[Mark]:
    """A mark for each label and view in whose image it lies: seen where the view agrees, else hidden.

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


Detect = Callable[["NDArray[np.uint8]"], "Sequence[Hand]"]
"""An image (H, W, 3) to its hands, such as the `detect` of a detector of stills."""


def prelabel(detect: Detect, rgb: NDArray[np.uint8], frame: int, view: str) -> list[Mark]:
    """Marks of the surest right and the surest left hand in one image.

    Args:
        detect: finds hands.
        rgb: (H, W, 3) the image.
        frame: number of the frame set.
        view: the camera's name.

    Returns:
        21 or 42 marks, fewer where keypoints lie outside the image; none where no hand is found.
    """
    height, width = rgb.shape[:2]
    hands = sorted(detect(rgb), key=lambda hand: hand.score)
    marks: list[Mark] = []
    for side, hand in {hand.handedness: hand for hand in hands}.items():
        first = PER_HAND * SIDES.index(side)
        for k, (x, y) in enumerate(np.asarray(hand.keypoints, np.float64)[:, :2].tolist()):
            if 0 <= x <= width and 0 <= y <= height:
                marks.append(Mark(uuid4().hex, frame, view, first + k, MACHINE, "seen", x, y, "M"))
    return marks
