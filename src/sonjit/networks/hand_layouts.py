"""In which order InterNet's 42 joints stand: by the data set that a checkpoint was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from sonjit.skeletons import Skeleton, load_skeleton

if TYPE_CHECKING:
    from numpy.typing import NDArray

Side = Literal["Right", "Left"]
SIDES: Final[tuple[Side, Side]] = ("Right", "Left")
"""The order in which a network gives hands, and depths of their roots, whatever the order of its joints."""
JOINTS = 21
"""Of one hand."""


@dataclass(frozen=True)
class HandLayout:
    """One order of two hands' joints.

    Attributes:
        skeleton_name: of one hand; its root is the joint that depths are relative to.
        first: whose joints are 0..20; the other hand's are 21..41.
    """

    skeleton_name: str
    first: Side

    @cached_property
    def skeleton(self) -> Skeleton:
        """Names and bones of one hand in this order."""
        return load_skeleton(self.skeleton_name)

    def joints(self, side: Side) -> slice:
        """Where a hand's joints stand among the 42."""
        return slice(0, JOINTS) if side == self.first else slice(JOINTS, 2 * JOINTS)

    def root(self, side: Side) -> int:
        """Where a hand's root stands among the 42."""
        return self.joints(side).start + self.skeleton.parents.index(-1)

    @property
    def root_keypoints(self) -> tuple[int, ...]:
        """MediaPipe's keypoints between which the root lies: the wrist, or wrist and middle finger's knuckle."""
        return (0,) if "wrist" in self.skeleton.keypoints else (0, 9)

    def mediapipe21(self, joints: NDArray[np.floating], side: Side) -> NDArray[np.floating]:
        """One of two hands (..., 42, D) in MediaPipe's order (..., 21, D).

        STB names no wrist but the palm's centre; the wrist is then put as far behind it as the middle finger's knuckle
        is in front.
        """
        names = load_skeleton("hand_mediapipe21").keypoints
        own, skeleton = joints[..., self.joints(side), :], self.skeleton
        if names[0] in skeleton.keypoints:
            return own[..., [skeleton.index(name) for name in names], :]
        palm = skeleton.index("palm_center")
        hand = own[..., [palm, *(skeleton.index(name) for name in names[1:])], :]
        hand[..., 0, :] = 2 * hand[..., 0, :] - own[..., skeleton.index("middle_finger_mcp"), :]
        return hand


LAYOUTS: Final = {
    "interhand": HandLayout("hand_interhand21", "Right"),
    "stb": HandLayout("hand_stb21", "Left"),
    "rhd": HandLayout("hand_rhd21", "Left"),
}
"""By the data set of a checkpoint of InterNet."""
