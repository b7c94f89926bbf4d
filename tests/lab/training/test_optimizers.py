"""Optimizers by name, compared with the textbook rules on one weight, and initialisations by name."""

import math
from typing import get_args

import pytest
import torch

from sonjit.lab.training.loop import layer_gradients
from sonjit.lab.training.report import vanishing
from sonjit.lab.training.settings import (
    InitialisationName,
    OptimizerName,
    TrainingSettings,
    create_optimizer,
    initialise,
)

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


def deviation(name, inputs=400, outputs=300):
    layers = torch.nn.Sequential(torch.nn.Linear(inputs, outputs), torch.nn.LayerNorm(outputs))
    initialise(layers, name, seed=3)
    assert torch.equal(layers[1].weight, torch.ones(outputs))
    return layers[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("xavier", math.sqrt(2 / 700)), ("he", math.sqrt(2 / 400)), ("normal", 0.01), ("zeros", 0.0)],
)
def test_initialisations_have_the_published_deviation(name, expected):
    layer = deviation(name)
    assert layer.weight.std().item() == pytest.approx(expected, rel=0.01)
    assert not layer.bias.any()


def test_orthogonal_rows_are_and_own_changes_nothing():
    weight = deviation("orthogonal").weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(300), atol=1e-4, rtol=0)
    layer = torch.nn.Linear(4, 4)
    before = layer.weight.clone()
    initialise(layer, "own", seed=0)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("name", sorted(set(get_args(InitialisationName)) - {"own"}))
def test_the_seed_decides_and_frozen_layers_stay(name):
    layers = [torch.nn.Conv2d(3, 5, 3) for _ in range(2)]
    for layer in layers:
        initialise(layer, name, seed=1)
    assert torch.equal(layers[0].weight, layers[1].weight)
    frozen = torch.nn.Conv2d(3, 5, 3).requires_grad_(False)
    before = frozen.weight.clone()
    initialise(frozen, name, seed=1)
    assert torch.equal(frozen.weight, before)


def test_sigmoids_let_gradients_vanish_and_rectifiers_do_not():
    messages = {}
    for activation in (torch.nn.Sigmoid, torch.nn.ReLU):
        torch.manual_seed(0)
        layers = torch.nn.Sequential(*(each for _ in range(9) for each in (torch.nn.Linear(32, 32), activation())))
        initialise(layers, "he" if activation is torch.nn.ReLU else "xavier", seed=0)
        layers(torch.randn(64, 32)).square().mean().backward()
        gradients = layer_gradients(layers)
        assert len(gradients) == 9
        messages[activation] = vanishing(gradients)
    assert messages[torch.nn.ReLU] is None
    assert messages[torch.nn.Sigmoid] < 1e-3
