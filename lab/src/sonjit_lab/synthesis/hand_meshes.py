"""Load the meshes of hands that are rendered."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np

from sonjit._util import FloatArray, InputError, IntArray
from sonjit.geometry.rotations import vertex_normals
from sonjit_lab.hand_models.mano_files import read_mano
from sonjit_lab.hand_models.rig import FINGERS, Rig, Side, load_rig, read_rig, rig_from_mano

HandFileKind = Literal["hand-rig", "mano"]  # kinds of hand files, named as the options


_LENGTHS_M: Final = (0.1, 0.3)  # from the wrist to the middle finger's tip, of any hand
_MIN_VERTICES: Final = 500  # with fewer, rings and nails find no skin to lie on
_BEHIND_M: Final = 0.04  # extent of an open mesh behind the wrist
_MIN_BEHIND_M: Final = 0.02  # that a closed one reaches, so that a forearm can begin there
_MANO_SIDES: Final[tuple[Side, ...]] = ("Right", "Left")


@lru_cache(maxsize=8)
def load_hand_mesh(side: Side, files: "HandFiles | None" = None) -> Rig:
    """Load the rig at rest from the user's files or the catalog."""
    rig = rest_rig(side, files)
    try:
        return hand_mesh_from_rig(rig, side)
    except InputError as error:
        paths = "the catalog's rig" if files is None else " and ".join(file.path for file in files.files)
        raise InputError(f"{paths}: {error}") from None


def hand_mesh_from_rig(rig: Rig, side: Side) -> Rig:
    """Return the hand mesh of any rig; the other side is its mirror image."""
    length = float(np.linalg.norm(rig.joints[FINGERS[2][3]] - rig.joints[0]))
    if not _LENGTHS_M[0] <= length <= _LENGTHS_M[1]:
        raise InputError(f"the hand measures {length:.3g} m from wrist to fingertip; lengths must be in metres")
    _, first, same = np.unique(rig.vertices.round(7), axis=0, return_index=True, return_inverse=True)
    welded = same.reshape(-1)[rig.faces].astype(np.int64)
    welded = welded[(welded != np.roll(welded, 1, 1)).all(1)]
    vertices, weights, faces = _close_wrist(rig, rig.vertices[first], rig.weights[first], welded)
    values = np.concatenate([vertices, weights], 1)
    fine, fine_faces = _subdivide(values, faces)
    # subdivision shrinks the hand: add the displacement of the old vertices to all
    shrinkage, _ = _subdivide(values - fine[: len(values)], faces)
    fine[:, :3] += shrinkage[:, :3]
    normals, weights = vertex_normals(fine[:, :3], fine_faces), fine[:, 3:] / fine[:, 3:].sum(1, keepdims=True)
    fine_rig = replace(rig, vertices=fine[:, :3], normals=normals, faces=fine_faces, weights=weights)
    if side == rig.side:
        return fine_rig
    # The first three of the four faces of a triangle start at its corners before subdivision.
    mirrored = fine_faces.reshape(-1, 4, 3)[:, [0, 2, 1, 3]][..., [0, 2, 1]].reshape(-1, 3)
    return replace(fine_rig.mirrored(), faces=mirrored)


def coarse_faces(rig: Rig) -> IntArray:
    """Return faces (F / 4, 3) over the vertices of the mesh before subdivision, which come first."""
    return rig.faces.reshape(-1, 4, 3)[:, :3, 0]


def _close_wrist(
    rig: Rig, vertices: FloatArray, weights: FloatArray, faces: IntArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return vertices, weights and faces closed at the wrist: an open mesh gets a ring behind the wrist and an end."""
    if len(vertices) < _MIN_VERTICES:
        raise InputError(f"the mesh has {len(vertices)} vertices; at least {_MIN_VERTICES} are required")
    half_edges = np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)
    unique_half_edges = set(map(tuple, half_edges.tolist()))
    after: dict[int, int] = {a: b for a, b in unique_half_edges if (b, a) not in unique_half_edges}
    behind = (vertices - rig.joints[0]) @ rig.frames[0][:, 2]
    if len(unique_half_edges) < len(half_edges) or len(after) != sum(
        (b, a) not in unique_half_edges for a, b in unique_half_edges
    ):
        raise InputError("more than two faces of the mesh share an edge; each edge may have two")
    if not after:
        if behind.max() < _MIN_BEHIND_M:
            raise InputError("the mesh ends at the wrist; leave it open there, or extend it by 2 cm")
        return vertices, weights, faces
    edge = [max(after, key=lambda vertex: behind[vertex])]
    while after[edge[-1]] != edge[0] and len(edge) <= len(after):
        edge.append(after[edge[-1]])
    if len(edge) != len(after):
        raise InputError("the mesh has several holes; only the wrist may be open")
    count, ends = len(vertices), np.array(edge)
    ring_depth = max(_BEHIND_M, float(behind[ends].max()) + _BEHIND_M / 4)
    ring = vertices[ends] + (ring_depth - behind[ends])[:, None] * rig.frames[0][:, 2]
    a, b = ends, np.roll(ends, -1)
    far_a = count + np.arange(len(edge))
    far_b = np.roll(far_a, -1)
    middle = np.full(len(edge), count + len(edge))
    wrist_faces = np.concatenate(
        [np.stack(corners, 1) for corners in ((b, a, far_a), (b, far_a, far_b), (far_b, far_a, middle))]
    )
    wrist = np.eye(weights.shape[1])[np.zeros(len(edge) + 1, int)]
    return (
        np.concatenate([vertices, ring, ring.mean(0)[None]]),
        np.concatenate([weights, wrist]),
        np.concatenate([faces, wrist_faces]),
    )


def _subdivide(values: FloatArray, faces: IntArray) -> tuple[FloatArray, IntArray]:
    """Divide each triangle into four by Loop's rules (1987) with Warren's weights: values (V + E, C), faces (4 F, 3).

    The first three faces of each triangle start at its old corners.
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


@dataclass(frozen=True)
class HandFile:
    """File with its content at the start of a run."""

    path: str  # path of the file
    sha256: str  # hash of its content


@dataclass(frozen=True)
class HandFiles:
    """Files of one hand, which is mirrored for the other side, or of both."""

    kind: HandFileKind  # Kind of the files. MANO files do not contain the side: the right hand comes first
    files: tuple[HandFile, ...]  # one or two files

    @classmethod
    def from_text(cls, kind: HandFileKind, text: str) -> "HandFiles":
        """Read one path, or two paths separated by a comma."""
        paths = text.split(",")
        if len(paths) > 2 or not all(paths):
            raise InputError(f"--{kind} {text}: expected one file, or two separated by a comma")
        files: list[HandFile] = []
        for path in paths:
            try:
                with Path(path).open("rb") as stream:
                    files.append(HandFile(path, hashlib.file_digest(stream, "sha256").hexdigest()))
            except OSError as error:
                raise InputError(f"--{kind} {path} cannot be read: {error.strerror}") from None
        return cls(kind, tuple(files))


def rest_rig(side: Side, files: HandFiles | None) -> Rig:
    """Load the rig of a hand, or of the other side if the files have only that."""
    if files is None:
        return load_rig("Right")
    rigs = _read(files)
    return rigs[side] if side in rigs else next(iter(rigs.values()))


@lru_cache(maxsize=4)
def _read(files: HandFiles) -> Mapping[Side, Rig]:
    rigs: dict[Side, Rig] = {}
    for file, place in zip(files.files, _MANO_SIDES, strict=False):
        if files.kind == "hand-rig":
            rig = read_rig(Path(file.path))
        else:
            fields, plain = read_mano(file.path), load_rig("Right")
            try:
                rig = rig_from_mano(fields, plain if place == plain.side else plain.mirrored())
            except InputError as error:
                raise InputError(f"{file.path}: {error}; use --mano MANO_RIGHT.pkl,MANO_LEFT.pkl") from None
        if rig.side in rigs:
            raise InputError(f"{file.path} is a {rig.side.lower()} hand like the first file; choose one file per side")
        rigs[rig.side] = rig
    return rigs
