"""The recipe `hand-heads`: visibility and handedness, with calibrated probabilities, from the published hand networks.

The heads are those of `detectors.hand_heads` as a module to train, which becomes calibrated arrays. The hand networks
stay as they are: their features are computed once per hand and kept, so that training takes a minute. Heads are
evaluated by how well they separate visible keypoints from hidden ones, and by their calibration.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import relu

from sonjit.arrays import BoolArray, Float32Array, IndexArray, IntArray, RealArray
from sonjit.detectors.kinds.hand_heads import ASSET, BEFORE, BEHIND, HandHeads, shipped_arrays
from sonjit.errors import InputError
from sonjit.files import atomic_file
from sonjit.metrics.statistics import mean_interval
from sonjit.training.batches import moved
from sonjit.training.hand_heads.data import CAUSES, HandFeatures, hand_features
from sonjit.training.loop import TrainingSettings, train
from sonjit.training.recipes import TrainingRequest, settings_from
from sonjit.training.settings import check_at_least

_KEYPOINTS = 21

_LEAST_SPREAD = 1e-2

_CALIBRATION_STEPS = 100


class HeadNetwork(nn.Module):
    """Both heads of one network.

    Args:
        local: channels that are read at each keypoint.
        mean: channels of the network's last map.
        hidden: width of all layers.
        dropout: of the layers that visibility is computed by.
        side_dropout: of all inputs of the handedness.
    """

    local_middle: Tensor
    local_spread: Tensor
    mean_middle: Tensor
    mean_spread: Tensor

    def __init__(self, local: int, mean: int, hidden: int, dropout: float, side_dropout: float) -> None:
        super().__init__()
        for name, count in (("local", local), ("mean", mean)):
            self.register_buffer(f"{name}_middle", torch.zeros(count))
            self.register_buffer(f"{name}_spread", torch.ones(count))
        self.dropout, self.side_dropout = nn.Dropout(dropout), nn.Dropout(side_dropout)
        self.local = nn.Linear(local, hidden, bias=False)
        self.keypoint = nn.Parameter(torch.zeros(_KEYPOINTS, hidden))
        self.own, self.before, self.behind, self.all = (nn.Linear(hidden, hidden, bias=False) for _ in range(4))
        self.keypoint_wide = nn.Parameter(torch.zeros(_KEYPOINTS, hidden))
        self.common = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        self.each = nn.Parameter(torch.zeros(_KEYPOINTS, hidden))
        self.bias = nn.Parameter(torch.zeros(_KEYPOINTS))
        self.side_mean = nn.Linear(mean, hidden)
        self.side_shape = nn.Linear(3 * _KEYPOINTS, hidden, bias=False)
        self.side_near = nn.Linear(_KEYPOINTS * hidden, hidden, bias=False)
        self.side = nn.Linear(hidden, 1)

    @torch.no_grad()
    def fit_normalisation(self, features: HandFeatures) -> None:
        """Take over mean and deviation of the inputs, by which they are normalised."""
        for name in ("local", "mean"):
            values = np.asarray(getattr(features, name), np.float32)
            values = values.reshape(-1, values.shape[-1])
            getattr(self, f"{name}_middle").copy_(torch.from_numpy(values.mean(0)))
            getattr(self, f"{name}_spread").copy_(torch.from_numpy(values.std(0) + _LEAST_SPREAD))

    def forward(self, local: Tensor, shape: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Logits: (B, 21) that a keypoint is seen, and (B,) of the person's own right hand.

        Args:
            local: (B, 21, L).
            shape: (B, 63).
            mean: (B, C).
        """
        local = (local - self.local_middle) / self.local_spread
        first = relu(self.local(local) + self.keypoint)  # (B, 21, H)
        near = self.dropout(first)
        around = self.before(near[:, BEFORE]) + self.behind(near[:, BEHIND]) + self.all(near.mean(1, keepdim=True))
        wide = self.dropout(relu(self.own(near) + around + self.keypoint_wide))  # (B, 21, H)
        seen = (wide * (self.common + self.each)).sum(-1) + self.bias
        mean = self.side_dropout((mean - self.mean_middle) / self.mean_spread)
        side = self.side_mean(mean) + self.side_shape(shape) + self.side_near(self.side_dropout(first.flatten(1)))
        return seen, self.side(self.side_dropout(relu(side)))[:, 0]

    @torch.no_grad()
    def arrays(self) -> dict[str, Float32Array]:
        """The same heads, in eval mode, as `detectors.hand_heads.HandHeads` takes them."""
        weights: dict[str, Tensor] = {}
        for name, layer, middle, spread in (
            ("local", self.local, self.local_middle, self.local_spread),
            ("side_mean", self.side_mean, self.mean_middle, self.mean_spread),
        ):
            weights[name] = (layer.weight / spread).T  # (inputs, H)
            weights[f"{name}_shift"] = -middle @ weights[name]
        weights["keypoint"] = self.keypoint + weights.pop("local_shift")
        for name in ("own", "before", "behind", "all", "side_shape", "side_near"):
            weights[name] = getattr(self, name).weight.T
        weights["keypoint_wide"] = self.keypoint_wide
        weights["seen"], weights["seen_bias"] = self.common + self.each, self.bias
        weights["side_context"] = self.side_mean.bias + weights.pop("side_mean_shift")
        weights["side"], weights["side_bias"] = self.side.weight[0], self.side.bias
        return {name: np.ascontiguousarray(value.numpy()) for name, value in weights.items()}


def calibrated(
    arrays: Mapping[str, Float32Array], logits: tuple[Float32Array, Float32Array], features: HandFeatures
) -> dict[str, Float32Array]:
    """The same heads with logits that are turned into calibrated probabilities by Platt scaling.

    Source: Platt 1999, Probabilistic outputs for support vector machines.

    Args:
        arrays: of the heads.
        logits: of these heads on hands that they were not trained on, (N, 21) and (N,).
        features: of those hands, with the ground truth.
    """
    (scale, shift), (side_scale, side_shift) = platt(logits[0], features.seen), platt(logits[1], features.right)
    changed = dict(arrays)
    for name, times, plus in (("seen", scale, shift), ("side", side_scale, side_shift)):
        changed[name] = np.asarray(arrays[name] * times, np.float32)
        changed[f"{name}_bias"] = np.asarray(arrays[f"{name}_bias"] * times + plus, np.float32)
    return changed


def platt(logits: Float32Array, truth: BoolArray) -> tuple[float, float]:
    """What to multiply logits with and add to them, so that cross entropy is least; Newton's method in float64."""
    x, y = logits.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    design = np.stack([x, np.ones_like(x)])  # (2, N)
    found = np.array([1.0, 0.0])
    for _ in range(_CALIBRATION_STEPS):
        predicted = 1 / (1 + np.exp(-(found @ design)))
        curvature = (design * (predicted * (1 - predicted))) @ design.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, design @ (y - predicted))
        found = found + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return float(found[0]), float(found[1])


MODELS: Final = ("full", "lite")

FEATURES: Final = "features"
"""Folder within the run's with the features of each data set."""


@dataclass(frozen=True)
class HandHeadSettings(TrainingSettings):
    """Settings of the recipe.

    Attributes:
        train: folders below the data to train on.
        held_out: folders below the data to evaluate on; with other backgrounds, gloves and objects.
        more: further crops of each training hand, see `hand_features`.
        calibration: share of the training images on which only the probabilities are calibrated.
        batch: hands in a step, of each network.
        hidden: width of the layers.
        dropout: of the layers that visibility is computed by.
        side_dropout: of all inputs of the handedness.
    """

    steps: int = 2000
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    save_every: int = 1000
    train: tuple[str, ...] = ("train-1", "train-2", "train-3", "train-4")
    held_out: tuple[str, ...] = ("heldout-1", "heldout-2")
    more: int = 2
    calibration: float = 0.15
    batch: int = 128
    hidden: int = 64
    dropout: float = 0.2
    side_dropout: float = 0.7

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        check_at_least(self, batch=1, hidden=1, more=0)
        if not self.train or not self.held_out:
            raise InputError("train and held_out: name at least one folder below --data each")
        if both := sorted(set(self.train) & set(self.held_out)):
            raise InputError(f"{both[0]} is in train and in held_out: evaluate on other hands than those trained on")
        if not 0.01 <= self.calibration <= 0.5 or not all(0 <= part < 1 for part in (self.dropout, self.side_dropout)):
            raise InputError("give calibration in 0.01..0.5, dropout and side_dropout in 0..1")


def train_hand_heads(request: TrainingRequest) -> dict[str, object]:
    """Train, calibrate and evaluate the heads of both networks; writes `hand_heads.npz`."""
    settings = settings_from(HandHeadSettings, request.settings)
    assert request.data is not None
    _check_folders(request.data, (*settings.train, *settings.held_out))
    training, calibration, held_out = {}, {}, {}
    for model in MODELS:
        features = _features(request, settings.train, model, settings.more)
        own = _is_for_calibration(features, settings.calibration)
        training[model], calibration[model] = features.take(~own), features.take(own)
        held_out[model] = _features(request, settings.held_out, model, 0)
    networks = train_heads(training, settings, request, held_out)
    arrays: dict[str, Float32Array] = {}
    results: dict[str, object] = {"heads": request.out / ASSET}
    for model in MODELS:
        raw = networks[model].arrays()
        heads = calibrated(raw, HandHeads(raw).logits(*calibration[model].inputs()), calibration[model])
        arrays |= {f"{model}.{name}": value for name, value in heads.items()}
        metrics = head_metrics(HandHeads(heads), HandHeads(raw), held_out[model])
        results |= {f"{model}_{name}": value for name, value in metrics.items()}
    arrays |= shipped_arrays("full.appearance")  # `sonjit train gestures` makes it
    with atomic_file(request.out / ASSET) as draft:
        np.savez(draft, **arrays)  # pyright: ignore[reportArgumentType]  # a keyword of its own besides
    return results


def train_heads(
    features: Mapping[str, HandFeatures],
    settings: HandHeadSettings,
    request: TrainingRequest | None = None,
    held_out: Mapping[str, HandFeatures] | None = None,
) -> Mapping[str, HeadNetwork]:
    """The trained heads of each network, in eval mode on the CPU.

    Args:
        features: of each network.
        settings: of the recipe.
        request: where the run is kept; None keeps nothing.
        held_out: features on which the losses are evaluated during the run.
    """
    torch.manual_seed(settings.seed)
    device = request.device if request else "cpu"
    networks: dict[str, HeadNetwork] = {}
    for model, hands in features.items():
        widths = (hands.local.shape[-1], hands.mean.shape[-1], settings.hidden)
        network = HeadNetwork(*widths, settings.dropout, settings.side_dropout)
        network.fit_normalisation(hands)
        networks[model] = network

    def losses(network: nn.ModuleDict, drawn: Mapping[str, Sequence[Tensor]]) -> Mapping[str, Tensor]:
        by_name: dict[str, Tensor] = {}
        for model, (local, shape, mean, seen, right) in drawn.items():
            logits = network[model](local, shape, mean)
            by_name[f"{model}_seen"] = cross_entropy(logits[0], seen)
            by_name[f"{model}_side"] = cross_entropy(logits[1], right)
        return by_name

    def evaluate(network: nn.ModuleDict) -> dict[str, float]:
        whole = {model: _tensors(hands) for model, hands in (held_out or {}).items()}
        parts = {name: value.item() for name, value in losses(network, moved(whole, torch.device(device))).items()}
        return {"loss": sum(parts.values()), **parts}

    both, batch = nn.ModuleDict(networks).to(device).train(), partial(_drawn, features=features, count=settings.batch)
    if request is None:
        train(both, batch, losses, settings)
    else:
        inputs = {"hands": {model: len(hands) for model, hands in features.items()}}
        train(
            both, batch, losses, settings, out=request.out, inputs=inputs, progress=request.progress,
            evaluate=evaluate if held_out else None,
        )  # fmt: skip
    both.cpu().eval()
    return networks


def _drawn(rng: np.random.Generator, features: Mapping[str, HandFeatures], count: int) -> dict[str, list[Tensor]]:
    return {
        model: _tensors(hands.take(rng.integers(len(hands), size=count))) for model, hands in features.items()
    }  # fmt: skip


def _tensors(hands: HandFeatures) -> list[Tensor]:
    values = (*hands.inputs(), hands.seen, hands.right)
    return [torch.from_numpy(np.asarray(one, np.float32)) for one in values]


def _is_for_calibration(features: HandFeatures, part: float) -> BoolArray:
    """(N,) which are of images for calibration only, whatever the number of images."""
    numbers = np.array([zlib.crc32(b"%d" % image) for image in features.image])
    return numbers < part * (1 << 32)


def _check_folders(data: Path, names: Sequence[str]) -> None:
    for name in names:
        if not (data / name).is_dir():
            raise InputError(f"{data / name}: no such folder; sonjit synth makes it, see docs/hand-heads.md")


def _features(request: TrainingRequest, names: Sequence[str], model: str, more: int) -> HandFeatures:
    """Features of some folders below the data."""

    def compute(folder: Path, progress: Callable[[int, int], None]) -> HandFeatures:
        return hand_features(folder, model, more=more, progress=progress)

    return HandFeatures.of_folders(request, names, f"{FEATURES}/{{}}-{model}-{more}.npz", compute)


_BINS = 15

_DRAWS = 500

_FEWEST = 20
"""Keypoints hidden by a cause, below which it has no metric."""

_WELL_FOUND = 0.05
"""Mean distance of a hand's keypoints from the truth, in its extent, up to which the network has found it well."""


def auroc(scores: RealArray, truth: BoolArray) -> float:
    """Probability that a true one scores above a false one, ties counting half; NaN where there are not both.

    Source: Hanley and McNeil 1982: the area under the ROC curve is Mann and Whitney's statistic.
    """
    _, place = np.unique(scores, return_inverse=True)
    return _area(place.ravel(), truth.ravel(), np.ones(truth.size))


def auroc_interval(scores: RealArray, truth: BoolArray, clusters: IntArray) -> tuple[float, float]:
    """Where `auroc` lies in 95 % of draws, with replacement, of whole clusters (N,) of scores (N,)."""
    _, place = np.unique(scores, return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    count, rng = int(cluster.max()) + 1, np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(count, size=count), minlength=count)[cluster] for _ in range(_DRAWS)]
    low, high = np.nanquantile([_area(place, truth, weights) for weights in drawn], [0.025, 0.975]).tolist()
    return low, high


def _area(place: IndexArray, truth: BoolArray, weights: NDArray[np.floating | np.integer]) -> float:
    """Area under the ROC curve of scores by their ranks, each with a weight."""
    positive, negative = (np.bincount(place, weights * some) for some in (truth, ~truth))
    pairs = positive.sum() * negative.sum()
    return float(positive @ (negative.cumsum() - negative / 2) / pairs) if pairs else float("nan")


def calibration_error(probabilities: RealArray, truth: BoolArray) -> float:
    """Expected calibration error, 0..1: how far probabilities are from how often they come true, in 15 even bins.

    Source: Guo et al. 2017, On calibration of modern neural networks, section 2.
    """
    predicted, true = probabilities.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    bins = np.minimum((predicted * _BINS).astype(np.intp), _BINS - 1)
    gaps = np.bincount(bins, predicted - true, _BINS)
    return float(np.abs(gaps).sum() / max(len(predicted), 1))


def head_metrics(heads: HandHeads, raw: HandHeads, features: HandFeatures) -> dict[str, float]:
    """Metrics of heads on hands held out.

    Args:
        heads: calibrated.
        raw: the same before calibration.
        features: the hands.
    """
    seen, side = heads.probabilities(*features.inputs())
    raw_seen, raw_side = raw.probabilities(*features.inputs())
    metrics: dict[str, float] = {"hands": len(features)}
    images = np.broadcast_to(features.image[:, None], seen.shape)
    for cause in ("", *CAUSES[1:]):
        hidden = features.cause == CAUSES.index(cause) if cause else ~features.seen
        if hidden.sum() >= _FEWEST:
            some, name = features.seen | hidden, f"auroc_{cause}".rstrip("_")
            metrics[name] = auroc(seen[some], features.seen[some])
            metrics[f"{name}_low"], metrics[f"{name}_high"] = auroc_interval(
                seen[some], features.seen[some], images[some]
            )
            metrics[f"{name}_hidden"] = int(hidden.sum())
    metrics |= {
        "hidden_found": float((seen[~features.seen] < 0.5).mean()) if (~features.seen).any() else float("nan"),
        "seen_found": float((seen[features.seen] >= 0.5).mean()),
        "ece": calibration_error(seen, features.seen),
        "ece_before": calibration_error(raw_seen, features.seen),
    }
    right, published = (side > 0.5) == features.right, (features.label > 0.5) == features.right
    low, high = mean_interval(right, clusters=features.image.tolist())
    metrics |= {
        "side": float(right.mean()),
        "side_low": low,
        "side_high": high,
        "side_ece": calibration_error(side, features.right),
        "side_ece_before": calibration_error(raw_side, features.right),
        "published_side": float(published.mean()),
        "published_side_ece": calibration_error(features.label, features.right),
    }
    for name, some in (("half_seen", features.seen.mean(1) >= 0.5), ("well_found", features.error < _WELL_FOUND)):
        if some.any():
            metrics |= {
                f"side_{name}_hands": int(some.sum()),
                f"side_{name}": float(right[some].mean()),
                f"published_side_{name}": float(published[some].mean()),
            }
    return metrics
