"""Evaluate 2D landmarks as the model cards do, faces as 300W does, and 3D joints as InterHand2.6M and others do.

Model cards have errors in units of a palm, a torso or the distance of the eyes. 300W, 300VW and WFLW evaluate images:
the mean error of a face's points in units of the distance of its eyes (NME), the share of images above a threshold (FR)
and the area under the cumulative distribution up to it (AUC). The area is that of the exact steps; released codes sum
trapezoids over about 1,000 thresholds. A face that was not found counts as a failure.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError
from sonjit.report.documents import Curve
from sonjit.results.skeletons import load_skeleton
from sonjit_lab import metrics
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.datasets.face_labels import face_points
from sonjit_lab.datasets.sample import LandmarkKind
from sonjit_lab.evaluation import metrics as summaries
from sonjit_lab.evaluation.predictions import (
    EvaluatedItem,
    Prediction,
    group_of,
    hidden_share,
    in_known_order,
    match_predictions,
    match_shape,
)
from sonjit_lab.evaluation.protocols import Alignment, Protocol

if TYPE_CHECKING:
    from sonjit_lab.hand_models import Mano

MM = 1000.0
SIDES = ("Right", "Left")
SHARED: dict[str, tuple[str, str, summaries.Better]] = {
    "handedness": ("handedness, accuracy", "", "higher"),
    "root_depth": ("the root's depth", "mm", "lower"),
}
"""Metrics of single hands and of pairs: title, unit, direction."""
_PREFIX = {"absolute": "absolute_", "root": "", "bone": "st_", "procrustes": "pa_"}
_TITLE = {
    "absolute": "in the camera's space",
    "root": "relative to the wrist",
    "bone": "scale and place fitted",
    "procrustes": "Procrustes aligned",
}
_MOTION = (
    ("acceleration_error", "acceleration error", "frame²"),
    ("acceleration", "acceleration", "frame²"),
    ("jitter", "jitter (jerk)", "frame³"),
    ("jitter_of_labels", "jitter of the labels", "frame³"),
)
_METRICS = {"hand": ("mnae", "MNAE"), "body": ("mtae", "error in torso sizes"), "face": ("iod_mae", "IOD MAE")}
_TORSO = ("left_shoulder", "right_hip")
_BODY = "body_blazepose33"
_MESHES = ("face_mediapipe468", "face_mediapipe478")
_LABELLED_FACES = ("face_300w68", "face_wflw98")
SKELETONS = {
    int(name[-3:].lstrip("abcdefghijklmnopqrstuvwxyz")): name
    for name in ("hand_mediapipe21", "body_coco17", "body_coco23", _BODY, *_LABELLED_FACES, *_MESHES)
}
"""Skeletons by number of keypoints."""


@cache
def keypoint_names(skeleton: str | None) -> tuple[str, ...]:
    return load_skeleton(skeleton or "hand_mediapipe21").keypoints


class JointEvaluator:
    """Evaluator of 3D keypoints and, if the set and the model have them, meshes, in millimetres."""

    def __init__(self, protocol: Protocol, mano: str | None = None, mano_left: str | None = None) -> None:
        self._protocol = protocol
        self._mano = {"Right": mano, "Left": mano_left}
        self.main = protocol.main

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return an item for every hand with more 3D labels than the root."""
        truth = [
            (number, instance)
            for number, labelled in enumerate(sample.instances)
            if labelled.kind == "hand"
            and (instance := in_known_order(labelled, sample)) is not None
            and (points_m := instance.labelled_m) is not None
            and np.isfinite(points_m).all(1).sum() > 1
        ]
        matches = match_predictions(truth, predictions)
        return [self._evaluate(sample, number, item, matches.get(number)) for number, item in truth]

    def _evaluate(
        self, sample: Sample, number: int, instance: Instance, prediction: Prediction | None
    ) -> EvaluatedItem:
        truth = instance.labelled_m
        assert truth is not None
        joints = match_shape(None if prediction is None else prediction.keypoints_m, truth, "keypoints_m")
        if self._protocol.root == "palm":  # the palm's centre, halfway to the middle finger's knuckle
            hands = (truth, joints)
            truth, joints = (np.concatenate([hand[[0, 9]].mean(0, keepdims=True), hand[1:]]) for hand in hands)
        errors: dict[str, NDArray[np.float64]] = {}
        for alignment in self._protocol.alignments:
            is_unplaced = alignment == "absolute" and prediction is not None and not prediction.placed
            points = self._align(joints, truth, alignment)
            unknown = np.full(len(truth), np.nan)
            errors[self.error_name(alignment)] = unknown if is_unplaced else MM * metrics.joint_errors(*points)[0]
        numbers: dict[str, float] = {}
        if prediction is not None and prediction.hand_type is not None:
            present = [[instance.side == side for side in SIDES]]
            numbers["handedness"] = float(metrics.handedness_hits([prediction.hand_type], present)[0])
        if prediction is not None and prediction.root_depth_m is not None:
            numbers["root_depth"] = MM * abs(prediction.root_depth_m - float(truth[0, 2]))
        if self._protocol.f_thresholds and (vertices := self._true_vertices(sample, number)) is not None:
            for alignment in self._protocol.alignments:
                numbers |= self._mesh_scores(prediction, joints, truth, vertices, alignment)
        drawn = None if prediction is None else prediction.keypoints_px
        evaluated = EvaluatedItem(
            instance=number,
            side=instance.side,
            hidden=hidden_share(instance),
            group=group_of(instance),
            errors=errors,
            numbers=numbers,
            points_px=None if drawn is None else np.asarray(drawn, np.float64)[:, :2],
        )
        if sample.sequence is None or sample.frame is None:
            return evaluated
        motion = np.stack([MM * (placed - placed[0]) for placed in (joints, truth)])
        track = f"{sample.dataset}/{sample.sequence}/{sample.view or ''}/{instance.side}"
        return replace(evaluated, track=track, frame=sample.frame, motion=motion)

    def _true_vertices(self, sample: Sample, number: int) -> NDArray[np.float64] | None:
        """Return the labelled vertices, or else those of the MANO parameters if the user has MANO."""
        item = sample.instances[number]
        if item.vertices_m is not None:
            return item.vertices_m
        file = self._mano[item.side or "Right"]
        if item.mesh is None or item.side is None or file in (None, "demo"):
            return None
        return sample.mesh(_mano_of(file, "left" if item.side == "Left" else "right"), number)

    def _mesh_scores(
        self,
        prediction: Prediction | None,
        joints: NDArray[np.float64],
        true_joints: NDArray[np.float64],
        true_vertices: NDArray[np.float64],
        alignment: Alignment,
    ) -> dict[str, float]:
        """Return mean error, AUC and F-scores of the vertices (778, 3) in metres, with both hands' joints (21, 3)."""
        prefix, limits = _PREFIX[alignment], self._protocol.f_thresholds
        names = [f"{prefix}mpvpe", f"{prefix}mesh_auc", *(f"{prefix}f{threshold:g}" for threshold in limits)]
        if alignment == "bone":
            return {}  # the servers fit scale and position only for joints
        if prediction is None:
            return dict.fromkeys(names, math.inf)
        if prediction.vertices_m is None or (alignment == "absolute" and not prediction.placed):
            return {}
        vertices, true = match_shape(prediction.vertices_m, true_vertices, "vertices_m"), true_vertices
        if alignment == "root":
            vertices, true = vertices - joints[0], true - true_joints[0]
        points = self._align(vertices, true, "absolute" if alignment == "root" else alignment)
        errors = MM * metrics.joint_errors(*points)
        scores = metrics.f_scores(points.predicted[0], points.truth[0], tuple(limit / MM for limit in limits))
        area = float(summaries.areas_under_pck(errors, *self._protocol.auc).mean())
        values = [float(errors.mean()), 100 * area, *(100 * score.f_score for score in scores)]
        return dict(zip(names, values, strict=True))

    def _align(self, points: NDArray[np.float64], truth: NDArray[np.float64], alignment: Alignment) -> metrics.Points:
        prediction, true = points[None], truth[None]
        valid = np.asarray(np.isfinite(true).all(-1), np.bool_)
        match alignment:
            case "absolute":
                return metrics.Points(prediction, true, valid)
            case "root":
                return metrics.root_relative(prediction, true, valid, root=0)
            case "bone":
                return metrics.bone_aligned(prediction, true, valid, root=0, end=9)
            case "procrustes":
                return metrics.similarity_aligned(prediction, true, valid, mirror=self._protocol.mirror)

    def error_name(self, alignment: Alignment) -> str:
        """Return the metric of an alignment's mean error."""
        return self._protocol.names.get(alignment, f"{_PREFIX[alignment]}mpjpe")

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> summaries.MetricSummary:
        """Return means, AUC and mesh metrics, with parts by joint, finger and hidden share."""
        summary = summaries.MetricSummary()
        hidden = np.array([item.hidden for item in evaluated], np.float64)
        low, high, steps = self._protocol.auc
        thresholds, average = np.linspace(low, high, steps), self._protocol.average
        for alignment in self._protocol.alignments:
            name, title = self.error_name(alignment), _TITLE[alignment]
            errors = summaries.stack_rows([item.errors[name] for item in evaluated])
            if alignment == "absolute" and not np.isfinite(errors).any():
                continue  # nothing that was predicted has a place before the camera
            label = f"{self._protocol.names.get(alignment, 'MPJPE').upper()}, {title}"
            summary.add(name, label, errors, "mm", clusters, average=average)
            areas, auc = 100 * summaries.areas_under_pck(errors, low, high, steps), f"{_PREFIX[alignment]}auc"
            until = f"PCK, area from {low:g} to {high:g} mm, {title}"
            summary.add(auc, until, areas, "%", clusters, average=average, better="higher")
            curve = metrics.pck_curve(errors, thresholds, average=average).tolist()
            summary.curves.append(Curve(f"PCK, {title}", thresholds.tolist(), curve, "mm"))
            if alignment == "procrustes" and np.isfinite(hidden).any():
                better: summaries.Better = "lower"
                for key, text, values, unit in ((name, label, errors, "mm"), (auc, until, areas, "%")):
                    summary.metrics += [
                        summaries.Metric(
                            f"{key} {part.name}",
                            f"{text}, {part.name} hidden",
                            part.mean,
                            unit,
                            better,
                            *part.interval,
                            part.counted,
                            part.missing,
                        )
                        for part in metrics.by_bin(values, hidden, clusters=clusters)
                    ]
                    better = "higher"
        add_shared_metrics(summary, evaluated, clusters)
        for name in sorted({key for item in evaluated for key in item.numbers} - SHARED.keys()):
            values, is_score = summaries.column(evaluated, name), not name.endswith("mpvpe")
            if is_score and np.isfinite(values).any():
                values = np.where(np.isinf(values), 0.0, values)  # a missing mesh has no vertex within a limit
            unit, better = ("%", "higher") if is_score else ("mm", "lower")
            summary.add(name, _mesh_title(name), values, unit, clusters, better=better)
        add_motion_metrics(summary, evaluated, clusters)
        main = summaries.stack_rows([item.errors[self.main] for item in evaluated])
        skeleton = load_skeleton("hand_mediapipe21")
        if self._protocol.root == "palm":
            skeleton = replace(skeleton, keypoints=("palm_center", *skeleton.keypoints[1:]))
        summary.parts = summaries.parts_of(main, skeleton, hidden, clusters)
        summary.values = summaries.row_means(main)
        return summary


def _mesh_title(name: str) -> str:
    by_length = sorted(_PREFIX.items(), key=lambda pair: -len(pair[1]))
    alignment, prefix = next(pair for pair in by_length if name.startswith(pair[1]))
    score = name.removeprefix(prefix)
    titles = {"mpvpe": "mesh error", "mesh_auc": "PCK of vertices, area"}
    return f"{titles.get(score) or f'F@{score[1:]} mm'}, {_TITLE[alignment]}"


def add_shared_metrics(
    summary: summaries.MetricSummary, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]
) -> None:
    for name, (title, unit, better) in SHARED.items():
        if np.isfinite(values := summaries.column(evaluated, name)).any():
            summary.add(name, title, values, unit, clusters, better=better)


def add_motion_metrics(
    summary: summaries.MetricSummary,
    evaluated: Sequence[EvaluatedItem],
    clusters: Sequence[Hashable],
    unit: str = "mm",
    origin: str = ", from the wrist",
) -> None:
    """Add the smoothness of motion over the frames of recordings, also for the labels; `origin` is shown in titles."""
    motions = {index: item.motion for index, item in enumerate(evaluated) if item.motion is not None}
    joints = next((motion.shape[1] for motion in motions.values()), 1)
    tracks: dict[str, dict[int, int]] = {}
    for index in motions:
        tracks.setdefault(evaluated[index].track, {})[evaluated[index].frame] = index
    tables = {name: np.full((len(evaluated), joints), np.nan) for name, *_ in _MOTION}
    for track in tracks.values():
        for indices in _consecutive_runs(track):
            predicted, true = np.stack([motions[index] for index in indices], axis=1)
            tables["acceleration_error"][indices[1:-1]] = metrics.acceleration_errors(predicted, true)
            for name, points in (("jitter", predicted), ("jitter_of_labels", true)):
                tables[name][indices[1:-2]] = np.linalg.norm(np.diff(points, 3, axis=0), axis=-1)
            tables["acceleration"][indices[1:-1]] = np.linalg.norm(np.diff(predicted, 2, axis=0), axis=-1)
    for name, title, per in _MOTION:
        if np.isfinite(tables[name]).any():
            summary.add(name, title + origin, tables[name], f"{unit}/{per}", clusters)


def _consecutive_runs(track: dict[int, int]) -> Iterator[list[int]]:
    """Yield the indices of three or more consecutive frames."""
    frames = np.array(sorted(track))
    for run in np.split(frames, np.flatnonzero(np.diff(frames) != 1) + 1):
        if len(run) > 2:
            yield [track[frame] for frame in run.tolist()]


@cache
def _mano_of(file: str, side: Literal["right", "left"]) -> Mano:
    import torch

    from sonjit_lab.hand_models import load_mano
    from sonjit_lab.hand_models.placeholders import mano_by_name

    placeholder = mano_by_name(file, side)
    return load_mano(file, side, torch.float64) if placeholder is None else placeholder.double()


class LandmarkEvaluator:
    """Evaluator of keypoints: hands by the palm (MNAE), bodies by the torso (and PDJ), faces by the eyes (IOD MAE)."""

    def __init__(self, protocol: Protocol, kind: LandmarkKind = "hand") -> None:
        self._curve, self._kind = protocol.curve, kind
        self.main = "pdj" if kind == "body" else _METRICS[kind][0]

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return every labelled instance of the kind; other predictions may be of unlabelled instances."""
        labels = [
            (number, instance, truth)
            for number, labelled in enumerate(sample.instances)
            if labelled.kind == self._kind
            and not labelled.crowd
            and (instance := in_known_order(labelled, sample)) is not None
            and (truth := instance.labelled_px) is not None
        ]
        if not labels:
            return []
        skeleton = labels[0][1].skeleton
        ordered = [reorder_keypoints(item, skeleton) for item in predictions if is_of(item, self._kind)]
        matches = match_predictions([label[:2] for label in labels], ordered)
        rgb = sample.rgb()
        about = summaries.image_conditions(sample, rgb)
        items: list[EvaluatedItem] = []
        for number, instance, truth in labels:
            prediction = matches.get(number)
            points = points_of(prediction, truth)
            item = EvaluatedItem(
                instance=number,
                hidden=hidden_share(instance),
                group=group_of(instance),
                conditions=about
                | summaries.instance_conditions(instance, instance.bounds() or (0, 0, 0, 0), sample, rgb),
                points_px=None if prediction is None else points,
            )
            item = self._evaluate(item, instance, truth, prediction)
            if sample.sequence is not None and sample.frame is not None:
                track = f"{sample.dataset}/{sample.sequence}/{sample.view or ''}/{instance.side or number}"
                item = replace(item, track=track, frame=sample.frame, motion=np.stack([points, truth]))
            items.append(item)
        return items

    def _evaluate(
        self, item: EvaluatedItem, instance: Instance, truth: NDArray[np.float64], prediction: Prediction | None
    ) -> EvaluatedItem:
        """Return an item with its errors: true points (K, 2) in pixels, NaN where unknown."""
        points = points_of(prediction, truth)
        truth[list(instance.derived)] = np.nan  # keypoints derived from other keypoints are not labels
        if self._kind == "body":  # feet are labelled more finely than they are found
            truth[[name not in keypoint_names(_BODY) for name in keypoint_names(instance.skeleton)]] = np.nan
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
            labelled = np.isfinite(truth).all(1) & np.isfinite(instance.keypoints_m).all(1)
            pixels, metres = truth[labelled], instance.keypoints_m[labelled, :2]
            pixels, metres = pixels - pixels.mean(0), metres - metres.mean(0)
            pixels_per_metre = (pixels * metres).sum() / np.square(metres).sum()
            return float(metrics.eye_distances(instance.keypoints_m[None])[0] * pixels_per_metre)
        names = keypoint_names(instance.skeleton)
        if not set(_TORSO) <= set(names):
            raise InputError(f"{instance.skeleton}: the torso requires {' and '.join(_TORSO)}")
        shoulder, hip = (truth[names.index(name)] for name in _TORSO)
        return float(np.linalg.norm(shoulder - hip))

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> summaries.MetricSummary:
        """Return means, share found, PCK and its area, with parts by joint and part."""
        name, title = _METRICS[self._kind]
        errors = summaries.stack_rows([item.errors[name] for item in evaluated])
        main = summaries.stack_rows([item.errors[self.main] for item in evaluated])
        low, high, steps = self._curve
        summary = summaries.MetricSummary()
        if self._kind == "body":
            summary.add("pdj", "PDJ", main, "%", clusters, better="higher")
        summary.add(name, title, errors, "%", clusters)
        areas = 100 * summaries.areas_under_pck(errors, low, high, steps)
        summary.add("auc", f"PCK, area from {low:g} to {high:g} %", areas, "%", clusters, better="higher")
        summary.add("found", "found", 100 * summaries.column(evaluated, "found"), "%", clusters, better="higher")
        if np.isfinite(sides := summaries.column(evaluated, "handedness")).any():
            summary.add("handedness", "side", 100 * sides, "%", clusters, better="higher")
        self._add_parts(summary, evaluated, clusters, main, main)
        summary.curves.append(self._pck("PCK", errors))
        summary.values = summaries.row_means(main if self.main != "pdj" else metrics.found(main))
        return summary

    def _add_parts(
        self,
        summary: summaries.MetricSummary,
        evaluated: Sequence[EvaluatedItem],
        clusters: Sequence[Hashable],
        by_point: NDArray[np.float64],
        by_item: NDArray[np.float64],
    ) -> None:
        """Add metrics of motion, and parts by keypoint of values (N, K) and by condition of values (N, K or 1)."""
        add_motion_metrics(summary, evaluated, clusters, "px", "")
        skeleton = SKELETONS.get(by_point.shape[1])
        hidden = np.array([item.hidden for item in evaluated], np.float64)
        summary.parts = summaries.parts_of(by_point, load_skeleton(skeleton) if skeleton else None, hidden, clusters)
        summary.parts |= summaries.parts_by_condition(by_item, [item.conditions for item in evaluated], clusters)

    def _pck(self, title: str, errors: NDArray[np.float64]) -> Curve:
        x = np.linspace(*self._curve)
        return Curve(title, x.tolist(), metrics.pck_curve(errors, x, average="all").tolist(), "%")


def points_of(prediction: Prediction | None, truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the predicted points (K, 2) in pixels; NaN without a prediction."""
    if prediction is None or prediction.keypoints_px is None:
        return np.full(truth.shape, np.nan)
    return np.asarray(prediction.keypoints_px, np.float64)[:, :2]


def is_of(prediction: Prediction, kind: str) -> bool:
    """Return whether a prediction is of a kind; one in the labels' own order may be of any."""
    return prediction.skeleton is None or prediction.skeleton.partition("_")[0] == kind


def reorder_keypoints(prediction: Prediction, skeleton: str | None) -> Prediction:
    """Return a prediction with its keypoints in another skeleton's order, by name; NaN for those that it lacks."""
    points = prediction.keypoints_px
    if skeleton is None or prediction.skeleton == skeleton or points is None:
        return prediction
    expected = keypoint_names(skeleton)
    if prediction.skeleton is None:
        if len(points) != len(expected):
            raise InputError(f"keypoints_px {points.shape} for {skeleton}: must have {len(expected)}")
        return prediction
    if prediction.skeleton in _MESHES and skeleton in _LABELLED_FACES:
        return replace(prediction, skeleton=skeleton, keypoints_px=face_points(points, skeleton), visible=None)
    predicted_names = keypoint_names(prediction.skeleton)
    if prediction.skeleton in _MESHES and skeleton in _MESHES:  # the longer mesh starts with the shorter one
        predicted_names, expected = (tuple(map(str, range(len(names)))) for names in (predicted_names, expected))
    has = np.array([name in predicted_names for name in expected], np.bool_)
    if not has.any():
        raise InputError(f"{prediction.skeleton} has no keypoint of {skeleton}: they cannot be compared")
    columns = [predicted_names.index(name) if name in predicted_names else 0 for name in expected]
    ordered = np.where(has[:, None], points[columns], np.nan)
    visible = None if prediction.visible is None else prediction.visible[columns] & has
    return replace(prediction, skeleton=skeleton, keypoints_px=ordered, visible=visible)
