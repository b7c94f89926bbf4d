"""Hands of a scene: meshes to draw, keypoints, and skin that contacts can move."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Float32Array, FloatArray, IndexArray
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.lab.hand_models.rig import FINGERS, Rig, RigPose, Side
from sonjit.lab.hand_models.rig_ik import free_joints, joint_limits, turn_axes
from sonjit.lab.synthesis import look_up
from sonjit.lab.synthesis.hands.mesh import HandFiles, load_hand_mesh
from sonjit.lab.synthesis.hands.penetration import (
    Contacts,
    Regions,
    Skin,
    coarse_rig,
    contacts_within,
    regions_of,
    skin_around,
)
from sonjit.lab.synthesis.hands.person import HandAppearance, rig_from_shape, skin_marks, skin_material
from sonjit.lab.synthesis.hands.worn import (
    GLOVES,
    SLEEVES,
    Edge,
    Tube,
    cloth_material,
    forearm,
    glove_faces,
    ring_drawable,
    sleeve,
    wrist_edge,
)
from sonjit.lab.synthesis.render.drawable import Drawable

GLOVE: Final = 100

"""Offset from a hand's instance to that of its glove."""

ARM: Final = 150

"""Offset from a hand's instance to that of its forearm, sleeve and rings."""

_FADE_M: Final = 0.08  # along the arm, for the difference between palm side and back


_PAD_M: Final = 0.0075  # before the skin's end a pad begins; some rigs have their tips beyond
_FINGER_OF, _STEP_OF = np.full((2, 25), -1)  # of each joint; a tip moves with the last joint that bends


@dataclass(frozen=True, eq=False)
class SceneHand:
    """Hand in the world.

    Attributes:
        side: The person's own hand.
        shape: Values (36,) by `hands.SHAPE_NAMES`, in standard deviations from the rig.
        pose: Pose of one frame, in the world's axes.
        appearance: Appearance of its surface.
        person: Index of its person.
        bend: Radians by which the hand is bent towards its palm and turned towards the thumb's side, relative to its
            forearm.
        files: Files of the user's own hand; None for the catalog's rig.
    """

    side: Side
    shape: FloatArray
    pose: RigPose
    appearance: HandAppearance
    person: int = 0
    bend: tuple[float, float] = (0.0, 0.0)
    files: HandFiles | None = None


def drawables_from_hand(hand: SceneHand, instance: int) -> list[Drawable]:
    """Return the hand's skin, then its forearm and garments.

    Args:
        hand: Hand in the world.
        instance: 1 to 49; a glove adds `GLOVE`, and forearm, sleeve and rings add `ARM`.

    Raises:
        InputError: The hand's files cannot be used, or its appearance contains an unknown name.
    """
    rig = rig_from_shape(hand.side, hand.shape, hand.files)
    rest, edge = load_hand_mesh(hand.side, hand.files), wrist_edge(hand.side, hand.files)
    rest_mesh = _rest_mesh(hand.side, hand.files)
    vertices, normals = (edge.extend(values[0]) for values in rig.skin(hand.pose))
    normals = edge.straighten_normals(normals, hand.pose.rotation[0] @ rest_mesh.axes[:, 2])
    appearance, skin = hand.appearance, skin_material(hand.appearance)
    drawables = [
        Drawable(
            vertices=vertices,
            normals=normals,
            faces=edge.faces,
            material=skin,
            instance=instance,
            rest=rest_mesh.rest,
            parts=rest_mesh.parts,
            marks=rest_mesh.marks,
        )
    ]
    drawables += _arm(hand, instance, vertices[edge.loop], normals=normals[edge.loop], rest_mesh=rest_mesh, edge=edge)
    if appearance.glove is not None:
        kind = look_up("glove", GLOVES, appearance.glove)
        faces = glove_faces(rest, edge.faces, kind.fingerless)
        outside = vertices + kind.thick_m * normals
        cloth = cloth_material(kind, appearance.seed)
        drawables.append(
            Drawable(
                vertices=outside,
                normals=normals,
                faces=faces,
                material=cloth,
                instance=instance + GLOVE,
                rest=rest_mesh.rest,
                parts=rest_mesh.parts,
            )
        )
    drawables += [ring_drawable(rig, hand.pose, finger, appearance.seed, instance + ARM) for finger in appearance.rings]
    return drawables


def _arm(
    hand: SceneHand, instance: int, loop: FloatArray, *, normals: FloatArray, rest_mesh: _RestMesh, edge: Edge
) -> list[Drawable]:
    """Return the forearm that starts at the skin's edge (K, 3), and its sleeve."""
    axes = hand.pose.rotation[0] @ rest_mesh.axes
    bend = (hand.bend[0], hand.bend[1] * (-1 if hand.side == "Right" else 1))

    def rest_positions(tube: Tube) -> FloatArray:
        count = len(tube.behind) // len(loop)
        return np.tile(rest_mesh.rest[edge.loop], (count, 1)) + tube.behind[:, None] * rest_mesh.axes[:, 2]

    arm = forearm(loop, normals, axes, bend)
    fade = np.exp(-arm.behind / _FADE_M)[:, None].astype(np.float32)
    marks = np.tile(rest_mesh.marks[edge.loop], (len(fade) // len(loop), 1)) * fade
    skin = skin_material(hand.appearance)
    drawables = [
        Drawable(
            vertices=arm.vertices,
            normals=arm.normals,
            faces=arm.faces,
            material=skin,
            instance=instance + ARM,
            rest=rest_positions(arm),
            marks=marks,
        )
    ]
    if hand.appearance.sleeve is not None:
        garment = look_up("sleeve", SLEEVES, hand.appearance.sleeve)
        tube = sleeve(
            loop,
            axes,
            bend,
            start_m=garment.start_m,
            width_m=garment.width_m,
            folds_m=garment.folds_m,
            seed=hand.appearance.seed,
        )
        cloth = cloth_material(garment, hand.appearance.seed + 3)
        drawables.append(
            Drawable(
                vertices=tube.vertices,
                normals=tube.normals,
                faces=tube.faces,
                material=cloth,
                instance=instance + ARM,
                rest=rest_positions(tube),
            )
        )
    return drawables


class _RestMesh(NamedTuple):
    """Values of all drawn vertices that depend on neither pose nor shape.

    Attributes:
        rest: Rest positions, see `Drawable.rest`.
        parts: Joint indices, see `Drawable.parts`.
        marks: Skin marks, see `Drawable.marks`.
        axes: Columns (3, 3) of the wrist's frame at rest.
    """

    rest: FloatArray
    parts: NDArray[np.uint8]
    marks: Float32Array
    axes: FloatArray


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
    """Return keypoints (21, 3) in metres in the world, in MediaPipe's order: centres of the joints, and tips within the
    fingers.

    Raises:
        InputError: The hand's files cannot be used.
    """
    return rig_from_shape(hand.side, hand.shape, hand.files).keypoints(hand.pose)[0]


for _finger, _chain in enumerate(FINGERS):
    _FINGER_OF[list(_chain)], _STEP_OF[list(_chain)] = _finger, (0, 1, 2, 2)


class MovingHand:
    """Hand that contacts move: its skin in the current pose, and the derivatives of the skin by the joints."""

    def __init__(self, rig: Rig, pose: RigPose) -> None:
        self.fine = rig
        self.rig = coarse_rig(rig)
        self.regions: Regions = regions_of(self.rig)
        self.free = free_joints(self.rig)
        self.limits = joint_limits(self.free)
        self.set(replace(pose, angles=np.clip(pose.angles, *self.limits)))

    def set(self, pose: RigPose) -> None:
        self.pose = pose
        self.frames, self.joints_m = self.rig.joint_frames(pose)
        self.skin = skin_around(self.rig, self.frames, self.joints_m)
        self._fine: Skin | None = None
        self._within: Contacts | None = None
        self._turning: tuple[FloatArray, FloatArray] | None = None

    def fine_skin(self) -> Skin:
        """Return the skin of the subdivided mesh."""
        if self._fine is None:
            self._fine = skin_around(self.fine, self.frames, self.joints_m)
        return self._fine

    def contacts(self) -> Contacts:
        """Return the contacts between its fingers."""
        if self._within is None:
            self._within = contacts_within(self.skin, self.regions)
        return self._within

    def move(self, step: FloatArray) -> None:
        """Rotate, translate and bend the hand by (6 + P,)."""
        angles = self.pose.angles.copy()
        angles[:, *self.free.which] = np.clip(angles[:, *self.free.which] + step[6:], self.free.low, self.free.high)
        rotation = matrix_from_rotation_vector(step[:3]) @ self.pose.rotation
        self.set(RigPose(rotation, self.pose.translation + step[3:6], angles))

    def pad(self, finger: int) -> FloatArray:
        """Return the pad (3,) inside a fingertip: its joint, or a point on the bone if the joint is too near to the
        skin's end.
        """
        tip = FINGERS[finger][3]
        back = _pads(self.rig)[finger] * self.frames[0, tip][:, 2]
        return np.asarray(self.joints_m[0, tip] + back, np.float64)

    def slopes(self, points: FloatArray, joints: IndexArray) -> FloatArray:
        """Return the derivatives (C, 3, 6 + P) of points (C, 3) of joints (C,) by the hand's parameters."""
        if self._turning is None:
            finger, joint, angle = self.free.which
            axes = turn_axes(self.rig, self.frames[:, FINGERS][:, :, :3], self.pose.angles)[0]
            self._turning = axes[finger, joint, angle], self.joints_m[0][np.array(FINGERS)[finger, joint]]
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
    """Return the distance in metres from each fingertip's joint back to the pad."""
    joints, pads = regions_of(rig).joints, list[float]()
    for chain in FINGERS:
        own, tip = np.isin(joints, chain[2:]), chain[3]
        beyond = -((rig.vertices[own] - rig.joints[tip]) @ rig.frames[tip][:, 2])
        pads.append(max(_PAD_M - float(beyond.max(initial=0)), 0))
    return tuple(pads)
