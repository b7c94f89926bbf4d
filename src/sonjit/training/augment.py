"""Augmentation of images with their labels: keypoints, boxes, masks and handedness.

Images are changed by torchvision's `transforms.v2.functional`. Points are moved here, as continuous pixel
coordinates: torchvision mirrors them as numbers of pixels, one pixel off.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from sonjit.errors import InputError


class Labelled(NamedTuple):
    """An image and the N instances in it; what leaves the image keeps its coordinates outside.

    Attributes:
        image: (3, H, W) RGB, float32 0..1 or uint8.
        keypoints: (N, K, 2) pixels.
        known: (N, K) bool.
        boxes: (N, 4) x_min, y_min, x_max, y_max in pixels.
        masks: (N, H, W) bool; None without.
        left: (N,) bool, the person's own left hand; None for what has no side.
    """

    image: Tensor
    keypoints: Tensor
    known: Tensor
    boxes: Tensor
    masks: Tensor | None = None
    left: Tensor | None = None


@dataclass(frozen=True)
class AugmentationOptions:
    """Limits of a random augmentation.

    Attributes:
        flip: chance of a mirror.
        rotation_rad: to either side.
        scale: least and greatest; below 1 the image shrinks, above 1 it is cropped.
        shift: in sides of the image, to either side.
        brightness: to either side of 1, as are contrast, saturation and `channels`.
        contrast: likewise.
        saturation: likewise.
        hue: in turns, to either side.
        channels: gains of red, green and blue, each its own.
        blur_px: deviation of a Gaussian.
        erase: chance that a rectangle of up to a fifth of the image is covered.
    """

    flip: float = 0.5
    rotation_rad: float = 0.3
    scale: tuple[float, float] = (0.8, 1.25)
    shift: float = 0.1
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02
    channels: float = 0.1
    blur_px: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("flip", "erase", "shift", "brightness", "contrast", "saturation", "channels"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)}: give 0 to 1")
        if not 0 < self.scale[0] <= self.scale[1] or self.rotation_rad < 0 or not 0 <= self.hue <= 0.5:
            raise InputError("give scale as two numbers above 0, rotation_rad 0 or more, and hue 0 to 0.5")
        if not 0 <= self.blur_px <= 8:
            raise InputError(f"blur_px={self.blur_px}: give 0 to 8")


class Augmentation(NamedTuple):
    """One random augmentation.

    Attributes:
        flip: mirror first.
        rotation_rad: clockwise on the screen, around the centre.
        scale: likewise.
        shift: x and y, in sides of the image.
        light: brightness, contrast, saturation, as factors.
        hue: in turns.
        channels: gains of red, green and blue.
        blur_px: deviation of a Gaussian.
        erased: x, y, width, height in sides of the image; None for nothing.
    """

    flip: bool = False
    rotation_rad: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    hue: float = 0.0
    channels: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur_px: float = 0.0
    erased: tuple[float, float, float, float] | None = None


def draw_augmentation(options: AugmentationOptions, rng: np.random.Generator) -> Augmentation:
    """A random augmentation within the options."""

    def either(most: float) -> float:
        return float(rng.uniform(-most, most))

    flip, turn = bool(rng.random() < options.flip), either(options.rotation_rad)
    scale = float(rng.uniform(*options.scale))
    shift = either(options.shift), either(options.shift)
    light = 1 + either(options.brightness), 1 + either(options.contrast), 1 + either(options.saturation)
    hue, channels = either(options.hue), tuple(1 + either(options.channels) for _ in range(3))
    blur = float(rng.uniform(0, options.blur_px))
    width, height = (float(math.sqrt(rng.uniform(0.02, 0.2)) * rng.uniform(0.8, 1.0)) for _ in range(2))
    place = float(rng.uniform(0, 1 - width)), float(rng.uniform(0, 1 - height))
    erased = (*place, width, height) if rng.random() < options.erase else None
    red, green, blue = channels
    return Augmentation(flip, turn, scale, shift, light, hue, (red, green, blue), blur, erased)


def augment(sample: Labelled, augmentation: Augmentation, mirror: Sequence[int] | None = None) -> Labelled:
    """An image changed, with its labels.

    Args:
        sample: the image.
        augmentation: to apply.
        mirror: which keypoint each one is in a mirror, as `mirrored_order` gives it; None where that is itself, as for
            a hand's, which becomes the other hand.
    """
    if augmentation.flip:
        sample = flipped(sample, mirror)
    if (augmentation.rotation_rad, augmentation.scale, augmentation.shift) != (0, 1, (0, 0)):
        sample = moved(sample, augmentation.rotation_rad, augmentation.scale, augmentation.shift)
    return sample._replace(image=_colour_jittered(sample.image, augmentation))


def flipped(sample: Labelled, mirror: Sequence[int] | None = None) -> Labelled:
    """The image in a mirror: left hands become right ones, and keypoints change places with their pairs."""
    width = sample.image.shape[-1]
    keypoints, known = sample.keypoints.clone(), sample.known
    keypoints[..., 0] = width - keypoints[..., 0]
    if mirror is not None:
        keypoints, known = keypoints[:, list(mirror)], known[:, list(mirror)]
    x_min, y_min, x_max, y_max = sample.boxes.unbind(-1)
    return Labelled(
        functional.horizontal_flip(sample.image),
        keypoints,
        known,
        torch.stack([width - x_max, y_min, width - x_min, y_max], -1),
        None if sample.masks is None else functional.horizontal_flip(sample.masks),
        None if sample.left is None else ~sample.left,
    )


def moved(sample: Labelled, rotation_rad: float, scale: float, shift: tuple[float, float]) -> Labelled:
    """The image rotated (clockwise) and scaled around its centre, then shifted, in a frame of the same size.

    Boxes are those around the rotated ones, cut to the image; around masks where there are any left to see.
    """
    height, width = sample.image.shape[-2:]
    offset = shift[0] * width, shift[1] * height
    how = (math.degrees(rotation_rad), list(offset), scale, [0.0, 0.0])
    fill = sample.image.float().mean((1, 2)).tolist()
    image = functional.affine(sample.image, *how, interpolation=InterpolationMode.BILINEAR, fill=fill)
    cos, sin = scale * math.cos(rotation_rad), scale * math.sin(rotation_rad)
    turn = sample.keypoints.new_tensor([[cos, -sin], [sin, cos]])
    middle = turn.new_tensor([width / 2, height / 2])
    away = middle + turn.new_tensor(offset)

    def place(points: Tensor) -> Tensor:
        return (points - middle) @ turn.T + away

    masks = sample.masks
    if masks is not None:
        masks = functional.affine(masks.to(torch.uint8), *how, interpolation=InterpolationMode.NEAREST).bool()
    corners = place(sample.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(1, (4, 2)))  # (N, 4, 2)
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
    for number, mask in enumerate(() if masks is None else masks):
        if mask.any():
            boxes[number] = _box_around(mask).to(boxes)
    return Labelled(image, place(sample.keypoints), sample.known, boxes, masks, sample.left)


def mirrored_order(names: Sequence[str]) -> list[int]:
    """Which of the names each one becomes in a mirror: left and right in them change places where both are known.

    >>> mirrored_order(["nose", "left_eye", "right_eye", "left_only"])
    [0, 2, 1, 3]
    """
    other = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    swapped = [re.sub("[Ll]eft|[Rr]ight", lambda found: other[found.group()], name) for name in names]
    return [names.index(one if one in names else name) for one, name in zip(swapped, names, strict=True)]


def _box_around(mask: Tensor) -> Tensor:
    rows, columns = mask.nonzero().unbind(1)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def _colour_jittered(image: Tensor, augmentation: Augmentation) -> Tensor:
    """Light, colour, blur and erasing, which move no labels."""
    for change, factor in zip(
        (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation),
        augmentation.light,
        strict=True,
    ):
        image = change(image, factor) if factor != 1 else image
    image = functional.adjust_hue(image, augmentation.hue) if augmentation.hue else image
    if augmentation.channels != (1, 1, 1):
        most = 1 if image.is_floating_point() else 255
        gains = torch.tensor(augmentation.channels, device=image.device)[:, None, None]
        image = (image * gains).clamp(0, most).to(image.dtype)
    if augmentation.blur_px > 0.1:
        image = functional.gaussian_blur(
            image, [2 * math.ceil(3 * augmentation.blur_px) + 1] * 2, [augmentation.blur_px] * 2
        )
    if augmentation.erased is not None:
        height, width = image.shape[-2:]
        x, y, wide, high = augmentation.erased
        rectangle = round(y * height), round(x * width), round(high * height), round(wide * width)
        image = functional.erase(image, *rectangle, image.float().mean((1, 2))[:, None, None].to(image.dtype))
    return image
