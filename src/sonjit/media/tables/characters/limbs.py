"""Rotate bones towards points, and solve limbs of two bones.

Directions and positions are rows (M, 3), one for each frame. Rotations are matrices (M, 3, 3) that act on
columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix

if TYPE_CHECKING:
    from sonjit._util.arrays import FloatArray

_MIN_BEND_M: Final = 0.02
"""Distance of an elbow or knee from the line between its neighbours, below which its direction is unreliable."""
_MAX_PRONATION_RAD: Final = np.deg2rad(95)
"""Greatest turn of a hand about x against the rest pose, whose palms point down. The other way it reaches further."""


def unit(vectors: FloatArray) -> FloatArray:
    """Return vectors (..., 3) with length 1. Zero stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def aligned(first: FloatArray, second: FloatArray, rest_first: FloatArray, rest_second: FloatArray) -> FloatArray:
    """Return rotations that turn a rest direction to `first`, and another rest direction close to `second`."""
    return _axes(first, second) @ _axes(rest_first, rest_second).T


def swung(rotations: FloatArray, rest: FloatArray, direction: FloatArray) -> FloatArray:
    """Turn rotations by the shortest way so that a rest direction (3,) points to a direction (M, 3)."""
    start, stop = rotations @ unit(rest), unit(direction)
    axis = np.cross(start, stop)
    angle = np.arctan2(np.linalg.norm(axis, axis=-1), (start * stop).sum(-1))
    return matrix_from_rotation_vector(unit(axis) * angle[:, None]) @ rotations


def half_twisted(lower: FloatArray, hand: FloatArray) -> FloatArray:
    """Turn the rotations of a forearm, which lies on the x axis at rest, by half of the twist to its hand."""
    x = np.array([1.0, 0.0, 0.0])
    local = np.swapaxes(lower, 1, 2) @ hand
    twist = rotation_vector_from_matrix(swung(local, x, np.broadcast_to(x, (len(local), 3))))[:, 0]
    twist -= 2 * np.pi * (twist > _MAX_PRONATION_RAD)
    return lower @ matrix_from_rotation_vector(twist[:, None] / 2 * x)


def mean_rotations(sums: FloatArray) -> FloatArray:
    """Return the rotations closest to sums (M, 3, 3) of rotations."""
    u, _, vt = np.linalg.svd(sums)
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return u @ vt


def bent_limb(
    start: FloatArray, middle: FloatArray, end: FloatArray, lengths: tuple[float, float], bend: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the directions of two bones that lead from a start to an end.

    Args:
        start: Positions (M, 3) of the shoulder or hip.
        middle: Positions (M, 3) near the elbow or knee. They give the plane of the limb.
        end: Positions (M, 3) of the wrist or ankle. A limb that is too short points to it.
        lengths: Lengths of both bones in metres.
        bend: Directions (M, 3) in which a straight limb bends.
    """
    first, second = lengths
    way = end - start
    along = unit(way)
    distance = np.linalg.norm(way, axis=-1, keepdims=True)
    distance = np.clip(distance, abs(first - second) + 1e-4, (first + second) * 0.99999)
    out = _across(middle - start, along)
    size = np.linalg.norm(out, axis=-1, keepdims=True)
    out += np.maximum(_MIN_BEND_M - size, 0) * unit(_across(bend, along))
    forward = (first**2 - second**2 + distance**2) / (2 * distance)
    side = np.sqrt(np.maximum(first**2 - forward**2, 0))
    upper = forward * along + side * unit(out)
    return unit(upper), unit(distance * along - upper)


def _across(vectors: FloatArray, along: FloatArray) -> FloatArray:
    """Return the part of vectors that is perpendicular to unit vectors."""
    return vectors - (vectors * along).sum(-1, keepdims=True) * along


def _axes(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return right-handed columns (..., 3, 3): a direction, a second one made perpendicular, and their product."""
    first = unit(first)
    second = unit(_across(second, first))
    return np.stack([first, second, np.cross(first, second)], -1)
