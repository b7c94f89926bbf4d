"""Gradient descent to Adam: rules written out beside PyTorch's, a valley, a saddle, mini-batches and schedules.

python docs/learn/descent.py
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from lesson import axes, finish
from torch import Tensor, optim

if TYPE_CHECKING:
    from collections.abc import Callable

    from lesson import Numbers
    from matplotlib.figure import Figure

    Loss = Callable[[Tensor], Tensor]
    Rule = Callable[[Tensor, dict[str, Tensor], float, int], Tensor]

STEEP = 50.0
"""The valley's walls are so many times steeper than its floor."""
START = (-4.0, 1.0)


def valley(at: Tensor) -> Tensor:
    """A long valley: (x² + 50 y²) / 2; lowest, 0, at (0, 0)."""
    return 0.5 * (at[0] ** 2 + STEEP * at[1] ** 2)


def saddle(at: Tensor) -> Tensor:
    """x² / 2 - y² / 2 + y⁴ / 4: flat at (0, 0), lowest, -1/4, at (0, ±1)."""
    return 0.5 * at[0] ** 2 - 0.5 * at[1] ** 2 + 0.25 * at[1] ** 4


# Each rule takes the gradient, what it remembers, the rate and the step from 1; it gives what is subtracted.


def sgd(g: Tensor, kept: dict[str, Tensor], rate: float, step: int) -> Tensor:
    return rate * g


def momentum(g: Tensor, kept: dict[str, Tensor], rate: float, step: int) -> Tensor:
    kept["v"] = 0.9 * kept.get("v", torch.zeros_like(g)) + g
    return rate * kept["v"]


def adagrad(g: Tensor, kept: dict[str, Tensor], rate: float, step: int) -> Tensor:
    kept["sum"] = kept.get("sum", torch.zeros_like(g)) + g**2
    return rate * g / (kept["sum"].sqrt() + 1e-10)


def rmsprop(g: Tensor, kept: dict[str, Tensor], rate: float, step: int) -> Tensor:
    kept["mean"] = 0.9 * kept.get("mean", torch.zeros_like(g)) + 0.1 * g**2
    return rate * g / (kept["mean"].sqrt() + 1e-8)


def adam(g: Tensor, kept: dict[str, Tensor], rate: float, step: int) -> Tensor:
    kept["m"] = 0.9 * kept.get("m", torch.zeros_like(g)) + 0.1 * g
    kept["v"] = 0.999 * kept.get("v", torch.zeros_like(g)) + 0.001 * g**2
    m, v = kept["m"] / (1 - 0.9**step), kept["v"] / (1 - 0.999**step)  # both began at 0: undo it
    return rate * m / (v.sqrt() + 1e-8)


RULES: dict[str, Rule] = {
    "sgd": sgd,
    "momentum": momentum,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
}
MAKERS: dict[str, Callable[[list[Tensor], float], optim.Optimizer]] = {
    "sgd": lambda weights, rate: optim.SGD(weights, rate),
    "momentum": lambda weights, rate: optim.SGD(weights, rate, momentum=0.9),
    "adagrad": lambda weights, rate: optim.Adagrad(weights, rate),
    "rmsprop": lambda weights, rate: optim.RMSprop(weights, rate, alpha=0.9),
    "adam": lambda weights, rate: optim.Adam(weights, rate),
}


def gradient(loss: Loss, at: Tensor) -> Tensor:
    at = at.detach().requires_grad_()
    return torch.autograd.grad(loss(at), at)[0]


def by_hand(name: str, loss: Loss, start: tuple[float, ...], rate: float, steps: int) -> Tensor:
    """The way of a rule above: (steps + 1, 2), the start first."""
    at, kept = torch.tensor(start, dtype=torch.float64), dict[str, Tensor]()
    way = [at]
    for step in range(1, steps + 1):
        at = at - RULES[name](gradient(loss, at), kept, rate, step)
        way.append(at)
    return torch.stack(way)


def by_torch(name: str, loss: Loss, start: tuple[float, ...], rate: float, steps: int) -> Tensor:
    """The same with PyTorch's optimizer."""
    at = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer, way = MAKERS[name]([at], rate), [at.detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        loss(at).backward()
        optimizer.step()
        way.append(at.detach().clone())
    return torch.stack(way)


def best_rate(name: str, steps: int) -> float:
    """Of 0.001, 0.002, 0.005, 0.01 ... 2, the rate with the least loss in the valley after so many steps."""
    rates = [digit * 10.0**power for power in (-3, -2, -1, 0) for digit in (1, 2, 5)][:-1]

    def last(rate: float) -> float:
        value = float(valley(by_hand(name, valley, START, rate, steps)[-1]))
        return value if math.isfinite(value) else math.inf

    return min(rates, key=last)


def weaknesses(steps: int) -> Numbers:
    """What plain SGD suffers from, each in one number or two."""
    below, above = (by_hand("sgd", valley, START, part * 2 / STEEP, steps) for part in (0.9, 1.1))
    calm = by_hand("momentum", valley, START, 0.2 / STEEP, steps)

    def turns(way: Tensor) -> int:
        return int((way[1:, 1].sign() * way[:-1, 1].sign() < 0).sum())

    def reached(values: Tensor) -> int:
        """The first step from which on one hundredth of the way is left."""
        far = values.abs() > 0.01 * values[0].abs()
        return int(far.nonzero()[-1]) + 1

    slow = by_hand("sgd", valley, START, 0.5 / STEEP, 1000)
    return {
        "limit": 2 / STEEP,
        "loss_below": float(valley(below[-1])),
        "loss_above": float(valley(above[-1])),
        "turns_sgd": turns(below),
        "turns_momentum": turns(calm),
        "steps_y": reached(slow[:, 1]),
        "steps_x": reached(slow[:, 0]),
    }


def effective_rates(steps: int) -> dict[str, list[float]]:
    """What AdaGrad and RMSProp make of a rate of 1 while gradients stay the same size, with noise."""
    noise = torch.randn(steps, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found: dict[str, list[float]] = {}
    for name in ("adagrad", "rmsprop"):
        kept = dict[str, Tensor]()
        found[name] = [abs(float(RULES[name](g, kept, 1.0, i + 1) / g)) for i, g in enumerate(noise)]
    return found


def newton(loss: Loss, start: tuple[float, ...], steps: int) -> Tensor:
    """Newton-Raphson on the gradient: it finds where the loss is flat, not where it is low."""
    at = torch.tensor(start, dtype=torch.float64)
    for _ in range(steps):
        curvature = torch.autograd.functional.hessian(loss, at)
        at = at - torch.linalg.solve(torch.as_tensor(curvature), gradient(loss, at))
    return at


def escapes(steps: int) -> dict[str, int]:
    """Steps from right beside the saddle until the loss is below -0.2, by rule, all at a rate of 0.05."""
    found: dict[str, int] = {}
    for name in RULES:
        low = torch.stack([saddle(at) for at in by_hand(name, saddle, (1.5, 1e-4), 0.05, steps)]) < -0.2
        found[name] = int(low.nonzero()[0]) if low.any() else -1
    return found


def batches(samples: int, batch: int, epochs: int) -> tuple[Numbers, dict[str, list[float]]]:
    """Least squares on noisy samples: all at once, and 50 at a time with a constant and with a falling rate."""
    rng = np.random.default_rng(0)
    truth = np.array([2.0, -1.0, 0.5, 3.0])
    X = rng.normal(size=(samples, 4))
    y = X @ truth + rng.normal(size=samples)
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    found: dict[str, list[float]] = {}
    for name, size in (("all samples", samples), ("constant", batch), ("1/t", batch)):
        weights, step, away = np.zeros(4), 0, [float(np.linalg.norm(best))]
        for _ in range(epochs):
            order = rng.permutation(samples)
            for begin in range(0, samples, size):
                some = order[begin : begin + size]
                rate = 0.2 / (1 + step / 20) if name == "1/t" else 0.2
                weights = weights - rate * X[some].T @ (X[some] @ weights - y[some]) / len(some)
                step += 1
                away.append(float(np.linalg.norm(weights - best)))
        found[name] = away
    each = math.ceil(samples / batch)
    return {
        "samples": samples,
        "batch": batch,
        "iterations_per_epoch": each,
        "epochs": epochs,
        "gd_after_one_epoch": found["all samples"][1],
        "sgd_after_one_epoch": found["constant"][each],
        "constant_at_end": float(np.mean(found["constant"][-each:])),
        "falling_at_end": float(np.mean(found["1/t"][-each:])),
    }, found


def run(steps: int = 100, samples: int = 10_000) -> tuple[Numbers, dict[str, Figure]]:
    """All of the page's numbers and plots."""
    rates = {name: best_rate(name, steps) for name in RULES}
    ways = {name: by_torch(name, valley, START, rate, steps) for name, rate in rates.items()}
    apart = {
        name: float((way - by_hand(name, valley, START, rates[name], steps)).abs().max()) for name, way in ways.items()
    }
    rate_of, (passes, away) = effective_rates(1000), batches(samples, 50, 5)
    first, m, v = 3.0, 0.1 * 3.0, 0.001 * 3.0**2
    numbers: Numbers = {
        "steps": steps,
        "rate": rates,
        "loss": {name: float(valley(way[-1])) for name, way in ways.items()},
        "apart_from_torch": max(apart.values()),
        "weak": weaknesses(steps),
        "effective": {f"{name}_{at}": values[at - 1] for name, values in rate_of.items() for at in (10, 1000)},
        "first_step": {"corrected": (m / 0.1) / math.sqrt(v / 0.001), "uncorrected": m / math.sqrt(v), "g": first},
        "escape": escapes(500),
        "newton": dict(zip("xy", map(float, newton(saddle, (0.5, 0.3), 20).abs()), strict=True)),
        "pass": passes,
    }
    return numbers, {"descent": _draw_ways(ways), "schedules": _draw_rates(rate_of, away)}


def _draw_ways(ways: dict[str, Tensor]) -> Figure:
    figure, (left, right) = axes(2, 3.2)
    x, y = np.meshgrid(np.linspace(-4.5, 2.5, 60), np.linspace(-1.9, 1.3, 60))
    left.contour(x, y, 0.5 * (x**2 + STEEP * y**2), levels=np.geomspace(0.3, 40, 7), colors="#bbbbbb", linewidths=0.6)
    for name, way in ways.items():
        left.plot(way[:25, 0], way[:25, 1], marker=".", markersize=3, linewidth=0.9, label=name)
        right.semilogy(range(0, len(way), 2), [max(float(valley(at)), 1e-12) for at in way[::2]], label=name)
    left.set(title="the first 25 steps in the valley", xlabel="x", ylabel="y", xlim=(-4.5, 2.5), ylim=(-1.9, 1.3))
    right.set(title="loss", xlabel="step")
    left.legend(ncols=3, loc="lower right")
    return figure


def _draw_rates(rate_of: dict[str, list[float]], away: dict[str, list[float]]) -> Figure:
    figure, (left, right) = axes(2)
    for name, values in rate_of.items():
        left.loglog(range(1, len(values) + 1, 3), values[::3], label=name)
    left.set(title="what is left of a rate of 1", xlabel="step")
    left.legend()
    for name, values in away.items():
        right.semilogy(
            np.linspace(0, 5, len(values))[:: 1 + len(values) // 250], values[:: 1 + len(values) // 250], label=name
        )
    right.set(title="distance from the least squares solution", xlabel="epoch", ylim=(1e-3, 30))
    right.legend(ncols=3)
    return figure


if __name__ == "__main__":
    torch.set_num_threads(1)
    finish(*run())
