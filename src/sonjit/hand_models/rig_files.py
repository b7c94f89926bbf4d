"""Rigged hands out of GLB files: the WebXR generic hand (MIT), and any other with its 25 joints."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.geometry.triangles import vertex_normals
from sonjit.hand_models.glb import Glb
from sonjit.hand_models.rig import FINGERS, JOINTS, PARENTS, Rig
from sonjit.weights import find_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Side

_LEAST_UP: Final = 0.5  # cosine between a finger's y axis and the way out of the back of the hand


def load_rig(side: Side, models_dir: str | Path | None = None) -> Rig:
    """The WebXR generic hand, fetched by `sonjit models pull rigs`.

    Raises:
        InputError: the file is not there (the line says how to fetch it) or is no such hand.
    """
    return _read_once(find_weight(f"hand-rig-{side.lower()}", models_dir))


@lru_cache(maxsize=4)
def _read_once(path: Path) -> Rig:
    return read_rig(path)


def read_rig(path: Path) -> Rig:
    """The first skinned mesh of a file; whose hand it is shows in how its joints stand.

    Args:
        path: a GLB with JOINTS_0 and WEIGHTS_0, its joints named as in WebXR Hand Input (a word may stand before, as
            in `right-1 thumb-tip`) and with the axes of that; metres.

    Raises:
        InputError: no GLB, no skin, a joint that is missing, or other axes.
    """
    glb = Glb(path)
    try:
        nodes: list[dict[str, Any]] = glb.document["nodes"]
        skinned = [node for node in nodes if "skin" in node and "mesh" in node]
        if not skinned:
            raise InputError(f"{path} is no rigged hand: it has no skinned mesh; export the hand with its skin")
        primitive = glb.document["meshes"][skinned[0]["mesh"]]["primitives"][0]
        skin = glb.document["skins"][skinned[0]["skin"]]
        names = [str(nodes[node]["name"]).rpartition(" ")[2] for node in skin["joints"]]
        if missing := [name for name in JOINTS if name not in names]:
            raise InputError(
                f"{path} is no rigged hand: without {', '.join(missing)}; name its joints as WebXR Hand Input does"
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
            f"{path} is no rigged hand with the 25 WebXR joints ({error}): fetch or export it anew"
        ) from None
    weights = weights[:, order]
    if not np.isfinite(vertices).all() or not np.isfinite(bind).all() or not (weights.sum(1) > 0).all():
        raise InputError(f"{path}: a vertex is no number or hangs on none of the 25 WebXR joints; bind it to one")
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


def bone_frames(frames: NDArray[np.float64], joints: NDArray[np.float64]) -> NDArray[np.float64]:
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


def out_of_back(joints: NDArray[np.float64], side: Side) -> NDArray[np.float64]:
    """(3,) unit vector out of the back of a hand of joints (25, 3)."""
    index, middle, little = joints[[FINGERS[1][0], FINGERS[2][0], FINGERS[4][0]]]
    out = np.cross(middle - joints[0], index - little)
    return np.asarray(out / np.linalg.norm(out) * (1 if side == "Right" else -1), np.float64)


def _side(path: Path, joints: NDArray[np.float64], frames: NDArray[np.float64]) -> Side:
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
