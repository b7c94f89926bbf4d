"""Load and save Mask R-CNN with its categories."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from sonjit._util import InputError, json_from
from sonjit.segmentation.task import CATEGORIES
from sonjit_lab.networks import checkpoints
from sonjit_lab.networks.export import Export, Format, export_network
from sonjit_lab.networks.registry import InputSpec, create_network, required_checkpoint
from sonjit_lab.papers.mask_rcnn.network import SHIPPED, Category, MaskRCNN

_MIN_SCORE, _STRIDE = 0.05, 32
_INFERENCE_OPTIONS = ("min_side", "max_side", "min_score", "most")
"""Options that change no weight; they may differ from those of the training."""


class SavedMaskRCNN(NamedTuple):
    """A network and its classes."""

    network: MaskRCNN  # network in eval mode
    categories: tuple[Category, ...]  # categories of the labels 1, 2, ...
    name: str  # name of the network in the registry
    options: Mapping[str, object]  # options of the network


def load_mask_rcnn(path: str | Path | None, **options: Any) -> SavedMaskRCNN:  # noqa: ANN401  # the network's own
    """Load a network with its weights and classes.

    Args:
        path: Folder of a training run or the weights in it; or a checkpoint of torchvision's `maskrcnn_resnet50_fpn`
            or `_v2`; or "demo" for placeholder weights. None is the shipped network of people and hands.
        options: Options that override the saved ones, such as `min_side=480`.

    Raises:
        InputError: The weights are missing or of another network.
    """
    names = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    coco = tuple(Category(i, name) for i, name in enumerate(names) if i)
    if path == "demo":
        return _create("mask-rcnn", "demo", options, coco)
    file = Path(required_checkpoint("mask-rcnn", path or SHIPPED))
    folder = file if file.is_dir() else file.parent
    if file.is_dir() or (folder / checkpoints.DESCRIPTION).is_file():
        name, run_options, categories = checkpoints.load_description(folder, "mask-rcnn", _parse_options)
        return _create(name, file, {**run_options, **options}, categories)
    key = "roi_heads.box_predictor.cls_score.weight"
    weights = checkpoints.without_prefixes(checkpoints.load_checkpoint(file), (key,))
    scores = weights.get(key)
    if scores is None:
        raise InputError(f"{file} is no run of sonjit train mask-rcnn nor torchvision's maskrcnn_resnet50_fpn[_v2]")
    name = "mask-rcnn-v2" if "roi_heads.box_head.5.weight" in weights else "mask-rcnn"
    if len(scores) != len(coco) + 1:
        coco = tuple(Category(i, f"class {i}") for i in range(1, len(scores)))
    return _create(name, file, {"classes": len(scores), **options}, coco)


def export_mask_rcnn(weights: str | Path | None, path: Path, to: Format | None = None) -> Export:
    """Export a network of `load_mask_rcnn` for square images, with its categories, for `sonjit segment --weights`.

    An image with sides in the ratio 4 to 3 has the size of the training. Instances below a score of 0.05 are left out.
    """
    saved = load_mask_rcnn(weights)
    side = -(-saved.network.min_side * 4 // (3 * _STRIDE)) * _STRIDE
    saved = load_mask_rcnn(weights, min_side=side, max_side=side, min_score=_MIN_SCORE)
    inputs = [InputSpec("images", (3, side, side))]
    categories = json_from([category._asdict() for category in saved.categories])
    return export_network(saved.network, inputs, path, to=to, metadata={CATEGORIES: categories})


def save_mask_rcnn_description(folder: Path, saved: SavedMaskRCNN) -> None:
    """Write the description for `load_mask_rcnn` next to the weights: name, options and categories."""
    categories = [category._asdict() for category in saved.categories]
    checkpoints.save_description(folder, {"network": saved.name, "options": saved.options, "categories": categories})


def _parse_options(description: Any) -> tuple[str, dict[str, Any], tuple[Category, ...]]:  # noqa: ANN401  # JSON
    categories = tuple(Category(int(item["id"]), str(item["name"])) for item in description["categories"])
    return str(description["network"]), dict(description["options"]), categories


def _create(
    name: str, weights: str | Path, options: Mapping[str, object], categories: tuple[Category, ...]
) -> SavedMaskRCNN:
    used = {key: value for key, value in options.items() if key in _INFERENCE_OPTIONS}
    network = create_network(name, weights, **{key: value for key, value in options.items() if key not in used})
    if not isinstance(network, MaskRCNN):
        raise InputError(f"{name} is not a Mask R-CNN")
    for key, value in used.items():
        setattr(network, key, value)
    network.options = {**network.options, **used}
    return SavedMaskRCNN(network.eval(), categories, name, options)
