"""How hands are held: a pose, a turn, and for two hands a touch; and where they stand before the camera."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.hand_models.rig import RigPose
from sonjit.synthesis.cameras import turned
from sonjit.synthesis.contact import settle
from sonjit.synthesis.poses import angles_from_gesture, sample_angles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Rig
    from sonjit.synthesis.factors import Value

_PALM_TO_CAMERA: Final = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
"""Columns: where the wrist's axes (bend, out of the back, back along the hand) point when the palm faces the camera
and the fingers point up."""
_OTHERWISE_DEG: Final = 25.0
"""How far the second hand is turned another way than the first's mirror image."""
_APART_M: Final = (0.015, 0.1)
"""Between the middles of two palms before they are moved out of each other."""
_MIDDLE_KNUCKLE: Final = 11
_ROOM_M: Final = 0.012
"""Of skin beyond the keypoints."""
_NEAREST_M: Final = 0.08
"""What no part of a hand comes nearer to the camera than."""
_ROUNDS: Final = 3


def pose_hands(rigs: Sequence[Rig], drawn: Mapping[str, Value], rng: np.random.Generator) -> list[RigPose]:
    """One or two hands about the world's origin, one frame each.

    Args:
        rigs: of one person.
        drawn: the factors.
        rng: what is random beyond them.
    """
    turns = np.array([float(drawn[name]) for name in ("yaw_deg", "pitch_deg", "roll_deg")])
    poses: list[RigPose] = []
    for number, rig in enumerate(rigs):
        own = np.random.default_rng(rng.integers(1 << 62))
        angles = _angles(rig, drawn, own)
        turn = turns + (own.normal(0, _OTHERWISE_DEG, 3) if number else 0)
        mirror = 1 if rig.side == "Right" else -1
        rotation = turned(mirror * turn[0], turn[1], mirror * turn[2]) @ _PALM_TO_CAMERA @ rig.frames[0].T
        middle = rotation @ (rig.joints[_MIDDLE_KNUCKLE] - rig.joints[0]) / 2
        poses.append(RigPose(rotation[None], -middle[None], angles[None]))
    if drawn["hands"] == "interacting":
        way = rng.normal(size=3)
        away = way / np.linalg.norm(way) * rng.uniform(*_APART_M)
        poses = settle(list(zip(rigs, [poses[0], poses[1].moved(away[None])], strict=True)))
    return poses


def _angles(rig: Rig, drawn: Mapping[str, Value], rng: np.random.Generator) -> NDArray[np.float64]:
    if drawn["gesture"] == "any":
        return sample_angles(rig, rng)
    return angles_from_gesture(rig, str(drawn["gesture"]), rng, float(drawn["looseness"]))


def place_hands(
    rigs: Sequence[Rig],
    poses: Sequence[RigPose],
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    drawn: Mapping[str, Value],
    rng: np.random.Generator,
    *,
    spread: float = 1.0,
) -> list[RigPose]:
    """Hands moved before the first camera so that their keypoints fall into its picture, touching ones together.

    Args:
        rigs: of the hands.
        poses: of the hands, N frames each.
        matrix: (3, 3) of the camera, pixels.
        size: width and height of its picture.
        drawn: the factors: how far, and how much may be cut off.
        rng: where in the picture.
        spread: 0 puts them in the middle of the picture, 1 anywhere.
    """
    points = [rig.keypoints(pose).reshape(-1, 3) for rig, pose in zip(rigs, poses, strict=True)]
    cut, distance = float(drawn["cut"]), float(drawn["distance"])
    if drawn["hands"] == "interacting":
        spot = rng.uniform(-1, 1, 2) * spread
        move = _move_into_view(np.concatenate(points), distance, matrix, size, spot, cut)
        return [_moved(pose, move) for pose in poses]
    placed: list[RigPose] = []
    for number, (pose, own) in enumerate(zip(poses, points, strict=True)):
        spot = rng.uniform(-1, 1, 2) * spread
        if len(poses) == 2:
            spot[0] = (0.6 + 0.4 * abs(spot[0])) * (1 if number else -1)
        depth = distance * (1 + (0.08 * rng.normal() if number else 0))
        placed.append(_moved(pose, _move_into_view(own, depth, matrix, size, spot, cut)))
    return placed


def _moved(pose: RigPose, move: NDArray[np.float64]) -> RigPose:
    return replace(pose, translation=pose.translation + move)


def _move_into_view(
    points: NDArray[np.float64],
    depth: float,
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    spot: NDArray[np.float64],
    cut: float,
) -> NDArray[np.float64]:
    """(3,) what brings points (N, 3) before the camera to a spot of its picture.

    Args:
        points: metres.
        depth: of their middle.
        matrix: of the camera.
        size: of the picture.
        spot: (2,) -1 to 1: from one edge at which they are still in view to the other.
        cut: 0 to 1: how much of them may leave the picture.
    """
    move = (
        np.append(np.zeros(2), max(depth, _NEAREST_M + np.ptp(points[:, 2]) / 2)) - (points.min(0) + points.max(0)) / 2
    )
    whole = np.array(size, np.float64)
    for _ in range(_ROUNDS):
        placed = points + move
        seen = placed[:, :2] / placed[:, 2:] * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
        room = _ROOM_M * matrix[0, 0] / placed[:, 2:]
        low, high = (seen - room).min(0), (seen + room).max(0)
        reach = np.maximum(whole / 2 - (high - low) / 2 * (1 - 2 * cut), 0)
        wanted = whole / 2 + spot * reach
        move[:2] += (wanted - (low + high) / 2) * depth / matrix[0, 0]
    return move
