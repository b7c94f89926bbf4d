"""Classes and where they are, as ILSVRC evaluates them; instances, as COCO does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from sonjit.datasets import coco_result, rle_from_mask
from sonjit.evaluation.metrics import Metric, MetricSummary, mean_metric
from sonjit.evaluation.predictions import EvaluatedItem
from sonjit.metrics import box_iou, coco_precision

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from sonjit.datasets import Sample
    from sonjit.evaluation.predictions import Prediction
    from sonjit.evaluation.protocols import Protocol
    from sonjit.results import Box

_TOPS = (1, 5)
_OVERLAP = 0.5


class LocalizationEvaluator:
    """Evaluates the classes of images, best first, and a box for each."""

    def __init__(self, protocol: Protocol) -> None:
        self.main = protocol.main

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """The image, where its class is known: in per cent, 0 is right and 100 wrong."""
        labels = {one.category_id for one in sample.instances if one.category_id is not None}
        if not labels:
            return []
        boxes = [(one.category_id, one.box) for one in sample.instances if one.box is not None]
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
            {"bbox": corner_and_size(one.box), "name": one.category or str(one.category_id)}
            for one in best[:1]
            if one.box is not None
        ]
        return [EvaluatedItem(numbers=numbers, records=drawn)]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Errors of the first and of the first five predictions."""
        summary = MetricSummary()
        names = {
            f"{what}_error_{top}": f"{what} error, top {top}"
            for what in ("localization", "classification")
            for top in _TOPS
        }
        names["localization_error_any"] = "localization error of the first box, whatever its class"
        for name, title in names.items():
            column = np.array([one.numbers[name] for one in evaluated], np.float64).reshape(-1, 1)
            summary.metrics.append(mean_metric(name, title, column, "%", clusters=clusters))
        summary.values = [one.numbers[self.main] for one in evaluated]
        return summary


def corner_and_size(box: Box) -> list[float]:
    """A box as COCO writes it: x, y, width, height."""
    x_min, y_min, x_max, y_max = box
    return [x_min, y_min, x_max - x_min, y_max - y_min]


def _overlaps(box: Box | None, true: Box) -> bool:
    return box is not None and box_iou(box, true) >= _OVERLAP


class InstanceEvaluator:
    """Evaluates boxes and masks by COCO's average precision, over all images at once."""

    main = "mask_ap"

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """The image, as COCO's records; those of the truth say so."""
        number = image_number(sample)
        records: list[Mapping[str, Any]] = [{"image": number, "width": sample.width, "height": sample.height}]
        for one in sample.instances:
            if one.category_id is None or one.box is None:
                continue
            mask = one.mask()
            x_min, y_min, x_max, y_max = one.box
            width, height = x_max - x_min, y_max - y_min
            area = one.area_px2 if one.area_px2 is not None else width * height if mask is None else float(mask.sum())
            record: dict[str, Any] = {
                "truth": True,
                "image_id": number,
                "category_id": one.category_id,
                "bbox": [x_min, y_min, width, height],
                "area": area,
                "iscrowd": int(one.crowd),
            }
            if mask is not None:
                record["segmentation"] = rle_from_mask(mask)
            records.append(record)
        records += [
            coco_result(number, prediction.category_id, prediction.box, prediction.score, prediction.mask)
            for prediction in predictions
            if prediction.category_id is not None and prediction.box is not None
        ]
        return [EvaluatedItem(records=records)]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """AP and AR of boxes and, where there are any, of masks."""
        del clusters  # average precision is of all images at once: it has no interval here
        images = [one.records[0] for one in evaluated]
        truth = [dict(record) for one in evaluated for record in one.records[1:] if "truth" in record]
        results = [record for one in evaluated for record in one.records[1:] if "truth" not in record]
        categories = sorted({record["category_id"] for record in truth})
        for number, record in enumerate(truth, 1):
            record["id"] = number
            del record["truth"]
        data = {
            "images": [{"id": one["image"], "width": one["width"], "height": one["height"]} for one in images],
            "annotations": truth,
            "categories": [{"id": one, "name": str(one)} for one in categories],
        }
        summary = MetricSummary()
        kinds = [("box", "bbox")]
        if any("segmentation" in one for one in truth) and any("segmentation" in one for one in results):
            kinds.insert(0, ("mask", "segm"))
        summary.values = [_precision_of(data, results, one["image"], kinds[0][1]) for one in images]
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
    """Average precision in one image alone, in per cent, to find the worst; NaN where nothing is labelled."""
    own = {"images": [one for one in data["images"] if one["id"] == image], "categories": data["categories"]}
    truth = [one for one in data["annotations"] if one["image_id"] == image]
    if not truth:
        return math.nan
    found = [one for one in results if one["image_id"] == image]
    stats = coco_precision({**own, "annotations": truth}, found, kind).stats  # pyright: ignore[reportArgumentType]
    return 100 * stats["AP"] if stats["AP"] >= 0 else math.nan


def image_number(sample: Sample) -> int:
    """An image's id: the number that its file is named, as COCO's are; else one made of its name."""
    stem = Path(sample.id).stem
    return int(stem) if stem.isdecimal() else crc32(sample.id.encode())
