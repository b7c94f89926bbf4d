"""Classes of images and where they are, by a classifier (`sonjit.networks.classifiers`): maps, saliency, boxes.

Saliency is how much the class score changes with each pixel: the gradient's greatest absolute value over the channels.
Source: Simonyan et al. 2014, Deep Inside Convolutional Networks, section 3. Both are weakly supervised: they need no
boxes for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit.arrays import Float32Array, Image
from sonjit.errors import InputError
from sonjit.explain.overlay import enlarge
from sonjit.metrics.localization import box_from_map, boxes_from_maps
from sonjit.networks import Network
from sonjit.networks.cam import CamNetwork, class_activation_map
from sonjit.networks.classifiers import Classifier, View
from sonjit.results import Box

LocalizeBy = Literal["cam", "heuristics", "backprop"]
"""Where boxes come from: one box of each class's map; the paper's five boxes of three classes; one of each saliency."""


@dataclass(frozen=True, eq=False)
class ClassMap:
    """The evidence in an image for one class, by place.

    Attributes:
        label: index of the class.
        probability: by the softmax, 0..1.
        score: before the softmax; with mean pooling `mean(values) + bias`.
        bias: of the class.
        values: (h, w) float32.
    """

    label: int
    probability: float
    score: float
    bias: float
    values: Float32Array


@dataclass(frozen=True, eq=False)
class ClassBox:
    """A class of an image and where it is.

    Attributes:
        label: index of the class.
        probability: by the softmax, 0..1.
        box: x_min, y_min, x_max, y_max in pixels; None where nothing is evidence for the class, or none was asked for.
        values: (h, w) float32, the map or saliency that the box is from; it lies over all of what was shown.
    """

    label: int
    probability: float
    box: Box | None
    values: Float32Array | None


def explain_classes(
    network: Network, rgb: Image, size: int, classes: Sequence[int] | None = None, top: int = 1
) -> list[ClassMap]:
    """Maps of some classes of one image, from a single forward pass.

    Args:
        network: one of `list_networks("cam-*")`, in eval mode.
        rgb: (H, W, 3) uint8; it is scaled to the input without keeping its aspect, so that maps cover all of it.
        size: side of the network's square input in pixels.
        classes: which; the `top` most probable ones where None.
        top: how many, where no classes are given.

    Raises:
        InputError: a class that the network does not have, or a network without maps.
    """
    cam = cam_network(network)
    with torch.inference_mode():
        out = network(image_tensor(rgb, size).to(network.device))
        scores = out["scores"][0]
        classes = _chosen(network, scores, classes, top)
        maps = class_activation_map(out["features"], cam.head.weight, classes)[0]  # (C', h, w)
        shares, biases = scores.softmax(0).tolist(), cam.head.bias.tolist()
    return [
        ClassMap(label, shares[label], float(scores[label]), biases[label], values.cpu().numpy())
        for label, values in zip(classes, maps, strict=True)
    ]


def saliency_of_classes(
    network: Network, rgb: Image, size: int, classes: Sequence[int] | None = None, top: int = 1
) -> list[ClassMap]:
    """As `explain_classes`, by the gradient of each class's score: for networks without maps, and to compare.

    Returns:
        Values (size, size), at least 0, that do not add up to the score.

    Raises:
        InputError: a class that the network does not have.
    """
    images = image_tensor(rgb, size).to(network.device)
    with torch.inference_mode():
        scores = network(images)["scores"][0]
    classes = _chosen(network, scores, classes, top)
    values = backprop_saliency(network, images.repeat(len(classes), 1, 1, 1), classes).cpu().numpy()
    shares = scores.softmax(0).tolist()
    return [
        ClassMap(label, shares[label], float(scores[label]), float("nan"), one)
        for label, one in zip(classes, values, strict=True)
    ]


def _chosen(network: Network, scores: Tensor, classes: Sequence[int] | None, top: int) -> list[int]:
    """The classes that were asked for, or the most probable ones."""
    if classes is None:
        return cast("list[int]", scores.argsort(descending=True)[:top].tolist())
    wrong = [label for label in classes if not 0 <= label < len(scores)]
    if wrong:
        raise InputError(f"class {wrong[0]}: {network.name} has the classes 0 to {len(scores) - 1}")
    return list(classes)


def cam_network(network: Network) -> CamNetwork:
    """The network itself, if it ends in a pooled map and a linear layer; else InputError."""
    if not isinstance(network, CamNetwork):
        raise InputError(
            f"{network.name} has no class activation maps: ask for backprop, or take one of sonjit networks 'cam-*'"
        )
    return network


def image_tensor(rgb: Image, size: int) -> torch.Tensor:
    """An image (H, W, 3) as a network's input, (1, 3, size, size) float32 in 0..1."""
    import cv2

    scaled = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(scaled)).permute(2, 0, 1)[None].float() / 255


def localize_classes(
    classifier: Classifier,
    rgb: Image,
    *,
    by: LocalizeBy = "cam",
    view: View = "full",
    true_box: Box | None = None,
    top: int = 5,
) -> list[ClassBox]:
    """The likeliest classes of an image, best first, and where they are.

    Sources: Zhou et al. 2016, sections 3.2 (boxes) and 4.1 (the crop that a map cuts out).

    Args:
        classifier: as `load_classifier` gives it.
        rgb: (H, W, 3) uint8.
        by: where boxes come from; with "heuristics" the first five are those of the paper, of three classes, and the
            other classes follow without a box.
        view: what the classifier is shown: all of the image, what a map cuts out of it, or the true box.
        true_box: of the last.
        top: how many classes.

    Raises:
        InputError: a network without maps is asked for them; no true box.
    """
    if by not in get_args(LocalizeBy):
        raise InputError(f"by={by!r}: give {', '.join(get_args(LocalizeBy))}")
    area = _shown(classifier, rgb, view, true_box)
    shown = _cut(rgb, area)
    height, width = shown.shape[:2]
    look = saliency_of_classes if by == "backprop" else explain_classes
    maps = look(classifier.network, shown, classifier.size, top=top)
    large = [enlarge(one.values, width, height) for one in maps]
    if by == "heuristics":
        boxes = boxes_from_maps(large)
        places: list[tuple[int, Box | None]] = [*boxes, *((place, None) for place in range(3, len(maps)))]
        named = {place for place, _ in places}
        places += [(place, None) for place in range(min(3, len(maps))) if place not in named]
    else:
        places = [(place, box_from_map(one)) for place, one in enumerate(large)]
    return [
        ClassBox(maps[place].label, maps[place].probability, box and _moved(box, area), maps[place].values)
        for place, box in places
    ]


def crop_box(classifier: Classifier, rgb: Image, threshold: float = 0.2) -> Box:
    """What the map of the likeliest class cuts out of an image (H, W, 3): whole pixels; all of it without evidence."""
    height, width = rgb.shape[:2]
    (whole,) = explain_classes(classifier.network, rgb, classifier.size)
    return box_from_map(enlarge(whole.values, width, height), threshold) or (0.0, 0.0, float(width), float(height))


def _shown(classifier: Classifier, rgb: Image, view: View, true_box: Box | None) -> Box:
    height, width = rgb.shape[:2]
    if view == "full":
        return 0.0, 0.0, float(width), float(height)
    if view == "crop":
        return crop_box(classifier.cropper or classifier, rgb)
    if true_box is None:
        raise InputError("view=box: this image has no labelled box; take another view or data set")
    return true_box


def _cut(rgb: Image, area: Box) -> NDArray[np.uint8]:
    """An upright part of an image, at least a pixel, to whole pixels."""
    height, width = rgb.shape[:2]
    left, top = min(max(round(area[0]), 0), width - 1), min(max(round(area[1]), 0), height - 1)
    right, bottom = max(round(area[2]), left + 1), max(round(area[3]), top + 1)
    return np.ascontiguousarray(rgb[top:bottom, left:right])


def _moved(box: Box, area: Box) -> Box:
    left, top = max(round(area[0]), 0), max(round(area[1]), 0)
    return box[0] + left, box[1] + top, box[2] + left, box[3] + top


def backprop_saliency(network: Network, images: Tensor, classes: Sequence[int] | Tensor) -> Tensor:
    """Saliency maps at image size.

    Args:
        network: gives class scores (B, C) as "scores".
        images: (B, 3, H, W) in the network's own range.
        classes: one per image.

    Returns:
        (B, H, W) float32, at least 0.
    """
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        scores = network(images)["scores"]  # (B, C)
        chosen = scores.gather(1, torch.as_tensor(classes, device=scores.device)[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, images)
    return gradient.abs().amax(1)
