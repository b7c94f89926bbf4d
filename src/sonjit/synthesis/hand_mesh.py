"""The rig as hands are made of it: one closed mesh, finer than the file's, and the left hand the right one's mirror.

The file splits vertices where its texture has seams. Here they are joined, and each triangle is divided once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.geometry.triangles import vertex_normals
from sonjit.hand_models.rig import Rig
from sonjit.hand_models.rig_files import load_rig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Side

_FLIP: Final = np.array([-1.0, 1.0, 1.0])


@lru_cache(maxsize=8)
def load_hand_mesh(side: Side, models_dir: str | Path | None = None) -> Rig:
    """The rig at rest.

    Raises:
        InputError: the rig's file is not there.
    """
    return hand_mesh_from_rig(load_rig("Right", models_dir), side)


def hand_mesh_from_rig(rig: Rig, side: Side) -> Rig:
    """The same of any rig; the other side is its mirror."""
    vertices, weights, faces = _welded(rig)
    values = np.concatenate([vertices, weights], 1)
    fine, fine_faces = _divided(values, faces)
    # dividing rounds the hand off; what the old vertices lost is given back to all
    lost, _ = _divided(values - fine[: len(values)], faces)
    fine[:, :3] += lost[:, :3]
    made = replace(
        rig,
        vertices=fine[:, :3],
        normals=vertex_normals(fine[:, :3], fine_faces),
        faces=fine_faces,
        weights=fine[:, 3:] / fine[:, 3:].sum(1, keepdims=True),
    )
    return made if side == rig.side else _mirrored(made)


def coarse_faces(rig: Rig) -> NDArray[np.int64]:
    """(F / 4, 3) faces over the vertices that the mesh had before it was divided: its first ones."""
    return rig.faces.reshape(-1, 4, 3)[:, :3, 0]


def _mirrored(rig: Rig) -> Rig:
    """The other side's hand, mirrored in x: the same angles bend it to the mirrored pose."""
    frames = _FLIP[:, None] * rig.frames * _FLIP  # y and z keep their meaning, x turns to stay right-handed
    return Rig(
        "Left" if rig.side == "Right" else "Right",
        joints=rig.joints * _FLIP,
        frames=frames,
        vertices=rig.vertices * _FLIP,
        normals=rig.normals * _FLIP,
        faces=rig.faces.reshape(-1, 4, 3)[:, [0, 2, 1, 3]][..., [0, 2, 1]].reshape(-1, 3),
        weights=rig.weights,
    )


def _welded(rig: Rig) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (V, 3), weights (V, 25) and faces without doubles."""
    _, first, same = np.unique(rig.vertices.round(7), axis=0, return_index=True, return_inverse=True)
    return rig.vertices[first], rig.weights[first], same.reshape(-1)[rig.faces].astype(np.int64)


def _divided(values: NDArray[np.float64], faces: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each triangle in four by Loop's rules (1987) with Warren's weights: values (V, C) -> (V + E, C), faces (4 F, 3).

    Of the four faces of one, the first three begin at its old corners.
    """
    count = len(values)
    corners = np.stack([faces, np.roll(faces, -1, 1)], -1)  # (F, 3, 2) edges in the faces' order
    edges, of_face = np.unique(np.sort(corners, -1).reshape(-1, 2), axis=0, return_inverse=True)
    of_face = of_face.reshape(-1, 3)
    across = np.zeros((len(edges), values.shape[1]))
    np.add.at(across, of_face, values[np.roll(faces, -2, 1)])
    faces_at = np.bincount(of_face.reshape(-1), minlength=len(edges))[:, None]
    ends = values[edges].sum(1)
    middles = np.where(faces_at == 2, 0.375 * ends + 0.125 * across, 0.5 * ends)
    degree = np.bincount(edges.reshape(-1), minlength=count)[:, None]
    around = np.zeros_like(values)
    np.add.at(around, edges, values[edges[:, ::-1]])
    share = np.where(degree == 3, 3 / 16, 3 / (8 * np.maximum(degree, 1)))
    old = (1 - degree * share) * values + share * around
    a, b, c = faces.T
    ab, bc, ca = of_face.T + count
    new_faces = np.stack([a, ab, ca, b, bc, ab, c, ca, bc, ab, bc, ca], 1).reshape(-1, 3)
    return np.concatenate([old, middles]), new_faces
