"""Rotations are valid, and convert between forms without loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit.geometry.rotations import (
    align_rigidly,
    matrix_from_quaternion_wxyz,
    matrix_from_rotation_vector,
    quaternion_wxyz_from_matrix,
    rotation_vector_from_matrix,
)

VECTORS = st.lists(st.floats(-6, 6), min_size=3, max_size=3).map(np.array)


def turned(quaternion, vector):
    """Return q v q* in vector form."""
    w, axis = quaternion[0], quaternion[1:]
    twice = 2 * np.cross(axis, vector)
    return vector + w * twice + np.cross(axis, twice)


@given(VECTORS, VECTORS)
def test_quaternion_turns_as_its_matrix(vector, point):
    matrix = matrix_from_rotation_vector(vector)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    quaternion = quaternion_wxyz_from_matrix(matrix)
    assert np.linalg.norm(quaternion) == pytest.approx(1)
    assert np.allclose(turned(quaternion, point), matrix @ point, atol=1e-9)
    assert np.allclose(matrix_from_quaternion_wxyz(quaternion), matrix, atol=1e-9)
    assert np.allclose(matrix_from_rotation_vector(rotation_vector_from_matrix(matrix)), matrix, atol=1e-9)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns(axis):
    vector = np.zeros(3)
    vector[axis] = np.pi
    quaternion = quaternion_wxyz_from_matrix(matrix_from_rotation_vector(vector))
    assert np.allclose(np.abs(quaternion), np.eye(4)[1 + axis], atol=1e-12)


@given(VECTORS, VECTORS, st.booleans())
def test_alignment_finds_what_was_done(vector, shift, flat):
    points = np.random.default_rng(5).normal(size=(7, 3)) * (1, 1, 0 if flat else 1)
    rotation = matrix_from_rotation_vector(vector)
    found, translation = align_rigidly(points, (points @ rotation.T + shift)[None])
    assert np.allclose(found, rotation, atol=1e-7)
    assert np.allclose(translation, shift, atol=1e-7)


def test_alignment_never_mirrors():
    points = np.random.default_rng(5).normal(size=(7, 3))
    found, _ = align_rigidly(points, points * (-1, 1, 1))
    assert np.linalg.det(found) == pytest.approx(1)
