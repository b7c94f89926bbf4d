"""Rigged hands out of GLB files: the WebXR generic hand (MIT), and any other with its 25 joints.

MANO as a rigged hand, so that whatever poses and renders the WebXR hand takes MANO as well.

Its template, joints and skinning weights are taken over. Its shapes and its pose corrections are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import FloatArray
from sonjit.errors import InputError
from sonjit.geometry.rotations import align_rigidly
from sonjit.geometry.triangles import vertex_normals
from sonjit.hand_models.mano_files import LAYOUTS, TO_MEDIAPIPE21
from sonjit.hand_models.mesh_files import Glb
from sonjit.hand_models.rig import FINGERS, JOINTS, KEYPOINTS, PARENTS, Rig, Side
from sonjit.weights import find_weight

_LEAST_UP: Final = 0.5  # cosine between a finger's y axis and the way out of the back of the hand


def load_rig(side: Side, models_dir: str | Path | None = None) -> Rig:
    """The WebXR generic hand, fetched by `sonjit models pull rigs`.

    Raises:
        InputError: the file is not there (the line says how to fetch it) or is not such a hand.
    """
    return _read_once(find_weight(f"hand-rig-{side.lower()}", models_dir))


@lru_cache(maxsize=4)
def _read_once(path: Path) -> Rig:
    return read_rig(path)


def read_rig(path: Path) -> Rig:
    """The first skinned mesh of a file; whose hand it is follows from how its joints lie.

    Args:
        path: a GLB with JOINTS_0 and WEIGHTS_0, its joints named as in WebXR Hand Input (a word may precede them, as
            in `right-1 thumb-tip`) and with the axes of that; metres.

    Raises:
        InputError: no GLB, no skin, a joint that is missing, or other axes.
    """
    glb = Glb(path)
    try:
        nodes: list[dict[str, Any]] = glb.document["nodes"]
        skinned = [node for node in nodes if "skin" in node and "mesh" in node]
        if not skinned:
            raise InputError(f"{path} is not a rigged hand: it has no skinned mesh; export the hand with its skin")
        primitive = glb.document["meshes"][skinned[0]["mesh"]]["primitives"][0]
        skin = glb.document["skins"][skinned[0]["skin"]]
        names = [str(nodes[node]["name"]).rpartition(" ")[2] for node in skin["joints"]]
        if missing := [name for name in JOINTS if name not in names]:
            raise InputError(
                f"{path} is not a rigged hand: without {', '.join(missing)}; name its joints as WebXR Hand Input does"
            )
        order = [names.index(name) for name in JOINTS]
        vertices, moved_by, shares = (
            glb.array(primitive["attributes"][name]) for name in ("POSITION", "JOINTS_0", "WEIGHTS_0")
        )
        vertices = vertices.astype(np.float64)
        faces = glb.array(primitive["indices"]).astype(np.int64).reshape(-1, 3)
        normals = primitive["attributes"].get("NORMAL")
        normals = vertex_normals(vertices, faces) if normals is None else glb.array(normals).astype(np.float64)
        inverse = glb.array(skin["inverseBindMatrices"])[order]
        bind = np.linalg.inv(inverse.astype(np.float64)).astype(np.float64)
        weights = np.zeros((len(vertices), len(names)))
        np.add.at(weights, (np.arange(len(weights))[:, None], moved_by), shares)
        vertices[faces.max()]
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, np.linalg.LinAlgError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not a rigged hand with the 25 WebXR joints ({error}): fetch or export it anew"
        ) from None
    weights = weights[:, order]
    if not np.isfinite(vertices).all() or not np.isfinite(bind).all() or not (weights.sum(1) > 0).all():
        raise InputError(f"{path}: a vertex is not a number or is bound to none of the 25 WebXR joints; bind it to one")
    joints, frames = bind[:, :3, 3], bind[:, :3, :3]
    if np.abs(frames.swapaxes(1, 2) @ frames - np.eye(3)).max() > 0.01:
        raise InputError(f"{path}: its joints are scaled; apply the scale before the export")
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
    """Frames (25, 3, 3) whose z is exactly the bone to the next joint (25, 3); tips take their bone's."""
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
    """(3,) unit vector out of the back of a hand of joints (25, 3)."""
    index, middle, little = joints[[FINGERS[1][0], FINGERS[2][0], FINGERS[4][0]]]
    out = np.cross(middle - joints[0], index - little)
    return np.asarray(out / np.linalg.norm(out) * (1 if side == "Right" else -1), np.float64)


def _side(path: Path, joints: FloatArray, frames: FloatArray) -> Side:
    """Whose hand it is: y points out of its back."""
    up = frames[[joint for chain in FINGERS[1:] for joint in chain[:2]], :, 1] @ out_of_back(joints, "Right")
    if (up > _LEAST_UP).all():
        return "Right"
    if (up < -_LEAST_UP).all():
        return "Left"
    raise InputError(
        f"{path}: its joints do not have WebXR's axes: x to bend about, y out of the back of the hand, z back along the"
        " bone"
    )


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


def _bends(mean: FloatArray, joints: FloatArray) -> FloatArray:
    """(3,) where the fingers' bones go in MANO's mean pose (45,), a hand half closed."""
    turns = np.zeros((21, 3))
    turns[: len(TO_MEDIAPIPE21) - 5] = np.concatenate([np.zeros((1, 3)), mean.reshape(-1, 3)])
    turns = turns[list(TO_MEDIAPIPE21)][5:].reshape(4, 4, 3)[:, :3]  # the thumb bends another way
    bones = np.diff(joints[list(FINGERS[1:])], axis=1)
    return np.asarray(np.cross(turns, bones).sum((0, 1)), np.float64)
