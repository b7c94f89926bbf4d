"""Evaluate classes and their localization as ILSVRC does, and instances as COCO does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from sonjit._util.errors import InputError
from sonjit.lab.datasets import rle_from_mask
from sonjit.lab.evaluation.metrics import Metric, MetricSummary, mean_metric
from sonjit.lab.evaluation.predictions import EvaluatedItem
from sonjit.lab.metrics import box_iou, coco_precision

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from sonjit.lab.datasets import Sample
    from sonjit.lab.evaluation.predictions import Prediction
    from sonjit.lab.evaluation.protocols import Protocol
    from sonjit.results import Box

_TOPS = (1, 5)
_OVERLAP = 0.5


class LocalizationEvaluator:
    """Evaluator of the classes of images, best first, with a box for each."""

    def __init__(self, protocol: Protocol) -> None:
        self.main = protocol.main

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the errors of the image in per cent, 0 or 100, if its class is known."""
        labels = {instance.category_id for instance in sample.instances if instance.category_id is not None}
        if not labels:
            return []
        boxes = [(instance.category_id, instance.box) for instance in sample.instances if instance.box is not None]
        best = sorted(predictions, key=lambda prediction: -prediction.score)
        classes = list(dict.fromkeys(prediction.category_id for prediction in best))  # several boxes of one count once
        numbers: dict[str, float] = {}
        for top in _TOPS:
            named = not labels.isdisjoint(classes[:top])
            placed = any(
                prediction.category_id == label and _overlaps(prediction.box, box)
                for prediction in best[:top]
                for label, box in boxes
            )
            numbers[f"classification_error_{top}"] = 100 * float(not named)
            numbers[f"localization_error_{top}"] = 100 * float(not placed) if boxes else math.nan
        anywhere = any(_overlaps(prediction.box, box) for prediction in best[:1] for _, box in boxes)
        numbers["localization_error_any"] = 100 * float(not anywhere) if boxes else math.nan
        drawn = [
            {"bbox": corner_and_size(item.box), "name": item.category or str(item.category_id)}
            for item in best[:1]
            if item.box is not None
        ]
        return [EvaluatedItem(numbers=numbers, records=drawn)]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return the errors of the first and of the first five predictions."""
        summary = MetricSummary()
        names = {
            f"{task}_error_{top}": f"{task} error, top {top}"
            for task in ("localization", "classification")
            for top in _TOPS
        }
        names["localization_error_any"] = "localization error of the first box, whatever its class"
        for name, title in names.items():
            column = np.array([item.numbers[name] for item in evaluated], np.float64).reshape(-1, 1)
            summary.metrics.append(mean_metric(name, title, column, "%", clusters=clusters))
        summary.values = [item.numbers[self.main] for item in evaluated]
        return summary


def _result(number: int, prediction: Prediction) -> dict[str, Any]:
    """Return a record of COCO's results format. Without a box, COCO takes box and area from the mask."""
    result: dict[str, Any] = {
        "image_id": number,
        "category_id": prediction.category_id,
        "score": prediction.score,
    }
    if prediction.box is not None and not prediction.box_of_mask:
        result["bbox"] = corner_and_size(prediction.box)
    if prediction.mask is not None:
        result["segmentation"] = rle_from_mask(prediction.mask)
    return result


def numbered_images(evaluated: Sequence[EvaluatedItem]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the images and all other records of evaluated images, each image with a number of its own.

    Images in different folders may have one number. The order of their numbers decides between equal scores, as in
    COCO's evaluation, so the new numbers keep it.
    """
    order = sorted(range(len(evaluated)), key=lambda index: evaluated[index].records[0]["image"])
    numbers = {index: number for number, index in enumerate(order, 1)}
    images = [dict(item.records[0]) | {"image": numbers[index]} for index, item in enumerate(evaluated)]
    records = [
        dict(record) | {"image_id": numbers[index]}
        for index, item in enumerate(evaluated)
        for record in item.records[1:]
    ]
    return images, records


def corner_and_size(box: Box) -> list[float]:
    """Return a box in COCO's form: x, y, width, height."""
    x_min, y_min, x_max, y_max = box
    return [x_min, y_min, x_max - x_min, y_max - y_min]


def _overlaps(box: Box | None, true: Box) -> bool:
    return box is not None and box_iou(box, true) >= _OVERLAP


class InstanceEvaluator:
    """Evaluator of boxes and masks by COCO's average precision over all images."""

    main = "mask_ap"

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the image as COCO records; those of the truth are marked.

        Raises:
            InputError: A prediction has no category, one that the data set numbers differently, or neither box nor
                mask.
        """
        numbers = {item.category: item.category_id for item in sample.instances if item.category_id is not None}
        for prediction in predictions:
            if prediction.category_id is None:
                raise InputError(f"{sample.id}: a prediction has no category_id")
            own = numbers.get(prediction.category, prediction.category_id)
            if prediction.category is not None and own != prediction.category_id:
                raise InputError(
                    f"{sample.id}: category {prediction.category} has the id {own} in the data set and "
                    f"{prediction.category_id} in the model; use the same ids"
                )
            if prediction.box is None and prediction.mask is None:
                raise InputError(f"{sample.id}: a prediction has neither box nor mask")
        number = image_number(sample)
        records: list[Mapping[str, Any]] = [{"image": number, "width": sample.width, "height": sample.height}]
        for instance in sample.instances:
            if instance.category_id is None or (instance.box is None and instance.area_px2 is None):
                continue
            mask = instance.mask()
            # COCO counts an object whose box has no extent. No result finds it.
            x_min, y_min, x_max, y_max = instance.box or (0.0, 0.0, 0.0, 0.0)
            width, height = x_max - x_min, y_max - y_min
            area = (
                instance.area_px2
                if instance.area_px2 is not None
                else width * height
                if mask is None
                else float(mask.sum())
            )
            record: dict[str, Any] = {
                "truth": True,
                "image_id": number,
                "category_id": instance.category_id,
                "bbox": [x_min, y_min, width, height],
                "area": area,
                "iscrowd": int(instance.crowd),
            }
            if mask is not None:
                record["segmentation"] = rle_from_mask(mask)
            records.append(record)
        records += [_result(number, prediction) for prediction in predictions]
        return [EvaluatedItem(records=records)]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return AP and AR of boxes and, if there are any, of masks."""
        del clusters  # average precision is of all images at once: it has no interval here
        images, records = numbered_images(evaluated)
        truth = [dict(record) for record in records if "truth" in record]
        results = [record for record in records if "truth" not in record]
        categories = sorted({record["category_id"] for record in (*truth, *results)})
        for number, record in enumerate(truth, 1):
            record["id"] = number
            del record["truth"]
        data = {
            "images": [{"id": image["image"], "width": image["width"], "height": image["height"]} for image in images],
            "annotations": truth,
            "categories": [{"id": category, "name": str(category)} for category in categories],
        }
        summary = MetricSummary()
        kinds = [("box", "bbox")]
        if any("segmentation" in truth_record for truth_record in truth) and any(
            "segmentation" in result for result in results
        ):
            kinds.insert(0, ("mask", "segm"))
        summary.values = [_precision_of(data, results, image["image"], kinds[0][1]) for image in images]
        for name, kind in kinds:
            stats = coco_precision(data, results, kind).stats  # pyright: ignore[reportArgumentType]
            summary.metrics += [
                Metric(f"{name}_{key.lower()}", f"{name} {key}", 100 * value, "%", "higher", counted=len(truth))
                for key, value in stats.items()
            ]
        return summary


def _precision_of(
    data: Mapping[str, Sequence[Mapping[str, Any]]], results: Sequence[Mapping[str, Any]], image: int, kind: str
) -> float:
    """Return the average precision of one image in per cent, which finds the worst images; NaN without labels."""
    own = {"images": [item for item in data["images"] if item["id"] == image], "categories": data["categories"]}
    truth = [annotation for annotation in data["annotations"] if annotation["image_id"] == image]
    if not truth:
        return math.nan
    found = [result for result in results if result["image_id"] == image]
    stats = coco_precision({**own, "annotations": truth}, found, kind).stats  # pyright: ignore[reportArgumentType]
    return 100 * stats["AP"] if stats["AP"] >= 0 else math.nan


def image_number(sample: Sample) -> int:
    """Return an image's id: the number in its file name, as in COCO, or else a hash of the name."""
    stem = Path(sample.id).stem
    return int(stem) if stem.isdecimal() else crc32(sample.id.encode())
