"""Which skeleton a list of keypoint names is, and in which order it holds it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KNOWN = ("hand_mediapipe21", "body_coco17", "body_coco23", "body_blazepose33", "face_300w68", "face_wflw98")
_FINGERS = {
    "thumb": "thumb",
    "forefinger": "index_finger",
    "index": "index_finger",
    "index_finger": "index_finger",
    "middle": "middle_finger",
    "middle_finger": "middle_finger",
    "ring": "ring_finger",
    "ring_finger": "ring_finger",
    "pinky": "pinky_finger",
    "pinky_finger": "pinky_finger",
    "little": "pinky_finger",
}


def skeleton_of_names(names: Sequence[str]) -> tuple[str | None, NDArray[np.int64] | None]:
    """The skeleton that has these keypoints, and the place of each of its own among them.

    A hand's fingers may also be counted from the palm to the tip: `forefinger1` to `forefinger4`.

    Returns:
        Name, and (K,) places so that `points[places]` stand in the skeleton's order; None and None where none fits.

    >>> skeleton_of_names(["wrist"])
    (None, None)
    """
    return _skeleton_of_names(tuple(names))


@cache
def _skeleton_of_names(names: tuple[str, ...]) -> tuple[str | None, NDArray[np.int64] | None]:
    spelled = [_spelled(name) for name in names]
    for known in _KNOWN:
        wanted = load_skeleton(known).keypoints
        if len(wanted) == len(spelled) and set(wanted) == set(spelled):
            return known, np.array([spelled.index(name) for name in wanted])
    return None, None


def _spelled(name: str) -> str:
    """A keypoint's name as MediaPipe's skeleton has it.

    >>> _spelled("forefinger1"), _spelled("THUMB_4"), _spelled("pinky_mcp")
    ('index_finger_mcp', 'thumb_tip', 'pinky_finger_mcp')
    """
    name = name.lower().replace(" ", "_")
    stem, level = name.rstrip("1234").rstrip("_"), name[-1:]
    if level in "1234" and stem in _FINGERS:
        levels = ("cmc", "mcp", "ip", "tip") if stem == "thumb" else ("mcp", "pip", "dip", "tip")
        return f"{_FINGERS[stem]}_{levels[int(level) - 1]}"
    finger, _, joint = name.rpartition("_")
    return f"{_FINGERS[finger]}_{joint}" if finger in _FINGERS else name
