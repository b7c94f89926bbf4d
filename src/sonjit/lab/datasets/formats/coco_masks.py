"""Masks and results of COCO's format: run lengths, plain or packed into text, and polygons.

Source: https://cocodataset.org/#format-data. Runs follow the columns and begin with the number of background pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NotRequired, TypedDict

import numpy as np

from sonjit._util.arrays import BoolArray
from sonjit._util.errors import InputError

_BITS, _CONTINUE, _SIGN, _ZERO_CODE = 5, 0x20, 0x10, 48  # of one character: its payload, two flags, the code of zero
_SHIFT = 4  # fractional bits of OpenCV's polygon corners


def mask_from_segmentation(segmentation: object, height: int, width: int) -> BoolArray:
    """Return the mask of an annotation.

    Args:
        segmentation: Run lengths `{"size": [h, w], "counts": [...] or text}`, or a list of polygons `[x, y, x, y, ...]`
            in pixels.
        height: Height of the image.
        width: Width of the image.

    Returns:
        Mask (height, width).

    Raises:
        InputError: The segmentation is of neither form or of another size.

    >>> mask_from_segmentation({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3).astype(int)
    array([[0, 1, 0],
           [1, 0, 0]])
    >>> mask_from_segmentation([[1, 0, 3, 0, 3, 2, 1, 2]], 3, 4).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    if isinstance(segmentation, Mapping):
        return _mask_from_rle(segmentation, height, width)
    if isinstance(segmentation, Sequence) and not isinstance(segmentation, str):
        return _mask_from_polygons(segmentation, height, width)
    raise InputError(f"a segmentation is run lengths or a list of polygons, not {type(segmentation).__name__}")


class RunLengths(TypedDict):
    """Mask as packed run lengths; the size is height, width."""

    size: list[int]
    counts: str


class CocoResult(TypedDict):
    """Record of COCO's results format; the box is x, y, width, height in pixels."""

    image_id: int
    category_id: int
    bbox: list[float]
    score: float
    segmentation: NotRequired[RunLengths]


def rle_from_mask(mask: BoolArray) -> RunLengths:
    """Return a mask (H, W) as packed run lengths.

    >>> rle_from_mask(np.array([[False, True, False], [True, False, False]]))
    {'size': [2, 3], 'counts': '123'}
    """
    runs = _runs(mask.T.ravel())
    text: list[str] = []
    for index, run in enumerate(runs):
        left = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            part = left & 0x1F
            left >>= _BITS
            more = left != (-1 if part & _SIGN else 0)
            text.append(chr((part | (_CONTINUE if more else 0)) + _ZERO_CODE))
    return {"size": [mask.shape[0], mask.shape[1]], "counts": "".join(text)}


def coco_result(
    image_id: int, category_id: int, box: Sequence[float], score: float, mask: BoolArray | None = None
) -> CocoResult:
    """Return a record of COCO's results format.

    Args:
        image_id: Image id in the data set.
        category_id: Category id in the data set.
        box: x_min, y_min, x_max, y_max in pixels.
        score: Score, 0 to 1.
        mask: Mask (H, W) of the image.

    >>> coco_result(3, 1, (10, 20, 14.5, 26), 0.75)
    {'image_id': 3, 'category_id': 1, 'bbox': [10, 20, 4.5, 6], 'score': 0.75}
    """
    x_min, y_min, x_max, y_max = (round(edge, 2) for edge in box)
    bbox = [x_min, y_min, round(x_max - x_min, 2), round(y_max - y_min, 2)]
    record: CocoResult = {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": round(score, 5)}
    if mask is not None:
        record["segmentation"] = rle_from_mask(mask)
    return record


def _runs(column_major: BoolArray) -> list[int]:
    changes = np.flatnonzero(np.diff(column_major)) + 1
    edges = [0, *([0] if column_major.size and column_major[0] else []), *changes.tolist(), column_major.size]
    return [end - start for start, end in pairwise(edges)]


def _mask_from_rle(rle: Mapping[Any, Any], height: int, width: int) -> BoolArray:
    counts = rle.get("counts")
    if rle.get("size") != [height, width]:
        raise InputError(f"a mask of size {rle.get('size')} does not fit an image of size {[height, width]}")
    runs = _unpack_runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        raise InputError("a mask's counts are a text or a list of whole numbers")
    if sum(runs) > height * width:
        raise InputError(f"a mask's counts add up to {sum(runs)} pixels and the image has {height * width}")
    flat = np.zeros(height * width, np.bool_)
    flat[: sum(runs)] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def _unpack_runs(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        part = ord(character) - _ZERO_CODE
        if not 0 <= part < 2 * _CONTINUE:
            raise InputError(f"a mask's counts contain {character!r}, which is not part of packed run lengths")
        value |= (part & 0x1F) << shift
        shift += _BITS
        if not part & _CONTINUE:
            value -= (1 << shift) if part & _SIGN else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _mask_from_polygons(polygons: Sequence[Any], height: int, width: int) -> BoolArray:
    """Fill the pixels with centres inside a polygon. OpenCV decides about those on its edge."""
    import cv2

    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        try:
            corners = np.asarray(polygon, np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            corners = np.zeros((0, 2))
        if len(corners) < 3 or not (np.abs(corners) < 1e6).all():
            raise InputError("a polygon is a list x, y, x, y, ... of at least three corners in pixels")
        # OpenCV's pixel centres are integers, and it fills the edge too: a small shift inwards keeps 2 of 2 pixels.
        middle = corners.mean(axis=0)
        inner = corners - 0.5 - np.sign(corners - middle) * 0.45
        cv2.fillPoly(mask, [np.round(inner * (1 << _SHIFT)).astype(np.int32)], 1, cv2.LINE_8, _SHIFT)
    return mask.astype(np.bool_)
