"""Pictures whose palms are known, and how each looks another time: turned, scaled, shifted, mirrored, in other light.

A palm is the square around seven keypoints: wrist, four knuckles, and the two lower joints of the thumb; so the
published detector's own boxes lie (their side is within 3 % of the longer side of the seven's bounds, on average).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.datasets import load_coco, read_pictures
from sonjit.errors import InputError
from sonjit.geometry import RotatedBox, crop, crop_matrix, inverse_affine, letterbox, letterbox_box

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.datasets import CocoCategory

_PALM = (
    "wrist",
    *(f"{finger}_finger_mcp" for finger in ("index", "middle", "ring", "pinky")),
    "thumb_cmc",
    "thumb_mcp",
)
_TURN_RAD, _SCALE, _SHIFT, _LIGHT = 0.4, (0.7, 1.35), 0.12, 0.25


@dataclass(frozen=True, eq=False)
class PalmPicture:
    """One picture, square.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        palms: (P, 7, 2) keypoints in its pixels.
        unsure: (Q, 4) x_min, y_min, x_max, y_max of hands whose palms are not known: neither to find nor to miss.
    """

    image: NDArray[np.uint8]
    palms: NDArray[np.float32]
    unsure: NDArray[np.float32]


def palm_pictures(annotations: Path, images: Path | None, size: int) -> list[PalmPicture]:
    """Every picture of a data set, those without a hand too, as the detector would be shown it.

    Args:
        annotations: COCO keypoints JSON, or the folder that holds it; its categories name keypoints as MediaPipe does.
        images: folder or video; None for what stands beside the annotations.
        size: of the pictures that come back.

    Raises:
        InputError: no category has a palm's keypoints.
    """
    data = load_coco(annotations)
    columns = {category.id: _columns(category) for category in data.categories}
    if not any(columns.values()):
        raise InputError(f"{data.path}: no category with a palm's keypoints; needed are {', '.join(_PALM)}")
    pictures: list[PalmPicture] = []
    for picture, rgb in read_pictures(data, images):
        whole = letterbox_box(rgb.shape[1], rgb.shape[0], size, size)
        palms: list[NDArray[np.float64]] = []
        unsure: list[NDArray[np.float64]] = []
        for instance in picture.instances:
            chosen = columns[instance.category_id]
            points = None if instance.keypoints is None or not chosen else instance.keypoints[chosen]  # (7, 3)
            if points is not None and (points[:, 2] > 0).all():
                palms.append(_into(whole, size, points[:, :2]))
            else:
                unsure.append(_into(whole, size, np.reshape(instance.box, (2, 2))).reshape(4))
        pictures.append(
            PalmPicture(letterbox(rgb, size, size), _stacked(palms, (7, 2)), _stacked(unsure, (4,)))
        )  # fmt: skip
    return pictures


def augmented(picture: PalmPicture, rng: np.random.Generator, strength: float = 1.0) -> PalmPicture:
    """The same picture another time; `strength` 0..1 of turn, scale and shift."""
    size = picture.image.shape[0]
    side = size * np.exp(strength * rng.uniform(*np.log(_SCALE)))
    cx, cy = size / 2 + strength * size * rng.uniform(-_SHIFT, _SHIFT, 2)
    box = RotatedBox(cx, cy, side, side, strength * rng.uniform(-_TURN_RAD, _TURN_RAD))
    image = crop(picture.image, box, size, size, border="zero")
    palms = _into(box, size, picture.palms)
    corners = picture.unsure[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    corners = _into(box, size, corners)
    if rng.random() < 0.5:
        image = image[:, ::-1]
        palms, corners = (np.stack([size - points[..., 0], points[..., 1]], -1) for points in (palms, corners))
    unsure = np.concatenate([corners.min(1), corners.max(1)], 1)
    light = rng.uniform(1 - _LIGHT, 1 + _LIGHT, 3) * rng.uniform(1 - _LIGHT, 1 + _LIGHT)
    lit = np.clip(image * light.astype(np.float32), 0, 255).astype(np.uint8)
    inside = ((palm_squares(palms)[:, :2] > 0) & (palm_squares(palms)[:, :2] < size)).all(1)
    left = palm_squares(palms[~inside])
    cut = np.concatenate([left[:, :2] - left[:, 2:] / 2, left[:, :2] + left[:, 2:] / 2], 1)
    return PalmPicture(lit, palms[inside].astype(np.float32), np.concatenate([unsure, cut]).astype(np.float32))


def palm_squares(palms: NDArray[np.floating]) -> NDArray[np.float64]:
    """The square (P, 4) around each palm's keypoints (P, 7, 2): centre x, y, width, height."""
    low, high = palms.min(1).astype(np.float64), palms.max(1)
    side = (high - low).max(1, keepdims=True)
    return np.concatenate([(low + high) / 2, side, side], 1)


def _columns(category: CocoCategory) -> list[int]:
    known = category.keypoints
    return [known.index(name) for name in _PALM] if set(_PALM) <= set(known) else []


def _into(box: RotatedBox, size: int, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points (..., 2) of a picture in pixels of a box's crop."""
    matrix = inverse_affine(crop_matrix(box, size, size))
    return points @ matrix[:, :2].T + matrix[:, 2]


def _stacked(parts: Sequence[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.array(parts, np.float32).reshape(-1, *shape)
