"""Logistic regression and its gradient, cross entropy beside squared error, gradient descent beside Newton and EM.

python docs/learn/losses.py
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from lesson import axes, finish
from sklearn.datasets import make_blobs
from sklearn.mixture import GaussianMixture

if TYPE_CHECKING:
    from lesson import Numbers
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def sigmoid(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)), float)


def two_groups(samples: int) -> tuple[Array, Array]:
    """Samples (N, 3), the last column 1 for the bias, and labels (N,) of 0 and 1; the groups overlap."""
    groups = make_blobs(samples, centers=[[-1.0, 0.0], [1.0, 0.8]], cluster_std=1.0, random_state=0)
    X, y = np.asarray(groups[0], float), np.asarray(groups[1], float)
    return np.column_stack([X, np.ones(samples)]), y


def cross_entropy(X: Array, y: Array, weights: Array) -> float:
    p = sigmoid(X @ weights)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


def cross_entropy_gradient(X: Array, y: Array, weights: Array) -> Array:
    """The mean of x (p - y): (3,), the bias's p - y last."""
    return np.asarray(X.T @ (sigmoid(X @ weights) - y) / len(X), float)


def gradient_check(X: Array, y: Array) -> float:
    """The formula beside autograd: the greatest difference."""
    weights = torch.tensor([0.3, -0.5, 0.2], dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(torch.as_tensor(X) @ weights, torch.as_tensor(y))
    loss.backward()
    return float(np.abs(np.asarray(weights.grad) - cross_entropy_gradient(X, y, weights.detach().numpy())).max())


def descend(X: Array, y: Array, *, rate: float, until: float, most: int = 100_000) -> tuple[Array, int]:
    """Gradient descent, all samples in each step, until the gradient is shorter than `until`."""
    weights = np.zeros(X.shape[1])
    for step in range(most):
        gradient = cross_entropy_gradient(X, y, weights)
        if np.linalg.norm(gradient) < until:
            return weights, step
        weights = weights - rate * gradient
    return weights, most


def newton_raphson(X: Array, y: Array, *, until: float) -> tuple[Array, int]:
    """The same goal with the curvature too: the second derivative's matrix is mean(p (1 - p) x xᵀ)."""
    weights = np.zeros(X.shape[1])
    for step in range(100):
        gradient = cross_entropy_gradient(X, y, weights)
        if np.linalg.norm(gradient) < until:
            return weights, step
        p = sigmoid(X @ weights)
        weights = weights - np.linalg.solve((X.T * (p * (1 - p))) @ X / len(X), gradient)
    raise ArithmeticError("Newton-Raphson did not converge")


def one_wrong_answer(z: float) -> Numbers:
    """A sample of class 1 that the network holds for class 0: both losses and their gradients by z."""
    p = 1 / (1 + math.exp(-z))
    return {
        "z": z,
        "p": p,
        "cross_entropy": -math.log(p),
        "squared": (1 - p) ** 2,
        "by_cross_entropy": p - 1,
        "by_squared": 2 * (p - 1) * p * (1 - p),
        "ratio": (p - 1) / (2 * (p - 1) * p * (1 - p)),
    }


def expectation_maximization(samples: int) -> Numbers:
    """Two bells mixed without labels; EM finds them back."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-2, 1, samples // 2), rng.normal(3, 0.5, samples // 2)])[:, None]
    mixture = GaussianMixture(2, random_state=0, tol=1e-6).fit(x)
    low, high = np.sort(np.ravel(np.asarray(mixture.means_))).tolist()
    return {"low": low, "high": high, "iterations": int(mixture.n_iter_)}


def run(samples: int = 400) -> tuple[Numbers, dict[str, Figure]]:
    """All of the page's numbers and plots."""
    X, y = two_groups(samples)
    slow, steps = descend(X, y, rate=1.0, until=1e-8)
    fast, jumps = newton_raphson(X, y, until=1e-8)
    numbers: Numbers = {
        "samples": samples,
        "apart_from_autograd": gradient_check(X, y),
        "loss_before": cross_entropy(X, y, np.zeros(3)),
        "loss": cross_entropy(X, y, fast),
        "accuracy_percent": float(100 * np.mean((X @ fast > 0) == (y > 0))),
        "steps_descent": steps,
        "steps_newton": jumps,
        "apart": float(np.abs(slow - fast).max()),
        "wrong": one_wrong_answer(-6.0),
        "em": expectation_maximization(1000),
    }
    figure, (left, middle, right) = axes(3)
    left.scatter(X[:120, 0], X[:120, 1], c=np.where(y[:120] > 0, "#d55e00", "#0072b2"), s=5)
    line = np.array([-3.0, 3.0])
    left.plot(line, -(fast[0] * line + fast[2]) / fast[1], color="#222222")
    left.set(title="p = 1/2", xlabel="x₁", ylabel="x₂", ylim=(-3, 4))
    z = np.linspace(-8, 4, 100)
    p = sigmoid(z)
    for plot, curves in (
        (middle, {"cross entropy": -np.log(p), "squared error": (1 - p) ** 2, "hinge": np.maximum(0, 1 - z)}),
        (right, {"cross entropy": p - 1, "squared error": 2 * (p - 1) * p * (1 - p)}),
    ):
        for name, values in curves.items():
            plot.plot(z, values, label=name)
        plot.set(xlabel="z, the right answer being 1")
        plot.legend()
    middle.set(title="loss")
    right.set(title="its gradient by z")
    return numbers, {"losses": figure}


if __name__ == "__main__":
    torch.set_num_threads(1)
    finish(*run())
