"""A rigged hand: its skeleton, skin, poses and file, and its fit to keypoints.

Joint frames are those of WebXR Hand Input: the joint bends about x, y points out of the back of the hand, z points back
along the bone. A rig of MANO has its template, joints and skinning weights, but not its shapes and pose corrections.
Inverse kinematics fit the hand to 21 keypoints, with fixed bone lengths, joint limits and smooth motion. Only the first
joint of each finger may twist, a little and against a prior, so that the hinges beyond it agree with their keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import FloatArray, IndexArray, InputError, IntArray, RealArray
from sonjit._util.glb import Glb
from sonjit.geometry.rotations import align_rigidly, cross_matrices, matrix_from_rotation_vector, vertex_normals
from sonjit.media.tables.characters import FINGER_LIMITS, FINGER_PARTS, NAMES, BoneNames
from sonjit.weights import find_weight
from sonjit_lab.hand_models.mano_files import LAYOUTS, TO_MEDIAPIPE21

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
"""Three moving joints and the tip of each finger, thumb first; after the wrist, this is the order of MediaPipe-21."""
KEYPOINTS: Final = (0, *(joint for finger in FINGERS for joint in finger))
"""Index of the joint of each of MediaPipe's 21 keypoints."""
_ENDS: Final[dict[BoneNames, tuple[tuple[str, str], tuple[str, str]]]] = {
    "vrm": (("Proximal", "Metacarpal"), ("Distal", "Tip")),
    "mixamo": (("1", "0"), ("3", "4")),
    "unreal": (("_01_", "_metacarpal_"), ("_03_", "_tip_")),
    "webxr": (("phalanx-proximal", "metacarpal"), ("phalanx-distal", "tip")),
}
"""How the names of a finger's metacarpal and tip differ from those of its first and last bone."""
_FINGERS = np.array(FINGERS)
_PALM = [0, 5, 10, 15, 20]
_FLIP: Final = np.array([-1.0, 1.0, 1.0])
_MIN_UP: Final = 0.5  # minimum cosine between a finger's y axis and the direction out of the back of the hand
_PALM_JOINTS: Final = [0, *(chain[0] for chain in FINGERS)]
_METACARPAL_BASE: Final = 0.35  # start of a metacarpal as a fraction of the way from the wrist to the knuckle
_PALM_KEYPOINTS: Final = [0, 1, 5, 9, 13, 17]  # keypoints that no finger joint moves
_MAX_LINK_S: Final = 0.25  # frames further apart in time are independent
_KEYPOINT_M: Final = 0.003  # standard deviation of the keypoints
_STEP_RAD: Final = 0.15  # standard deviation of an angle from the mean of its neighbours in time
_ITERATIONS: Final = 10
_KNUCKLE_SHARE: Final = 0.5  # share of the median offset of first finger joints that the rig follows
_MAX_KNUCKLE_SHIFT: Final = 0.15  # of a first finger joint, as a share of wrist to middle knuckle


def joint_names(side: Side, bones: BoneNames) -> tuple[str, ...]:
    """Return the names of the 25 joints in the order of `JOINTS`, as in characters.

    `side`: the person's own hand; `bones`: convention of the names.

    >>> joint_names("Left", "vrm")[:6]
    ('leftHand', 'leftThumbMetacarpal', 'leftThumbProximal', 'leftThumbDistal', 'leftThumbTip', 'leftIndexMetacarpal')
    """
    prefix = side.lower()
    metacarpal, tip = _ENDS[bones]
    names = NAMES[bones]
    names_of_joints = [names[f"{prefix}Hand"]]
    for finger, phalanges in FINGER_PARTS.items():
        chain = [names[f"{prefix}{finger}{part}"] for part in phalanges]
        names_of_joints += [] if finger == "Thumb" else [chain[0].replace(*metacarpal)]
        names_of_joints += [*chain, chain[-1].replace(*tip)]
    return tuple(names_of_joints)


@dataclass(frozen=True)
class RigPose:
    """Poses of a rig in N frames."""

    rotation: FloatArray  # (N, 3, 3) rotation of the hand from the rig's rest axes
    translation: FloatArray  # (N, 3) position of the wrist in metres
    # (N, 5, 3, 3) radians from the rest pose: per finger, thumb first, and joint from the palm outwards, the turn
    # towards the thumb, the bend towards the palm and the twist about the bone; applied as twist, bend, turn
    angles: FloatArray

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, frame: int) -> RigPose:
        """Return one frame as a pose with N = 1."""
        part = slice(frame, frame + 1)
        return RigPose(self.rotation[part], self.translation[part], self.angles[part])

    def shifted(self, translation: RealArray) -> RigPose:
        """Return the pose with (N, 3) metres added to its translation."""
        return replace(self, translation=self.translation + translation)


class _Step(NamedTuple):
    """Offsets and rotations between consecutive joints of all fingers at rest, in the parents' axes."""

    parents: IndexArray  # (5,)
    joints: IndexArray  # (5,)
    offsets: FloatArray  # (5, 3, 1)
    turns: FloatArray  # (5, 3, 3)


@dataclass(frozen=True, eq=False)
class Rig:
    """A skinned hand at rest."""

    side: Side  # the person's own hand
    joints: FloatArray  # (25, 3) metres
    frames: FloatArray  # (25, 3, 3) axes of the joints as columns
    vertices: FloatArray  # (V, 3) metres
    normals: FloatArray  # (V, 3)
    faces: IntArray  # (F, 3) indices, counterclockwise from outside
    weights: FloatArray  # (V, 25) share of each joint in each vertex

    @property
    def lengths(self) -> FloatArray:
        """(20,) metres from each of MediaPipe's keypoints except the wrist to its parent."""
        return np.linalg.norm(np.diff(self._chains, axis=1), axis=-1).reshape(-1)

    @property
    def axes(self) -> FloatArray:
        """(3, 3) axes of turn, bend and twist in a joint's frame, one in each row."""
        side = 1.0 if self.side == "Right" else -1.0
        return np.array([[0, side, 0], [-1, 0, 0], [0, 0, side]], np.float64)

    @property
    def _chains(self) -> FloatArray:
        """(5, 5, 3) positions of the wrist and the joints of each finger."""
        return np.concatenate([np.broadcast_to(self.joints[0], (5, 1, 3)), self.joints[_FINGERS]], 1)

    @cached_property
    def _steps(self) -> tuple[_Step, ...]:
        """The steps from the wrist to the tips, computed once because every pose needs them."""
        steps: list[_Step] = []
        for step in range(4):
            joints = _FINGERS[:, step]
            parents = np.zeros(5, np.intp) if step == 0 else _FINGERS[:, step - 1]
            back = np.swapaxes(self.frames[parents], -1, -2)
            offsets = back @ (self.joints[joints] - self.joints[parents])[..., None]
            steps.append(_Step(parents, joints, offsets, back @ self.frames[joints]))
        return tuple(steps)

    def resized(self, lengths: RealArray) -> Rig:
        """Return the same hand with bones of (20,) metres, in the order of the property `lengths`; the skin grows with
        them.

        The skin stretches along each bone with it, and across it, and beyond the last joint of a finger, by the mean
        growth.
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
        shifted = joints[:, None] + (self.vertices - self.joints[:, None]) @ stretch  # (25, V, 3); symmetric stretch
        return replace(self, joints=joints, vertices=np.einsum("vj,jvc->vc", self.weights, shifted))

    def with_shifted_fingers(self, offsets: RealArray) -> Rig:
        """Return the hand with fingers and skin shifted at rest by (5, 3) metres in its axes, thumb first."""
        shifts = np.zeros((25, 3))
        shifts[_FINGERS] = np.asarray(offsets, np.float64)[:, None]
        return replace(self, joints=self.joints + shifts, vertices=self.vertices + self.weights @ shifts)

    def mirrored(self) -> Rig:
        """Return the other side's hand, mirrored in x: the same angles give the mirrored pose."""
        return Rig(
            "Left" if self.side == "Right" else "Right",
            joints=self.joints * _FLIP,
            frames=_FLIP[:, None] * self.frames * _FLIP,  # y and z keep their meaning, x turns to stay right-handed
            vertices=self.vertices * _FLIP,
            normals=self.normals * _FLIP,
            faces=self.faces[:, [0, 2, 1]],
            weights=self.weights,
        )

    def joint_frames(self, pose: RigPose) -> tuple[FloatArray, FloatArray]:
        """Return the axes (N, 25, 3, 3) and positions (N, 25, 3) of the joints in a pose."""
        count = len(pose)
        turn, bend, twist = np.moveaxis(matrix_from_rotation_vector(pose.angles[..., None] * self.axes), -3, 0)
        turns = turn @ bend @ twist  # (N, 5, 3, 3, 3)
        frames, joints = np.empty((count, 25, 3, 3)), np.empty((count, 25, 3))
        palm = _PALM
        frames[:, palm] = pose.rotation[:, None] @ self.frames[palm]
        joints[:, palm] = pose.translation[:, None] + (self.joints[palm] - self.joints[0]) @ np.swapaxes(
            pose.rotation, 1, 2
        )
        for step, (parents, children, offsets, relative) in enumerate(self._steps):
            before = frames[:, parents]
            joints[:, children] = joints[:, parents] + (before @ offsets)[..., 0]
            after = before @ relative
            frames[:, children] = after @ turns[:, :, step] if step < 3 else after
        return frames, joints

    def keypoints(self, pose: RigPose) -> FloatArray:
        """Return (N, 21, 3) metres in MediaPipe's order."""
        return self.joint_frames(pose)[1][:, KEYPOINTS]

    def points(self, pose: RigPose) -> FloatArray:
        """Return the vertices (N, V, 3) of a pose in metres, by linear blending."""
        blended = self._blend_transforms(*self.joint_frames(pose))
        return np.einsum("nvij,vj->nvi", blended[..., :3], self.vertices) + blended[..., 3]

    def skin(self, pose: RigPose) -> tuple[FloatArray, FloatArray]:
        """Return the vertices (N, V, 3) of a pose in metres, and their normals (N, V, 3)."""
        return self.skin_around(*self.joint_frames(pose))

    def skin_around(self, frames: FloatArray, joints: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return vertices (N, V, 3) in metres and normals as `skin` does, from the output of `joint_frames`.

        Axes are (N, 25, 3, 3) and positions (N, 25, 3) in metres.
        """
        blended = self._blend_transforms(frames, joints)
        turns = blended[..., :3]
        vertices = np.einsum("nvij,vj->nvi", turns, self.vertices) + blended[..., 3]
        normals = np.einsum("nvij,vj->nvi", turns, self.normals)
        return vertices, normals / np.sqrt(np.einsum("nvi,nvi->nv", normals, normals))[..., None]

    def _blend_transforms(self, frames: FloatArray, joints: FloatArray) -> FloatArray:
        """Return the affine transform (N, V, 3, 4) of each vertex from the rest pose."""
        turn = frames @ np.swapaxes(self.frames, 1, 2)
        shift = joints - (turn @ self.joints[..., None])[..., 0]
        blended = self.weights @ np.concatenate([turn, shift[..., None]], -1).reshape(len(frames), 25, 12)
        return blended.reshape(len(frames), -1, 3, 4)


@dataclass(frozen=True)
class RigMotion:
    """One hand in a video or an image.

    Attributes:
        name: Name of the hand in files, such as "right-1".
        rig: Rig with the hand's own bone lengths, the same in all frames.
        pose: N frames in the camera's axes (x right, y down, z forward), metres.
        indices: (N,) increasing frame indices of the source.
        times: (N,) increasing seconds; None for an image.
    """

    name: str
    rig: Rig
    pose: RigPose
    indices: IntArray
    times: FloatArray | None = None


def load_rig(side: Side, models_dir: str | Path | None = None) -> Rig:
    """Load the WebXR generic hand, which `sonjit models pull rigs` downloads."""
    return _read_once(find_weight(f"hand-rig-{side.lower()}", models_dir))


@lru_cache(maxsize=4)
def _read_once(path: Path) -> Rig:
    return read_rig(path)


def read_rig(path: Path) -> Rig:
    """Read the first skinned mesh of a GLB file in metres; the positions of its joints determine the side.

    Its joints have the names and axes of WebXR Hand Input; a word may precede the names, as in `right-1 thumb-tip`.
    """
    glb = Glb(path)
    try:
        nodes: list[dict[str, Any]] = glb.document["nodes"]
        skinned = [node for node in nodes if "skin" in node and "mesh" in node]
        if not skinned:
            raise InputError(f"{path} is not a rigged hand: it has no skinned mesh. Export the hand with its skin.")
        primitive = glb.document["meshes"][skinned[0]["mesh"]]["primitives"][0]
        skin = glb.document["skins"][skinned[0]["skin"]]
        names = [str(nodes[node]["name"]).rpartition(" ")[2] for node in skin["joints"]]
        if missing := [name for name in JOINTS if name not in names]:
            raise InputError(f"{path} is not a rigged hand: {', '.join(missing)} missing. Use WebXR's names.")
        order = [names.index(name) for name in JOINTS]
        vertices, joint_indices, shares = (
            glb.array(primitive["attributes"][name]) for name in ("POSITION", "JOINTS_0", "WEIGHTS_0")
        )
        vertices = vertices.astype(np.float64)
        faces = glb.array(primitive["indices"]).astype(np.int64).reshape(-1, 3)
        normals = primitive["attributes"].get("NORMAL")
        normals = vertex_normals(vertices, faces) if normals is None else glb.array(normals).astype(np.float64)
        inverse = glb.array(skin["inverseBindMatrices"])[order]
        bind = np.linalg.inv(inverse.astype(np.float64)).astype(np.float64)
        weights = np.zeros((len(vertices), len(names)))
        np.add.at(weights, (np.arange(len(weights))[:, None], joint_indices), shares)
        vertices[faces.max()]
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, np.linalg.LinAlgError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a rigged hand with the 25 WebXR joints ({error}). Get it again.") from None
    weights = weights[:, order]
    if not np.isfinite(vertices).all() or not np.isfinite(bind).all() or not (weights.sum(1) > 0).all():
        raise InputError(f"{path}: a vertex is NaN or bound to none of the 25 WebXR joints. Bind it to a joint.")
    joints, frames = bind[:, :3, 3], bind[:, :3, :3]
    if np.abs(frames.swapaxes(1, 2) @ frames - np.eye(3)).max() > 0.01:
        raise InputError(f"{path}: the joints are scaled. Apply the scale before the export.")
    frames = bone_frames(frames, joints)
    return Rig(
        _side(path, joints, frames),
        joints=joints,
        frames=frames,
        vertices=vertices,
        normals=normals,
        faces=faces,
        weights=weights / weights.sum(1, keepdims=True),
    )


def bone_frames(frames: FloatArray, joints: FloatArray) -> FloatArray:
    """Return frames (25, 3, 3) whose z is the bone to the next joint (25, 3) in metres.

    Tips have the frame of their bone.
    """
    frames = frames.copy()
    for joint, parent in enumerate(PARENTS):
        if parent > 0:
            z = joints[parent] - joints[joint]
            z /= np.linalg.norm(z)
            x = frames[parent, :, 0] - z * (frames[parent, :, 0] @ z)
            x /= np.linalg.norm(x)
            frames[parent] = np.stack([x, np.cross(z, x), z], -1)
    for chain in FINGERS:
        frames[chain[3]] = frames[chain[2]]
    return frames


def out_of_back(joints: FloatArray, side: Side) -> FloatArray:
    """Return the unit vector (3,) out of the back of a hand with joints (25, 3)."""
    index, middle, little = joints[[FINGERS[1][0], FINGERS[2][0], FINGERS[4][0]]]
    out = np.cross(middle - joints[0], index - little)
    return np.asarray(out / np.linalg.norm(out) * (1 if side == "Right" else -1), np.float64)


def _side(path: Path, joints: FloatArray, frames: FloatArray) -> Side:
    """Return the side of a hand: y points out of its back."""
    up = frames[[joint for chain in FINGERS[1:] for joint in chain[:2]], :, 1] @ out_of_back(joints, "Right")
    if (up > _MIN_UP).all():
        return "Right"
    if (up < -_MIN_UP).all():
        return "Left"
    raise InputError(
        f"{path}: the joints do not have the axes of WebXR: x is the bending axis, y points out of the back of the "
        "hand, z back along the bone"
    )


def rig_from_mano(fields: Mapping[str, NDArray[Any]], plain: Rig) -> Rig:
    """Convert MANO's flat hand (778, 3) in metres, fields of `read_mano`, to a rig with the 25 joints of WebXR.

    The four metacarpal bases lie between wrist and knuckles and move nothing. Joints have the axes of `plain`, a rig of
    the same side, rotated with their bones.
    """
    template, count = fields["v_template"], len(fields["v_template"])
    layout = LAYOUTS["handoccnet"]
    tips = template[list(layout.right if plain.side == "Right" else layout.left)]
    joints, weights = np.zeros((25, 3)), np.zeros((count, 25))
    joints[list(KEYPOINTS)] = np.concatenate([fields["J_regressor"] @ template, tips])[list(TO_MEDIAPIPE21)]
    weights[:, KEYPOINTS] = np.concatenate([fields["weights"], np.zeros((count, len(tips)))], 1)[:, TO_MEDIAPIPE21]
    for chain in FINGERS[1:]:
        joints[chain[0] - 1] = joints[0] + _METACARPAL_BASE * (joints[chain[0]] - joints[0])
    if _bend_direction(fields["hands_mean"], joints) @ out_of_back(joints, plain.side) > 0:
        raise InputError(f"the fingers bend like those of the other hand: this is not MANO's {plain.side.lower()} hand")
    rotation, _ = align_rigidly(plain.joints[_PALM_JOINTS], joints[_PALM_JOINTS])
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


def _bend_direction(mean: FloatArray, joints: FloatArray) -> FloatArray:
    """Return the direction (3,) in which the finger bones bend in MANO's mean pose (45,), a half-closed hand."""
    turns = np.zeros((21, 3))
    turns[: len(TO_MEDIAPIPE21) - 5] = np.concatenate([np.zeros((1, 3)), mean.reshape(-1, 3)])
    turns = turns[list(TO_MEDIAPIPE21)][5:].reshape(4, 4, 3)[:, :3]  # without the thumb, which bends differently
    bones = np.diff(joints[list(FINGERS[1:])], axis=1)
    return np.asarray(np.cross(turns, bones).sum((0, 1)), np.float64)


class FreeJoints(NamedTuple):
    """The P free angles and their limits."""

    which: tuple[IndexArray, ...]  # finger, joint, angle
    low: FloatArray  # (P,) rad
    high: FloatArray
    spread: FloatArray


def fit_lengths(rig: Rig, keypoints: RealArray) -> FloatArray:
    """Return the bone lengths (20,) in metres of keypoints (N, 21, 3): medians within 0.6 to 1.6 times the mean growth.

    The last bone of a finger may have 0.5 to 3 times the rig's length, because the tip keypoint may differ.
    """
    keypoints = _check_keypoints(keypoints)
    chains = keypoints[:, np.array([[0, *range(1 + 4 * f, 5 + 4 * f)] for f in range(5)])]
    seen = np.median(np.linalg.norm(np.diff(chains, axis=2), axis=-1), axis=0)  # (5, 4)
    rest = rig.lengths.reshape(5, 4)
    mean = seen[:, :3].sum() / rest[:, :3].sum()
    low, high = np.array([0.6, 0.6, 0.6, 0.5]), np.array([1.6, 1.6, 1.6, 3.0])
    return np.clip(seen, mean * low * rest, mean * high * rest).reshape(-1)


def fit_knuckles(rig: Rig, keypoints: RealArray) -> Rig:
    """Return a rig with its fingers halfway to the median places in the palm of keypoints (N, 21, 3) in metres."""
    keypoints = _check_keypoints(keypoints)
    rest = rig.joints[[0, *(finger[0] for finger in FINGERS)]]
    rotation, shift = align_rigidly(rest, keypoints[:, _PALM_KEYPOINTS])
    places = np.median((keypoints[:, _PALM_KEYPOINTS] - shift[:, None]) @ rotation, axis=0) - rest
    offsets = _KNUCKLE_SHARE * (places[1:] - places[0])
    longest = _MAX_KNUCKLE_SHIFT * np.linalg.norm(rest[3] - rest[0])
    return rig.with_shifted_fingers(
        offsets * np.minimum(1, longest / np.linalg.norm(offsets, axis=1).clip(1e-9))[:, None]
    )


def fit_pose(rig: Rig, keypoints: RealArray, times: RealArray | None = None) -> RigPose:
    """Return the pose with the nearest keypoints (N, 21, 3) in each frame, in metres.

    The directions of the bones give an initial pose of a rig with the correct bone lengths. Damped Gauss-Newton steps
    over all frames refine it. Frames that are close in time (N,) are smoothed; None fits each frame independently.
    """
    keypoints = _check_keypoints(keypoints)
    joints = free_joints(rig)
    pose = _initial_pose(rig, keypoints, joints)
    links = np.zeros(len(keypoints) + 1)  # between each frame and the previous one
    if times is not None:
        links[1:-1] = np.diff(times) < _MAX_LINK_S
    for _ in range(_ITERATIONS):
        pose = _refine(rig, keypoints, pose, joints, links)
    return pose


def _initial_pose(rig: Rig, keypoints: FloatArray, joints: FreeJoints) -> RigPose:
    """Align the palm to its keypoints, then rotate each joint so that its bone has the right direction."""
    rest = rig.joints[[0, *(finger[0] for finger in FINGERS)]]
    rotation, shift = align_rigidly(rest, keypoints[:, _PALM_KEYPOINTS])
    translation = shift + rotation @ rig.joints[0]
    pose = RigPose(rotation, translation, np.zeros((len(keypoints), 5, 3, 3)))
    chains = keypoints[:, 1:].reshape(-1, 5, 4, 3)
    side = rig.axes[0, 1]
    bounds = joint_limits(joints)
    for step in range(3):
        frames = rig.joint_frames(pose)[0][:, [finger[step] for finger in FINGERS]]
        x, y, z = np.moveaxis((chains[:, :, step + 1] - chains[:, :, step])[..., None, :] @ frames, -1, 0)[..., 0]
        over = np.where(z > 0, -1.0, 1.0)  # bent by more than a right angle
        if step == 0:
            pose.angles[:, :, 0, 0] = side * np.arctan2(-x * over, -z * over)
            pose.angles[:, :, 0, 1] = np.arctan2(-y, over * np.hypot(x, z))
        else:
            pose.angles[:, :, step, 1] = np.arctan2(-y, -z)
        np.clip(pose.angles, *bounds, out=pose.angles)
    return pose


def _refine(rig: Rig, keypoints: FloatArray, pose: RigPose, joints: FreeJoints, links: FloatArray) -> RigPose:
    """Take one damped Gauss-Newton step on all frames and clip the angles to their limits."""
    slopes, errors = _slopes(rig, keypoints, pose, joints)
    count = len(joints.low)
    values = pose.angles[:, *joints.which]
    before, after = links[:-1, None], links[1:, None]
    near = before * np.roll(values, 1, 0) + after * np.roll(values, -1, 0)
    near = np.where(before + after > 0, near / np.maximum(before + after, 1), values)
    calm = (_KEYPOINT_M / _STEP_RAD) ** 2 * (before + after) / 2
    prior = (_KEYPOINT_M / joints.spread) ** 2
    weight, pull = np.full((len(pose), 6 + count), 1e-9), np.zeros((len(pose), 6 + count))
    weight[:, 6:] += prior + calm
    pull[:, 6:] = calm * (near - values) - prior * values
    transposed = np.swapaxes(slopes, 1, 2)
    normal = transposed @ slopes
    normal[:, range(6 + count), range(6 + count)] += weight
    step = np.linalg.solve(normal, transposed @ errors[..., None] + pull[..., None])[..., 0]
    angles = pose.angles.copy()
    angles[:, *joints.which] = np.clip(values + step[:, 6:], joints.low, joints.high)
    return RigPose(matrix_from_rotation_vector(step[:, :3]) @ pose.rotation, pose.translation + step[:, 3:6], angles)


def _slopes(rig: Rig, keypoints: FloatArray, pose: RigPose, joints: FreeJoints) -> tuple[FloatArray, FloatArray]:
    """Return the derivatives (N, 63, 6 + P) of the keypoints, and their errors (N, 63)."""
    frames, positions = rig.joint_frames(pose)
    chains, count = positions[:, FINGERS], len(pose)  # (N, 5, 4, 3)
    fitted = positions[:, KEYPOINTS]
    slopes = np.zeros((count, 21, 3, 6 + len(joints.low)))
    slopes[..., :3] = -cross_matrices(fitted - pose.translation[:, None])
    slopes[..., 3:6] = np.eye(3)
    axes = turn_axes(rig, frames[:, FINGERS][:, :, :3], pose.angles)  # (N, 5, 3, 3 angles, 3)
    arms = chains[:, :, None] - chains[:, :, :3, None]  # (N, 5, from joint, to keypoint, 3)
    finger, joint, angle = joints.which
    moves = np.cross(axes[:, finger, joint, angle][:, :, None], arms[:, finger, joint])  # (N, P, 4, 3)
    moves *= (np.arange(4) > joint[:, None])[..., None]
    for number, chain in enumerate(finger):
        slopes[:, 1 + 4 * chain : 5 + 4 * chain, :, 6 + number] = moves[:, number]
    return slopes.reshape(count, 63, -1), (keypoints - fitted).reshape(count, 63)


def turn_axes(rig: Rig, frames: FloatArray, angles: FloatArray) -> FloatArray:
    """Return the world axes (N, 5, 3, 3, 3) of all angles (N, 5, 3, 3), radians, from the frames after them.

    Twist moves with bend, and both move with turn.
    """
    turn, bend, twist = rig.axes
    untwist = matrix_from_rotation_vector(-angles[..., 2, None] * twist)
    unbend = matrix_from_rotation_vector(-angles[..., 1, None] * bend)
    local = np.stack([untwist @ unbend @ turn, untwist @ bend, np.broadcast_to(twist, angles.shape)], -2)
    return local @ np.swapaxes(frames, -1, -2)


@lru_cache(maxsize=8)
def free_joints(rig: Rig) -> FreeJoints:
    """Return the free angles, with bends relative to the rig's rest pose."""
    low, high, spread = np.deg2rad(np.moveaxis(np.array(FINGER_LIMITS, np.float64), -1, 0))  # each (5, 3, 3)
    for finger, chain in enumerate(FINGERS):
        for step in range(1 if finger == 0 else 0, 3):  # the thumb's first joint has no straight pose
            parent = chain[step] - 1  # in the fingers, the metacarpal precedes the first joint
            _, y, z = rig.frames[chain[step]][:, 2] @ rig.frames[parent]
            rest = np.arctan2(y, z)
            low[finger, step, 1] -= rest
            high[finger, step, 1] -= rest
    index = np.nonzero(spread)
    return FreeJoints(index, low[index], high[index], spread[index])


def joint_limits(joints: FreeJoints) -> tuple[FloatArray, FloatArray]:
    """Return the minimum and maximum of all angles (5, 3, 3); those that are not free stay zero."""
    low, high = np.zeros((5, 3, 3)), np.zeros((5, 3, 3))
    low[joints.which], high[joints.which] = joints.low, joints.high
    return low, high


def _check_keypoints(keypoints: RealArray) -> FloatArray:
    keypoints = np.asarray(keypoints, np.float64)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (21, 3) or not len(keypoints):
        raise InputError(f"keypoints have shape {keypoints.shape}; expected (N, 21, 3) metres, at least one frame")
    if not np.isfinite(keypoints).all():
        raise InputError("keypoints contain NaN or infinity; remove the frames without a hand")
    return keypoints
