"""Optimizers by name against the textbook rules, vanishing gradients, and schedules by their formulas."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonjit.lab.training.settings import OptimizerName, TrainingSettings, create_optimizer, schedule_factor

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
