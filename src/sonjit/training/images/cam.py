"""The recipe `cam`: a classifier whose class activation maps say where in the image its class is.

It learns from the images of a data set, or from crops of a video whose hands are known: each shows one hand with its
surroundings, or none. It is never told where in the image the class is; boxes only evaluate the maps afterwards, but
for the view "box".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from sonjit.arrays import FloatArray, Image
from sonjit.errors import InputError
from sonjit.files import write_text
from sonjit.geometry.boxes import RotatedBox, crop, points_into_crop
from sonjit.media import open_source
from sonjit.networks import Network, create_network, load_checkpoint, network_entry
from sonjit.networks.cam import CamNetwork, FullyConnected
from sonjit.networks.checkpoints import DESCRIPTION, load_description
from sonjit.networks.classifiers import Classifier, View, is_classifier, load_classifier, save_classifier_description
from sonjit.results import Box
from sonjit.training.augment import (
    NO_AUGMENTATION,
    Augmentation,
    AugmentationSettings,
    AugmentedSettings,
    draw_augmentation,
)
from sonjit.training.hands.samples import exported
from sonjit.training.images.class_images import Crop, classification_metrics, images_from, open_class_images
from sonjit.training.loop import WEIGHTS, train
from sonjit.training.recipes import TrainingRequest, settings_from


@dataclass(frozen=True)
class CamSettings(AugmentedSettings):
    """Settings of the recipe.

    Attributes:
        network: one of `list_networks("cam-*")` or `list_networks("fc-*")`.
        pooling: gap or gmp, of the first; "" for gap, or what the given weights have.
        batch: images in a step.
        size: side of what the network is shown, in pixels; 0 for 96 of the clip's crops and what the network is for.
        dataset: the kind of data set of `--data`, by its name in `sonjit datasets list`, such as `folder`, `cub200` or
            `ilsvrc-loc`; "" for a clip of hands with its truth.
        split: which part of it to train on; "" is its training set, else its first.
        held_out_split: which part to evaluate on; "" is what the set has for that, else every fifth image.
        held_out: images to evaluate on, at most.
        view: what is shown of an image of a data set: all of it (full), what the maps of `--weights` cut out (crop), or
            the labelled box (box).
        context: side of a clip's crop as a multiple of the hand's.
        segment: frames of a clip of which the first three quarters are for training and the last one is held out.
    """

    steps: int = 200
    learning_rate: float = 2e-3
    WITHOUT: ClassVar[tuple[str, ...]] = ("shift", "reverse")  # crops are from any place

    network: str = "cam-small"
    pooling: Literal["", "gap", "gmp"] = ""
    batch: int = 32
    size: int = 0
    dataset: str = ""
    split: str = ""
    held_out_split: str = ""
    held_out: int = 500
    view: View = "full"
    context: float = 2.0
    segment: int = 60

    def __post_init__(self) -> None:
        """Refuse values out of range, and settings without effect."""
        super().__post_init__()
        if self.batch < 1 or self.segment < 4 or not 1 <= self.context <= 4 or self.held_out < 1:
            raise InputError("give batch >= 1, held_out >= 1, segment >= 4 and context in 1..4")
        if self.size and self.size < 16:
            raise InputError(f"size={self.size}: give at least 16")
        if not is_classifier(self.network):
            raise InputError(f"network={self.network}: give one of sonjit networks 'cam-*' or 'fc-*'")
        if self.pooling and self.network.startswith("fc-"):
            raise InputError(f"pooling={self.pooling}: {self.network} pools nothing before its classes; leave it out")
        asked = [name for name in ("split", "held_out_split") if getattr(self, name)]
        if not self.dataset and (asked or self.view != "full"):
            raise InputError(f"{', '.join(asked or ['view'])}: is of a data set; set dataset, too")


def train_cam(request: TrainingRequest) -> dict[str, object]:
    """Train on a data set; or on the bundled clip, or a video (`images`) with its truth (`data`).

    Returns:
        The weights' path and, of what was held out, the share of right classes and how many images that is; of a data
        set also the errors as ILSVRC counts them, in per cent.

    Raises:
        InputError: data or weights that cannot be used.
    """
    settings = settings_from(CamSettings, request.settings)
    if settings.dataset:
        return _train_on_set(settings, request)
    with resources.as_file(resources.files("sonjit") / "assets") as assets:
        clip, truth = request.images or assets / "demo.mp4", request.data or assets / "demo.json"
        size = settings.size or _SIZE
        crops = HandCrops(clip, truth, size=size, context=settings.context, segment=settings.segment)
    network = train_classifier(crops, settings, request)
    test = crops.test()
    results: dict[str, object] = {
        "weights": request.out / WEIGHTS, "accuracy": accuracy(network, test), "held_out_crops": len(test),
    }  # fmt: skip
    results |= exported(network, "cam", size, request)
    return results


def _train_on_set(settings: CamSettings, request: TrainingRequest) -> dict[str, object]:
    if request.data is None:
        raise InputError(f"dataset={settings.dataset}: name its folder with --data")
    cropper = None
    if settings.view == "crop":
        if request.weights is None or not (run := _run_of(request.weights)):
            raise InputError(
                "view=crop: give --weights, the folder of a run of sonjit train cam whose maps cut images out"
            )
        cropper = load_classifier(_network_of_run(run), run)
        if cropper.view != "full":
            raise InputError(f"view=crop: {run} was itself trained on view={cropper.view}; give a run of whole images")
    images = open_class_images(
        settings.dataset, request.data, request.images, split=settings.split,
        held_out_split=settings.held_out_split, size=settings.size or _size_of(settings.network),
        view=settings.view, cropper=cropper,
    )  # fmt: skip
    samples = images.held_out(settings.held_out)
    classifier = _classifier(settings, request, images.names, images.ids)
    classifier = replace(classifier, view=settings.view, cropper=cropper)

    def evaluate(network: Network) -> dict[str, float]:
        return classification_metrics(replace(classifier, network=network), samples)

    network = _train(classifier, images, settings, request, evaluate)
    metrics = evaluate(network)
    write_text(request.out / METRICS, json.dumps({**metrics, "held_out": len(samples)}, indent=2) + "\n")
    results: dict[str, object] = {"weights": request.out / WEIGHTS, "training_images": len(images)}
    results |= {"accuracy": 1 - metrics["classification_error_1"] / 100, "held_out": len(samples), **metrics}
    results |= exported(network, "cam", classifier.size, request)
    return results


def train_classifier(crops: HandCrops, settings: CamSettings, request: TrainingRequest | None = None) -> Network:
    """The network trained on a clip's crops, in eval mode on the CPU."""
    classifier = _classifier(settings, request, CLASSES, tuple(range(len(CLASSES))))
    test = crops.test()

    def evaluate(network: Network) -> dict[str, float]:
        return {"accuracy": accuracy(network, test, str(network.device))}

    return _train(classifier, crops, settings, request, evaluate)


class _Drawing(Protocol):
    """What examples are drawn from."""

    def draw(
        self, rng: np.random.Generator, count: int, augmentation: AugmentationSettings = ...
    ) -> list[Crop]: ...  # fmt: skip


def _train(
    classifier: Classifier,
    images: _Drawing,
    settings: CamSettings,
    request: TrainingRequest | None,
    evaluate: Callable[[Network], Mapping[str, float]] | None = None,
) -> Network:
    """The classifier's network, trained, in eval mode on the CPU; its description is written into the run."""
    torch.manual_seed(settings.seed)
    network = classifier.network.to(request.device if request else "cpu").train()

    def losses(network: Network, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        pixels, labels = batch
        return {"cross_entropy": cross_entropy(network(pixels)["scores"], labels, label_smoothing=0.05)}

    batch = partial(draw_batch, crops=images, count=settings.batch, augmentation=settings.augmentation)
    if request is None:
        train(network, batch, losses, settings)
    else:
        given = _run_of(request.weights)
        save_classifier_description(request.out, classifier, given if settings.view == "crop" else None)
        inputs: dict[str, object] = request.inputs() | {"classes": classifier.names}
        train(
            network, batch, losses, settings, out=request.out, inputs=inputs, progress=request.progress,
            evaluate=evaluate, higher_is_better=settings.dataset == "",
        )  # fmt: skip
    return network.cpu().eval()


def draw_batch(
    rng: np.random.Generator, crops: _Drawing, count: int, augmentation: AugmentationSettings
) -> tuple[Tensor, Tensor]:
    """Crops (B, 3, size, size) and their classes (B,)."""
    drawn = crops.draw(rng, count, augmentation)
    return images_from(drawn), torch.tensor([one.label for one in drawn])


def _classifier(
    settings: CamSettings, request: TrainingRequest | None, names: tuple[str, ...], ids: tuple[int, ...]
) -> Classifier:
    """A new network, or one with initial weights whose layer of classes begins anew where the classes differ."""
    size = settings.size or (_size_of(settings.network) if settings.dataset else _SIZE)
    weights = request.weights if request else None
    torch.manual_seed(settings.seed)
    if weights is None:
        options = {} if settings.network.startswith("fc-") else {"pooling": settings.pooling or "gap"}
        network = create_network(settings.network, classes=len(names), **options)
    elif weights == "demo" or not (run := _run_of(weights)):
        network = _network_from_file(settings, weights, len(names))
    else:
        made = load_classifier(settings.network, run, settings.pooling or None)
        network = made.network
        if made.names != names:
            _forget_classes(network, len(names))
    return Classifier(network, size, names, ids)


def _network_from_file(settings: CamSettings, weights: str, classes: int) -> Network:
    """A network with the weights of torchvision, whose layer of classes begins anew; or with placeholder weights."""
    name = settings.network
    options = {"pooling": settings.pooling} if settings.pooling else {}
    if weights == "demo":
        return create_network(name, weights, classes=classes, **options)
    held = load_checkpoint(Path(weights))
    last = next((held[key] for key in ("head.weight", "fc.weight", "classifier.6.weight") if key in held), None)
    whole = last is not None and not (name.startswith("cam-") and "classifier.6.weight" in held)
    network = create_network(name, weights, classes=len(last) if whole and last is not None else classes, **options)
    _forget_classes(network, classes)
    return network


def _forget_classes(network: Network, classes: int) -> None:
    assert isinstance(network, CamNetwork | FullyConnected)
    network.forget_classes(classes)


def _size_of(network: str) -> int:
    return network_entry(network).inputs[0].shape[-1]


def _run_of(weights: str | None) -> Path | None:
    """The folder of the run whose weights these are; None of others'."""
    path = Path(weights or "")
    folder = path if path.is_dir() else path.parent
    return folder if weights and (folder / DESCRIPTION).is_file() else None


def _network_of_run(folder: Path) -> str:
    return load_description(folder, "cam", lambda described: str(described["network"]))


@torch.inference_mode()
def accuracy(network: Network, crops: Sequence[Crop], device: str = "cpu") -> float:
    """Share of crops whose class is found, 0..1."""
    right = 0
    for start in range(0, len(crops), 64):
        part = crops[start : start + 64]
        best = network(images_from(part).to(device))["scores"].argmax(1).cpu()
        right += int((best == torch.tensor([one.label for one in part])).sum())
    return right / len(crops)


METRICS = "metrics.json"
"""In the run of a data set: what came of the images held out."""

_SIZE = 96
_AS_IS = Augmentation()
CLASSES = ("Left", "Right", "none")
_LONG_SIDE_PX = 320  # of the frames that are kept: crops are smaller still
_TRIES = 10  # places for a held-out crop before it is given up, where the other hand is near
_MARGIN = 0.12  # skin reaches beyond the keypoints by this share of the hand's size


class HandCrops:
    """Crops of a clip whose hands are known.

    Args:
        clip: a video.
        truth: JSON with "frames", each with "index" and "hands" of "handedness" and "xy", (21, 2) in pixels.
        size: side of a crop in pixels.
        context: side of a crop as a multiple of the hand's.
        segment: frames of which the first three quarters are for training and the last one is held out.
    """

    def __init__(self, clip: Path, truth: Path, *, size: int = 96, context: float = 2.0, segment: int = 60) -> None:
        self._size, self._context = size, context
        try:
            frames = json.loads(truth.read_text("utf-8"))["frames"]
            hands = {
                int(frame["index"]): [
                    (CLASSES.index(hand["handedness"]), np.array(hand["xy"], float)) for hand in frame["hands"]
                ]
                for frame in frames
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{truth}: no frames with hands of handedness and xy in it ({error})") from None
        self._images: dict[int, NDArray[np.uint8]] = {}
        self._hands: dict[int, list[tuple[int, FloatArray]]] = {}
        with open_source(clip) as source:
            for frame in source:
                if frame.index in hands:
                    image, scale = _shrunk(frame.rgb)
                    self._images[frame.index] = image
                    self._hands[frame.index] = [(label, xy * scale) for label, xy in hands[frame.index]]
        quarter = segment * 3 // 4
        self.training = [index for index in sorted(self._images) if index % segment < quarter]
        self.held_out = [index for index in sorted(self._images) if index % segment >= quarter]
        if not self.training or not self.held_out:
            raise InputError(f"{clip} is too short for segments of {segment} frames; set a smaller one")

    def draw(
        self, rng: np.random.Generator, count: int, augmentation: AugmentationSettings = NO_AUGMENTATION
    ) -> list[Crop]:
        """Crops of the training set from any place, augmented; a mirror shows the other hand."""
        crops: list[Crop] = []
        while len(crops) < count:
            index = int(rng.choice(self.training))
            hands = self._hands[index]
            which = int(rng.integers(len(hands) + 1)) if hands else 0  # the last is no hand
            change = draw_augmentation(augmentation, rng)
            found = self._crop(index, which, rng, change)
            if found is not None:
                found = _mirrored(found) if change.mirror else found
                crops.append(replace(found, image=change.coloured(found.image)))
        return crops

    def test(self, *, none: bool = False) -> list[Crop]:
        """Every hand of the held-out frames, and the same mirrored; with `none`, as many crops without a hand."""
        crops: list[Crop] = []
        for index in self.held_out:
            for which in range(len(self._hands[index])):
                number = len(self._hands[index]) if none else which
                tries = (self._crop(index, number, np.random.default_rng((index, which, one))) for one in range(_TRIES))
                found = next((one for one in tries if one is not None), None)
                crops += [] if found is None else [found, _mirrored(found)]
        return crops

    def _crop(
        self, index: int, which: int, rng: np.random.Generator, change: Augmentation = _AS_IS
    ) -> Crop | None:  # fmt: skip
        """One hand of a frame or, beyond the last, none.

        None where the hand has left the image, or another one reaches into the crop.
        """
        rgb, hands, size = self._images[index], self._hands[index], self._size
        height, width = rgb.shape[:2]
        _, points = hands[min(which, len(hands) - 1)] if hands else (0, np.array([[0.0, 0.0], [width / 4, width / 4]]))
        box = _around(points)
        hand = max(box[2] - box[0], box[3] - box[1])
        side = self._context * change.scale * hand
        if which < len(hands):
            free = max(side - 1.2 * hand, 0) / 2
            cx, cy = (np.array(box).reshape(2, 2).mean(0) + rng.uniform(-free, free, 2)).tolist()
        else:
            cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        area = RotatedBox(cx, cy, side, side, change.rotation_rad)
        for number, (_, xy) in enumerate(hands):
            x_min, y_min, x_max, y_max = _around(points_into_crop(xy, area, size))
            if number != which and x_max > 0 and y_max > 0 and x_min < size and y_min < size:
                return None
        image = crop(rgb, area, size, size)
        if which >= len(hands):
            return Crop(image, CLASSES.index("none"), None)
        label, xy = hands[which]
        if not ((xy >= 0) & (xy < (width, height))).all():
            return None
        x_min, y_min, x_max, y_max = np.clip(_around(points_into_crop(xy, area, size)), 0, size).tolist()
        return Crop(image, label, (x_min, y_min, x_max, y_max))


def _shrunk(rgb: Image) -> tuple[NDArray[np.uint8], float]:
    """A frame of at most `_LONG_SIDE_PX`, and by what its coordinates shrink."""
    import cv2

    scale = min(_LONG_SIDE_PX / max(rgb.shape[:2]), 1.0)
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _mirrored(one: Crop) -> Crop:
    """The mirror image, which shows the other hand."""
    box = one.box
    if box is not None:
        size = one.image.shape[1]
        box = size - box[2], box[1], size - box[0], box[3]
    label = {"Left": "Right", "Right": "Left"}.get(CLASSES[one.label], CLASSES[one.label])
    return Crop(np.ascontiguousarray(one.image[:, ::-1]), CLASSES.index(label), box)


def _around(points: FloatArray) -> Box:
    """Box around a hand's keypoints (K, 2) with the skin about them."""
    low, high = points.min(0), points.max(0)
    margin = _MARGIN * float((high - low).max())
    x_min, y_min, x_max, y_max = *(low - margin).tolist(), *(high + margin).tolist()
    return x_min, y_min, x_max, y_max
