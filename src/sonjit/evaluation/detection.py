"""Which labelled hands, bodies or faces are found, what else is found, and how often a find of each score is right.

A find is the box around its keypoints within the image. It fits a label when their IoU is 0.3 or more, or when its
centre lies in the label's box and its longest side is between half and twice the label's. Finds go by descending score,
each to the free label that it fits best; one that fits only labels that are taken is doubled, one that fits none is
false. Labels that are not clear count neither way, nor does what lies in a crowd's area.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sonjit.evaluation.conditions import image_conditions, instance_conditions
from sonjit.evaluation.metrics import MetricSummary, mean_metric, parts_by_condition
from sonjit.evaluation.predictions import EvaluatedItem, group_of, hidden_share
from sonjit.metrics import box_iou, mean_interval
from sonjit.metrics.breakdown import Part
from sonjit.results import LEAST_SIDE_SCORE

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Instance, Sample
    from sonjit.evaluation.predictions import LandmarkKind, Prediction
    from sonjit.evaluation.protocols import Protocol
    from sonjit.results import Box

_LEAST_IOU = 0.3
_LEAST_SIZE, _MOST_SIZE = 0.5, 2.0
_MOST_HIDDEN = 0.5
_FEW_KEYPOINTS = 10
"""Of which the box that a detector gives says more than the box around them."""
_SCORES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
_KINDS = ("hand", "face", "body")


class Assignment(NamedTuple):
    """Which label each find is of.

    Attributes:
        found: index of the find by index of the label.
        doubled: indices of finds whose labels were all taken.
        false: indices of those that fit none, best first.
    """

    found: dict[int, int]
    doubled: list[int]
    false: list[int]


def assign(finds: Sequence[tuple[Box, float]], labels: Sequence[Box], crowds: Sequence[Box] = ()) -> Assignment:
    """Share finds, box and score each, among labels.

    >>> assign([((0, 0, 9, 9), 0.8), ((0, 0, 10, 10), 0.9), ((50, 0, 60, 9), 0.7)], [(0, 0, 10, 10)])
    Assignment(found={0: 1}, doubled=[0], false=[2])
    """
    result = Assignment({}, [], [])
    for index in sorted(range(len(finds)), key=lambda one: -finds[one][1]):
        box = finds[index][0]
        fitting = [place for place, label in enumerate(labels) if _fits(box, label)]
        free = [place for place in fitting if place not in result.found]
        if free:
            result.found[max(free, key=lambda place: box_iou(box, labels[place]))] = index
        elif fitting:
            result.doubled.append(index)
        elif not any(_has_centre(area, box) for area in crowds):
            result.false.append(index)
    return result


@dataclass(frozen=True)
class DetectionCounts:
    """What a run found.

    Attributes:
        clear: labels that must be found.
        found: of these.
        false: finds of nothing labelled.
        doubled: second finds of one thing.
        sided: of the found, those whose side is labelled and predicted.
        sides_right: of these.
        sides_known: of the sided, those whose side is known (`LEAST_SIDE_SCORE`).
        sides_known_right: of these.
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
        """Of everything that was evaluated."""
        numbers = [one.numbers for one in evaluated]

        def count(name: str) -> int:
            return sum(one.get(name, 0) > 0 for one in numbers)

        def known(name: str) -> int:
            return sum(name in one for one in numbers)

        wrong = count("false"), count("doubled")
        return cls(
            known("found"),
            count("found"),
            *wrong,
            known("side"),
            count("side"),
            known("side_known"),
            count("side_known"),
        )

    @property
    def precision(self) -> float:
        """Share of finds that are right, 0..1; 1 without any."""
        finds = self.found + self.false + self.doubled
        return self.found / finds if finds else 1.0


class DetectionEvaluator:
    """Evaluates what is found of one kind in each image.

    Args:
        protocol: `exhaustive` says that whatever is not labelled is not there.
        kind: of what is looked for.
    """

    main = "recall"

    def __init__(self, protocol: Protocol, kind: LandmarkKind = "hand") -> None:
        self._exhaustive, self._kind = protocol.exhaustive, kind

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Each label that must be found, then each doubled or false find; nothing where the kind is not labelled."""
        if self._kind not in sample.tags.get("labelled", _KINDS):
            return []
        own = [one for one in enumerate(sample.instances) if one[1].kind == self._kind]
        crowds = [box for _, one in own if one.crowd and (box := one.bounds()) is not None]
        labels = [(number, one, box) for number, one in own if not one.crowd and (box := one.bounds()) is not None]
        finds = [(box, one) for one in predictions if (box := self._box(one, sample)) is not None]
        assigned = assign([(box, one.score) for box, one in finds], [box for *_, box in labels], crowds)
        rgb = sample.rgb()
        about = image_conditions(sample, rgb)
        result: list[EvaluatedItem] = []
        for place, (number, one, box) in enumerate(labels):
            if not _is_clear(one):
                continue
            find = finds[assigned.found[place]][1] if place in assigned.found else None
            result.append(
                EvaluatedItem(
                    instance=number,
                    side=one.side,
                    hidden=float(one.extra.get("hidden", hidden_share(one))),
                    numbers=_numbers(one, find),
                    points_px=None if find is None else _points(find),
                    group=group_of(one),
                    conditions=about | instance_conditions(one, box, sample, rgb),
                )
            )
        if self._exhaustive:
            for name, indices in (("doubled", assigned.doubled), ("false", assigned.false)):
                result += [
                    EvaluatedItem(
                        numbers={name: 1.0, "score": finds[index][1].score}, points_px=_points(finds[index][1])
                    )
                    for index in indices
                ]
        return result

    def _box(self, prediction: Prediction, sample: Sample) -> Box | None:
        """The box within the image; None for something of another kind."""
        kind = (prediction.skeleton or "").partition("_")[0]
        if kind in _KINDS and kind != self._kind:
            return None
        points = prediction.keypoints_px
        if prediction.box is not None and (points is None or len(points) < _FEW_KEYPOINTS):
            x_min, y_min, x_max, y_max = prediction.box
        elif points is not None and np.isfinite(points).any():
            (x_min, y_min), (x_max, y_max) = np.nanmin(points[:, :2], 0).tolist(), np.nanmax(points[:, :2], 0).tolist()
        else:
            return None
        return max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(sample.width)), min(y_max, float(sample.height))

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Recall, precision and sides; recall by condition, and by score how many finds are right."""
        found = _column(evaluated, lambda one: one.numbers.get("found", math.nan))
        right = _column(evaluated, _is_right)
        summary = MetricSummary()

        def add(name: str, title: str, column: NDArray[np.float64], *, better: Any = "higher") -> None:  # noqa: ANN401
            summary.metrics.append(
                mean_metric(name, title, column.reshape(-1, 1), "%", clusters=clusters, better=better)
            )

        add("recall", "recall: clear labels that are found", found)
        if self._exhaustive:
            add("precision", "precision: finds that are right", right)
            for name, title in (("false", "finds of nothing labelled"), ("doubled", "second finds of the same")):
                wrong = _column(evaluated, lambda one, name=name: 100.0 * (name in one.numbers))
                add(name, title, np.where(np.isnan(right), np.nan, wrong), better="lower")
        for name, number, title in (
            ("handedness", "side", "side"),
            ("side_known", "side_known", f"side where it is known, {LEAST_SIDE_SCORE:g} and more"),
        ):
            side = _column(evaluated, lambda one, number=number: one.numbers.get(number, math.nan))
            if np.isfinite(side).any():
                add(name, title, side)
        summary.parts = parts_by_condition(found[:, None], [one.conditions for one in evaluated], clusters)
        if self._exhaustive:
            summary.parts["score"] = _reliability(evaluated, right, clusters)
        summary.values = [one.numbers.get("found", 0.0) for one in evaluated]
        return summary


def _is_clear(one: Instance) -> bool:
    """As the label says; else whether at least half of the keypoints are seen, as far as that is known."""
    return bool(one.extra.get("clear", not hidden_share(one) > _MOST_HIDDEN))


def _fits(box: Box, label: Box) -> bool:
    if box_iou(box, label) >= _LEAST_IOU:
        return True
    return _has_centre(label, box) and _LEAST_SIZE <= _longest(box) / max(_longest(label), 1e-6) <= _MOST_SIZE


def _has_centre(area: Box, box: Box) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return area[0] <= x <= area[2] and area[1] <= y <= area[3]


def _longest(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _numbers(one: Instance, find: Prediction | None) -> dict[str, float]:
    """Whether it was found and on which side, in per cent; and the find's score."""
    if find is None:
        return {"found": 0.0}
    known = {"found": 100.0, "score": find.score}
    if one.side and find.side:
        known["side"] = 100.0 * (one.side == find.side)
        if find.side_score >= LEAST_SIDE_SCORE:
            known["side_known"] = known["side"]
    return known


def _points(prediction: Prediction) -> NDArray[np.float64] | None:
    """Its keypoints, or the corners of its box where it has but a few."""
    points = prediction.keypoints_px
    if prediction.box is None or (points is not None and len(points) >= _FEW_KEYPOINTS):
        return None if points is None else np.asarray(points[:, :2], np.float64)
    return np.array(prediction.box, np.float64).reshape(2, 2)


def _is_right(one: EvaluatedItem) -> float:
    """Per cent: 100 for a clear label's find, 0 for one that is false or doubled; NaN for a label that was missed."""
    return math.nan if "score" not in one.numbers else 100.0 * ("found" in one.numbers)


def _column(evaluated: Sequence[EvaluatedItem], value: Callable[[EvaluatedItem], float]) -> NDArray[np.float64]:
    return np.array([value(one) for one in evaluated], np.float64)


def _reliability(
    evaluated: Sequence[EvaluatedItem], right: NDArray[np.float64], clusters: Sequence[Hashable]
) -> list[Part]:
    scores = _column(evaluated, lambda one: one.numbers.get("score", math.nan))
    rows: list[Part] = []
    for low, high in zip(_SCORES, (*_SCORES[1:], math.inf), strict=True):
        inside = (scores >= low) & (scores < high)
        if inside.any():
            rows.append(_part(f"{low:g} to {min(high, 1):g}", right, inside, clusters))
    return rows


def _part(name: str, values: NDArray[np.float64], inside: NDArray[np.bool_], clusters: Sequence[Hashable]) -> Part:
    known = values[inside & np.isfinite(values)]
    interval = mean_interval(np.where(inside, values, np.nan), clusters=clusters)
    return Part(name, float(known.mean()) if known.size else math.nan, interval, int(known.size), 0)
