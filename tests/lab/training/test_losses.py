"""Losses: minimal at the target, gradients towards it, and the values of the literature."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from sonjit.lab.training.losses import (
    adaptive_wing,
    cross_entropy,
    focal,
    heatmap,
    maxmse,
    point_loss,
    wing,
)

LOSSES = {
    "cross-entropy": cross_entropy,
    "focal": focal,
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "smooth-l1": F.smooth_l1_loss,
    "maxmse": maxmse,
    "heatmap": heatmap,
}
SHAPES = {"cross-entropy": (6, 4), "focal": (6, 4), "heatmap": (2, 3, 8, 8)}


def truth_for(name):
    torch.manual_seed(0)
    if name == "heatmap":
        maps = torch.rand(SHAPES[name]) * 0.8
        maps[:, :, 3, 4] = 1
        return maps
    if name in SHAPES:
        return (torch.rand(SHAPES[name]) < 0.3).float()
    return torch.randn(5, 21, 3)


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_right_costs_nothing(name):
    truth = truth_for(name)
    if name == "heatmap":
        right = torch.where(truth == 1, 30.0, -30.0)
    elif name in SHAPES:
        right = 60 * truth - 30
    else:
        right = truth
    assert LOSSES[name](right, truth).item() == pytest.approx(0, abs=1e-6)


def test_focal_is_the_papers_formula_and_forgets_what_is_easy():
    score, chance = torch.tensor([0.4, -2.0]), torch.sigmoid(torch.tensor([0.4, -2.0]))
    truth = torch.tensor([1.0, 0.0])
    expected = -0.25 * (1 - chance[0]) ** 2 * chance[0].log() - 0.75 * chance[1] ** 2 * (1 - chance[1]).log()
    assert focal(score, truth).item() == pytest.approx(expected.item())
    assert focal(score, truth, alpha=0.5, gamma=0).item() == pytest.approx(cross_entropy(score, truth).item())
    easy, hard = torch.tensor([4.0]), torch.tensor([-1.0])
    one = torch.ones(1)
    assert focal(easy, one) / focal(hard, one) < (cross_entropy(easy, one) / cross_entropy(hard, one)) / 100


def test_cross_entropy_takes_classes_too():
    scores = torch.zeros(3, 5)
    assert cross_entropy(scores, torch.tensor([0, 4, 2])).item() == pytest.approx(math.log(5))


def test_distance_is_the_length_of_an_offset():
    torch.testing.assert_close(
        point_loss("distance")(torch.tensor([[3.0, 4.0], [0.0, -2.0]])), torch.tensor([5.0, 2.0])
    )


def test_wing_is_the_papers_formula_without_a_step():
    width, curvature = 10.0, 2.0
    offsets = torch.tensor([[1.0], [9.999], [10.001], [30.0]])
    constant = width - width * math.log(1 + width / curvature)
    near = [width * math.log(1 + size / curvature) for size in (1.0, 9.999)]
    expected = torch.tensor([*near, 10.001 - constant, 30 - constant])
    torch.testing.assert_close(wing(offsets, width=width, curvature=curvature), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("truth", [0.0, 0.3, 1.0])
def test_adaptive_wing_is_the_papers_formula_without_a_step(truth):
    alpha, omega, epsilon, theta = 2.1, 14.0, 1.0, 0.5
    offsets = torch.linspace(0, 0.999, 1000)
    true = torch.full_like(offsets, truth)
    values = adaptive_wing(true + offsets, true)
    near = omega * torch.log(1 + (offsets / epsilon) ** (alpha - truth))
    torch.testing.assert_close(values[:500], near[:500], rtol=1e-4, atol=1e-5)
    slope = omega / (1 + (theta / epsilon) ** (alpha - truth)) * (alpha - truth)
    slope *= (theta / epsilon) ** (alpha - truth - 1) / epsilon
    far = slope * offsets - (theta * slope - omega * math.log(1 + (theta / epsilon) ** (alpha - truth)))
    torch.testing.assert_close(values[500:], far[500:], rtol=1e-4, atol=1e-4)
    exact = true.clone().requires_grad_()
    adaptive_wing(exact, true).sum().backward()
    assert exact.grad.isfinite().all()
