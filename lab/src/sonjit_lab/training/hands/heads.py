"""Train the shipped heads of the published hand networks (recipe `hand-heads`): visibility and handedness.

The hand networks are not trained. Their features are computed once per crop and saved in the run's folder, so that
training takes minutes. The trained heads are converted to calibrated arrays of `HandHeads`, and evaluated by how well
they separate visible keypoints from hidden ones, and by their calibration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sonjit._util import BoolArray, Float32Array, RealArray
from sonjit._util.files import atomic_file
from sonjit.detectors.kinds.hand_heads import ASSET, BEFORE, BEHIND, HandHeads, shipped_arrays
from sonjit_lab.metrics.probabilities import auroc, auroc_interval, calibration_error
from sonjit_lab.metrics.statistics import mean_interval
from sonjit_lab.training import batches, loop, recipes
from sonjit_lab.training.array_rows import CalibrationImages
from sonjit_lab.training.hands.head_data import CAUSES, KEYPOINTS, HandFeatures, check_folders, hand_features
from sonjit_lab.training.hands.samples import report_folders
from sonjit_lab.training.settings import Copies, Decay, Fraction, Range, SmallBatch, Steps, Width

MODELS: Final = ("full", "lite")
_MIN_SPREAD: Final = 1e-2
_CALIBRATION_STEPS: Final = 100
_MIN_HIDDEN: Final = 20  # minimum number of keypoints hidden by a cause for a metric of this cause
_WELL_DETECTED: Final = 0.05  # maximum mean error of a well detected hand's keypoints, relative to its extent


@dataclass(frozen=True)
class HandHeadSettings(loop.TrainingSettings):
    """Settings of the recipe."""

    steps: Steps = 2000
    learning_rate: float = 2e-3
    weight_decay: Decay = 0.05
    save_every: Steps = 1000
    train: tuple[str, ...] = ()  # training folders, relative to the data
    held_out: tuple[str, ...] = ()  # folders to evaluate on, relative to the data, with other people and backgrounds
    more: Copies = 2  # number of further images of each training image, mirrored or with objects over the hands
    # share of the training images that only calibrate the probabilities: all images of some people
    calibration: Annotated[float, Range(0.01, 0.5)] = 0.15
    batch: SmallBatch = 128  # number of hands of each network in a step
    hidden: Width = 64  # width of the layers
    dropout: Fraction = 0.2  # dropout of the layers for visibility
    side_dropout: Fraction = 0.7  # dropout of all inputs of the handedness

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folders(self.train, self.held_out)


class HeadNetwork(nn.Module):
    """The heads of one hand network, from `local` features per keypoint and `mean` features of the last map."""

    local_middle: Tensor
    local_spread: Tensor
    mean_middle: Tensor
    mean_spread: Tensor

    def __init__(self, local: int, mean: int, hidden: int, dropout: float = 0.0, side_dropout: float = 0.0) -> None:
        super().__init__()
        for name, count in (("local", local), ("mean", mean)):
            self.register_buffer(f"{name}_middle", torch.zeros(count))
            self.register_buffer(f"{name}_spread", torch.ones(count))
        self.dropout, self.side_dropout = nn.Dropout(dropout), nn.Dropout(side_dropout)
        self.local = nn.Linear(local, hidden, bias=False)
        self.keypoint = nn.Parameter(torch.zeros(KEYPOINTS, hidden))
        self.own, self.before, self.behind, self.all = (nn.Linear(hidden, hidden, bias=False) for _ in range(4))
        self.keypoint_wide = nn.Parameter(torch.zeros(KEYPOINTS, hidden))
        self.common = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        self.each = nn.Parameter(torch.zeros(KEYPOINTS, hidden))
        self.bias = nn.Parameter(torch.zeros(KEYPOINTS))
        self.side_mean = nn.Linear(mean, hidden)
        self.side_shape = nn.Linear(3 * KEYPOINTS, hidden, bias=False)
        self.side_near = nn.Linear(KEYPOINTS * hidden, hidden, bias=False)
        self.side = nn.Linear(hidden, 1)

    @torch.no_grad()
    def fit_normalisation(self, features: HandFeatures) -> None:
        """Set the mean and standard deviation by which the inputs are normalised."""
        for name in ("local", "mean"):
            values = np.asarray(getattr(features, name), np.float32)
            values = values.reshape(-1, values.shape[-1])
            getattr(self, f"{name}_middle").copy_(torch.from_numpy(values.mean(0)))
            getattr(self, f"{name}_spread").copy_(torch.from_numpy(values.std(0) + _MIN_SPREAD))

    def forward(self, local: Tensor, shape: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, 21) that a keypoint is visible, and (B,) of the person's own right hand.

        The inputs (B, ...) are those of `HandFeatures`.
        """
        local = (local - self.local_middle) / self.local_spread
        first = functional.relu(self.local(local) + self.keypoint)  # (B, 21, H)
        near = self.dropout(first)
        around = self.before(near[:, BEFORE]) + self.behind(near[:, BEHIND]) + self.all(near.mean(1, keepdim=True))
        wide = self.dropout(functional.relu(self.own(near) + around + self.keypoint_wide))  # (B, 21, H)
        visible = (wide * (self.common + self.each)).sum(-1) + self.bias
        mean = self.side_dropout((mean - self.mean_middle) / self.mean_spread)
        side = self.side_mean(mean) + self.side_shape(shape) + self.side_near(self.side_dropout(first.flatten(1)))
        return visible, self.side(self.side_dropout(functional.relu(side)))[:, 0]

    @torch.no_grad()
    def arrays(self) -> dict[str, Float32Array]:
        """Return the heads, in eval mode, as arrays of `HandHeads`, with the normalisation in the first layers."""
        weights: dict[str, Tensor] = {"local": (self.local.weight / self.local_spread).T}
        weights["side_mean"] = (self.side_mean.weight / self.mean_spread).T
        weights["keypoint"] = self.keypoint - self.local_middle @ weights["local"]
        for name in ("own", "before", "behind", "all", "side_shape", "side_near"):
            weights[name] = getattr(self, name).weight.T
        weights["keypoint_wide"] = self.keypoint_wide
        weights["seen"] = self.common + self.each
        weights["seen_bias"] = self.bias
        weights["side_context"] = self.side_mean.bias - self.mean_middle @ weights["side_mean"]
        weights["side"] = self.side.weight[0]
        weights["side_bias"] = self.side.bias
        return {name: np.ascontiguousarray(value.numpy()) for name, value in weights.items()}


def train_hand_heads(request: recipes.TrainingRequest) -> dict[str, object]:
    """Train, calibrate and evaluate the heads of both networks, and write `hand_heads.npz`.

    The appearance in the written file is that of the shipped one, because the recipe `gestures` trains it.
    """
    settings = recipes.settings_from(HandHeadSettings, request.settings)
    assert request.data is not None
    split = report_folders(request, settings.train, settings.held_out)
    images = CalibrationImages(request, settings.train, settings.calibration)
    training: dict[str, HandFeatures] = {}
    calibration: dict[str, HandFeatures] = {}
    held_out: dict[str, HandFeatures] = {}
    for model in MODELS:
        tables = _features(request, settings.train, model, settings.more)
        training[model], calibration[model] = images.split(settings.train, tables)
        held_out[model] = HandFeatures.concatenate(_features(request, settings.held_out, model, 0))
    networks = _train_heads(training, held_out, settings, request)
    arrays: dict[str, RealArray] = {}
    results: dict[str, object] = {"heads": request.out / ASSET, "split": split.text}
    results["calibration"] = images.report.text
    for model in MODELS:
        raw = networks[model].arrays()
        heads = calibrate(raw, calibration[model])
        arrays |= {f"{model}.{name}": value for name, value in heads.items()}
        metrics = head_metrics(HandHeads(heads), HandHeads(raw), held_out[model])
        results |= {f"{model}_{name}": value for name, value in metrics.items()}
    arrays |= shipped_arrays("full.appearance")
    with atomic_file(request.out / ASSET) as draft:
        np.savez(draft, **arrays)  # pyright: ignore[reportArgumentType]  # for the keyword allow_pickle
    return results


def _features(request: recipes.TrainingRequest, names: Sequence[str], model: str, more: int) -> list[HandFeatures]:
    """Return features of each of some folders below the data."""
    return HandFeatures.by_folder(
        request,
        names,
        f"features/{{}}-{model}-{more}.npz",
        lambda folder, progress: hand_features(folder, model, more=more, progress=progress),
    )


def _train_heads(
    training: Mapping[str, HandFeatures],
    held_out: Mapping[str, HandFeatures],
    settings: HandHeadSettings,
    request: recipes.TrainingRequest,
) -> Mapping[str, HeadNetwork]:
    """Return the trained heads of each network, in eval mode on the CPU."""
    torch.manual_seed(settings.seed)
    networks: dict[str, HeadNetwork] = {}
    for model, hands in training.items():
        widths = hands.local.shape[-1], hands.mean.shape[-1], settings.hidden
        networks[model] = HeadNetwork(*widths, settings.dropout, settings.side_dropout)
        networks[model].fit_normalisation(hands)
    both = nn.ModuleDict(networks).to(request.device).train()

    def evaluate(network: nn.ModuleDict) -> dict[str, float]:
        batch = batches.to_device(
            {model: _tensors(hands) for model, hands in held_out.items()}, torch.device(request.device)
        )
        terms = {name: value.item() for name, value in _losses(network, batch).items()}
        return {"loss": sum(terms.values()), **terms}

    counts = {model: len(hands) for model, hands in training.items()}
    loop.fit(
        request,
        both,
        partial(_batch, training=training, count=settings.batch),
        _losses,
        settings,
        inputs=request.inputs() | {"hands": counts},
        evaluate=evaluate,
    )
    both.cpu().eval()
    return networks


def _batch(rng: np.random.Generator, training: Mapping[str, HandFeatures], count: int) -> dict[str, list[Tensor]]:
    return {
        model: _tensors(hands.take(batches.epoch_indices(rng, len(hands), count))) for model, hands in training.items()
    }


def _tensors(hands: HandFeatures) -> list[Tensor]:
    values = (*hands.inputs(), hands.visible, hands.right)
    return [torch.from_numpy(np.asarray(column, np.float32)) for column in values]


def _losses(network: nn.ModuleDict, batch: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
    """Return the cross-entropies of visibility and side for a batch by network: `_tensors` of hands."""
    losses: dict[str, Tensor] = {}
    for model, (local, shape, mean, is_visible, is_right) in batch.items():
        visible, right = network[model](local, shape, mean)
        losses[f"{model}_seen"] = functional.binary_cross_entropy_with_logits(visible, is_visible)
        losses[f"{model}_side"] = functional.binary_cross_entropy_with_logits(right, is_right)
    return losses


def calibrate(arrays: Mapping[str, Float32Array], features: HandFeatures) -> dict[str, Float32Array]:
    """Return heads whose logits are calibrated probabilities, by Platt scaling on hands that were not in training.

    Source: Platt 1999, Probabilistic outputs for support vector machines.
    """
    visible, right = HandHeads(arrays).logits(*features.inputs())
    scaled = dict(arrays)
    for name, logits, truth in (("seen", visible, features.visible), ("side", right, features.right)):
        scale, shift = platt(logits, truth)
        scaled[name] = np.asarray(arrays[name] * scale, np.float32)
        scaled[f"{name}_bias"] = np.asarray(arrays[f"{name}_bias"] * scale + shift, np.float32)
    return scaled


def platt(logits: Float32Array, truth: BoolArray) -> tuple[float, float]:
    """Return the factor and offset of logits (...) with the least cross-entropy, by Newton's method in float64."""
    x, y = logits.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    design = np.stack([x, np.ones_like(x)])  # (2, N)
    coefficients = np.array([1.0, 0.0])
    for _ in range(_CALIBRATION_STEPS):
        predicted = torch.from_numpy(coefficients @ design).sigmoid().numpy()
        curvature = (design * (predicted * (1 - predicted))) @ design.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, design @ (y - predicted))
        coefficients = coefficients + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return float(coefficients[0]), float(coefficients[1])


def head_metrics(heads: HandHeads, raw: HandHeads, features: HandFeatures) -> dict[str, float]:
    """Return metrics of heads, and of the same heads before their calibration, on held-out hands."""
    visible, right = _probabilities(heads, features)
    raw_visible, raw_right = _probabilities(raw, features)
    hidden = ~features.visible
    metrics: dict[str, float] = {"hands": len(features)}
    for cause in ("", *CAUSES[1:]):
        by_cause = features.cause == CAUSES.index(cause) if cause else hidden
        if by_cause.sum() >= _MIN_HIDDEN:
            metrics |= _separation(visible, features, by_cause, f"auroc_{cause}".rstrip("_"))
    metrics |= {
        "hidden_found": float((visible[hidden] < 0.5).mean()) if hidden.any() else float("nan"),
        "seen_found": float((visible[features.visible] >= 0.5).mean()),
        "ece": calibration_error(visible.ravel(), features.visible.ravel()),
        "ece_before": calibration_error(raw_visible.ravel(), features.visible.ravel()),
    }
    correct, published = (right > 0.5) == features.right, (features.label > 0.5) == features.right
    low, high = mean_interval(correct, clusters=features.image.tolist())
    metrics |= {
        "side": float(correct.mean()),
        "side_low": low,
        "side_high": high,
        "side_ece": calibration_error(right, features.right),
        "side_ece_before": calibration_error(raw_right, features.right),
        "published_side": float(published.mean()),
        "published_side_ece": calibration_error(features.label, features.right),
    }
    subsets = {"half_seen": features.visible.mean(1) >= 0.5, "well_found": features.error < _WELL_DETECTED}
    for name, selected in subsets.items():
        if selected.any():
            metrics[f"side_{name}_hands"] = int(selected.sum())
            metrics[f"side_{name}"] = float(correct[selected].mean())
            metrics[f"published_side_{name}"] = float(published[selected].mean())
    return metrics


def _separation(visible: Float32Array, features: HandFeatures, hidden: BoolArray, name: str) -> dict[str, float]:
    """Return how well probabilities (N, 21) separate visible keypoints from hidden ones (N, 21)."""
    selected = features.visible | hidden
    images = np.broadcast_to(features.image[:, None], visible.shape)
    scores, truth = visible[selected], features.visible[selected]
    low, high = auroc_interval(scores, truth, images[selected].tolist())
    counts = {f"{name}_low": low, f"{name}_high": high, f"{name}_hidden": int(hidden.sum())}
    return {name: auroc(scores, truth), **counts}


def _probabilities(heads: HandHeads, features: HandFeatures) -> tuple[Float32Array, Float32Array]:
    """Return the probabilities (N, 21) of visible keypoints and (N,) of right hands."""
    visible, right = (torch.from_numpy(logits).sigmoid().numpy() for logits in heads.logits(*features.inputs()))
    return visible, right
