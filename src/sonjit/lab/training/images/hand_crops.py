"""Cut crops with one hand or none out of a clip with known hands, as training images of a classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, Image
from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError
from sonjit.geometry.boxes import RotatedBox, crop, points_into_crop
from sonjit.lab.training.augment import (
    Augmentation,
    AugmentationSettings,
    draw_augmentation,
)
from sonjit.lab.training.images.class_images import (
    Crop,
)
from sonjit.media import open_source
from sonjit.results import Box

_UNCHANGED = Augmentation()
CLASSES = ("Left", "Right", "none")
_LONG_SIDE_PX = 320  # longer side of the frames in memory; crops are smaller
_MAX_TRIES = 10  # maximum number of boxes that are tried for a held-out crop without another hand
_MARGIN = 0.12  # distance of the skin from the keypoints, relative to the hand's size


class HandCrops:
    """Crops of a clip with known hands.

    Args:
        clip: Path of a video.
        truth: JSON file with "frames", each with "index" and "hands" with "handedness" and "xy", (21, 2) in pixels.
        size: Side of a crop in pixels.
        context: Side of a crop as a multiple of the hand's.
        segment: Length of segments in frames; the first three quarters of each are for training.
    """

    def __init__(self, clip: Path, truth: Path, *, size: int = 96, context: float = 2.0, segment: int = 60) -> None:
        self._size, self._context = size, context
        try:
            frames = read_json(truth)["frames"]
            hands = {
                int(frame["index"]): [
                    (CLASSES.index(hand["handedness"]), np.array(hand["xy"], float)) for hand in frame["hands"]
                ]
                for frame in frames
            }
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{truth}: no frames with hands that have handedness and xy ({error})") from None
        self._images: dict[int, NDArray[np.uint8]] = {}
        self._hands: dict[int, list[tuple[int, FloatArray]]] = {}
        with open_source(clip) as source:
            for frame in source:
                if frame.index in hands:
                    image, scale = _shrink(frame.rgb)
                    self._images[frame.index] = image
                    self._hands[frame.index] = [(label, xy * scale) for label, xy in hands[frame.index]]
        quarter = segment * 3 // 4
        self.training = [index for index in sorted(self._images) if index % segment < quarter]
        self.held_out = [index for index in sorted(self._images) if index % segment >= quarter]
        if not self.training or not self.held_out:
            raise InputError(f"{clip} is too short for segments of {segment} frames; set a smaller segment")

    def draw(
        self, rng: np.random.Generator, count: int, augmentation: AugmentationSettings | None = None
    ) -> list[Crop]:
        """Draw augmented crops of the training set at random positions; a mirror shows the other hand."""
        crops: list[Crop] = []
        while len(crops) < count:
            index = int(rng.choice(self.training))
            hands = self._hands[index]
            hand = int(rng.integers(len(hands) + 1)) if hands else 0  # the last index is a crop without a hand
            change = draw_augmentation(augmentation or AugmentationSettings(), rng)
            found = self._crop(index, hand, rng, change)
            if found is not None:
                found = _mirror(found) if change.mirror else found
                crops.append(replace(found, image=change.change_colours(found.image)))
        return crops

    def test(self, *, none: bool = False) -> list[Crop]:
        """Return every hand of the held-out frames and its mirror image; with `none`, as many crops without a hand."""
        crops: list[Crop] = []
        for index in self.held_out:
            for hand in range(len(self._hands[index])):
                number = len(self._hands[index]) if none else hand
                rngs = (np.random.default_rng((index, hand, attempt)) for attempt in range(_MAX_TRIES))
                tries = (self._crop(index, number, rng) for rng in rngs)
                found = next((candidate for candidate in tries if candidate is not None), None)
                crops += [] if found is None else [found, _mirror(found)]
        return crops

    def _crop(
        self, index: int, hand: int, rng: np.random.Generator, change: Augmentation = _UNCHANGED
    ) -> Crop | None:  # fmt: skip
        """Return a crop of one hand of a frame or, for an index beyond the last hand, without a hand.

        None if the hand is outside the image or another hand is in the crop.
        """
        rgb, hands, size = self._images[index], self._hands[index], self._size
        height, width = rgb.shape[:2]
        _, points = hands[min(hand, len(hands) - 1)] if hands else (0, np.array([[0.0, 0.0], [width / 4, width / 4]]))
        box = _box_around(points)
        hand_side = max(box[2] - box[0], box[3] - box[1])
        side = self._context * change.scale * hand_side
        if hand < len(hands):
            free = max(side - 1.2 * hand_side, 0) / 2
            cx, cy = (np.array(box).reshape(2, 2).mean(0) + rng.uniform(-free, free, 2)).tolist()
        else:
            cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        area = RotatedBox(cx, cy, side, side, change.rotation_rad)
        for number, (_, xy) in enumerate(hands):
            x_min, y_min, x_max, y_max = _box_around(points_into_crop(xy, area, size))
            if number != hand and x_max > 0 and y_max > 0 and x_min < size and y_min < size:
                return None
        image = crop(rgb, area, size, size)
        if hand >= len(hands):
            return Crop(image, CLASSES.index("none"), None)
        label, xy = hands[hand]
        if not ((xy >= 0) & (xy < (width, height))).all():
            return None
        x_min, y_min, x_max, y_max = np.clip(_box_around(points_into_crop(xy, area, size)), 0, size).tolist()
        return Crop(image, label, (x_min, y_min, x_max, y_max))


def _shrink(rgb: Image) -> tuple[NDArray[np.uint8], float]:
    """Return a frame of at most `_LONG_SIDE_PX`, and the factor of its coordinates."""
    import cv2

    scale = min(_LONG_SIDE_PX / max(rgb.shape[:2]), 1.0)
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _mirror(example: Crop) -> Crop:
    """Return the mirror image, which shows the other hand."""
    box = example.box
    if box is not None:
        size = example.image.shape[1]
        box = size - box[2], box[1], size - box[0], box[3]
    label = {"Left": "Right", "Right": "Left"}.get(CLASSES[example.label], CLASSES[example.label])
    return Crop(np.ascontiguousarray(example.image[:, ::-1]), CLASSES.index(label), box)


def _box_around(points: FloatArray) -> Box:
    """Return the box around a hand's keypoints (K, 2) with a margin for the skin."""
    low, high = points.min(0), points.max(0)
    margin = _MARGIN * float((high - low).max())
    x_min, y_min, x_max, y_max = *(low - margin).tolist(), *(high + margin).tolist()
    return x_min, y_min, x_max, y_max
