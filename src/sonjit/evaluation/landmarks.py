"""2D landmarks as the model cards evaluate them: distances in parts of a palm, a torso or between the eyes.

300W, 300VW and WFLW evaluate images: the mean error of a face's points in parts of the distance of its eyes (NME), the
share of images above a threshold (FR) and the area under the cumulative distribution up to it (AUC), that of its steps,
where released codes sum trapezoids over about 1,000 thresholds. What was not found is a failure.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from sonjit.documents.plots import Curve
from sonjit.errors import InputError
from sonjit.evaluation.conditions import image_conditions, instance_conditions
from sonjit.evaluation.joints import motion_metrics
from sonjit.evaluation.metrics import (
    MetricSummary,
    areas_under_pck,
    mean_metric,
    parts_by_condition,
    parts_of,
    row_means,
    stacked,
)
from sonjit.evaluation.predictions import EvaluatedItem, group_of, hidden_share, known_points, matched
from sonjit.metrics import (
    eye_distances,
    found,
    normalised_errors,
    outer_corner_distances,
    palm_sizes,
    pck_curve,
    pdj_hits,
    pupil_distances,
)
from sonjit.skeletons import load_skeleton
from sonjit.skeletons.face_points import face_points

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Instance, Sample
    from sonjit.evaluation.predictions import LandmarkKind, Prediction
    from sonjit.evaluation.protocols import Protocol

_METRICS = {"hand": ("mnae", "MNAE"), "body": ("mtae", "error in torso sizes"), "face": ("iod_mae", "IOD MAE")}
_TORSO = ("left_shoulder", "right_hip")
_BODY = "body_blazepose33"
_MESHES = ("face_mediapipe468", "face_mediapipe478")
_LABELLED_FACES = ("face_300w68", "face_wflw98")
_SKELETONS = {
    int(name[-3:].lstrip("abcdefghijklmnopqrstuvwxyz")): name
    for name in ("hand_mediapipe21", "body_coco17", "body_coco23", _BODY, *_LABELLED_FACES, *_MESHES)
}
"""By how many keypoints they have."""


class LandmarkEvaluator:
    """Evaluates keypoints in the image of one kind of instance.

    Args:
        protocol: with the thresholds of the curve, in per cent.
        kind: hands by the palm (MNAE), bodies by the torso (and PDJ), faces by the eyes (IOD MAE).
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
        own = matched(truth, [in_order(one, skeleton) for one in predictions if is_of(one, self._kind)])
        rgb = sample.rgb()
        about = image_conditions(sample, rgb)
        items: list[EvaluatedItem] = []
        for number, one in truth:
            item = self._evaluate(number, one, own.get(number))
            seen = about | instance_conditions(one, one.bounds() or (0, 0, 0, 0), sample, rgb)
            if sample.sequence is not None and sample.frame is not None:
                track = f"{sample.dataset}/{sample.sequence}/{sample.view or ''}/{one.side or number}"
                items.append(replace(item, conditions=seen, track=track, frame=sample.frame))
            else:
                items.append(replace(item, conditions=seen, motion=None))
        return items

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
            motion=np.stack([points, truth]),
        )

    @property
    def _name(self) -> str:
        return _METRICS[self._kind][0]

    def _size(self, one: Instance, truth: NDArray[np.float64]) -> float:
        """What errors are parts of, in pixels; NaN where its keypoints are not labelled."""
        if self._kind == "hand":
            return float(palm_sizes(truth[None])[0])
        if self._kind == "face":
            return _eye_distance_px(one, truth)
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
        summary.metrics += motion_metrics(evaluated, clusters, "px", "")
        main = stacked([one.errors[self.main] for one in evaluated])
        skeleton = _SKELETONS.get(main.shape[1])
        hidden = np.array([one.hidden for one in evaluated], np.float64)
        summary.parts = parts_of(main, load_skeleton(skeleton) if skeleton else None, hidden, clusters)
        summary.parts |= parts_by_condition(main, [one.conditions for one in evaluated], clusters)
        x = np.linspace(low, high, steps)
        summary.curves.append(Curve("PCK", x.tolist(), pck_curve(errors, x, average="all").tolist(), "%"))
        summary.values = row_means(main if self.main != "pdj" else found(main))
        return summary


def _column(evaluated: Sequence[EvaluatedItem], name: str) -> NDArray[np.float64]:
    return np.array([one.numbers.get(name, math.nan) for one in evaluated], np.float64).reshape(-1, 1)


def _predicted_visible(prediction: Prediction, count: int) -> NDArray[np.bool_]:
    return np.ones(count, np.bool_) if prediction.visible is None else prediction.visible


def is_of(prediction: Prediction, kind: str) -> bool:
    """Whether a prediction is of a kind; one in the labels' own order may be of any."""
    return prediction.skeleton is None or prediction.skeleton.partition("_")[0] == kind


def in_order(prediction: Prediction, skeleton: str | None) -> Prediction:
    """A prediction with its keypoints in another skeleton's order, by their names; NaN for those that it lacks.

    The points that 300W and WFLW label are read off a face mesh, see `face_points`.

    Raises:
        InputError: it has none of them, or is in the labels' order and has another number of them.
    """
    points = prediction.keypoints_px
    if skeleton is None or prediction.skeleton == skeleton or points is None:
        return prediction
    if prediction.skeleton is None:
        if len(points) != len(_names(skeleton)):
            raise InputError(f"keypoints_px {points.shape} for {skeleton}: give {len(_names(skeleton))}, in its order")
        return prediction
    if prediction.skeleton in _MESHES and skeleton in _LABELLED_FACES:
        return replace(prediction, skeleton=skeleton, keypoints_px=face_points(points, skeleton), visible=None)
    own, wanted = _names(prediction.skeleton), _names(skeleton)
    if prediction.skeleton in _MESHES and skeleton in _MESHES:  # of which one begins as the other
        own, wanted = (tuple(map(str, range(len(names)))) for names in (own, wanted))
    has = np.array([name in own for name in wanted], np.bool_)
    if not has.any():
        raise InputError(f"{prediction.skeleton} has no keypoint of {skeleton}: they cannot be compared")
    places = [own.index(name) if name in own else 0 for name in wanted]
    ordered = np.where(has[:, None], points[places], np.nan)
    seen = None if prediction.visible is None else prediction.visible[places] & has
    return replace(prediction, skeleton=skeleton, keypoints_px=ordered, visible=seen)


def _eye_distance_px(one: Instance, truth: NDArray[np.float64]) -> float:
    """Distance of the eyes of a true face (K, 2): in space where the face is known there, else in the image."""
    if one.keypoints_m is None:
        return float(eye_distances(truth[None])[0])
    known = np.isfinite(truth).all(1) & np.isfinite(one.keypoints_m).all(1)
    pixels, metres = truth[known], one.keypoints_m[known, :2]
    pixels, metres = pixels - pixels.mean(0), metres - metres.mean(0)
    return float(eye_distances(one.keypoints_m[None])[0] * (pixels * metres).sum() / np.square(metres).sum())


class FaceEvaluator(LandmarkEvaluator):
    """Evaluates faces as 300W, 300VW and WFLW do.

    Args:
        protocol: `curve` ends at the threshold of FR and AUC, in per cent.
    """

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol, "face")
        self.main = "nme"
        self._pupils = protocol.pupils

    def _evaluate(self, number: int, one: Instance, prediction: Prediction | None) -> EvaluatedItem:
        truth = known_points(one.keypoints_px, one.valid_px)
        assert truth is not None
        points = np.full(truth.shape, np.nan)
        if prediction is not None and prediction.keypoints_px is not None:
            points = np.asarray(prediction.keypoints_px, np.float64)[:, :2]
        sizes = {"nme": outer_corner_distances(truth[None])}
        if self._pupils:
            sizes["nme_pupils"] = pupil_distances(truth[None])
        errors = {name: 100 * normalised_errors(points[None], truth[None], size)[0] for name, size in sizes.items()}
        numbers = {name: _image_error(values) for name, values in errors.items()}
        if not math.isnan(numbers["nme"]):
            numbers["found"] = float(prediction is not None)
        return EvaluatedItem(
            instance=number,
            hidden=hidden_share(one),
            group=group_of(one),
            errors={"nme": errors["nme"]},
            numbers=numbers,
            points_px=None if prediction is None else points,
            motion=np.stack([points, truth]),
        )

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """NME, FR and AUC of all images and of the set's subsets; errors by part of the face and by condition."""
        low, limit, steps = self._curve
        summary = MetricSummary()
        nme = _column(evaluated, "nme")

        def add(name: str, title: str, values: NDArray[np.float64], *, higher: bool = False) -> None:
            better = "higher" if higher else "lower"
            summary.metrics.append(mean_metric(name, title, values, "%", clusters=clusters, better=better))

        own = [set(one.conditions.get("subset", "").split("; ")) for one in evaluated]
        for subset in ("", *sorted(set[str]().union(*own) - {""})):
            inside = np.array([not subset or subset in names for names in own], np.bool_)[:, None]
            ending, of = (f"_{subset.replace(' ', '_')}", f", {subset.replace('_', '-')}") if subset else ("", "")
            errors = np.where(inside, nme, np.nan)
            known = ~np.isnan(errors)
            add(f"nme{ending}", f"NME{of}", errors)
            add(f"fr{ending}", f"FR above {limit:g} %{of}", np.where(known, 100.0 * (errors > limit), np.nan))
            areas = np.where(known, 100 * np.maximum(0, 1 - errors / limit), np.nan)
            add(f"auc{ending}", f"AUC to {limit:g} %{of}", areas, higher=True)
        if self._pupils:
            add("nme_pupils", "NME, by the pupils", _column(evaluated, "nme_pupils"))
        add("found", "found", 100 * _column(evaluated, "found"), higher=True)
        summary.metrics += motion_metrics(evaluated, clusters, "px", "")
        points = stacked([one.errors["nme"] for one in evaluated])
        skeleton = _SKELETONS.get(points.shape[1])
        hidden = np.array([one.hidden for one in evaluated], np.float64)
        summary.parts = parts_of(points, load_skeleton(skeleton) if skeleton else None, hidden, clusters)
        summary.parts |= parts_by_condition(nme, [one.conditions for one in evaluated], clusters)
        x = np.linspace(low, limit, steps)
        summary.curves.append(Curve("images", x.tolist(), pck_curve(nme, x, average="all").tolist(), "%"))
        summary.values = nme[:, 0].tolist()
        return summary


def _image_error(errors: NDArray[np.float64]) -> float:
    """Mean of what is labelled: inf where one of it was not predicted, NaN without any."""
    labelled = errors[~np.isnan(errors)]
    return float(labelled.mean()) if labelled.size else math.nan


@cache
def _names(skeleton: str | None) -> tuple[str, ...]:
    return load_skeleton(skeleton or "hand_mediapipe21").keypoints
