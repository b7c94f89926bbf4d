"""Losses: minimal at the target, gradients towards it, and the values of the literature."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from sonjit.lab.training.losses import (
    MAP_LOSSES,
    POINT_LOSSES,
    adaptive_wing,
    cross_entropy,
    focal,
    heatmap,
    heatmap_cells,
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
def test_every_loss_is_a_scalar_that_its_gradient_lowers(name):
    truth = truth_for(name)
    predicted = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss = LOSSES[name](predicted, truth)
    assert loss.shape == ()
    (gradient,) = torch.autograd.grad(loss, predicted)
    step = 1e-3 / gradient.norm()
    assert 0 <= LOSSES[name](predicted - step * gradient, truth) < loss


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


def test_a_heatmap_forgives_what_is_near_a_peak():
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 4, 4], maps[0, 0, 4, 5] = 1, 0.9
    right = torch.full(maps.shape, -8.0)
    right[0, 0, 4, 4] = 8
    near, far = right.clone(), right.clone()
    near[0, 0, 4, 5] = far[0, 0, 1, 1] = 4
    assert heatmap(right, maps) < heatmap(near, maps) < heatmap(far, maps) / 100


@pytest.mark.parametrize("name", POINT_LOSSES)
def test_point_losses_are_zero_at_the_truth_and_grow_with_the_offset(name):
    loss = point_loss(name)
    sizes = torch.linspace(0, 1, 101)[:, None, None].expand(-1, 3, 2)
    values = loss(sizes)
    assert values.shape == (101, 3)
    assert values[0].eq(0).all()
    assert (values.diff(dim=0) > 0).all()
    torch.testing.assert_close(loss(-sizes), values)


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


@pytest.mark.parametrize("name", MAP_LOSSES)
def test_heatmap_losses_of_a_name_fall_to_zero(name):
    torch.manual_seed(0)
    truth = torch.randn(2, 3, 64).mul(3).softmax(2)
    logits = torch.zeros(2, 3, 64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.1)
    first = heatmap_cells(logits, truth, name)
    assert first.shape == (2, 3)
    for _ in range(400):
        optimizer.zero_grad()
        loss = heatmap_cells(logits, truth, name).sum()
        loss.backward()
        optimizer.step()
    assert 0 <= loss < 0.05 * first.sum()
    assert logits.argmax(2).equal(truth.argmax(2))
