"""2D landmarks as the model cards evaluate them: distances in parts of a palm, a torso or between the eyes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from sonjit.documents.plots import Curve
from sonjit.errors import InputError
from sonjit.evaluation.metrics import (
    MetricSummary,
    areas_under_pck,
    mean_metric,
    parts_of,
    row_means,
    stacked,
)
from sonjit.evaluation.predictions import EvaluatedItem, group_of, hidden_share, known_points, matched
from sonjit.metrics import eye_distances, found, normalised_errors, palm_sizes, pck_curve, pdj_hits
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Instance, Sample
    from sonjit.evaluation.predictions import Prediction
    from sonjit.evaluation.protocols import Protocol

LandmarkKind = Literal["hand", "body", "face"]
_METRICS = {"hand": ("mnae", "MNAE"), "body": ("mtae", "error in torso sizes"), "face": ("iod_mae", "IOD MAE")}
_TORSO = ("left_shoulder", "right_hip")
_BODY = "body_blazepose33"
_SKELETONS = {
    int(name[-3:].lstrip("abcdefghijklmnopqrstuvwxyz")): name
    for name in ("hand_mediapipe21", "body_coco17", "body_coco23", _BODY, "face_mediapipe468", "face_mediapipe478")
}
"""By how many keypoints they have."""


class LandmarkEvaluator:
    """Evaluates keypoints in the image of one kind of instance.

    Args:
        protocol: with the thresholds of the curve, in per cent.
        kind: hands by the palm (MNAE), bodies by the torso (and PDJ), face meshes by the eyes (IOD MAE).
    """

    def __init__(self, protocol: Protocol, kind: LandmarkKind = "hand") -> None:
        self._curve, self._kind = protocol.curve, kind
        self.main = "pdj" if kind == "body" else _METRICS[kind][0]

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Every labelled instance of the kind; what was found beside them may be without label, and does not count."""
        truth = [
            (number, one)
            for number, one in enumerate(sample.instances)
            if one.kind == self._kind and not one.crowd and known_points(one.keypoints_px, one.valid_px) is not None
        ]
        if not truth:
            return []
        skeleton = truth[0][1].skeleton
        own = matched(truth, [_in_order(prediction, skeleton) for prediction in predictions])
        return [self._evaluate(number, one, own.get(number)) for number, one in truth]

    def _evaluate(self, number: int, one: Instance, prediction: Prediction | None) -> EvaluatedItem:
        truth = known_points(one.keypoints_px, one.valid_px)
        assert truth is not None
        truth[list(one.derived)] = np.nan  # what was worked out from other keypoints is not a label
        if self._kind == "body":  # feet are labelled more finely than they are found
            truth[[name not in _names(_BODY) for name in _names(one.skeleton)]] = np.nan
        points = np.full(truth.shape, np.nan)
        if prediction is not None and prediction.keypoints_px is not None:
            points = np.asarray(prediction.keypoints_px, np.float64)[:, :2]
        size = self._size(one, truth)
        errors = 100 * normalised_errors(points[None], truth[None], np.array([size]))
        evaluated = {self._name: errors[0]}
        if self._kind == "body":
            seen = np.ones(len(truth), np.bool_) if one.visible is None else one.visible
            visible = (
                np.zeros(len(truth), np.bool_) if prediction is None else _predicted_visible(prediction, len(truth))
            )
            hits = pdj_hits(
                points[None],
                truth[None],
                predicted_visible=visible[None],
                true_visible=seen[None],
                sizes=np.array([size]),
            )
            evaluated["pdj"] = 100 * hits[0]
        numbers = {"found": math.nan if np.isnan(errors).all() else float(prediction is not None)}
        if one.side and prediction is not None and prediction.side:
            numbers["handedness"] = float(one.side == prediction.side)
        return EvaluatedItem(
            instance=number,
            side=one.side,
            hidden=hidden_share(one),
            group=group_of(one),
            errors=evaluated,
            numbers=numbers,
            points_px=None if prediction is None else points,
        )

    @property
    def _name(self) -> str:
        return _METRICS[self._kind][0]

    def _size(self, one: Instance, truth: NDArray[np.float64]) -> float:
        """What errors are parts of, in pixels; NaN where its keypoints are not labelled."""
        if self._kind == "hand":
            return float(palm_sizes(truth[None])[0])
        if self._kind == "face":
            if len(truth) < 468:
                raise InputError(
                    f"{one.skeleton}: IOD MAE needs the eyes of a face mesh of 468 or 478 points, "
                    f"and there are {len(truth)}"
                )
            return float(eye_distances(np.pad(truth, ((0, 0), (0, 1)))[None])[0])
        names = _names(one.skeleton)
        if not set(_TORSO) <= set(names):
            raise InputError(f"{one.skeleton}: the torso needs {' and '.join(_TORSO)}, which it does not have")
        shoulder, hip = (truth[names.index(name)] for name in _TORSO)
        return float(np.linalg.norm(shoulder - hip))

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Means, share found, PCK and its area, by joint and part."""
        name, title = _METRICS[self._kind]
        errors = stacked([one.errors[name] for one in evaluated])
        low, high, steps = self._curve
        rates = {key: _column(evaluated, key) for key in ("found", "handedness")}
        summary = MetricSummary()
        if self._kind == "body":
            hits = stacked([one.errors["pdj"] for one in evaluated])
            summary.metrics.append(mean_metric("pdj", "PDJ", hits, "%", clusters=clusters, better="higher"))
        summary.metrics.append(mean_metric(name, title, errors, "%", clusters=clusters))
        areas = 100 * areas_under_pck(errors, low, high, steps)
        until = f"PCK, area from {low:g} to {high:g} %"
        summary.metrics.append(mean_metric("auc", until, areas, "%", clusters=clusters, better="higher"))
        summary.metrics.append(
            mean_metric("found", "found", 100 * rates["found"], "%", clusters=clusters, better="higher")
        )
        if np.isfinite(rates["handedness"]).any():
            summary.metrics.append(
                mean_metric("handedness", "side", 100 * rates["handedness"], "%", clusters=clusters, better="higher")
            )
        main = stacked([one.errors[self.main] for one in evaluated])
        skeleton = _SKELETONS.get(main.shape[1])
        hidden = np.array([one.hidden for one in evaluated], np.float64)
        summary.parts = parts_of(main, load_skeleton(skeleton) if skeleton else None, hidden, clusters)
        x = np.linspace(low, high, steps)
        summary.curves.append(Curve("PCK", x.tolist(), pck_curve(errors, x, average="all").tolist(), "%"))
        summary.values = row_means(main if self.main != "pdj" else found(main))
        return summary


def _column(evaluated: Sequence[EvaluatedItem], name: str) -> NDArray[np.float64]:
    return np.array([one.numbers.get(name, math.nan) for one in evaluated], np.float64).reshape(-1, 1)


def _predicted_visible(prediction: Prediction, count: int) -> NDArray[np.bool_]:
    return np.ones(count, np.bool_) if prediction.visible is None else prediction.visible


def _in_order(prediction: Prediction, skeleton: str | None) -> Prediction:
    """A prediction with its keypoints in another skeleton's order, by their names; NaN for those that it lacks."""
    if skeleton is None or prediction.skeleton == skeleton or prediction.keypoints_px is None:
        return prediction
    own, wanted = _names(prediction.skeleton), _names(skeleton)
    has = np.array([name in own for name in wanted], np.bool_)
    if not has.any():
        raise InputError(f"{prediction.skeleton} has no keypoint of {skeleton}: they cannot be compared")
    places = [own.index(name) if name in own else 0 for name in wanted]
    points = np.where(has[:, None], prediction.keypoints_px[places], np.nan)
    seen = None if prediction.visible is None else prediction.visible[places] & has
    return replace(prediction, skeleton=skeleton, keypoints_px=points, visible=seen)


@cache
def _names(skeleton: str | None) -> tuple[str, ...]:
    return load_skeleton(skeleton or "hand_mediapipe21").keypoints
