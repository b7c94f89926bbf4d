"""Describe the motion of a character.

Axes of a character are x to the person's left in the rest pose, y up and z forward, in metres. The rest pose is a T
with the palms down. All bones then have no rotation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.media.tables.characters.bones import BONES, PARENTS

if TYPE_CHECKING:
    from sonjit._util.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class Motion:
    """A character in F frames.

    Attributes:
        name: Name of the person.
        offsets: Position of each bone (B, 3) relative to its parent in the rest pose, in metres. The first has the
            height of the hips.
        ends: End of each bone without a child, relative to the bone, by name.
        rotations: Rotations (F, B, 3, 3) relative to the parent.
        hips: Position of the hips (F, 3) in metres.
        is_held: Frames (F,) that repeat the pose of another frame.
        expressions: Weight (F,) of each blendshape, by name.
    """

    name: str
    offsets: FloatArray
    ends: dict[str, FloatArray]
    rotations: FloatArray
    hips: FloatArray
    is_held: BoolArray
    expressions: dict[str, FloatArray] = field(default_factory=dict[str, "FloatArray"])

    def joints(self) -> tuple[FloatArray, FloatArray]:
        """Return the positions (F, B, 3) of the bones in metres, and their rotations (F, B, 3, 3) in space."""
        positions, rotations = np.empty(self.rotations.shape[:3]), self.rotations.copy()
        for number, bone in enumerate(BONES):
            if not PARENTS[bone]:
                positions[:, number] = self.hips
                continue
            parent = BONES.index(PARENTS[bone])
            positions[:, number] = positions[:, parent] + rotations[:, parent] @ self.offsets[number]
            rotations[:, number] = rotations[:, parent] @ rotations[:, number]
        return positions, rotations

    def rest_joints(self) -> FloatArray:
        """Return the positions (B, 3) of the bones in the rest pose in metres."""
        positions = self.offsets.copy()
        for number, parent in enumerate(PARENTS.values()):
            if parent:
                positions[number] += positions[BONES.index(parent)]
        return positions

    def moved(self, offset: FloatArray) -> Motion:
        """Return the motion at another position (3,)."""
        return replace(self, hips=self.hips + offset)
