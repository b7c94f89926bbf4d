"""Parts of a person."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from sonjit._util.arrays import IndexArray
from sonjit.results.skeletons import load_skeleton
from sonjit.studio.triangulation.bones import HAND_BONES

_BODY: Final = load_skeleton("body_blazepose33")
_LIMB_BONES: Final = np.array([(a, b) for a, b in _BODY.bones if _BODY.index("left_shoulder") <= a < b])
"""Bones (18, 2), parents first: across the shoulders and down the arms, across the hips and down the legs.

Spines bend and are excluded."""
_PART_NAMES: Final = {"bodies": "body", "faces": "face"}


class Part(NamedTuple):
    """The part of a person that one network detects.

    Attributes:
        list_name: hands, faces or bodies, as in `Frame`.
        skeleton: Name of the convention of its keypoints.
        handedness: Right or Left of hands, otherwise "".
    """

    list_name: str
    skeleton: str
    handedness: str = ""

    @property
    def name(self) -> str:
        """right_hand, left_hand, face or body."""
        return f"{self.handedness.lower()}_hand" if self.handedness else _PART_NAMES[self.list_name]

    @property
    def size(self) -> int:
        """Number of keypoints."""
        return len(load_skeleton(self.skeleton).keypoints)

    @property
    def bones(self) -> IndexArray:
        """Parent and child (B, 2) of bones of constant length, parents first."""
        if self.list_name == "hands":
            return HAND_BONES
        return _LIMB_BONES if self.list_name == "bodies" else np.zeros((0, 2), np.intp)
