"""Rotations compared with the reference, and round trips."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonjit.lab.hand_models.mano import (
    axis_angle_from_matrix,
    matrix_from_6d,
    matrix_from_axis_angle,
    quaternion_wxyz_from_matrix,
)

seeds = st.integers(0, 2**31)


@pytest.fixture(scope="module")
def golden(data):
    path = data / "goldens/networks/protocols_mesh.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files if key.startswith("rot.")}


def vectors(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.golden
def test_rotations_are_the_references(golden):
    matrices = matrix_from_6d(golden["rot.in6d"])
    torch.testing.assert_close(matrices, golden["rot.mat"], rtol=0, atol=1e-6)
    torch.testing.assert_close(axis_angle_from_matrix(golden["rot.mat"]), golden["rot.aa"], rtol=0, atol=1e-4)
    torch.testing.assert_close(matrix_from_axis_angle(golden["rot.aa_in"]), golden["rot.rodrigues"], rtol=0, atol=1e-6)
    # at exactly pi either sign of the axis is right: compare what the vectors do
    back = matrix_from_axis_angle(axis_angle_from_matrix(golden["rot.rodrigues"]))
    expected = matrix_from_axis_angle(golden["rot.aa_roundtrip"])
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-4)


@given(seeds, st.floats(1e-3, math.pi - 1e-3))
def test_vectors_come_back_from_matrices(seed, angle):
    axis = torch.nn.functional.normalize(vectors(seed, 3), dim=0)
    torch.testing.assert_close(
        axis_angle_from_matrix(matrix_from_axis_angle(axis * angle)), axis * angle, atol=1e-6, rtol=0
    )


@given(seeds, st.floats(0, 10))
def test_matrices_are_rotations_that_keep_their_axis(seed, angle):
    axis = torch.nn.functional.normalize(vectors(seed, 3), dim=0)
    matrix = matrix_from_axis_angle(axis * angle)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(matrix.det(), torch.tensor(1.0).double())
    torch.testing.assert_close(matrix @ axis, axis, atol=1e-6, rtol=0)
    assert matrix.trace().item() == pytest.approx(1 + 2 * math.cos(angle), abs=1e-6)


@given(seeds)
def test_six_numbers_become_columns(seed):
    six = vectors(seed, 5, 6)
    matrices = matrix_from_6d(six)
    torch.testing.assert_close(matrices.mT @ matrices, torch.eye(3).double().expand(5, 3, 3), atol=1e-9, rtol=0)
    assert (matrices.det() > 0).all()
    torch.testing.assert_close(matrices[..., 0], torch.nn.functional.normalize(six[:, :3], dim=1))


@given(seeds)
def test_quaternions_have_length_one_in_every_branch(seed):
    quaternions = quaternion_wxyz_from_matrix(matrix_from_axis_angle(vectors(seed, 20, 3) * 3))
    torch.testing.assert_close(quaternions.norm(dim=1), torch.ones(20).double(), atol=1e-6, rtol=0)


def test_no_rotation_has_a_gradient():
    still = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    matrix_from_axis_angle(still).square().sum().backward()
    assert still.grad.isfinite().all()
    unit = torch.eye(3, dtype=torch.float64, requires_grad=True)
    axis_angle_from_matrix(unit).sum().backward()
    assert unit.grad.isfinite().all()
    assert torch.equal(axis_angle_from_matrix(torch.eye(3)), torch.zeros(3))
