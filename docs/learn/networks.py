"""What a network is: activations, back-propagation by hand, and curves put together from sigmoids.

python docs/learn/networks.py
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from lesson import axes, finish
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from lesson import Numbers
    from matplotlib.figure import Figure

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "LeakyReLU": lambda: nn.LeakyReLU(0.1),
    "PReLU": lambda: nn.PReLU(init=0.25),
    "ELU": nn.ELU,
}


def slopes() -> dict[str, dict[str, float]]:
    """Of each activation its slope at -5, where sigmoids are flat, and its greatest."""
    found: dict[str, dict[str, float]] = {}
    for name, make in ACTIVATIONS.items():
        z = torch.linspace(-5, 5, 1001, requires_grad=True)
        slope = torch.autograd.grad(make()(z).sum(), z)[0]
        found[name] = {"at_minus_5": float(slope[0]), "greatest": float(slope.max())}
    return found


def by_hand(
    x: Tensor, y: Tensor, weights: list[Tensor], biases: list[Tensor]
) -> tuple[float, list[Tensor], list[Tensor]]:
    """Back-propagation through sigmoid layers and the loss |a - y|² / 2, with nothing but products and sums.

    Args:
        x: (inputs,)
        y: (outputs,)
        weights: of each layer (nodes, nodes of the layer below).
        biases: of each layer (nodes,).

    Returns:
        The loss, its gradients by the weights and by the biases, layer by layer.
    """
    outputs = [x]
    for W, b in zip(weights, biases, strict=True):
        outputs.append(1 / (1 + torch.exp(-(W @ outputs[-1] + b))))
    loss = float(0.5 * ((outputs[-1] - y) ** 2).sum())
    delta = (outputs[-1] - y) * outputs[-1] * (1 - outputs[-1])  # how the loss changes with the last layer's sums
    by_weights, by_biases = list[Tensor](), list[Tensor]()
    for layer in reversed(range(len(weights))):
        by_weights.insert(0, torch.outer(delta, outputs[layer]))
        by_biases.insert(0, delta)
        if layer:  # layer l from layer l + 1
            delta = (weights[layer].T @ delta) * outputs[layer] * (1 - outputs[layer])
    return loss, by_weights, by_biases


def by_autograd(x: Tensor, y: Tensor, weights: list[Tensor], biases: list[Tensor]) -> list[Tensor]:
    """The same gradients by PyTorch: of the weights, then of the biases."""
    leaves = [one.clone().requires_grad_() for one in (*weights, *biases)]
    out = x
    for W, b in zip(leaves[: len(weights)], leaves[len(weights) :], strict=True):
        out = torch.sigmoid(W @ out + b)
    return list(torch.autograd.grad(0.5 * ((out - y) ** 2).sum(), leaves))


def example() -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Two inputs, two hidden nodes, one output: small enough for paper."""
    one = torch.float64
    return (
        torch.tensor([1.0, 0.5], dtype=one),
        torch.tensor([1.0], dtype=one),
        [torch.tensor([[0.4, -0.2], [0.3, 0.6]], dtype=one), torch.tensor([[0.5, -0.7]], dtype=one)],
        [torch.tensor([0.1, -0.1], dtype=one), torch.tensor([0.2], dtype=one)],
    )


def back_propagation() -> Numbers:
    """The paper example beside autograd, and a larger random one."""
    x, y, weights, biases = example()
    loss, by_weights, by_biases = by_hand(x, y, weights, biases)
    hidden = torch.sigmoid(weights[0] @ x + biases[0])
    output = torch.sigmoid(weights[1] @ hidden + biases[1])

    def apart(*given: Tensor | list[Tensor]) -> float:
        hand = by_hand(*given)  # pyright: ignore[reportArgumentType]
        pairs = zip([*hand[1], *hand[2]], by_autograd(*given), strict=True)  # pyright: ignore[reportArgumentType]
        return max(float((one - other).abs().max()) for one, other in pairs)

    torch.manual_seed(0)
    sizes = (5, 7, 6, 4, 3)
    wide = [torch.randn(after, before, dtype=torch.float64) for before, after in pairwise(sizes)]
    shifts = [torch.randn(after, dtype=torch.float64) for after in sizes[1:]]
    large = apart(torch.randn(5, dtype=torch.float64), torch.randn(3, dtype=torch.float64), wide, shifts)
    return {
        "hidden_1": float(hidden[0]),
        "hidden_2": float(hidden[1]),
        "output": float(output),
        "loss": loss,
        "delta_out": float(by_biases[1]),
        "delta_1": float(by_biases[0][0]),
        "delta_2": float(by_biases[0][1]),
        "dw_first": float(by_weights[0][0, 0]),
        "apart_small": apart(x, y, weights, biases),
        "apart_large": large,
    }


def approximate(nodes: int, steps: int) -> tuple[float, Tensor, Tensor, Tensor]:
    """Fit a curve with one hidden layer of sigmoids: the greatest error, and x, curve and fit to draw."""
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 200)[:, None]
    curve = torch.sin(5 * x) + 0.5 * torch.sin(12 * x) * (x > 0)
    network = nn.Sequential(nn.Linear(1, nodes), nn.Sigmoid(), nn.Linear(nodes, 1))
    with torch.no_grad():  # steps of both signs, spread over the line
        network[0].weight.copy_(torch.full((nodes, 1), 8.0))  # pyright: ignore
        network[0].bias.copy_(-8.0 * torch.linspace(-1, 1, nodes))  # pyright: ignore
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=steps, history_size=30, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = ((network(x) - curve) ** 2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    fit = network(x).detach()
    return float((fit - curve).abs().max()), x[:, 0], curve[:, 0], fit[:, 0]


def run(steps: int = 400) -> tuple[Numbers, dict[str, Figure]]:
    """All of the page's numbers and plots."""
    fits = {nodes: approximate(nodes, steps) for nodes in (2, 6, 30)}
    numbers: Numbers = {
        "slope": slopes(),
        "back": back_propagation(),
        "worst": {f"nodes_{nodes}": fit[0] for nodes, fit in fits.items()},
    }
    figure, (left, right) = axes(2)
    z = torch.linspace(-4, 4, 81)
    for name, make in ACTIVATIONS.items():
        left.plot(z, make()(z).detach(), label=name)
    left.set(title="activations", xlabel="z", ylim=(-1.2, 2.5))
    left.legend(ncols=2)
    right.plot(fits[2][1], fits[2][2], color="#222222", linewidth=3, alpha=0.3, label="curve")
    for nodes, (_, x, _, fit) in fits.items():
        right.plot(np.asarray(x), np.asarray(fit), label=f"{nodes} hidden nodes")
    right.set(title="one hidden layer of sigmoids", xlabel="x", ylim=(-2.6, 1.4))
    right.legend(ncols=2, loc="lower left")
    return numbers, {"networks": figure}


if __name__ == "__main__":
    torch.set_num_threads(1)
    finish(*run())
