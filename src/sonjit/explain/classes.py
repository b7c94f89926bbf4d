"""Class activation maps of images by a network of `sonjit.networks`, and saliency as the baseline.

Saliency is how much the class score changes with each pixel: the gradient's greatest absolute value over the channels.
Source: Simonyan et al. 2014, Deep Inside Convolutional Networks, section 3. Both are weakly supervised: they need no
boxes for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from sonjit.arrays import Float32Array, Image
from sonjit.errors import InputError
from sonjit.explain.overlay import enlarge
from sonjit.metrics.localization import box_from_map
from sonjit.networks import Network
from sonjit.networks.cam import CamNetwork, class_activation_map


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
        if classes is None:
            classes = cast("list[int]", scores.argsort(descending=True)[:top].tolist())
        wrong = [label for label in classes if not 0 <= label < len(scores)]
        if wrong:
            raise InputError(f"class {wrong[0]}: {network.name} has the classes 0 to {len(scores) - 1}")
        maps = class_activation_map(out["features"], cam.head.weight, classes)[0]  # (C', h, w)
        shares, biases = scores.softmax(0).tolist(), cam.head.bias.tolist()
    return [
        ClassMap(label, shares[label], float(scores[label]), biases[label], values.cpu().numpy())
        for label, values in zip(classes, maps, strict=True)
    ]


def cam_network(network: Network) -> CamNetwork:
    """The network itself, if it ends in a pooled map and a linear layer; else InputError."""
    if not isinstance(network, CamNetwork):
        raise InputError(f"{network.name} has no class activation maps; take one of sonjit networks 'cam-*'")
    return network


def image_tensor(rgb: Image, size: int) -> torch.Tensor:
    """An image (H, W, 3) as a network's input, (1, 3, size, size) float32 in 0..1."""
    import cv2

    scaled = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(scaled)).permute(2, 0, 1)[None].float() / 255


def classify_crop(network: Network, rgb: Image, size: int, threshold: float = 0.2) -> tuple[ClassMap, ClassMap]:
    """Fine-grained recognition: the best class of the whole image, and of what its map cuts out of it.

    Source: Zhou et al. 2016, section 4.1, where the crop gains birds' species over the whole image.
    """
    (whole,) = explain_classes(network, rgb, size)
    height, width = rgb.shape[:2]
    box = box_from_map(enlarge(whole.values, width, height), threshold)
    if box is None:
        return whole, whole
    x_min, y_min, x_max, y_max = (round(edge) for edge in box)
    (cropped,) = explain_classes(network, np.ascontiguousarray(rgb[y_min:y_max, x_min:x_max]), size)
    return whole, cropped


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
