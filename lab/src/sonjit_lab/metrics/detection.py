"""Compute object keypoint similarity, COCO's average precision, and errors of classes and their location.

faster-coco-eval computes average precision, with the numbers of pycocotools, except that NaN replaces its -1: nothing
is annotated. Sources: Zhou et al. 2016, Learning Deep Features for Discriminative Localization, sections 3.2 and 3.3;
Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge, section 4.
"""

import contextlib
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sonjit._util import InputError, RealArray, data_files
from sonjit.explanations.maps import box_from_map, boxes_from_maps
from sonjit.geometry.boxes import Box, box_iou
from sonjit_lab.metrics.statistics import mean_without_nan, numbers

__all__ = [
    "COCO_SIGMAS", "FACE_SIGMAS", "FOOT_SIGMAS", "HAND_SIGMAS", "box_from_map", "boxes_from_maps",
    "classification_error", "coco_precision", "localization_error", "object_keypoint_similarity",
]  # fmt: skip

COCO_SIGMAS: Final = tuple(
    round(sigma / 1000, 3) for sigma in (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)
)
"""Disagreement of annotators on each of COCO's 17 body keypoints, as a share of the object's scale."""
HAND_SIGMAS: Final = tuple(
    round(sigma / 1000, 3)
    for sigma in (29, 22, 35, 37, 47, 26, 25, 24, 35, 18, 24, 22, 26, 17, 21, 21, 32, 20, 19, 22, 31)
)
"""Disagreement of annotators on the 21 keypoints of COCO-WholeBody's hands."""
FOOT_SIGMAS: Final = tuple(round(sigma / 1000, 3) for sigma in (68, 66, 66, 92, 94, 94))
"""Disagreement of annotators on the 6 keypoints of COCO-WholeBody's feet."""
FACE_SIGMAS: Final = tuple(
    round(sigma / 1000, 3)
    for sigma in (
        42,
        43,
        44,
        43,
        40,
        35,
        31,
        25,
        20,
        23,
        29,
        32,
        37,
        38,
        43,
        41,
        45,
        13,
        12,
        11,
        11,
        12,
        12,
        11,
        11,
        13,
        15,
        9,
        7,
        7,
        7,
        12,
        9,
        8,
        16,
        10,
        17,
        11,
        9,
        11,
        9,
        7,
        13,
        8,
        11,
        12,
        10,
        34,
        8,
        8,
        9,
        8,
        8,
        7,
        10,
        8,
        9,
        9,
        9,
        7,
        7,
        8,
        11,
        8,
        8,
        8,
        10,
        8,
    )
)
"""Disagreement of annotators on the 68 keypoints of COCO-WholeBody's faces."""
_BOX_STATS: Final = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)
_KEYPOINT_STATS: Final = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")


class CocoPrecision(NamedTuple):
    """Summary of COCO's evaluation.

    Attributes:
        stats: AP and AR by their names in COCO's table, 0 to 1; NaN where nothing is annotated.
        ap50_per_category: AP at IoU 0.5 by category id.
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
    """Return the object keypoint similarity (OKS) of one instance, 0 to 1.

    Args:
        predicted: Predicted keypoints (K, 2) in pixels.
        truth: True keypoints (K, 2) in pixels.
        labelled: Flags (K,), above 0 where a keypoint is annotated. Without any, distances are measured from twice the
            true box.
        area: Area of the object in square pixels.
        box: True box as x_min, y_min, x_max, y_max in pixels.
        sigmas: Disagreement of annotators on each of the K keypoints.

    Source: https://cocodataset.org/#keypoints-eval and the reference implementation.
    """
    prediction = numbers("predicted", predicted)
    true = numbers("truth", truth)
    is_labelled = numbers("labelled", labelled) > 0
    if not prediction.shape == true.shape == (len(sigmas), 2) or is_labelled.shape != (len(sigmas),):
        raise InputError(f"keypoints {prediction.shape}, {true.shape}, {is_labelled.shape}: give {len(sigmas)}")
    if not (
        0 <= area < np.inf and all(sigma > 0 for sigma in sigmas) and np.isfinite(numbers("labelled", labelled)).all()
    ):
        raise InputError(f"area {area}: give a finite area, finite flags and sigmas above 0")
    if numbers("box", box).shape != (4,):
        raise InputError(f"box {list(box)}: give x_min, y_min, x_max, y_max")
    offsets = prediction - true
    if not is_labelled.any():
        corners = np.array(box, np.float64).reshape(2, 2)
        size = corners[1] - corners[0]
        offsets = np.maximum(0, corners[0] - size - prediction) + np.maximum(0, prediction - corners[1] - size)
        is_labelled = np.ones(len(sigmas), np.bool_)
    spread = 2 * np.square(2 * np.array(sigmas)) * (area + np.spacing(1.0))
    similar = np.exp(-np.square(offsets).sum(1) / spread)
    return float(np.where(np.isnan(similar), 0.0, similar)[is_labelled].mean())


def coco_precision(
    truth: Path | Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    kind: Literal["bbox", "segm", "keypoints"],
    *,
    sigmas: Sequence[float] | None = None,
    image_ids: Collection[int | str] | None = None,
) -> CocoPrecision:
    """Return average precision and recall of results in COCO's format.

    Args:
        truth: Annotations in COCO's format, or the JSON file with them.
        results: Records of COCO's results format; an empty list is valid.
        kind: Type of results to compare.
        sigmas: Disagreement of annotators on each keypoint; COCO's 17 by default.
        image_ids: Image ids to evaluate, numbers or texts; all by default.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
        InputError: A result has an image id that the annotations lack, or another form.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    data = _select_images(data_files.read_json(truth) if isinstance(truth, Path) else truth, image_ids)
    categories = sorted(category["id"] for category in data["categories"])
    _check_results(results, {image["id"] for image in data["images"]}, categories, kind)
    if any(isinstance(image["id"], str) for image in data["images"]):  # faster-coco-eval takes only numbers
        order = {key: number for number, key in enumerate(sorted((image["id"] for image in data["images"]), key=str))}
        data["images"] = [image | {"id": order[image["id"]]} for image in data["images"]]
        rows = data["annotations"], results
        data["annotations"], results = ([dict(row) | {"image_id": order[row["image_id"]]} for row in r] for r in rows)
    names = _KEYPOINT_STATS if kind == "keypoints" else _BOX_STATS
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            gold = COCO(data)
            # An empty list of results cannot be loaded. A data set without annotations has the same effect.
            detections = (
                gold.loadRes([dict(result) for result in results]) if results else COCO({**data, "annotations": []})
            )
            evaluated = COCOeval_faster(gold, detections, kind, kpt_oks_sigmas=list(sigmas or COCO_SIGMAS))
            evaluated.run()
        except (KeyError, ValueError, TypeError, AssertionError) as error:
            raise InputError(f"COCO's evaluation of {kind} cannot read this: {error!r}") from None
    precision = np.asarray(evaluated.eval["precision"])
    # (R, C) at 0.5, all sizes, most detections. Without annotations, the array is empty.
    columns = [int(category) for category in evaluated.params.catIds] if precision.size else []
    by_category = {
        category: mean_without_nan(np.where(precisions > -1, precisions, np.nan))
        for category, precisions in zip(
            columns, np.moveaxis(precision[0, :, :, 0, -1], 1, 0) if columns else (), strict=True
        )
    }
    return CocoPrecision(
        {
            name: float("nan") if value < 0 else float(value)
            for name, value in zip(names, evaluated.stats, strict=False)
        },
        {category: by_category.get(category, float("nan")) for category in categories},
    )


def _check_results(
    results: Sequence[Mapping[str, Any]], images: Collection[int | str], categories: Sequence[int], kind: str
) -> None:
    """Refuse results of an image that the annotations lack. Refuse results without any category of the annotations."""
    if unknown := [result.get("image_id") for result in results if result.get("image_id") not in images]:
        raise InputError(f"results for image {unknown[0]!r}, which the annotations do not have")
    _check_numbers("result", results)
    for name, types in (("image_id", (int, str)), ("category_id", (int,))):
        if wrong := [result.get(name) for result in results if type(result.get(name)) not in types]:
            raise InputError(f"results: {name} {wrong[0]!r}: COCO's evaluation of {kind} cannot read this")
    if results and not {result["category_id"] for result in results} & set(categories):
        raise InputError(
            f"results: no category_id is among the annotations' {', '.join(map(str, categories[:5]))}; "
            f"the first one is {results[0]['category_id']}"
        )


def _select_images(data: Mapping[str, Any], image_ids: Collection[int | str] | None) -> dict[str, Any]:
    keys = ("images", "annotations", "categories")
    absent = [key for key in keys if key not in data or not isinstance(data[key], list)]
    if absent:
        raise InputError(f"annotations have no list {absent[0]!r}; give COCO's format")
    for key in ("images", "annotations"):
        ids = [item.get("id") for item in data[key]]
        if len(set(ids)) < len(ids):
            raise InputError(f"{key}: two have one id")
    _check_numbers("annotation", data["annotations"])
    if image_ids is None:
        return dict(data)
    selected = set(image_ids)
    if unknown := selected - {image["id"] for image in data["images"]}:
        raise InputError(f"image_ids: the annotations have no image {min(map(str, unknown))}")
    return {
        **data,
        "images": [image for image in data["images"] if image["id"] in selected],
        "annotations": [annotation for annotation in data["annotations"] if annotation["image_id"] in selected],
    }


def _check_numbers(what: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Refuse boxes and scores that are not finite, and boxes of negative size."""
    for number, record in enumerate(records):
        box = numbers("bbox", record["bbox"]) if "bbox" in record else np.zeros(4)
        if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] < 0).any():
            raise InputError(f"{what} {number}: bbox {record['bbox']} is not x, y, width, height")
        if not np.isfinite(numbers("score", record.get("score", 0))).all():
            raise InputError(f"{what} {number}: score {record['score']} is not a finite number")


def classification_error(scores: RealArray, labels: Sequence[int], top: int = 1) -> float:
    """Return the share of images whose class is not among the `top` highest scores, 0 to 1.

    Args:
        scores: Scores (N, C).
        labels: Class indices of N images.
        top: Number of classes that count, 1 or 5 in the literature. With no more classes than that the error is 0. NaN
            is no prediction.

    Returns:
        Share of images; NaN without images.

    >>> import numpy as np
    >>> classification_error(np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]]), [1, 2])
    0.5
    """
    _check_top(top)
    scores, classes = numbers("scores", scores), numbers("labels", labels)
    if scores.ndim != 2 or classes.shape != scores.shape[:1]:
        raise InputError(f"scores {scores.shape} for labels {classes.shape}: give (N, C) and (N,), one per image")
    if not ((classes >= 0) & (classes < scores.shape[1]) & (classes == np.floor(classes))).all():
        raise InputError(f"labels: give class indices from 0 to {scores.shape[1] - 1}")
    if not len(scores):
        return float("nan")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]  # (N, top); NaN comes last
    predicted = ~np.isnan(np.take_along_axis(scores, best, 1))
    return 1 - float((predicted & (best == classes[:, None])).any(axis=1).mean())


def localization_error(
    predictions: Sequence[Sequence[tuple[int, Box | None]]],
    truth: Sequence[tuple[int, Sequence[Box]]],
    top: int = 1,
    *,
    overlap: float = 0.5,
) -> float:
    """Return the share of images without a prediction of the right class that overlaps a true box enough, 0 to 1.

    Args:
        predictions: Pairs of a class and a box for each image, best first. Only the first `top` count, and a prediction
            without box is wrong.
        truth: Class and boxes of each image.
        top: Number of predictions that count, 1 or 5.
        overlap: Minimum intersection over union.

    Returns:
        Share of images; NaN without images.

    >>> localization_error([[(0, (0, 0, 4, 4)), (1, (0, 0, 2, 4))]], [(1, [(0, 0, 2, 3)])], top=5)
    0.0
    """
    _check_top(top)
    if not 0 < overlap <= 1:
        raise InputError(f"overlap={overlap}: give a share above 0, at most 1")
    if len(predictions) != len(truth):
        raise InputError(f"predictions of {len(predictions)} images for {len(truth)} of truth: give as many")
    if not truth:
        return float("nan")
    for number, (_, boxes) in enumerate(truth):
        if not boxes:
            raise InputError(f"image {number}: the truth has no box; leave the image out")
        for box in boxes:
            corners = numbers("box", box)
            if corners.shape != (4,) or not (corners[2:] >= corners[:2]).all():
                raise InputError(f"image {number}: box {list(box)} is not x_min, y_min, x_max, y_max")
    hits = [
        any(
            kind == label and box is not None and box_iou(_floats(box), _floats(true)) >= overlap
            for kind, box in prediction[:top]
            for true in boxes
        )
        for prediction, (label, boxes) in zip(predictions, truth, strict=True)
    ]
    return 1 - sum(hits) / len(hits)


def _floats(box: Box) -> Box:
    """Return a box in floats: differences of unsigned integers would wrap around."""
    x_min, y_min, x_max, y_max = numbers("box", box).tolist()
    return x_min, y_min, x_max, y_max


def _check_top(top: int) -> None:
    if top < 1:
        raise InputError(f"top={top}: give 1 or more")
