"""Load rigged hands from GLB files with the 25 joints of WebXR, and convert MANO to a rigged hand.

A rig of MANO has its template, joints and skinning weights, but not its shapes and pose corrections. It can be posed
and rendered like the WebXR generic hand (MIT).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit._util.glb import Glb
from sonjit.geometry.rotations import align_rigidly, vertex_normals
from sonjit.lab.hand_models.mano_files import LAYOUTS, TO_MEDIAPIPE21
from sonjit.lab.hand_models.rig import FINGERS, JOINTS, KEYPOINTS, PARENTS, Rig, Side
from sonjit.weights import find_weight

_MIN_UP: Final = 0.5  # minimum cosine between a finger's y axis and the direction out of the back of the hand


_PALM: Final = [0, *(chain[0] for chain in FINGERS)]
_METACARPAL_BASE: Final = 0.35  # start of a metacarpal as a fraction of the way from the wrist to the knuckle


def load_rig(side: Side, models_dir: str | Path | None = None) -> Rig:
    """Load the WebXR generic hand, which `sonjit models pull rigs` downloads.

    Raises:
        InputError: The file is missing (the message has the command that downloads it) or is not such a hand.
    """
    return _read_once(find_weight(f"hand-rig-{side.lower()}", models_dir))


@lru_cache(maxsize=4)
def _read_once(path: Path) -> Rig:
    return read_rig(path)


def read_rig(path: Path) -> Rig:
    """Read the first skinned mesh of a file; the positions of its joints determine the side.

    Args:
        path: Path of a GLB file with JOINTS_0 and WEIGHTS_0, in metres. Its joints have the names and axes of WebXR
            Hand Input; a word may precede the names, as in `right-1 thumb-tip`.

    Raises:
        InputError: The file is not a GLB file, has no skin, lacks a joint, or has other axes.
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
            raise InputError(
                f"{path} is not a rigged hand: {', '.join(missing)} missing. Use the joint names of WebXR Hand Input."
            )
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
        raise InputError(
            f"{path} is not a rigged hand with the 25 WebXR joints ({error}). Download or export it again."
        ) from None
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
    """Return frames (25, 3, 3) whose z is the bone to the next joint (25, 3); tips have the frame of their bone."""
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
    """Convert MANO's flat hand to a rig with the 25 joints of WebXR: 16 joints, tip vertices, four metacarpal bases.

    The bases are between the wrist and the knuckles and move nothing. Joints have the axes of another rig, rotated with
    their bones.

    Args:
        fields: Fields from `read_mano`.
        plain: Rig of the same side, which gives the axes.

    Raises:
        InputError: The mean pose bends the fingers like those of the other side.
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


def _bend_direction(mean: FloatArray, joints: FloatArray) -> FloatArray:
    """Return the direction (3,) in which the finger bones bend in MANO's mean pose (45,), a half-closed hand."""
    turns = np.zeros((21, 3))
    turns[: len(TO_MEDIAPIPE21) - 5] = np.concatenate([np.zeros((1, 3)), mean.reshape(-1, 3)])
    turns = turns[list(TO_MEDIAPIPE21)][5:].reshape(4, 4, 3)[:, :3]  # without the thumb, which bends differently
    bones = np.diff(joints[list(FINGERS[1:])], axis=1)
    return np.asarray(np.cross(turns, bones).sum((0, 1)), np.float64)
