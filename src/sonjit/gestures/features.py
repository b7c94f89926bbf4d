"""Compute the features of gestures: the shape of a hand without its position, size, side and rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util.errors import InputError
from sonjit.results.measures.hands import palm_frame

if TYPE_CHECKING:
    from sonjit._util.arrays import BoolArray, Float32Array, FloatArray, RealArray

KEYPOINTS: Final = 21
_LENGTH: Final = [0, 9, 10, 11, 12]  # along the bones: the same however the hand bends
PALM: Final = [0, 5, 9, 13, 17]
"""The wrist and the knuckles of the four fingers."""
_PAIRS: Final = [(a, b) for a in range(KEYPOINTS) for b in range(a) if a != 1 and b != 1]
"""All pairs of keypoints, but those of the thumb's first joint."""
ALONG: Final = (-1, 0.25, 0.5, 0.25, 0)
"""Weights of `PALM` that give the way from the wrist to the knuckles."""
_MIDDLE, _ALONG = np.zeros((2, 1, KEYPOINTS), np.float32)
_MIDDLE[0, PALM] = 0.2
_ALONG[0, PALM] = ALONG
_STEPS: Final = np.zeros((len(_PAIRS), KEYPOINTS), np.float32)
_STEPS[np.arange(len(_PAIRS)), [a for a, _ in _PAIRS]] = 1
_STEPS[np.arange(len(_PAIRS)), [b for _, b in _PAIRS]] = -1

FEATURES: Final = 2 * (3 * KEYPOINTS + len(_PAIRS))
"""How many `gesture_features` gives."""


def gesture_features(keypoints: RealArray, keypoints_3d: RealArray, left: BoolArray) -> Float32Array:
    """Return features (N, F) of N hands, NaN for a hand with an unknown keypoint or coinciding keypoints.

    The keypoints of the image and in metres as `aligned` gives them, and the distances between the points of each.

    Args:
        keypoints: (N, 21, 3) published keypoints in pixels, z as the detector scales it.
        keypoints_3d: (N, 21, 3) metres in the camera's axes.
        left: (N,) which are left hands.

    Raises:
        InputError: the points are not those of hands.
    """
    if keypoints.shape[1:] != (KEYPOINTS, 3) or keypoints.shape != keypoints_3d.shape:
        raise InputError(f"gestures need keypoints (N, 21, 3) twice, not {keypoints.shape} and {keypoints_3d.shape}")
    count = len(keypoints)
    points = np.empty((count, 2, KEYPOINTS, 3), np.float32)
    points[:, 0], points[:, 1] = keypoints, keypoints_3d
    points = aligned(points, left)
    steps = _STEPS @ points
    steps *= steps
    return np.concatenate([points.reshape(count, -1), np.sqrt(steps.sum(-1)).reshape(count, -1)], 1)


def aligned(points: Float32Array, left: BoolArray, by: Float32Array | None = None) -> Float32Array:
    """Normalise image and metric keypoints (N, 2, 21, 3) for position, size, side and rotation in the image.

    Left hands are mirrored into right ones, all are turned in the image until the knuckles are above the wrist, and
    lie about the palm's middle at a mean square distance of 1.

    Args:
        points: (N, 2, 21, 3).
        left: (N,) which are left hands.
        by: (N, 2, 21, 3) the hands that are to lie so; by default those of the points.
    """
    reference = points if by is None else by
    middle = _MIDDLE @ reference
    x, y, _ = (_ALONG @ reference[:, 0])[:, 0].T
    around = reference - middle
    mirror = 1 - 2 * left
    turn = np.zeros((len(around), 1, 3, 3), np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = np.hypot(x, y)
        up, across = -y / length, x / length
        turn[:, 0, 0, 0], turn[:, 0, 0, 1], turn[:, 0, 1, 0], turn[:, 0, 1, 1] = (
            mirror * up,
            -across,
            mirror * across,
            up,
        )
        turn[:, 0, 2, 2] = 1
        scale = np.sqrt((around * around).sum((2, 3), keepdims=True) / KEYPOINTS)
        return np.asarray((points - middle) / scale @ turn, np.float32)


def palm_pose(points: RealArray, left: BoolArray) -> FloatArray:
    """Return keypoints (N, 21, 3) in palm axes, relative to the palm centre, in hand lengths.

    Args:
        points: (N, 21, 3) in any unit.
        left: (N,) which are left hands; they are mirrored.
    """
    points = points * (np.where(left, -1.0, 1.0)[:, None, None] * [1, 0, 0] + [0, 1, 1])
    length = np.linalg.norm(np.diff(points[:, _LENGTH], axis=1), axis=-1).sum(1)
    return (points - points[:, PALM].mean(1, keepdims=True)) / length[:, None, None] @ palm_frame(points)
