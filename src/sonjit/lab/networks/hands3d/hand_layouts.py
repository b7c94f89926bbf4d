"""Orders of the 42 joints of InterNet, which depend on the data set of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np

from sonjit._util.arrays import RealArray
from sonjit.results.skeletons import Skeleton, load_skeleton

Side = Literal["Right", "Left"]
SIDES: Final[tuple[Side, Side]] = ("Right", "Left")
"""Order of hands and of their roots' depths in a network's outputs, whatever the order of its joints."""
JOINTS = 21
"""Number of joints of one hand."""


@dataclass(frozen=True)
class HandLayout:
    """An order of two hands' joints.

    Attributes:
        skeleton_name: Skeleton of one hand; depths are relative to its root.
        first: Side with the joints 0..20; the other hand has 21..41.
        both_in_a_crop: True if a crop contains both hands of a person, False if each hand has its own crop.
    """

    skeleton_name: str
    first: Side
    both_in_a_crop: bool = False

    @cached_property
    def skeleton(self) -> Skeleton:
        """Names and bones of one hand in this order."""
        return load_skeleton(self.skeleton_name)

    def joints(self, side: Side) -> slice:
        """Return the indices of a hand's joints among the 42."""
        return slice(0, JOINTS) if side == self.first else slice(JOINTS, 2 * JOINTS)

    def root(self, side: Side) -> int:
        """Return the index of a hand's root among the 42."""
        return self.joints(side).start + self.skeleton.parents.index(-1)

    @property
    def root_keypoints(self) -> tuple[int, ...]:
        """MediaPipe's keypoints whose mean is the root: the wrist, or wrist and middle finger's knuckle."""
        return (0,) if "wrist" in self.skeleton.keypoints else (0, 9)

    def from_mediapipe21(self, points: RealArray) -> RealArray:
        """Convert one hand (21, D) from MediaPipe's order; STB's palm is half-way between wrist and knuckle."""
        known = load_skeleton("hand_mediapipe21")
        palm = points[[0, known.index("middle_finger_mcp")]].mean(0)
        return np.stack([
            palm if name == "palm_center" else points[known.index(name)] for name in self.skeleton.keypoints
        ])  # fmt: skip

    def mediapipe21(self, joints: RealArray, side: Side) -> RealArray:
        """Return one of two hands (..., 42, D) in MediaPipe's order (..., 21, D).

        STB has the palm's centre instead of the wrist. The wrist is then extrapolated from the middle finger's knuckle
        through the palm's centre.
        """
        names = load_skeleton("hand_mediapipe21").keypoints
        own, skeleton = joints[..., self.joints(side), :], self.skeleton
        if names[0] in skeleton.keypoints:
            return own[..., [skeleton.index(name) for name in names], :]
        palm = skeleton.index("palm_center")
        hand = own[..., [palm, *(skeleton.index(name) for name in names[1:])], :]
        hand[..., 0, :] = 2 * hand[..., 0, :] - own[..., skeleton.index("middle_finger_mcp"), :]
        return hand
