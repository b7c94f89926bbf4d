"""Meshes of a scene's hands: skin, forearm, gloves, rings and sleeves, by name, and their keypoints.

The rig is cut just behind the wrist. The forearm begins with the vertices of that edge, so that no seam is visible. The
hand of one person has a mesh, 36 linear blend shapes of skin and joints, and a skin. The rig's file splits vertices
where its texture has seams: they are merged, a mesh that is open at the wrist is extended behind it and closed, and
each triangle is subdivided once. Shapes are made from the rig's own joints, bones and weights; the other side's mesh
and shapes mirror these. Bones keep their directions and joints stay their centres.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray
from sonjit_lab.hand_models.rig import RigPose, Side
from sonjit_lab.synthesis import look_up, read_table
from sonjit_lab.synthesis.drawables import Drawable, Material
from sonjit_lab.synthesis.hand_appearance import (
    Glove,
    HandAppearance,
    Sleeve,
    Tube,
    cloth_material,
    forearm,
    glove_faces,
    ring_drawable,
    skin_marks,
    skin_material,
    sleeve,
    wrist_edge,
)
from sonjit_lab.synthesis.hand_meshes import HandFiles, load_hand_mesh
from sonjit_lab.synthesis.hand_shapes import rig_from_shape

GLOVE: Final = 100  # offset from a hand's instance to that of its glove
ARM: Final = 150  # offset from a hand's instance to that of its forearm, sleeve and rings
_FADE_M: Final = 0.08  # along the arm, for the difference between palm side and back
GLOVES: Final = {name: Glove(**entry) for name, entry in read_table("scenes")["gloves"].items()}
SLEEVES: Final = {name: Sleeve(**entry) for name, entry in read_table("scenes")["sleeves"].items()}


@dataclass(frozen=True, eq=False)
class SceneHand:
    """Hand in the world."""

    side: Side  # the person's own hand
    shape: FloatArray  # Values (36,) by `hand_shapes.SHAPE_NAMES`, in standard deviations from the rig
    pose: RigPose  # pose of one frame, in the world's axes
    appearance: HandAppearance  # appearance of its surface
    person: int = 0  # index of its person
    # radians by which the hand is bent towards its palm and turned towards the thumb's side, relative to its forearm
    bend: tuple[float, float] = (0.0, 0.0)
    files: HandFiles | None = None  # files of the user's own hand; None for the catalog's rig


def drawables_from_hand(hand: SceneHand, instance: int) -> list[Drawable]:
    """Return the hand's skin, instance 1 to 49, then forearm, sleeve and rings (plus `ARM`), glove (plus `GLOVE`)."""
    rig = rig_from_shape(hand.side, hand.shape, hand.files)
    rest, edge = _rest_mesh(hand.side, hand.files), wrist_edge(hand.side, hand.files)
    vertices, normals = (edge.extend(values[0]) for values in rig.skin(hand.pose))
    axes, loop = hand.pose.rotation[0] @ rest.axes, edge.loop
    normals = edge.straighten_normals(normals, axes[:, 2])
    look, skin = hand.appearance, skin_material(hand.appearance)
    drawables = [Drawable(vertices, normals, edge.faces, skin, instance, rest.rest, rest.parts, rest.marks)]
    bend = (hand.bend[0], hand.bend[1] * (-1 if hand.side == "Right" else 1))
    arm = forearm(vertices[loop], normals[loop], axes, bend)
    fade = np.exp(-arm.behind / _FADE_M)[:, None].astype(np.float32)
    marks = np.tile(rest.marks[loop], (len(fade) // len(loop), 1)) * fade

    def along_arm(tube: Tube, material: Material, marks: Float32Array | None = None) -> Drawable:
        place = np.tile(rest.rest[loop], (len(tube.behind) // len(loop), 1))
        place = place + tube.behind[:, None] * rest.axes[:, 2]
        return Drawable(tube.vertices, tube.normals, tube.faces, material, instance + ARM, place, marks=marks)

    drawables.append(along_arm(arm, skin, marks))
    if look.sleeve is not None:
        kind = look_up("sleeve", SLEEVES, look.sleeve)
        tube = sleeve(vertices[loop], axes, bend, kind, look.seed)
        drawables.append(along_arm(tube, cloth_material(kind, look.seed + 3)))
    if look.glove is not None:
        glove = look_up("glove", GLOVES, look.glove)
        faces = glove_faces(load_hand_mesh(hand.side, hand.files), edge.faces, fingerless=glove.fingerless)
        outside, cloth = vertices + glove.thick_m * normals, cloth_material(glove, look.seed)
        drawables.append(Drawable(outside, normals, faces, cloth, instance + GLOVE, rest.rest, rest.parts))
    return [*drawables, *(ring_drawable(rig, hand.pose, finger, look.seed, instance + ARM) for finger in look.rings)]


class _RestMesh(NamedTuple):
    """Values of all drawn vertices that depend on neither pose nor shape."""

    rest: FloatArray  # Rest positions, see `Drawable.rest`
    parts: NDArray[np.uint8]  # Joint indices, see `Drawable.parts`
    marks: Float32Array  # Skin marks, see `Drawable.marks`
    axes: FloatArray  # columns (3, 3) of the wrist's frame at rest


@lru_cache(maxsize=4)
def _rest_mesh(side: Side, files: HandFiles | None) -> _RestMesh:
    rig, edge = load_hand_mesh(side, files), wrist_edge(side, files)
    return _RestMesh(
        edge.extend(rig.vertices),
        edge.extend(rig.weights).argmax(1).astype(np.uint8),
        edge.extend(skin_marks(side, files)).astype(np.float32),
        rig.frames[0],
    )


def keypoints_from_hand(hand: SceneHand) -> FloatArray:
    """Return keypoints (21, 3) in metres in the world, in MediaPipe's order; tips are within the fingers."""
    return rig_from_shape(hand.side, hand.shape, hand.files).keypoints(hand.pose)[0]
