"""Meshes of a scene's hands: skin, forearm, gloves, rings and sleeves, by name, and their keypoints.

The rig is cut just behind the wrist. The forearm begins with the vertices of that edge, so that no seam is visible. The
hand of one person has a mesh, 36 linear blend shapes of skin and joints, and a skin. The rig's file splits vertices
where its texture has seams: they are merged, a mesh that is open at the wrist is extended behind it and closed, and
each triangle is subdivided once. Shapes are made from the rig's own joints, bones and weights; the other side's mesh
and shapes mirror these. Bones keep their directions and joints stay their centres.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, IndexArray, InputError, IntArray, RealArray
from sonjit.geometry.rotations import matrix_from_rotation_vector, vertex_normals
from sonjit_lab.hand_models.drawing import linear_light
from sonjit_lab.hand_models.mano_files import read_mano
from sonjit_lab.hand_models.rig import FINGERS, Rig, RigPose, Side, load_rig, read_rig, rig_from_mano
from sonjit_lab.synthesis import look_up, read_table
from sonjit_lab.synthesis.renderer import Drawable, Material, Surface

_LENGTHS_M: Final = (0.1, 0.3)  # from the wrist to the middle finger's tip, of any hand
_MIN_VERTICES: Final = 500  # with fewer, rings and nails find no skin to lie on
_BEHIND_M: Final = 0.04  # extent of an open mesh behind the wrist
_MIN_BEHIND_M: Final = 0.02  # that a closed one reaches, so that a forearm can begin there

HandFileKind = Literal["hand-rig", "mano"]  # kinds of hand files, named as the options
_MANO_SIDES: Final[tuple[Side, ...]] = ("Right", "Left")
_PALM: Final = [0, 5, 10, 15, 20]  # the wrist and the metacarpals, which do not move against each other
_FINGER_NAMES: Final = ("thumb", "index", "middle", "ring", "little")
_SMOOTHING_PASSES: Final = 10
_THUMB_BONES: Final = ("metacarpal", "proximal", "distal")
_BONES: Final = ("proximal", "middle", "distal")
SHAPE_SPREADS: Final[Mapping[str, float]] = read_table("scenes")["shapes"]
"""Standard deviation of each shape: a share of the measured length, or metres where the rig has no such length.

`size` scales the hand; all other shapes are relative to it. Surveys of soldiers' hands (Greiner 1991, Garrett 1971)
give coefficients of variation of 5 to 8 % for a hand's length and breadth and its fingers' breadths and depths,
separately for men and women; phalanges vary by 3 to 6 % around their share of a hand's length (Buchholz et al. 1992).
Arch, bulges, knuckles, webs and taper are in no survey and were chosen by eye.
"""
SHAPE_NAMES: Final = tuple(SHAPE_SPREADS)  # names of the shape values, in standard deviations from the rig
MONK_TONES: Final[tuple[str, ...]] = tuple(read_table("scenes")["tones"])
"""Ten tones of the Monk scale as published (Monk 2019, skintone.google), sRGB, lightest first."""
TEXTURES: Final[tuple[tuple[str, float, Mapping[str, float]], ...]] = tuple(
    (name, entry["roughness"], {detail: amount for detail, amount in entry.items() if detail != "roughness"})
    for name, entry in read_table("scenes")["textures"].items()
)
"""Variants of the skin: name, roughness, and additional strength of details."""
_LIGHTEST: Final = 0.72  # of white, so that lamps do not clip the skin
_UNDERTONE: Final = np.array([0.05, 0.015, 0.06])  # how far red, green and blue go from cool to warm
_NAIL_FROM: Final = 0.42  # of the way from a finger's last joint to its end
_NAIL_WIDTH: Final = 0.8  # of the finger's half width
_CREASE_M: Final = 0.0014
_Colour = tuple[float, float, float]
_CUT: Final = (-0.009, 0.35)  # metres behind the wrist, and how much farther forward a metre towards the back
_UPRIGHT_M: Final = 0.016  # before the cut, where the rig's normals already follow its own end
_UPRIGHT: Final = 0.85
_STATIONS_M: Final = np.array([0, 0.005, 0.011, 0.018, 0.027, 0.04, 0.06, 0.09, 0.13, 0.18, 0.24])
_EVEN_WIDTH_M: Final = 0.045  # over which the edge's shape is lost, more than it is uneven
_BENT_M: Final = 0.05  # over which the wrist bends
_WIDTH: Final = 0.55  # growth of the arm's breadth up to the last station, muscles mostly
_DEPTH: Final = 0.85
_METALS: Final = ((0.83, 0.6, 0.25), (0.62, 0.62, 0.64), (0.7, 0.42, 0.32))
_RING_M: Final = 0.0011  # half its thickness
_RING_AT: Final = 0.5  # of the finger's first free bone
GLOVE: Final = 100  # offset from a hand's instance to that of its glove
ARM: Final = 150  # offset from a hand's instance to that of its forearm, sleeve and rings
_FADE_M: Final = 0.08  # along the arm, for the difference between palm side and back


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
        [np.stack(each, 1) for each in ((b, a, far_a), (b, far_a, far_b), (far_b, far_a, middle))]
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


class _Shape(NamedTuple):
    """Displacement of one standard deviation."""

    joints: FloatArray  # (25, 3) m
    vertices: FloatArray  # (V, 3) m


class _Palm(NamedTuple):
    """Axes of the palm towards the fingers, towards the thumb and out of the back, and its measures."""

    along: FloatArray
    across: FloatArray
    out: FloatArray
    length: float
    half_width: float


def rig_from_shape(side: Side, shape: RealArray, files: HandFiles | None = None) -> Rig:
    """Return the hand of one person, of standard deviations (36,) from the rig by `SHAPE_NAMES`."""
    shape = np.asarray(shape)
    if shape.shape != (len(SHAPE_NAMES),) or not np.isfinite(shape).all():
        raise InputError(f"a hand's shape of {shape.shape} numbers: give {len(SHAPE_NAMES)} finite ones")
    return _cached_hand(side, shape.astype(np.float64).tobytes(), files)


@lru_cache(maxsize=8)
def _cached_hand(side: Side, numbers: bytes, files: HandFiles | None) -> Rig:
    """Return a cached hand; a scene uses each of its hands several times."""
    rest, shape = load_hand_mesh(side, files), np.frombuffer(numbers)
    if not shape.any():
        return rest
    joints, vertices = _blend_shapes(side, files)
    moved = rest.vertices + (shape.astype(np.float32) @ vertices).reshape(-1, 3)
    joints, normals = rest.joints + (shape @ joints).reshape(-1, 3), vertex_normals(moved, rest.faces)
    return replace(rest, joints=joints, vertices=moved, normals=normals)


@lru_cache(maxsize=8)
def _blend_shapes(side: Side, files: HandFiles | None) -> tuple[FloatArray, Float32Array]:
    """Return displacements of all shapes: joints (36, 75), vertices (36, V * 3), metres per standard deviation."""
    file_side = rest_rig(side, files).side
    file_rig = load_hand_mesh(file_side, files)
    shapes = {name: _Shape(s.joints, _smooth(s.vertices, file_rig.faces)) for name, s in _shapes_of(file_rig).items()}
    flip = np.array([1.0 if side == file_side else -1.0, 1.0, 1.0])
    joints = np.stack([shapes[name].joints * flip for name in SHAPE_NAMES]).reshape(len(SHAPE_NAMES), -1)
    vertices = np.stack([shapes[name].vertices * flip for name in SHAPE_NAMES]).reshape(len(SHAPE_NAMES), -1)
    return joints, vertices.astype(np.float32)


def _shapes_of(rig: Rig) -> dict[str, _Shape]:
    """Return every shape by name."""
    sd, still, palm = SHAPE_SPREADS, np.zeros((25, 3)), _palm_of(rig)
    shapes = {"size": _Shape(*(sd["size"] * (points - rig.joints[0]) for points in (rig.joints, rig.vertices)))}
    for finger, name in enumerate(_FINGER_NAMES):
        for step, bone in enumerate(_THUMB_BONES if finger == 0 else _BONES):
            shapes[f"{name}_{bone}_length"] = _length_shape(rig, finger, step, sd[f"{name}_{bone}_length"])
        radial = sum(_perpendicular(rig, joint) * _share(rig, joint) for joint in FINGERS[finger][finger == 0 :])
        shapes[f"{name}_thickness"] = _Shape(still, sd[f"{name}_thickness"] * np.asarray(radial))
    moves: dict[str, Callable[[FloatArray], FloatArray]] = {
        "palm_length": lambda p: p[:, :1] * palm.length * palm.along,
        "palm_width": lambda p: _fade(p[:, :1], -0.3, 0.5) * p[:, 1:2] * palm.half_width * palm.across,
        "palm_depth": lambda p: _fade(p[:, :1], -0.3, 0.5) * p[:, 2:] * palm.half_width * palm.out,
        "palm_arch": lambda p: _fade(p[:, :1], 0.1, 0.9) * (0.4 - np.minimum(p[:, 1:2] ** 2, 2)) * palm.out,
        "wrist_width": lambda p: (1 - _fade(p[:, :1], -0.1, 0.5)) * p[:, 1:2] * palm.half_width * palm.across,
        "wrist_depth": lambda p: (1 - _fade(p[:, :1], -0.1, 0.5)) * p[:, 2:] * palm.half_width * palm.out,
    }
    for name, move in moves.items():
        shapes[name] = _palm_shape(rig, palm, move, sd[name])
    for name, bulge in _bulges(rig, palm).items():
        shapes[name] = _Shape(still, sd[name] * bulge)
    return shapes


def _bulges(rig: Rig, palm: _Palm) -> dict[str, FloatArray]:
    """Return displacements (V, 3) of shapes that only change the skin: at most 1 m, or the share that they stretch."""
    joints, v, n = rig.joints, rig.vertices, rig.normals
    back = np.clip(n @ palm.out * 1.5, 0, 1)[:, None]
    front = np.clip(-n @ palm.out * 1.5, 0, 1)[:, None]
    knuckles = sum(_bell_around(v, joints[chain[0]], 0.009) for chain in FINGERS[1:])
    thenar = _bell_around(v, (joints[1] + joints[2]) / 2 - 0.012 * palm.out, 0.016)
    hypothenar = _bell_around(
        v, joints[0] + 0.35 * palm.length * palm.along - 0.8 * palm.half_width * palm.across, 0.02
    )
    webs = np.zeros_like(v)
    for item, other in pairwise(FINGERS[1:]):
        ahead = (joints[item[1]] - joints[item[0]] + joints[other[1]] - joints[other[0]]) / 2
        place = (joints[item[0]] + joints[other[0]]) / 2 + 0.5 * ahead
        webs += _bell_around(v, place, 0.010) * ahead / np.linalg.norm(ahead)
    between = (joints[2] + joints[6]) / 2
    outer = (joints[3] + joints[7]) / 2 - between
    swell, taper, deeper = np.zeros_like(v), np.zeros_like(v), np.zeros_like(v)
    for chain in FINGERS:
        for joint in chain[1:3]:
            around = np.exp(-((_along(rig, joint) / 0.005) ** 2))
            weight = _share(rig, joint) + _share(rig, joint - 1)
            swell += weight * around * _perpendicular(rig, joint)
        share = _share(rig, chain[2]) + _share(rig, chain[3])
        taper += share * np.clip(_along(rig, chain[2]) / 0.02, 0, 1) * _perpendicular(rig, chain[2])
        for joint in chain[1:] if chain[0] == 1 else chain:
            y = rig.frames[joint][:, 1]
            deeper += _share(rig, joint) * (_perpendicular(rig, joint) @ y)[:, None] * y
    return {
        "thenar": thenar * front * n,
        "hypothenar": hypothenar * front * n,
        "knuckles": np.asarray(knuckles) * back * n,
        "finger_joints": swell,
        "webs": webs,
        "thumb_web": _bell_around(v, between, 0.014) * outer / np.linalg.norm(outer),
        "tip_taper": taper,
        "finger_depth": deeper,
        "softness": n * (0.4 + 0.6 * front),
    }


def _length_shape(rig: Rig, finger: int, step: int, share: float) -> _Shape:
    """Return the shape that lengthens one bone by a share: joints beyond it move on and its own skin stretches."""
    chain = FINGERS[finger]
    bone = rig.joints[chain[step + 1]] - rig.joints[chain[step]]
    joints, vertices = np.zeros((25, 3)), np.zeros_like(rig.vertices)
    joints[list(chain[step + 1 :])] = share * bone
    length = float(np.linalg.norm(bone))
    ahead = np.maximum(_along(rig, chain[step]) / length, 0)
    if step < 2:
        ahead = np.minimum(ahead, 1)
        vertices += sum(_share(rig, joint) for joint in chain[step + 1 :]) * share * bone
        vertices += _share(rig, chain[step]) * ahead * share * bone
    else:
        vertices += (_share(rig, chain[2]) + _share(rig, chain[3])) * ahead * share * bone
    return _Shape(joints, vertices)


def _palm_shape(rig: Rig, palm: _Palm, field: Callable[[FloatArray], FloatArray], share: float) -> _Shape:
    """Return the shape of a field over the palm at points (N, 3) in its measures; fingers follow their first joint."""

    def at(points: FloatArray) -> FloatArray:
        local = (points - rig.joints[0]) @ np.stack([palm.along, palm.across, palm.out], 1)
        return share * field(local / [palm.length, palm.half_width, palm.half_width])

    joints = at(rig.joints)
    vertices = rig.weights[:, _PALM].sum(1, keepdims=True) * at(rig.vertices)
    for chain in FINGERS:
        joints[list(chain)] = joints[chain[0]]
        vertices += rig.weights[:, list(chain)].sum(1, keepdims=True) * joints[chain[0]]
    return _Shape(joints, vertices)


def _palm_of(rig: Rig) -> _Palm:
    along = rig.joints[11] - rig.joints[0]
    length = float(np.linalg.norm(along))
    along = along / length
    side = rig.joints[6] - rig.joints[21]
    across = side - along * (side @ along)
    width = float(np.linalg.norm(across))
    across = across / width
    out = np.cross(along, across) if rig.side == "Right" else np.cross(across, along)
    return _Palm(along, across, out, length, width / 2)


def _share(rig: Rig, joint: int) -> FloatArray:
    return rig.weights[:, joint : joint + 1]


def _along(rig: Rig, joint: int) -> FloatArray:
    """Return the distances (V, 1) in metres along the bone that starts at a joint."""
    return -((rig.vertices - rig.joints[joint]) @ rig.frames[joint][:, 2:])


def _perpendicular(rig: Rig, joint: int) -> FloatArray:
    """Return the vectors (V, 3) from the bone's line perpendicular to each vertex."""
    return rig.vertices - rig.joints[joint] + _along(rig, joint) * rig.frames[joint][:, 2]


def _bell_around(points: FloatArray, centre: FloatArray, radius: float) -> FloatArray:
    """Return a bell curve (V, 1) around a point."""
    return np.exp(-((points - centre) ** 2).sum(1, keepdims=True) / (2 * radius**2))


def _fade(t: FloatArray, start: float, end: float) -> FloatArray:
    """Return 0 before the start, 1 beyond the end, and a smooth transition between."""
    t = np.clip((t - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def _smooth(moves: FloatArray, faces: IntArray) -> FloatArray:
    """Average the displacement of each vertex with its neighbours', so that narrow folds stay open."""
    ends, starts = faces.reshape(-1), np.roll(faces, 1, 1).reshape(-1)
    degree = np.bincount(ends, minlength=len(moves))[:, None]
    for _ in range(_SMOOTHING_PASSES):
        around = np.stack([np.bincount(ends, moves[starts, axis], len(moves)) for axis in range(3)], 1)
        moves = (moves + around / degree) / 2
    return moves


@dataclass(frozen=True)
class HandAppearance:
    """Appearance of a hand's surface."""

    tone: int = 4  # tone on the Monk scale, 1 (lightest) to 10 (darkest)
    texture: int = 0  # variant of the skin, 0 to 4 or more
    # Strength of details by name, see `drawable.Material.amounts`
    amounts: dict[str, float] = field(default_factory=dict[str, float])
    glove: str | None = None  # name of a glove, or None
    rings: tuple[int, ...] = ()  # fingers with a ring, 0 (thumb) to 4 (little)
    sleeve: str | None = None  # name of a sleeve, or None for a bare forearm
    seed: float = 0.0  # seed of every pattern


def albedo_from_tone(tone: int, undertone: float = 0.0) -> tuple[float, float, float]:
    """Return the linear RGB colour of a skin: tone 1 to 10 on the Monk scale, undertone -1 (cool) to 1 (warm)."""
    if not 1 <= tone <= len(MONK_TONES):
        raise InputError(f"skin tone {tone}: the Monk scale has 1 to {len(MONK_TONES)}")
    code = MONK_TONES[tone - 1]
    red, green, blue = (int(code[place : place + 2], 16) for place in (1, 3, 5))
    linear = np.array(linear_light((red, green, blue))) * _LIGHTEST * (1 + undertone * _UNDERTONE * [1, 0.3, -1])
    red, green, blue = linear.tolist()
    return red, green, blue


def skin_material(appearance: HandAppearance) -> Material:
    """Return the material of a hand's skin."""
    if not 0 <= appearance.texture < len(TEXTURES):
        raise InputError(f"skin texture {appearance.texture}: must be 0 to {len(TEXTURES) - 1}")
    _, roughness, more = TEXTURES[appearance.texture]
    undertone = float(np.random.default_rng(abs(int(appearance.seed * 1000))).uniform(-1, 1))
    amounts = {
        name: min(max(appearance.amounts.get(name, 0.0) + more.get(name, 0.0), 0), 1)
        for name in {**appearance.amounts, **more}
    }
    albedo = albedo_from_tone(appearance.tone, undertone)
    return Material("skin", albedo, roughness, appearance.texture, appearance.seed, amounts)


@lru_cache(maxsize=4)
def skin_marks(side: Side, files: HandFiles | None = None) -> Float32Array:
    """Return the amounts (V, 4) of nail, crease, palm side and back of each vertex, see `Drawable.marks`."""
    rig = load_hand_mesh(side, files)
    back = np.zeros(len(rig.vertices))
    for joint in range(25):
        back += rig.weights[:, joint] * (rig.normals @ rig.frames[joint][:, 1])
    marks = [_nails(rig), _creases(rig, back), _fade(-back, -0.15, 0.55), _fade(back, -0.15, 0.55)]
    return np.stack(marks, 1).astype(np.float32)


def _nails(rig: Rig) -> FloatArray:
    """Return patches on the back of each finger's last bone."""
    nails = np.zeros(len(rig.vertices))
    for chain in FINGERS:
        joint = chain[2]
        in_finger = rig.weights[:, list(chain[2:])].sum(1) > 0.5
        local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
        ahead = -local[:, 2] / (-local[in_finger, 2]).max()
        half = np.abs(local[in_finger & (ahead > 0.3) & (ahead < 0.8), 0]).max()
        aside = np.abs(local[:, 0]) / (half * _NAIL_WIDTH)
        up = rig.normals @ rig.frames[joint][:, 1]
        patch = (
            _fade(ahead, _NAIL_FROM - 0.06, _NAIL_FROM + 0.06) * _fade(1.25 - aside, 0.1, 0.4) * _fade(up, 0.05, 0.4)
        )
        nails = np.maximum(nails, patch * in_finger)
    return nails


def _creases(rig: Rig, back: FloatArray) -> FloatArray:
    """Return lines across each finger at its joints, deep on the palm side and faint on the back."""
    creases = np.zeros(len(rig.vertices))
    for chain in FINGERS:
        for step, joint in enumerate(chain[:3]):
            bone = float(np.linalg.norm(rig.joints[chain[step + 1]] - rig.joints[joint]))
            local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
            if step == 0:
                if chain[0] == 1:
                    continue
                local[:, 2] += 0.45 * bone  # a finger leaves the palm well beyond its first joint
            near = rig.weights[:, [joint, max(joint - 1, 0)]].sum(1) * (np.hypot(local[:, 0], local[:, 1]) < 0.016)
            line = np.exp(-((local[:, 2] / _CREASE_M) ** 2) / 2) * near
            creases = np.maximum(creases, line * np.where(back < 0.2, 1.0, 0.5 if step else 0.0))
    return creases


class Glove(NamedTuple):
    """Kind of glove: cloth, colours (linear RGB), metres off the skin, and whether the tips are open."""

    surface: Surface
    roughness: float
    colours: tuple[_Colour, ...]
    thick_m: float
    fingerless: bool = False


class Sleeve(NamedTuple):
    """Kind of sleeve: cloth, colours, and metres behind the wrist, off the skin and of its folds."""

    surface: Surface
    roughness: float
    colours: tuple[_Colour, ...]
    start_m: float
    width_m: float
    folds_m: float


GLOVES: Final = {name: Glove(**entry) for name, entry in read_table("scenes")["gloves"].items()}
SLEEVES: Final = {name: Sleeve(**entry) for name, entry in read_table("scenes")["sleeves"].items()}


class Edge(NamedTuple):
    """Plane cut of the hand's skin."""

    faces: IntArray  # remaining faces (F, 3) over the rig's vertices and, after them, the K new ones on the plane
    pairs: IndexArray  # pairs (K, 2) of old vertices on both sides of each new vertex
    shares: FloatArray  # shares (K, 1) of the way to the second vertex
    loop: IndexArray  # indices (K,) of the new vertices in their order around the arm
    nearness: FloatArray  # weights (V + K, 1): 1 on the plane and beyond, 0 well before it

    def extend(self, values: RealArray) -> FloatArray:
        """Return values (V, C) of the rig's vertices as (V + K, C)."""
        first, second = values[self.pairs[:, 0]], values[self.pairs[:, 1]]
        return np.asarray(np.concatenate([values, first + self.shares * (second - first)]), np.float64)

    def straighten_normals(self, normals: FloatArray, back: FloatArray) -> FloatArray:
        """Return normals (V + K, 3) that follow the straight arm along `back` (3,) and not the rig's rounded end."""
        normals = normals - self.nearness * np.outer(normals @ back, back)
        return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True), np.float64)


class Tube(NamedTuple):
    """Mesh around the forearm."""

    vertices: FloatArray  # vertices (V, 3) in metres
    normals: FloatArray  # normals (V, 3)
    faces: IntArray  # faces (F, 3)
    behind: FloatArray  # distance (V,) from the edge along the arm, metres


@lru_cache(maxsize=4)
def wrist_edge(side: Side, files: HandFiles | None = None) -> Edge:
    """Return the hand's faces without the rig's own end, and the edge between."""
    rig = load_hand_mesh(side, files)
    local = (rig.vertices - rig.joints[0]) @ rig.frames[0]
    beyond = -local[:, 2] - _CUT[0] - _CUT[1] * local[:, 1] + 1e-9  # metres before the plane
    kept = beyond[rig.faces] > 0
    new: dict[tuple[int, int], int] = {}
    following: dict[int, int] = {}
    faces = [rig.faces[kept.all(1)]]
    for face, stays in zip(rig.faces[kept.any(1) & ~kept.all(1)], kept[kept.any(1) & ~kept.all(1)], strict=True):
        # rotated so that the single vertex of its side is first
        a, b, c = np.roll(face, -int(np.argmax(stays == (stays.sum() == 1)))).tolist()
        ab, ac = (new.setdefault((min(a, x), max(a, x)), len(rig.vertices) + len(new)) for x in (b, c))
        if stays.sum() == 1:
            faces.append(np.array([[a, ab, ac]]))
            following[ab] = ac
        else:
            faces.append(np.array([[ab, b, c], [ab, c, ac]]))
            following[ac] = ab
    pairs = np.array(list(new), np.intp)
    near, far = beyond[pairs].T
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    nearness = np.append(np.clip(1 - beyond / _UPRIGHT_M, 0, 1), np.ones(len(pairs)))[:, None] * _UPRIGHT
    return Edge(np.concatenate(faces), pairs, (near / (near - far))[:, None], np.array(loop, np.intp), nearness)


def forearm(edge: FloatArray, normals: FloatArray, axes: FloatArray, bend: tuple[float, float]) -> Tube:
    """Return the bare arm from the positions (K, 3) and normals (K, 3) of the vertices of `Edge.loop`.

    `axes`: columns (3, 3) of the wrist's frame: bend axis, out of the back, back along the arm; `bend`: radians by
    which the arm is bent towards the palm and turned towards the frame's x, relative to the hand.
    """
    tube = _tube(edge, axes, bend, _STATIONS_M, np.zeros(len(_STATIONS_M)))
    tube.normals[: len(edge)] = normals
    return tube


def sleeve(edge: FloatArray, axes: FloatArray, bend: tuple[float, float], kind: Sleeve, seed: float) -> Tube:
    """Return cloth around the arm, open towards the hand; for edge, axes and bend see `forearm`."""
    stations = np.array([kind.start_m + 0.003, kind.start_m, *np.linspace(kind.start_m + 0.004, 0.25, 16)])
    off = np.full(len(stations), kind.width_m)
    off[0] = kind.width_m * 0.35  # the hem turns in
    rng = np.random.default_rng(abs(int(seed * 1000)) + 1)
    turn = np.linspace(0, 2 * np.pi, len(edge), endpoint=False)
    waves = rng.uniform(2, 5, 3).round()[:, None, None] * turn + rng.uniform(60, 140, (3, 1, 1)) * stations[:, None]
    folds = np.sin(waves + rng.uniform(0, 7, (3, 1, 1))).mean(0) * kind.folds_m
    folds = folds * np.clip(off / kind.width_m, 0, 1)[:, None]
    folds[:2] = 0
    return _tube(edge, axes, bend, stations, off[:, None] + folds + 0.3 * kind.folds_m)


def _tube(edge: FloatArray, axes: FloatArray, bend: tuple[float, float], stations: FloatArray, off: FloatArray) -> Tube:
    """Return rings of the edge's outline along the arm, growing, each (S,) or (S, K) metres off the skin."""
    centre, count = edge.mean(0), len(edge)
    outline = (edge - centre) @ axes  # (K, 3)
    half = np.sqrt(2) * outline[:, :2].std(0)
    angles = np.unwrap(np.arctan2(outline[:, 1] / half[1], outline[:, 0] / half[0]))
    turn = np.sign(angles[-1] - angles[0]) * 2 * np.pi * np.arange(count) / count
    window = (np.arange(count)[:, None] + np.arange(-6, 7)) % count
    angles = turn + (angles - turn)[window].mean(1)  # once around, monotonic: the edge's teeth are averaged out
    plane = np.stack([half[0] * np.cos(angles), half[1] * np.sin(angles), np.zeros_like(angles)], 1)
    grown = stations[:, None] / _STATIONS_M[-1]
    even = np.clip(stations / _EVEN_WIDTH_M, 0, 1)[:, None, None]
    rings = outline + even * (plane - outline)  # (S, K, 3): from the edge as it is to an ellipse
    rings[..., 0] *= 1 + _WIDTH * np.sqrt(grown) * grown
    rings[..., 1] *= 1 + _DEPTH * np.sqrt(grown) * grown
    off = off.reshape(len(stations), -1)
    rings += off[..., None] * plane / np.linalg.norm(plane, axis=1, keepdims=True)

    def turned(places: FloatArray) -> FloatArray:
        return matrix_from_rotation_vector(np.outer(np.clip(places / _BENT_M, 0, 1), [bend[0], bend[1], 0]))

    steps = np.concatenate([[0.0], np.linspace(0, stations.max(), 24)[1:]])
    way = np.concatenate([np.zeros((1, 3)), (turned(steps)[:-1, :, 2] * np.diff(steps)[:, None]).cumsum(0)])
    middle = np.stack([np.interp(stations, steps, way[:, axis]) for axis in range(3)], 1)
    local = (rings @ np.swapaxes(turned(stations), 1, 2) + middle[:, None]).reshape(-1, 3)
    first = np.arange((len(stations) - 1) * count).reshape(-1, count)
    after = np.roll(first, -1, 1)  # faces between neighbouring rings face outwards
    faces = np.stack([first, first + count, after, after, first + count, after + count], -1).reshape(-1, 3)
    vertices = local @ axes.T + centre
    return Tube(vertices, vertex_normals(vertices, faces), faces, stations.repeat(count))


def cloth_material(kind: Glove | Sleeve, seed: float) -> Material:
    """Return the surface of cloth in one of its colours."""
    rng = np.random.default_rng(abs(int(seed * 1000)) + 2)
    colour = np.array(kind.colours[rng.integers(len(kind.colours))]) * rng.uniform(0.8, 1.2, 3)
    red, green, blue = colour.clip(0, 0.9).tolist()
    return Material(kind.surface, (red, green, blue), kind.roughness, int(rng.integers(3)), seed)


def glove_faces(rig: Rig, faces: IntArray, fingerless: bool) -> IntArray:
    """Return the faces that a glove covers: all, or those before the middle of each first free bone."""
    if not fingerless:
        return faces
    bare = np.zeros(len(rig.vertices), np.bool_)
    for chain in FINGERS:
        first = chain[1] if chain[0] == 1 else chain[0]
        bone = rig.joints[first + 1] - rig.joints[first]
        ahead = (rig.vertices - rig.joints[first]) @ bone / (bone @ bone)
        bare |= (rig.weights[:, first : chain[3] + 1].sum(1) > 0.5) & (ahead > 0.75)
    bare = np.append(bare, np.zeros(faces.max() + 1 - len(bare), np.bool_))  # vertices added by the cut at the wrist
    return faces[~bare[faces].any(1)]


def ring_drawable(rig: Rig, pose: RigPose, finger: int, seed: float, instance: int) -> Drawable:
    """Return a ring on a finger, 0 (thumb) to 4."""
    if not 0 <= finger < len(FINGERS):
        raise InputError(f"a ring on finger {finger}: fingers are 0 (thumb) to {len(FINGERS) - 1}")
    chain = FINGERS[finger]
    joint = chain[1] if finger == 0 else chain[0]
    share = _RING_AT if finger == 0 else 0.72
    bone = float(np.linalg.norm(rig.joints[joint + 1] - rig.joints[joint]))
    local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
    near = (rig.weights[:, joint : joint + 2].sum(1) > 0.6) & (np.abs(local[:, 2] + share * bone) < 0.003)
    middle = (local[near].min(0) + local[near].max(0)) / 2
    radii = (np.ptp(local[near, :2], axis=0) / 2) + 0.4 * _RING_M
    around, across = np.meshgrid(
        np.linspace(0, 2 * np.pi, 28, False), np.linspace(0, 2 * np.pi, 8, False), indexing="ij"
    )
    wide = 1.6 + np.random.default_rng(abs(int(seed * 1000)) + finger).uniform(0, 1.2)
    out = np.stack([np.cos(around), np.sin(around)], -1)
    points = np.empty((28, 8, 3))
    points[..., :2] = middle[:2] + out * (radii + _RING_M * np.cos(across)[..., None])
    points[..., 2] = -share * bone + wide * _RING_M * np.sin(across)
    normals = np.concatenate([out * np.cos(across)[..., None], np.sin(across)[..., None]], -1)
    a = np.arange(28 * 8).reshape(28, 8)
    b, c = np.roll(a, -1, 0), np.roll(a, -1, 1)
    d = np.roll(b, -1, 1)
    frames, places = rig.joint_frames(pose)
    turn = frames[0, joint]
    red, green, blue = _METALS[int(seed * 7 + finger) % len(_METALS)]
    return Drawable(
        points.reshape(-1, 3) @ turn.T + places[0, joint],
        normals.reshape(-1, 3) @ turn.T,
        np.stack([a, b, d, a, d, c], -1).reshape(-1, 3),
        Material("metal", (red, green, blue), 0.3, seed=seed),
        instance,
        rest=points.reshape(-1, 3),
    )


@dataclass(frozen=True, eq=False)
class SceneHand:
    """Hand in the world."""

    side: Side  # the person's own hand
    shape: FloatArray  # Values (36,) by `hands.SHAPE_NAMES`, in standard deviations from the rig
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
        faces = glove_faces(load_hand_mesh(hand.side, hand.files), edge.faces, glove.fingerless)
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
