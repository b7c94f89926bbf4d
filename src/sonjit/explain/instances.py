"""Instances drawn over their image, and an image of each step by which Mask R-CNN came to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sonjit.datasets import coco_result
from sonjit.datasets.formats.coco import CocoResult
from sonjit.media.drawing.instances import PERSON_COLOURS, draw_tint
from sonjit.media.drawing.labels import draw_captions, draw_label
from sonjit.media.drawing.strokes import Colour, draw_path
from sonjit.networks.mask_rcnn.mask_rcnn import DetectedInstances, Steps, paste_masks
from sonjit.networks.mask_rcnn.rpn import Candidates

_LEVEL_COLOURS = {level: PERSON_COLOURS[level - 2] for level in range(2, 7)}
_MOST_BOXES = 200  # of the best: more would hide the image
_SIDE_PX = 160  # of the small images in a row
_ROWS = 6  # instances of which maps and masks are shown
_ABOVE = [np.array([0.0, -1.0]), np.array([0.0, 1.0])]


def draw_instances(rgb: NDArray[np.uint8], found: DetectedInstances, names: Sequence[str]) -> NDArray[np.uint8]:
    """A new image with a coloured mask, a box, the category and the confidence of each instance.

    Args:
        rgb: (H, W, 3) uint8.
        found: in its pixels, best first.
        names: of the labels 1, 2, ...
    """
    canvas = rgb.copy()
    boxes, scores, labels = found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()
    if found.masks.shape[-1]:
        masks = paste_masks(found.masks, found.boxes, rgb.shape[:2]).cpu().numpy()
        for i, mask in reversed(list(enumerate(masks))):  # the surest on top
            draw_tint(canvas, mask, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    for i, box in enumerate(boxes):
        _draw_box(canvas, box, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    for i, (box, score, label) in enumerate(zip(boxes, scores, labels, strict=True)):
        corner = np.array([(box[0] + box[2]) / 2, box[1]])
        draw_label(canvas, f"{names[label - 1]} {score:.2f}", corner, _ABOVE, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    return canvas


def results_from_instances(
    found: DetectedInstances, size: tuple[int, int], image_id: int, category_ids: Sequence[int]
) -> list[CocoResult]:
    """Instances as records of COCO's results format.

    Args:
        found: in one image.
        size: its height and width.
        image_id: its id in the data set.
        category_ids: of the labels 1, 2, ...
    """
    masks: Sequence[NDArray[np.bool_] | None] = [None] * len(found.boxes)
    if found.masks.shape[-1]:
        masks = list(paste_masks(found.masks, found.boxes, size).cpu().numpy() >= 0.5)
    ids = [category_ids[label - 1] for label in found.labels.tolist()]
    rows = zip(ids, found.boxes.tolist(), found.scores.tolist(), masks, strict=True)
    return [coco_result(image_id, *row) for row in rows]


def step_images(
    rgb: NDArray[np.uint8], found: DetectedInstances, steps: Steps, names: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """An image of each step, in order, with a name for its file.

    Args:
        rgb: (H, W, 3) uint8, the only image of the forward pass.
        found: in it.
        steps: of the forward pass.
        names: of the labels 1, 2, ...
    """
    import cv2

    high, wide = steps.sizes[0]
    small = np.asarray(cv2.resize(rgb, (wide, high)), np.uint8)
    padded = "x".join(map(str, reversed(steps.images.shape[-2:])))
    yield "1-resized", _titled(small, f"1 resized to {wide}x{high}, padded to {padded}")
    yield "2-pyramid", _pyramid_image(steps)
    ratio = np.array([rgb.shape[1] / wide, rgb.shape[0] / high] * 2)
    yield "3-anchors", _anchor_image(rgb, steps, ratio)
    before, after, final = steps.rpn.before_nms[0], steps.rpn.after_nms[0], steps.rpn.proposals[0]
    for name, title, boxes in (
        ("4-proposals-before-nms", "4 moved and clipped, before NMS", before),
        ("5-proposals-after-nms", "5 after NMS on each level", after),
        ("6-proposals", "6 best of all levels", final),
    ):
        yield name, _candidate_image(rgb, boxes, title, ratio)
    yield "7-roi-features", _roi_image(small, steps)
    yield "8-masks", _mask_image(rgb, found, names)
    yield "9-instances", _titled(draw_instances(rgb, found, names), f"9 found: {len(found.boxes)}")


def _pyramid_image(steps: Steps) -> NDArray[np.uint8]:
    """The mean over the channels of each level above the likeliest anchor of each cell."""
    high, wide = steps.images.shape[-2:]
    size = round(_SIDE_PX * wide / high), _SIDE_PX
    tiles: list[NDArray[np.uint8]] = []
    for level, (grid, logits) in enumerate(zip(steps.pyramid, steps.rpn.objectness, strict=True), 2):
        cells = logits[0].sigmoid().reshape(*grid.shape[-2:], -1).amax(-1)
        mean, likely = _heat(grid[0].mean(0), size), _heat(cells, size)
        shape = f"{grid.shape[-1]}x{grid.shape[-2]}"
        tiles.append(
            np.vstack([_titled(mean, f"P{level} {shape}"), _titled(likely, f"objectness to {cells.max():.2f}")])
        )
    return np.hstack(tiles)


def _anchor_image(rgb: NDArray[np.uint8], steps: Steps, ratio: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The three anchors of each level's middle cell, and how many there are in all."""
    canvas = rgb // 2
    lines: list[str] = ["3 anchors of the middle cell of each level"]
    for level, (grid, anchors) in enumerate(zip(steps.pyramid, steps.rpn.anchors, strict=True), 2):
        rows, columns = grid.shape[-2:]
        middle = ((rows // 2) * columns + columns // 2) * 3
        for box in anchors[middle : middle + 3].tolist():
            _draw_box(canvas, box * ratio, _LEVEL_COLOURS[level])
        lines.append(f"P{level}: {len(anchors)}")
    draw_captions(canvas, lines)
    return canvas


def _candidate_image(
    rgb: NDArray[np.uint8], candidates: Candidates, title: str, ratio: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """The likeliest boxes in their level's colour, enlarged by a ratio to the image."""
    canvas = rgb // 2
    best = candidates.scores.sort(descending=True).indices[:_MOST_BOXES].flip(0)  # the best on top
    for box, level in zip(candidates.boxes[best].tolist(), candidates.levels[best].tolist(), strict=True):
        _draw_box(canvas, box * ratio, _LEVEL_COLOURS[level])
    counts = ", ".join(f"P{level} {int((candidates.levels == level).sum())}" for level in _LEVEL_COLOURS)
    shown = f"; the best {_MOST_BOXES} drawn" if len(candidates.boxes) > _MOST_BOXES else ""
    draw_captions(canvas, [f"{title}: {len(candidates.boxes)}{shown}", counts])
    return canvas


def _roi_image(small: NDArray[np.uint8], steps: Steps) -> NDArray[np.uint8]:
    """The best proposals, cut out, and the mean over the channels of their maps."""
    boxes, scores = steps.rpn.proposals[0].boxes[:_ROWS], steps.rpn.proposals[0].scores
    size = _SIDE_PX, _SIDE_PX
    tiles = [
        np.vstack(
            [
                _titled(_cut(small, box, size), f"objectness {score:.2f}"),
                _titled(_heat(grid.mean(0), size), f"{grid.shape[-1]}x{grid.shape[-2]} of P{level}"),
            ]
        )
        for box, score, grid, level in zip(
            boxes.tolist(), scores.tolist(), steps.box_maps, steps.levels.tolist(), strict=False
        )
    ]
    return np.hstack(tiles) if tiles else _titled(small // 2, "7 no proposals")


def _mask_image(rgb: NDArray[np.uint8], found: DetectedInstances, names: Sequence[str]) -> NDArray[np.uint8]:
    """The best instances, cut out, and their masks before they are laid over the image."""
    size = _SIDE_PX, _SIDE_PX
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), found.masks, strict=True)
    tiles = [
        np.vstack(
            [
                _titled(_cut(rgb, box, size), f"{names[label - 1]} {score:.2f}"),
                _titled(_heat(mask, size), f"mask {mask.shape[-1]}x{mask.shape[-2]}"),
            ]
        )
        for box, score, label, mask in list(rows)[:_ROWS]
        if mask.numel()
    ]
    return np.hstack(tiles) if tiles else _titled(rgb // 2, "8 no masks")


def _heat(values: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A map (h, w) in colours from its least to its greatest value, its cells as squares."""
    import cv2

    grid = values.detach().float().cpu().numpy()
    share = (grid - grid.min()) / max(float(grid.max() - grid.min()), 1e-12)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return np.asarray(cv2.resize(colours, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _cut(rgb: NDArray[np.uint8], box: Sequence[float], size: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    height, width = rgb.shape[:2]
    left, top = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    part = rgb[top : max(round(box[3]), top + 1), left : max(round(box[2]), left + 1)]
    return np.asarray(cv2.resize(part, size), np.uint8)


def _titled(canvas: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    titled = np.array(canvas, order="C")
    draw_captions(titled, [title])
    return titled


def _draw_box(canvas: NDArray[np.uint8], box: Sequence[float] | NDArray[np.float64], colour: Colour) -> None:
    x_min, y_min, x_max, y_max = box
    corners = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]], np.float64)
    draw_path(canvas, corners, colour, max(1, round(max(canvas.shape[:2]) / 400)))
