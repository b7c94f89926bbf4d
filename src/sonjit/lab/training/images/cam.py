"""Train a classifier with class activation maps (recipe `cam`), which locate its classes in the image.

It is trained on the images of a data set, or on crops of a video with known hands, each with one hand or none.
Training uses only classes, except in the view "box". Labelled boxes only evaluate the maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from sonjit._util.arrays import FloatArray, Image
from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit.geometry.boxes import RotatedBox, crop, points_into_crop
from sonjit.lab.networks import Network, create_network, load_checkpoint, network_entry
from sonjit.lab.networks.cam import CamNetwork, FullyConnected
from sonjit.lab.networks.checkpoints import DESCRIPTION, load_description
from sonjit.lab.networks.classifiers import (
    Classifier,
    View,
    is_classifier,
    load_classifier,
    save_classifier_description,
)
from sonjit.lab.networks.registry import required_checkpoint
from sonjit.lab.training.augment import (
    Augmentation,
    AugmentationSettings,
    AugmentedSettings,
    draw_augmentation,
)
from sonjit.lab.training.export import export_trained
from sonjit.lab.training.images.class_images import (
    ClassImages,
    Crop,
    classification_metrics,
    images_from,
    open_class_images,
)
from sonjit.lab.training.loop import WEIGHTS, train
from sonjit.lab.training.recipes import TrainingRequest, settings_from
from sonjit.media import open_source
from sonjit.results import Box

METRICS = "metrics.json"
"""File of a run with the metrics on held-out images."""
_SIZE = 96
_UNCHANGED = Augmentation()
CLASSES = ("Left", "Right", "none")
_LONG_SIDE_PX = 320  # longer side of the frames in memory; crops are smaller
_MAX_TRIES = 10  # maximum number of boxes that are tried for a held-out crop without another hand
_MARGIN = 0.12  # distance of the skin from the keypoints, relative to the hand's size


@dataclass(frozen=True)
class CamSettings(AugmentedSettings):
    """Settings of the recipe.

    Attributes:
        network: Network name from `list_networks("cam-*")` or `list_networks("fc-*")`.
        pooling: gap or gmp, for networks with maps; "" for gap, or the pooling of the given weights.
        batch: Number of images in a step.
        size: Side of the network's input in pixels; 0 for 96 with the clip's crops, or else the network's own size.
        dataset: Kind of data set of `--data`, by its name in `sonjit datasets list`, such as `folder`, `cub200` or
            `ilsvrc-loc`; "" for a clip of hands with its ground truth.
        split: Split to train on; "" is the training set, or else the first split.
        held_out_split: Split to evaluate on; "" is the data set's own, or else every fifth image.
        held_out: Maximum number of images to evaluate on.
        view: Part of an image of a data set: all of it (full), the part that the maps of `--weights` crop (crop), or
            the labelled box (box).
        context: Side of a clip's crop as a multiple of the hand's.
        segment: Length of segments of a clip in frames; the first three quarters of each are for training.
    """

    steps: int = 200
    learning_rate: float = 2e-3
    UNSUPPORTED: ClassVar[tuple[str, ...]] = ("shift", "reverse")  # crops are already at random positions

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
        """Check that values are in range and that settings have an effect."""
        super().__post_init__()
        if self.batch < 1 or self.segment < 4 or not 1 <= self.context <= 4 or self.held_out < 1:
            raise InputError("batch and held_out must be at least 1, segment at least 4, and context in 1..4")
        if self.size and self.size < 16:
            raise InputError(f"size={self.size}: must be at least 16")
        if not is_classifier(self.network):
            raise InputError(f"Unknown network {self.network!r}. Choose from sonjit networks 'cam-*' or 'fc-*'")
        if self.pooling and self.network.startswith("fc-"):
            raise InputError(f"pooling={self.pooling} applies only to cam-* networks, not to {self.network}")
        used = [name for name in ("split", "held_out_split") if getattr(self, name)]
        if not self.dataset and (used or self.view != "full"):
            raise InputError(f"{', '.join(used or ['view'])} requires dataset")


def train_cam(request: TrainingRequest) -> dict[str, object]:
    """Train on a data set, on the bundled clip, or on a video (`images`) with its ground truth (`data`).

    Returns:
        "weights" and, on held-out images, the accuracy and the number of images; for a data set also the errors in the
        definition of ILSVRC, in per cent.

    Raises:
        InputError: Data or weights cannot be used.
    """
    settings = settings_from(CamSettings, request.settings)
    if settings.dataset:
        return _train_on_set(settings, request)
    with resources.as_file(resources.files("sonjit") / "_util" / "assets") as assets:
        clip, truth = request.images or assets / "demo.mp4", request.data or assets / "demo.json"
        size = settings.size or _SIZE
        crops = HandCrops(clip, truth, size=size, context=settings.context, segment=settings.segment)
    network = train_classifier(crops, settings, request)
    test = crops.test()
    results: dict[str, object] = {
        "weights": request.out / WEIGHTS, "accuracy": accuracy(network, test), "held_out_crops": len(test),
    }  # fmt: skip
    results |= export_trained(network, "cam", size, request)
    return results


def _train_on_set(settings: CamSettings, request: TrainingRequest) -> dict[str, object]:
    if request.data is None:
        raise InputError(f"dataset={settings.dataset} requires its folder as --data")
    cropper = None
    if settings.view == "crop":
        if request.weights is None or not (run := _run_folder_of(request.weights)):
            raise InputError(
                "view=crop requires --weights, the folder of a run of sonjit train cam whose maps crop images"
            )
        cropper = load_classifier(_network_of_run(run), run)
        if cropper.view != "full":
            raise InputError(f"view=crop requires a run on view=full, but {run} was trained on view={cropper.view}")
    images = open_class_images(
        settings.dataset, request.data, request.images, split=settings.split,
        held_out_split=settings.held_out_split, size=settings.size or _size_of(settings.network),
        view=settings.view, cropper=cropper,
    )  # fmt: skip
    samples = images.select_held_out(settings.held_out)
    classifier = _classifier(settings, request, images.names, images.ids)
    classifier = replace(classifier, view=settings.view, cropper=cropper)

    def evaluate(network: Network) -> dict[str, float]:
        return classification_metrics(replace(classifier, network=network), samples)

    network = _train(classifier, images, settings, request, evaluate)
    metrics = evaluate(network)
    write_json(request.out / METRICS, {**metrics, "held_out": len(samples)}, indent=2)
    results: dict[str, object] = {"weights": request.out / WEIGHTS, "training_images": len(images)}
    results |= {"accuracy": 1 - metrics["classification_error_1"] / 100, "held_out": len(samples), **metrics}
    results |= export_trained(network, "cam", classifier.size, request)
    return results


def train_classifier(crops: HandCrops, settings: CamSettings, request: TrainingRequest | None = None) -> Network:
    """Train a network on a clip's crops and return it in eval mode on the CPU."""
    classifier = _classifier(settings, request, CLASSES, tuple(range(len(CLASSES))))
    test = crops.test()

    def evaluate(network: Network) -> dict[str, float]:
        return {"accuracy": accuracy(network, test, str(network.device))}

    return _train(classifier, crops, settings, request, evaluate)


def _train(
    classifier: Classifier,
    images: ClassImages | HandCrops,
    settings: CamSettings,
    request: TrainingRequest | None,
    evaluate: Callable[[Network], Mapping[str, float]] | None = None,
) -> Network:
    """Train the classifier's network, write its description into the run, and return it in eval mode on the CPU."""
    torch.manual_seed(settings.seed)
    network = classifier.network.to(request.device if request else "cpu").train()

    def losses(network: Network, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        pixels, labels = batch
        return {"cross_entropy": cross_entropy(network(pixels)["scores"], labels, label_smoothing=0.05)}

    batch = partial(draw_batch, crops=images, count=settings.batch, augmentation=settings.augmentation)
    if request is None:
        train(network, batch, losses, settings)
    else:
        run = _run_folder_of(request.weights)
        save_classifier_description(request.out, classifier, run if settings.view == "crop" else None)
        inputs: dict[str, object] = request.inputs() | {"classes": classifier.names}
        train(
            network, batch, losses, settings, out=request.out, inputs=inputs, progress=request.progress,
            evaluate=evaluate, higher_is_better=settings.dataset == "",
        )  # fmt: skip
    return network.cpu().eval()


def draw_batch(
    rng: np.random.Generator, crops: ClassImages | HandCrops, count: int, augmentation: AugmentationSettings
) -> tuple[Tensor, Tensor]:
    """Return crops (B, 3, size, size) and their classes (B,)."""
    drawn = crops.draw(rng, count, augmentation)
    return images_from(drawn), torch.tensor([crop.label for crop in drawn])


def _classifier(
    settings: CamSettings, request: TrainingRequest | None, names: tuple[str, ...], ids: tuple[int, ...]
) -> Classifier:
    """Return a new network, or one with initial weights and a new output layer if the classes differ."""
    size = settings.size or (_size_of(settings.network) if settings.dataset else _SIZE)
    weights = request.weights if request else None
    torch.manual_seed(settings.seed)
    if weights is None:
        options = {} if settings.network.startswith("fc-") else {"pooling": settings.pooling or "gap"}
        network = create_network(settings.network, classes=len(names), **options)
    elif weights == "demo" or not (run := _run_folder_of(weights)):
        network = _network_from_file(settings, weights, len(names))
    else:
        initial = load_classifier(settings.network, run, settings.pooling or None)
        network = initial.network
        if initial.names != names:
            _reset_classes(network, len(names))
    return Classifier(network, size, names, ids)


def _network_from_file(settings: CamSettings, weights: str, classes: int) -> Network:
    """Return a network with torchvision's weights and a new output layer, or with placeholder weights."""
    name = settings.network
    options = {"pooling": settings.pooling} if settings.pooling else {}
    if weights == "demo":
        return create_network(name, weights, classes=classes, **options)
    state = load_checkpoint(Path(required_checkpoint(name, weights)))
    last = next((state[key] for key in ("head.weight", "fc.weight", "classifier.6.weight") if key in state), None)
    complete = last is not None and not (name.startswith("cam-") and "classifier.6.weight" in state)
    network = create_network(name, weights, classes=len(last) if complete and last is not None else classes, **options)
    _reset_classes(network, classes)
    return network


def _reset_classes(network: Network, classes: int) -> None:
    assert isinstance(network, CamNetwork | FullyConnected)
    network.forget_classes(classes)


def _size_of(network: str) -> int:
    return network_entry(network).inputs[0].shape[-1]


def _run_folder_of(weights: str | None) -> Path | None:
    """Return the folder of the run that wrote the weights, or None for other weights."""
    path = Path(weights or "")
    folder = path if path.is_dir() else path.parent
    return folder if weights and (folder / DESCRIPTION).is_file() else None


def _network_of_run(folder: Path) -> str:
    return load_description(folder, "cam", lambda described: str(described["network"]))


@torch.inference_mode()
def accuracy(network: Network, crops: Sequence[Crop], device: str = "cpu") -> float:
    """Return the share of crops whose class is predicted correctly, 0..1."""
    right = 0
    for start in range(0, len(crops), 64):
        part = crops[start : start + 64]
        best = network(images_from(part).to(device))["scores"].argmax(1).cpu()
        right += int((best == torch.tensor([item.label for item in part])).sum())
    return right / len(crops)


class HandCrops:
    """Crops of a clip with known hands.

    Args:
        clip: Path of a video.
        truth: JSON file with "frames", each with "index" and "hands" with "handedness" and "xy", (21, 2) in pixels.
        size: Side of a crop in pixels.
        context: Side of a crop as a multiple of the hand's.
        segment: Length of segments in frames; the first three quarters of each are for training.
    """

    def __init__(self, clip: Path, truth: Path, *, size: int = 96, context: float = 2.0, segment: int = 60) -> None:
        self._size, self._context = size, context
        try:
            frames = read_json(truth)["frames"]
            hands = {
                int(frame["index"]): [
                    (CLASSES.index(hand["handedness"]), np.array(hand["xy"], float)) for hand in frame["hands"]
                ]
                for frame in frames
            }
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{truth}: no frames with hands that have handedness and xy ({error})") from None
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
            raise InputError(f"{clip} is too short for segments of {segment} frames; set a smaller segment")

    def draw(
        self, rng: np.random.Generator, count: int, augmentation: AugmentationSettings | None = None
    ) -> list[Crop]:
        """Draw augmented crops of the training set at random positions; a mirror shows the other hand."""
        crops: list[Crop] = []
        while len(crops) < count:
            index = int(rng.choice(self.training))
            hands = self._hands[index]
            hand = int(rng.integers(len(hands) + 1)) if hands else 0  # the last index is a crop without a hand
            change = draw_augmentation(augmentation or AugmentationSettings(), rng)
            found = self._crop(index, hand, rng, change)
            if found is not None:
                found = _mirror(found) if change.mirror else found
                crops.append(replace(found, image=change.change_colours(found.image)))
        return crops

    def test(self, *, none: bool = False) -> list[Crop]:
        """Return every hand of the held-out frames and its mirror image; with `none`, as many crops without a hand."""
        crops: list[Crop] = []
        for index in self.held_out:
            for hand in range(len(self._hands[index])):
                number = len(self._hands[index]) if none else hand
                rngs = (np.random.default_rng((index, hand, attempt)) for attempt in range(_MAX_TRIES))
                tries = (self._crop(index, number, rng) for rng in rngs)
                found = next((candidate for candidate in tries if candidate is not None), None)
                crops += [] if found is None else [found, _mirror(found)]
        return crops

    def _crop(
        self, index: int, hand: int, rng: np.random.Generator, change: Augmentation = _UNCHANGED
    ) -> Crop | None:  # fmt: skip
        """Return a crop of one hand of a frame or, for an index beyond the last hand, without a hand.

        None if the hand is outside the image or another hand is in the crop.
        """
        rgb, hands, size = self._images[index], self._hands[index], self._size
        height, width = rgb.shape[:2]
        _, points = hands[min(hand, len(hands) - 1)] if hands else (0, np.array([[0.0, 0.0], [width / 4, width / 4]]))
        box = _box_around(points)
        hand_side = max(box[2] - box[0], box[3] - box[1])
        side = self._context * change.scale * hand_side
        if hand < len(hands):
            free = max(side - 1.2 * hand_side, 0) / 2
            cx, cy = (np.array(box).reshape(2, 2).mean(0) + rng.uniform(-free, free, 2)).tolist()
        else:
            cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        area = RotatedBox(cx, cy, side, side, change.rotation_rad)
        for number, (_, xy) in enumerate(hands):
            x_min, y_min, x_max, y_max = _box_around(points_into_crop(xy, area, size))
            if number != hand and x_max > 0 and y_max > 0 and x_min < size and y_min < size:
                return None
        image = crop(rgb, area, size, size)
        if hand >= len(hands):
            return Crop(image, CLASSES.index("none"), None)
        label, xy = hands[hand]
        if not ((xy >= 0) & (xy < (width, height))).all():
            return None
        x_min, y_min, x_max, y_max = np.clip(_box_around(points_into_crop(xy, area, size)), 0, size).tolist()
        return Crop(image, label, (x_min, y_min, x_max, y_max))


def _shrunk(rgb: Image) -> tuple[NDArray[np.uint8], float]:
    """Return a frame of at most `_LONG_SIDE_PX`, and the factor of its coordinates."""
    import cv2

    scale = min(_LONG_SIDE_PX / max(rgb.shape[:2]), 1.0)
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _mirror(example: Crop) -> Crop:
    """Return the mirror image, which shows the other hand."""
    box = example.box
    if box is not None:
        size = example.image.shape[1]
        box = size - box[2], box[1], size - box[0], box[3]
    label = {"Left": "Right", "Right": "Left"}.get(CLASSES[example.label], CLASSES[example.label])
    return Crop(np.ascontiguousarray(example.image[:, ::-1]), CLASSES.index(label), box)


def _box_around(points: FloatArray) -> Box:
    """Return the box around a hand's keypoints (K, 2) with a margin for the skin."""
    low, high = points.min(0), points.max(0)
    margin = _MARGIN * float((high - low).max())
    x_min, y_min, x_max, y_max = *(low - margin).tolist(), *(high + margin).tolist()
    return x_min, y_min, x_max, y_max
