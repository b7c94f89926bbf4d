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
from torch import Tensor
from torch.nn.functional import cross_entropy

from sonjit._util.data_files import write_json
from sonjit._util.errors import InputError
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
    AugmentationSettings,
    AugmentedSettings,
)
from sonjit.lab.training.building_blocks import export_trained
from sonjit.lab.training.class_images import (
    CLASSES,
    ClassImages,
    Crop,
    HandCrops,
    classification_metrics,
    images_from,
    open_class_images,
)
from sonjit.lab.training.loop import WEIGHTS, train
from sonjit.lab.training.recipes import TrainingRequest, settings_from
from sonjit.lab.training.settings import MAX_COUNT, MAX_IMAGES, MAX_SIDE, check_range

METRICS = "metrics.json"
"""File of a run with the metrics on held-out images."""
_SIZE = 96


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
        check_range(self, batch=(1, MAX_IMAGES), held_out=(1, MAX_COUNT), segment=(4, MAX_COUNT), context=(1, 4))
        if self.size:
            check_range(self, size=(16, MAX_SIDE))
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
        cropper = load_classifier(load_description(run, "cam", lambda described: str(described["network"])), run)
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


@torch.inference_mode()
def accuracy(network: Network, crops: Sequence[Crop], device: str = "cpu") -> float:
    """Return the share of crops whose class is predicted correctly, 0..1."""
    right = 0
    for start in range(0, len(crops), 64):
        part = crops[start : start + 64]
        best = network(images_from(part).to(device))["scores"].argmax(1).cpu()
        right += int((best == torch.tensor([item.label for item in part])).sum())
    return right / len(crops)
