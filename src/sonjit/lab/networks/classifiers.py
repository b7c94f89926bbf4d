"""Load and save classifiers with their weights, their classes, and the part of an image that they were trained on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit.lab.networks.cam import CamNetwork, Pooling
from sonjit.lab.networks.checkpoints import (
    DESCRIPTION,
    load_checkpoint,
    load_description,
    save_description,
    saved_network,
)
from sonjit.lab.networks.registry import Network, create_network, network_entry, required_checkpoint

View = Literal["full", "crop", "box"]
"""Part of an image that a classifier sees: the full image, the crop by a map, or the labelled box."""

_OFFICIAL_HEADS = {"cam-resnet18": "fc.weight", "cam-resnet50": "fc.weight", "cam-googlenet-whole": "fc.weight"}
_CROPPER = "cropper"
"""Subfolder of a run with the run whose maps crop its images."""


_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network and its classes.

    Attributes:
        network: Network in eval mode.
        size: Side of its square input in pixels.
        names: Names of its classes; empty if they are not known.
        ids: Ids of its classes in the data set of its training.
        view: Part of an image that it was trained on.
        cropper: Classifier whose map crops its images; None for its own map.
    """

    network: Network
    size: int
    names: tuple[str, ...]
    ids: tuple[int, ...]
    view: View = "full"
    cropper: Classifier | None = None

    @property
    def pooling(self) -> Pooling | None:
        """Pooling `gap` or `gmp`; None for a network without maps."""
        return self.network.pooling if isinstance(self.network, CamNetwork) else None


def is_classifier(name: str) -> bool:
    """Check whether `load_classifier` supports networks of this name."""
    return name.startswith(("cam-", "fc-"))


def load_classifier(
    name: str, weights: str | Path | None, pooling: str | None = None, classes: int | None = None
) -> Classifier:
    """Load a classifier with its weights and classes.

    Args:
        name: Name from `list_networks("cam-*")` or `list_networks("fc-*")`.
        weights: Folder of a run of `sonjit train cam` or the weights in it; a checkpoint of torchvision; another one
            with the same keys, which requires `pooling`; or "demo" for placeholder weights.
        pooling: Pooling gap or gmp, for weights without a description.
        classes: Number of classes of placeholder weights.

    Raises:
        InputError: The weights are missing or of another network, or the pooling is unknown or another one.
    """
    entry = network_entry(name)
    size = entry.inputs[0].shape[-1]
    if not is_classifier(name):
        raise InputError(f"{name} is not a classifier. Choose from sonjit networks 'cam-*' or 'fc-*'")
    options: dict[str, Any] = {} if pooling is None or name.startswith("fc-") else {"pooling": pooling}
    if pooling is not None and not name.startswith("cam-"):
        raise InputError(f"pooling={pooling} applies only to cam-* networks, not to {name}")
    path = Path(required_checkpoint(name, weights))
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
    state = {key.removeprefix("module."): value for key, value in load_checkpoint(path).items()}
    official = "classifier.6.weight" if name.startswith("fc-") else _OFFICIAL_HEADS.get(name, "")
    head = state.get("head.weight", state.get(official))
    if head is None:
        raise InputError(f"{path}: has no output layer for {name}; train it first")
    if "head.weight" in state and pooling is None:
        raise InputError(f"{path} does not define its pooling; set --pooling gap (mean) or gmp (maximum)")
    network = create_network(name, path, classes=len(head), **options).eval()
    return Classifier(network, size, (), tuple(range(len(head))))


def save_classifier_description(folder: Path, classifier: Classifier, cropper: Path | None = None) -> None:
    """Write the description for `load_classifier` next to the weights, and copy the run whose maps crop images."""
    rows = zip(classifier.ids, classifier.names, strict=True)
    categories = [{"id": number, "name": name} for number, name in rows]
    description = {"network": classifier.network.name, "size": classifier.size, "view": classifier.view}
    save_description(folder, {**description, "categories": categories})
    if cropper is not None:
        for file in (DESCRIPTION, _WEIGHTS):
            with atomic_file(folder / _CROPPER / file) as draft:
                shutil.copyfile(cropper / file, draft)


def _classifier_of_run(name: str, folder: Path, weights: Path, options: Mapping[str, object]) -> Classifier:
    own, size, view, categories = load_description(folder, "cam", _parse_options)
    if own != name:
        raise InputError(f"{folder} is a run of {own}, not of {name}; use --model {own}")
    network = create_network(name, weights, **options).eval()
    inner = folder / _CROPPER
    cropper = None
    if (inner / DESCRIPTION).is_file():
        cropper = _classifier_of_run(load_description(inner, "cam", _parse_options)[0], inner, inner / _WEIGHTS, {})
    ids, names = (tuple(category[key] for category in categories) for key in ("id", "name"))
    return Classifier(network=network, size=size, names=names, ids=ids, view=view, cropper=cropper)


def _parse_options(description: Any) -> tuple[str, int, View, list[dict[str, Any]]]:  # noqa: ANN401  # JSON
    if "answers" in description:
        raise InputError("a run of sonjit train vqa has answers instead of classes; use sonjit explain --ask")
    categories = list(description["categories"])
    return str(description["network"]), int(description["size"]), description["view"], categories
