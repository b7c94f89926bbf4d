"""Measures of hands from world keypoints (..., 21, 3): metres, x right, y down, z forward, MediaPipe's order."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from sonjit.arrays import FloatArray, RealArray
from sonjit.errors import InputError
from sonjit.measures.joints import distances, joint_angles_rad, named, unit
from sonjit.results import Hand, Handedness

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
FULL_CURL_RAD = (1.8, 3.9, 3.9, 3.9, 3.9)
"""Curl of each finger in a fist: what `finger_curls` calls 1."""

_WRIST, _INDEX_MCP, _PINKY_MCP = 0, 5, 17
_CHAINS = tuple((_WRIST, *range(1 + 4 * finger, 5 + 4 * finger)) for finger in range(5))
_JOINTS = tuple((chain[i], chain[i + 1], chain[i + 2]) for chain in _CHAINS for i in range(3))
_PINCHES = tuple((4, tip) for tip in (8, 12, 16, 20))
_MAX_TILT_RAD = math.pi / 3
_FINGER_OUT, _THUMB_OUT_RAD = 0.75, -0.3  # from which reach and spread they count as stretched out

HAND_MEASURES = (
    *(f"{finger}_curl_rad" for finger in FINGERS),
    *(f"{finger}_curl" for finger in FINGERS),
    *(f"{finger}_reach" for finger in FINGERS),
    *(f"{a}_{b}_spread_rad" for a, b in pairwise(FINGERS)),
    *(f"pinch_{finger}_m" for finger in FINGERS[1:]),
    *(f"palm_normal_{axis}" for axis in "xyz"),
    "palm_facing",
    "hand_length_m",
    "palm_width_m",
)
"""Names of the columns that `measure_hand` fills, in order."""


def finger_bends_rad(points: RealArray) -> FloatArray:
    """(..., 5, 3) bend at each joint, 0 straight: MCP, PIP, DIP of a finger; CMC, MCP, IP of the thumb."""
    _check(points)
    angles = math.pi - joint_angles_rad(points, _JOINTS)
    return angles.reshape(*angles.shape[:-1], 5, 3)


def finger_curl_rad(points: RealArray) -> FloatArray:
    """(..., 5) sum of each finger's three bends, thumb first; 0 is straight from the wrist to the tip."""
    return finger_bends_rad(points).sum(axis=-1)


def finger_curls(points: RealArray) -> FloatArray:
    """(..., 5) `finger_curl_rad` in parts of a fist's (`FULL_CURL_RAD`), held to 0..1."""
    return np.clip(finger_curl_rad(points) / FULL_CURL_RAD, 0, 1)


def finger_reach(points: RealArray) -> FloatArray:
    """(..., 5) distance from the wrist to each fingertip over the way along the bones: 1 is stretched out.

    The surest sign of a finger that is out: unlike the sum of bends it hardly feels noise in single joints.
    """
    _check(points)
    tips = distances(points, [(_WRIST, chain[-1]) for chain in _CHAINS])
    bones = distances(points, [pair for chain in _CHAINS for pair in pairwise(chain)])
    along = bones.reshape(*bones.shape[:-1], 5, 4).sum(axis=-1)
    return tips / np.where(along > 0, along, np.nan)


def finger_spread_rad(points: RealArray) -> FloatArray:
    """(..., 4) signed angle in the palm's plane from each finger to the one on its thumb side, thumb-index first.

    Positive is apart, negative is crossed. Fingers point from MCP to PIP; the thumb, from its MCP to its tip, is
    compared with the index finger's metacarpal, so that a curled index finger does not matter.
    NaN where a finger points out of the palm's plane by more than 60 degrees.
    """
    return _spreads(points, math.cos(_MAX_TILT_RAD))


def thumb_spread_rad(points: RealArray) -> FloatArray:
    """(...) the first of `finger_spread_rad`, also where the thumb points out of the palm's plane."""
    return _spreads(points, 0)[..., 0]


def palm_normal(points: RealArray, handedness: Handedness) -> FloatArray:
    """(..., 3) unit vector out of the palm in the camera's axes: (0, 0, -1) is a palm towards the camera.

    Args:
        points: (..., 21, 3).
        handedness: whose side the thumb is on decides which of the two sides is the palm.
    """
    _check(points)
    if handedness not in ("Left", "Right"):
        raise InputError(f'handedness is "Left" or "Right", not {handedness!r}')
    normal = _palm_axes(points)[2]
    return normal if handedness == "Right" else -normal


def palm_facing(points: RealArray, handedness: Handedness) -> FloatArray:
    """(...) 1: the palm faces the camera, 0: it is seen edge-on, -1: the back of the hand is seen."""
    return -palm_normal(points, handedness)[..., 2]


def pinch_distance_m(points: RealArray) -> FloatArray:
    """(..., 4) metres from the thumb's tip to the tips of index, middle, ring and pinky."""
    _check(points)
    return distances(points, _PINCHES)


def hand_length_m(points: RealArray) -> FloatArray:
    """(...) metres along the bones from the wrist to the tip of the middle finger: the same however it bends."""
    _check(points)
    chain = _CHAINS[2]
    return distances(points, list(pairwise(chain))).sum(axis=-1)


def measure_hand(hand: Hand) -> dict[str, float]:
    """Every measure of `HAND_MEASURES`; NaN where it is not known."""
    points = hand.keypoints_3d
    values = (
        finger_curl_rad(points),
        finger_curls(points),
        finger_reach(points),
        finger_spread_rad(points),
        pinch_distance_m(points),
        palm_normal(points, hand.handedness),
        [palm_facing(points, hand.handedness), hand_length_m(points)],
        distances(points, [(_INDEX_MCP, _PINKY_MCP)]),
    )
    return named(HAND_MEASURES, np.concatenate(values))


def fingers_up(hand: Hand) -> dict[str, bool]:
    """Which fingers are stretched out, thumb first, whichever way the hand points; all False where it is unknown.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     for hand in detector.detect("photo.jpg"):
        ...         print(hand.side, [finger for finger, is_up in sonjit.fingers_up(hand).items() if is_up])
        Left ['thumb', 'index', 'middle', 'ring', 'pinky']
        Right []
    """
    points = hand.keypoints_3d
    out = [thumb_spread_rad(points) >= _THUMB_OUT_RAD, *(finger_reach(points)[1:] >= _FINGER_OUT)]
    return {finger: bool(one) for finger, one in zip(FINGERS, out, strict=True)}


def palm_frame(points: RealArray) -> FloatArray:
    """(..., 3, 3) unit columns: across to the thumb's side, along to the fingers, and a right hand's palm normal."""
    _check(points)
    return np.stack(_palm_axes(points), axis=-1)


def _spreads(points: RealArray, least_in_plane: float) -> FloatArray:
    _check(points)
    starts, ends = [2, _WRIST, 5, 9, 13, 17], [4, _INDEX_MCP, 6, 10, 14, 18]
    directions = unit(points[..., ends, :] - points[..., starts, :])  # (..., 6, 3)
    across, along, _ = _palm_axes(points)
    u, v = ((directions * axis[..., None, :]).sum(axis=-1) for axis in (across, along))
    angles = np.where(np.hypot(u, v) >= least_in_plane, np.arctan2(u, v), np.nan)  # (..., 6)
    thumb = angles[..., 0] - angles[..., 1]
    spread = np.concatenate([thumb[..., None], angles[..., 2:5] - angles[..., 3:6]], axis=-1)
    return (spread + math.pi) % (2 * math.pi) - math.pi


def _palm_axes(points: RealArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Unit vectors (..., 3): across to the thumb's side, along to the fingers, and a right hand's palm normal."""
    wrist, index, pinky = (points[..., i, :].astype(np.float64) for i in (_WRIST, _INDEX_MCP, _PINKY_MCP))
    normal = unit(np.cross(index - wrist, pinky - wrist))
    along = unit((index + pinky) / 2 - wrist)
    return np.cross(along, normal), along, normal


def _check(points: RealArray) -> None:
    if points.shape[-2:] != (21, 3):
        raise InputError(f"a hand's points are (..., 21, 3), not {points.shape}")
