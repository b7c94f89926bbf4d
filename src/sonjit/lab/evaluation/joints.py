"""Evaluate 3D joints: of both hands of a person as InterHand2.6M does, and with meshes of single hands."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit.lab.datasets import Instance, Sample
from sonjit.lab.documents import Curve
from sonjit.lab.evaluation.metrics import (
    Metric,
    MetricSummary,
    areas_under_pck,
    mean_metric,
    parts_of,
    row_means,
    stack_rows,
)
from sonjit.lab.evaluation.predictions import (
    EvaluatedItem,
    Prediction,
    group_of,
    hidden_share,
    known_points,
    match_predictions,
    match_shape,
)
from sonjit.lab.evaluation.protocols import Alignment, Protocol
from sonjit.lab.metrics import (
    OCCLUSION_EDGES,
    Points,
    acceleration_errors,
    average_precision,
    bone_aligned,
    by_bin,
    f_scores,
    handedness_hits,
    joint_errors,
    pck_curve,
    root_offset_errors,
    root_relative,
    similarity_aligned,
    two_hand_errors,
)
from sonjit.results.skeletons import load_skeleton

if TYPE_CHECKING:
    from sonjit.lab.hand_models import Mano

MM = 1000.0
SIDES = ("Right", "Left")
_JOINTS = 21
_ROOTS = (0, _JOINTS)  # wrists, in MediaPipe's order
SHARED_METRICS: dict[str, tuple[str, str, Literal["lower", "higher"]]] = {
    "handedness": ("handedness, accuracy", "", "higher"),
    "root_depth": ("the root's depth", "mm", "lower"),
}
"""Metrics of single hands and of pairs: title, unit, direction."""


class TwoHandEvaluator:
    """Evaluator of images of one person's hands, joints of the right hand first, in millimetres."""

    main = "mpjpe"

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the image if a hand has 3D labels."""
        hands = {
            instance.side: instance
            for instance in sample.instances
            if instance.kind == "hand" and instance.side is not None
        }
        truth = np.concatenate([_labelled_joints(hands.get(side)) for side in SIDES])
        if not np.isfinite(truth).any():
            return []
        two = sample.tags.get("hand_type", "interacting" if len(hands) == 2 else "") == "interacting"
        own: dict[str, Prediction] = {}
        for prediction in sorted(predictions, key=lambda prediction: prediction.score):
            if prediction.side is not None:
                own[prediction.side] = prediction  # the surest last
        joints = np.concatenate([_predicted_joints(own.get(side)) for side in SIDES])
        errors = MM * two_hand_errors(joints[None], truth[None], roots=_ROOTS)
        numbers = {"interacting": float(two)}
        numbers |= _relative_root_error(own, joints, truth, two)
        numbers |= _root_depth_error(own, hands, truth)
        numbers |= _hand_type_scores(own, _hand_type(sample, hands))
        points = [own[side].keypoints_px for side in hands if side in own]
        drawn = [np.asarray(point, np.float64)[:, :2] for point in points if point is not None]
        return [
            EvaluatedItem(
                side="both" if two else next(iter(hands)),
                hidden=float(np.mean([hidden_share(value) for value in hands.values()])),
                errors={"mpjpe": errors[0]},
                numbers=numbers,
                points_px=np.concatenate(drawn) if drawn else None,
            )
        ]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return MPJPE of single, interacting and all hands, MRRPE and handedness, with parts by joint and finger of
        both hands.
        """
        errors = stack_rows([item.errors["mpjpe"] for item in evaluated])
        two = np.array([item.numbers["interacting"] > 0 for item in evaluated], np.bool_)
        average = self._protocol.average
        summary = MetricSummary()
        for name, title, chosen in (
            ("mpjpe", "MPJPE, all", np.ones(len(two), np.bool_)),
            ("mpjpe_single", "MPJPE, single hands", ~two),
            ("mpjpe_interacting", "MPJPE, interacting hands", two),
        ):
            among = [cluster for cluster, take in zip(clusters, chosen.tolist(), strict=True) if take]
            summary.metrics.append(mean_metric(name, title, errors[chosen], "mm", average=average, clusters=among))
        offsets = _column(evaluated, "mrrpe")
        if np.isfinite(offsets).any():
            summary.metrics.append(mean_metric("mrrpe", "MRRPE", offsets, "mm", clusters=clusters))
        summary.metrics += shared_metrics(evaluated, clusters)
        summary.metrics += _hand_precisions(evaluated)
        hand = load_skeleton("hand_mediapipe21")
        hidden = np.array([item.hidden for item in evaluated], np.float64)
        both = np.concatenate([errors[:, :_JOINTS], errors[:, _JOINTS:]]) if len(evaluated) else errors
        summary.parts = parts_of(both, hand, np.concatenate([hidden, hidden]), [*clusters, *clusters])
        x = np.linspace(*self._protocol.auc)
        summary.curves.append(Curve("PCK", x.tolist(), pck_curve(errors, x, average=average).tolist(), "mm"))
        summary.values = row_means(errors)
        return summary


def _relative_root_error(
    own: Mapping[str, Prediction], joints: NDArray[np.float64], truth: NDArray[np.float64], two: bool
) -> dict[str, float]:
    """Return the error of the left root relative to the right one, if all hands are positioned in the camera's frame.

    Args:
        own: Prediction of each side.
        joints: Predicted joints (42, 3) in metres.
        truth: Labelled joints (42, 3) in metres.
        two: True if the hands interact.
    """
    if not own or not all(prediction.placed for prediction in own.values()):
        return {}
    placed = joints.copy()
    offset = own["Left"].root_offset_m if "Left" in own else None
    if offset is not None:  # a left root that is predicted from the right one, in addition to its own position
        placed[_ROOTS[1]] = placed[_ROOTS[0]] + offset
    offsets = root_offset_errors(placed[None], truth[None], interacting=np.array([two]), roots=_ROOTS)
    return {"mrrpe": MM * float(offsets[0])}


def _root_depth_error(
    own: Mapping[str, Prediction], sides: Collection[str], truth: NDArray[np.float64]
) -> dict[str, float]:
    """Return the mean error of the depths of the labelled hands' roots, if any is predicted."""
    depths = {side: own[side].root_depth_m for side in sides if side in own}
    errors = [abs(depth - truth[_ROOTS[SIDES.index(side)], 2]) for side, depth in depths.items() if depth is not None]
    return {"root_depth": MM * float(np.nanmean(errors))} if np.isfinite(errors).any() else {}


def _hand_type_scores(own: Mapping[str, Prediction], present: list[bool] | None) -> dict[str, float]:
    """Return the accuracy of the predicted hand type, and for each side its score and whether it is labelled."""
    scores = [own[side].score if side in own else 0.0 for side in SIDES]
    if present is None or not np.isfinite(scores).all():
        return {}
    numbers = {"handedness": float(handedness_hits([scores], [present])[0])}
    for side, score, is_present in zip(SIDES, scores, present, strict=True):
        numbers |= {f"score_{side}": score, f"present_{side}": float(is_present)}
    return numbers


def shared_metrics(evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> list[Metric]:
    columns = {name: _column(evaluated, name) for name in SHARED_METRICS}
    return [
        mean_metric(name, title, columns[name], unit, clusters=clusters, better=better)
        for name, (title, unit, better) in SHARED_METRICS.items()
        if np.isfinite(columns[name]).any()
    ]


def _hand_precisions(evaluated: Sequence[EvaluatedItem]) -> list[Metric]:
    """Return the average precision of the presence of a right and a left hand, and their mean."""
    precisions: dict[str, float] = {}
    counts: dict[str, int] = {}
    for side in SIDES:
        scores, present = _column(evaluated, f"score_{side}")[:, 0], _column(evaluated, f"present_{side}")[:, 0]
        known = np.isfinite(present)
        precisions[side] = average_precision(scores[known], present[known] > 0)
        counts[side] = int(known.sum())
    rows = [(f"handedness_ap_{side.lower()}", f"handedness, AP, {side.lower()}", precisions[side]) for side in SIDES]
    values = [value for value in precisions.values() if math.isfinite(value)]
    if not values:
        return []
    rows.append(("handedness_ap", "handedness, AP, mean of both", float(np.mean(values))))
    return [Metric(name, title, value, "", "higher", counted=counts[SIDES[0]]) for name, title, value in rows]


def _hand_type(sample: Sample, hands: Collection[str]) -> list[bool] | None:
    """Return whether there is a right and a left hand; None if the set does not label it."""
    if not sample.tags.get("hand_type_valid", True):
        return None
    return [side in hands for side in SIDES]


def _labelled_joints(hand: Instance | None) -> NDArray[np.float64]:
    """Return joints (21, 3) in metres; NaN without a label."""
    known = None if hand is None else known_points(hand.keypoints_m, hand.valid_m)
    return np.full((_JOINTS, 3), np.nan) if known is None else known


def _predicted_joints(prediction: Prediction | None) -> NDArray[np.float64]:
    return match_shape(
        None if prediction is None else prediction.keypoints_m, np.full((_JOINTS, 3), np.nan), "keypoints_m"
    )


def _column(evaluated: Sequence[EvaluatedItem], name: str) -> NDArray[np.float64]:
    return np.array([item.numbers.get(name, math.nan) for item in evaluated], np.float64).reshape(-1, 1)


_PREFIX = {"absolute": "absolute_", "root": "", "bone": "st_", "procrustes": "pa_"}

_BY_LENGTH = sorted(_PREFIX.items(), key=lambda pair: -len(pair[1]))

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


class Mesh(NamedTuple):
    """True mesh of a hand in metres."""

    joints: NDArray[np.float64]  # (21, 3)
    vertices: NDArray[np.float64]  # (778, 3)


class JointEvaluator:
    """Evaluator of 3D keypoints and, if the set and the model have them, meshes, in millimetres."""

    def __init__(self, protocol: Protocol, mano: str | None = None, mano_left: str | None = None) -> None:
        self._protocol = protocol
        self._names = protocol.names
        self._mano = {"Right": mano, "Left": mano_left}
        self.main = protocol.main

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return an item for every hand with more 3D labels than the root."""
        truth = [
            (number, instance)
            for number, instance in enumerate(sample.instances)
            if instance.kind == "hand"
            and (known := known_points(instance.keypoints_m, instance.valid_m)) is not None
            and np.isfinite(known).all(1).sum() > 1
        ]
        own = match_predictions(truth, predictions)
        return [self._evaluate(sample, number, item, own.get(number)) for number, item in truth]

    def _evaluate(
        self, sample: Sample, number: int, instance: Instance, prediction: Prediction | None
    ) -> EvaluatedItem:
        truth = known_points(instance.keypoints_m, instance.valid_m)
        assert truth is not None
        joints = match_shape(None if prediction is None else prediction.keypoints_m, truth, "keypoints_m")
        if self._protocol.root == "palm":
            truth, joints = _replace_wrist_by_palm(truth), _replace_wrist_by_palm(joints)
        errors = {
            self.error_name(alignment): _errors(joints, truth, alignment, prediction, mirror=self._protocol.mirror)
            for alignment in self._protocol.alignments
        }
        numbers = _single_numbers(instance, prediction, truth)
        if self._protocol.f_thresholds and (vertices := self._true_vertices(sample, number)) is not None:
            for alignment in self._protocol.alignments:
                numbers |= self._mesh(prediction, joints, Mesh(truth, vertices), alignment)
        points = None if prediction is None else prediction.keypoints_px
        of_recording: dict[str, Any] = {}
        if sample.sequence is not None and sample.frame is not None:
            motion = np.stack([MM * (own - own[0]) for own in (joints, truth)])
            track = f"{sample.dataset}/{sample.sequence}/{sample.view or ''}/{instance.side}"
            of_recording = {"track": track, "frame": sample.frame, "motion": motion}
        return EvaluatedItem(
            instance=number,
            side=instance.side,
            hidden=hidden_share(instance),
            group=group_of(instance),
            errors=errors,
            numbers=numbers,
            points_px=None if points is None else np.asarray(points, np.float64)[:, :2],
            **of_recording,
        )

    def _true_vertices(self, sample: Sample, number: int) -> NDArray[np.float64] | None:
        """Return the labelled vertices, or else those of the MANO parameters if the user has MANO."""
        item = sample.instances[number]
        if item.vertices_m is not None:
            return item.vertices_m
        file = self._mano[item.side or "Right"]
        if item.mesh is None or item.side is None or file in (None, "demo"):
            return None
        return sample.mesh(_mano_of(file, "left" if item.side == "Left" else "right"), number)

    def _mesh(
        self, prediction: Prediction | None, joints: NDArray[np.float64], truth: Mesh, alignment: Alignment
    ) -> dict[str, float]:
        prefix = _PREFIX[alignment]
        limits = self._protocol.f_thresholds
        names = [f"{prefix}mpvpe", f"{prefix}mesh_auc", *(f"{prefix}f{threshold:g}" for threshold in limits)]
        if alignment == "bone":
            return {}  # the servers fit scale and position only for joints
        if prediction is None:
            return dict.fromkeys(names, math.inf)
        if prediction.vertices_m is None or (alignment == "absolute" and not prediction.placed):
            return {}
        vertices, true = match_shape(prediction.vertices_m, truth.vertices, "vertices_m"), truth.vertices
        if alignment == "root":
            vertices, true = vertices - joints[0], true - truth.joints[0]
        points = _align(vertices, true, "absolute" if alignment == "root" else alignment, mirror=self._protocol.mirror)
        errors = MM * joint_errors(*points)
        scores = f_scores(points.predicted[0], points.truth[0], tuple(limit / MM for limit in limits))
        area = float(areas_under_pck(errors, *self._protocol.auc).mean())
        values = [float(errors.mean()), 100 * area, *(100 * score.f_score for score in scores)]
        return dict(zip(names, values, strict=True))

    def error_name(self, alignment: Alignment) -> str:
        """Return the metric of an alignment's mean error."""
        return self._names.get(alignment, f"{_PREFIX[alignment]}mpjpe")

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return means, AUC and mesh metrics, with parts by joint, finger and hidden share."""
        summary = MetricSummary()
        hidden = np.array([item.hidden for item in evaluated], np.float64)
        low, high, steps = self._protocol.auc
        thresholds = np.linspace(low, high, steps)
        average = self._protocol.average
        for alignment in self._protocol.alignments:
            name, title = self.error_name(alignment), _TITLE[alignment]
            errors = stack_rows([item.errors[name] for item in evaluated])
            if alignment == "absolute" and not np.isfinite(errors).any():
                continue  # nothing that was predicted has a place before the camera
            areas = 100 * areas_under_pck(errors, low, high, steps)
            label = f"{self._names.get(alignment, 'MPJPE').upper()}, {title}"
            summary.metrics.append(mean_metric(name, label, errors, "mm", average=average, clusters=clusters))
            auc = f"{_PREFIX[alignment]}auc"
            until = f"PCK, area from {low:g} to {high:g} mm, {title}"
            metric = mean_metric(auc, until, areas, "%", average=average, clusters=clusters, better="higher")
            summary.metrics.append(metric)
            curve = pck_curve(errors, thresholds, average=average).tolist()
            summary.curves.append(Curve(f"PCK, {title}", thresholds.tolist(), curve, "mm"))
            if alignment == "procrustes":
                summary.metrics += _by_hidden(
                    name, label, errors, hidden=hidden, clusters=clusters, unit="mm", better="lower"
                )
                summary.metrics += _by_hidden(
                    auc, until, areas, hidden=hidden, clusters=clusters, unit="%", better="higher"
                )
        summary.metrics += shared_metrics(evaluated, clusters)
        for name in sorted({key for item in evaluated for key in item.numbers} - SHARED_METRICS.keys()):
            column = np.array([item.numbers.get(name, np.nan) for item in evaluated], np.float64).reshape(-1, 1)
            is_score = not name.endswith("mpvpe")
            if is_score and np.isfinite(column).any():
                column = np.where(np.isinf(column), 0.0, column)  # a missing mesh has no vertex within a limit
            summary.metrics.append(
                mean_metric(
                    name,
                    _mesh_title(name),
                    column,
                    "%" if is_score else "mm",
                    clusters=clusters,
                    better="higher" if is_score else "lower",
                )
            )
        summary.metrics += motion_metrics(evaluated, clusters)
        main = stack_rows([item.errors[self.main] for item in evaluated])
        skeleton = load_skeleton("hand_mediapipe21")
        if self._protocol.root == "palm":
            skeleton = replace(skeleton, keypoints=("palm_center", *skeleton.keypoints[1:]))
        summary.parts = parts_of(main, skeleton, hidden, clusters)
        summary.values = row_means(main)
        return summary


def _errors(
    joints: NDArray[np.float64],
    truth: NDArray[np.float64],
    alignment: Alignment,
    prediction: Prediction | None,
    *,
    mirror: bool,
) -> NDArray[np.float64]:
    """Return errors (K,) in millimetres; NaN if an alignment does not apply."""
    if alignment == "absolute" and prediction is not None and not prediction.placed:
        return np.full(len(truth), np.nan)
    return MM * joint_errors(*_align(joints, truth, alignment, mirror=mirror))[0]


def _replace_wrist_by_palm(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a hand (21, 3) whose wrist is replaced by the palm's centre, halfway to the middle finger's knuckle."""
    return np.concatenate([points[[0, 9]].mean(0, keepdims=True), points[1:]])


def _align(points: NDArray[np.float64], truth: NDArray[np.float64], alignment: Alignment, *, mirror: bool) -> Points:
    prediction, true = points[None], truth[None]
    valid = np.asarray(np.isfinite(true).all(-1), np.bool_)
    match alignment:
        case "absolute":
            return Points(prediction, true, valid)
        case "root":
            return root_relative(prediction, true, valid, root=0)
        case "bone":
            return bone_aligned(prediction, true, valid, root=0, end=9)
        case "procrustes":
            return similarity_aligned(prediction, true, valid, mirror=mirror)


def _by_hidden(
    name: str,
    title: str,
    values: NDArray[np.float64],
    *,
    hidden: NDArray[np.float64],
    clusters: Sequence[Hashable],
    unit: str,
    better: str,
) -> list[Metric]:
    """Return a metric per bin of the hidden share; none if the set does not label it."""
    if not np.isfinite(hidden).any():
        return []
    return [
        Metric(
            name=f"{name} {part.name}",
            title=f"{title}, {part.name} hidden",
            value=part.mean,
            unit=unit,
            better="higher" if better == "higher" else "lower",
            low=part.interval.low,
            high=part.interval.high,
            counted=part.counted,
            missing=part.missing,
        )
        for part in by_bin(values, hidden, OCCLUSION_EDGES, clusters=clusters)
    ]


def _mesh_title(name: str) -> str:
    prefix, title = next((key, _TITLE[name_]) for name_, key in _BY_LENGTH if name.startswith(key))
    match name.removeprefix(prefix):
        case "mpvpe":
            return f"mesh error, {title}"
        case "mesh_auc":
            return f"PCK of vertices, area, {title}"
        case score:
            return f"F@{score.removeprefix('f')} mm, {title}"


def motion_metrics(
    evaluated: Sequence[EvaluatedItem],
    clusters: Sequence[Hashable],
    unit: str = "mm",
    origin: str = ", from the wrist",
) -> list[Metric]:
    """Return the smoothness of motion over the frames of recordings, also for the labels; empty without recordings.

    Args:
        evaluated: Items with the motion of those in recordings.
        clusters: Units of resampling for intervals.
        unit: Unit of the motion.
        origin: Origin of the motion, shown in titles.
    """
    joints = next((item.motion.shape[1] for item in evaluated if item.motion is not None), 1)
    tracks: dict[str, dict[int, int]] = {}
    for index, evaluated_hand in enumerate(evaluated):
        if evaluated_hand.motion is not None:
            tracks.setdefault(evaluated_hand.track, {})[evaluated_hand.frame] = index
    tables = {name: np.full((len(evaluated), joints), np.nan) for name, *_ in _MOTION}
    for track in tracks.values():
        for indices in _consecutive_runs(track):
            predicted, true = (np.stack([_motion_of(evaluated[index])[which] for index in indices]) for which in (0, 1))
            tables["acceleration_error"][indices[1:-1]] = acceleration_errors(predicted, true)
            for name, points in (("jitter", predicted), ("jitter_of_labels", true)):
                tables[name][indices[1:-2]] = np.linalg.norm(np.diff(points, 3, axis=0), axis=-1)
            tables["acceleration"][indices[1:-1]] = np.linalg.norm(np.diff(predicted, 2, axis=0), axis=-1)
    return [
        mean_metric(name, title + origin, tables[name], f"{unit}/{per}", clusters=clusters)
        for name, title, per in _MOTION
        if np.isfinite(tables[name]).any()
    ]


def _consecutive_runs(track: dict[int, int]) -> Iterator[list[int]]:
    """Yield the indices of three or more consecutive frames."""
    run: list[int] = []
    last = None
    for frame in sorted(track):
        if last is not None and frame != last + 1:
            if len(run) > 2:
                yield run
            run = []
        run.append(track[frame])
        last = frame
    if len(run) > 2:
        yield run


def _motion_of(item: EvaluatedItem) -> NDArray[np.float64]:
    assert item.motion is not None
    return item.motion


@cache
def _mano_of(file: str, side: Literal["right", "left"]) -> Mano:
    import torch

    from sonjit.lab.hand_models import load_mano

    return load_mano(file, side, torch.float64)


def _single_numbers(instance: Instance, prediction: Prediction | None, truth: NDArray[np.float64]) -> dict[str, float]:
    """Return the accuracy of the hand type and the error of the root depth, if they are predicted."""
    numbers: dict[str, float] = {}
    if prediction is not None and prediction.hand_type is not None:
        present = [[instance.side == side for side in SIDES]]
        numbers["handedness"] = float(handedness_hits([prediction.hand_type], present)[0])
    if prediction is not None and prediction.root_depth_m is not None:
        numbers["root_depth"] = MM * abs(prediction.root_depth_m - float(truth[0, 2]))
    return numbers
