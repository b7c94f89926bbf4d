"""Mask R-CNN from a checkpoint, with its classes: from the description beside it, or from the shape of its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sonjit.errors import InputError
from sonjit.files import write_text
from sonjit.networks.checkpoints import load_checkpoint
from sonjit.networks.mask_rcnn.mask_rcnn import MaskRCNN
from sonjit.networks.registry import create_network, network_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

WEIGHTS, DESCRIPTION = "weights.safetensors", "network.json"
"""What stands in the folder of a training run."""


class Category(NamedTuple):
    """What a class stands for: its id in the data set, and its name."""

    id: int
    name: str


class SavedMaskRCNN(NamedTuple):
    """A network and its classes.

    Attributes:
        network: ready to find, in eval mode.
        categories: of the labels 1, 2, ...
        name: of the network in the registry.
        options: with which it was made.
    """

    network: MaskRCNN
    categories: tuple[Category, ...]
    name: str
    options: Mapping[str, object]


def load_mask_rcnn(path: str | Path | None, **options: Any) -> SavedMaskRCNN:  # noqa: ANN401  # the network's own
    """A network with its weights and classes.

    Args:
        path: the folder of a training run or the weights in it; or a checkpoint of torchvision's
            `maskrcnn_resnet50_fpn` or `_v2`; or "demo" for placeholder weights.
        options: of the network that go before its own, e.g. `min_side=480`.

    Raises:
        InputError: nothing is there, or it is not such a network.
    """
    if path is None:
        raise InputError(f"give weights of Mask R-CNN: {network_entry('mask-rcnn').where}")
    if path == "demo":
        return _create("mask-rcnn", "demo", options, _coco_categories())
    file = Path(path)
    folder = file if file.is_dir() else file.parent
    if file.is_dir() or (folder / DESCRIPTION).is_file():
        return _from_run(folder, folder / WEIGHTS if file.is_dir() else file, options)
    weights = load_checkpoint(file)
    name = "mask-rcnn-v2" if "roi_heads.box_head.5.weight" in weights else "mask-rcnn"
    classes = _classes(file, weights)
    names = _coco_categories()
    if classes != len(names) + 1:
        names = tuple(Category(i, f"class {i}") for i in range(1, classes))
    return _create(name, file, {"classes": classes, **options}, names)


def save_description(folder: Path, saved: SavedMaskRCNN) -> None:
    """Write beside the weights what `load_mask_rcnn` needs: the network's name and options, and its categories."""
    categories = [one._asdict() for one in saved.categories]
    description = {"network": saved.name, "options": saved.options, "categories": categories}
    write_text(folder / DESCRIPTION, json.dumps(description, indent=2) + "\n", of_run=True)


def _from_run(folder: Path, weights: Path, options: Mapping[str, object]) -> SavedMaskRCNN:
    file = folder / DESCRIPTION
    try:
        description: Any = json.loads(file.read_text("utf-8"))
        categories = tuple(Category(int(one["id"]), str(one["name"])) for one in description["categories"])
        name, own = str(description["network"]), dict(description["options"])
    except OSError:
        raise InputError(f"{folder} is not a run of sonjit train mask-rcnn: it holds no {DESCRIPTION}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} does not describe a network ({error}); train it again") from None
    return _create(name, weights, {**own, **options}, categories)


def _create(
    name: str, weights: str | Path, options: Mapping[str, object], categories: tuple[Category, ...]
) -> SavedMaskRCNN:
    network = create_network(name, weights, **options)
    if not isinstance(network, MaskRCNN):
        raise InputError(f"{name} is not a Mask R-CNN: it finds no instances")
    return SavedMaskRCNN(network.eval(), categories, name, options)


def _classes(file: Path, weights: Mapping[str, Tensor]) -> int:
    key = next(
        (key for key in weights if key.removeprefix("module.") == "roi_heads.box_predictor.cls_score.weight"), None
    )
    if key is None:
        raise InputError(
            f"{file} is neither a run of sonjit train mask-rcnn nor torchvision's maskrcnn_resnet50_fpn[_v2]"
        )
    return weights[key].shape[0]


def _coco_categories() -> tuple[Category, ...]:
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    names = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return tuple(Category(i, name) for i, name in enumerate(names) if i)
