"""Draw the instances that Mask R-CNN found, and each step of the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util.arrays import FloatArray, Image, IntArray
from sonjit.lab.explain.overlay import grid as panel_grid
from sonjit.lab.networks.mask_rcnn.mask_rcnn import DetectedInstances, Steps, paste_masks
from sonjit.lab.networks.mask_rcnn.rpn import Candidates
from sonjit.media.drawing.instances import PERSON_COLOURS, draw_tint
from sonjit.media.drawing.strokes import Colour, Label, draw_captions, draw_labels, draw_path

_LEVEL_COLOURS = {level: PERSON_COLOURS[level - 2] for level in range(2, 7)}
_MAX_BOXES = 200  # more boxes would hide the image
_SIDE_PX = 160  # side of the small images in a row
_ROWS = 6  # number of instances with maps and masks
_ABOVE = [np.array([0.0, -1.0]), np.array([0.0, 1.0])]


def draw_instances(rgb: Image, found: DetectedInstances, names: Sequence[str]) -> Image:
    """Return a new image with mask, box, category and confidence of each instance.

    Args:
        rgb: Image (H, W, 3) uint8.
        found: Instances in its pixels, best first.
        names: Names of the labels 1, 2, ...
    """
    canvas = rgb.copy()
    boxes, scores, labels = found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()
    if found.masks.shape[-1]:
        masks = paste_masks(found.masks, found.boxes, rgb.shape[:2]).cpu().numpy()
        for i, mask in reversed(list(enumerate(masks))):  # the surest on top
            draw_tint(canvas, mask, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    for i, box in enumerate(boxes):
        _draw_box(canvas, box, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    written: list[Label] = []
    for i, ((x_min, y_min, x_max, y_max), score, label) in enumerate(zip(boxes, scores, labels, strict=True)):
        top, size = np.array([(x_min + x_max) / 2, y_min]), float(np.hypot(x_max - x_min, y_max - y_min))
        colour = PERSON_COLOURS[i % len(PERSON_COLOURS)]
        written.append(Label(f"{names[label - 1]} {score:.2f}", top, _ABOVE, colour, size))
    draw_labels(canvas, written)
    return canvas


def semantic_labels(found: DetectedInstances, size: tuple[int, int]) -> IntArray:
    """Return the category of each pixel from instances.

    Args:
        found: Instances in one image, best first. Where two cover a pixel, the one with the higher score counts.
        size: Height and width of the image.

    Returns:
        (H, W) int64: labels 1, 2, ..., and 0 for the background.
    """
    labels = np.zeros(size, np.int64)
    if found.masks.shape[-1]:
        masks = paste_masks(found.masks, found.boxes, size).cpu().numpy() >= 0.5
        for mask, label in reversed(list(zip(masks, found.labels.tolist(), strict=True))):
            labels[mask] = label
    return labels


def draw_tasks(rgb: Image, found: DetectedInstances, names: Sequence[str]) -> Image:
    """Return a new image (2 H, 2 W, 3) with the results of four tasks.

    The tasks are classification, localization, semantic segmentation and instance segmentation.

    Args:
        rgb: Image (H, W, 3) uint8.
        found: Instances in its pixels, best first.
        names: Names of the labels 1, 2, ...
    """
    scores: list[float] = found.scores.tolist()
    labels: list[int] = found.labels.tolist()
    best = {label: score for score, label in reversed(list(zip(scores, labels, strict=True)))}
    labelled, words = rgb.copy(), [f"{names[label - 1]} {best[label]:.2f}" for label in sorted(best)]
    if scores:
        _draw_box(labelled, found.boxes[0].tolist(), PERSON_COLOURS[labels[0] % len(PERSON_COLOURS)])
    semantic, categories = rgb.copy(), semantic_labels(found, (rgb.shape[0], rgb.shape[1]))
    for label in sorted(best):
        draw_tint(semantic, (categories == label).astype(np.float32), PERSON_COLOURS[label % len(PERSON_COLOURS)])
    shown: list[str] = [names[label - 1] for label in sorted(best)]
    where = [f"{names[labels[0] - 1]} {scores[0]:.2f}"] if scores else []
    panels: tuple[tuple[NDArray[np.uint8], list[str]], ...] = (
        (rgb.copy(), ["classification", *words]),
        (labelled, ["localization", *where]),
        (semantic, ["semantic segmentation", *shown]),
        (draw_instances(rgb, found, names), ["instance segmentation"]),
    )
    for canvas, lines in panels:
        draw_captions(canvas, lines)
    drawn = [canvas for canvas, _ in panels]
    return panel_grid([drawn[:2], drawn[2:]])


def step_images(
    rgb: Image, found: DetectedInstances, steps: Steps, names: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield a file name and an image for each step.

    Args:
        rgb: Image (H, W, 3) uint8, the only image of the forward pass.
        found: Instances in the image.
        steps: Steps of the forward pass.
        names: Names of the labels 1, 2, ...
    """
    import cv2

    high, wide = steps.sizes[0]
    small = np.asarray(cv2.resize(rgb, (wide, high)), np.uint8)
    padded = "x".join(map(str, reversed(steps.images.shape[-2:])))
    yield "1-resized", _draw_title(small, f"1 resized to {wide}x{high}, padded to {padded}")
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
    yield "9-instances", _draw_title(draw_instances(rgb, found, names), f"9 found: {len(found.boxes)}")


def _pyramid_image(steps: Steps) -> Image:
    """Draw the mean over the channels of each level above the most probable anchor of each cell."""
    high, wide = steps.images.shape[-2:]
    size = round(_SIDE_PX * wide / high), _SIDE_PX
    tiles: list[NDArray[np.uint8]] = []
    for level, (grid, logits) in enumerate(zip(steps.pyramid, steps.rpn.objectness, strict=True), 2):
        cells = logits[0].sigmoid().reshape(*grid.shape[-2:], -1).amax(-1)
        mean, likely = _heat(grid[0].mean(0), size), _heat(cells, size)
        shape = f"{grid.shape[-1]}x{grid.shape[-2]}"
        tiles.append(
            np.vstack([_draw_title(mean, f"P{level} {shape}"), _draw_title(likely, f"objectness to {cells.max():.2f}")])
        )
    return np.hstack(tiles)


def _anchor_image(rgb: Image, steps: Steps, ratio: FloatArray) -> Image:
    """Draw the three anchors of each level's middle cell, and the number of all anchors."""
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


def _candidate_image(rgb: Image, candidates: Candidates, title: str, ratio: FloatArray) -> Image:
    """Draw the most probable boxes in the colour of their level, scaled to the image."""
    canvas = rgb // 2
    best = candidates.scores.sort(descending=True).indices[:_MAX_BOXES].flip(0)  # the best on top
    for box, level in zip(candidates.boxes[best].tolist(), candidates.levels[best].tolist(), strict=True):
        _draw_box(canvas, box * ratio, _LEVEL_COLOURS[level])
    counts = ", ".join(f"P{level} {int((candidates.levels == level).sum())}" for level in _LEVEL_COLOURS)
    shown = f"; the best {_MAX_BOXES} drawn" if len(candidates.boxes) > _MAX_BOXES else ""
    draw_captions(canvas, [f"{title}: {len(candidates.boxes)}{shown}", counts])
    return canvas


def _roi_image(small: NDArray[np.uint8], steps: Steps) -> Image:
    """Draw crops of the best proposals, and the mean over the channels of their maps."""
    boxes, scores = steps.rpn.proposals[0].boxes[:_ROWS], steps.rpn.proposals[0].scores
    size = _SIDE_PX, _SIDE_PX
    tiles = [
        np.vstack(
            [
                _draw_title(_cut(small, box, size), f"objectness {score:.2f}"),
                _draw_title(_heat(grid.mean(0), size), f"{grid.shape[-1]}x{grid.shape[-2]} of P{level}"),
            ]
        )
        for box, score, grid, level in zip(
            boxes.tolist(), scores.tolist(), steps.box_maps, steps.levels.tolist(), strict=False
        )
    ]
    return np.hstack(tiles) if tiles else _draw_title(small // 2, "7 no proposals")


def _mask_image(rgb: Image, found: DetectedInstances, names: Sequence[str]) -> Image:
    """Draw crops of the best instances, and their masks."""
    size = _SIDE_PX, _SIDE_PX
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), found.masks, strict=True)
    tiles = [
        np.vstack(
            [
                _draw_title(_cut(rgb, box, size), f"{names[label - 1]} {score:.2f}"),
                _draw_title(_heat(mask, size), f"mask {mask.shape[-1]}x{mask.shape[-2]}"),
            ]
        )
        for box, score, label, mask in list(rows)[:_ROWS]
        if mask.numel()
    ]
    return np.hstack(tiles) if tiles else _draw_title(rgb // 2, "8 no masks")


def _heat(values: Tensor, size: tuple[int, int]) -> Image:
    """Draw a map (h, w) in colours from its minimum to its maximum."""
    import cv2

    grid = values.detach().float().cpu().numpy()
    share = (grid - grid.min()) / max(float(grid.max() - grid.min()), 1e-12)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return np.asarray(cv2.resize(colours, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _cut(rgb: Image, box: Sequence[float], size: tuple[int, int]) -> Image:
    import cv2

    height, width = rgb.shape[:2]
    left, top = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    part = rgb[top : max(round(box[3]), top + 1), left : max(round(box[2]), left + 1)]
    return np.asarray(cv2.resize(part, size), np.uint8)


def _draw_title(canvas: Image, title: str) -> Image:
    titled = np.array(canvas, order="C")
    draw_captions(titled, [title])
    return titled


def _draw_box(canvas: Image, box: Sequence[float] | FloatArray, colour: Colour) -> None:
    x_min, y_min, x_max, y_max = box
    corners = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]], np.float64)
    draw_path(canvas, corners, colour, max(1, round(max(canvas.shape[:2]) / 400)))
