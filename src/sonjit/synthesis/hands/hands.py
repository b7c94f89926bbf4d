"""A hand of a scene as meshes to draw, and where its keypoints are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sonjit.synthesis.hands.arms import forearm, sleeve, wrist_edge
from sonjit.synthesis.hands.mesh import load_hand_mesh
from sonjit.synthesis.hands.shape import rig_from_shape
from sonjit.synthesis.hands.skins import skin_marks, skin_material
from sonjit.synthesis.hands.worn import cloth_material, glove_faces, glove_named, ring_drawable, sleeve_named
from sonjit.synthesis.render.drawable import Drawable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.hand_models import RigPose
    from sonjit.hand_models.rig import Side
    from sonjit.synthesis.hands.arms import Edge, Tube
    from sonjit.synthesis.hands.hands import SceneHand
    from sonjit.synthesis.hands.mesh import HandFiles
    from sonjit.synthesis.hands.skins import HandLook


GLOVE: Final = 100
"""A glove has so much more than its hand's instance."""
ARM: Final = 150
"""Forearm, sleeve and rings have so much more than their hand's instance."""
_FADE_M: Final = 0.08  # along the arm, for the difference between palm side and back


@dataclass(frozen=True, eq=False)
class SceneHand:
    """One hand in the world.

    Attributes:
        side: whose hand it is, the person's own.
        shape: (36,) values by `hands.SHAPE_NAMES`, in standard deviations from the rig.
        pose: of one frame, in the world's axes.
        look: its surface.
        person: index of whose hand it is.
        bend: radians that the hand is bent towards its palm, and turned towards the thumb's side, against its forearm.
        files: the user's own hand that it is; None for the catalog's.
    """

    side: Side
    shape: NDArray[np.float64]
    pose: RigPose
    look: HandLook
    person: int = 0
    bend: tuple[float, float] = (0.0, 0.0)
    files: HandFiles | None = None


def drawables_from_hand(hand: SceneHand, instance: int) -> list[Drawable]:
    """The hand's skin first, then its forearm and what it wears.

    Args:
        hand: in the world.
        instance: 1 to 49; a glove gets `GLOVE` more, forearm, sleeve and rings `ARM` more.

    Raises:
        InputError: the hand's files cannot be used, or the hand's look names what there is not.
    """
    rig = rig_from_shape(hand.side, hand.shape, hand.files)
    rest, edge = load_hand_mesh(hand.side, hand.files), wrist_edge(hand.side, hand.files)
    still = _still(hand.side, hand.files)
    vertices, normals = (edge.extended(values[0]) for values in rig.skin(hand.pose))
    normals = edge.uprighted(normals, hand.pose.rotation[0] @ still.axes[:, 2])
    look, skin = hand.look, skin_material(hand.look)
    made = [Drawable(vertices, normals, edge.faces, skin, instance, still.rest, still.parts, still.marks)]
    made += _arm(hand, instance, vertices[edge.loop], normals[edge.loop], still, edge)
    if look.glove is not None:
        kind = glove_named(look.glove)
        faces = glove_faces(rest, edge.faces, kind.fingerless)
        outside = vertices + kind.thick_m * normals
        cloth = cloth_material(kind, look.seed)
        made.append(Drawable(outside, normals, faces, cloth, instance + GLOVE, still.rest, still.parts))
    made += [ring_drawable(rig, hand.pose, finger, look.seed, instance + ARM) for finger in look.rings]
    return made


def _arm(
    hand: SceneHand,
    instance: int,
    loop: NDArray[np.float64],
    normals: NDArray[np.float64],
    still: _Still,
    edge: Edge,
) -> list[Drawable]:
    """The forearm from the skin's edge (K, 3) on, and its sleeve."""
    axes = hand.pose.rotation[0] @ still.axes
    bend = (hand.bend[0], hand.bend[1] * (-1 if hand.side == "Right" else 1))

    def rest_of(tube: Tube) -> NDArray[np.float64]:
        count = len(tube.behind) // len(loop)
        return np.tile(still.rest[edge.loop], (count, 1)) + tube.behind[:, None] * still.axes[:, 2]

    arm = forearm(loop, normals, axes, bend)
    fade = np.exp(-arm.behind / _FADE_M)[:, None].astype(np.float32)
    marks = np.tile(still.marks[edge.loop], (len(fade) // len(loop), 1)) * fade
    skin = skin_material(hand.look)
    made = [Drawable(arm.vertices, arm.normals, arm.faces, skin, instance + ARM, rest_of(arm), marks=marks)]
    if hand.look.sleeve is not None:
        cut = sleeve_named(hand.look.sleeve)
        tube = sleeve(loop, axes, bend, cut.start_m, cut.width_m, cut.folds_m, hand.look.seed)
        cloth = cloth_material(cut, hand.look.seed + 3)
        made.append(Drawable(tube.vertices, tube.normals, tube.faces, cloth, instance + ARM, rest_of(tube)))
    return made


class _Still(NamedTuple):
    """What neither pose nor shape changes, of all vertices that are drawn.

    Attributes:
        rest: as `Drawable.rest`.
        parts: as `Drawable.parts`.
        marks: as `Drawable.marks`.
        axes: (3, 3) columns of the wrist's frame at rest.
    """

    rest: NDArray[np.float64]
    parts: NDArray[np.uint8]
    marks: NDArray[np.float32]
    axes: NDArray[np.float64]


@lru_cache(maxsize=4)
def _still(side: Side, files: HandFiles | None) -> _Still:
    rig, edge = load_hand_mesh(side, files), wrist_edge(side, files)
    return _Still(
        edge.extended(rig.vertices),
        edge.extended(rig.weights).argmax(1).astype(np.uint8),
        edge.extended(skin_marks(side, files)).astype(np.float32),
        rig.frames[0],
    )


def keypoints_from_hand(hand: SceneHand) -> NDArray[np.float64]:
    """(21, 3) metres in the world, MediaPipe's order: centres of the joints, and the tips within the fingers.

    Raises:
        InputError: the hand's files cannot be used.
    """
    return rig_from_shape(hand.side, hand.shape, hand.files).keypoints(hand.pose)[0]
