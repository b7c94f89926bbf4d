"""Compute joint angles and bone lengths of any skeleton, for batches of points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from sonjit._util.arrays import FloatArray, RealArray
from sonjit._util.errors import InputError
from sonjit.results.skeletons import Skeleton

Triple = tuple[int, int, int]


@cache
def _triples_of(parents: tuple[int, ...]) -> tuple[Triple, ...]:
    return tuple((parents[b], b, c) for c, b in enumerate(parents) if b >= 0 and parents[b] >= 0)


def joint_triples(skeleton: Skeleton) -> tuple[Triple, ...]:
    """Return the (parent, joint, child) indices of every joint between two bones, ordered by child.

    >>> from sonjit.results.skeletons import load_skeleton
    >>> joint_triples(load_skeleton("hand_mediapipe21"))[:3]
    ((0, 1, 2), (1, 2, 3), (2, 3, 4))
    """
    return _triples_of(skeleton.parents)


def joint_angles_rad(points: RealArray, joints: Skeleton | Sequence[Triple]) -> FloatArray:
    """Return the angle between the two bones at each joint; pi is straight, 0 is folded back.

    Args:
        points: Points (..., K, D) in any unit and any frame with equally scaled axes; D is 2 or 3.
        joints: Indices (a, b, c) for the angle at b between a and c. A skeleton selects its `joint_triples`.

    Returns:
        Angles (..., T) in radians, in [0, pi]; NaN where a bone has no length or a point is NaN.

    Raises:
        InputError: An index is outside the points.
    """
    triples = joint_triples(joints) if isinstance(joints, Skeleton) else joints
    indices = np.asarray(triples, int).reshape(-1, 3)
    if indices.size and (indices.min() < 0 or indices.max() >= points.shape[-2]):
        raise InputError(f"joints name point {indices.max()}, but there are {points.shape[-2]} points, counted from 0")
    a, b, c = (points[..., indices[:, i], :].astype(np.float64) for i in range(3))  # each (..., T, D)
    return angle_between_rad(a - b, c - b)


def angle_between_rad(u: RealArray, v: RealArray) -> FloatArray:
    """Return the angle (...) between vectors (..., D) in radians, in [0, pi]; NaN for zero length."""
    u, v = unit(u), unit(v)
    # Kahan's form: as exact near 0 and pi as elsewhere, where the arc cosine loses half of the digits
    return 2 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))


def unit(vectors: RealArray) -> FloatArray:
    """Scale vectors (..., D) to length 1; NaN for zero length."""
    vectors = vectors.astype(np.float64)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, np.nan)


def distances(points: RealArray, pairs: Sequence[tuple[int, int]]) -> FloatArray:
    """Return the distances (..., P) between pairs of points (..., K, D), in the unit of the points."""
    first, second = np.asarray(pairs, int).reshape(-1, 2).T
    return np.linalg.norm((points[..., first, :] - points[..., second, :]).astype(np.float64), axis=-1)


def named(names: Sequence[str], values: RealArray | Sequence[Any]) -> dict[str, float]:
    """Map names to their values as Python floats."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}
