"""Keypoints of people by COCO's average precision: the body, and as COCO-WholeBody does the feet, face and hands too.

Each part is evaluated by itself over all people, by object keypoint similarity with the part's own tolerances and the
area of its person; the whole body is all parts of one person at once. What is not labelled of a person does not count.

Source: https://cocodataset.org/#keypoints-eval; Jin et al. 2020, Whole-Body Human Pose Estimation in the Wild.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from sonjit.errors import InputError
from sonjit.evaluation.images import image_number
from sonjit.evaluation.landmarks import in_order, is_of
from sonjit.evaluation.metrics import Metric, MetricSummary
from sonjit.evaluation.predictions import EvaluatedItem
from sonjit.metrics import COCO_SIGMAS, FACE_SIGMAS, FOOT_SIGMAS, HAND_SIGMAS, coco_precision

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Instance, Sample
    from sonjit.evaluation.predictions import Prediction
    from sonjit.evaluation.protocols import Protocol

_BODY: Final = 17


class _Part(NamedTuple):
    """One part: kind and side of its instances, their skeleton, which of its keypoints, and the tolerances of these."""

    kind: str
    side: str | None
    skeleton: str
    chosen: slice
    sigmas: tuple[float, ...]


_PARTS: Final = {
    "body": _Part("body", None, "body_coco17", slice(None), COCO_SIGMAS),
    "foot": _Part("body", None, "body_coco23", slice(_BODY, None), FOOT_SIGMAS),
    "face": _Part("face", None, "face_300w68", slice(None), FACE_SIGMAS),
    "lefthand": _Part("hand", "Left", "hand_mediapipe21", slice(None), HAND_SIGMAS),
    "righthand": _Part("hand", "Right", "hand_mediapipe21", slice(None), HAND_SIGMAS),
}
"""In the order of COCO-WholeBody's 133 keypoints."""
_WHOLE = "wholebody"
_STATS: Final = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR")
_PERSON = 1


class KeypointEvaluator:
    """Evaluates people's keypoints by average precision, over all images at once.

    Args:
        protocol: `parts` are evaluated besides the body: any of foot, face, lefthand, righthand and wholebody.

    Raises:
        InputError: another part.
    """

    def __init__(self, protocol: Protocol) -> None:
        known = (*_PARTS, _WHOLE)
        if unknown := set(protocol.parts) - set(known):
            raise InputError(f"{protocol.name}: unknown part {min(unknown)!r}; known: {', '.join(known)}")
        self._parts = ("body", *protocol.parts)
        self.main = protocol.main

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """The image, as COCO's records of each part; those of the truth say so."""
        number = image_number(sample)
        records: list[Mapping[str, Any]] = [{"image": number, "width": sample.width, "height": sample.height}]
        for person in (one for one in sample.instances if one.kind == "body"):
            own = [one for one in sample.instances if one.extra.get("person") == person.extra.get("person", -1)]
            records += self._truth(number, person, own or [person])
        for part in self._parts:
            if part != _WHOLE:
                records += _results(number, part, _found(part, predictions))
        if _WHOLE in self._parts:
            records += _whole_results(number, predictions)
        return [EvaluatedItem(records=records)]

    def _truth(self, number: int, person: Instance, own: Sequence[Instance]) -> Iterable[dict[str, Any]]:
        points = {part: _labelled(about, own) for part, about in _PARTS.items()}
        points[_WHOLE] = np.concatenate(list(points.values()))
        x_min, y_min, x_max, y_max = person.box or person.bounds() or (0.0, 0.0, 0.0, 0.0)
        width, height = x_max - x_min, y_max - y_min
        for part in self._parts:
            yield {
                "truth": True,
                "part": part,
                "image_id": number,
                "category_id": _PERSON,
                "keypoints": points[part].ravel().tolist(),
                "num_keypoints": int((points[part][:, 2] > 0).sum()),
                "bbox": [x_min, y_min, width, height],
                "area": width * height if person.area_px2 is None else person.area_px2,
                "iscrowd": int(person.crowd),
            }

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """AP and AR of each part; they have no interval, as they are of all images at once."""
        del clusters
        images = [one.records[0] for one in evaluated]
        records = [record for one in evaluated for record in one.records[1:]]
        summary = MetricSummary(values=[math.nan] * len(evaluated))
        for part in self._parts:
            own = [dict(record) for record in records if record["part"] == part]
            truth = [one for one in own if "truth" in one]
            data = {
                "images": [{"id": one["image"], "width": one["width"], "height": one["height"]} for one in images],
                "annotations": [record | {"id": number} for number, record in enumerate(truth, 1)],
                "categories": [{"id": _PERSON, "name": "person"}],
            }
            stats = coco_precision(
                data, [one for one in own if "truth" not in one], "keypoints", sigmas=_sigmas(part)
            ).stats
            labelled = sum(one["num_keypoints"] > 0 and not one["iscrowd"] for one in truth)
            for key in _STATS if part == "body" else ("AP", "AP50", "AP75", "AR"):
                name, title = f"{part}_{key.lower()}", f"{part} {key.replace('_', ', ')}"
                summary.metrics.append(Metric(name, title, 100 * stats[key], "%", "higher", counted=labelled))
        return summary


def _sigmas(part: str) -> tuple[float, ...]:
    if part == _WHOLE:
        return tuple(sigma for about in _PARTS.values() for sigma in about.sigmas)
    return _PARTS[part].sigmas


def _labelled(about: _Part, own: Sequence[Instance]) -> NDArray[np.float64]:
    """A person's keypoints of a part (K, 3) in COCO's way: x, y, flag; zeros where they are not labelled."""
    result = np.zeros((len(about.sigmas), 3))
    for one in own:
        if one.kind == about.kind and one.side == about.side and one.keypoints_px is not None:
            points = one.keypoints_px[: _BODY if about.skeleton == "body_coco17" else None][about.chosen]
            if len(points) != len(result):
                continue
            known = np.isfinite(points).all(1)
            if one.valid_px is not None:
                known &= one.valid_px[: _BODY if about.skeleton == "body_coco17" else None][about.chosen]
            result[known] = np.column_stack([points[known], np.full(known.sum(), 2.0)])
    return result


def _found(part: str, predictions: Iterable[Prediction]) -> list[tuple[NDArray[np.float64], float]]:
    """Every find of a part: keypoints (K, 3), zeros where they were not predicted, and the score."""
    about = _PARTS[part]
    found: list[tuple[NDArray[np.float64], float]] = []
    for one in predictions:
        if not is_of(one, about.kind) or one.side not in (None, about.side) or one.keypoints_px is None:
            continue
        points = np.asarray(in_order(one, about.skeleton).keypoints_px, np.float64)[about.chosen, :2]
        known = np.isfinite(points).all(1, keepdims=True)
        if known.any():
            flags = np.where(known, 2.0, 0.0)
            found.append((np.concatenate([np.where(known, points, 0.0), flags], axis=1), one.score))
    return found


def _results(number: int, part: str, found: Iterable[tuple[NDArray[np.float64], float]]) -> Iterable[dict[str, Any]]:
    for points, score in found:
        yield {
            "part": part,
            "image_id": number,
            "category_id": _PERSON,
            "keypoints": points.ravel().tolist(),
            "score": score,
        }


def _whole_results(number: int, predictions: Sequence[Prediction]) -> Iterable[dict[str, Any]]:
    """All parts of each person at once; the score is that of the body, or of the surest part where there is none."""
    people = sorted({one.person for one in predictions if one.person is not None})
    for person in people:
        own = [one for one in predictions if one.person == person]
        found = {part: _found(part, own)[:1] for part in _PARTS}
        scores = [one[0][1] for one in (found["body"], *found.values()) if one]
        if not scores:
            continue
        points = [one[0][0] if one else np.zeros((len(_PARTS[part].sigmas), 3)) for part, one in found.items()]
        score = scores[0] if found["body"] else max(scores)
        yield from _results(number, _WHOLE, [(np.concatenate(points), score)])
