"""The rig as hands are made of it: one closed mesh, finer than the file's, and the left hand the right one's mirror.

The file splits vertices where its texture has seams. Here they are joined, a mesh that is open at the wrist goes on to
behind it and is closed there, and each triangle is divided once.

The user's own hands, a rig as GLB or MANO, may replace the catalog's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np

from sonjit.arrays import FloatArray, IntArray
from sonjit.errors import InputError
from sonjit.geometry.triangles import vertex_normals
from sonjit.hand_models.mano_files import read_mano
from sonjit.hand_models.rig import FINGERS, Rig, Side
from sonjit.hand_models.rig_files import load_rig, read_rig, rig_from_mano

_LENGTHS_M: Final = (0.1, 0.3)  # from the wrist to the middle finger's tip, of any hand
_LEAST_VERTICES: Final = 500  # with fewer, rings and nails find no skin to lie on
_BEHIND_M: Final = 0.04  # how far behind the wrist a mesh goes on that is open
_LEAST_BEHIND_M: Final = 0.02  # that a closed one reaches, so that a forearm can begin there


@lru_cache(maxsize=8)
def load_hand_mesh(side: Side, files: HandFiles | None = None) -> Rig:
    """The rig at rest.

    Args:
        side: whose hand.
        files: the user's own hand; None for the catalog's.

    Raises:
        InputError: a file is not there, or holds no hand that can be drawn.
    """
    rig = rest_rig(side, files)
    try:
        return hand_mesh_from_rig(rig, side)
    except InputError as error:
        paths = "the catalog's rig" if files is None else " and ".join(file.path for file in files.files)
        raise InputError(f"{paths}: {error}") from None


def hand_mesh_from_rig(rig: Rig, side: Side) -> Rig:
    """The same of any rig; the other side is its mirror.

    Raises:
        InputError: its mesh has holes elsewhere than at the wrist, or is not of a hand's size.
    """
    length = float(np.linalg.norm(rig.joints[FINGERS[2][3]] - rig.joints[0]))
    if not _LENGTHS_M[0] <= length <= _LENGTHS_M[1]:
        raise InputError(f"a hand of {length:.3g} m from wrist to fingertip; lengths are metres")
    vertices, weights, faces = _closed(rig, *_welded(rig))
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


def coarse_faces(rig: Rig) -> IntArray:
    """(F / 4, 3) faces over the vertices that the mesh had before it was divided: its first ones."""
    return rig.faces.reshape(-1, 4, 3)[:, :3, 0]


def _mirrored(rig: Rig) -> Rig:
    """The other side's hand; of the four faces of one, the first three begin at its old corners."""
    return replace(rig.mirrored(), faces=rig.faces.reshape(-1, 4, 3)[:, [0, 2, 1, 3]][..., [0, 2, 1]].reshape(-1, 3))


def _welded(rig: Rig) -> tuple[FloatArray, FloatArray, IntArray]:
    """Vertices (V, 3), weights (V, 25) and faces without doubles."""
    _, first, same = np.unique(rig.vertices.round(7), axis=0, return_index=True, return_inverse=True)
    faces = same.reshape(-1)[rig.faces].astype(np.int64)
    whole = (faces != np.roll(faces, 1, 1)).all(1)
    return rig.vertices[first], rig.weights[first], faces[whole]


def _closed(
    rig: Rig, vertices: FloatArray, weights: FloatArray, faces: IntArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """The same; where it is open at the wrist, with a ring behind that and an end."""
    if len(vertices) < _LEAST_VERTICES:
        raise InputError(f"a mesh of {len(vertices)} vertices; give a finer one of at least {_LEAST_VERTICES}")
    ways = np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)
    there = set(map(tuple, ways.tolist()))
    after: dict[int, int] = {a: b for a, b in there if (b, a) not in there}
    behind = (vertices - rig.joints[0]) @ rig.frames[0][:, 2]
    if len(there) < len(ways) or len(after) != sum((b, a) not in there for a, b in there):
        raise InputError("a mesh in which more than two faces meet at an edge; make it one plain surface")
    if not after:
        if behind.max() < _LEAST_BEHIND_M:
            raise InputError("a mesh that ends at the wrist; leave it open there, or let it reach 2 cm farther")
        return vertices, weights, faces
    edge = [max(after, key=lambda vertex: behind[vertex])]
    while after[edge[-1]] != edge[0] and len(edge) <= len(after):
        edge.append(after[edge[-1]])
    if len(edge) != len(after):
        raise InputError("a mesh with several holes; only the wrist may be open")
    count, ends = len(vertices), np.array(edge)
    to = max(_BEHIND_M, float(behind[ends].max()) + _BEHIND_M / 4)
    ring = vertices[ends] + (to - behind[ends])[:, None] * rig.frames[0][:, 2]
    a, b = ends, np.roll(ends, -1)
    far_a = count + np.arange(len(edge))
    far_b = np.roll(far_a, -1)
    middle = np.full(len(edge), count + len(edge))
    more = np.concatenate([np.stack(each, 1) for each in ((b, a, far_a), (b, far_a, far_b), (far_b, far_a, middle))])
    wrist = np.eye(weights.shape[1])[np.zeros(len(edge) + 1, int)]
    return (
        np.concatenate([vertices, ring, ring.mean(0)[None]]),
        np.concatenate([weights, wrist]),
        np.concatenate([faces, more]),
    )


def _divided(values: FloatArray, faces: IntArray) -> tuple[FloatArray, IntArray]:
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


HandFileKind = Literal["hand-rig", "mano"]
"""By the names of the options."""

_MANO_SIDES: Final[tuple[Side, ...]] = ("Right", "Left")


@dataclass(frozen=True)
class HandFile:
    """A file as it was when a run began.

    Attributes:
        path: as given.
        sha256: of what is in it.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class HandFiles:
    """One hand, whose other side is its mirror image, or both.

    Attributes:
        kind: of the files; MANO's do not say whose hand they hold: the right one's comes first.
        files: one or two.
    """

    kind: HandFileKind
    files: tuple[HandFile, ...]

    @classmethod
    def named(cls, kind: HandFileKind, text: str) -> HandFiles:
        """By a path, or two with a comma between.

        Raises:
            InputError: more than two, or a file that cannot be read.
        """
        paths = text.split(",")
        if len(paths) > 2 or not all(paths):
            raise InputError(f"--{kind} {text}: name a file, or two with a comma between")
        return cls(kind, tuple(HandFile(path, _sha256(kind, path)) for path in paths))


def rest_rig(side: Side, files: HandFiles | None) -> Rig:
    """The rig that a hand is made from; of the other side where there is none of its own.

    Raises:
        InputError: a file is missing, is not such a hand, or two are of one side.
    """
    if files is None:
        return load_rig("Right")
    rigs = _read(files)
    return rigs[side] if side in rigs else next(iter(rigs.values()))


@lru_cache(maxsize=4)
def _read(files: HandFiles) -> Mapping[Side, Rig]:
    rigs: dict[Side, Rig] = {}
    for file, place in zip(files.files, _MANO_SIDES, strict=False):
        rig = read_rig(Path(file.path)) if files.kind == "hand-rig" else _mano(file.path, place)
        if rig.side in rigs:
            raise InputError(f"{file.path} is a {rig.side.lower()} hand as the file before: name one of each side")
        rigs[rig.side] = rig
    return rigs


def _mano(path: str, side: Side) -> Rig:
    fields, plain = read_mano(path), load_rig("Right")
    try:
        return rig_from_mano(fields, plain if side == plain.side else plain.mirrored())
    except InputError as error:
        raise InputError(f"{path}: {error}; give --mano MANO_RIGHT.pkl,MANO_LEFT.pkl") from None


def _sha256(kind: HandFileKind, path: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"--{kind} {path} cannot be read: {error.strerror}") from None
