"""Support vector machines: the widest margin, features chosen by hand beside learned ones, and a curve.

python docs/learn/svm.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from lesson import axes, finish
from sklearn.datasets import make_blobs, make_circles
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, SVR

if TYPE_CHECKING:
    from lesson import Numbers
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def margin_of(X: Array, y: Array, w: Array, b: float) -> float:
    """Twice the distance from a line w x + b = 0 to the nearest sample; y is -1 or 1."""
    return 2 * float((y * (X @ w + b)).min() / np.linalg.norm(w))


def widest(samples: int) -> tuple[Numbers, Array, Array, SVC]:
    """Two groups apart: the margin of an SVM, and of logistic regression, which takes all samples into account."""
    groups = make_blobs(samples, centers=[[-2.0, 0.0], [2.0, 1.0]], cluster_std=0.6, random_state=3)
    X, y = np.asarray(groups[0], float), np.where(np.asarray(groups[1]) > 0, 1.0, -1.0)
    machine, logistic = SVC(kernel="linear", C=1e6).fit(X, y), LogisticRegression().fit(X, y)
    return (
        {
            "samples": samples,
            "svm": margin_of(X, y, machine.coef_[0], float(machine.intercept_[0])),
            "by_formula": 2 / float(np.linalg.norm(machine.coef_)),
            "logistic": margin_of(X, y, logistic.coef_[0], float(logistic.intercept_[0])),
            "support": len(machine.support_),
        },
        X,
        y,
        machine,
    )


def mapped(samples: int) -> tuple[Numbers, Array, Array]:
    """A ring around a disc: straight lines on x, on a fixed mapping of x, and on a mapping that is learned."""
    X, y = (np.asarray(one, float) for one in make_circles(samples, factor=0.4, noise=0.12, random_state=0))
    half = samples // 2
    squares = np.column_stack([X, X**2])  # chosen by hand: who knows of circles takes squares
    network = MLPClassifier((4,), activation="tanh", solver="lbfgs", random_state=0, max_iter=500)
    found: Numbers = {"samples": half}
    for name, model, inputs in (
        ("linear", SVC(kernel="linear"), X),
        ("squares", SVC(kernel="linear"), squares),
        ("rbf", SVC(kernel="rbf"), X),
        ("learned", network, X),
    ):
        found[name] = 100 * float(model.fit(inputs[:half], y[:half]).score(inputs[half:], y[half:]))
    return found, X, y


def regression(samples: int) -> Numbers:
    """Support vector regression of a noisy sine: errors below epsilon cost nothing."""
    x = np.linspace(0, 6, samples)[:, None]
    y = np.sin(x[:, 0]) + np.random.default_rng(0).normal(0, 0.1, samples)
    machine = SVR(C=10, epsilon=0.2).fit(x, y)
    error = float(np.sqrt(np.mean((machine.predict(x) - np.sin(x[:, 0])) ** 2)))
    return {"samples": samples, "support": len(machine.support_), "error": error}


def run(samples: int = 600) -> tuple[Numbers, dict[str, Figure]]:
    """All of the page's numbers and plots."""
    margin, X, y, machine = widest(60)
    rings, at, ring = mapped(samples)
    figure, (left, right) = axes(2, 3.2)
    left.scatter(X[:, 0], X[:, 1], c=np.where(y > 0, "#d55e00", "#0072b2"), s=8)
    support = machine.support_vectors_
    left.scatter(support[:, 0], support[:, 1], s=60, facecolors="none", edgecolors="#222222", label="support vectors")
    w, b, x = machine.coef_[0], float(machine.intercept_[0]), np.array([-2.5, 2.5])
    for level, dashes in ((0, "-"), (-1, "--"), (1, "--")):
        left.plot(x, (level - b - w[0] * x) / w[1], dashes, color="#222222", linewidth=0.9)
    left.set(title="the widest margin", ylim=(-3, 4), aspect="equal")
    left.legend()
    right.scatter(at[:150, 0], at[:150, 1], c=np.where(ring[:150] > 0, "#d55e00", "#0072b2"), s=8)
    right.set(title="no straight line parts these", aspect="equal")
    return {"margin": margin, "rings": rings, "regression": regression(100)}, {"svm": figure}


if __name__ == "__main__":
    finish(*run())
