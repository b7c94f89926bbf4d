"""Separation of interpenetrating hands: they touch without passing into themselves, each other or objects.

Vertices that lie inside give one equation each: how the nearest skin must move apart. Damped Gauss-Newton steps over
the angles of all fingers and the places of the hands solve them together, within the joints' limits. What is then still
inside is opened and pulled apart, so that the result always holds.

In motions, corrections are spread over neighbouring frames so that hands do not jump.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from sonjit.arrays import FloatArray
from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.hand_models.rig import FINGERS, Rig, RigPose, Side
from sonjit.synthesis.hands.hands import MovingHand
from sonjit.synthesis.hands.penetration import Contacts, Skin, contacts_between

DEPTH_M: Final = 0.001
"""How deep a vertex may stay inside; what is left of skin that gives way."""

_ROUNDS: Final = 10
_LAST_ROUNDS: Final = 40
_CONTACT_M: Final = 0.001  # how closely contacts are solved against moving little
_TOUCH_M: Final = 0.0005
_STEPS: Final = np.array([0.1] * 3 + [0.01] * 3)  # rad and m that a hand readily moves in a round
_STEP_RAD: Final = 0.2  # that a joint readily bends
_GAP_M: Final = 0.0003  # left between skins
_AGREED: Final = 0.3  # of the depths' sum that must point one way to be followed
_TIPS_M: Final = 0.0145  # between the tips' joints where pads touch


@dataclass(frozen=True, eq=False)
class Touch:
    """Two fingertips that are to meet: (hand, finger) each, fingers from 0 thumb to 4 little."""

    one: tuple[int, int]
    other: tuple[int, int]


def settle(
    hands: Sequence[tuple[Rig, RigPose]], touches: Sequence[Touch] = (), obstacles: Sequence[Skin] = ()
) -> list[RigPose]:
    """The nearest poses in which no skin lies more than `DEPTH_M` inside another.

    Args:
        hands: rigs as `rig_from_shape` makes them, each with a pose of one frame.
        touches: fingertips that are brought together first.
        obstacles: meshes that do not give way.
    """
    moving = [MovingHand(rig, pose) for rig, pose in hands]
    for _ in range(_ROUNDS):
        equations = [*_pushes(moving, obstacles), *_pulls(moving, touches)]
        if all(abs(each.ways).max() < DEPTH_M for each in equations):
            break
        _improve(moving, equations)
    for turn in range(2 * _LAST_ROUNDS):
        if not _part(moving, obstacles, straight=turn >= _LAST_ROUNDS):
            break
    return [hand.pose for hand in moving]


def deepest(hands: Sequence[tuple[Rig, RigPose]], obstacles: Sequence[Skin] = ()) -> float:
    """Metres that the deepest vertex lies inside another finger, the palm, another hand or an obstacle; 0 for none."""
    return _deepest([MovingHand(rig, pose) for rig, pose in hands], obstacles)


class _Equations(NamedTuple):
    """Ways to go that C points of one hand ask for.

    Attributes:
        hand: index of the hand.
        slopes: (C, 6 + P) of its points along the ways.
        other: index of the hand that they move against, -1 for what does not move.
        other_slopes: (C, 6 + P) of that one's points.
        ways: (C,) metres.
        close: metres to which they are kept.
    """

    hand: int
    slopes: FloatArray
    other: int
    other_slopes: FloatArray
    ways: FloatArray
    close: float


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
            equations.append(_Equations(index, own, number, against, contacts.depths + _GAP_M, _CONTACT_M))
    return equations


def _pulls(hands: list[MovingHand], touches: Sequence[Touch]) -> list[_Equations]:
    equations: list[_Equations] = []
    for touch in touches:
        joints = [np.array([FINGERS[finger][3]]) for _, finger in (touch.one, touch.other)]
        one, other = hands[touch.one[0]], hands[touch.other[0]]
        here, there = one.pad(touch.one[1])[None], other.pad(touch.other[1])[None]
        way = there - here
        length = float(np.linalg.norm(way))
        way = way / max(length, 1e-6)
        own = np.einsum("cap,ca->cp", one.slopes(here, joints[0]), way)
        against = np.einsum("cap,ca->cp", other.slopes(there, joints[1]), way)
        equations.append(_Equations(touch.one[0], own, touch.other[0], against, np.array([length - _TIPS_M]), _TOUCH_M))
    return equations


def _improve(hands: list[MovingHand], equations: list[_Equations]) -> None:
    """One damped Gauss-Newton step of all hands."""
    sizes = [6 + len(hand.free.low) for hand in hands]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    damping = [np.concatenate([_STEPS, np.full(size - 6, _STEP_RAD)]) ** -2 for size in sizes]
    normal, right = np.diag(np.concatenate(damping)), np.zeros(starts[-1])
    for index, own, number, against, distances, close in equations:
        slopes = np.zeros((len(distances), starts[-1]))
        slopes[:, starts[index] : starts[index + 1]] += own
        if number >= 0:
            slopes[:, starts[number] : starts[number + 1]] -= against
        normal += slopes.T @ slopes / close**2
        right += slopes.T @ distances / close**2
    step = np.asarray(np.linalg.solve(normal, right), np.float64)
    for hand, start, size in zip(hands, starts, sizes, strict=False):
        hand.move(step[start : start + size])


def _deepest(hands: list[MovingHand], obstacles: Sequence[Skin]) -> float:
    return max((float(each.ways.max()) - _GAP_M for each in _pushes(hands, obstacles)), default=0.0)


def _part(hands: list[MovingHand], obstacles: Sequence[Skin], *, straight: bool) -> bool:
    """Open the hands that pass into themselves, pull apart those that pass into each other; whether one had to.

    The way that contacts ask for is short but may lead from one finger into the next; the straight one always ends.
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
            one, two = contacts_between(own, skin), contacts_between(skin, own)
            depth = max(one.depths.max(initial=0), two.depths.max(initial=0))
            if depth <= DEPTH_M:
                continue
            way = _way_apart(own, skin) if straight else _way_out(own, skin, one, two)
            hand.set(hand.pose.moved((depth + _GAP_M) * way))
            moved = True
    return moved


def _way_out(own: Skin, other: Skin, one: Contacts, two: Contacts) -> FloatArray:
    """(3,) the unit way on which a skin leaves another: as what is inside says, or else away from its middle."""
    asked = one.depths @ other.normals[one.against] - two.depths @ own.normals[two.against]
    length = float(np.linalg.norm(asked))
    return asked / length if length > _AGREED * (one.depths.sum() + two.depths.sum()) else _way_apart(own, other)


def _way_apart(own: Skin, other: Skin) -> FloatArray:
    """(3,) the unit way that leads a skin's middle from another's."""
    way = own.points.mean(0) - other.points.mean(0)
    return way / float(np.linalg.norm(way))


_EVENINGS: Final = 2
_EVEN_S: Final = 0.07


def kept_apart(poses: Mapping[Side, RigPose], rigs: Mapping[Side, Rig], times: FloatArray) -> Mapping[Side, RigPose]:
    """Every frame without skin inside skin: what that takes is spread over the frames before and after.

    Args:
        poses: of each hand that takes part, N frames.
        rigs: the person's hands, of `rig_from_shape`.
        times: (N,) seconds, evenly spaced.
    """
    fps = 1 / float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    settled = _settled(poses, rigs)
    for _ in range(_EVENINGS):
        evened: Mapping[Side, RigPose] = {side: _evened(poses[side], settled[side], _EVEN_S * fps) for side in poses}
        settled = _settled(evened, rigs)
        poses = evened
    return settled


def _settled(poses: Mapping[Side, RigPose], rigs: Mapping[Side, Rig]) -> Mapping[Side, RigPose]:
    """Each frame by itself."""
    sides = list(poses)
    frames = [settle([(rigs[side], poses[side][frame]) for side in sides]) for frame in range(len(poses[sides[0]]))]
    return {side: _joined([frame[index] for frame in frames]) for index, side in enumerate(sides)}


def _evened(pose: RigPose, settled: RigPose, frames: float) -> RigPose:
    """A motion with what another adds to it, smooth over some frames."""
    steps = np.arange(-int(3 * frames) - 1, int(3 * frames) + 2)
    bell = np.exp(-((steps / max(frames, 1e-3)) ** 2) / 2)
    bell /= bell.sum()

    def smooth(added: FloatArray) -> FloatArray:
        flat = np.pad(added.reshape(len(added), -1), ((len(bell) // 2, len(bell) // 2), (0, 0)), "edge")
        return np.stack([np.convolve(each, bell, "valid") for each in flat.T], 1).reshape(added.shape)

    turns = rotation_vector_from_matrix(settled.rotation @ np.swapaxes(pose.rotation, 1, 2))
    return RigPose(
        matrix_from_rotation_vector(smooth(turns)) @ pose.rotation,
        pose.translation + smooth(settled.translation - pose.translation),
        pose.angles + smooth(settled.angles - pose.angles),
    )


def _joined(frames: list[RigPose]) -> RigPose:
    return RigPose(
        np.concatenate([frame.rotation for frame in frames]),
        np.concatenate([frame.translation for frame in frames]),
        np.concatenate([frame.angles for frame in frames]),
    )
