"""Hands that touch without passing into themselves, into each other or into things.

Vertices that lie inside give one equation each: how the nearest skin must move apart. Damped Gauss-Newton steps over
the angles of all fingers and the places of the hands solve them together, within the joints' limits. What is then still
inside is opened and pulled apart, so that the result always holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.hand_models.rig import FINGERS, RigPose
from sonjit.hand_models.rig_ik import free_joints, joint_limits, turn_axes
from sonjit.synthesis.touching import Skin, coarse_rig, contacts_between, contacts_within, regions_of, skin_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Rig
    from sonjit.synthesis.touching import Regions

DEPTH_M: Final = 0.001
"""How deep a vertex may stay inside; what is left of skin that gives way."""
_ROUNDS: Final = 10
_LAST_ROUNDS: Final = 40
_CONTACT_M: Final = 0.001  # how closely contacts are solved against moving little
_TOUCH_M: Final = 0.0005
_STEPS: Final = np.array([0.1] * 3 + [0.01] * 3)  # rad and m that a hand readily moves in a round
_STEP_RAD: Final = 0.2  # that a joint readily bends
_GAP_M: Final = 0.0003  # left between skins
_TIPS_M: Final = 0.0145  # between the tips' joints where pads touch
_PAD_M: Final = 0.0075  # before the skin's end a pad begins; some rigs have their tips beyond

_FINGER_OF, _STEP_OF = np.full((2, 25), -1)  # of each joint; a tip moves with the last joint that bends
for _finger, _chain in enumerate(FINGERS):
    _FINGER_OF[list(_chain)], _STEP_OF[list(_chain)] = _finger, (0, 1, 2, 2)


@dataclass(frozen=True, eq=False)
class Touch:
    """Two fingertips that are to meet: (hand, finger) each, fingers from 0 thumb to 4 little."""

    one: tuple[int, int]
    other: tuple[int, int]


class _Hand:
    """A hand while it is moved."""

    def __init__(self, rig: Rig, pose: RigPose) -> None:
        self.fine = rig
        self.rig = coarse_rig(rig)
        self.regions: Regions = regions_of(self.rig)
        self.free = free_joints(self.rig)
        self.limits = joint_limits(self.free)
        self.set(replace(pose, angles=np.clip(pose.angles, *self.limits)))

    def set(self, pose: RigPose) -> None:
        self.pose = pose
        self.skin = skin_of(self.rig, pose)
        self._turning: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def move(self, step: NDArray[np.float64]) -> None:
        """Turn, shift and bend by (6 + P,)."""
        angles = self.pose.angles.copy()
        angles[:, *self.free.which] = np.clip(angles[:, *self.free.which] + step[6:], self.free.low, self.free.high)
        rotation = matrix_from_rotation_vector(step[:3]) @ self.pose.rotation
        self.set(RigPose(rotation, self.pose.translation + step[3:6], angles))

    def pad(self, finger: int) -> NDArray[np.float64]:
        """(3,) within a fingertip: its joint, or on the bone before that where it lies too near to the skin's end."""
        tip = FINGERS[finger][3]
        own = np.isin(self.regions.joints, FINGERS[finger][2:])
        beyond = -((self.rig.vertices[own] - self.rig.joints[tip]) @ self.rig.frames[tip][:, 2])
        frames, places = self.rig.place(self.pose)
        back = max(_PAD_M - float(beyond.max(initial=0)), 0)
        return np.asarray(places[0, tip] + back * frames[0, tip][:, 2], np.float64)

    def slopes(self, points: NDArray[np.float64], joints: NDArray[np.intp]) -> NDArray[np.float64]:
        """How points (C, 3) of joints (C,) move with the hand: (C, 3, 6 + P)."""
        if self._turning is None:
            frames, places = self.rig.place(self.pose)
            finger, joint, angle = self.free.which
            axes = turn_axes(self.rig, frames[:, FINGERS][:, :, :3], self.pose.angles)[0]
            self._turning = axes[finger, joint, angle], places[0][np.array(FINGERS)[finger, joint]]
        axes, centres = self._turning  # (P, 3) each
        slopes = np.zeros((len(points), 3, 6 + len(self.free.low)))
        arms = points - self.pose.translation[0]
        slopes[:, :, :3] = np.cross(np.eye(3), arms[:, None]).swapaxes(1, 2)
        slopes[:, :, 3:6] = np.eye(3)
        finger, joint, _ = self.free.which
        moves = np.cross(axes, points[:, None] - centres)  # (C, P, 3)
        moved = (_FINGER_OF[joints][:, None] == finger) & (_STEP_OF[joints][:, None] >= joint)
        slopes[:, :, 6:] = (moves * moved[..., None]).swapaxes(1, 2)
        return slopes


def settle(
    hands: Sequence[tuple[Rig, RigPose]], touches: Sequence[Touch] = (), obstacles: Sequence[Skin] = ()
) -> list[RigPose]:
    """The nearest poses in which no skin lies more than `DEPTH_M` inside another.

    Args:
        hands: rigs as `rig_from_shape` makes them, each with a pose of one frame.
        touches: fingertips that are brought together first.
        obstacles: meshes that do not give way.
    """
    moving = [_Hand(rig, pose) for rig, pose in hands]
    for _ in range(_ROUNDS):
        equations = [*_pushes(moving, obstacles), *_pulls(moving, touches)]
        if all(abs(each.ways).max() < DEPTH_M / 2 for each in equations):
            break
        _improve(moving, equations)
    for _ in range(_LAST_ROUNDS):
        if not _part(moving, obstacles):
            break
    return [hand.pose for hand in moving]


def deepest(hands: Sequence[tuple[Rig, RigPose]], obstacles: Sequence[Skin] = ()) -> float:
    """Metres that the deepest vertex lies inside another finger, the palm, another hand or an obstacle; 0 for none."""
    return _deepest([_Hand(rig, pose) for rig, pose in hands], obstacles)


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
    slopes: NDArray[np.float64]
    other: int
    other_slopes: NDArray[np.float64]
    ways: NDArray[np.float64]
    close: float


def _pushes(hands: list[_Hand], obstacles: Sequence[Skin]) -> list[_Equations]:
    equations: list[_Equations] = []
    for index, hand in enumerate(hands):
        pairs = [(number, other.skin) for number, other in enumerate(hands) if number != index]
        pairs += [(-1, obstacle) for obstacle in obstacles]
        found = [(number, skin, contacts_between(hand.skin, skin)) for number, skin in pairs]
        found.append((index, hand.skin, contacts_within(hand.skin, hand.regions)))
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


def _pulls(hands: list[_Hand], touches: Sequence[Touch]) -> list[_Equations]:
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


def _improve(hands: list[_Hand], equations: list[_Equations]) -> None:
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


def _deepest(hands: list[_Hand], obstacles: Sequence[Skin]) -> float:
    return max((float(each.ways.max()) - _GAP_M for each in _pushes(hands, obstacles)), default=0.0)


def _part(hands: list[_Hand], obstacles: Sequence[Skin]) -> bool:
    """Open the hands that pass into themselves, pull apart those that pass into each other; whether one had to."""
    moved = False
    for index, hand in enumerate(hands):
        contacts = contacts_within(hand.skin, hand.regions)
        if len(contacts.inside) and contacts.depths.max() > DEPTH_M:
            fingers = np.unique(hand.regions.owners[contacts.inside])
            angles = hand.pose.angles.copy()
            angles[:, fingers] *= 0.93
            hand.set(replace(hand.pose, angles=angles))
            moved = True
        others = [skin_of(other.fine, other.pose) for other in hands[index + 1 :]]
        for skin in [*others, *obstacles]:
            own = skin_of(hand.fine, hand.pose)
            one, two = contacts_between(own, skin), contacts_between(skin, own)
            depth = max(one.depths.max(initial=0), two.depths.max(initial=0))
            if depth <= DEPTH_M:
                continue
            way = own.points.mean(0) - skin.points.mean(0)
            way *= (depth + _GAP_M) / np.linalg.norm(way)
            hand.set(hand.pose.moved(way))
            moved = True
    return moved
