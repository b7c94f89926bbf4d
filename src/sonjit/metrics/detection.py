"""COCO's object keypoint similarity, and average precision of boxes, masks and keypoints by faster-coco-eval.

The numbers are those of pycocotools; NaN is given where it gives -1, which is where nothing is annotated.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit.errors import InputError
from sonjit.extras import needed_for
from sonjit.metrics.statistics import numbers
from sonjit.results import Box

COCO_SIGMAS: Final = tuple(
    round(sigma / 1000, 3) for sigma in (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)
)
"""How far annotators differ on each of COCO's 17 body keypoints, in parts of the object's scale."""
HAND_SIGMAS: Final = tuple(
    round(sigma / 1000, 3)
    for sigma in (29, 22, 35, 37, 47, 26, 25, 24, 35, 18, 24, 22, 26, 17, 21, 21, 32, 20, 19, 22, 31)
)
"""The same for the 21 keypoints of COCO-WholeBody's hands."""
FOOT_SIGMAS: Final = tuple(round(sigma / 1000, 3) for sigma in (68, 66, 66, 92, 94, 94))
"""The same for the 6 keypoints of its feet."""
FACE_SIGMAS: Final = tuple(
    round(sigma / 1000, 3)
    for sigma in (
        42, 43, 44, 43, 40, 35, 31, 25, 20, 23, 29, 32, 37, 38, 43, 41, 45, 13, 12, 11, 11, 12, 12, 11, 11, 13, 15,
        9, 7, 7, 7, 12, 9, 8, 16, 10, 17, 11, 9, 11, 9, 7, 13, 8, 11, 12, 10, 34, 8, 8, 9, 8, 8, 7, 10, 8, 9, 9, 9, 7,
        7, 8, 11, 8, 8, 8, 10, 8,
    )
)  # fmt: skip
"""The same for the 68 keypoints of its faces."""
_OF_BOXES: Final = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip
_OF_KEYPOINTS: Final = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")


class CocoPrecision(NamedTuple):
    """COCO's summary.

    Attributes:
        stats: AP and AR by their names in COCO's table, 0..1; NaN where nothing is annotated.
        ap50_per_category: AP at 0.5 by category id.
    """

    stats: dict[str, float]
    ap50_per_category: dict[int, float]


def object_keypoint_similarity(
    predicted: ArrayLike,
    truth: ArrayLike,
    labelled: ArrayLike,
    *,
    area: float,
    box: Box,
    sigmas: Sequence[float] = COCO_SIGMAS,
) -> float:
    """OKS of one instance, 0..1.

    Args:
        predicted: (K, 2) pixels.
        truth: (K, 2) pixels.
        labelled: (K,) above 0 where a keypoint is annotated; without any, it is measured how far the prediction lies
            outside of twice the box.
        area: of the object in square pixels.
        box: of the truth: x_min, y_min, x_max, y_max in pixels.
        sigmas: K of them.

    Source: https://cocodataset.org/#keypoints-eval and the reference implementation.
    """
    prediction, true, there = (
        numbers("predicted", predicted),
        numbers("truth", truth),
        numbers("labelled", labelled) > 0,
    )
    if not prediction.shape == true.shape == (len(sigmas), 2) or there.shape != (len(sigmas),):
        raise InputError(
            f"keypoints {prediction.shape}, {true.shape}, {there.shape}: give {len(sigmas)}, one per sigma"
        )
    apart = prediction - true
    if not there.any():
        corners = np.array(box, np.float64).reshape(2, 2)
        size = corners[1] - corners[0]
        apart = np.maximum(0, corners[0] - size - prediction) + np.maximum(0, prediction - corners[1] - size)
        there = np.ones(len(sigmas), np.bool_)
    spread = 2 * np.square(2 * np.array(sigmas)) * (area + np.spacing(1.0))
    similar = np.exp(-np.square(apart).sum(1) / spread)
    return float(np.where(np.isnan(similar), 0.0, similar)[there].mean())


def coco_precision(
    truth: Path | Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    kind: Literal["bbox", "segm", "keypoints"],
    *,
    sigmas: Sequence[float] | None = None,
    image_ids: Collection[int] | None = None,
) -> CocoPrecision:
    """Average precision and recall of results in COCO's format.

    Args:
        truth: annotations in COCO's format, or the JSON file that holds them.
        results: as in COCO's results format; none is fine.
        kind: what is compared.
        sigmas: of keypoints; COCO's 17 by default.
        image_ids: of the images to evaluate; all by default.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
        InputError: results of images that the annotations do not have, or of another form.
    """
    with needed_for("COCO's average precision"):
        from faster_coco_eval import COCO, COCOeval_faster
    data = _restricted(_read(truth) if isinstance(truth, Path) else truth, image_ids)
    known = {one["id"] for one in data["images"]}
    unknown = [one.get("image_id") for one in results if one.get("image_id") not in known]
    if unknown:
        raise InputError(f"results for image {unknown[0]!r}, which the annotations do not have")
    categories = sorted(one["id"] for one in data["categories"])
    names = _OF_KEYPOINTS if kind == "keypoints" else _OF_BOXES
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            gold = COCO(data)
            # An empty list of results cannot be loaded; a data set without annotations says the same.
            found = gold.loadRes([dict(one) for one in results]) if results else COCO({**data, "annotations": []})
            evaluated = COCOeval_faster(gold, found, kind, kpt_oks_sigmas=list(sigmas or COCO_SIGMAS))
            evaluated.run()
        except (KeyError, ValueError, TypeError, AssertionError) as error:
            raise InputError(f"COCO's evaluation of {kind} cannot read this: {error!r}") from None
    by_category = evaluated.eval["precision"][0, :, :, 0, -1]  # (R, C) at 0.5, all sizes, most detections
    return CocoPrecision(
        {name: _or_nan(value) for name, value in zip(names, evaluated.stats, strict=False)},
        {one: _mean(by_category[:, column]) for column, one in enumerate(categories)},
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from None


def _restricted(data: Mapping[str, Any], image_ids: Collection[int] | None) -> dict[str, Any]:
    absent = [key for key in ("images", "annotations", "categories") if not isinstance(data.get(key), list)]
    if absent:
        raise InputError(f"annotations have no list {absent[0]!r}; give COCO's format")
    if image_ids is None:
        return dict(data)
    wanted = set(image_ids)
    return {
        **data,
        "images": [one for one in data["images"] if one["id"] in wanted],
        "annotations": [one for one in data["annotations"] if one["image_id"] in wanted],
    }


def _or_nan(value: float) -> float:
    return float("nan") if value < 0 else float(value)


def _mean(precision: NDArray[np.floating]) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float("nan")
