"""Hands cut out of annotated images as the detector cuts them, with a margin to rotate and shift them in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.kinds.hands import BOX_KEYPOINTS, box_around_hand
from sonjit.errors import InputError
from sonjit.geometry import RotatedBox, crop, crop_matrix, crop_on_grid, inverse_affine
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.datasets.sample import Instance, Sample, Side

PUBLISHED_SIZE = 224
_MARGIN = 0.25
"""Around a crop, in its sides: of whole pixels, so that the middle of the larger crop is the detector's own."""

_TURN_RAD, _SCALE, _SHIFT, _LIGHT = 0.35, (0.87, 1.15), 0.06, 0.2
_REACH = 0.9

"""How far a rotated, scaled and shifted crop may reach from its centre, in its sides."""

_SKIN = 0.15
"""How far a hand may reach out of its annotated box, which may be that of its keypoints, in its sides."""

_TRIES = 10  # places for a crop without a hand before an image is given up


@dataclass(frozen=True, eq=False)
class LandmarkCrop:
    """One hand, or none.

    Attributes:
        wide: (1.5 S, 1.5 S, 3) uint8 RGB, the crop of side S with a quarter of S around it.
        keypoints: (K, 2) in pixels of the crop; undefined without a hand.
        known: (K,) whether each is annotated.
        metres: (K, 3) in the crop's axes, from anywhere; NaN where unknown.
        side: whose hand it is, the person's own; None where unknown or there is none.
        present: there is a hand; None where that is not to be trained on.
    """

    wide: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    known: NDArray[np.bool_]
    metres: NDArray[np.float32]
    side: Side | None = None
    present: bool | None = None

    @property
    def size(self) -> int:
        """Side S of the crop in pixels."""
        return 2 * self.wide.shape[0] // 3

    def image(self) -> NDArray[np.uint8]:
        """(S, S, 3): the crop itself."""
        margin = (self.wide.shape[0] - self.size) // 2
        return self.wide[margin:-margin, margin:-margin]


def landmark_crops(
    samples: Sequence[Sample],
    extra_keypoints: Sequence[str] = (),
    *,
    size: int = PUBLISHED_SIZE,
    limit: int = 0,
    without_hands: bool = False,
) -> list[LandmarkCrop]:
    """Every hand of a data set whose palm and first joints are annotated.

    Args:
        samples: of any data set whose hands have keypoints of MediaPipe's names, in any order.
        extra_keypoints: names of keypoints that follow the 21.
        size: side of the crops in pixels, a multiple of 4.
        limit: of hands, the first ones; 0 for all.
        without_hands: also one crop of each image in which no annotated hand is, where there is room for one; so
            that presence can be trained.

    Raises:
        InputError: no hand has these keypoints, or none is annotated well enough.
    """
    names = (*load_skeleton("hand_mediapipe21").keypoints, *extra_keypoints)
    crops: list[LandmarkCrop] = []
    empty: list[LandmarkCrop] = []
    has_names = False
    for place, sample in enumerate(samples):
        hands = [(one, places) for one in sample.instances if (places := one.places_of(names))]
        has_names = has_names or bool(hands)
        if not hands and not without_hands:
            continue
        rgb = sample.rgb()
        for one, places in hands:
            if crop := _crop(rgb, one, places, size):
                crops.append(replace(crop, present=True if without_hands else None))
        if without_hands:
            empty += _empty_crop(rgb, sample.instances, np.random.default_rng(place), len(names), size)
        if limit and len(crops) >= limit:
            break
    if not has_names:
        raise InputError(f"{_named(samples)}: no hand with the keypoints {', '.join(names)}")
    if not crops:
        raise InputError(f"{_named(samples)}: no hand with wrist, palm and first joints annotated")
    return crops[: limit or None] + empty


def augmented(hand: LandmarkCrop, rng: np.random.Generator, strength: float = 1.0) -> LandmarkCrop:
    """The same hand a little rotated, scaled, shifted and in another light; `strength` 0..1 of the first three."""
    size, whole = hand.size, hand.wide.shape[0]
    side = size * rng.uniform(*_SCALE) ** strength
    cx, cy = whole / 2 + strength * size * rng.uniform(-_SHIFT, _SHIFT, 2)
    box = RotatedBox(cx, cy, side, side, strength * rng.uniform(-_TURN_RAD, _TURN_RAD))
    wide = crop(hand.wide, _wider(box), whole, whole)
    gain, offset = rng.uniform(1 - _LIGHT, 1 + _LIGHT), 255 * rng.uniform(-_LIGHT, _LIGHT) / 2
    lit = np.clip(wide * np.float32(gain) + np.float32(offset), 0, 255).astype(np.uint8)
    points = _into_crop(hand.keypoints + (whole - size) // 2, box, size)
    return replace(hand, wide=lit, keypoints=points, metres=_turned(hand.metres, box))


def _named(samples: Sequence[Sample]) -> str:
    return samples[0].source or samples[0].dataset


def _crop(rgb: NDArray[np.uint8], hand: Instance, places: Sequence[int], size: int) -> LandmarkCrop | None:
    assert hand.keypoints_px is not None
    points = hand.keypoints_px[places].astype(np.float32)  # (K, 2)
    known = np.asarray(np.isfinite(points).all(1), np.bool_)
    if hand.valid_px is not None:
        known &= hand.valid_px[places]
    if not known[BOX_KEYPOINTS].all():
        return None
    points[~known] = 0
    box = box_around_hand(points)
    if box.width < 1:
        return None
    metres = np.full((len(points), 3), np.nan) if hand.keypoints_m is None else hand.keypoints_m[places]
    return LandmarkCrop(_cut(rgb, box, size), _into_crop(points, box, size), known, _turned(metres, box), hand.side)


def _empty_crop(
    rgb: NDArray[np.uint8], instances: Sequence[Instance], rng: np.random.Generator, keypoints: int, size: int
) -> list[LandmarkCrop]:
    """A crop of any place, size and rotation that no hand's box reaches into; none where there is no room."""
    height, width = rgb.shape[:2]
    boxes = np.array([box for one in instances if (box := one.bounds())]).reshape(-1, 4)
    margin = _SKIN * np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])[:, None]
    boxes = boxes + margin * np.array([-1, -1, 1, 1])
    for _ in range(_TRIES):
        side = min(height, width) * rng.uniform(0.15, 0.6)
        cx, cy, reach = rng.uniform(0, width), rng.uniform(0, height), side * _REACH
        apart = (boxes[:, 0] > cx + reach) | (boxes[:, 2] < cx - reach)
        apart |= (boxes[:, 1] > cy + reach) | (boxes[:, 3] < cy - reach)
        if apart.all():
            box = RotatedBox(cx, cy, side, side, rng.uniform(-np.pi, np.pi))
            nothing = np.full((keypoints, 3), np.nan, np.float32)
            unknown = np.zeros(keypoints, np.bool_)
            return [
                LandmarkCrop(_cut(rgb, box, size), np.zeros((keypoints, 2), np.float32), unknown, nothing, None, False)
            ]
    return []


def _cut(rgb: NDArray[np.uint8], box: RotatedBox, size: int) -> NDArray[np.uint8]:
    whole = size + 2 * round(_MARGIN * size)
    wide = np.empty((whole, whole, 3), np.uint8)
    crop_on_grid(rgb, _wider(box), wide)
    return wide


def _wider(box: RotatedBox) -> RotatedBox:
    scale = 1 + 2 * _MARGIN
    return box._replace(width=box.width * scale, height=box.height * scale)


def _into_crop(points: NDArray[np.float32], box: RotatedBox, size: int) -> NDArray[np.float32]:
    """Points (K, 2) of an image in pixels of a box's crop."""
    matrix = inverse_affine(crop_matrix(box, size, size))
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def _turned(metres: NDArray[np.floating], box: RotatedBox) -> NDArray[np.float32]:
    """Points (K, 3) of an image's axes in those of a box."""
    cos, sin = np.cos(box.rotation), np.sin(box.rotation)
    return (metres @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])).astype(np.float32)
