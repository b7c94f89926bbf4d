"""Evaluate classes and boxes as ILSVRC does, and instances, people's keypoints and palms as COCO does.

Each part of a person, as in COCO-WholeBody, is evaluated over all people with its own sigmas and the area of its
person. A palm is the square around seven keypoints, as in the detector's training. Hands whose palm is unlabelled or
crosses the image's edge do not count. Sources: https://cocodataset.org/#keypoints-eval; Jin et al. 2020, Whole-Body
Human Pose Estimation in the Wild.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError, unknown_name
from sonjit.detectors.kinds import KINDS, make_options
from sonjit.detectors.kinds.hands import PALM_KEYPOINTS, load_palm_detector, palm_squares
from sonjit.results import Box
from sonjit.results.skeletons import load_skeleton
from sonjit_lab import metrics
from sonjit_lab.datasets import Instance, Sample, rle_from_mask
from sonjit_lab.datasets.coco import Record
from sonjit_lab.evaluation import landmarks, protocols
from sonjit_lab.evaluation.metrics import Metric, MetricSummary, column
from sonjit_lab.evaluation.predictions import EvaluatedItem, Mode, Model, Prediction, in_known_order
from sonjit_lab.metrics import box_iou, coco_precision

_TOPS = (1, 5)
_OVERLAP = 0.5
_BODY: Final = 17
_WHOLE_BODY = "wholebody"
_STATS: Final = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR")
_PERSON = 1
PALM_MODELS = ("palm-full", "palm-lite")
_PALM = 1
_MIN_PALM_SCORE = 0.02  # minimum score of a palm, so low that average precision sees nearly all of the curve


class PersonPart(NamedTuple):
    """Part of a person: kind and side of its instances, their skeleton, the selected keypoints and their sigmas."""

    kind: str
    side: str | None
    skeleton: str
    chosen: slice
    sigmas: tuple[float, ...]


PARTS: Final = {
    "body": PersonPart("body", None, "body_coco17", slice(None), metrics.COCO_SIGMAS),
    "foot": PersonPart("body", None, "body_coco23", slice(_BODY, None), metrics.FOOT_SIGMAS),
    "face": PersonPart("face", None, "face_300w68", slice(None), metrics.FACE_SIGMAS),
    "lefthand": PersonPart("hand", "Left", "hand_mediapipe21", slice(None), metrics.HAND_SIGMAS),
    "righthand": PersonPart("hand", "Right", "hand_mediapipe21", slice(None), metrics.HAND_SIGMAS),
}
"""Parts in the order of COCO-WholeBody's 133 keypoints."""
_HAND: Final = PersonPart("hand", None, "hand_mediapipe21", slice(None), metrics.HAND_SIGMAS)
_ALL_PARTS: Final = {**PARTS, "hand": _HAND}


class LocalizationEvaluator:
    """Evaluator of the classes of images, best first, with a box for each."""

    def __init__(self, protocol: protocols.Protocol) -> None:
        self.main = protocol.main
        self._last = np.array((0, 0, 1, 1) if protocol.last_pixels else (0, 0, 0, 0))

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the errors of the image in per cent, 0 or 100, if its class is known."""
        labels = {instance.category_id for instance in sample.instances if instance.category_id is not None}
        if not labels:
            return []
        boxes = [(item.category_id, tuple(item.box + self._last)) for item in sample.instances if item.box is not None]
        best = sorted(predictions, key=lambda prediction: -prediction.score)
        classes = list(dict.fromkeys(prediction.category_id for prediction in best))  # several boxes of one count once
        overlapping = [
            {label for label, box in boxes if item.box is not None and box_iou(item.box, box) >= _OVERLAP}
            for item in best
        ]
        numbers: dict[str, float] = {}
        for top in _TOPS:
            named = not labels.isdisjoint(classes[:top])
            placed = any(
                item.category_id in class_ids for item, class_ids in zip(best[:top], overlapping, strict=False)
            )
            numbers[f"classification_error_{top}"] = 100 * float(not named)
            numbers[f"localization_error_{top}"] = 100 * float(not placed) if boxes else math.nan
        numbers["localization_error_any"] = 100 * float(not any(overlapping[:1])) if boxes else math.nan
        first = [(item.box, item.category or str(item.category_id)) for item in best[:1]]
        drawn = [{"bbox": corner_and_size(box), "name": name} for box, name in first if box is not None]
        return [EvaluatedItem(numbers=numbers, records=drawn)]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return the errors of the first and of the first five predictions."""
        summary = MetricSummary(values=column(evaluated, self.main).tolist())
        for task in ("localization", "classification"):
            for top in _TOPS:
                name = f"{task}_error_{top}"
                summary.add(name, f"{task} error, top {top}", column(evaluated, name), "%", clusters)
        title, name = "localization error of the first box, whatever its class", "localization_error_any"
        summary.add(name, title, column(evaluated, name), "%", clusters)
        return summary


def corner_and_size(box: Box) -> list[float]:
    """Return a box in COCO's form: x, y, width, height."""
    x_min, y_min, x_max, y_max = box
    return [x_min, y_min, x_max - x_min, y_max - y_min]


def _numbered_images(evaluated: Sequence[EvaluatedItem]) -> tuple[list[Record], list[Record]]:
    """Return the images and all other records of evaluated images, each image with a number of its own.

    The numbers keep the order of the ids, which decides between equal scores in COCO's evaluation.
    """
    ids = [item.records[0]["id"] or 0 for item in evaluated]
    order = sorted(range(len(ids)), key=lambda index: (isinstance(ids[index], str), ids[index]))
    numbers = {index: number for number, index in enumerate(order, 1)}
    images = [dict(item.records[0]) | {"id": numbers[index]} for index, item in enumerate(evaluated)]
    records = [
        dict(record) | {"image_id": numbers[index]}
        for index, item in enumerate(evaluated)
        for record in item.records[1:]
    ]
    return images, records


def _annotations(
    images: Sequence[Record], records: Sequence[Record], labelled: Sequence[int] = ()
) -> tuple[Record, list[Record]]:
    """Return the labels among records in COCO's format, and the results. All ids of categories are known."""
    truth = [record | {"id": number} for number, record in enumerate((r for r in records if "truth" in r), 1)]
    results = [record for record in records if "truth" not in record]
    ids = sorted({*labelled, *(record["category_id"] for record in (*truth, *results))})
    categories = [{"id": item, "name": str(item)} for item in ids]
    return {"images": list(images), "annotations": truth, "categories": categories}, results


def instance_result(prediction: Prediction) -> Record:
    """Return a prediction as a result of COCO without its image; without a box, COCO takes it from the mask."""
    record: Record = {"category_id": prediction.category_id, "score": prediction.score}
    if prediction.box is not None and not prediction.box_of_mask:
        record["bbox"] = corner_and_size(prediction.box)
    return record if prediction.mask is None else record | {"segmentation": rle_from_mask(prediction.mask)}


class InstanceEvaluator:
    """Evaluator of boxes and masks by COCO's average precision over all images."""

    main = "mask_ap"
    image_stat = "AP"  # statistic of each image's own value

    def __init__(self, protocol: protocols.Protocol) -> None: ...

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the image as COCO records; those of the truth are marked."""
        numbers = {item.category: item.category_id for item in sample.instances if item.category_id is not None}
        for prediction in predictions:
            if prediction.category_id is None:
                raise InputError(f"{sample.id}: a prediction has no category_id")
            category_id = numbers.get(prediction.category, prediction.category_id)
            if prediction.category is not None and category_id != prediction.category_id:
                raise InputError(
                    f"{sample.id}: category {prediction.category} has the id {category_id} in the data set and "
                    f"{prediction.category_id} in the model; use the same ids"
                )
            if prediction.box is None and prediction.mask is None:
                raise InputError(f"{sample.id}: a prediction has neither box nor mask")
        records: list[Record] = [{"id": sample.image_id, "width": sample.width, "height": sample.height}]
        for instance in sample.instances:
            if instance.category_id is None or (instance.box is None and instance.area_px2 is None):
                continue
            mask, area = instance.mask(), instance.area_px2
            # COCO counts an object whose box has no extent. No result finds it.
            box = corner_and_size(instance.box or (0.0, 0.0, 0.0, 0.0))
            if area is None:
                area = box[2] * box[3] if mask is None else float(mask.sum())
            record: Record = {
                "truth": True,
                "category_id": instance.category_id,
                "bbox": box,
                "area": area,
                "iscrowd": int(instance.crowd),
            }
            records.append(record if mask is None else record | {"segmentation": rle_from_mask(mask)})
        records += map(instance_result, predictions)
        return [EvaluatedItem(records=records)]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return AP and AR of boxes and, if there are any, of masks."""
        del clusters  # average precision is of all images at once: it has no interval here
        images, records = _numbered_images(evaluated)
        data, results = _annotations(images, records)
        truth = data["annotations"]
        kinds = [("box", "bbox")]
        if all(any("segmentation" in record for record in some) for some in (truth, results)):
            kinds.insert(0, ("mask", "segm"))
        summary = MetricSummary()
        for image in images:  # computed per image to find the worst ones
            image_truth = [record for record in truth if record["image_id"] == image["id"]]
            image_results = [record for record in results if record["image_id"] == image["id"]]
            image_data = data | {"images": [image], "annotations": image_truth}
            stats = coco_precision(image_data, image_results, kinds[0][1]).stats if image_truth else {}  # pyright: ignore[reportArgumentType]
            summary.values.append(100 * stats.get(self.image_stat, math.nan))
        for name, kind in kinds:
            stats = coco_precision(data, results, kind).stats  # pyright: ignore[reportArgumentType]
            summary.metrics += [
                Metric(f"{name}_{key.lower()}", f"{name} {key}", 100 * value, "%", "higher", counted=len(truth))
                for key, value in stats.items()
            ]
        return summary


class KeypointEvaluator:
    """Evaluator of keypoints by average precision over all images, of people's body and `parts`, or of each hand."""

    def __init__(self, protocol: protocols.Protocol) -> None:
        part_names = (*_ALL_PARTS, _WHOLE_BODY)
        if unknown := set(protocol.parts) - set(part_names):
            raise InputError(f"{protocol.name}: {unknown_name('part', min(unknown), part_names)}")
        self._parts = ("hand",) if "hand" in protocol.parts else ("body", *protocol.parts)
        self.main = protocol.main

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the image as COCO records of each part; those of the truth are marked."""
        if any(prediction.keypoints_px is None for prediction in predictions):
            raise InputError(f"{sample.id}: a prediction has no keypoints")
        records: list[Mapping[str, Any]] = [{"id": sample.image_id, "width": sample.width, "height": sample.height}]
        kind = _ALL_PARTS[self._parts[0]].kind
        kinds = {_ALL_PARTS[part].kind for part in self._parts if part != _WHOLE_BODY} | {kind}
        ordered = (in_known_order(item, sample) if item.kind in kinds else item for item in sample.instances)
        sample = replace(
            sample, instances=tuple(new or old for new, old in zip(ordered, sample.instances, strict=True))
        )
        for person in (instance for instance in sample.instances if instance.kind == kind):
            if kind == "hand":
                records += self._truth(person, [person])
                continue
            index = person.extra.get("person", -1)
            instances = [instance for instance in sample.instances if instance.extra.get("person") == index]
            records += self._truth(person, instances or [person])
        for part in self._parts:
            if part != _WHOLE_BODY:
                records += [_result(part, points, item) for item, points in _predicted_parts(part, predictions)]
        if _WHOLE_BODY in self._parts:
            records += _whole_body_results(predictions)
        return [EvaluatedItem(records=records)]

    def _truth(self, person: Instance, instances: Sequence[Instance]) -> Iterable[Record]:
        points = {part: _labelled(definition, instances) for part, definition in _ALL_PARTS.items()}
        points[_WHOLE_BODY] = np.concatenate([points[part] for part in PARTS])
        box = corner_and_size(person.box or person.bounds() or (0.0, 0.0, 0.0, 0.0))
        for part in self._parts:
            yield {
                "truth": True,
                "part": part,
                "category_id": _PERSON if person.category_id is None else person.category_id,
                "keypoints": points[part].ravel().tolist(),
                "num_keypoints": int((points[part][:, 2] > 0).sum()),
                "bbox": box,
                "area": box[2] * box[3] if person.area_px2 is None else person.area_px2,
                "iscrowd": int(person.crowd),
            }

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return AP and AR of each part. They have no interval because they are computed over all images at once."""
        images, records = _numbered_images(evaluated)
        summary = MetricSummary(values=[math.nan] * len(evaluated))
        for part in self._parts:
            part_records = [record for record in records if record["part"] == part]
            labelled = sorted({record["category_id"] for record in part_records if "truth" in record}) or [_PERSON]
            for record in part_records:  # results without a category get the first one of the labels
                if record["category_id"] is None:
                    record["category_id"] = labelled[0]
            data, results = _annotations(images, part_records, labelled)
            if not all("bbox" in result for result in results):
                results = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
            if part == self._parts[0] and not data["annotations"]:
                what, other = ("hand", "coco-keypoints") if part == "hand" else ("body", "coco-hand-keypoints")
                raise InputError(f"the data set has no {what}; evaluate it with --protocol {other}")
            stats = coco_precision(data, results, "keypoints", sigmas=part_sigmas(part)).stats
            counted = sum(label["num_keypoints"] > 0 and not label["iscrowd"] for label in data["annotations"])
            for key in _STATS if part == self._parts[0] else ("AP", "AP50", "AP75", "AR"):
                name, title = f"{part}_{key.lower()}", f"{part} {key.replace('_', ', ')}"
                summary.metrics.append(Metric(name, title, 100 * stats[key], "%", "higher", counted=counted))
        return summary


def part_sigmas(part: str) -> tuple[float, ...]:
    """Return the sigmas of a part's keypoints; `wholebody` consists of all parts."""
    if part == _WHOLE_BODY:
        return tuple(sigma for definition in PARTS.values() for sigma in definition.sigmas)
    return _ALL_PARTS[part].sigmas


def _labelled(definition: PersonPart, instances: Sequence[Instance]) -> NDArray[np.float64]:
    """Return a person's keypoints of a part (K, 3) in COCO's form: x, y, flag; zeros where unlabelled."""
    result = np.zeros((len(definition.sigmas), 3))
    names = load_skeleton(definition.skeleton).keypoints
    for instance in instances:
        indices, labelled_px = instance.keypoint_indices(names), instance.labelled_px
        if indices is None or labelled_px is None:
            continue
        if instance.kind == definition.kind and definition.side in (None, instance.side):
            points = labelled_px[indices][definition.chosen]
            labelled = np.isfinite(points).all(1)
            result[labelled] = np.column_stack([points[labelled], np.full(labelled.sum(), 2.0)])
    return result


def _any_visible(prediction: Prediction) -> bool:
    return prediction.visible is None or bool(prediction.visible.any())


def _predicted_parts(
    part: str, predictions: Iterable[Prediction], *, hidden: bool = False
) -> list[tuple[Prediction, NDArray[np.float64]]]:
    """Return each prediction of a part with keypoints (K, 3): x, y, flag, 0 if absent; hidden ones if `hidden`."""
    definition = _ALL_PARTS[part]
    part_predictions: list[tuple[Prediction, NDArray[np.float64]]] = []
    for prediction in predictions:
        if not landmarks.is_of(prediction, definition.kind) or {prediction.side, definition.side} == {"Left", "Right"}:
            continue
        if not hidden and prediction.person is not None and not _any_visible(prediction):
            continue
        ordered = np.asarray(landmarks.reorder_keypoints(prediction, definition.skeleton).keypoints_px, np.float64)
        points = ordered[definition.chosen, :2]
        finite = np.isfinite(points).all(1, keepdims=True)
        if finite.any():
            flags = np.where(finite, 2.0, 0.0)
            part_predictions.append((prediction, np.concatenate([np.where(finite, points, 0.0), flags], axis=1)))
    return part_predictions


def _result(part: str, points: NDArray[np.float64], prediction: Prediction) -> Record:
    """Return a record of COCO's results format.

    COCO takes areas from the results' boxes, if they have any. Predictions without a category are of no such file.
    """
    result: Record = {
        "part": part,
        "category_id": prediction.category_id,
        "keypoints": points.ravel().tolist(),
        "score": prediction.score,
    }
    if prediction.category_id is not None and prediction.box is not None:
        result["bbox"] = corner_and_size(prediction.box)
    return result


def _whole_body_results(predictions: Sequence[Prediction]) -> Iterable[Record]:
    """Yield all parts of each person as one result, with the score of the body or else of the best part."""
    for person in sorted({prediction.person for prediction in predictions if prediction.person is not None}):
        person_predictions = [prediction for prediction in predictions if prediction.person == person]
        by_part = {part: _predicted_parts(part, person_predictions, hidden=True)[:1] for part in PARTS}
        predicted = [value[0][0] for value in by_part.values() if value]
        if not any(map(_any_visible, predicted)):
            continue
        points = [item[0][1] if item else np.zeros((len(PARTS[part].sigmas), 3)) for part, item in by_part.items()]
        best = by_part["body"][0][0] if by_part["body"] else max(predicted, key=lambda item: item.score)
        result = _result(_WHOLE_BODY, np.concatenate(points), best)
        yield result if best.person_score is None else result | {"score": best.person_score}


class PalmModel(Model):
    """Palm detector on full images, `palm-full` or `palm-lite`, or the exported network of `weights`."""

    modes = ("reacquisition",)

    def __init__(self, name: str, weights: str | None, models_dir: str | None, device: str | None) -> None:
        values = {"model": name.partition("-")[2], "models_dir": models_dir, "device": device, "search": "fast"}
        options = make_options(KINDS["hands"], values)
        self._palms = load_palm_detector(options, name, None if weights is None else Path(weights))

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        palms = [(palm, palm.box.tolist()) for palm in self._palms.find(rgb, _MIN_PALM_SCORE)]
        return [
            Prediction(category_id=_PALM, score=palm.score, box=(box[0], box[1], box[2], box[3])) for palm, box in palms
        ]


class PalmEvaluator(InstanceEvaluator):
    """Evaluator of palm boxes by average precision over all images, including those without a hand."""

    main = "ap"
    image_stat = "AP50"

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the image as COCO records of palms."""
        hands = tuple(_palm(instance, sample) for instance in sample.instances if instance.kind == "hand")
        return super().evaluate(replace(sample, instances=hands), predictions)

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return AP at an IoU of 0.5, as in the paper, and the mean over 0.5 to 0.95."""
        summary = super().summary(evaluated, clusters)
        named = {metric.name: metric for metric in summary.metrics}
        summary.metrics = [
            replace(named["box_ap50"], name="ap", title="AP at an IoU of 0.5"),
            replace(named["box_ap"], name="ap_strict", title="AP, mean over IoU 0.5 to 0.95"),
            replace(named["box_ar100"], name="ar", title="AR"),
        ]
        return summary


def _palm(instance: Instance, sample: Sample) -> Instance:
    """Return a hand as its palm, or as a crowd, which does not count, if the palm is unknown or cut."""
    indices = instance.keypoint_indices(PALM_KEYPOINTS)
    points = None if indices is None or instance.keypoints_px is None else instance.keypoints_px[indices]
    if points is not None and np.isfinite(points).all():
        cx, cy, side, _ = palm_squares(points[None])[0].tolist()
        box = (cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2)
        inside = 0 < cx < sample.width and 0 < cy < sample.height
        return replace(instance, category_id=_PALM, box=box, area_px2=side * side, crowd=not inside, read_mask=None)
    box = instance.bounds() or (0.0, 0.0, float(sample.width), float(sample.height))
    return replace(instance, category_id=_PALM, box=box, area_px2=None, crowd=True, read_mask=None)
