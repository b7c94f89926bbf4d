"""Compute measures of hands.

World keypoints (..., 21, 3) are in metres, in MediaPipe's order. In their coordinates, x points right, y down and z
forward.
"""

import math
from itertools import pairwise

import numpy as np

from sonjit._util import FloatArray, InputError, RealArray
from sonjit.results import Hand, Handedness
from sonjit.results.measures.joints import check_hand, distances, joint_angles_rad, named, unit

__all__ = [
    "FINGERS", "finger_bends_rad", "finger_curl_rad", "finger_curls", "finger_reach", "finger_spread_rad", "fingers_up",
    "hand_length_m", "measure_hand", "palm_facing", "palm_normal", "pinch_distance_m", "thumb_spread_rad",
]  # fmt: skip
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
FULL_CURL_RAD = (1.8, 3.9, 3.9, 3.9, 3.9)  # curl of each finger in a fist: what `finger_curls` calls 1
_WRIST, _INDEX_MCP, _PINKY_MCP = 0, 5, 17
_CHAINS = tuple((_WRIST, *range(1 + 4 * finger, 5 + 4 * finger)) for finger in range(5))
_JOINTS = tuple((chain[i], chain[i + 1], chain[i + 2]) for chain in _CHAINS for i in range(3))
_PINCHES = tuple((4, tip) for tip in (8, 12, 16, 20))
_DIRECTIONS = ((2, 4), (_WRIST, _INDEX_MCP), (5, 6), (9, 10), (13, 14), (17, 18))
_MAX_TILT_RAD = math.pi / 3  # maximum tilt of the palm, at which spreads of the fingers are still measured
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
    """Return the bend (..., 5, 3) in radians at MCP, PIP and DIP of each finger (CMC, MCP, IP of the thumb).

    A straight joint has 0.
    """
    check_hand(points)
    angles = math.pi - joint_angles_rad(points, _JOINTS)
    return angles.reshape(*angles.shape[:-1], 5, 3)


def finger_curl_rad(points: RealArray) -> FloatArray:
    """Return the sum of each finger's three bends (..., 5) in radians, thumb first; 0 is straight."""
    return finger_bends_rad(points).sum(axis=-1)


def finger_curls(points: RealArray) -> FloatArray:
    """Return `finger_curl_rad` divided by that of a fist (`FULL_CURL_RAD`), (..., 5), clipped to 0..1."""
    return np.clip(finger_curl_rad(points) / FULL_CURL_RAD, 0, 1)


def finger_reach(points: RealArray) -> FloatArray:
    """Return the wrist-to-fingertip distance as a fraction of the length along the bones (..., 5); 1 is stretched out.

    Noise in single joints affects this measure less than the sum of bends.
    """
    check_hand(points)
    tips = distances(points, [(_WRIST, chain[-1]) for chain in _CHAINS])
    bones = distances(points, [pair for chain in _CHAINS for pair in pairwise(chain)])
    along = bones.reshape(*bones.shape[:-1], 5, 4).sum(axis=-1)
    return tips / np.where(along > 0, along, np.nan)


def finger_spread_rad(points: RealArray) -> FloatArray:
    """Return the signed angle (..., 4) in the palm's plane between adjacent fingers, thumb-index first.

    Positive is apart, negative is crossed. Fingers point from MCP to PIP; the thumb, from its MCP to its tip, is
    compared with the index finger's metacarpal, so that a curled index finger does not matter.
    NaN where a finger points out of the palm's plane by more than 60 degrees.
    """
    return _spreads(points, math.cos(_MAX_TILT_RAD))


def thumb_spread_rad(points: RealArray) -> FloatArray:
    """Return the first angle (...) of `finger_spread_rad` in radians, also if the thumb leaves the palm's plane."""
    return _spreads(points, 0)[..., 0]


def palm_normal(points: RealArray, handedness: Handedness) -> FloatArray:
    """Return the unit vector (..., 3) out of the palm in camera axes; (0, 0, -1) faces the camera.

    Args:
        points: World keypoints (..., 21, 3).
        handedness: Handedness, which decides on which side the palm is.
    """
    check_hand(points)
    if handedness not in ("Left", "Right"):
        raise InputError(f'handedness is "Left" or "Right", not {handedness!r}')
    normal = _palm_axes(points)[2]
    return normal if handedness == "Right" else -normal


def palm_facing(points: RealArray, handedness: Handedness) -> FloatArray:
    """Return the direction of palms (...) as a number: 1 faces the camera, 0 is edge-on, -1 shows the back."""
    return -palm_normal(points, handedness)[..., 2]


def pinch_distance_m(points: RealArray) -> FloatArray:
    """Return the distances (..., 4) in metres from the thumb's tip to the other fingertips, index first."""
    check_hand(points)
    return distances(points, _PINCHES)


def hand_length_m(points: RealArray) -> FloatArray:
    """Return the bone length (...) in metres from the wrist to the middle fingertip, whatever the pose."""
    check_hand(points)
    chain = _CHAINS[2]
    return distances(points, list(pairwise(chain))).sum(axis=-1)


def measure_hand(hand: Hand) -> dict[str, float]:
    """Return every measure of `HAND_MEASURES`; unknown measures are NaN."""
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
    """Check which fingers are stretched out, thumb first, in any orientation. All are False if unknown.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     for hand in detector.detect("photo.jpg"):
        ...         print(hand.side, [finger for finger, is_up in sonjit.fingers_up(hand).items() if is_up])
        Left ['thumb', 'index', 'middle', 'ring', 'pinky']
        Right []
    """
    points = hand.keypoints_3d
    out = [thumb_spread_rad(points) >= _THUMB_OUT_RAD, *(finger_reach(points)[1:] >= _FINGER_OUT)]
    return {finger: bool(is_up) for finger, is_up in zip(FINGERS, out, strict=True)}


def palm_frame(points: RealArray) -> FloatArray:
    """Return unit columns (..., 3, 3): towards the thumb, towards the fingers, and a right hand's palm normal."""
    check_hand(points)
    return np.stack(_palm_axes(points), axis=-1)


def _spreads(points: RealArray, least_in_plane: float) -> FloatArray:
    check_hand(points)
    starts, ends = np.transpose(_DIRECTIONS)
    directions = unit(points[..., ends, :] - points[..., starts, :])  # (..., 6, 3)
    across, along, _ = _palm_axes(points)
    u, v = ((directions * axis[..., None, :]).sum(axis=-1) for axis in (across, along))
    angles = np.where(np.hypot(u, v) >= least_in_plane, np.arctan2(u, v), np.nan)  # (..., 6)
    thumb = angles[..., 0] - angles[..., 1]
    spread = np.concatenate([thumb[..., None], angles[..., 2:5] - angles[..., 3:6]], axis=-1)
    return (spread + math.pi) % (2 * math.pi) - math.pi


def _palm_axes(points: RealArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return unit vectors (..., 3): towards the thumb, towards the fingers, and a right hand's palm normal."""
    wrist, index, pinky = (points[..., i, :].astype(np.float64) for i in (_WRIST, _INDEX_MCP, _PINKY_MCP))
    normal = unit(np.cross(index - wrist, pinky - wrist))
    along = unit((index + pinky) / 2 - wrist)
    return np.cross(along, normal), along, normal
