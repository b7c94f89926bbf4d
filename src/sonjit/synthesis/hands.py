"""A hand of a scene as meshes to draw, and where its keypoints are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.synthesis.drawable import Drawable, Material
from sonjit.synthesis.hand_mesh import load_hand_mesh
from sonjit.synthesis.shape import rig_from_shape
from sonjit.synthesis.shape_names import SHAPE_NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.synthesis.scene import SceneHand

__all__ = ["SHAPE_NAMES", "drawables_from_hand", "keypoints_from_hand"]


def drawables_from_hand(hand: SceneHand, instance: int, models_dir: str | Path | None = None) -> list[Drawable]:
    """The hand's skin first, then what it wears.

    Args:
        hand: in the world.
        instance: 1 to 99; what is worn gets 100 more.
        models_dir: where the rig's file lies, as everywhere.

    Raises:
        InputError: the rig's file is not there.
    """
    rig = rig_from_shape(hand.side, hand.shape, models_dir)
    (vertices,), (normals,) = rig.skin(hand.pose)
    skin = Material("skin", (0.60, 0.36, 0.26), seed=hand.look.seed, amounts=hand.look.amounts)
    parts = rig.weights.argmax(1).astype(np.uint8)
    return [
        Drawable(
            vertices,
            normals,
            rig.faces,
            skin,
            instance,
            rest=load_hand_mesh(hand.side, models_dir).vertices,
            parts=parts,
        )
    ]


def keypoints_from_hand(hand: SceneHand, models_dir: str | Path | None = None) -> NDArray[np.float64]:
    """(21, 3) metres in the world, MediaPipe's order: centres of the joints, and the tips within the fingers.

    Raises:
        InputError: the rig's file is not there.
    """
    return rig_from_shape(hand.side, hand.shape, models_dir).keypoints(hand.pose)[0]
