"""MANO as a rigged hand, so that whatever poses and renders the WebXR hand takes MANO as well.

Its template, joints and skinning weights are taken over. Its shapes and its pose corrections are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.geometry.rotations import align_rigidly
from sonjit.geometry.triangles import vertex_normals
from sonjit.hand_models.mano_files import LAYOUTS, TO_MEDIAPIPE21
from sonjit.hand_models.rig import FINGERS, KEYPOINTS, Rig
from sonjit.hand_models.rig_files import bone_frames, out_of_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


_PALM: Final = [0, *(chain[0] for chain in FINGERS)]
_BASE: Final = 0.35  # of the way from the wrist to a knuckle, where a metacarpal begins


def rig_from_mano(fields: Mapping[str, NDArray[Any]], plain: Rig) -> Rig:
    """MANO's flat hand with the 25 joints of WebXR: its own 16, its tip vertices, and four bases of metacarpals.

    The bases lie between wrist and knuckles and move nothing. Joints have the axes of another rig, turned along with
    their bones.

    Args:
        fields: of `read_mano`.
        plain: a rig of the side that the fields are of.

    Raises:
        InputError: its mean pose bends the fingers as the other side's does.
    """
    template, count = fields["v_template"], len(fields["v_template"])
    layout = LAYOUTS["handoccnet"]
    tips = template[list(layout.right if plain.side == "Right" else layout.left)]
    joints, weights = np.zeros((25, 3)), np.zeros((count, 25))
    joints[list(KEYPOINTS)] = np.concatenate([fields["J_regressor"] @ template, tips])[list(TO_MEDIAPIPE21)]
    weights[:, KEYPOINTS] = np.concatenate([fields["weights"], np.zeros((count, len(tips)))], 1)[:, TO_MEDIAPIPE21]
    for chain in FINGERS[1:]:
        joints[chain[0] - 1] = joints[0] + _BASE * (joints[chain[0]] - joints[0])
    if _bends(fields["hands_mean"], joints) @ out_of_back(joints, plain.side) > 0:
        raise InputError(f"its fingers bend as those of the other hand: it is not MANO's {plain.side.lower()} one")
    rotation, _ = align_rigidly(plain.joints[_PALM], joints[_PALM])
    faces = fields["f"]
    return Rig(
        plain.side,
        joints=joints,
        frames=bone_frames(rotation @ plain.frames, joints),
        vertices=template,
        normals=vertex_normals(template, faces),
        faces=faces,
        weights=weights,
    )


def _bends(mean: NDArray[np.float64], joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) where the fingers' bones go in MANO's mean pose (45,), a hand half closed."""
    turns = np.zeros((21, 3))
    turns[: len(TO_MEDIAPIPE21) - 5] = np.concatenate([np.zeros((1, 3)), mean.reshape(-1, 3)])
    turns = turns[list(TO_MEDIAPIPE21)][5:].reshape(4, 4, 3)[:, :3]  # the thumb bends another way
    bones = np.diff(joints[list(FINGERS[1:])], axis=1)
    return np.asarray(np.cross(turns, bones).sum((0, 1)), np.float64)
