"""Optimizers, schedules and losses by the formulas of the literature."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonjit_lab.training.losses import adaptive_wing, cross_entropy, focal, point_loss, wing
from sonjit_lab.training.settings import OptimizerName, TrainingSettings, create_optimizer, schedule_factor

RATE = 0.1


def sgd(state, gradient):
    return gradient


def momentum(state, gradient):
    state["v"] = 0.9 * state.get("v", 0) + gradient
    return state["v"]


def nesterov(state, gradient):
    return gradient + 0.9 * momentum(state, gradient)


def adagrad(state, gradient):
    state["s"] = state.get("s", 0) + gradient**2
    return gradient / (math.sqrt(state["s"]) + 1e-10)


def rmsprop(state, gradient):
    state["s"] = 0.99 * state.get("s", 0) + 0.01 * gradient**2
    return gradient / (math.sqrt(state["s"]) + 1e-8)


def adam(state, gradient):
    state["t"] = state.get("t", 0) + 1
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * gradient
    state["s"] = 0.999 * state.get("s", 0) + 0.001 * gradient**2
    return state["m"] / (1 - 0.9 ** state["t"]) / (math.sqrt(state["s"] / (1 - 0.999 ** state["t"])) + 1e-8)


RULES = {rule.__name__: rule for rule in (sgd, momentum, nesterov, adagrad, rmsprop, adam)}


class Bowl(torch.nn.Module):
    """Loss x^4, whose gradient is 4 x^3."""

    def __init__(self):
        super().__init__()
        self.x = torch.nn.Parameter(torch.tensor(0.8, dtype=torch.float64))


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_each_optimizer_follows_its_rule(name, decay):
    bowl = Bowl()
    optimizer = create_optimizer(bowl, TrainingSettings(optimizer=name, learning_rate=RATE, weight_decay=decay))
    x, state = 0.8, {}
    for _ in range(6):
        optimizer.zero_grad()
        (bowl.x**4).backward()
        optimizer.step()
        if name == "adamw":  # the decay stands apart from the gradient
            x -= RATE * decay * x + RATE * adam(state, 4 * x**3)
        else:
            x -= RATE * RULES[name](state, 4 * x**3 + decay * x)
        assert bowl.x.item() == pytest.approx(x, rel=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "step", "1/t", "cosine"])
@given(steps=st.integers(1, 60), warmup=st.integers(0, 20))
def test_every_rate_rises_to_its_highest_and_falls(schedule, steps, warmup):
    options = TrainingSettings(steps=steps, warmup=warmup, schedule=schedule)
    rates = [schedule_factor(step, options) for step in range(max(steps, warmup))]
    assert rates[:warmup] == [pytest.approx((step + 1) / warmup) for step in range(warmup)]
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[warmup : warmup + 1] in ([1], [])


def test_each_schedule_follows_its_formula():
    def rate(part, **options):
        return schedule_factor(round(1000 * part), TrainingSettings(steps=1000, warmup=0, **options))

    assert rate(0.6, schedule="step", decay_at=(0.5,), decay=0.3) == pytest.approx(0.3)
    assert rate(0.2, schedule="1/t", decay_at=(0.2,)) == pytest.approx(1 / 2)
    assert rate(0.4, schedule="1/t", decay_at=(0.2,)) == pytest.approx(1 / 3)
    assert rate(0.5, schedule="cosine") == pytest.approx(1 / 2)
    assert rate(0.999, schedule="cosine") < 1e-4


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
