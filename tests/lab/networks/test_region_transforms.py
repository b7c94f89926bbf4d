"""Regions of a map: position, content and gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonjit.lab.networks.mediapipe_faces import region_matrix, sample_region, transform_points

CORNERS = torch.tensor([[[10.0, 6.0], [18.0, 6.0], [18.0, 10.0], [10.0, 10.0]]])  # a box of 8 x 4, its first side level
SIZE = 16


def turned(points, angle_rad):
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return points @ torch.tensor([[cos, sin], [-sin, cos]])


def test_a_region_is_the_box_made_larger_about_its_centre():
    matrix = region_matrix(CORNERS, 0, 1, SIZE, 1.5)
    corners = transform_points(torch.tensor([[0.0, 0.0], [SIZE, 0.0], [SIZE, SIZE]]), matrix)
    torch.testing.assert_close(corners, torch.tensor([[[8.0, 5.0], [20.0, 5.0], [20.0, 11.0]]]))


@given(st.floats(-3, 3), st.floats(0.1, 10), st.floats(-50, 50))
def test_a_region_turns_grows_and_moves_with_its_points(angle_rad, growth, way):
    own = torch.tensor([[1.0, 2.0], [SIZE / 2, SIZE / 2], [15.0, 3.0]])
    moved = region_matrix(turned(CORNERS, angle_rad) * growth + way, 0, 1, SIZE, 1.5)
    expected = turned(transform_points(own, region_matrix(CORNERS, 0, 1, SIZE, 1.5)), angle_rad) * growth + way
    torch.testing.assert_close(transform_points(own, moved), expected, rtol=1e-4, atol=1e-3)


@given(st.integers(-6, 12), st.integers(-6, 12))
def test_a_region_of_integer_pixels_is_a_crop_with_zeros_outside(left, top):
    values = torch.rand((1, 2, 8, 10), generator=torch.Generator().manual_seed(0))
    matrix = torch.tensor([[[1.0, 0.0, left], [0.0, 1.0, top]]])
    padded = torch.nn.functional.pad(values, (6, 20, 6, 20))
    expected = padded[:, :, top + 6 : top + 10, left + 6 : left + 10]
    torch.testing.assert_close(sample_region(values, matrix, 4), expected, atol=1e-5, rtol=0)


def test_between_pixels_values_are_mixed():
    values = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    middle = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]])
    assert sample_region(values, middle, 1).item() == pytest.approx(1.5)


@pytest.mark.slow
def test_matrices_and_samples_have_gradients():
    points = (CORNERS + torch.tensor([[0.1, 0.0], [0.0, 0.3], [0.2, 0.1], [0.0, 0.0]])).double().requires_grad_()
    values = torch.rand(
        (1, 1, 20, 30), dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda points: region_matrix(points, 0, 1, 4, 1.2), (points,))
    assert torch.autograd.gradcheck(
        lambda points, values: sample_region(values, region_matrix(points, 0, 1, 4, 1.2), 4), (points, values)
    )


def test_points_in_one_place_give_a_finite_region():
    points = torch.ones((1, 3, 2), requires_grad=True)
    matrix = region_matrix(points, 0, 1, SIZE, 1.5)
    matrix.sum().backward()
    assert matrix.isfinite().all()
    assert points.grad.isfinite().all()
