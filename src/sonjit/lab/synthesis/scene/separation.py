"""Resolve penetration of hands, so that they touch without passing into themselves, each other or objects.

Each vertex inside another skin gives one equation for how the nearest skin must move. Damped Gauss-Newton steps over
the angles of all fingers and the positions of the hands solve them together, within the joint limits. Hands that still
penetrate are opened and pulled apart, so that the result is always valid. In motions, corrections are spread over
neighbouring frames so that hands do not jump.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.lab.hand_models.rig import FINGERS, Rig, RigPose, Side
from sonjit.lab.synthesis.hands.hands import MovingHand
from sonjit.lab.synthesis.hands.penetration import Contacts, Skin, contacts_between

DEPTH_M: Final = 0.001
"""Maximum depth of a vertex inside another skin, which soft skin allows."""

_ROUNDS: Final = 10
_LAST_ROUNDS: Final = 40
_CONTACT_M: Final = 0.001  # tolerance of contacts
_TOUCH_M: Final = 0.0005
_STEPS: Final = np.array([0.1] * 3 + [0.01] * 3)  # standard deviation of a hand's motion in a round, in rad and m
_STEP_RAD: Final = 0.2  # standard deviation of a joint's rotation in a round
_GAP_M: Final = 0.0003  # left between skins
_MIN_AGREEMENT: Final = 0.3  # minimum length of the mean direction, relative to the sum of depths
_TIPS_M: Final = 0.0145  # between the tips' joints where pads touch


_SMOOTHING_PASSES: Final = 2
_SMOOTHING_S: Final = 0.07


@dataclass(frozen=True, eq=False)
class Touch:
    """Two fingertips that should touch: (hand, finger) each, fingers from 0 (thumb) to 4 (little)."""

    one: tuple[int, int]
    other: tuple[int, int]


def resolve_penetration(
    hands: Sequence[tuple[Rig, RigPose]], touches: Sequence[Touch] = (), obstacles: Sequence[Skin] = ()
) -> list[RigPose]:
    """Return the nearest poses in which no skin is more than `DEPTH_M` inside another.

    Args:
        hands: Rigs from `rig_from_shape`, each with a pose of one frame.
        touches: Fingertips that are brought together first.
        obstacles: Meshes that do not move.
    """
    moving = [MovingHand(rig, pose) for rig, pose in hands]
    for _ in range(_ROUNDS):
        equations = [*_pushes(moving, obstacles), *_pulls(moving, touches)]
        if all(abs(each.displacements).max() < DEPTH_M for each in equations):
            break
        _improve(moving, equations)
    for turn in range(2 * _LAST_ROUNDS):
        if not _pull_apart(moving, obstacles, straight=turn >= _LAST_ROUNDS):
            break
    return [hand.pose for hand in moving]


def penetration_depth(hands: Sequence[tuple[Rig, RigPose]], obstacles: Sequence[Skin] = ()) -> float:
    """Return the depth in metres of the deepest vertex inside another finger, the palm, another hand or an obstacle; 0
    for none.
    """
    return _max_depth([MovingHand(rig, pose) for rig, pose in hands], obstacles)


class _Equations(NamedTuple):
    """Displacements that C points of one hand require.

    Attributes:
        hand: Index of the hand.
        slopes: Derivatives (C, 6 + P) of its points along the displacements.
        other: Index of the hand that they move against, -1 for a fixed obstacle.
        other_slopes: Derivatives (C, 6 + P) of that hand's points.
        displacements: Displacements (C,) in metres.
        tolerance: Tolerance in metres.
    """

    hand: int
    slopes: FloatArray
    other: int
    other_slopes: FloatArray
    displacements: FloatArray
    tolerance: float


def _pushes(hands: list[MovingHand], obstacles: Sequence[Skin]) -> list[_Equations]:
    equations: list[_Equations] = []
    for index, hand in enumerate(hands):
        pairs = [(number, other.skin) for number, other in enumerate(hands) if number != index]
        pairs += [(-1, obstacle) for obstacle in obstacles]
        found = [(number, skin, contacts_between(hand.skin, skin)) for number, skin in pairs]
        found.append((index, hand.skin, hand.contacts()))
        for number, skin, contacts in found:
            if not len(contacts.inside):
                continue
            normals = skin.normals[contacts.against]
            own = hand.slopes(hand.skin.points[contacts.inside], hand.regions.joints[contacts.inside])
            against = np.zeros((0, 0))
            if number >= 0:
                other = hands[number]
                slopes = other.slopes(skin.points[contacts.against], other.regions.joints[contacts.against])
                against = np.einsum("cap,ca->cp", slopes, normals)
            own = np.einsum("cap,ca->cp", own, normals)
            equations.append(
                _Equations(
                    hand=index,
                    slopes=own,
                    other=number,
                    other_slopes=against,
                    displacements=contacts.depths + _GAP_M,
                    tolerance=_CONTACT_M,
                )
            )
    return equations


def _pulls(hands: list[MovingHand], touches: Sequence[Touch]) -> list[_Equations]:
    equations: list[_Equations] = []
    for touch in touches:
        joints = [np.array([FINGERS[finger][3]]) for _, finger in (touch.one, touch.other)]
        item, other = hands[touch.one[0]], hands[touch.other[0]]
        pad_own, pad_other = item.pad(touch.one[1])[None], other.pad(touch.other[1])[None]
        direction = pad_other - pad_own
        length = float(np.linalg.norm(direction))
        direction = direction / max(length, 1e-6)
        own = np.einsum("cap,ca->cp", item.slopes(pad_own, joints[0]), direction)
        against = np.einsum("cap,ca->cp", other.slopes(pad_other, joints[1]), direction)
        equations.append(
            _Equations(
                hand=touch.one[0],
                slopes=own,
                other=touch.other[0],
                other_slopes=against,
                displacements=np.array([length - _TIPS_M]),
                tolerance=_TOUCH_M,
            )
        )
    return equations


def _improve(hands: list[MovingHand], equations: list[_Equations]) -> None:
    """Apply one damped Gauss-Newton step to all hands."""
    sizes = [6 + len(hand.free.low) for hand in hands]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    damping = [np.concatenate([_STEPS, np.full(size - 6, _STEP_RAD)]) ** -2 for size in sizes]
    normal, right = np.diag(np.concatenate(damping)), np.zeros(starts[-1])
    for index, own, number, against, distances, tolerance in equations:
        slopes = np.zeros((len(distances), starts[-1]))
        slopes[:, starts[index] : starts[index + 1]] += own
        if number >= 0:
            slopes[:, starts[number] : starts[number + 1]] -= against
        normal += slopes.T @ slopes / tolerance**2
        right += slopes.T @ distances / tolerance**2
    step = np.asarray(np.linalg.solve(normal, right), np.float64)
    for hand, start, size in zip(hands, starts, sizes, strict=False):
        hand.move(step[start : start + size])


def _max_depth(hands: list[MovingHand], obstacles: Sequence[Skin]) -> float:
    return max((float(each.displacements.max()) - _GAP_M for each in _pushes(hands, obstacles)), default=0.0)


def _pull_apart(hands: list[MovingHand], obstacles: Sequence[Skin], *, straight: bool) -> bool:
    """Open hands that penetrate themselves and pull apart those that penetrate each other. Return whether any did.

    The direction of the contacts is shorter, but a finger may enter its neighbour; the straight one always converges.
    """
    moved = False
    for index, hand in enumerate(hands):
        contacts = hand.contacts()
        if len(contacts.inside) and contacts.depths.max() > DEPTH_M:
            fingers = np.unique(hand.regions.owners[contacts.inside])
            angles = hand.pose.angles.copy()
            angles[:, fingers] *= 0.93
            hand.set(replace(hand.pose, angles=angles))
            moved = True
        for skin in [*(other.fine_skin() for other in hands[index + 1 :]), *obstacles]:
            own = hand.fine_skin()
            own_contacts, other_contacts = contacts_between(own, skin), contacts_between(skin, own)
            depth = max(own_contacts.depths.max(initial=0), other_contacts.depths.max(initial=0))
            if depth <= DEPTH_M:
                continue
            direction = (
                _direction_between(own, skin)
                if straight
                else _separation_vector(own, skin, own_contacts, other_contacts)
            )
            hand.set(hand.pose.shifted((depth + _GAP_M) * direction))
            moved = True
    return moved


def _separation_vector(own: Skin, other: Skin, own_contacts: Contacts, other_contacts: Contacts) -> FloatArray:
    """Return the unit direction (3,) in which a skin leaves another: by its contacts, or else away from the other's
    middle.
    """
    direction = (
        own_contacts.depths @ other.normals[own_contacts.against]
        - other_contacts.depths @ own.normals[other_contacts.against]
    )
    length = float(np.linalg.norm(direction))
    return (
        direction / length
        if length > _MIN_AGREEMENT * (own_contacts.depths.sum() + other_contacts.depths.sum())
        else _direction_between(own, other)
    )


def _direction_between(own: Skin, other: Skin) -> FloatArray:
    """Return the unit direction (3,) from another skin's middle to a skin's middle."""
    direction = own.points.mean(0) - other.points.mean(0)
    return direction / float(np.linalg.norm(direction))


def separate_frames(
    poses: Mapping[Side, RigPose], rigs: Mapping[Side, Rig], times: FloatArray
) -> Mapping[Side, RigPose]:
    """Return every frame without penetration; corrections are spread over the frames before and after.

    Args:
        poses: Poses of N frames of each hand in the sequence.
        rigs: The person's hands, from `rig_from_shape`.
        times: Times (N,) in seconds, evenly spaced.
    """
    fps = 1 / float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    resolved = _resolve_frames(poses, rigs)
    for _ in range(_SMOOTHING_PASSES):
        smoothed: Mapping[Side, RigPose] = {
            side: _smooth_correction(poses[side], resolved[side], _SMOOTHING_S * fps) for side in poses
        }
        resolved = _resolve_frames(smoothed, rigs)
        poses = smoothed
    return resolved


def _resolve_frames(poses: Mapping[Side, RigPose], rigs: Mapping[Side, Rig]) -> Mapping[Side, RigPose]:
    """Resolve the penetration of each frame separately."""
    sides = list(poses)
    frames = [
        resolve_penetration([(rigs[side], poses[side][frame]) for side in sides])
        for frame in range(len(poses[sides[0]]))
    ]
    return {side: _concatenate_poses([frame[index] for frame in frames]) for index, side in enumerate(sides)}


def _smooth_correction(pose: RigPose, resolved: RigPose, frames: float) -> RigPose:
    """Return a motion plus the difference of another, smoothed over some frames."""
    steps = np.arange(-int(3 * frames) - 1, int(3 * frames) + 2)
    bell = np.exp(-((steps / max(frames, 1e-3)) ** 2) / 2)
    bell /= bell.sum()

    def smooth(added: FloatArray) -> FloatArray:
        flat = np.pad(added.reshape(len(added), -1), ((len(bell) // 2, len(bell) // 2), (0, 0)), "edge")
        return np.stack([np.convolve(each, bell, "valid") for each in flat.T], 1).reshape(added.shape)

    turns = rotation_vector_from_matrix(resolved.rotation @ np.swapaxes(pose.rotation, 1, 2))
    return RigPose(
        matrix_from_rotation_vector(smooth(turns)) @ pose.rotation,
        pose.translation + smooth(resolved.translation - pose.translation),
        pose.angles + smooth(resolved.angles - pose.angles),
    )


def _concatenate_poses(frames: list[RigPose]) -> RigPose:
    return RigPose(
        np.concatenate([frame.rotation for frame in frames]),
        np.concatenate([frame.translation for frame in frames]),
        np.concatenate([frame.angles for frame in frames]),
    )
