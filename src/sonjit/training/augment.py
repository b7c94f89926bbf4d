"""Augmentation as data: a recipe's table `augmentation` says within which limits each example is changed at random.

Crops are cut out of the image by a box that is moved, scaled and rotated, so that pixels are sampled once; then they
are mirrored, which makes a left hand of a right one, and their colours are changed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import FloatArray, RealArray
from sonjit.datasets.sample import Side
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox
from sonjit.training.settings import TrainingSettings

P = TypeVar("P", np.uint8, np.float32)
T = TypeVar("T")


@dataclass(frozen=True)
class AugmentationSettings:
    """Limits of a random augmentation; by themselves they change nothing.

    Attributes:
        mirror: chance of a mirror image.
        rotation_deg: to either side.
        rotated: chance of any rotation.
        scale: least and greatest, of the side of what is cut out; above 1 more is shown, and smaller.
        shift: of what is cut out, to either side, as part of its sides.
        normal: which of `rotation` and `scale` are drawn from a normal distribution, cut at their limits, which are two
            deviations off for the rotation and one for the scale; the others are drawn evenly.
        brightness: to either side of 1, as are contrast, saturation and channels.
        contrast: about the mean grey.
        saturation: about each pixel's grey.
        channels: gains of red, green and blue, each its own.
        hue: in turns, to either side.
        blur_px: greatest deviation of a Gaussian.
        reverse: chance that a sequence is played backward.
    """

    mirror: float = 0.0
    rotation_deg: float = 0.0
    rotated: float = 1.0
    scale: tuple[float, ...] = (1.0, 1.0)
    shift: float = 0.0
    normal: tuple[Literal["rotation", "scale"], ...] = ()
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    channels: float = 0.0
    hue: float = 0.0
    blur_px: float = 0.0
    reverse: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("mirror", "rotated", "shift", "brightness", "contrast", "saturation", "channels", "reverse"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)}: give 0 to 1")
        for name, most in (("rotation_deg", 180.0), ("hue", 0.5), ("blur_px", 8.0)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name}={getattr(self, name)}: give 0 to {most:g}")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise InputError(f"scale={','.join(map(str, self.scale))}: give the least and the greatest, above 0")


NO_AUGMENTATION: Final = AugmentationSettings()


@dataclass(frozen=True)
class AugmentedSettings(TrainingSettings):
    """Settings of all recipes whose images are augmented.

    Attributes:
        augmentation: of the training set's images; a table, `augmentation.mirror=0` for one limit, or none.
    """

    WITHOUT: ClassVar[tuple[str, ...]] = ("reverse",)
    """What would have no effect in the recipe, or make its labels wrong."""

    augmentation: AugmentationSettings = NO_AUGMENTATION

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        for name in self.WITHOUT:
            if (value := getattr(self.augmentation, name)) != getattr(NO_AUGMENTATION, name):
                raise InputError(f"augmentation.{name}={value}: this recipe's labels do not allow it; leave it out")


@dataclass(frozen=True)
class Augmentation:
    """One random augmentation; by itself it changes nothing.

    Attributes:
        mirror: show the mirror image.
        rotation_rad: of the box that is cut out.
        scale: of that box.
        shift: of its centre, x and y, as parts of its width and height.
        brightness: as a factor.
        contrast: likewise.
        saturation: likewise.
        channels: factors of red, green and blue.
        hue: in turns.
        blur_px: deviation of a Gaussian.
        reverse: play a sequence backward.
    """

    mirror: bool = False
    rotation_rad: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    channels: tuple[float, float, float] = (1.0, 1.0, 1.0)
    hue: float = 0.0
    blur_px: float = 0.0
    reverse: bool = False

    def box(self, box: RotatedBox) -> RotatedBox:
        """What to cut out in place of a box."""
        cx, cy, width, height, rotation = self.shifted(box)
        return RotatedBox(cx, cy, width * self.scale, height * self.scale, rotation + self.rotation_rad)

    def shifted(self, box: RotatedBox) -> RotatedBox:
        """A box with its centre elsewhere."""
        return box._replace(cx=box.cx + self.shift[0] * box.width, cy=box.cy + self.shift[1] * box.height)

    def image(self, image: NDArray[P]) -> NDArray[P]:
        """A crop (H, W, 3), uint8 or float32 in 0..255, mirrored and in other colours."""
        return self.coloured(self.mirrored(image))

    def mirrored(self, image: NDArray[P]) -> NDArray[P]:
        """A crop or mask (H, W, ...) as its mirror image, where that is drawn."""
        return np.ascontiguousarray(image[:, ::-1]) if self.mirror else image

    def points(self, points: RealArray, width: int) -> FloatArray:
        """Points (..., 2) of a crop so many pixels wide, in pixels, where its mirror image shows them.

        Pixels count from the middle of the first one, as in `crop`.
        """
        if not self.mirror:
            return points.astype(np.float64)
        return np.concatenate([width - 1 - points[..., :1], points[..., 1:]], -1).astype(np.float64)

    def sequence(self, items: Sequence[T]) -> list[T]:
        """Items in time, backward where that is drawn."""
        return list(items[::-1] if self.reverse else items)

    def coloured(self, image: NDArray[P]) -> NDArray[P]:
        """An image (H, W, 3), uint8 or float32 in 0..255, in other colours."""
        if all(getattr(self, name) == getattr(_AS_IS, name) for name in _COLOURS):
            return image
        values = image.astype(np.float32)
        if self.blur_px > _LEAST_BLUR_PX:
            values = cv2.GaussianBlur(values, (0, 0), self.blur_px)
        values = (values * np.array(self.channels, np.float32) * np.float32(self.brightness)).clip(0, 255)
        if self.saturation != 1:
            grey = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)[..., None]
            values = (grey + (values - grey) * np.float32(self.saturation)).clip(0, 255)
        if self.hue:
            turned = cv2.cvtColor(values / np.float32(255), cv2.COLOR_RGB2HSV)
            turned[..., 0] = (turned[..., 0] + 360 * self.hue) % 360
            values = cv2.cvtColor(turned, cv2.COLOR_HSV2RGB) * np.float32(255)
        if self.contrast != 1:
            grey = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY).mean(dtype=np.float64)
            values = np.float32(grey) + (values - np.float32(grey)) * np.float32(self.contrast)
        values = values.clip(0, 255)
        return (np.rint(values) if image.dtype == np.uint8 else values).astype(image.dtype)


_LEAST_BLUR_PX = 0.05
_AS_IS = Augmentation()
_COLOURS = ("brightness", "contrast", "saturation", "channels", "hue", "blur_px")


def draw_augmentation(settings: AugmentationSettings, rng: np.random.Generator) -> Augmentation:
    """A random augmentation within the settings; all numbers are drawn, whichever of them are 0."""

    def either(most: float) -> float:
        return float(rng.uniform(-most, most))

    least, greatest = settings.scale
    turn, scale = either(1), either(1)
    if "rotation" in settings.normal:
        turn = float(np.clip(rng.normal() / 2, -1, 1))
    if "scale" in settings.normal:
        scale = float(np.clip(rng.normal(), -1, 1))
    rotated = rng.random() < settings.rotated
    red, green, blue = (1 + either(settings.channels) for _ in range(3))
    return Augmentation(
        mirror=bool(rng.random() < settings.mirror),
        rotation_rad=math.radians(settings.rotation_deg) * turn if rotated else 0.0,
        scale=(least + greatest) / 2 + (greatest - least) / 2 * scale,
        shift=(either(settings.shift), either(settings.shift)),
        brightness=1 + either(settings.brightness),
        contrast=1 + either(settings.contrast),
        saturation=1 + either(settings.saturation),
        channels=(red, green, blue),
        hue=either(settings.hue),
        blur_px=float(rng.uniform(0, settings.blur_px)),
        reverse=bool(rng.random() < settings.reverse),
    )


OTHER_SIDE: Final[Mapping[Side | None, Side]] = {"Left": "Right", "Right": "Left"}
"""Which hand a mirror shows in place of one."""


def mirrored_order(names: Sequence[str]) -> list[int]:
    """Which of the names each one becomes in a mirror: left and right in them change places where both are known.

    >>> mirrored_order(["nose", "left_eye", "right_eye", "left_only"])
    [0, 2, 1, 3]
    """
    other = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    swapped = [re.sub("[Ll]eft|[Rr]ight", lambda found: other[found.group()], name) for name in names]
    return [names.index(one if one in names else name) for one, name in zip(swapped, names, strict=True)]
