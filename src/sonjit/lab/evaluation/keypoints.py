"""Evaluate keypoints of people by COCO's average precision: the body, and as in COCO-WholeBody feet, face and hands.

Each part is evaluated separately over all people, by object keypoint similarity with the part's own sigmas and the area
of its person. The whole body consists of all parts of one person. Unlabelled keypoints do not count.

Source: https://cocodataset.org/#keypoints-eval; Jin et al. 2020, Whole-Body Human Pose Estimation in the Wild.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit._util.errors import InputError, unknown_name
from sonjit.lab.evaluation.images import corner_and_size, image_number, numbered_images
from sonjit.lab.evaluation.landmarks import is_of, reorder_keypoints
from sonjit.lab.evaluation.metrics import Metric, MetricSummary
from sonjit.lab.evaluation.person_parts import PersonPart
from sonjit.lab.evaluation.predictions import EvaluatedItem
from sonjit.lab.metrics import COCO_SIGMAS, FACE_SIGMAS, FOOT_SIGMAS, HAND_SIGMAS, coco_precision

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.lab.datasets import Instance, Sample
    from sonjit.lab.evaluation.predictions import Prediction
    from sonjit.lab.evaluation.protocols import Protocol

_BODY: Final = 17


_WHOLE_BODY = "wholebody"
_STATS: Final = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR")
_PERSON = 1


_PARTS: Final = {
    "body": PersonPart("body", None, "body_coco17", slice(None), COCO_SIGMAS),
    "foot": PersonPart("body", None, "body_coco23", slice(_BODY, None), FOOT_SIGMAS),
    "face": PersonPart("face", None, "face_300w68", slice(None), FACE_SIGMAS),
    "lefthand": PersonPart("hand", "Left", "hand_mediapipe21", slice(None), HAND_SIGMAS),
    "righthand": PersonPart("hand", "Right", "hand_mediapipe21", slice(None), HAND_SIGMAS),
}
"""Parts in the order of COCO-WholeBody's 133 keypoints."""


class KeypointEvaluator:
    """Evaluator of people's keypoints by average precision over all images.

    Args:
        protocol: Protocol. `parts` are evaluated in addition to the body: any of foot, face, lefthand, righthand and
            wholebody.

    Raises:
        InputError: A part is unknown.
    """

    def __init__(self, protocol: Protocol) -> None:
        known = (*_PARTS, _WHOLE_BODY)
        if unknown := set(protocol.parts) - set(known):
            raise InputError(f"{protocol.name}: {unknown_name('part', min(unknown), known)}")
        self._parts = ("body", *protocol.parts)
        self.main = protocol.main

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the image as COCO records of each part; those of the truth are marked.

        Raises:
            InputError: A prediction has no keypoints.
        """
        if any(prediction.keypoints_px is None for prediction in predictions):
            raise InputError(f"{sample.id}: a prediction has no keypoints")
        number = image_number(sample)
        records: list[Mapping[str, Any]] = [{"image": number, "width": sample.width, "height": sample.height}]
        for person in (instance for instance in sample.instances if instance.kind == "body"):
            own = [
                instance
                for instance in sample.instances
                if instance.extra.get("person") == person.extra.get("person", -1)
            ]
            records += self._truth(number, person, own or [person])
        for part in self._parts:
            if part != _WHOLE_BODY:
                records += [_result(number, part, points, item) for item, points in _predicted_parts(part, predictions)]
        if _WHOLE_BODY in self._parts:
            records += _whole_body_results(number, predictions)
        return [EvaluatedItem(records=records)]

    def _truth(self, number: int, person: Instance, own: Sequence[Instance]) -> Iterable[dict[str, Any]]:
        points = {part: _labelled(definition, own) for part, definition in _PARTS.items()}
        points[_WHOLE_BODY] = np.concatenate(list(points.values()))
        x_min, y_min, x_max, y_max = person.box or person.bounds() or (0.0, 0.0, 0.0, 0.0)
        width, height = x_max - x_min, y_max - y_min
        for part in self._parts:
            yield {
                "truth": True,
                "part": part,
                "image_id": number,
                "category_id": _PERSON if person.category_id is None else person.category_id,
                "keypoints": points[part].ravel().tolist(),
                "num_keypoints": int((points[part][:, 2] > 0).sum()),
                "bbox": [x_min, y_min, width, height],
                "area": width * height if person.area_px2 is None else person.area_px2,
                "iscrowd": int(person.crowd),
            }

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return AP and AR of each part. They have no interval because they are computed over all images at once."""
        del clusters
        images, records = numbered_images(evaluated)
        summary = MetricSummary(values=[math.nan] * len(evaluated))
        for part in self._parts:
            own = [record for record in records if record["part"] == part]
            truth = [instance for instance in own if "truth" in instance]
            results = [instance for instance in own if "truth" not in instance]
            data = _coco_annotations(images, truth, results)
            if not all("bbox" in result for result in results):
                results = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
            stats = coco_precision(data, results, "keypoints", sigmas=part_sigmas(part)).stats
            labelled = sum(truth_record["num_keypoints"] > 0 and not truth_record["iscrowd"] for truth_record in truth)
            for key in _STATS if part == "body" else ("AP", "AP50", "AP75", "AR"):
                name, title = f"{part}_{key.lower()}", f"{part} {key.replace('_', ', ')}"
                summary.metrics.append(Metric(name, title, 100 * stats[key], "%", "higher", counted=labelled))
        return summary


def _coco_annotations(
    images: Sequence[Mapping[str, Any]], truth: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return labels in COCO's format. Results without a category get the first one of the labels."""
    labelled = sorted({record["category_id"] for record in truth}) or [_PERSON]
    for result in results:
        if result["category_id"] is None:
            result["category_id"] = labelled[0]
    categories = sorted({*labelled, *(result["category_id"] for result in results)})
    return {
        "images": [{"id": image["image"], "width": image["width"], "height": image["height"]} for image in images],
        "annotations": [record | {"id": number} for number, record in enumerate(truth, 1)],
        "categories": [{"id": category, "name": str(category)} for category in categories],
    }


def part_sigmas(part: str) -> tuple[float, ...]:
    """Return the sigmas of a part's keypoints; `wholebody` consists of all parts."""
    if part == _WHOLE_BODY:
        return tuple(sigma for definition in _PARTS.values() for sigma in definition.sigmas)
    return _PARTS[part].sigmas


def _labelled(definition: PersonPart, own: Sequence[Instance]) -> NDArray[np.float64]:
    """Return a person's keypoints of a part (K, 3) in COCO's form: x, y, flag; zeros where unlabelled."""
    result = np.zeros((len(definition.sigmas), 3))
    for instance in own:
        if instance.kind == definition.kind and instance.side == definition.side and instance.keypoints_px is not None:
            points = instance.keypoints_px[: _BODY if definition.skeleton == "body_coco17" else None][definition.chosen]
            if len(points) != len(result):
                continue
            known = np.isfinite(points).all(1)
            if instance.valid_px is not None:
                known &= instance.valid_px[: _BODY if definition.skeleton == "body_coco17" else None][definition.chosen]
            result[known] = np.column_stack([points[known], np.full(known.sum(), 2.0)])
    return result


def _any_visible(prediction: Prediction) -> bool:
    return prediction.visible is None or bool(prediction.visible.any())


def _predicted_parts(
    part: str, predictions: Iterable[Prediction], *, hidden: bool = False
) -> list[tuple[Prediction, NDArray[np.float64]]]:
    """Return each prediction of a part with its keypoints (K, 3) as x, y, flag: zeros where one is not predicted.

    Parts of people without a visible keypoint are returned only if `hidden`.
    """
    definition = _PARTS[part]
    found: list[tuple[Prediction, NDArray[np.float64]]] = []
    for prediction in predictions:
        if (
            not is_of(prediction, definition.kind)
            or prediction.side not in (None, definition.side)
            or prediction.keypoints_px is None
        ):
            continue
        if not hidden and prediction.person is not None and not _any_visible(prediction):
            continue
        points = np.asarray(reorder_keypoints(prediction, definition.skeleton).keypoints_px, np.float64)[
            definition.chosen, :2
        ]
        known = np.isfinite(points).all(1, keepdims=True)
        if known.any():
            flags = np.where(known, 2.0, 0.0)
            found.append((prediction, np.concatenate([np.where(known, points, 0.0), flags], axis=1)))
    return found


def _result(number: int, part: str, points: NDArray[np.float64], prediction: Prediction) -> dict[str, Any]:
    """Return a record of COCO's results format.

    COCO takes the area of a result from its box if the results have boxes, else from its keypoints. Predictions without
    a category are not from such a file, and their area is that of their keypoints.
    """
    result = {
        "part": part,
        "image_id": number,
        "category_id": prediction.category_id,
        "keypoints": points.ravel().tolist(),
        "score": prediction.score,
    }
    if prediction.category_id is not None and prediction.box is not None:
        result["bbox"] = corner_and_size(prediction.box)
    return result


def _whole_body_results(number: int, predictions: Sequence[Prediction]) -> Iterable[dict[str, Any]]:
    """Yield all parts of each person as one result, with the score of the body or else of the best part."""
    people = sorted({prediction.person for prediction in predictions if prediction.person is not None})
    for person in people:
        own = [prediction for prediction in predictions if prediction.person == person]
        found = {part: _predicted_parts(part, own, hidden=True)[:1] for part in _PARTS}
        predicted = [value[0][0] for value in found.values() if value]
        if not any(map(_any_visible, predicted)):
            continue
        points = [item[0][1] if item else np.zeros((len(_PARTS[part].sigmas), 3)) for part, item in found.items()]
        best = found["body"][0][0] if found["body"] else max(predicted, key=lambda item: item.score)
        result = _result(number, _WHOLE_BODY, np.concatenate(points), best)
        yield result if best.person_score is None else result | {"score": best.person_score}
