"""Left hand, right hand or none: features chosen by hand, published features and learned ones; two kinds of heads.

python docs/learn/hand_features.py   (wants the hand networks: sonjit models pull hands)
"""

from __future__ import annotations

import sys
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import torch
from lesson import HERE, axes, finish
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sonjit._util.errors import SonjitError
from sonjit.explanations.pooled import PooledNetwork
from sonjit.media.drawing.heat_maps import draw_feature_maps
from sonjit.weights import find_weight
from sonjit_lab.papers.cam.class_images import CLASSES, Crop, HandCrops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lesson import Numbers
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

SIZE = 48
CELL, DIRECTIONS = 8, 9
"""Of the histograms of gradients: pixels, and bins of 20 degrees; light to dark and dark to light are one."""


class SmallNetwork(nn.Module):
    """Three convolutions, then a head: the mean over all places (GAP), or a fully connected layer over them."""

    def __init__(self, head: Literal["gap", "fully_connected"]) -> None:
        super().__init__()
        sizes = (3, 16, 32, 64)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2))
            for before, after in pairwise(sizes)
        )
        places = (SIZE // 8) ** 2
        self.head = (
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 3))
            if head == "gap"
            else nn.Sequential(nn.Flatten(), nn.Linear(64 * places, 64), nn.ReLU(), nn.Linear(64, 3))
        )

    def maps(self, x: Tensor) -> list[Tensor]:
        """Each layer's output for images (N, 3, 48, 48): (N, C, H, W) each."""
        found = list[Tensor]()
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.maps(x)[-1])


def crops_of_the_clip(learnt: int) -> tuple[list[Crop], list[Crop]]:
    """Crops of the bundled clip: to learn from, moved, turned, mirrored and relit; and of frames held out."""
    assets = Path(str(resources.files("sonjit"))) / "_util" / "assets"
    crops = HandCrops(assets / "demo.mp4", assets / "demo.json", size=SIZE, segment=60)
    tests = [*crops.test(), *crops.test(none=True)[::2]]
    return crops.draw(np.random.default_rng(0), learnt), tests


def labels(crops: Sequence[Crop]) -> NDArray[np.int64]:
    return np.array([one.label for one in crops])


def pixels(crops: Sequence[Crop]) -> NDArray[np.float32]:
    return np.array([one.image.reshape(-1) / 255 for one in crops], np.float32)


def hog(crops: Sequence[Crop]) -> NDArray[np.float32]:
    """Histograms of oriented gradients: which way edges run, cell by cell, each 2 x 2 cells of length 1: (N, 900).

    Source: Dalal and Triggs 2005. Without their interpolation between cells.
    """
    grey = np.array([cv2.cvtColor(one.image, cv2.COLOR_RGB2GRAY) for one in crops], float)
    down, right = np.gradient(grey, axis=(1, 2))
    sizes, bins = np.hypot(down, right), (np.arctan2(down, right) % np.pi * DIRECTIONS / np.pi).astype(int) % DIRECTIONS
    cells, n = SIZE // CELL, len(crops)
    split = (n, cells, CELL, cells, CELL)
    found = np.stack(
        [np.where(bins == one, sizes, 0).reshape(split).sum((2, 4)) for one in range(DIRECTIONS)], -1
    )  # (N, 6, 6, 9)
    blocks = [found[:, i : cells - 1 + i, j : cells - 1 + j] for i in (0, 1) for j in (0, 1)]
    joined = np.concatenate(blocks, -1)  # (N, 5, 5, 36)
    joined /= np.linalg.norm(joined, axis=-1, keepdims=True) + 1.0
    return joined.reshape(n, -1).astype(np.float32)


def published(crops: Sequence[Crop]) -> NDArray[np.float32]:
    """The mean of the last map of the published hand landmark network: (N, 672)."""
    network = PooledNetwork(find_weight("hand-lite"), 1)
    found: list[NDArray[np.float32]] = []
    side = network.input.shape[1]
    for one in crops:
        network.input[0] = cv2.resize(one.image, (side, side), interpolation=cv2.INTER_LINEAR)
        found.append(network.run()[0].mean((1, 2)))
    return np.array(found, np.float32)


def as_tensor(crops: Sequence[Crop]) -> Tensor:
    return torch.as_tensor(np.array([one.image for one in crops])).permute(0, 3, 1, 2) / 255 - 0.5


def learn(network: SmallNetwork, X: Tensor, y: Tensor, epochs: int) -> None:
    """Adam with a falling rate on mini-batches of 32."""
    batches = -(-len(X) // 32)
    optimizer = torch.optim.Adam(network.parameters(), 0.003)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    network.train()
    for _ in range(epochs):
        for some in torch.randperm(len(X)).split(32):
            optimizer.zero_grad()
            cross_entropy(network(X[some]), y[some]).backward()
            optimizer.step()
            schedule.step()
    network.eval()


def support_vectors(kernel: str) -> Pipeline:
    return make_pipeline(StandardScaler(), SVC(kernel=kernel, C=0.01 if kernel == "linear" else 3.0))


def look_inside(network: SmallNetwork, crop: Crop, out: Path) -> None:
    """Per layer the two channels that say most of an image, and the map of its class, drawn over it."""
    with torch.no_grad():
        maps = network.maps(as_tensor([crop]))
        weights = next(network.head.parameters())  # (3, 64): of the classes
        where = torch.einsum("k,khw->hw", weights[crop.label], maps[-1][0])
    shown: dict[str, NDArray[np.floating]] = {}
    for number, values in enumerate(maps, 1):
        for rank, channel in enumerate(values[0].amax((1, 2)).argsort(descending=True)[:2], 1):
            shown[f"layer {number}, {rank}"] = values[0, channel].numpy()
    shown[CLASSES[crop.label].lower()] = where.numpy()
    image = cv2.resize(crop.image, (144, 144), interpolation=cv2.INTER_CUBIC)
    drawn = draw_feature_maps(shown, np.asarray(image, np.uint8))
    cv2.imwrite(str(out), drawn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def run(learnt: int = 900, epochs: int = 12, seeds: int = 3, out: Path = HERE) -> tuple[Numbers, dict[str, Figure]]:
    """All of the page's numbers and plots."""
    train, tests = crops_of_the_clip(learnt)
    y, truth = labels(train), labels(tests)
    right: dict[str, float] = {}
    for name, feature, kernel in (
        ("pixels", pixels, "linear"),
        ("hog", hog, "linear"),
        ("hog_rbf", hog, "rbf"),
        ("published", published, "linear"),
    ):
        right[name] = 100 * float(support_vectors(kernel).fit(feature(train), y).score(feature(tests), truth))
    X, X_test, parameters = as_tensor(train), as_tensor(tests), dict[str, int]()
    last: SmallNetwork | None = None
    for head in ("fully_connected", "gap"):
        scores = list[float]()
        for seed in range(seeds):
            torch.manual_seed(seed)
            last = SmallNetwork(head)
            learn(last, X, torch.as_tensor(y), epochs)
            with torch.no_grad():
                scores.append(100 * float((last(X_test).argmax(1).numpy() == truth).mean()))
        assert last is not None
        right[head] = float(np.mean(scores))
        right[f"{head}_least"], right[f"{head}_most"] = min(scores), max(scores)
        parameters[head] = sum(one.numel() for one in last.head.parameters())
    assert last is not None
    with torch.no_grad():
        features = [last.maps(one)[-1].mean((2, 3)).numpy() for one in (X, X_test)]
    right["learned_svm"] = 100 * float(support_vectors("linear").fit(features[0], y).score(features[1], truth))
    look_inside(last, tests[0], out / "plots" / "hand_features.jpg")
    bars = ("pixels", "hog", "hog_rbf", "published", "learned_svm", "fully_connected", "gap")
    figure, (plot,) = axes(1, 2.6)
    plot.barh([name.replace("_", " ") for name in bars], [right[name] for name in bars], color="#0072b2")
    plot.axvline(100 / 3, color="#444444", linestyle="--", linewidth=0.8)
    plot.set(xlabel="right on held-out frames, per cent (dashed: guessing)", xlim=(0, 100))
    plot.invert_yaxis()
    return (
        {
            "learnt": learnt,
            "tests": len(tests),
            "seeds": seeds,
            "hog_size": hog(tests[:1]).shape[1],
            "right": right,
            "head": parameters,
            "convolutions": sum(one.numel() for one in last.layers.parameters()),
        },
        {"hand_features": figure},
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        finish(*run())
    except SonjitError as error:
        sys.exit(str(error))
