"""A rigged hand: its skeleton, its skin and its poses.

Frames of joints are those of WebXR Hand Input: x is the axis that the joint bends about, y points out of the back of
the hand, z back along the bone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit.arrays import FloatArray, IndexArray, IntArray, RealArray
from sonjit.geometry.rotations import matrix_from_rotation_vector

Side = Literal["Left", "Right"]

_BONES: Final = ("metacarpal", "phalanx-proximal", "phalanx-intermediate", "phalanx-distal", "tip")
JOINTS: Final = (
    "wrist",
    *(f"thumb-{bone}" for bone in _BONES if bone != "phalanx-intermediate"),
    *(f"{finger}-finger-{bone}" for finger in ("index", "middle", "ring", "pinky") for bone in _BONES),
)
"""The 25 joints by their WebXR names."""
PARENTS: Final = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 8, 0, 10, 11, 12, 13, 0, 15, 16, 17, 18, 0, 20, 21, 22, 23)
FINGERS: Final = ((1, 2, 3, 4), (6, 7, 8, 9), (11, 12, 13, 14), (16, 17, 18, 19), (21, 22, 23, 24))
"""Three joints that move and the tip of each finger, thumb first: after the wrist, the order of MediaPipe-21."""
KEYPOINTS: Final = (0, *(joint for finger in FINGERS for joint in finger))
"""Index of the joint that each of MediaPipe's 21 keypoints stands for."""
_FINGERS = np.array(FINGERS)
_PALM = [0, 5, 10, 15, 20]
_FLIP: Final = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class RigPose:
    """Where a rig is and how it is bent, in N frames.

    Attributes:
        rotation: (N, 3, 3) of the hand, from the rig's rest axes.
        translation: (N, 3) position of the wrist, metres.
        angles: (N, 5, 3, 3) radians from the rest pose: per finger, thumb first, and joint from the palm outwards the
            turn towards the thumb, the bend towards the palm and the twist about the bone. It is applied in the order
            twist, bend, turn.
    """

    rotation: FloatArray
    translation: FloatArray
    angles: FloatArray

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, frame: int) -> RigPose:
        """One frame, as a pose of one."""
        part = slice(frame, frame + 1)
        return RigPose(self.rotation[part], self.translation[part], self.angles[part])

    def moved(self, translation: RealArray) -> RigPose:
        """The same with (N, 3) metres added to its place."""
        return replace(self, translation=self.translation + translation)


class _Step(NamedTuple):
    """From some joints of the rig at rest to the next of each finger, in their parents' axes."""

    parents: IndexArray  # (5,)
    joints: IndexArray  # (5,)
    offsets: FloatArray  # (5, 3, 1)
    turns: FloatArray  # (5, 3, 3)


@dataclass(frozen=True, eq=False)
class Rig:
    """A skinned hand at rest.

    Attributes:
        side: whose hand it is.
        joints: (25, 3) metres.
        frames: (25, 3, 3) axes of the joints as columns.
        vertices: (V, 3) metres.
        normals: (V, 3).
        faces: (F, 3) indices, counterclockwise from outside.
        weights: (V, 25) share of each joint in each vertex.
    """

    side: Side
    joints: FloatArray
    frames: FloatArray
    vertices: FloatArray
    normals: FloatArray
    faces: IntArray
    weights: FloatArray

    @property
    def lengths(self) -> FloatArray:
        """(20,) metres from each of MediaPipe's keypoints but the wrist to its parent."""
        return np.linalg.norm(np.diff(self._chains, axis=1), axis=-1).reshape(-1)

    @property
    def axes(self) -> FloatArray:
        """(3, 3) axes in a joint's frame of the turn towards the thumb, the bend and the twist, one a row."""
        side = 1.0 if self.side == "Right" else -1.0
        return np.array([[0, side, 0], [-1, 0, 0], [0, 0, side]], np.float64)

    @property
    def _chains(self) -> FloatArray:
        """(5, 5, 3) the wrist, then the joints of each finger."""
        return np.concatenate([np.broadcast_to(self.joints[0], (5, 1, 3)), self.joints[_FINGERS]], 1)

    @cached_property
    def _steps(self) -> tuple[_Step, ...]:
        """From the wrist to the tips; posing takes them again and again."""
        steps: list[_Step] = []
        for step in range(4):
            at = _FINGERS[:, step]
            parents = np.zeros(5, np.intp) if step == 0 else _FINGERS[:, step - 1]
            back = np.swapaxes(self.frames[parents], -1, -2)
            offsets = back @ (self.joints[at] - self.joints[parents])[..., None]
            steps.append(_Step(parents, at, offsets, back @ self.frames[at]))
        return tuple(steps)

    def resized(self, lengths: RealArray) -> Rig:
        """The same hand with other bones: the skin grows with them.

        Directions at rest stay. The skin stretches along each bone with it and takes the hand's mean growth across;
        beyond the last joint of a finger it takes the mean growth alone, whatever stands for the tip.

        Args:
            lengths: (20,) metres, as `lengths` gives.
        """
        growth = (np.asarray(lengths, np.float64) / self.lengths).reshape(5, 4)
        mean = float((growth * self.lengths.reshape(5, 4))[:, :3].sum() / self.lengths.reshape(5, 4)[:, :3].sum())
        steps = np.diff(self._chains, axis=1) * growth[..., None]
        joints = self.joints.copy()
        joints[_FINGERS] = joints[0] + steps.cumsum(1)
        palm = np.array(_PALM[1:])
        joints[palm] = joints[0] + (self.joints[palm] - self.joints[0]) * growth[1:, :1]
        along = np.full(25, mean)  # growth along the bone that starts at each joint
        along[_FINGERS[:, :2]] = growth[:, 1:3]
        along[palm] = growth[1:, 0]
        bones = self.frames[:, :, 2]
        stretch = mean * np.eye(3) + (along - mean)[:, None, None] * bones[:, :, None] * bones[:, None, :]
        moved = joints[:, None] + (self.vertices - self.joints[:, None]) @ stretch  # (25, V, 3); stretch is symmetric
        return replace(self, joints=joints, vertices=np.einsum("vj,jvc->vc", self.weights, moved))

    def mirrored(self) -> Rig:
        """The other side's hand, mirrored in x: the same angles bend it to the mirrored pose."""
        return Rig(
            "Left" if self.side == "Right" else "Right",
            joints=self.joints * _FLIP,
            frames=_FLIP[:, None] * self.frames * _FLIP,  # y and z keep their meaning, x turns to stay right-handed
            vertices=self.vertices * _FLIP,
            normals=self.normals * _FLIP,
            faces=self.faces[:, [0, 2, 1]],
            weights=self.weights,
        )

    def place(self, pose: RigPose) -> tuple[FloatArray, FloatArray]:
        """Axes (N, 25, 3, 3) and positions (N, 25, 3) of the joints in a pose."""
        count, turns = len(pose), self._turns(pose.angles)
        frames, joints = np.empty((count, 25, 3, 3)), np.empty((count, 25, 3))
        palm = _PALM
        frames[:, palm] = pose.rotation[:, None] @ self.frames[palm]
        joints[:, palm] = pose.translation[:, None] + (self.joints[palm] - self.joints[0]) @ np.swapaxes(
            pose.rotation, 1, 2
        )
        for step, (parents, at, offsets, relative) in enumerate(self._steps):
            before = frames[:, parents]
            joints[:, at] = joints[:, parents] + (before @ offsets)[..., 0]
            after = before @ relative
            frames[:, at] = after @ turns[:, :, step] if step < 3 else after
        return frames, joints

    def keypoints(self, pose: RigPose) -> FloatArray:
        """(N, 21, 3) metres in MediaPipe's order."""
        return self.place(pose)[1][:, KEYPOINTS]

    def points(self, pose: RigPose) -> FloatArray:
        """Vertices (N, V, 3) in metres in a pose, by linear blending."""
        blended = self._blended(*self.place(pose))
        return np.einsum("nvij,vj->nvi", blended[..., :3], self.vertices) + blended[..., 3]

    def skin(self, pose: RigPose) -> tuple[FloatArray, FloatArray]:
        """The same, and normals (N, V, 3)."""
        return self.skin_around(*self.place(pose))

    def skin_around(self, frames: FloatArray, joints: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`skin` around joints that `place` has placed."""
        blended = self._blended(frames, joints)
        turns = blended[..., :3]
        vertices = np.einsum("nvij,vj->nvi", turns, self.vertices) + blended[..., 3]
        normals = np.einsum("nvij,vj->nvi", turns, self.normals)
        return vertices, normals / np.sqrt(np.einsum("nvi,nvi->nv", normals, normals))[..., None]

    def _blended(self, frames: FloatArray, joints: FloatArray) -> FloatArray:
        """(N, V, 3, 4) how each vertex at rest moves."""
        turn = frames @ np.swapaxes(self.frames, 1, 2)
        shift = joints - (turn @ self.joints[..., None])[..., 0]
        blended = self.weights @ np.concatenate([turn, shift[..., None]], -1).reshape(len(frames), 25, 12)
        return blended.reshape(len(frames), -1, 3, 4)

    def _turns(self, angles: FloatArray) -> FloatArray:
        """(N, 5, 3, 3, 3) rotation of each joint from its angles (N, 5, 3, 3)."""
        turn, bend, twist = np.moveaxis(matrix_from_rotation_vector(angles[..., None] * self.axes), -3, 0)
        return turn @ bend @ twist


@dataclass(frozen=True)
class RigMotion:
    """One hand through a video, or in one image.

    Attributes:
        name: of the hand in files, such as "right-1".
        rig: with the hand's own bone lengths, the same in all frames.
        pose: N frames in the camera's axes (x right, y down, z forward), metres.
        indices: (N,) frames of the source, rising.
        times: (N,) seconds, rising; None for an image.
    """

    name: str
    rig: Rig
    pose: RigPose
    indices: IntArray
    times: FloatArray | None = None
