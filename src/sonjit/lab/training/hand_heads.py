"""Train visibility and handedness heads on the published hand networks (recipe `hand-heads`), and calibrate them.

The data are features of the published networks for hands with labelled hidden keypoints. Images are used unchanged,
mirrored, and with objects pasted over them; crops are those of the detector. The features are computed once per hand
and saved, so that training takes a minute. The trained heads are converted to calibrated arrays of
`detectors.hand_heads` and evaluated by how well they separate visible keypoints from hidden ones, and by calibration.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import relu

from sonjit._util.arrays import BoolArray, Float32Array, Image, IndexArray, IntArray, RealArray
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit.detectors.kinds.hand_heads import ASSET, BEFORE, BEHIND, TAPS, HandHeads, head_inputs, shipped_arrays
from sonjit.detectors.kinds.hands import PalmFinder, box_around_hand
from sonjit.engines import Engine, EngineOptions, load_engine
from sonjit.geometry.boxes import RotatedBox, crop_on_grid, points_from_crop
from sonjit.lab.datasets import Sample, open_dataset
from sonjit.lab.metrics.statistics import mean_interval
from sonjit.lab.training.augment import jittered_box
from sonjit.lab.training.batches import to_device
from sonjit.lab.training.building_blocks import ArrayRows
from sonjit.lab.training.loop import TrainingSettings, fit
from sonjit.lab.training.recipes import TrainingRequest, settings_from
from sonjit.lab.training.settings import Copies, Decay, Fraction, Range, SmallBatch, Steps, Width
from sonjit.weights import find_weight

KEYPOINTS: Final = 21
CAUSES: Final = ("visible", "self", "other_hand", "object", "outside", "hidden")
"""Reasons why a keypoint is visible or hidden, as in `sonjit synth`; `hidden` if the reason is unknown."""

_OBJECT_SIZE = (0.12, 0.5)
"""Distance from the centre of a pasted object to its corners, as a fraction of the hand's extent."""

_CORNERS = (4, 9)

_MAX_ERROR: Final = 0.2
"""Maximum mean error of the network's keypoints, as a fraction of the hand's extent, for a match."""
_TURN_RAD: Final = 0.25
"""Maximum rotation of the box of tracking against that of exact keypoints: the hand moves between frames."""
_MIN_PRESENCE: Final = 0.5
_EXACT: Final = EngineOptions(precision="f32", threads=1)


@dataclass(frozen=True, eq=False)
class LabelledHand:
    """One hand with labels."""

    keypoints: Float32Array  # (21, 2) float32 pixels
    causes: NDArray[np.int8]  # (21,) int8 index into `CAUSES`
    right: bool  # True for the person's own right hand

    @property
    def extent(self) -> float:
        """The diagonal of the box around the keypoints in pixels."""
        return float(np.hypot(*np.ptp(self.keypoints, axis=0)))


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image (H, W, 3) uint8 RGB and its hands."""

    rgb: Image
    hands: tuple[LabelledHand, ...]


def mirrored(image: LabelledImage) -> LabelledImage:
    """Return the mirror image, in which left hands are right ones."""
    flip, move = np.array([-1, 1], np.float32), np.array([image.rgb.shape[1], 0], np.float32)
    hands = tuple(replace(hand, keypoints=hand.keypoints * flip + move, right=not hand.right) for hand in image.hands)
    return LabelledImage(np.ascontiguousarray(image.rgb[:, ::-1]), hands)


def pasted_over(image: LabelledImage, other: NDArray[np.uint8], rng: np.random.Generator) -> LabelledImage:
    """Paste an object over each hand, around one of its keypoints.

    About half of the objects have the texture of `other` (H, W, 3); the others have one colour.
    """
    height, width = image.rgb.shape[:2]
    rgb, hands = image.rgb.copy(), list(image.hands)
    surface = cv2.resize(other, (width, height), interpolation=cv2.INTER_LINEAR)
    for target in image.hands:
        mask = np.zeros((height, width), np.uint8)
        middle = target.keypoints[rng.integers(KEYPOINTS)]
        turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(*_CORNERS)))
        corners = np.stack([np.cos(turns), np.sin(turns) * rng.uniform(0.2, 1)], 1)
        corners = corners * rng.uniform(*_OBJECT_SIZE) * target.extent
        turn = rng.uniform(0, np.pi)
        corners = corners @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        cv2.fillPoly(mask, [np.asarray(np.round(corners + middle), np.int32)], 1, cv2.LINE_8)
        colour = np.asarray(rng.integers(0, 256, 3), np.uint8)
        np.copyto(rgb, surface if rng.random() < 0.5 else colour, where=mask[..., None] > 0)
        for index, hand in enumerate(hands):
            x, y = np.floor(hand.keypoints).astype(np.intp).T
            within = (x >= 0) & (y >= 0) & (x < width) & (y < height)
            covered = within & (mask[y.clip(0, height - 1), x.clip(0, width - 1)] > 0)
            causes = np.where(covered, np.int8(CAUSES.index("object")), hand.causes)
            hands[index] = replace(hand, causes=causes)
    return LabelledImage(rgb, tuple(hands))


@dataclass(frozen=True, eq=False)
class HandFeatures(ArrayRows):
    """Crops of hands, one row each."""

    local: NDArray[np.float16]  # input of the heads, as the next two; see `detectors.hand_heads.HeadInputs`
    shape: Float32Array
    mean: NDArray[np.float16]
    cause: NDArray[np.int8]  # (N, 21) index into `CAUSES`
    right: BoolArray  # (N,) True for the person's own right hand
    label: Float32Array  # (N,) the published network's probability of a right hand
    image: IntArray  # (N,) index of the image
    error: Float32Array  # (N,) mean error of the network's keypoints, as a fraction of the hand's extent

    @property
    def visible(self) -> BoolArray:
        """(N, 21) True for keypoints in the image that are not hidden."""
        return self.cause == 0

    def inputs(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Return `local`, `shape` and `mean` as float32 inputs of the heads."""
        local, shape, mean = (np.asarray(values, np.float32) for values in (self.local, self.shape, self.mean))
        return local, shape, mean


def hand_features(
    root: Path,
    model: str,
    *,
    more: int = 0,
    models_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> HandFeatures:
    """Compute features of every hand of a data set, in the palm detector's box and in a box like that of tracking.

    `root`: folder that `sonjit synth` wrote, or another one with a COCO keypoints file that labels hidden keypoints;
    `models_dir`: folder with the published files; None for the cache.
    """
    palms = PalmFinder(load_engine(find_weight(f"palm-{model}", models_dir), _EXACT))
    network = load_engine(find_weight(f"hand-{model}", models_dir), _EXACT, taps=TAPS)
    samples = open_dataset("folder", root)
    before: NDArray[np.uint8] | None = None
    rows: list[tuple[object, ...]] = []
    for number, sample in enumerate(samples):
        hands = tuple(_known_hands(sample))
        if hands:
            rng, rgb = np.random.default_rng(number), sample.rgb()
            scene = LabelledImage(rgb, hands)
            boxes = palms.find(rgb, _MIN_PRESENCE)
            rows += [(*row, number, error) for *row, error in _features_of(scene, boxes, network, rng)]
            for index in range(more):
                other = mirrored(scene) if rng.random() < 0.5 else scene
                if index % 2 == 0:
                    other = pasted_over(other, rgb if before is None else before, rng)
                rows += [(*row, number, error) for *row, error in _features_of(other, [], network, rng)]
            before = rgb
        if progress:
            progress(number + 1, len(samples))
    if not rows:
        raise InputError(f"{root}: no hand with labels of hidden keypoints was detected")
    types = (np.float16, np.float32, np.float16, np.int8, np.bool_, np.float32, np.int64, np.float32)
    columns = [np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), types, strict=True)]
    return HandFeatures(*columns)  # pyright: ignore[reportArgumentType]  # each has its own type


def _features_of(
    scene: LabelledImage, boxes: Sequence[RotatedBox], network: Engine, rng: np.random.Generator
) -> Iterator[tuple[object, ...]]:
    """Yield a row of `HandFeatures`, without the index of its image, for each crop with a known hand."""
    tracked = [jittered_box(box_around_hand(hand.keypoints), rng, _TURN_RAD) for hand in scene.hands]
    for box in (*boxes, *tracked):
        crop_on_grid(scene.rgb, box, network.input[0])
        image, presence, label, _, *maps, mean = network.run()
        if presence.item() <= _MIN_PRESENCE:
            continue
        keypoints = image.reshape(21, 3) / np.float32(network.input.shape[1])
        found = points_from_crop(keypoints, box)[:, :2]
        errors = [np.linalg.norm(found - hand.keypoints, axis=1).mean() / hand.extent for hand in scene.hands]
        best = scene.hands[int(np.argmin(errors))]
        if min(errors) > _MAX_ERROR:
            continue
        read = head_inputs(keypoints, maps, mean)
        # Copies, because the network's next run overwrites its outputs.
        local, mean = read.local.astype(np.float16), read.mean.astype(np.float16)
        yield local, read.shape, mean, best.causes, best.right, label.item(), min(errors)


def _known_hands(sample: Sample) -> Iterator[LabelledHand]:
    for instance in sample.instances:
        points, valid, visible = instance.keypoints_px, instance.valid_px, instance.visible
        if instance.kind != "hand" or instance.side is None or points is None or valid is None or visible is None:
            continue
        if len(points) == KEYPOINTS and valid.all():
            names = instance.extra.get("causes") or ["visible" if is_visible else "hidden" for is_visible in visible]
            causes = np.array([CAUSES.index(cause) for cause in names], np.int8)
            yield LabelledHand(points.astype(np.float32), causes, instance.side == "Right")


def check_folders(train: Sequence[str], held_out: Sequence[str]) -> None:
    """Check that there are folders for training and for evaluation, and that they differ."""
    if not train or not held_out:
        raise InputError("train and held_out require at least one folder each, relative to --data")
    if both := sorted(set(train) & set(held_out)):
        raise InputError(f"{both[0]} is in train and in held_out. Evaluate on other hands than in training.")


_KEYPOINTS = 21

_MIN_SPREAD = 1e-2

_CALIBRATION_STEPS = 100

MODELS: Final = ("full", "lite")
FEATURES: Final = "features"
"""Subfolder of a run with the features of each data set."""
_BINS = 15
_DRAWS = 500
_MIN_HIDDEN = 20  # minimum number of keypoints hidden by a cause for a metric of this cause
_WELL_FOUND = 0.05  # maximum mean error of a well detected hand's keypoints, as a fraction of its extent


class HeadNetwork(nn.Module):
    """Both heads of one network."""

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
        """Set the mean and standard deviation by which the inputs are normalised."""
        for name in ("local", "mean"):
            values = np.asarray(getattr(features, name), np.float32)
            values = values.reshape(-1, values.shape[-1])
            getattr(self, f"{name}_middle").copy_(torch.from_numpy(values.mean(0)))
            getattr(self, f"{name}_spread").copy_(torch.from_numpy(values.std(0) + _MIN_SPREAD))

    def forward(self, local: Tensor, shape: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, 21) that a keypoint is visible, and (B,) of the person's own right hand.

        `local`: (B, 21, L) features at the keypoints; `shape`: (B, 63) keypoints; `mean`: (B, C) means of the last map.
        """
        local = (local - self.local_middle) / self.local_spread
        first = relu(self.local(local) + self.keypoint)  # (B, 21, H)
        near = self.dropout(first)
        around = self.before(near[:, BEFORE]) + self.behind(near[:, BEHIND]) + self.all(near.mean(1, keepdim=True))
        wide = self.dropout(relu(self.own(near) + around + self.keypoint_wide))  # (B, 21, H)
        visible = (wide * (self.common + self.each)).sum(-1) + self.bias
        mean = self.side_dropout((mean - self.mean_middle) / self.mean_spread)
        side = self.side_mean(mean) + self.side_shape(shape) + self.side_near(self.side_dropout(first.flatten(1)))
        return visible, self.side(self.side_dropout(relu(side)))[:, 0]

    @torch.no_grad()
    def arrays(self) -> dict[str, Float32Array]:
        """Return the heads, in eval mode, as arrays of `detectors.hand_heads.HandHeads`."""
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


def calibrate(
    arrays: Mapping[str, Float32Array], logits: tuple[Float32Array, Float32Array], features: HandFeatures
) -> dict[str, Float32Array]:
    """Return heads whose logits become calibrated probabilities by Platt scaling.

    Source: Platt 1999, Probabilistic outputs for support vector machines.

    `logits`: logits (N, 21) and (N,) of these heads on hands that were not in training.
    """
    (scale, shift), (side_scale, side_shift) = platt(logits[0], features.visible), platt(logits[1], features.right)
    scaled = dict(arrays)
    for name, times, plus in (("seen", scale, shift), ("side", side_scale, side_shift)):
        scaled[name] = np.asarray(arrays[name] * times, np.float32)
        scaled[f"{name}_bias"] = np.asarray(arrays[f"{name}_bias"] * times + plus, np.float32)
    return scaled


def platt(logits: Float32Array, truth: BoolArray) -> tuple[float, float]:
    """Return the factor and offset of logits with the least cross-entropy, by Newton's method in float64."""
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


@dataclass(frozen=True)
class HandHeadSettings(TrainingSettings):
    """Settings of the recipe."""

    steps: Steps = 2000
    learning_rate: float = 2e-3
    weight_decay: Decay = 0.05
    save_every: Steps = 1000
    train: tuple[str, ...] = ("train-1", "train-2", "train-3", "train-4")  # training folders, relative to the data
    # folders to evaluate on, relative to the data, with other backgrounds, gloves and objects
    held_out: tuple[str, ...] = ("heldout-1", "heldout-2")
    more: Copies = 2  # number of further crops of each training hand, see `hand_features`
    # share of the training images that only calibrate the probabilities
    calibration: Annotated[float, Range(0.01, 0.5)] = 0.15
    batch: SmallBatch = 128  # number of hands in a step, for each network
    hidden: Width = 64  # width of the layers
    dropout: Fraction = 0.2  # dropout of the layers for visibility
    side_dropout: Fraction = 0.7  # dropout of all inputs of the handedness

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folders(self.train, self.held_out)


def train_hand_heads(request: TrainingRequest) -> dict[str, object]:
    """Train, calibrate and evaluate the heads of both networks, and write `hand_heads.npz`."""
    settings = settings_from(HandHeadSettings, request.settings)
    assert request.data is not None
    for name in (*settings.train, *settings.held_out):
        if not (folder := request.data / name).is_dir():
            raise InputError(f"{folder}: no such folder; create it with sonjit synth, see docs/hands.md")
    training, calibration, held_out = {}, {}, {}
    for model in MODELS:
        features = _features(request, settings.train, model, settings.more)
        # Images for calibration do not depend on the number of images.
        numbers = np.array([zlib.crc32(b"%d" % image) for image in features.image])
        own = numbers < settings.calibration * (1 << 32)
        training[model], calibration[model] = features.take(~own), features.take(own)
        held_out[model] = _features(request, settings.held_out, model, 0)
    networks = train_heads(training, settings, request, held_out)
    arrays: dict[str, Float32Array] = {}
    results: dict[str, object] = {"heads": request.out / ASSET}
    for model in MODELS:
        raw = networks[model].arrays()
        heads = calibrate(raw, HandHeads(raw).logits(*calibration[model].inputs()), calibration[model])
        arrays |= {f"{model}.{name}": value for name, value in heads.items()}
        metrics = head_metrics(HandHeads(heads), HandHeads(raw), held_out[model])
        results |= {f"{model}_{name}": value for name, value in metrics.items()}
    arrays |= shipped_arrays("full.appearance")  # trained by `sonjit train gestures`
    with atomic_file(request.out / ASSET) as draft:
        np.savez(draft, **arrays)  # pyright: ignore[reportArgumentType]  # for the keyword allow_pickle
    return results


def train_heads(
    features: Mapping[str, HandFeatures],
    settings: HandHeadSettings,
    request: TrainingRequest | None = None,
    held_out: Mapping[str, HandFeatures] | None = None,
) -> Mapping[str, HeadNetwork]:
    """Return the trained heads of each network, in eval mode on the CPU.

    `request`: training request whose folder the run uses; None saves nothing.
    """
    torch.manual_seed(settings.seed)
    device = request.device if request else "cpu"
    networks: dict[str, HeadNetwork] = {}
    for model, hands in features.items():
        widths = (hands.local.shape[-1], hands.mean.shape[-1], settings.hidden)
        network = HeadNetwork(*widths, settings.dropout, settings.side_dropout)
        network.fit_normalisation(hands)
        networks[model] = network

    def losses(network: nn.ModuleDict, batch: Mapping[str, Sequence[Tensor]]) -> Mapping[str, Tensor]:
        by_name: dict[str, Tensor] = {}
        for model, (local, shape, mean, visible, right) in batch.items():
            logits = network[model](local, shape, mean)
            by_name[f"{model}_seen"] = cross_entropy(logits[0], visible)
            by_name[f"{model}_side"] = cross_entropy(logits[1], right)
        return by_name

    def evaluate(network: nn.ModuleDict) -> dict[str, float]:
        batch = {model: _tensors(hands) for model, hands in (held_out or {}).items()}
        values = losses(network, to_device(batch, torch.device(device)))
        parts = {name: value.item() for name, value in values.items()}
        return {"loss": sum(parts.values()), **parts}

    both, batch = nn.ModuleDict(networks).to(device).train(), partial(_batch, features=features, count=settings.batch)
    counts = {"hands": {model: len(hands) for model, hands in features.items()}}
    inputs = request.inputs() | counts if request else None
    fit(request, both, batch, losses, settings, inputs=inputs, evaluate=evaluate if held_out else None)
    both.cpu().eval()
    return networks


def _batch(rng: np.random.Generator, features: Mapping[str, HandFeatures], count: int) -> dict[str, list[Tensor]]:
    return {
        model: _tensors(hands.take(rng.integers(len(hands), size=count))) for model, hands in features.items()
    }  # fmt: skip


def _tensors(hands: HandFeatures) -> list[Tensor]:
    values = (*hands.inputs(), hands.visible, hands.right)
    return [torch.from_numpy(np.asarray(column, np.float32)) for column in values]


def _features(request: TrainingRequest, names: Sequence[str], model: str, more: int) -> HandFeatures:
    """Return features of some folders below the data."""

    def compute(folder: Path, progress: Callable[[int, int], None]) -> HandFeatures:
        return hand_features(folder, model, more=more, progress=progress)

    return HandFeatures.from_folders(request, names, f"{FEATURES}/{{}}-{model}-{more}.npz", compute)


def auroc(scores: RealArray, truth: BoolArray) -> float:
    """Return the probability that a positive scores above a negative, ties counting half; NaN if one class is empty.

    Source: Hanley and McNeil 1982: the area under the ROC curve is Mann and Whitney's statistic.
    """
    _, ranks = np.unique(scores, return_inverse=True)
    return _area(ranks.ravel(), truth.ravel(), np.ones(truth.size))


def auroc_interval(scores: RealArray, truth: BoolArray, clusters: IntArray) -> tuple[float, float]:
    """Return the 95 % interval of `auroc` for scores (N,), from draws of clusters (N,) with replacement."""
    _, ranks = np.unique(scores, return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    count, rng = int(cluster.max()) + 1, np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(count, size=count), minlength=count)[cluster] for _ in range(_DRAWS)]
    low, high = np.nanquantile([_area(ranks, truth, weights) for weights in drawn], [0.025, 0.975]).tolist()
    return low, high


def _area(ranks: IndexArray, truth: BoolArray, weights: NDArray[np.floating | np.integer]) -> float:
    """Return the area under the ROC curve of scores by their ranks, each with a weight."""
    positive, negative = (np.bincount(ranks, weights * mask) for mask in (truth, ~truth))
    pairs = positive.sum() * negative.sum()
    return float(positive @ (negative.cumsum() - negative / 2) / pairs) if pairs else float("nan")


def calibration_error(probabilities: RealArray, truth: BoolArray) -> float:
    """Return the expected calibration error, 0..1: the mean gap of probabilities and frequencies in 15 even bins.

    Source: Guo et al. 2017, On calibration of modern neural networks, section 2.
    """
    predicted, true = probabilities.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    bins = np.minimum((predicted * _BINS).astype(np.intp), _BINS - 1)
    gaps = np.bincount(bins, predicted - true, _BINS)
    return float(np.abs(gaps).sum() / max(len(predicted), 1))


def head_metrics(heads: HandHeads, raw: HandHeads, features: HandFeatures) -> dict[str, float]:
    """Return metrics of heads on held-out hands."""
    visible, side = heads.probabilities(*features.inputs())
    raw_visible, raw_side = raw.probabilities(*features.inputs())
    metrics: dict[str, float] = {"hands": len(features)}
    images = np.broadcast_to(features.image[:, None], visible.shape)
    for cause in ("", *CAUSES[1:]):
        hidden = features.cause == CAUSES.index(cause) if cause else ~features.visible
        if hidden.sum() >= _MIN_HIDDEN:
            selected, name = features.visible | hidden, f"auroc_{cause}".rstrip("_")
            metrics[name] = auroc(visible[selected], features.visible[selected])
            metrics[f"{name}_low"], metrics[f"{name}_high"] = auroc_interval(
                visible[selected], features.visible[selected], images[selected]
            )
            metrics[f"{name}_hidden"] = int(hidden.sum())
    metrics |= {
        "hidden_found": float((visible[~features.visible] < 0.5).mean()) if (~features.visible).any() else float("nan"),
        "seen_found": float((visible[features.visible] >= 0.5).mean()),
        "ece": calibration_error(visible, features.visible),
        "ece_before": calibration_error(raw_visible, features.visible),
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
    for name, selected in (
        ("half_seen", features.visible.mean(1) >= 0.5),
        ("well_found", features.error < _WELL_FOUND),
    ):
        if selected.any():
            metrics |= {
                f"side_{name}_hands": int(selected.sum()),
                f"side_{name}": float(right[selected].mean()),
                f"published_side_{name}": float(published[selected].mean()),
            }
    return metrics
