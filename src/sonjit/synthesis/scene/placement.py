"""Where posed hands are in front of the camera, and what else is there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.arrays import FloatArray
from sonjit.synthesis import look_up
from sonjit.synthesis.scene.objects import SCENE_OBJECTS, drawable_from_solid, occluder, sample_material
from sonjit.synthesis.scene.scene import turned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sonjit.hand_models.rig import Rig, RigPose
    from sonjit.synthesis.render.drawable import Drawable
    from sonjit.synthesis.scene.factors import Value
    from sonjit.synthesis.scene.hand_poses import Grasp
    from sonjit.synthesis.scene.motions import HandMotion

FIRST_OBJECT: Final = 200
"""Instance of the first object."""
_ROOM_M: Final = 0.012
"""Of skin beyond the keypoints."""
_NEAREST_M: Final = 0.1
"""What no part of a hand or forearm comes nearer to the camera than."""
_FOREARM_M: Final = 0.26
_OCCLUDER_M: Final = ((0.05, 0.12), (0.06, 0.15))
"""An occluder's size, and how far in front of a hand's keypoint it is."""
_ROUNDS: Final = 3


def place_hands(
    rigs: Sequence[Rig],
    poses: Sequence[RigPose],
    matrix: FloatArray,
    size: tuple[int, int],
    drawn: Mapping[str, Value],
    rng: np.random.Generator,
    *,
    spread: float,
) -> list[RigPose]:
    """Hands moved before the first camera so that their keypoints fall into its image, touching ones together.

    Args:
        rigs: of the hands.
        poses: of the hands, N frames each.
        matrix: (3, 3) of the camera, pixels.
        size: width and height of its image.
        drawn: the factors: how far, and how much may be cut off.
        rng: where in the image.
        spread: 0 puts them in the middle of the image, 1 anywhere.
    """
    points = [rig.keypoints(pose).reshape(-1, 3) for rig, pose in zip(rigs, poses, strict=True)]
    nearest = [
        min(float(own[:, 2].min()), float(_elbow(rig, pose)[:, 2].min()))
        for rig, pose, own in zip(rigs, poses, points, strict=True)
    ]
    cut, distance = float(drawn["cut"]), float(drawn["distance"])
    if drawn["hands"] == "interacting":
        points, nearest = [np.concatenate(points)] * 2, [min(nearest)] * 2
    placed: list[RigPose] = []
    spot = rng.uniform(-1, 1, 2) * spread
    depth = distance
    for number, (pose, own, near) in enumerate(zip(poses, points, nearest, strict=True)):
        if drawn["hands"] == "2":
            spot = rng.uniform(-1, 1, 2) * spread
            spot[0] = (0.6 + 0.4 * abs(spot[0])) * (1 if number else -1)
            depth = distance * (1 + (0.08 * rng.normal() if number else 0))
        middle = (own[:, 2].min() + own[:, 2].max()) / 2
        move = _move_into_view(own, max(depth, _NEAREST_M + middle - near), matrix, size, spot, cut)
        placed.append(replace(pose, translation=pose.translation + move))
    return placed


def place_motion(
    motion: HandMotion, matrix: FloatArray, size: tuple[int, int], drawn: Mapping[str, Value]
) -> HandMotion:
    """A motion turned as the factors say and moved before the first camera, all of it in view.

    Args:
        motion: about the point before a person's chest.
        matrix: (3, 3) of the camera, pixels.
        size: width and height of its image.
        drawn: the factors.
    """
    turn = turned(*(float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")))
    poses = [
        replace(one.pose, rotation=turn @ one.pose.rotation, translation=one.pose.translation @ turn.T)
        for one in motion.hands
    ]
    points = [one.rig.keypoints(pose).reshape(-1, 3) for one, pose in zip(motion.hands, poses, strict=True)]
    whole = np.concatenate(points)
    elbows = np.concatenate([_elbow(one.rig, pose) for one, pose in zip(motion.hands, poses, strict=True)])
    middle = (whole[:, 2].min() + whole[:, 2].max()) / 2
    depth = max(float(drawn["distance"]), _NEAREST_M + middle - min(whole[:, 2].min(), elbows[:, 2].min()))
    move = _move_into_view(whole, depth, matrix, size, np.zeros(2), float(drawn["cut"]))
    hands = [
        replace(one, pose=replace(pose, translation=pose.translation + move))
        for one, pose in zip(motion.hands, poses, strict=True)
    ]
    return replace(motion, hands=tuple(hands))


def held_drawable(pose: RigPose, held: Grasp, name: str, rng: np.random.Generator) -> Drawable:
    """The thing in a hand of one frame."""
    item = look_up("object", SCENE_OBJECTS, name)
    turn = pose.rotation[0]
    place = pose.translation[0] + turn @ held.place
    return drawable_from_solid(
        item.solid, turn @ held.rotation, place, sample_material(item.surfaces, rng), FIRST_OBJECT
    )


def occluders(
    rigs: Sequence[Rig], poses: Sequence[RigPose], count: int, first: int, rng: np.random.Generator
) -> list[Drawable]:
    """Things between the first camera and some keypoints of hands of one frame.

    Args:
        rigs: of the hands.
        poses: of the hands.
        count: how many things.
        first: instance of the first.
        rng: where, and which.
    """
    if not rigs:
        return []
    points = np.concatenate([rig.keypoints(pose)[0] for rig, pose in zip(rigs, poses, strict=True)])
    made: list[Drawable] = []
    for number in range(count):
        own = np.random.default_rng(rng.integers(1 << 62))
        behind = points[own.integers(len(points))]
        size, before = (float(own.uniform(*limits)) for limits in _OCCLUDER_M)
        way = behind / np.linalg.norm(behind)
        made.append(occluder(own, behind - way * min(before, behind[2] / 2), size, first + number))
    return made


def _elbow(rig: Rig, pose: RigPose) -> FloatArray:
    """(N, 3) where a forearm ends that carries on straight."""
    return pose.translation + _FOREARM_M * (pose.rotation @ rig.frames[0][:, 2])


def _move_into_view(
    points: FloatArray, depth: float, matrix: FloatArray, size: tuple[int, int], spot: FloatArray, cut: float
) -> FloatArray:
    """(3,) what brings points (N, 3) before the camera to a spot of its image.

    Args:
        points: metres.
        depth: of their middle.
        matrix: of the camera.
        size: of the image.
        spot: (2,) -1 to 1: from one edge at which they are still in view to the other.
        cut: 0 to 1: how much of them may leave the image.
    """
    move = np.array([0, 0, depth]) - (points.min(0) + points.max(0)) / 2
    whole = np.array(size, np.float64)
    for _ in range(_ROUNDS):
        placed = points + move
        seen = placed[:, :2] / placed[:, 2:] * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
        room = _ROOM_M * matrix[0, 0] / placed[:, 2:]
        low, high = (seen - room).min(0), (seen + room).max(0)
        reach = np.maximum(whole / 2 - (high - low) / 2 * (1 - 2 * cut), 0)
        move[:2] += (whole / 2 + spot * reach - (low + high) / 2) * depth / matrix[0, 0]
    return move
