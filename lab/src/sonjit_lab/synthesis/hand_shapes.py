"""Change the shape of a rigged hand: lengths, widths and bulges."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import Float32Array, FloatArray, InputError, IntArray, RealArray
from sonjit.geometry.rotations import vertex_normals
from sonjit_lab.hand_models.rig import FINGERS, Rig, Side
from sonjit_lab.synthesis import read_table
from sonjit_lab.synthesis.hand_meshes import HandFiles, load_hand_mesh, rest_rig

SHAPE_SPREADS: Final[Mapping[str, float]] = read_table("scenes")["shapes"]
"""Standard deviation of each shape: a share of the measured length, or metres where the rig has no such length.

`size` scales the hand; all other shapes are relative to it. Surveys of soldiers' hands (Greiner 1991, Garrett 1971)
give coefficients of variation of 5 to 8 % for a hand's length and breadth and its fingers' breadths and depths,
separately for men and women; phalanges vary by 3 to 6 % around their share of a hand's length (Buchholz et al. 1992).
Arch, bulges, knuckles, webs and taper are in no survey and were chosen by eye.
"""
SHAPE_NAMES: Final = tuple(SHAPE_SPREADS)  # names of the shape values, in standard deviations from the rig


_PALM: Final = [0, 5, 10, 15, 20]  # the wrist and the metacarpals, which do not move against each other
_FINGER_NAMES: Final = ("thumb", "index", "middle", "ring", "little")
_SMOOTHING_PASSES: Final = 10
_THUMB_BONES: Final = ("metacarpal", "proximal", "distal")
_BONES: Final = ("proximal", "middle", "distal")


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
    """Return the hand of one person, whose shape (36,) is a number of standard deviations by `SHAPE_NAMES`."""
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
    sd = SHAPE_SPREADS
    still = np.zeros((25, 3))
    palm = _palm_of(rig)
    shapes = {"size": _Shape(*(sd["size"] * (points - rig.joints[0]) for points in (rig.joints, rig.vertices)))}
    for finger, name in enumerate(_FINGER_NAMES):
        for step, bone in enumerate(_THUMB_BONES if finger == 0 else _BONES):
            shapes[f"{name}_{bone}_length"] = _length_shape(rig, finger, step, sd[f"{name}_{bone}_length"])
        radial = sum(_perpendicular(rig, joint) * _share(rig, joint) for joint in FINGERS[finger][finger == 0 :])
        shapes[f"{name}_thickness"] = _Shape(still, sd[f"{name}_thickness"] * np.asarray(radial))
    moves: dict[str, Callable[[FloatArray], FloatArray]] = {
        "palm_length": lambda p: p[:, :1] * palm.length * palm.along,
        "palm_width": lambda p: fade(p[:, :1], -0.3, 0.5) * p[:, 1:2] * palm.half_width * palm.across,
        "palm_depth": lambda p: fade(p[:, :1], -0.3, 0.5) * p[:, 2:] * palm.half_width * palm.out,
        "palm_arch": lambda p: fade(p[:, :1], 0.1, 0.9) * (0.4 - np.minimum(p[:, 1:2] ** 2, 2)) * palm.out,
        "wrist_width": lambda p: (1 - fade(p[:, :1], -0.1, 0.5)) * p[:, 1:2] * palm.half_width * palm.across,
        "wrist_depth": lambda p: (1 - fade(p[:, :1], -0.1, 0.5)) * p[:, 2:] * palm.half_width * palm.out,
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


def fade(t: FloatArray, start: float, end: float) -> FloatArray:
    """Return 0 before the start, 1 beyond the end, and a smooth transition between, for shares (...) of the way."""
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
