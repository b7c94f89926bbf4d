"""Instances of objects as masks: their pixels, drawings and results in COCO's format, without PyTorch."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import BoolArray, Float32Array, FloatArray, Image, IntArray
from sonjit.media.drawing.heat_maps import grid as panel_grid
from sonjit.media.drawing.instances import PERSON_COLOURS, draw_tint
from sonjit.media.drawing.labels import Label, draw_captions, draw_labels
from sonjit.media.drawing.strokes import Colour, draw_path
from sonjit.segmentation.coco import CocoResult, coco_result

_REPEATED: Final = 0.8  # share of the smaller of two masks of a class that makes the less certain one a duplicate
_COMPARED_PX: Final = 256  # side of the image in which masks are compared
_ABOVE = [np.array([0.0, -1.0]), np.array([0.0, 1.0])]


class Instances(NamedTuple):
    """Instances in one image, best first."""

    boxes: Float32Array  # (N, 4) x_min, y_min, x_max, y_max in pixels
    scores: Float32Array  # (N,) probability of the class
    labels: IntArray  # (N,) class, 1 and up
    masks: Float32Array  # (N, M, M) probability within the box; M is 0 without masks

    def select(self, index: Sequence[int] | BoolArray) -> "Instances":
        """Return the instances at indices (M,) or where a mask (N,) is True."""
        chosen = np.asarray(index, None if len(index) else np.intp)
        return Instances(self.boxes[chosen], self.scores[chosen], self.labels[chosen], self.masks[chosen])

    def in_image(self, size: tuple[int, int]) -> Float32Array:
        """Return the probability per pixel (N, H, W) in an image of height and width `size`, 0 outside of the boxes."""
        placed = np.zeros((len(self.boxes), *size), np.float32)
        side = self.masks.shape[-1]
        middle, half = (self.boxes[:, 2:] + self.boxes[:, :2]) / 2, (self.boxes[:, 2:] - self.boxes[:, :2]) / 2
        half = half * np.float32((side + 2) / side)  # for the frame of zeros around the mask
        for canvas, mask, low, high in zip(
            placed, self.masks, (middle - half).astype(int), (middle + half).astype(int), strict=True
        ):
            wide, tall = np.maximum(high - low + 1, 1).tolist()
            values = cv2.resize(np.pad(mask, 1), (wide, tall), interpolation=cv2.INTER_LINEAR)
            (left, top), (right, bottom) = np.maximum(low, 0), np.minimum(high + 1, size[::-1])
            if left < right and top < bottom:
                canvas[top:bottom, left:right] = values[top - low[1] : bottom - low[1], left - low[0] : right - low[0]]
        return placed

    def without_repeats(self) -> "Instances":
        """Return the instances whose masks do not repeat that of a more certain instance of the class."""
        if not len(self.boxes):
            return self
        scaled = self._replace(boxes=self.boxes * np.float32(_COMPARED_PX / max(self.boxes.max(), 1)))
        inside = (scaled.in_image((_COMPARED_PX, _COMPARED_PX)) >= 0.5).reshape(len(self.boxes), -1).astype(np.float32)
        areas = inside.sum(1)
        repeats = inside @ inside.T > _REPEATED * np.minimum(areas, areas[:, None]).clip(1)
        repeats &= self.labels == self.labels[:, None]
        kept: list[int] = []
        for i, row in enumerate(repeats):
            if not row[kept].any():
                kept.append(i)
        return self.select(kept)


class Finder(Protocol):
    """A network that finds instances of categories, which are ids and names of the labels 1, 2, ..."""

    categories: Sequence[tuple[int, str]]

    def find(self, rgb: Image) -> Instances:
        """Return the instances in an image (H, W, 3), uint8 RGB, best first."""
        ...


def draw_instances(rgb: Image, instances: Instances, names: Sequence[str]) -> Image:
    """Return a new image (H, W, 3) with mask, box, category and confidence of each instance.

    `names` are of labels 1, 2, ...
    """
    canvas = rgb.copy()
    boxes, scores, labels = instances.boxes.tolist(), instances.scores.tolist(), instances.labels.tolist()
    if instances.masks.shape[-1]:
        masks = instances.in_image((rgb.shape[0], rgb.shape[1]))
        for i, mask in reversed(list(enumerate(masks))):  # the surest on top
            draw_tint(canvas, mask, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    for i, box in enumerate(boxes):
        draw_box(canvas, box, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    written: list[Label] = []
    for i, ((x_min, y_min, x_max, y_max), score, label) in enumerate(zip(boxes, scores, labels, strict=True)):
        top, size = np.array([(x_min + x_max) / 2, y_min]), float(np.hypot(x_max - x_min, y_max - y_min))
        colour = PERSON_COLOURS[i % len(PERSON_COLOURS)]
        written.append(Label(f"{names[label - 1]} {score:.2f}", top, _ABOVE, colour, size))
    draw_labels(canvas, written)
    return canvas


def semantic_labels(instances: Instances, size: tuple[int, int]) -> IntArray:
    """Return the label of each pixel (H, W), 0 for the background; of several instances the surest counts."""
    labels = np.zeros(size, np.int64)
    if instances.masks.shape[-1]:
        masks = instances.in_image(size) >= 0.5
        for mask, label in reversed(list(zip(masks, instances.labels.tolist(), strict=True))):
            labels[mask] = label
    return labels


def draw_tasks(rgb: Image, instances: Instances, names: Sequence[str]) -> Image:
    """Return an image (2 H, 2 W, 3) of an image (H, W, 3).

    They show classification, localization, semantic segmentation and instance segmentation.
    """
    scores: list[float] = instances.scores.tolist()
    labels: list[int] = instances.labels.tolist()
    best = {label: score for score, label in reversed(list(zip(scores, labels, strict=True)))}
    labelled, words = rgb.copy(), [f"{names[label - 1]} {best[label]:.2f}" for label in sorted(best)]
    if scores:
        draw_box(labelled, instances.boxes[0].tolist(), PERSON_COLOURS[labels[0] % len(PERSON_COLOURS)])
    semantic, categories = rgb.copy(), semantic_labels(instances, (rgb.shape[0], rgb.shape[1]))
    for label in sorted(best):
        draw_tint(semantic, (categories == label).astype(np.float32), PERSON_COLOURS[label % len(PERSON_COLOURS)])
    shown: list[str] = [names[label - 1] for label in sorted(best)]
    where = [f"{names[labels[0] - 1]} {scores[0]:.2f}"] if scores else []
    panels: tuple[tuple[NDArray[np.uint8], list[str]], ...] = (
        (rgb.copy(), ["classification", *words]),
        (labelled, ["localization", *where]),
        (semantic, ["semantic segmentation", *shown]),
        (draw_instances(rgb, instances, names), ["instance segmentation"]),
    )
    for canvas, lines in panels:
        draw_captions(canvas, lines)
    drawn = [canvas for canvas, _ in panels]
    return panel_grid([drawn[:2], drawn[2:]])


def draw_box(canvas: Image, box: Sequence[float] | FloatArray, colour: Colour) -> None:
    """Draw a box x_min, y_min, x_max, y_max in pixels on a canvas (H, W, 3) uint8, in place."""
    x_min, y_min, x_max, y_max = box
    corners = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]], np.float64)
    draw_path(canvas, corners, colour, max(1, round(max(canvas.shape[:2]) / 400)))


def results_from_instances(
    instances: Instances, size: tuple[int, int], image_id: int | str, category_ids: Sequence[int]
) -> list[CocoResult]:
    """Return instances as COCO's results; `size` is height and width, `category_ids` are of labels 1, 2, ..."""
    masks: Sequence[BoolArray | None] = [None] * len(instances.boxes)
    if instances.masks.shape[-1]:
        masks = list(instances.in_image(size) >= 0.5)
    ids = [category_ids[label - 1] for label in instances.labels.tolist()]
    rows = zip(ids, instances.boxes.tolist(), instances.scores.tolist(), masks, strict=True)
    return [coco_result(image_id, *row) for row in rows]
