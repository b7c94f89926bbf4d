"""The recipe `gestures`: the shipped classifier, with calibrated probabilities, from posed hands.

Most hands are posed and not rendered: their exact joints get the errors that the hand network makes in renders of
similar ones. The hand network stays as it is, and what it finds in the renders is kept in the run's folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sonjit.arrays import BoolArray, Float32Array, FloatArray, IntArray, RealArray
from sonjit.detectors.kinds.hand_heads import ASSET as HEADS_ASSET
from sonjit.detectors.kinds.hand_heads import AppearanceInputs, HandHeads, shipped_arrays
from sonjit.errors import InputError
from sonjit.files import atomic_file, write_text
from sonjit.gestures.classifier import (
    ASSET,
    LEAST_SCORE,
    VOCABULARY,
    WITH_IMAGE,
    GestureClassifier,
    Vocabulary,
    calibrated_shares,
)
from sonjit.gestures.custom_motions import CustomMotions
from sonjit.gestures.features import FEATURES
from sonjit.training.gestures.alphabets import Alphabet, load_alphabet, shipped_gestures
from sonjit.training.gestures.appearance import AppearanceSettings, train_with_image
from sonjit.training.gestures.data import PosedHands, SeenHands, maps_and_places, posed_hands, seen_hands
from sonjit.training.gestures.poses import drawn_letters, posed_joints
from sonjit.training.loop import TrainingSettings, train
from sonjit.training.recipes import TrainingRequest, settings_from
from sonjit.training.settings import check_at_least

FOUND: Final = "found"
"""Folder within the run's with what the hand network finds in each data set."""

CONFUSION: Final = "confusion.csv"
"""File within the run's with what each shape of a manual alphabet is told as."""

_LEAST_SPREAD: Final = 1e-3
_LEAST_VARIANCE: Final = 0.01  # of the greatest
_TEMPERATURES: Final = tuple(np.geomspace(0.5, 3, 19).tolist())
_EXPONENTS: Final = tuple(np.geomspace(0.5, 2, 25).tolist())
_NONE_FACTORS: Final = tuple(np.geomspace(0.25, 4, 25).tolist())

_NONE_SHARE: Final = 0.5
"""Of the hands in images, that make no gesture, by which the network on images is calibrated."""

_SELDOM: Final = {"crossed": 0.25}  # seen from the back a pointing hand looks much the same, and is far more frequent


@dataclass(frozen=True)
class GestureSettings(TrainingSettings):
    """Settings of the recipe.

    Attributes:
        alphabet: which poses mean what: the shipped gestures, a manual alphabet such as "asl", or a file of one.
        train: folders below the data to train on.
        held_out: folders below the data to evaluate on; of other people, before other backgrounds.
        crops: of each training hand, each placed a little otherwise.
        calibration_every: each how manieth training image only calibrates the probabilities.
        people: whose hands are posed without an image; 0 for none.
        each: of these people, and of each pose.
        free: of these people, poses without a name.
        yaw_deg: how far they are turned from showing the palm.
        rendered: share of the hands in a step that the network has found in images.
        flawless: share of those that are posed and exact, as another network may find them; the rest gets errors.
        none: share of the hands in a step that make no gesture; all gestures are alike often.
        exact: train and evaluate on the exact joints instead, to see what a hand network without errors would allow.
        batch: hands in a step.
        hidden: width of the first layer.
        embedding: width of the second, by which gestures can be taught.
        dropout: of both.
        smoothing: of the labels.
        noise: that is added to the inputs, in their deviations.
        seen: the network that also tells by what the hand network's maps show; none leaves it out.
    """

    steps: int = 3000
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    save_every: int = 1000
    alphabet: str = ""
    train: tuple[str, ...] = ("train",)
    held_out: tuple[str, ...] = ("held",)
    crops: int = 2
    calibration_every: int = 8
    people: int = 24
    each: int = 40
    free: int = 1000
    yaw_deg: float = 180.0
    rendered: float = 0.4
    flawless: float = 0.1
    none: float = 0.45
    exact: bool = False
    batch: int = 256
    hidden: int = 128
    embedding: int = 64
    dropout: float = 0.1
    smoothing: float = 0.03
    noise: float = 0.1
    seen: AppearanceSettings | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        check_at_least(self, crops=1, calibration_every=2, people=0, each=1, free=1, batch=1, hidden=1, embedding=1)
        if self.seen and (self.alphabet or self.exact):
            raise InputError(
                "seen: only for the shipped gestures, as the network finds them; set seen=none, or leave the other out"
            )
        if not self.train or not self.held_out:
            raise InputError("train and held_out: name at least one folder below --data each")
        trained = {*self.train, *(self.seen.folders if self.seen else ())}
        if both := sorted(trained & set(self.held_out)):
            raise InputError(
                f"{both[0]} is in train or seen and in held_out: evaluate on other hands than those trained on"
            )
        shares = (self.rendered, self.flawless, self.none, self.dropout, self.smoothing)
        if not all(0 <= share < 1 for share in shares) or self.noise < 0:
            raise InputError("give rendered, flawless, none, dropout and smoothing in 0..1, and a noise of at least 0")
        if self.rendered + self.flawless > 1:
            raise InputError(f"rendered={self.rendered} and flawless={self.flawless}: together they are 1 at most")


class GestureNetwork(nn.Module):
    """Logits of poses.

    Args:
        poses: their names.
        shapes: the index of the shape that each makes.
        hidden: width of the first layer.
        embedding: width of the second.
        dropout: of both.
    """

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
        """(B, P) for features (B, F), with so much noise on the normalised ones."""
        inputs = (features - self.middle) / self.spread
        inputs = inputs + noise * torch.randn_like(inputs)
        hidden = self.dropout(torch.relu(self.first(inputs)))
        return self.last(self.dropout(torch.relu(self.second(hidden))))

    @torch.no_grad()
    def arrays(self) -> dict[str, RealArray]:
        """What `GestureClassifier` takes; the normalisation is in the first layer."""
        made: dict[str, RealArray] = {}
        for number, layer in enumerate((self.first, self.second, self.last)):
            made[f"weights_{number}"] = layer.weight.numpy().T.astype(np.float64)
            made[f"bias_{number}"] = layer.bias.numpy().astype(np.float64)
        made["weights_0"] /= self.spread.numpy()[:, None]
        made["bias_0"] -= self.middle.numpy() @ made["weights_0"]
        made["shape"] = self.shapes.astype(np.float64)
        return made


def train_gestures(request: TrainingRequest) -> dict[str, object]:
    """Train, calibrate and evaluate the classifier; writes `gestures.npz`, with `seen` `hand_heads.npz` too."""
    settings = settings_from(GestureSettings, request.settings)
    alphabet = load_alphabet(settings.alphabet)
    assert request.data is not None
    for name in (*settings.train, *settings.held_out, *(settings.seen.folders if settings.seen else ())):
        if not (request.data / name).is_dir():
            raise InputError(f"{request.data / name}: no such folder; see the comments of the recipe's file")
    hands = _found(request, settings.train, settings.crops)
    held_out = _found(request, settings.held_out, 1).unambiguous(hands, alphabet)
    hands = hands.unambiguous(hands, alphabet)
    if settings.exact:
        hands, held_out = hands.exact(), held_out.exact()
    own = hands.image % settings.calibration_every == 0
    calibration, hands = hands.take(own), hands.take(~own)
    sources = [(hands, settings.rendered if settings.people else 1.0)]
    if settings.people:
        rng = np.random.default_rng(settings.seed)
        posed = posed_joints(settings.people, settings.each, settings.free, rng, alphabet, settings.yaw_deg)
        posed = posed.unambiguous(posed, alphabet)
        rest = 1 - settings.rendered
        if settings.exact:
            sources.append((posed, rest))
        else:
            found = posed.with_errors_of(hands, rng)
            sources += [(posed, settings.flawless), (found, rest - settings.flawless)]
    network = train_network(sources, settings, request)
    weights = calibrated(network.arrays(), calibration, alphabet)
    if not settings.alphabet:
        weights = whitened(weights, [one for one, _ in sources])
    heads: dict[str, RealArray] = {}
    if settings.seen:
        shown = _seen(request, settings.seen.folders, settings.seen.crops)
        shown = shown.unambiguous(shown)
        own = shown.image % settings.calibration_every == 0
        kept, shown = shown.take(own), shown.take(~own)
        heads, by_image = train_with_image(shown, _chances(shown, alphabet, settings.none), settings.seen, request)
        heads = {name: value.astype(np.float16) for name, value in heads.items()}
        weights |= by_image
        weights |= image_calibration(weights, with_appearance(kept, heads))
    weights = {name: value.astype(np.float16) for name, value in weights.items()}
    arrays: dict[str, NDArray[Any]] = dict(weights)
    if alphabet.vocabulary is not VOCABULARY:
        arrays["vocabulary"] = np.array(alphabet.vocabulary.to_json())
    if alphabet.moving:
        arrays |= CustomMotions.learn(drawn_letters(alphabet, np.random.default_rng(settings.seed))).arrays()
    with atomic_file(request.out / ASSET) as draft:
        np.savez_compressed(draft, **arrays)  # pyright: ignore[reportArgumentType]  # a keyword of its own besides
    classifier = GestureClassifier(weights, alphabet.vocabulary)
    if settings.alphabet:
        write_text(request.out / CONFUSION, confusion_table(classifier, held_out, alphabet))
    results: dict[str, object] = {"classifier": request.out / ASSET, **gesture_metrics(classifier, held_out, alphabet)}
    if heads:
        with atomic_file(request.out / HEADS_ASSET) as draft:
            np.savez(draft, **(shipped_arrays() | heads))  # pyright: ignore[reportArgumentType]
        held_out = with_appearance(_seen(request, settings.held_out, 0).unambiguous(hands), heads)
        metrics = gesture_metrics(classifier, held_out, alphabet)
        results |= {"heads": request.out / HEADS_ASSET} | {f"with_image_{name}": one for name, one in metrics.items()}
    return results


def train_network(
    sources: list[tuple[PosedHands, float]], settings: GestureSettings, request: TrainingRequest | None = None
) -> GestureNetwork:
    """A trained network, not calibrated, in eval mode on the CPU.

    Args:
        sources: hands, and their share in a step.
        settings: of the recipe.
        request: where the run is kept; None keeps nothing.

    Raises:
        InputError: fewer than two shapes.
    """
    features = np.concatenate([hands.features() for hands, _ in sources])
    names, pose = np.unique(np.concatenate([hands.pose for hands, _ in sources]), return_inverse=True)
    if len(names) < 2:
        raise InputError("the training hands need two poses at least; see the comments of the recipe's file")
    alphabet = load_alphabet(settings.alphabet)
    chances = np.concatenate([_chances(hands, alphabet, settings.none) * share for hands, share in sources]).cumsum()
    torch.manual_seed(settings.seed)
    network = GestureNetwork(
        names.tolist(), alphabet.shapes_of(names.tolist()), settings.hidden, settings.embedding, settings.dropout
    )
    network.middle.copy_(torch.from_numpy(features.mean(0)))
    network.spread.copy_(torch.from_numpy(features.std(0) + _LEAST_SPREAD))

    def batch(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        rows = np.searchsorted(chances, rng.random(settings.batch) * chances[-1], "right")
        return torch.from_numpy(features[rows]), torch.from_numpy(pose[rows])

    def losses(network: GestureNetwork, drawn: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        logits = network(drawn[0], settings.noise)
        return {"loss": cross_entropy(logits, drawn[1], label_smoothing=settings.smoothing)}

    network.to(request.device if request else "cpu").train()
    if request is None:
        train(network, batch, losses, settings)
    else:
        inputs = {"hands": len(features)}
        train(network, batch, losses, settings, out=request.out, inputs=inputs, progress=request.progress)
    return network.cpu().eval()


def _chances(hands: PosedHands, alphabet: Alphabet, none: float) -> FloatArray:
    """(N,) how often hands are drawn: gestures alike, those without one as said, of these some poses seldom; sum 1."""
    shape = hands.shapes(alphabet)
    counts = np.bincount(shape, minlength=len(alphabet.vocabulary.shapes))
    gestures = np.count_nonzero(counts[1:])
    share = np.full(len(counts), (1 - none) / max(gestures, 1))
    share[0] = none
    chances = (share / np.maximum(counts, 1))[shape]
    for pose, part in _SELDOM.items():
        chances[(hands.pose == pose) & (shape == 0)] *= part
    return chances / chances.sum()


def calibrated(
    weights: Mapping[str, RealArray], hands: PosedHands, alphabet: Alphabet | None = None
) -> dict[str, RealArray]:
    """The same with the temperature of least cross entropy on other hands.

    Source: Guo et al. 2017, On calibration of modern neural networks, section 4.2.
    """
    alphabet = alphabet or shipped_gestures()
    features, rows, shape = hands.features(), np.arange(len(hands)), hands.shapes(alphabet)

    def scaled(temperature: float) -> dict[str, RealArray]:
        return {**weights, **{name: weights[name] / temperature for name in ("weights_2", "bias_2")}}

    def loss(one: Mapping[str, RealArray]) -> float:
        return -float(
            np.log(GestureClassifier(one, alphabet.vocabulary).probabilities(features)[rows, shape] + 1e-9).mean()
        )

    return min(map(scaled, _TEMPERATURES), key=loss)


def with_appearance(hands: SeenHands, heads: Mapping[str, RealArray]) -> SeenHands:
    """Hands with what their appearance is read from, with that of `Hand` in its place."""
    reader = HandHeads({name.removeprefix("full."): value.astype(np.float32) for name, value in heads.items()})

    def read(row: NDArray[np.floating]) -> Float32Array:
        maps, places = maps_and_places(row[None])
        return reader.appearance(AppearanceInputs(places[0], maps))

    return replace(hands, appearance=np.array([read(row) for row in hands.appearance], np.float32))


def image_calibration(weights: Mapping[str, RealArray], hands: SeenHands) -> dict[str, RealArray]:
    """The array by which the probabilities by the image are calibrated, see `GestureClassifier`.

    It has the least cross entropy on other hands, of which `_NONE_SHARE` count as making no gesture.

    Args:
        weights: of both networks.
        hands: that these were not trained on, some with a gesture and some without.
    """
    shape = hands.shapes(shipped_gestures())
    shares = GestureClassifier(weights).probabilities(hands.features(), hands.appearance)
    makes = shape > 0
    counted = np.where(makes, (1 - _NONE_SHARE) / max(makes.sum(), 1), _NONE_SHARE / max((~makes).sum(), 1))

    def loss(calibration: tuple[float, float]) -> float:
        told = calibrated_shares(shares, calibration)[np.arange(len(hands)), shape]
        return -float((np.log(told + 1e-9) * counted).sum())

    pairs = [(exponent, factor) for exponent in _EXPONENTS for factor in _NONE_FACTORS]
    return {f"{WITH_IMAGE}calibration": np.array(min(pairs, key=loss))}


def whitened(weights: Mapping[str, RealArray], sources: Sequence[PosedHands]) -> dict[str, RealArray]:
    """The same with the axes by which gestures are taught; hands of one pose differ by 1 along them, poses by more."""
    shapes = Vocabulary(tuple(map(str, range(int(np.max(weights["shape"])) + 1))))  # their names are of no account
    places = np.concatenate([GestureClassifier(weights, shapes).embed(one.features()) for one in sources]).astype(
        np.float64
    )
    names, pose = np.unique(np.concatenate([one.pose for one in sources]), return_inverse=True)
    means = np.stack([places[pose == number].mean(0) for number in range(len(names))])
    named = names != "any"
    within = (places - means[pose])[named[pose]]
    variances, axes = np.linalg.eigh(within.T @ within / max(len(within), 1))
    least = _LEAST_VARIANCE * max(float(variances.max(initial=0.0)), _LEAST_SPREAD)
    whitening = axes / np.sqrt(np.maximum(variances, least))
    middle = means[named].mean(0)
    between = (means[named] - middle) @ whitening
    spread, turn = np.linalg.eigh(between.T @ between / len(between))
    whitening = whitening @ turn
    given = {"whitening": whitening, "whitening_bias": -middle @ whitening, "spread": spread.clip(0)}
    return {**weights, **given}


def gesture_metrics(
    classifier: GestureClassifier, hands: PosedHands, alphabet: Alphabet | None = None
) -> dict[str, float]:
    """Shares of hands that are told right: all, those of gestures, and by shape; and what is said wrongly.

    Args:
        classifier: to evaluate.
        hands: that it was not trained on.
        alphabet: what their poses mean; the shipped gestures by default.
    """
    names = classifier.vocabulary.shapes
    shape, said = hands.shapes(alphabet or shipped_gestures()), _said(classifier, hands)
    right, makes = said == shape, shape > 0
    metrics = {
        "accuracy": float(right.mean()),
        "gestures_right": _mean(right, makes),
        "none_taken_for_a_gesture": _mean(said > 0, ~makes),
        "gesture_taken_for_another": _mean((said > 0) & ~right, makes),
        "held_out_hands": len(hands),
    }
    known = [index for index in range(len(names)) if (shape == index).any()]
    return metrics | {f"right_{names[index]}": _mean(right, shape == index) for index in known}


def confusion_table(classifier: GestureClassifier, hands: PosedHands, alphabet: Alphabet) -> str:
    """What each shape is told as, most often first, as lines of CSV: shape, hands, share told right, told as.

    Args:
        classifier: to evaluate.
        hands: that it was not trained on.
        alphabet: what their poses mean.
    """
    names = classifier.vocabulary.shapes
    shape, said = hands.shapes(alphabet), _said(classifier, hands)
    lines = ["shape,hands,right,told as"]
    for index, name in enumerate(names):
        counts = np.bincount(said[shape == index], minlength=len(names))
        if counts.any():
            told = " ".join(f"{names[other]}:{counts[other]}" for other in np.argsort(-counts) if counts[other])
            lines.append(f"{name},{counts.sum()},{counts[index] / counts.sum():.2f},{told}")
    return "\n".join(lines) + "\n"


def _said(classifier: GestureClassifier, hands: PosedHands) -> IntArray:
    """(N,) index of the shape that each hand is told as."""
    appearance = hands.appearance if isinstance(hands, SeenHands) else None
    probabilities = classifier.probabilities(hands.features(), appearance)
    return np.where(probabilities.max(1) >= LEAST_SCORE, probabilities.argmax(1), 0)


def _mean(values: BoolArray, where: BoolArray) -> float:
    return float(values[where].mean()) if where.any() else 0.0


def _found(request: TrainingRequest, names: tuple[str, ...], crops: int) -> PosedHands:
    """What the hand network finds in some folders below the data."""

    def compute(folder: Path, progress: Callable[[int, int], None]) -> PosedHands:
        return posed_hands(folder, crops, progress=progress)

    return PosedHands.of_folders(request, names, f"{FOUND}/{{}}-{crops}.npz", compute)


def _seen(request: TrainingRequest, names: tuple[str, ...], crops: int) -> SeenHands:
    """The same with what the appearance is read from."""

    def compute(folder: Path, progress: Callable[[int, int], None]) -> SeenHands:
        return seen_hands(folder, crops, maps=True, progress=progress)

    return SeenHands.of_folders(request, names, f"{FOUND}/{{}}-maps-{crops}.npz", compute)
