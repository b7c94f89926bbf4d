"""Deep networks: gradients that vanish, batch normalisation, shortcuts, dropout, pre-training.

python docs/learn/deep.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from lesson import axes, finish
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lesson import Numbers
    from matplotlib.figure import Figure

WIDTH = 32
KINDS = ("sigmoid", "tanh", "ReLU", "ReLU, He", "sigmoid, batch norm", "ReLU, residual")


def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 digits of 8 x 8: (N, 64) from 0 to 1, shuffled, and which digit."""
    images, names = map(np.asarray, load_digits(return_X_y=True))
    order = np.random.default_rng(0).permutation(len(names))
    return torch.tensor(images[order] / 16, dtype=torch.float32), torch.tensor(names[order])


class Residual(nn.Module):
    """x + f(x): what a layer adds to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.linear(x))


def tower(kind: str, depth: int) -> nn.Sequential:
    """64 inputs, `depth` layers of 32 nodes, 10 classes; PyTorch's own initialisation, or He's."""
    activation = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU}[kind.partition(",")[0]]
    layers: list[nn.Module] = [nn.Linear(64, WIDTH), activation()]
    for _ in range(depth - 1):
        if kind.endswith("residual"):
            layers.append(Residual())
        else:
            norm = [nn.BatchNorm1d(WIDTH)] if kind.endswith("norm") else []
            layers += [nn.Linear(WIDTH, WIDTH), *norm, activation()]
    if kind.endswith("He"):
        for layer in layers[::2]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # pyright: ignore[reportArgumentType]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def gradient_sizes(network: nn.Module, X: Tensor, y: Tensor) -> list[float]:
    """The length of the gradient of each layer's weights, from the input up."""
    network.zero_grad()
    cross_entropy(network(X), y).backward()
    matrices = [weight for weight in network.parameters() if weight.ndim == 2]
    return [float(weight.grad.norm()) for weight in matrices if weight.grad is not None]


def learn(network: nn.Module, X: Tensor, y: Tensor, steps: int, *, rate: float = 0.003, batch: int = 64) -> list[float]:
    """Adam on mini-batches; the loss of each step."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer, losses, turn = torch.optim.Adam(weights, rate), list[float](), _batches(len(X), batch)
    for _ in range(steps):
        some = next(turn)
        optimizer.zero_grad()
        loss = cross_entropy(network(X[some]), y[some])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _batches(samples: int, batch: int) -> Iterator[Tensor]:
    """Mini-batches without end; each epoch in another order."""
    order = torch.Generator().manual_seed(0)
    while True:
        yield from torch.randperm(samples, generator=order).split(batch)


def accuracy(network: nn.Module, X: Tensor, y: Tensor) -> float:
    """Per cent right."""
    network.eval()
    with torch.no_grad():
        return 100 * float((network(X).argmax(1) == y).float().mean())


def towers(depth: int, steps: int) -> tuple[Numbers, dict[str, list[float]], dict[str, list[float]]]:
    """Each kind of deep network: gradients before learning, losses on the way."""
    X, y = digits()
    sizes, losses, numbers = dict[str, list[float]](), dict[str, list[float]](), {}
    for kind in KINDS:
        torch.manual_seed(0)
        network = tower(kind, depth)
        sizes[kind] = gradient_sizes(network, X[:256], y[:256])
        losses[kind] = learn(network.train(), X[:1000], y[:1000], steps)
        numbers[kind] = {"ratio": sizes[kind][0] / sizes[kind][-1], "loss": float(np.mean(losses[kind][-20:]))}
    return numbers, sizes, losses


def dropout_twice(trials: int) -> Numbers:
    """The classic and the inverted dropout of one linear layer: what comes out on average, and at test."""
    torch.manual_seed(0)
    x, w = torch.rand(100, dtype=torch.float64), torch.randn(100, dtype=torch.float64) / 10
    kept = (torch.rand(trials, 100) < 0.5).double()
    return {
        "trials": trials,
        "kept_percent": 100 * float(kept.mean()),
        "classic_training": float((kept * x @ w).mean()),
        "classic_test": float(0.5 * x @ w),
        "inverted_training": float((2 * kept * x @ w).mean()),
        "inverted_test": float(x @ w),
    }


def overfitting(samples: int, steps: int, seeds: int) -> Numbers:
    """A wide network on few samples, without and with dropout of one half."""
    X, y = digits()
    found: Numbers = {"samples": samples, "seeds": seeds, "tests": len(X) - 1000}
    for name, part in (("plain", 0.0), ("dropout", 0.5)):
        learnt, tests = list[float](), list[float]()
        for seed in range(seeds):
            torch.manual_seed(seed)
            layers = (nn.Linear(64, 256), nn.ReLU(), nn.Dropout(part), nn.Linear(256, 256), nn.ReLU(), nn.Dropout(part))
            network = nn.Sequential(*layers, nn.Linear(256, 10)).train()
            begin = seed * samples
            learn(network, X[begin : begin + samples], y[begin : begin + samples], steps, rate=0.001, batch=20)
            learnt.append(accuracy(network, X[begin : begin + samples], y[begin : begin + samples]))
            tests.append(accuracy(network, X[1000:], y[1000:]))
        found[name] = {"learnt": float(np.mean(learnt)), "test": float(np.mean(tests))}
    return found


def pretrained(depth: int, X: Tensor, steps: int) -> nn.Sequential:
    """Sigmoid layers, each trained to reconstruct the output of the layer below, without labels (Hinton 2006)."""
    network, shown = tower("sigmoid", depth), X
    for number in range(depth):
        layer = nn.Sequential(network[2 * number], nn.Sigmoid())
        rebuild = nn.Linear(WIDTH, shown.shape[1])
        optimizer, turn = torch.optim.Adam([*layer.parameters(), *rebuild.parameters()], 0.01), _batches(len(X), 100)
        for _ in range(steps):
            some = shown[next(turn)]
            optimizer.zero_grad()
            mse_loss(rebuild(layer(some)), some).backward()
            optimizer.step()
        shown = layer(shown).detach()
    return network


def pretraining(labels: int, steps: int, seeds: int) -> Numbers:
    """Few labels, many images: from scratch, after pre-training, and with the pre-trained layers frozen."""
    X, y = digits()
    found: Numbers = {"labels": labels, "images": 1000, "seeds": seeds}
    for depth in (1, 3):
        results: dict[str, list[float]] = {"scratch": [], "tuned": [], "frozen": []}
        for seed in range(seeds):
            some = slice(seed * labels, (seed + 1) * labels)
            for name, taken in results.items():
                torch.manual_seed(seed)
                network = tower("sigmoid", depth) if name == "scratch" else pretrained(depth, X[:1000], steps)
                if name == "frozen":
                    network[:-1].requires_grad_(False)
                learn(network.train(), X[some], y[some], steps, rate=0.01, batch=20)
                taken.append(accuracy(network, X[1000:], y[1000:]))
        found[f"depth_{depth}"] = {name: float(np.mean(taken)) for name, taken in results.items()}
        found[f"depth_{depth}"]["gain"] = found[f"depth_{depth}"]["tuned"] - found[f"depth_{depth}"]["scratch"]
    return found


def run(depth: int = 20, steps: int = 400, seeds: int = 5) -> tuple[Numbers, dict[str, Figure]]:
    """All of the page's numbers and plots."""
    kinds, sizes, losses = towers(depth, steps)
    numbers: Numbers = {
        "depth": depth,
        "steps": steps,
        "kind": {kind.replace(", ", "_").replace(" ", "_").lower(): value for kind, value in kinds.items()},
        "drop": dropout_twice(20_000),
        "over": overfitting(100, steps, seeds),
        "pre": pretraining(50, steps, seeds),
    }
    figure, (left, right) = axes(2)
    for kind in KINDS:
        left.semilogy(range(1, len(sizes[kind]) + 1), sizes[kind], label=kind)
        smooth = np.convolve(losses[kind], np.full(20, 0.05), "valid")[::4]
        right.plot(np.arange(len(smooth)) * 4 + 20, smooth, label=kind)
    left.legend(loc="lower right")
    left.set(title="gradient of each layer's weights before learning", xlabel="layer, from the input")
    right.set(title="loss", xlabel="step")
    return numbers, {"deep": figure}


if __name__ == "__main__":
    torch.set_num_threads(1)
    finish(*run())
