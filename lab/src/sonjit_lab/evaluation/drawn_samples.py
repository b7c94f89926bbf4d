"""Draw samples of an evaluation with their labels and predictions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonjit.media.drawing.instances import draw_tint
from sonjit.media.drawing.labels import draw_captions
from sonjit.media.drawing.strokes import Colour, draw_path
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import Sample, mask_from_segmentation
from sonjit_lab.evaluation import predictions

CASE_PX = 360  # side of a drawn case in pixels


_MARGIN = 0.4
_MIN_MASK_SCORE = 0.5
_TRUTH: Colour = (64, 200, 96)
_PREDICTION: Colour = (240, 80, 60)


def draw_case(
    sample: Sample, index: int, prediction: NDArray[np.float64] | None, *, only_labels: bool = False, bare: bool = False
) -> NDArray[np.uint8]:
    """Draw (CASE_PX, CASE_PX, 3) around an instance, -1 for all: labels in green, predictions (K, 2) in red.

    `only_labels`: crop around the labels only; `bare`: draw the image only.
    """
    import cv2

    shown = (sample.instances[index],) if index >= 0 else sample.instances if prediction is None else ()
    labels = [(item, item.labelled_px) for item in shown]
    clouds = [points for _, points in labels if points is not None]
    clouds += [] if prediction is None or only_labels else [prediction]
    clouds += [np.reshape(item.box, (2, 2)) for item in shown if item.box is not None]
    around = np.concatenate(clouds or [np.array([[0, 0], [sample.width, sample.height]])])
    around = around[np.isfinite(around).all(1)]
    low, high = around.min(0), around.max(0)
    side = max(float((high - low).max()) * (1 + 2 * _MARGIN), 32.0)
    scale, offset = CASE_PX / side, (low + high) / 2 - side / 2
    matrix = np.column_stack([np.eye(2) * scale, -offset * scale])
    cut = cv2.warpAffine(sample.rgb(), matrix, (CASE_PX, CASE_PX), flags=cv2.INTER_AREA)
    image = np.ascontiguousarray(cut, np.uint8)
    if bare:
        return image
    first = 0
    for label, points in labels:
        if points is None:
            if label.box is not None:
                _draw_box(image, (np.reshape(label.box, (2, 2)) - offset) * scale, _TRUTH)
            continue
        bones = load_skeleton(label.skeleton).connections if label.skeleton else ()
        _draw_bones(image, (points - offset) * scale, bones, _TRUTH)
        if prediction is not None and first + len(points) <= len(prediction):
            _draw_bones(image, (prediction[first : first + len(points)] - offset) * scale, bones, _PREDICTION)
        first += len(points)
    if prediction is not None and not first and np.isfinite(prediction).all():
        _draw_box(image, (np.stack([prediction.min(0), prediction.max(0)]) - offset) * scale, _PREDICTION)
    return image


def draw_image(sample: Sample, item: predictions.EvaluatedItem) -> NDArray[np.uint8]:
    """Draw all of an image: labelled boxes and masks, and predictions with a confidence of at least 0.5."""
    import cv2

    rgb = sample.rgb()
    scale = 2 * CASE_PX / max(rgb.shape[:2])
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    canvas = np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    predicted = [record for record in item.records if "bbox" in record and "truth" not in record]
    shown = [record for record in predicted if record.get("score", 1.0) >= _MIN_MASK_SCORE]
    masks = [(mask, _TRUTH) for instance in sample.instances if (mask := instance.mask()) is not None]
    masks += [
        (mask_from_segmentation(record["segmentation"], *rgb.shape[:2]), _PREDICTION)
        for record in shown
        if "segmentation" in record
    ]
    for mask, colour in masks:
        draw_tint(canvas, mask.astype(np.float32), colour)
    for instance in sample.instances:
        if instance.box is not None:
            _draw_box(canvas, np.reshape(instance.box, (2, 2)) * scale, _TRUTH)
    for record in shown:
        x, y, width, height = record["bbox"]
        _draw_box(canvas, np.array([[x, y], [x + width, y + height]]) * scale, _PREDICTION)
    if names := [str(record["name"]) for record in shown if "name" in record]:
        draw_captions(canvas, names)
    return canvas


def _draw_box(canvas: NDArray[np.uint8], corners: NDArray[np.float64], colour: Colour) -> None:
    """Draw a box from its upper left and lower right corner."""
    (left, top), (right, bottom) = corners.tolist()
    points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    _draw_bones(canvas, points, ((0, 1), (1, 2), (2, 3), (3, 0)), colour)


def _draw_bones(
    canvas: NDArray[np.uint8], points: NDArray[np.float64], bones: Sequence[tuple[int, int]], colour: Colour
) -> None:
    for start, end in bones:
        pair = points[[start, end]]
        if np.isfinite(pair).all() and (np.abs(pair) < 4 * CASE_PX).all():
            draw_path(canvas, pair, colour, 2)
