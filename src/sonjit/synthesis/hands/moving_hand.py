"""A hand while contacts move it: its skin in the pose that it has now, and how that moves with its joints."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.hand_models.rig import FINGERS, RigPose
from sonjit.hand_models.rig_ik import free_joints, joint_limits, turn_axes
from sonjit.synthesis.hands.penetration import coarse_rig, contacts_within, regions_of, skin_around

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Rig
    from sonjit.synthesis.hands.penetration import Contacts, Regions, Skin

_PAD_M: Final = 0.0075  # before the skin's end a pad begins; some rigs have their tips beyond
_FINGER_OF, _STEP_OF = np.full((2, 25), -1)  # of each joint; a tip moves with the last joint that bends
for _finger, _chain in enumerate(FINGERS):
    _FINGER_OF[list(_chain)], _STEP_OF[list(_chain)] = _finger, (0, 1, 2, 2)


class MovingHand:
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
        self.frames, self.places = self.rig.place(pose)
        self.skin = skin_around(self.rig, self.frames, self.places)
        self._fine: Skin | None = None
        self._within: Contacts | None = None
        self._turning: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def fine_skin(self) -> Skin:
        """Of the divided mesh."""
        if self._fine is None:
            self._fine = skin_around(self.fine, self.frames, self.places)
        return self._fine

    def contacts(self) -> Contacts:
        """Of its fingers."""
        if self._within is None:
            self._within = contacts_within(self.skin, self.regions)
        return self._within

    def move(self, step: NDArray[np.float64]) -> None:
        """Turn, shift and bend by (6 + P,)."""
        angles = self.pose.angles.copy()
        angles[:, *self.free.which] = np.clip(angles[:, *self.free.which] + step[6:], self.free.low, self.free.high)
        rotation = matrix_from_rotation_vector(step[:3]) @ self.pose.rotation
        self.set(RigPose(rotation, self.pose.translation + step[3:6], angles))

    def pad(self, finger: int) -> NDArray[np.float64]:
        """(3,) within a fingertip: its joint, or on the bone before that where it lies too near to the skin's end."""
        tip = FINGERS[finger][3]
        back = _pads(self.rig)[finger] * self.frames[0, tip][:, 2]
        return np.asarray(self.places[0, tip] + back, np.float64)

    def slopes(self, points: NDArray[np.float64], joints: NDArray[np.intp]) -> NDArray[np.float64]:
        """How points (C, 3) of joints (C,) move with the hand: (C, 3, 6 + P)."""
        if self._turning is None:
            finger, joint, angle = self.free.which
            axes = turn_axes(self.rig, self.frames[:, FINGERS][:, :, :3], self.pose.angles)[0]
            self._turning = axes[finger, joint, angle], self.places[0][np.array(FINGERS)[finger, joint]]
        axes, centres = self._turning  # (P, 3) each
        slopes = np.zeros((len(points), 3, 6 + len(self.free.low)))
        x, y, z = (points - self.pose.translation[0]).T
        slopes[:, 2, 0], slopes[:, 0, 1], slopes[:, 1, 2] = y, z, x  # each axis of the world times the arm
        slopes[:, 1, 0], slopes[:, 2, 1], slopes[:, 0, 2] = -z, -x, -y
        slopes[:, :, 3:6] = np.eye(3)
        finger, joint, _ = self.free.which
        moved = (_FINGER_OF[joints][:, None] == finger) & (_STEP_OF[joints][:, None] >= joint)
        (a, b, c), (x, y, z) = axes.T, points.T[..., None] - centres.T[:, None]  # (P,) and (C, P) each
        slopes[:, 0, 6:] = (b * z - c * y) * moved
        slopes[:, 1, 6:] = (c * x - a * z) * moved
        slopes[:, 2, 6:] = (a * y - b * x) * moved
        return slopes


@lru_cache(maxsize=8)
def _pads(rig: Rig) -> tuple[float, ...]:
    """Metres that each finger's pad lies behind its tip's joint."""
    joints, made = regions_of(rig).joints, list[float]()
    for chain in FINGERS:
        own, tip = np.isin(joints, chain[2:]), chain[3]
        beyond = -((rig.vertices[own] - rig.joints[tip]) @ rig.frames[tip][:, 2])
        made.append(max(_PAD_M - float(beyond.max(initial=0)), 0))
    return tuple(made)
