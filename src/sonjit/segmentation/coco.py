"""Results in COCO's format, whose masks are packed run lengths.

Source: https://cocodataset.org/#format-results.
"""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np

from sonjit._util import BoolArray, optional_import


def mask_functions() -> Any:  # noqa: ANN401  # its types are partial
    """Return the functions of faster-coco-eval for masks."""
    with optional_import("masks in COCO's format", "eval"):
        from faster_coco_eval.core import mask
    return mask


class RunLengths(TypedDict):
    """Mask as packed run lengths; the size is height, width."""

    size: list[int]
    counts: str


class CocoResult(TypedDict):
    """Record of COCO's results format; the box is x, y, width, height in pixels."""

    image_id: int | str
    category_id: int
    bbox: list[float]
    score: float
    segmentation: NotRequired[RunLengths]


def rle_from_mask(mask: BoolArray) -> RunLengths:
    """Return a mask (H, W) as packed run lengths.

    >>> rle_from_mask(np.array([[False, True, False], [True, False, False]]))
    {'size': [2, 3], 'counts': '123'}
    """
    counts = mask_functions().encode(np.asfortranarray(mask, np.uint8))["counts"]
    return {"size": [mask.shape[0], mask.shape[1]], "counts": counts.decode()}


def coco_result(
    image_id: int | str, category_id: int, box: Sequence[float], score: float, mask: BoolArray | None = None
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
