"""Faces in pictures that are given away: blurred, but never over a labelled hand, which a blur would spoil.

A detector of faces also finds some in fingers. What it finds over a labelled hand is a hand where two things say so: a
second network sees no face there, and at the hand's distance it would be smaller than a face can be. One alone would
show faces: the network misses some that hands cover, and what stands far behind a hand looks small.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from sonjit.detectors.create import create_detector
from sonjit.detectors.face import box_around_face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.multiview.cameras import RigCamera
    from sonjit.results import Box, Face

_ROOM: Final = 0.35
"""Of a face's longer side, that is blurred around it too."""
_CELLS: Final = 6
_LEAST_PRESENCE: Final = 0.1
_LEAST_M: Final = 0.075
"""Half a face: one that looks smaller stands twice as far away as the hand before it, or farther."""


class FacesFound(NamedTuple):
    """What was found in one picture, or in many.

    Attributes:
        blurred: faces.
        hands: labelled hands that were taken for a face, and left as they are.
        withheld: pictures in which what may be a face lies over a labelled hand: neither to be blurred nor shown.
    """

    blurred: int = 0
    hands: int = 0
    withheld: int = 0


def without_faces(
    rgb: NDArray[np.uint8], camera: RigCamera, points_m: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], FacesFound]:
    """A picture with its faces blurred.

    Args:
        rgb: (H, W, 3).
        camera: whose, without a lens.
        points_m: (2, 21, 3) labelled joints in the world; NaN where unknown.

    Returns:
        The picture, not to be shown where `withheld` is 1; and what was found.
    """
    joints = camera.camera.from_world(points_m)  # (2, 21, 3)
    blurred: list[Box] = []
    hands = 0
    for face in _detector("box-full").detect(rgb):
        covered = [hand for hand in joints if _lies_over(_with_room(face.box, rgb), hand, camera.camera.K)]
        if not covered:
            blurred.append(face.box)
        elif _is_hand(rgb, face, covered, camera.camera.K):
            hands += 1
        else:
            return rgb, FacesFound(withheld=1)
    return blur_faces(rgb, blurred), FacesFound(len(blurred), hands)


def blur_faces(rgb: NDArray[np.uint8], boxes: Sequence[Box]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) in which six cells a side are left of each face's box, and room around it."""
    import cv2

    out = rgb.copy()
    for box in boxes:
        left, top, right, bottom = _with_room(box, rgb)
        if right - left < 1 or bottom - top < 1:
            continue
        cells = cv2.resize(out[top:bottom, left:right], (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
        out[top:bottom, left:right] = cv2.resize(cells, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    return out


def _with_room(box: Box, rgb: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """What is blurred of a face: x_min, y_min, x_max, y_max, within the picture."""
    x_min, y_min, x_max, y_max = box
    room = _ROOM * max(x_max - x_min, y_max - y_min)
    height, width = rgb.shape[:2]
    left, top = max(0, math.floor(x_min - room)), max(0, math.floor(y_min - room))
    return left, top, min(width, math.ceil(x_max + room)), min(height, math.ceil(y_max + room))


def _lies_over(box: tuple[int, int, int, int], joints_m: NDArray[np.float64], K: NDArray[np.float64]) -> bool:
    """Whether a box touches the outline of a hand's known joints (21, 3) before the camera."""
    import cv2

    known = joints_m[joints_m[:, 2] > 0]  # unknown ones neither
    if not len(known):
        return False
    pixels = (known @ K.T)[:, :2] / known[:, 2:]
    left, top, right, bottom = box
    if ((pixels >= (left, top)) & (pixels <= (right, bottom))).all(1).any():
        return True
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    hull = cv2.convexHull(pixels.astype(np.float32))
    return len(hull) > 2 and cv2.intersectConvexConvex(hull, corners)[0] > 0


def _is_hand(
    rgb: NDArray[np.uint8],
    face: Face,
    hands_m: Sequence[NDArray[np.float64]],
    K: NDArray[np.float64],
) -> bool:
    """Whether what was taken for a face over hands (21, 3) before the camera is one of them."""
    far = max(float(np.nanmedian(hand[:, 2])) for hand in hands_m)
    x_min, _, x_max, _ = face.box
    if (x_max - x_min) * far / K[0, 0] >= _LEAST_M:
        return False
    right_eye, left_eye = face.keypoints[:2, :2].tolist()
    return not _detector("mesh").detect(rgb, boxes=[box_around_face(face.box, right_eye, left_eye)])


@cache
def _detector(model: str) -> Any:  # noqa: ANN401  # a detector of faces
    most = 10 if model == "box-full" else 1
    return create_detector(
        "face", model=model, static_image=True, max_instances=most, min_presence_score=_LEAST_PRESENCE, threads=1
    )
