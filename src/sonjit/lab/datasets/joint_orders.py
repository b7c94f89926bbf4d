"""Joint orders of hand data sets, hands from joints, and skeletons from keypoint names.

Sources: the pages and code of the sets. STB labels the palm's centre in place of a wrist, see `stb`.

A joint order is the index of each of MediaPipe's 21 keypoints. Hands are made from joints in a camera's frame, and
lists of keypoint names are matched with skeletons.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.sample import HAND_SKELETON, Instance, Side
from sonjit.results import Box
from sonjit.results.skeletons import load_skeleton

MEDIAPIPE: Final = tuple(range(21))
"""Also the order of FreiHAND and DexYCB."""

INTERHAND: Final = (20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16)
"""InterHand2.6M: tips first, wrist last."""

RHD: Final = (0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17)
"""Wrist first, then each finger from its tip."""

STB: Final = (0, 17, 18, 19, 20, 13, 14, 15, 16, 9, 10, 11, 12, 5, 6, 7, 8, 1, 2, 3, 4)
"""Palm centre first, then from the little finger to the thumb."""

FPHA: Final = (0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20)
"""Wrist, all knuckles, then the rest of each finger."""

MANO: Final = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""HO-3D: MANO's 16 joints (index, middle, little, ring, thumb), then the tips of thumb to little finger."""

MM = 1e-3
"""Metres in a millimetre."""


_SKELETONS = ("hand_mediapipe21", "body_coco17", "body_coco23", "body_blazepose33", "face_300w68", "face_wflw98")
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


def camera_matrix(focal: ArrayLike, centre: ArrayLike) -> NDArray[np.float64]:
    """Return the matrix (3, 3) of focal lengths (2,) and principal point (2,) in pixels."""
    matrix = np.eye(3)
    matrix[[0, 1], [0, 1]] = focal
    matrix[:2, 2] = centre
    return matrix


def hand_before_camera(
    joints_m: NDArray[np.float64],
    camera: CalibratedCamera,
    side: Side,
    *,
    valid: NDArray[np.bool_] | None = None,
    keypoints_px: NDArray[np.float64] | None = None,
    **more: Any,  # noqa: ANN401  # of Instance
) -> Instance:
    """Return a hand whose joints are known in the camera's frame.

    Args:
        joints_m: Joints (21, 3) in metres, in MediaPipe's order.
        camera: Camera of the image.
        side: Side of the hand.
        valid: Mask (21,) of labelled joints, all by default; others become NaN.
        keypoints_px: Keypoints (21, 2) if the set labels them; by default the joints are projected.
        **more: Additional fields of `Instance`.
    """
    if valid is None:
        known, placed = np.ones(len(joints_m), np.bool_), joints_m.copy()
        projected = camera.project(placed) if keypoints_px is None else keypoints_px.copy()
    else:
        known, placed = valid, np.where(valid[:, None], joints_m, np.nan)
        projected = camera.project(placed) if keypoints_px is None else np.where(valid[:, None], keypoints_px, np.nan)
    return Instance(
        kind="hand",
        side=side,
        skeleton=HAND_SKELETON,
        keypoints_px=projected,
        valid_px=known & complete(projected),
        keypoints_m=placed,
        valid_m=known,
        **more,
    )


def box_from_xywh(xywh: ArrayLike) -> Box:
    """Return x_min, y_min, x_max, y_max of x, y, width, height.

    >>> box_from_xywh([10, 20, 5, 6])
    (10.0, 20.0, 15.0, 26.0)
    """
    x, y, width, height = np.asarray(xywh, np.float64).tolist()
    return x, y, x + width, y + height


def complete(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask (K,) of the points (K, D) with all coordinates known."""
    return np.asarray(np.isfinite(points).all(axis=-1), np.bool_)


def skeleton_of_names(names: Sequence[str]) -> tuple[str | None, NDArray[np.int64] | None]:
    """Return the skeleton with these keypoints, and the index of each of its keypoints among the names.

    A hand's fingers may also be counted from the palm to the tip: `forefinger1` to `forefinger4`.

    Returns:
        Name, and indices (K,) so that `points[indices]` are in the skeleton's order; None and None if no skeleton fits.

    >>> skeleton_of_names(["wrist"])
    (None, None)
    """
    return _skeleton_of_names(tuple(names))


@cache
def _skeleton_of_names(names: tuple[str, ...]) -> tuple[str | None, NDArray[np.int64] | None]:
    spelled = [_standard_name(name) for name in names]
    for known in _SKELETONS:
        keypoints = load_skeleton(known).keypoints
        if len(keypoints) == len(spelled) and set(keypoints) == set(spelled):
            return known, np.array([spelled.index(name) for name in keypoints])
    return None, None


def _standard_name(name: str) -> str:
    """Return a keypoint's name as spelled in MediaPipe's skeleton.

    >>> _standard_name("forefinger1"), _standard_name("THUMB_4"), _standard_name("pinky_mcp")
    ('index_finger_mcp', 'thumb_tip', 'pinky_finger_mcp')
    """
    name = name.lower().replace(" ", "_")
    stem, level = name.rstrip("1234").rstrip("_"), name[-1:]
    if level in "1234" and stem in _FINGERS:
        levels = ("cmc", "mcp", "ip", "tip") if stem == "thumb" else ("mcp", "pip", "dip", "tip")
        return f"{_FINGERS[stem]}_{levels[int(level) - 1]}"
    finger, _, joint = name.rpartition("_")
    return f"{_FINGERS[finger]}_{joint}" if finger in _FINGERS else name
