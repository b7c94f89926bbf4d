"""Train the shipped gesture classifier (recipe `gestures`) with calibrated probabilities, from posed hands.

Most hands are posed without rendering: their exact joints get the errors that the hand network makes in renders of
similar hands. The hand network is not trained, and its detections in the renders are saved in the run's folder.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sonjit._util import BoolArray, Float32Array, FloatArray, InputError, IntArray, RealArray, files
from sonjit._util.settings import Range
from sonjit.detectors.kinds.hand_heads import ASSET as HEADS_ASSET
from sonjit.detectors.kinds.hand_heads import AppearanceInputs, HandHeads, shipped_arrays
from sonjit.gestures.classifier import (
    ASSET,
    FEATURES,
    LEAST_SCORE,
    VOCABULARY,
    WITH_IMAGE,
    GestureClassifier,
    Vocabulary,
    calibrated_shares,
)
from sonjit.gestures.custom_motions import CustomMotions
from sonjit_lab.training import gesture_data
from sonjit_lab.training.alphabets import Alphabet, load_alphabet, shipped_gestures
from sonjit_lab.training.array_rows import CalibrationImages
from sonjit_lab.training.gesture_appearance import AppearanceSettings, train_with_image
from sonjit_lab.training.hands.samples import report_folders
from sonjit_lab.training.loop import TrainingSettings, fit
from sonjit_lab.training.recipes import TrainingRequest, settings_from
from sonjit_lab.training.settings import Decay, Fraction, SmallBatch, Steps, Weight, Width

DETECTIONS_FOLDER: Final = "found"  # subfolder of a run with the hand network's detections in each data set
CONFUSION: Final = "confusion.csv"  # file of a run with the predictions for each shape of a manual alphabet
_MIN_SPREAD: Final = 1e-3
_MIN_VARIANCE: Final = 0.01  # relative to the maximum
_TEMPERATURES: Final = tuple(np.geomspace(0.5, 3, 19).tolist())
_EXPONENTS: Final = tuple(np.geomspace(0.5, 2, 25).tolist())
_NONE_FACTORS: Final = tuple(np.geomspace(0.25, 4, 25).tolist())
_NONE_SHARE: Final = 0.5  # assumed share of hands without a gesture when the network on images is calibrated
_RARE_POSES: Final = {"crossed": 0.25}  # from the back, a pointing hand is similar and far more frequent
MAX_POSED: Final = 10_000_000  # maximum number of posed hands, which are kept in memory


@dataclass(frozen=True)
class GestureSettings(TrainingSettings):
    """Settings of the recipe."""

    steps: Steps = 3000
    learning_rate: float = 2e-3
    weight_decay: Decay = 0.01
    save_every: Steps = 1000
    # meanings of the poses: "" for the shipped gestures, a manual alphabet such as "asl", or its file
    alphabet: str = ""
    train: tuple[str, ...] = ("train",)  # training folders, relative to the data
    # folders to evaluate on, relative to the data, with other people and other backgrounds
    held_out: tuple[str, ...] = ("held",)
    # number of crops of each training hand, each with a slightly different box
    crops: Annotated[int, Range(1, 1000)] = 2
    # share of the training images that only calibrate the probabilities: all images of some people
    calibration: Annotated[float, Range(0.01, 0.5)] = 0.125
    # number of people whose hands are posed without an image; 0 for none
    people: Annotated[int, Range(0, MAX_POSED)] = 24
    each: Annotated[int, Range(1, MAX_POSED)] = 40  # number of posed hands of each person and pose
    free: Annotated[int, Range(1, MAX_POSED)] = 1000  # number of unnamed poses of each person
    yaw_deg: Annotated[float, Range(0, 180)] = 180.0  # maximum yaw of posed hands relative to a view of the palm
    rendered: Fraction = 0.4  # share of the hands in a step that the network detected in images
    # share of posed, exact hands, as another network may detect them; the rest gets errors
    flawless: Fraction = 0.1
    none: Fraction = 0.45  # share of the hands in a step without a gesture; all gestures are equally frequent
    # True to train and evaluate on the exact joints, to measure the limit without errors of the hand network
    exact: bool = False
    batch: SmallBatch = 256  # number of hands in a step
    hidden: Width = 128  # width of the first layer
    embedding: Width = 64  # width of the second layer, in which custom gestures are learned
    dropout: Fraction = 0.1  # dropout of both layers
    smoothing: Fraction = 0.03  # label smoothing
    noise: Weight = 0.1  # noise that is added to the inputs, in standard deviations
    # settings of the network that also uses the maps of the hand network, or none
    seen: AppearanceSettings | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.people * (self.each + self.free) > MAX_POSED:
            raise InputError(f"people={self.people}: with each and free, these are more than {MAX_POSED} posed hands")
        if self.seen and (self.alphabet or self.exact):
            raise InputError("seen applies only to the shipped gestures and detected keypoints; set seen=none")
        if not self.train or not self.held_out:
            raise InputError("train and held_out require at least one folder each, relative to --data")
        trained = {*self.train, *(self.seen.folders if self.seen else ())}
        if both := sorted(trained & set(self.held_out)):
            raise InputError(f"{both[0]} is in held_out and in train or seen. Evaluate on other hands.")
        if self.rendered + self.flawless > 1:
            raise InputError(f"rendered={self.rendered} and flawless={self.flawless}: the sum must be at most 1")


class GestureNetwork(nn.Module):
    """Network that predicts pose logits from shapes (P,) of the poses."""

    middle: Tensor
    spread: Tensor

    def __init__(self, poses: Sequence[str], shapes: IntArray, hidden: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.poses, self.shapes = tuple(poses), shapes
        self.register_buffer("middle", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))
        self.first, self.second = nn.Linear(FEATURES, hidden), nn.Linear(hidden, embedding)
        self.last, self.dropout = nn.Linear(embedding, len(poses)), nn.Dropout(dropout)

    def forward(self, features: Tensor, noise: float = 0.0) -> Tensor:
        """Return logits (B, P) for features (B, F), with noise on the normalised features."""
        inputs = (features - self.middle) / self.spread
        inputs = inputs + noise * torch.randn_like(inputs)
        hidden = self.dropout(torch.relu(self.first(inputs)))
        return self.last(self.dropout(torch.relu(self.second(hidden))))

    @torch.no_grad()
    def arrays(self) -> dict[str, RealArray]:
        """Return the arrays of `GestureClassifier`, with the normalisation in the first layer."""
        arrays: dict[str, RealArray] = {}
        for number, layer in enumerate((self.first, self.second, self.last)):
            arrays[f"weights_{number}"] = layer.weight.numpy().T.astype(np.float64)
            arrays[f"bias_{number}"] = layer.bias.numpy().astype(np.float64)
        arrays["weights_0"] /= self.spread.numpy()[:, None]
        arrays["bias_0"] -= self.middle.numpy() @ arrays["weights_0"]
        arrays["shape"] = self.shapes.astype(np.float64)
        return arrays


def train_gestures(request: TrainingRequest) -> dict[str, object]:
    """Train, calibrate and evaluate the classifier, and write `gestures.npz`, with `seen` also `hand_heads.npz`."""
    settings = settings_from(GestureSettings, request.settings)
    alphabet = load_alphabet(settings.alphabet)
    assert request.data is not None
    folders = (*settings.train, *(settings.seen.folders if settings.seen else ()))
    split = report_folders(request, folders, settings.held_out)

    def detected(names: tuple[str, ...], crops: int) -> list[gesture_data.PosedHands]:
        """Return the hand network's detections in each of some folders below the data."""
        compute = partial(gesture_data.posed_hands, crops=crops)
        return gesture_data.PosedHands.by_folder(request, names, f"{DETECTIONS_FOLDER}/{{}}-{crops}.npz", compute)

    def with_inputs(names: tuple[str, ...], more: int) -> list[gesture_data.DetectedHands]:
        """Return the hand network's detections in each of some folders, with the inputs of the appearance."""
        compute = partial(gesture_data.detect_hands, more=more, maps=True)
        return gesture_data.DetectedHands.by_folder(
            request, names, f"{DETECTIONS_FOLDER}/{{}}-maps-{more}.npz", compute
        )

    images = CalibrationImages(request, folders, settings.calibration)
    training, calibration = images.split(settings.train, detected(settings.train, settings.crops))
    held_out = gesture_data.PosedHands.concatenate(detected(settings.held_out, 1)).unambiguous(training, alphabet)
    calibration = calibration.unambiguous(training, alphabet)
    hands = training.unambiguous(training, alphabet)
    if settings.exact:
        hands, calibration, held_out = hands.exact(), calibration.exact(), held_out.exact()
    sources = _sources(hands, settings, alphabet)
    network = train_network(sources, settings, request, held_out)
    weights = calibrate(network.arrays(), calibration, alphabet)
    if not settings.alphabet:
        weights = add_whitening(weights, [hands for hands, _ in sources])
    heads: dict[str, RealArray] = {}
    if settings.seen:
        shown, calibration_hands = images.split(
            settings.seen.folders, with_inputs(settings.seen.folders, settings.seen.crops)
        )
        calibration_hands, shown = calibration_hands.unambiguous(shown), shown.unambiguous(shown)
        heads, by_image = train_with_image(shown, _chances(shown, alphabet, settings.none), settings.seen, request)
        heads = {name: value.astype(np.float16) for name, value in heads.items()}
        weights |= by_image
        weights |= image_calibration(weights, with_appearance(calibration_hands, heads))
    weights = {name: value.astype(np.float16) for name, value in weights.items()}
    arrays: dict[str, NDArray[Any]] = dict(weights)
    if alphabet.vocabulary is not VOCABULARY:
        arrays["vocabulary"] = np.array(alphabet.vocabulary.to_json())
    if alphabet.moving:
        letters = gesture_data.drawn_letters(alphabet, np.random.default_rng(settings.seed))
        arrays |= CustomMotions.learn(letters).arrays()
    with files.atomic_file(request.out / ASSET) as draft:
        np.savez_compressed(draft, **arrays)  # pyright: ignore[reportArgumentType]  # for the keyword allow_pickle
    classifier = GestureClassifier(weights, alphabet.vocabulary)
    if settings.alphabet:
        files.write_text(request.out / CONFUSION, confusion_table(classifier, held_out, alphabet))
    results: dict[str, object] = {"classifier": request.out / ASSET, "split": split.text}
    results["calibration"] = images.report.text
    results |= gesture_metrics(classifier, held_out, alphabet)
    if heads:
        with files.atomic_file(request.out / HEADS_ASSET) as draft:
            np.savez(draft, **(shipped_arrays() | heads))  # pyright: ignore[reportArgumentType]
        held_out = gesture_data.DetectedHands.concatenate(with_inputs(settings.held_out, 0)).unambiguous(training)
        held_out = with_appearance(held_out, heads)
        results["heads"] = request.out / HEADS_ASSET
        metrics = gesture_metrics(classifier, held_out, alphabet)
        results |= {f"with_image_{name}": value for name, value in metrics.items()}
    return results


def _sources(
    hands: gesture_data.PosedHands, settings: GestureSettings, alphabet: Alphabet
) -> list[tuple[gesture_data.PosedHands, float]]:
    """Return the hands to train with and their share in a step: detected ones, and posed ones with `people`."""
    if not settings.people:
        return [(hands, 1.0)]
    rng = np.random.default_rng(settings.seed)
    posed = gesture_data.posed_joints(
        settings.people, settings.each, settings.free, rng, alphabet=alphabet, yaw_deg=settings.yaw_deg
    )
    posed = posed.unambiguous(posed, alphabet)
    detected = (hands, settings.rendered)
    rest = 1 - settings.rendered
    if settings.exact:
        return [detected, (posed, rest)]
    return [detected, (posed, settings.flawless), (posed.with_errors_from(hands, rng), rest - settings.flawless)]


def train_network(
    sources: list[tuple[gesture_data.PosedHands, float]],
    settings: GestureSettings,
    request: TrainingRequest,
    held_out: gesture_data.PosedHands,
) -> GestureNetwork:
    """Return a trained network without calibration, in eval mode on the CPU; `sources` are hands and their share."""
    features = np.concatenate([hands.features() for hands, _ in sources])
    names, pose = np.unique(np.concatenate([hands.pose for hands, _ in sources]), return_inverse=True)
    if len(names) < 2:
        raise InputError("The training hands must have at least two poses; see the comments in training/own_recipes.py")
    alphabet = load_alphabet(settings.alphabet)
    chances = np.concatenate([_chances(hands, alphabet, settings.none) * share for hands, share in sources]).cumsum()
    torch.manual_seed(settings.seed)
    network = GestureNetwork(
        names.tolist(), alphabet.shapes_of(names.tolist()), settings.hidden, settings.embedding, settings.dropout
    )
    network.middle.copy_(torch.from_numpy(features.mean(0)))
    network.spread.copy_(torch.from_numpy(features.std(0) + _MIN_SPREAD))

    def batch(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        rows = np.searchsorted(chances, rng.random(settings.batch) * chances[-1], "right")
        return torch.from_numpy(features[rows]), torch.from_numpy(pose[rows])

    def losses(network: GestureNetwork, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        logits = network(batch[0], settings.noise)
        return {"loss": cross_entropy(logits, batch[1], label_smoothing=settings.smoothing)}

    def evaluate(network: GestureNetwork) -> dict[str, float]:
        classifier = GestureClassifier(copy.deepcopy(network).cpu().arrays(), alphabet.vocabulary)
        return {"accuracy": gesture_metrics(classifier, held_out, alphabet)["accuracy"]}

    network.to(request.device).train()
    fit(
        request,
        network,
        batch,
        losses,
        settings,
        inputs=request.inputs() | {"hands": len(features)},
        evaluate=evaluate,
        higher_is_better=True,
    )
    return network.cpu().eval()


def _chances(hands: gesture_data.PosedHands, alphabet: Alphabet, none: float) -> FloatArray:
    """Return the (N,) probability that each hand is drawn: gestures are equally frequent, `_RARE_POSES` less; sum 1."""
    shape = hands.shapes(alphabet)
    counts = np.bincount(shape, minlength=len(alphabet.vocabulary.shapes))
    gestures = np.count_nonzero(counts[1:])
    share = np.full(len(counts), (1 - none) / max(gestures, 1))
    share[0] = none
    chances = (share / np.maximum(counts, 1))[shape]
    for pose, part in _RARE_POSES.items():
        chances[(hands.pose == pose) & (shape == 0)] *= part
    return chances / chances.sum()


def calibrate(
    weights: Mapping[str, RealArray], hands: gesture_data.PosedHands, alphabet: Alphabet | None = None
) -> dict[str, RealArray]:
    """Scale the last layer by the temperature of least cross-entropy (Guo et al. 2017, On calibration, section 4.2)."""
    alphabet = alphabet or shipped_gestures()
    features, rows, shape = hands.features(), np.arange(len(hands)), hands.shapes(alphabet)

    def scaled(temperature: float) -> dict[str, RealArray]:
        return {**weights, **{name: weights[name] / temperature for name in ("weights_2", "bias_2")}}

    def loss(scaled_weights: Mapping[str, RealArray]) -> float:
        classifier = GestureClassifier(scaled_weights, alphabet.vocabulary)
        return -float(np.log(classifier.probabilities(features)[rows, shape] + 1e-9).mean())

    return min(map(scaled, _TEMPERATURES), key=loss)


def with_appearance(hands: gesture_data.DetectedHands, heads: Mapping[str, RealArray]) -> gesture_data.DetectedHands:
    """Replace the inputs of the hands' appearance by the appearance itself."""
    reader = HandHeads({name.removeprefix("full."): value.astype(np.float32) for name, value in heads.items()})

    def read(row: NDArray[np.floating]) -> Float32Array:
        maps, places = gesture_data.split_maps(row[None])
        return reader.appearance(AppearanceInputs(places[0], maps))

    return replace(hands, appearance=np.array([read(row) for row in hands.appearance], np.float32))


def image_calibration(weights: Mapping[str, RealArray], hands: gesture_data.DetectedHands) -> dict[str, RealArray]:
    """Return the calibration with the least cross-entropy for images, where `_NONE_SHARE` have no gesture."""
    shape = hands.shapes(shipped_gestures())
    shares = GestureClassifier(weights).probabilities(hands.features(), hands.appearance)
    has_gesture = shape > 0
    weight = np.where(
        has_gesture, (1 - _NONE_SHARE) / max(has_gesture.sum(), 1), _NONE_SHARE / max((~has_gesture).sum(), 1)
    )

    def loss(calibration: tuple[float, float]) -> float:
        probability = calibrated_shares(shares, calibration)[np.arange(len(hands)), shape]
        return -float((np.log(probability + 1e-9) * weight).sum())

    pairs = [(exponent, factor) for exponent in _EXPONENTS for factor in _NONE_FACTORS]
    return {f"{WITH_IMAGE}calibration": np.array(min(pairs, key=loss))}


def add_whitening(weights: Mapping[str, RealArray], sources: Sequence[gesture_data.PosedHands]) -> dict[str, RealArray]:
    """Add the axes for learning custom gestures: along them, hands of one pose differ by 1, and poses by more."""
    shapes = Vocabulary(tuple(map(str, range(int(np.max(weights["shape"])) + 1))))  # the names do not matter
    classifier = GestureClassifier(weights, shapes)
    embedded = np.concatenate([classifier.embed(hands.features()) for hands in sources]).astype(np.float64)
    names, pose = np.unique(np.concatenate([hands.pose for hands in sources]), return_inverse=True)
    means = np.stack([embedded[pose == number].mean(0) for number in range(len(names))])
    named = names != "any"
    within = (embedded - means[pose])[named[pose]]
    variances, axes = np.linalg.eigh(within.T @ within / max(len(within), 1))
    minimum = _MIN_VARIANCE * max(float(variances.max(initial=0.0)), _MIN_SPREAD)
    whitening = axes / np.sqrt(np.maximum(variances, minimum))
    middle = means[named].mean(0)
    between = (means[named] - middle) @ whitening
    spread, turn = np.linalg.eigh(between.T @ between / len(between))
    whitening = whitening @ turn
    return {**weights, "whitening": whitening, "whitening_bias": -middle @ whitening, "spread": spread.clip(0)}


def gesture_metrics(
    classifier: GestureClassifier, hands: gesture_data.PosedHands, alphabet: Alphabet
) -> dict[str, float]:
    """Return accuracies over all hands, hands with gestures and each shape, and rates of errors."""
    names = classifier.vocabulary.shapes
    shape, predicted = hands.shapes(alphabet), _predicted(classifier, hands)
    right, has_gesture = predicted == shape, shape > 0
    metrics = {
        "accuracy": float(right.mean()),
        "gestures_right": _mean(right, has_gesture),
        "none_taken_for_a_gesture": _mean(predicted > 0, ~has_gesture),
        "gesture_taken_for_another": _mean((predicted > 0) & ~right, has_gesture),
        "held_out_hands": len(hands),
    }
    occurring = [index for index in range(len(names)) if (shape == index).any()]
    return metrics | {f"right_{names[index]}": _mean(right, shape == index) for index in occurring}


def confusion_table(classifier: GestureClassifier, hands: gesture_data.PosedHands, alphabet: Alphabet) -> str:
    """Return the predictions for each shape as CSV lines: shape, hands, accuracy, predictions by frequency."""
    names = classifier.vocabulary.shapes
    shape, predicted = hands.shapes(alphabet), _predicted(classifier, hands)
    lines = ["shape,hands,right,told as"]
    for index, name in enumerate(names):
        counts = np.bincount(predicted[shape == index], minlength=len(names))
        if counts.any():
            others = " ".join(f"{names[other]}:{counts[other]}" for other in np.argsort(-counts) if counts[other])
            lines.append(f"{name},{counts.sum()},{counts[index] / counts.sum():.2f},{others}")
    return "\n".join(lines) + "\n"


def _predicted(classifier: GestureClassifier, hands: gesture_data.PosedHands) -> IntArray:
    """Return the (N,) index of the shape that is predicted for each hand."""
    appearance = hands.appearance if isinstance(hands, gesture_data.DetectedHands) else None
    probabilities = classifier.probabilities(hands.features(), appearance)
    return np.where(probabilities.max(1) >= LEAST_SCORE, probabilities.argmax(1), 0)


def _mean(values: BoolArray, mask: BoolArray) -> float:
    return float(values[mask].mean()) if mask.any() else 0.0
