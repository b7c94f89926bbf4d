"""One hand of a picture as the keypoint detector learns from it: varied, cut out, with where its keypoints lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.geometry import RotatedBox, crop, crop_matrix, inverse_affine
from sonjit.networks.keypoint_detector import area_of_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.datasets import Instance, Sample
    from sonjit.results import Box

_KEYPOINTS = 21
_TURN_RAD, _SCALE, _SHIFT, _GAIN = math.pi / 3, (0.75, 1.25), 0.15, (0.7, 1.3)


@dataclass(frozen=True, eq=False)
class HeatmapExample:
    """A crop and what is right for it.

    Attributes:
        image: (S, S, 3) uint8.
        keypoints: (21, 2) pixels of the crop; 0 where unknown.
        known: (21,) 1 where one is known and in the crop.
        visible: (21,) 1 seen, 0 hidden.
        told: (21,) 1 where that is known.
    """

    image: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    known: NDArray[np.float32]
    visible: NDArray[np.float32]
    told: NDArray[np.float32]


def labelled_hands(sample: Sample) -> list[tuple[Instance, Box]]:
    """Hands with known keypoints, and the boxes around these, in pixels; hardly any keypoints make no box."""
    found: list[tuple[Instance, Box]] = []
    for one in sample.instances:
        points = points_of(one)
        points = points[np.isfinite(points).all(1)]
        if one.kind == "hand" and len(points) >= 2 and (np.ptp(points, 0) >= 1).all():
            (x_min, y_min), (x_max, y_max) = points.min(0).tolist(), points.max(0).tolist()
            found.append((one, (x_min, y_min, x_max, y_max)))
    return found


def example_from_sample(sample: Sample, rng: np.random.Generator, side: int) -> HeatmapExample | None:
    """One hand of a picture, varied; None where none is labelled."""
    hands = labelled_hands(sample)
    if not hands:
        return None
    hand, box = hands[int(rng.integers(len(hands)))]
    area = area_of_box(box)
    scale, turn = float(rng.uniform(*_SCALE)), float(rng.uniform(-_TURN_RAD, _TURN_RAD))
    shift_x, shift_y = (area.width * rng.uniform(-_SHIFT, _SHIFT, 2)).tolist()
    wide = area.width * scale
    return example_from_hand(
        sample.rgb(),
        hand,
        RotatedBox(area.cx + shift_x, area.cy + shift_y, wide, wide, turn),
        side,
        mirror=bool(rng.random() < 0.5),
        gain=rng.uniform(*_GAIN) * rng.uniform(0.9, 1.1, 3),
    )


def example_from_hand(
    rgb: NDArray[np.uint8],
    hand: Instance,
    area: RotatedBox,
    side: int,
    *,
    mirror: bool = False,
    gain: NDArray[np.float64] | None = None,
) -> HeatmapExample:
    """A hand as it stands in an area of a picture (H, W, 3), cut to `side` pixels; no network learns sides here."""
    image = crop(rgb, area, side, side, border="zero")
    matrix = inverse_affine(crop_matrix(area, side, side))
    points = points_of(hand) @ matrix[:, :2].T + matrix[:, 2]
    if mirror:
        image, points = image[:, ::-1], np.stack([side - 1 - points[:, 0], points[:, 1]], 1)
    if gain is not None:
        image = np.clip(image * gain.astype(np.float32), 0, 255)
    known: NDArray[np.bool_] = np.asarray(((points >= 0) & (points <= side - 1)).all(1))  # NaN is neither
    told = known if hand.visible is not None else np.zeros(_KEYPOINTS, np.bool_)
    visible = np.zeros(_KEYPOINTS, np.bool_) if hand.visible is None else hand.visible
    return HeatmapExample(
        np.ascontiguousarray(image, np.uint8),
        np.asarray(np.where(known[:, None], points, 0), np.float32),
        known.astype(np.float32),
        visible.astype(np.float32),
        told.astype(np.float32),
    )


def points_of(hand: Instance) -> NDArray[np.float64]:
    """Keypoints (21, 2) in pixels, NaN where unknown."""
    if hand.keypoints_px is None or len(hand.keypoints_px) != _KEYPOINTS:
        return np.full((_KEYPOINTS, 2), np.nan)
    known = np.ones(_KEYPOINTS, np.bool_) if hand.valid_px is None else hand.valid_px
    return np.where(known[:, None], hand.keypoints_px, np.nan)
