"""Put a character on its floor: correct the height of the hips, and bend the legs so that standing feet touch it.

One camera measures depth badly, so a person drifts by some centimetres, and both feet of a standing person differ in
height. The floor is level and at height 0. Jumps keep their height above it. A foot that does not move in the image is
planted: it keeps its place and direction on the floor, and the hips follow.
"""

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import BoolArray, FloatArray
from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.media.tables.characters import BONES, PARENTS, SIDES, Motion
from sonjit.media.tables.characters.fit import aligned, bent_limb, runs, smooth, swung, through_gaps

_ROOT_SMOOTHING_S, _CONTACT_SMOOTHING_S = 0.1, 0.04
_JUMP_M, _LONGEST_JUMP_S = 0.12, 1.5
"""Height above its lowest heights before and after, from which a character is in the air, and the longest such time."""
_NEAR_M, _FAR_M = 0.05, 0.08  # heights of a foot between which its contact with the floor ends
_SLOW, _FAST = 0.35, 0.7  # speeds of a foot in metres per second between which its contact ends
_FLAT_PITCHES = np.deg2rad([-60, -40, 20, 40])
"""Pitches of a standing foot: it is made flat between the inner two, and stays as it is beyond the outer two.

The network's heel is above its toes: the feet of people who stand have pitches from -15 to -50 degrees.
"""
_HEEL_RAISED = np.deg2rad(20)  # pitch of a foot from which its toes are flat
_ROUNDS: Final = 5  # of the hips and the legs, as a stretched leg may not reach the floor or its place
_PLANTED_M, _PLANTED_S = 0.25, 0.2  # maximum height of a planted foot, and minimum time for which it is planted
_RETURN_S: Final = 1.0  # time constant with which hips without a planted foot return to their measured place
_LEGS: Final = tuple(side + bone for side in SIDES for bone in ("UpperLeg", "LowerLeg", "Foot", "Toes"))
_, _Y, _Z = np.eye(3)
_LEVEL: Final = np.array([1.0, 0.0, 1.0])  # factors that project a place onto the floor


class _Legs:
    """Positions (F, 3) and rotations (F, 3, 3) of the hips and the bones of the legs in space, by name, in metres."""

    def __init__(self, motion: Motion) -> None:
        self.places = {"hips": motion.hips}
        self.turns = {"hips": motion.rotations[:, 0]}
        for bone in _LEGS:
            number, parent = BONES.index(bone), PARENTS[bone]
            self.places[bone] = self.places[parent] + self.turns[parent] @ motion.offsets[number]
            self.turns[bone] = self.turns[parent] @ motion.rotations[:, number]

    def height(self, motion: Motion, side: str) -> FloatArray:
        """Return the height (F,) of the lowest point of a sole."""
        ankle = f"{side}Foot"
        return self.places[ankle][:, 1] + (self.turns[ankle] @ _sole(motion, side).T)[:, 1].min(1)

    def contact(self, motion: Motion, side: str, times: FloatArray) -> FloatArray:
        """Return how far (F,) a foot stands on the floor, 0 to 1: it is low and slow."""
        low = np.clip((_FAR_M - self.height(motion, side)) / (_FAR_M - _NEAR_M), 0, 1)
        if len(times) < 2:
            return low
        speed = np.linalg.norm(np.gradient(self.places[f"{side}Toes"], times, axis=0), axis=1)
        slow = np.clip((_FAST - smooth(speed, times, _CONTACT_SMOOTHING_S)) / (_FAST - _SLOW), 0, 1)
        return smooth(low * slow, times, _CONTACT_SMOOTHING_S)


def on_floor(motion: Motion, times: FloatArray) -> Motion:
    """Return a motion in metres, at times (F,) in seconds, that stands on its floor at height 0."""
    motion = _at_height(motion, _height_of_floor(_lowest(motion), times))
    motion, plants = _planted(motion, times)
    for _ in range(_ROUNDS):
        motion = _with_feet(motion, times, plants)
        legs = _Legs(motion)
        above = np.max([legs.contact(motion, side, times) * legs.height(motion, side) for side in SIDES], axis=0)
        missed = np.mean([plants[side].places - legs.places[f"{side}Toes"] * _LEVEL for side in SIDES], axis=0)
        if above.max() < 0.002 and np.abs(missed).max() < 0.002:  # metres
            break
        motion = _at_height(motion, smooth(above, times, _ROOT_SMOOTHING_S))
        motion = replace(motion, hips=motion.hips + smooth(missed, times, _ROOT_SMOOTHING_S))
    return _at_height(motion, np.minimum(_lowest(motion), 0))


class _Plants(NamedTuple):
    """Where a foot is planted, with smooth ways to and from there."""

    places: FloatArray  # places of the ball (F, 3) on the floor in metres
    yaws: FloatArray  # directions (F,) of the foot about the vertical axis in radians


def _planted(motion: Motion, times: FloatArray) -> tuple[Motion, dict[str, _Plants]]:
    """Let the hips follow planted feet, and return the places of both feet."""
    legs, count = _Legs(motion), len(times)
    balls = {side: legs.places[f"{side}Toes"] * _LEVEL for side in SIDES}
    stands: dict[str, list[tuple[int, int]]] = {}
    for side in SIDES:
        still = motion.still_feet.get(side, np.zeros(count, np.bool_)) & ~motion.is_held
        low = legs.height(motion, side) < _PLANTED_M
        stands[side] = [(a, b) for a, b in runs(still & low) if times[b - 1] - times[a] >= _PLANTED_S]
    begins = {side: dict(stands[side]) for side in SIDES}
    moved, places = np.zeros((count, 3)), {side: np.full((count, 3), np.nan) for side in SIDES}
    for row in range(count):
        kept = [places[side][row] - balls[side][row] for side in SIDES if np.isfinite(places[side][row, 0])]
        if kept:
            moved[row] = np.mean(kept, axis=0)
        elif row:
            moved[row] = moved[row - 1] * np.exp((times[row - 1] - times[row]) / _RETURN_S)
        for side in SIDES:
            if row in begins[side]:
                places[side][row : begins[side][row]] = balls[side][row] + moved[row]
    moved = smooth(moved, times, _ROOT_SMOOTHING_S)
    plants: dict[str, _Plants] = {}
    for side in SIDES:
        off = through_gaps(places[side] - balls[side] - moved, times)
        ahead = legs.turns[f"{side}Foot"] @ _Z
        yaw = np.unwrap(np.arctan2(ahead[:, 0], ahead[:, 2]))
        fixed = np.full(count, np.nan)
        for start, stop in stands[side]:
            fixed[start:stop] = np.median(yaw[start:stop])
        plants[side] = _Plants(balls[side] + moved + off, yaw + through_gaps(fixed - yaw, times))
    return replace(motion, hips=motion.hips + moved), plants


def _at_height(motion: Motion, heights: FloatArray) -> Motion:
    """Lower the hips by heights (F,) in metres."""
    return replace(motion, hips=motion.hips - heights[:, None] * _Y)


def _lowest(motion: Motion) -> FloatArray:
    """Return the height (F,) of the lowest joint or toe."""
    legs = _Legs(motion)
    feet = [legs.height(motion, side) for side in SIDES]
    return np.minimum(motion.joints()[0][..., 1].min(1), np.min(feet, axis=0))


def _sole(motion: Motion, side: str) -> FloatArray:
    """Return the positions (2, 3) of heel and ball on the sole, relative to the ankle in the rest pose."""
    ankle, ball = BONES.index(f"{side}Foot"), motion.offsets[BONES.index(f"{side}Toes")]
    return np.array([[0, 0, 0], ball]) * (1, 0, 1) - motion.rest_joints()[ankle] * _Y


def _height_of_floor(lowest: FloatArray, times: FloatArray) -> FloatArray:
    """Return the height (F,) of the floor below a character: that of its lowest point, except in jumps."""
    if len(times) < 2:
        return lowest
    begin = np.searchsorted(times, times - _LONGEST_JUMP_S / 2)
    end = np.searchsorted(times, times + _LONGEST_JUMP_S / 2, side="right")
    before = np.array([lowest[low : row + 1].min() for row, low in enumerate(begin)])
    after = np.array([lowest[row:high].min() for row, high in enumerate(end)])
    is_in_air = lowest - np.maximum(before, after) > _JUMP_M
    stands = np.flatnonzero(~_widened(is_in_air, lowest - np.maximum(before, after) > _NEAR_M))
    if not len(stands):
        return np.full_like(lowest, np.median(lowest))
    return smooth(np.interp(times, times[stands], lowest[stands]), times, _ROOT_SMOOTHING_S)


def _widened(flags: BoolArray, around: BoolArray) -> BoolArray:
    """Return the runs of `around` that contain a flag (F,)."""
    result = flags.copy()
    for start, stop in runs(around):
        result[start:stop] |= flags[start:stop].any()
    return result


def _with_feet(motion: Motion, times: FloatArray, plants: dict[str, _Plants]) -> Motion:
    """Bend the legs so that standing feet are on the floor at their places, and no foot is below it."""
    local, legs = motion.rotations.copy(), _Legs(motion)
    for side in SIDES:
        share = legs.contact(motion, side, times)
        upper, lower, foot, _ = bones = [f"{side}{bone}" for bone in ("UpperLeg", "LowerLeg", "Foot", "Toes")]
        numbers = [BONES.index(bone) for bone in bones]
        pitch = np.arcsin(np.clip((legs.turns[foot] @ _Z)[:, 1], -1, 1))
        is_flat = share * np.interp(pitch, _FLAT_PITCHES, [0, 1, 1, 0])
        ahead = legs.turns[foot] @ _Z
        turn = plants[side].yaws - np.arctan2(ahead[:, 0], ahead[:, 2])
        turned = matrix_from_rotation_vector(turn[:, None] * _Y) @ legs.turns[foot]
        turned = _towards(turned, _level(turned), is_flat)
        heel, ball = np.moveaxis((turned @ _sole(motion, side).T)[:, 1], 1, 0)  # heights relative to the ankle
        height = legs.places[foot][:, 1] + np.minimum(heel, ball)
        target = legs.places[foot] - (np.where(height < 0, 1.0, share) * height)[:, None] * _Y
        target = target * _Y + plants[side].places - turned @ motion.offsets[numbers[3]] * _LEVEL
        near = np.clip(1 - (target[:, 1] + ball) / _NEAR_M, 0, 1)
        bent = near * np.clip(-pitch / _HEEL_RAISED, 0, 1)  # toes of a foot with a raised heel stay flat
        lengths = tuple(float(np.linalg.norm(motion.offsets[number])) for number in numbers[1:3])
        ahead = legs.turns[upper] @ _Z
        first, second = bent_limb(legs.places[upper], legs.places[lower], target, (lengths[0], lengths[1]), ahead)
        turns = [
            legs.turns["hips"],
            swung(legs.turns[upper], -_Y, first),
            swung(legs.turns[lower], -_Y, second),
            turned,
            _towards(turned, _level(turned), bent),
        ]
        for number, parent, own in zip(numbers, turns[:-1], turns[1:], strict=True):
            local[:, number] = np.swapaxes(parent, 1, 2) @ own
    return replace(motion, rotations=local)


def _level(turns: FloatArray) -> FloatArray:
    """Return rotations (F, 3, 3) of feet with the same directions that are flat."""
    return aligned(np.broadcast_to(_Y, turns.shape[:2]), turns @ _Z, _Y, _Z)


def _towards(start: FloatArray, stop: FloatArray, shares: FloatArray) -> FloatArray:
    """Return rotations (F, 3, 3) at shares (F,) of the way to others."""
    way = rotation_vector_from_matrix(np.swapaxes(start, 1, 2) @ stop)
    return start @ matrix_from_rotation_vector(shares[:, None] * way)
