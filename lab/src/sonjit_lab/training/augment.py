"""Change training examples at random within the limits of a recipe's table `augmentation`.

The box of a crop is shifted, scaled and rotated before the crop is cut out, so that pixels are sampled only once. The
crop is then mirrored, which turns a left hand into a right one, and its colours are changed.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Literal, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util import FloatArray, Image, InputError, RealArray
from sonjit._util.settings import Range, check_settings
from sonjit.geometry.boxes import RotatedBox
from sonjit_lab.datasets.sample import Side
from sonjit_lab.training.settings import TrainingSettings

_LOG = logging.getLogger(__name__)
_SHOWN = 8  # classes in a line
P = TypeVar("P", np.uint8, np.float32)
T = TypeVar("T")

_Share: TypeAlias = Annotated[float, Range(0, 1)]
_MINIMUM_BLUR_PX = 0.05
_COLOURS = ("brightness", "contrast", "saturation", "channels", "hue", "blur_px")
_BOX_SCALE, _BOX_SHIFT = (0.9, 1.12), 0.06  # range of scale, and shift in sides, of a hand's box between frames
OTHER_SIDE: Final[Mapping[Side | None, Side]] = {"Left": "Right", "Right": "Left"}
"""Handedness of a hand after mirroring."""


@dataclass(frozen=True)
class AugmentationSettings:
    """Limits of a random augmentation. The defaults change nothing."""

    mirror: _Share = 0.0  # probability of mirroring
    rotation_deg: Annotated[float, Range(0, 180)] = 0.0  # maximum rotation to either side
    rotated: _Share = 1.0  # probability of any rotation
    # minimum and maximum factor of the crop's side. Values above 1 show more of the image, at a smaller size.
    scale: tuple[float, ...] = (1.0, 1.0)
    shift: _Share = 0.0  # maximum shift of the crop to either side, as a fraction of its side
    # names among `rotation` and `scale` that are drawn from a normal distribution, clipped at their limits: two
    # standard deviations for the rotation and one for the scale. The others are drawn uniformly.
    normal: tuple[Literal["rotation", "scale"], ...] = ()
    brightness: _Share = 0.0  # maximum deviation of the factor from 1, as for contrast, saturation and channels
    contrast: _Share = 0.0  # maximum deviation of the contrast factor, about the mean grey
    saturation: _Share = 0.0  # maximum deviation of the saturation factor, about each pixel's grey
    channels: _Share = 0.0  # maximum deviation of the gains of red, green and blue, each drawn independently
    hue: Annotated[float, Range(0, 0.5)] = 0.0  # maximum change of hue to either side, in turns
    blur_px: Annotated[float, Range(0, 8)] = 0.0  # maximum standard deviation of a Gaussian blur
    reverse: _Share = 0.0  # probability of playing a sequence backwards

    def __post_init__(self) -> None:
        check_settings(self)
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] <= 100:
            raise InputError(f"scale={','.join(map(str, self.scale))}: must be a minimum above 0, a maximum up to 100")


@dataclass(frozen=True)
class AugmentedSettings(TrainingSettings):
    """Settings of recipes that augment images: a table, `augmentation.mirror=0` for one limit, or none."""

    UNSUPPORTED: ClassVar[tuple[str, ...]] = ("reverse",)  # limits without effect, or with wrong labels

    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.UNSUPPORTED:
            if (value := getattr(self.augmentation, name)) != getattr(AugmentationSettings(), name):
                raise InputError(f"augmentation.{name}={value} does not apply to the labels of this recipe")


def warn_about_mirror(names: Sequence[str], order: Sequence[int], mirror: float) -> None:
    """Tell that classes keep their names in mirror images, because no two of them are sides of each other."""
    if mirror and len(names) > 1 and list(order) == list(range(len(names))):
        _LOG.warning(
            "augmentation.mirror=%g mirrors images, and no two of the classes %s are left and right of each other: if "
            "a mirror image is of another class, set augmentation.mirror=0",
            mirror,
            ", ".join(names[:_SHOWN]),
        )


@dataclass(frozen=True)
class Augmentation:
    """One random augmentation. The defaults change nothing."""

    mirror: bool = False  # True to mirror the crop
    rotation_rad: float = 0.0  # rotation of the crop's box
    scale: float = 1.0  # factor of the box size
    shift: tuple[float, float] = (0.0, 0.0)  # shift of the box centre in x and y, as fractions of its width and height
    brightness: float = 1.0  # brightness factor
    contrast: float = 1.0  # contrast factor
    saturation: float = 1.0  # saturation factor
    channels: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factors of red, green and blue
    hue: float = 0.0  # change of hue in turns
    blur_px: float = 0.0  # standard deviation of a Gaussian blur
    reverse: bool = False  # True to play a sequence backwards

    def box(self, box: RotatedBox) -> RotatedBox:
        """Return the shifted, scaled and rotated box."""
        cx, cy, width, height, rotation = self.shifted(box)
        return RotatedBox(cx, cy, width * self.scale, height * self.scale, rotation + self.rotation_rad)

    def shifted(self, box: RotatedBox) -> RotatedBox:
        """Return a box with a shifted centre."""
        return box._replace(cx=box.cx + self.shift[0] * box.width, cy=box.cy + self.shift[1] * box.height)

    def image(self, image: NDArray[P]) -> NDArray[P]:
        """Return a crop (H, W, 3), uint8 or float32 in 0..255, mirrored and with changed colours."""
        return self.change_colours(self.mirrored(image))

    def mirrored(self, image: NDArray[P]) -> NDArray[P]:
        """Return a crop or mask (H, W, ...), mirrored if `mirror` is True."""
        return np.ascontiguousarray(image[:, ::-1]) if self.mirror else image

    def points(self, points: RealArray, width: int) -> FloatArray:
        """Return points (..., 2) of a crop, in pixels with the first one's centre at 0, mirrored if `mirror`."""
        if not self.mirror:
            return points.astype(np.float64)
        return np.concatenate([width - 1 - points[..., :1], points[..., 1:]], -1).astype(np.float64)

    def sequence(self, items: Sequence[T]) -> list[T]:
        """Return items in time, reversed if `reverse` is True."""
        return list(items[::-1] if self.reverse else items)

    def change_colours(self, image: NDArray[P]) -> NDArray[P]:
        """Return an image (H, W, 3), uint8 or float32 in 0..255, with changed colours."""
        if all(getattr(self, name) == getattr(UNCHANGED, name) for name in _COLOURS):
            return image
        values = image.astype(np.float32)
        if self.blur_px > _MINIMUM_BLUR_PX:
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


UNCHANGED: Final = Augmentation()  # the augmentation that changes nothing


def draw_augmentation(settings: AugmentationSettings, rng: np.random.Generator) -> Augmentation:
    """Draw a random augmentation; the number of random draws does not depend on the settings."""

    def symmetric(limit: float) -> float:
        return float(rng.uniform(-limit, limit))

    minimum, maximum = settings.scale
    turn, scale = symmetric(1), symmetric(1)
    if "rotation" in settings.normal:
        turn = float(np.clip(rng.normal() / 2, -1, 1))
    if "scale" in settings.normal:
        scale = float(np.clip(rng.normal(), -1, 1))
    rotated = rng.random() < settings.rotated
    red, green, blue = (1 + symmetric(settings.channels) for _ in range(3))
    return Augmentation(
        mirror=bool(rng.random() < settings.mirror),
        rotation_rad=math.radians(settings.rotation_deg) * turn if rotated else 0.0,
        scale=(minimum + maximum) / 2 + (maximum - minimum) / 2 * scale,
        shift=(symmetric(settings.shift), symmetric(settings.shift)),
        brightness=1 + symmetric(settings.brightness),
        contrast=1 + symmetric(settings.contrast),
        saturation=1 + symmetric(settings.saturation),
        channels=(red, green, blue),
        hue=symmetric(settings.hue),
        blur_px=float(rng.uniform(0, settings.blur_px)),
        reverse=bool(rng.random() < settings.reverse),
    )


def jittered_box(box: RotatedBox, rng: np.random.Generator, turn_rad: float) -> RotatedBox:
    """Return a box as tracking might have it a frame later: shifted, scaled and rotated by up to `turn_rad`."""
    side = box.width * rng.uniform(*_BOX_SCALE)
    dx, dy = rng.uniform(-_BOX_SHIFT, _BOX_SHIFT, 2) * box.width
    return RotatedBox(box.cx + dx, box.cy + dy, side, side, box.rotation + rng.uniform(-turn_rad, turn_rad))


def recoloured(rgb: Image, rng: np.random.Generator) -> Image:
    """Imitate another camera in an image (H, W, 3): change light and colours.

    Some images become grey, blurred, coarse or noisy.
    """
    image = 255 * (rgb.astype(np.float32) / 255) ** np.float32(np.exp(rng.normal(0, 0.25)))
    tint = rng.uniform(0.85, 1.15, 3).astype(np.float32)
    image = image * np.float32(rng.uniform(0.6, 1.3)) * tint + np.float32(rng.uniform(-25, 25))
    if rng.random() < 0.3:
        grey = image.mean(2, keepdims=True)
        image = grey + (image - grey) * np.float32(rng.uniform(0, 1.3))
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2))
    if rng.random() < 0.25:
        height, width = image.shape[:2]
        share = rng.uniform(0.4, 0.9)
        small = cv2.resize(image, (int(width * share), int(height * share)), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.35:
        image = image + rng.normal(0, rng.uniform(2, 12), image.shape).astype(np.float32)
    changed = image.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        changed = cv2.imdecode(cv2.imencode(".jpg", changed, quality)[1], cv2.IMREAD_COLOR)
    return np.asarray(changed, np.uint8)
