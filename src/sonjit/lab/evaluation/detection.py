"""Evaluate detection: recall, false and duplicate detections, and precision by score and by condition.

The box of a detection surrounds its keypoints within the image. It matches a label if their IoU is 0.3 or more, or if
its centre is in the label's box and its longest side is between half and twice the label's. Detections are assigned
by descending score, each to the free label with the largest IoU. A detection that matches only assigned labels is a
duplicate, and one that matches none is false. Labels that are not clear do not count, nor do detections in a crowd's
area.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit.lab.datasets import Instance, Sample
from sonjit.lab.evaluation.metrics import (
    MetricSummary,
    column,
    image_conditions,
    instance_conditions,
    parts_by_condition,
)
from sonjit.lab.evaluation.predictions import EvaluatedItem, LandmarkKind, Prediction, group_of, hidden_share
from sonjit.lab.evaluation.protocols import Protocol
from sonjit.lab.metrics import box_iou, mean_interval
from sonjit.lab.metrics.statistics import Part
from sonjit.results import LEAST_SIDE_SCORE, Box

_MIN_IOU = 0.3
"""Minimum IoU of a detection and its label."""
_MIN_SIZE_RATIO, _MAX_SIZE_RATIO = 0.5, 2.0
"""Ratio of the longest sides at which a detection with its centre in the label fits it too: networks enclose different
parts of an instance."""
_MAX_HIDDEN = 0.5
"""Maximum occluded share of a label that must be found."""
_MIN_KEYPOINTS = 10
"""Minimum number of keypoints whose box is used. With fewer, the detector's own box is more exact."""
_SCORE_EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
_KINDS = ("hand", "face", "body")


class Assignment(NamedTuple):
    """Assignment of detections to labels.

    Attributes:
        found: Index of the detection by index of the label.
        doubled: Indices of detections whose labels were all assigned.
        false: Indices of detections that match no label, best first.
    """

    found: dict[int, int]
    doubled: list[int]
    false: list[int]


def assign(detections: Sequence[tuple[Box, float]], labels: Sequence[Box], crowds: Sequence[Box] = ()) -> Assignment:
    """Assign detections, pairs of box and score, to labels.

    >>> assign([((0, 0, 9, 9), 0.8), ((0, 0, 10, 10), 0.9), ((50, 0, 60, 9), 0.7)], [(0, 0, 10, 10)])
    Assignment(found={0: 1}, doubled=[0], false=[2])
    """
    result = Assignment({}, [], [])
    for index in sorted(range(len(detections)), key=lambda item: -detections[item][1]):
        box = detections[index][0]
        fitting = [number for number, label in enumerate(labels) if _fits(box, label)]
        free = [number for number in fitting if number not in result.found]
        if free:
            result.found[max(free, key=lambda number: box_iou(box, labels[number]))] = index
        elif fitting:
            result.doubled.append(index)
        elif not any(_contains_centre(area, box) for area in crowds):
            result.false.append(index)
    return result


@dataclass(frozen=True)
class DetectionCounts:
    """Counts of a run.

    Attributes:
        clear: Labels that must be found.
        found: Labels that were found.
        false: Detections that match no label.
        doubled: Duplicate detections.
        sided: Found labels with a labelled and a predicted side.
        sides_right: Found labels with the right side.
        sides_known: Found labels with a certain side (`LEAST_SIDE_SCORE`).
        sides_known_right: Found labels with a certain and right side.
    """

    clear: int
    found: int
    false: int
    doubled: int
    sided: int
    sides_right: int
    sides_known: int
    sides_known_right: int

    @classmethod
    def of(cls, evaluated: Iterable[EvaluatedItem]) -> DetectionCounts:
        """Count the items of a run."""
        numbers = [item.numbers for item in evaluated]
        known = Counter(name for item in numbers for name in item)
        right = Counter(name for item in numbers for name, value in item.items() if value > 0)
        return cls(
            known["found"], right["found"], right["false"], right["doubled"],
            known["side"], right["side"], known["side_known"], right["side_known"],
        )  # fmt: skip

    @property
    def precision(self) -> float:
        """Return the share of detections that are right, 0 to 1; 1 without any."""
        detections = self.found + self.false + self.doubled
        return self.found / detections if detections else 1.0


class DetectionEvaluator:
    """Evaluator of the detection of one kind of instance.

    Args:
        protocol: Protocol. `exhaustive` means that everything is labelled.
        kind: Kind of the instances.
    """

    main = "recall"

    def __init__(self, protocol: Protocol, kind: LandmarkKind = "hand") -> None:
        self._exhaustive, self._kind = protocol.exhaustive, kind

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return each label that must be found, then each duplicate or false detection; nothing if the kind is not
        labelled.
        """
        if self._kind not in sample.tags.get("labelled", _KINDS):
            return []
        own = [
            (number, item, box)
            for number, item in enumerate(sample.instances)
            if item.kind == self._kind and (box := item.bounds()) is not None
        ]
        crowds, labels = [box for _, item, box in own if item.crowd], [label for label in own if not label[1].crowd]
        found = [(box, item) for item in predictions if (box := self._box(item, sample)) is not None]
        assigned = assign([(box, item.score) for box, item in found], [box for *_, box in labels], crowds)
        rgb = sample.rgb()
        about = image_conditions(sample, rgb)
        result: list[EvaluatedItem] = []
        for index, (number, label, box) in enumerate(labels):
            # The label's own flag, or else whether at least half of the keypoints are visible, if that is known.
            if not label.extra.get("clear", not hidden_share(label) > _MAX_HIDDEN):
                continue
            detection = found[assigned.found[index]][1] if index in assigned.found else None
            result.append(
                EvaluatedItem(
                    instance=number,
                    side=label.side,
                    hidden=float(label.extra.get("hidden", hidden_share(label))),
                    numbers=_numbers(label, detection),
                    points_px=None if detection is None else _points(detection),
                    group=group_of(label),
                    conditions=about | instance_conditions(label, box, sample, rgb),
                )
            )
        for name in ("doubled", "false") if self._exhaustive else ():
            wrong = [found[index][1] for index in getattr(assigned, name)]
            result += [
                EvaluatedItem(numbers={name: 1.0, "score": item.score}, points_px=_points(item)) for item in wrong
            ]
        return result

    def _box(self, prediction: Prediction, sample: Sample) -> Box | None:
        """Return the box within the image; None for another kind of instance."""
        kind = (prediction.skeleton or "").partition("_")[0]
        corners = _points(prediction)
        if (kind in _KINDS and kind != self._kind) or corners is None or not np.isfinite(corners).any():
            return None
        (x_min, y_min), (x_max, y_max) = np.nanmin(corners, 0).tolist(), np.nanmax(corners, 0).tolist()
        return max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(sample.width)), min(y_max, float(sample.height))

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return recall, precision and sides, recall by condition, and precision by score."""
        found, scores = column(evaluated, "found"), column(evaluated, "score")
        # 100 for the detection of a clear label, 0 for a false or duplicate one, and NaN for a missed label.
        right = np.where(np.isnan(scores), np.nan, np.where(np.isnan(found), 0.0, 100.0))
        summary = MetricSummary(values=np.nan_to_num(found).tolist())
        summary.add("recall", "recall: clear labels found", found, "%", clusters, better="higher")
        if self._exhaustive:
            summary.add("precision", "precision: correct detections", right, "%", clusters, better="higher")
            for name, title in (("false", "false detections"), ("doubled", "duplicates")):
                wrong = np.where(np.isnan(right), np.nan, 100.0 * np.isfinite(column(evaluated, name)))
                summary.add(name, title, wrong, "%", clusters)
        for name, number, title in (
            ("handedness", "side", "side"),
            ("side_known", "side_known", f"known sides, {LEAST_SIDE_SCORE:g} and more"),
        ):
            if np.isfinite(side := column(evaluated, number)).any():
                summary.add(name, title, side, "%", clusters, better="higher")
        summary.parts = parts_by_condition(found[:, None], [item.conditions for item in evaluated], clusters)
        if self._exhaustive:
            summary.parts["score"] = _precision_by_score(scores, right, clusters)
        return summary


def _fits(box: Box, label: Box) -> bool:
    ratio = _longest_side(box) / max(_longest_side(label), 1e-6)
    is_near = _contains_centre(label, box) and _MIN_SIZE_RATIO <= ratio <= _MAX_SIZE_RATIO
    return is_near or box_iou(box, label) >= _MIN_IOU


def _contains_centre(area: Box, box: Box) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return area[0] <= x <= area[2] and area[1] <= y <= area[3]


def _longest_side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _numbers(instance: Instance, detection: Prediction | None) -> dict[str, float]:
    """Return whether it was found and on which side, in per cent, and the detection's score."""
    if detection is None:
        return {"found": 0.0}
    known = {"found": 100.0, "score": detection.score}
    if instance.side and detection.side:
        known["side"] = 100.0 * (instance.side == detection.side)
        if detection.side_score >= LEAST_SIDE_SCORE:
            known["side_known"] = known["side"]
    return known


def _points(prediction: Prediction) -> NDArray[np.float64] | None:
    """Return the keypoints, or the corners of the box if there are only a few."""
    points = prediction.keypoints_px
    if prediction.box is None or (points is not None and len(points) >= _MIN_KEYPOINTS):
        return None if points is None else np.asarray(points[:, :2], np.float64)
    return np.array(prediction.box, np.float64).reshape(2, 2)


def _precision_by_score(
    scores: NDArray[np.float64], right: NDArray[np.float64], clusters: Sequence[Hashable]
) -> list[Part]:
    rows: list[Part] = []
    for low, high in zip(_SCORE_EDGES, (*_SCORE_EDGES[1:], math.inf), strict=True):
        inside = (scores >= low) & (scores < high)
        if not inside.any():
            continue
        values = np.where(inside, right, np.nan)
        known = values[np.isfinite(values)]
        mean = float(known.mean()) if known.size else math.nan
        rows.append(
            Part(f"{low:g} to {min(high, 1):g}", mean, mean_interval(values, clusters=clusters), int(known.size), 0)
        )
    return rows
