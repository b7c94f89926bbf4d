"""Classifiers with their weights, what their classes mean, and what they were trained to be shown."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sonjit.errors import InputError
from sonjit.files import atomic_file
from sonjit.networks.cam import CamNetwork, Pooling
from sonjit.networks.checkpoints import DESCRIPTION, load_checkpoint, load_description, save_description, saved_network
from sonjit.networks.registry import Network, create_network, network_entry

View = Literal["full", "crop", "box"]
"""What a classifier is shown: the whole image, what a map cuts out of it, or the true box."""

_OFFICIAL_HEADS = {"cam-resnet18": "fc.weight", "cam-resnet50": "fc.weight", "cam-googlenet-whole": "fc.weight"}
_CROPPER = "cropper"
"""Folder in a run, of the run whose maps cut out what the classifier is shown."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network and what its outputs mean.

    Attributes:
        network: in eval mode.
        size: side of its square input in pixels.
        names: of its classes; empty where nobody says.
        ids: of its classes in the data set that it was trained on.
        view: what it was trained on.
        cropper: whose map cuts out what it is shown; None where that is its own.
    """

    network: Network
    size: int
    names: tuple[str, ...]
    ids: tuple[int, ...]
    view: View = "full"
    cropper: Classifier | None = None

    @property
    def pooling(self) -> Pooling | None:
        """Gap or gmp; None of a network without maps."""
        return self.network.pooling if isinstance(self.network, CamNetwork) else None


def is_classifier(name: str) -> bool:
    """Whether `load_classifier` knows networks of this name."""
    return name.startswith(("cam-", "fc-"))


def load_classifier(
    name: str, weights: str | Path | None, pooling: str | None = None, classes: int | None = None
) -> Classifier:
    """A classifier with its weights and classes.

    Args:
        name: one of `list_networks("cam-*")` or `list_networks("fc-*")`.
        weights: the folder of a run of `sonjit train cam` or the weights in it; or a checkpoint of torchvision; or
            another one with the same keys, whose pooling has to be said; or "demo" for placeholder weights.
        pooling: gap or gmp, of weights beside which nothing says it.
        classes: of placeholder weights.

    Raises:
        InputError: nothing is there, it is another network, or its pooling is unknown or another one.
    """
    entry = network_entry(name)
    size = entry.inputs[0].shape[-1]
    if weights is None:
        raise InputError(f"{name}: name its checkpoint with --weights: {entry.where} ({entry.licence})")
    if not is_classifier(name):
        raise InputError(f"{name} is not a classifier; take one of sonjit networks 'cam-*' or 'fc-*'")
    options: dict[str, Any] = {} if pooling is None or name.startswith("fc-") else {"pooling": pooling}
    if pooling is not None and not name.startswith("cam-"):
        raise InputError(f"pooling={pooling}: {name} has no pooling before its classes; leave it out")
    path = Path(weights)
    if weights == "demo":
        count = 1000 if classes is None else classes
        network = create_network(name, "demo", classes=count, **options).eval()
        return Classifier(network, size, (), tuple(range(count)))
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or (folder / DESCRIPTION).is_file():
        return _classifier_of_run(name, folder, folder / _WEIGHTS if path.is_dir() else path, options)
    if saved_network(path):
        network = create_network(name, path, **options).eval()
        count = int(str(network.options["classes"]))
        return Classifier(network, size, (), tuple(range(count)))
    held = {key.removeprefix("module."): value for key, value in load_checkpoint(path).items()}
    official = "classifier.6.weight" if name.startswith("fc-") else _OFFICIAL_HEADS.get(name, "")
    head = held.get("head.weight", held.get(official))
    if head is None:
        raise InputError(f"{path}: holds no layer of classes for {name}; train it first")
    if "head.weight" in held and pooling is None:
        raise InputError(f"{path} does not say its pooling: give --pooling gap (mean) or gmp (maximum)")
    network = create_network(name, path, classes=len(head), **options).eval()
    return Classifier(network, size, (), tuple(range(len(head))))


def save_classifier_description(folder: Path, classifier: Classifier, cropper: Path | None = None) -> None:
    """Write beside the weights what `load_classifier` needs, and copy the run whose maps cut images out."""
    rows = zip(classifier.ids, classifier.names, strict=True)
    categories = [{"id": number, "name": name} for number, name in rows]
    about = {"network": classifier.network.name, "size": classifier.size, "view": classifier.view}
    save_description(folder, {**about, "categories": categories})
    if cropper is not None:
        for file in (DESCRIPTION, _WEIGHTS):
            with atomic_file(folder / _CROPPER / file) as draft:
                shutil.copyfile(cropper / file, draft)


def _classifier_of_run(name: str, folder: Path, weights: Path, options: Mapping[str, object]) -> Classifier:
    own, size, view, categories = load_description(folder, "cam", _described)
    if own != name:
        raise InputError(f"{folder} is a run of {own}, not of {name}: give --model {own}")
    network = create_network(name, weights, **options).eval()
    inner = folder / _CROPPER
    cropper = None
    if (inner / DESCRIPTION).is_file():
        cropper = _classifier_of_run(load_description(inner, "cam", _described)[0], inner, inner / _WEIGHTS, {})
    ids, names = (tuple(one[key] for one in categories) for key in ("id", "name"))
    return Classifier(network, size, names, ids, view, cropper)


def _described(description: Any) -> tuple[str, int, View, list[dict[str, Any]]]:  # noqa: ANN401  # JSON
    if "answers" in description:
        raise InputError("a run of sonjit train vqa has answers and no classes: ask it with sonjit explain --ask")
    categories = list(description["categories"])
    return str(description["network"]), int(description["size"]), description["view"], categories


_WEIGHTS = "weights.safetensors"
