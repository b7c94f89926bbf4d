"""Evaluate 2D landmarks as the model cards do, and faces as 300W does.

Model cards have errors in units of a palm, a torso or the distance of the eyes. 300W, 300VW and WFLW evaluate images:
the mean error of a face's points in units of the distance of its eyes (NME), the share of images above a threshold (FR)
and the area under the cumulative distribution up to it (AUC). The area is that of the exact steps; released codes sum
trapezoids over about 1,000 thresholds. A face that was not found counts as a failure.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sonjit._util.errors import InputError
from sonjit.lab import metrics
from sonjit.lab.datasets import Instance, Sample
from sonjit.lab.documents import Curve
from sonjit.lab.evaluation.joints import add_motion_metrics
from sonjit.lab.evaluation.metrics import (
    MetricSummary,
    areas_under_pck,
    column,
    image_conditions,
    instance_conditions,
    parts_by_condition,
    parts_of,
    row_means,
    stack_rows,
)
from sonjit.lab.evaluation.predictions import (
    EvaluatedItem,
    LandmarkKind,
    Prediction,
    group_of,
    hidden_share,
    known_points,
    match_predictions,
)
from sonjit.lab.evaluation.protocols import Protocol
from sonjit.results.skeletons import load_skeleton
from sonjit.results.skeletons.faces import face_points

_METRICS = {"hand": ("mnae", "MNAE"), "body": ("mtae", "error in torso sizes"), "face": ("iod_mae", "IOD MAE")}
_TORSO = ("left_shoulder", "right_hip")
_BODY = "body_blazepose33"
_MESHES = ("face_mediapipe468", "face_mediapipe478")
_LABELLED_FACES = ("face_300w68", "face_wflw98")
_SKELETONS = {
    int(name[-3:].lstrip("abcdefghijklmnopqrstuvwxyz")): name
    for name in ("hand_mediapipe21", "body_coco17", "body_coco23", _BODY, *_LABELLED_FACES, *_MESHES)
}
"""Skeletons by number of keypoints."""


class LandmarkEvaluator:
    """Evaluator of 2D keypoints of one kind of instance.

    Args:
        protocol: Protocol with the thresholds of the curve, in per cent.
        kind: Kind of instance: hands by the palm (MNAE), bodies by the torso (and PDJ), faces by the eyes (IOD MAE).
    """

    def __init__(self, protocol: Protocol, kind: LandmarkKind = "hand") -> None:
        self._curve, self._kind = protocol.curve, kind
        self.main = "pdj" if kind == "body" else _METRICS[kind][0]

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return every labelled instance of the kind. Other predictions do not count, since instances may be
        unlabelled.
        """
        labels = [
            (number, instance, truth)
            for number, instance in enumerate(sample.instances)
            if instance.kind == self._kind
            and not instance.crowd
            and (truth := known_points(instance.keypoints_px, instance.valid_px)) is not None
        ]
        if not labels:
            return []
        skeleton = labels[0][1].skeleton
        ordered = [reorder_keypoints(item, skeleton) for item in predictions if is_of(item, self._kind)]
        own = match_predictions([label[:2] for label in labels], ordered)
        rgb = sample.rgb()
        about = image_conditions(sample, rgb)
        items: list[EvaluatedItem] = []
        for number, instance, truth in labels:
            prediction = own.get(number)
            points = np.full(truth.shape, np.nan)
            if prediction is not None and prediction.keypoints_px is not None:
                points = np.asarray(prediction.keypoints_px, np.float64)[:, :2]
            item = EvaluatedItem(
                instance=number,
                hidden=hidden_share(instance),
                group=group_of(instance),
                conditions=about | instance_conditions(instance, instance.bounds() or (0, 0, 0, 0), sample, rgb),
                points_px=None if prediction is None else points,
            )
            item = self._evaluate(item, instance, truth, points, prediction)
            if sample.sequence is not None and sample.frame is not None:
                track = f"{sample.dataset}/{sample.sequence}/{sample.view or ''}/{instance.side or number}"
                item = replace(item, track=track, frame=sample.frame, motion=np.stack([points, truth]))
            items.append(item)
        return items

    def _evaluate(
        self,
        item: EvaluatedItem,
        instance: Instance,
        truth: NDArray[np.float64],
        points: NDArray[np.float64],
        prediction: Prediction | None,
    ) -> EvaluatedItem:
        """Return an item with its errors: true and predicted points (K, 2) in pixels, NaN where unknown."""
        truth[list(instance.derived)] = np.nan  # keypoints derived from other keypoints are not labels
        if self._kind == "body":  # feet are labelled more finely than they are found
            truth[[name not in _names(_BODY) for name in _names(instance.skeleton)]] = np.nan
        size = np.array([self._size(instance, truth)])
        errors = 100 * metrics.normalised_errors(points[None], truth[None], size)[0]
        evaluated = {_METRICS[self._kind][0]: errors}
        if self._kind == "body":
            shown = np.full(len(truth), prediction is not None)
            if prediction is not None and prediction.visible is not None:
                shown = prediction.visible
            visible = np.ones(len(truth), np.bool_) if instance.visible is None else instance.visible
            hits = metrics.pdj_hits(
                points[None], truth[None], predicted_visible=shown[None], true_visible=visible[None], sizes=size
            )
            evaluated["pdj"] = 100 * hits[0]
        numbers = {"found": math.nan if np.isnan(errors).all() else float(prediction is not None)}
        if instance.side and prediction is not None and prediction.side:
            numbers["handedness"] = float(instance.side == prediction.side)
        return replace(item, side=instance.side, errors=evaluated, numbers=numbers)

    def _size(self, instance: Instance, truth: NDArray[np.float64]) -> float:
        """Return the unit of the errors in pixels; NaN if its keypoints are not labelled."""
        if self._kind == "hand":
            return float(metrics.palm_sizes(truth[None])[0])
        if self._kind == "face":
            if instance.keypoints_m is None:
                return float(metrics.eye_distances(truth[None])[0])
            known = np.isfinite(truth).all(1) & np.isfinite(instance.keypoints_m).all(1)
            pixels, metres = truth[known], instance.keypoints_m[known, :2]
            pixels, metres = pixels - pixels.mean(0), metres - metres.mean(0)
            pixels_per_metre = (pixels * metres).sum() / np.square(metres).sum()
            return float(metrics.eye_distances(instance.keypoints_m[None])[0] * pixels_per_metre)
        names = _names(instance.skeleton)
        if not set(_TORSO) <= set(names):
            raise InputError(f"{instance.skeleton}: the torso requires {' and '.join(_TORSO)}")
        shoulder, hip = (truth[names.index(name)] for name in _TORSO)
        return float(np.linalg.norm(shoulder - hip))

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return means, share found, PCK and its area, with parts by joint and part."""
        name, title = _METRICS[self._kind]
        errors = stack_rows([item.errors[name] for item in evaluated])
        main = stack_rows([item.errors[self.main] for item in evaluated])
        low, high, steps = self._curve
        summary = MetricSummary()
        if self._kind == "body":
            summary.add("pdj", "PDJ", main, "%", clusters, better="higher")
        summary.add(name, title, errors, "%", clusters)
        areas = 100 * areas_under_pck(errors, low, high, steps)
        summary.add("auc", f"PCK, area from {low:g} to {high:g} %", areas, "%", clusters, better="higher")
        summary.add("found", "found", 100 * column(evaluated, "found"), "%", clusters, better="higher")
        if np.isfinite(sides := column(evaluated, "handedness")).any():
            summary.add("handedness", "side", 100 * sides, "%", clusters, better="higher")
        self._add_parts(summary, evaluated, clusters, main, main)
        summary.curves.append(self._pck("PCK", errors))
        summary.values = row_means(main if self.main != "pdj" else metrics.found(main))
        return summary

    def _add_parts(
        self,
        summary: MetricSummary,
        evaluated: Sequence[EvaluatedItem],
        clusters: Sequence[Hashable],
        by_point: NDArray[np.float64],
        by_item: NDArray[np.float64],
    ) -> None:
        """Add metrics of motion, and parts by keypoint of values (N, K) and by condition of values (N, K or 1)."""
        add_motion_metrics(summary, evaluated, clusters, "px", "")
        skeleton = _SKELETONS.get(by_point.shape[1])
        hidden = np.array([item.hidden for item in evaluated], np.float64)
        summary.parts = parts_of(by_point, load_skeleton(skeleton) if skeleton else None, hidden, clusters)
        summary.parts |= parts_by_condition(by_item, [item.conditions for item in evaluated], clusters)

    def _pck(self, title: str, errors: NDArray[np.float64]) -> Curve:
        x = np.linspace(*self._curve)
        return Curve(title, x.tolist(), metrics.pck_curve(errors, x, average="all").tolist(), "%")


def is_of(prediction: Prediction, kind: str) -> bool:
    """Return whether a prediction is of a kind; one in the labels' own order may be of any."""
    return prediction.skeleton is None or prediction.skeleton.partition("_")[0] == kind


def reorder_keypoints(prediction: Prediction, skeleton: str | None) -> Prediction:
    """Return a prediction with its keypoints in another skeleton's order, by name; NaN for those that it lacks.

    Points of 300W and WFLW are computed from a face mesh, see `face_points`.

    Raises:
        InputError: It has none of the keypoints, or is in the labels' order and has another number of them.
    """
    points = prediction.keypoints_px
    if skeleton is None or prediction.skeleton == skeleton or points is None:
        return prediction
    expected = _names(skeleton)
    if prediction.skeleton is None:
        if len(points) != len(expected):
            raise InputError(f"keypoints_px {points.shape} for {skeleton}: must have {len(expected)}")
        return prediction
    if prediction.skeleton in _MESHES and skeleton in _LABELLED_FACES:
        return replace(prediction, skeleton=skeleton, keypoints_px=face_points(points, skeleton), visible=None)
    own = _names(prediction.skeleton)
    if prediction.skeleton in _MESHES and skeleton in _MESHES:  # the longer mesh starts with the shorter one
        own, expected = (tuple(map(str, range(len(names)))) for names in (own, expected))
    has = np.array([name in own for name in expected], np.bool_)
    if not has.any():
        raise InputError(f"{prediction.skeleton} has no keypoint of {skeleton}: they cannot be compared")
    columns = [own.index(name) if name in own else 0 for name in expected]
    ordered = np.where(has[:, None], points[columns], np.nan)
    visible = None if prediction.visible is None else prediction.visible[columns] & has
    return replace(prediction, skeleton=skeleton, keypoints_px=ordered, visible=visible)


class FaceEvaluator(LandmarkEvaluator):
    """Evaluator of faces as in 300W, 300VW and WFLW.

    Args:
        protocol: Protocol whose `curve` ends at the threshold of FR and AUC, in per cent.
    """

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol, "face")
        self.main = "nme"
        self._pupils = protocol.pupils

    def _evaluate(
        self,
        item: EvaluatedItem,
        instance: Instance,
        truth: NDArray[np.float64],
        points: NDArray[np.float64],
        prediction: Prediction | None,
    ) -> EvaluatedItem:
        sizes = {"nme": metrics.outer_corner_distances(truth[None])}
        if self._pupils:
            sizes["nme_pupils"] = metrics.pupil_distances(truth[None])
        numbers: dict[str, float] = {}
        errors: dict[str, NDArray[np.float64]] = {}
        for name, size in sizes.items():
            errors[name] = 100 * metrics.normalised_errors(points[None], truth[None], size)[0]
            labelled = errors[name][~np.isnan(errors[name])]
            numbers[name] = float(labelled.mean()) if labelled.size else math.nan  # inf if a point was not predicted
        if not math.isnan(numbers["nme"]):
            numbers["found"] = float(prediction is not None)
        return replace(item, errors={"nme": errors["nme"]}, numbers=numbers)

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return NME, FR and AUC of all images and of the set's subsets, with errors by part of the face and by
        condition.
        """
        limit, nme = self._curve[1], column(evaluated, "nme")
        summary = MetricSummary(values=nme.tolist())
        own = [set(item.conditions.get("subset", "").split("; ")) for item in evaluated]
        for subset in ("", *sorted(set[str]().union(*own) - {""})):
            inside = np.array([not subset or subset in names for names in own], np.bool_)
            ending, of = (f"_{subset.replace(' ', '_')}", f", {subset.replace('_', '-')}") if subset else ("", "")
            errors = np.where(inside, nme, np.nan)
            known = ~np.isnan(errors)
            failed = np.where(known, 100.0 * (errors > limit), np.nan)
            areas = np.where(known, 100 * np.maximum(0, 1 - errors / limit), np.nan)
            summary.add(f"nme{ending}", f"NME{of}", errors, "%", clusters)
            summary.add(f"fr{ending}", f"FR above {limit:g} %{of}", failed, "%", clusters)
            summary.add(f"auc{ending}", f"AUC to {limit:g} %{of}", areas, "%", clusters, better="higher")
        if self._pupils:
            summary.add("nme_pupils", "NME, by the pupils", column(evaluated, "nme_pupils"), "%", clusters)
        summary.add("found", "found", 100 * column(evaluated, "found"), "%", clusters, better="higher")
        points = stack_rows([item.errors["nme"] for item in evaluated])
        self._add_parts(summary, evaluated, clusters, points, nme[:, None])
        summary.curves.append(self._pck("images", nme[:, None]))
        return summary


@cache
def _names(skeleton: str | None) -> tuple[str, ...]:
    return load_skeleton(skeleton or "hand_mediapipe21").keypoints
