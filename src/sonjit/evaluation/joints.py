"""3D joints and meshes of single hands, absolute, relative to the root, or after the best fit.

Single and interacting hands, as InterHand2.6M evaluates them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from sonjit.documents.plots import Curve
from sonjit.evaluation.metrics import (
    Metric,
    MetricSummary,
    areas_under_pck,
    mean_metric,
    parts_of,
    row_means,
    stacked,
)
from sonjit.evaluation.predictions import EvaluatedItem, group_of, hidden_share, known_points, matched, shaped
from sonjit.metrics import (
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
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Instance, Sample
    from sonjit.evaluation.predictions import Prediction
    from sonjit.evaluation.protocols import Alignment, Protocol
    from sonjit.hand_models import Mano

_MM = 1000.0
_PREFIX = {"absolute": "absolute_", "root": "", "bone": "st_", "procrustes": "pa_"}

_BY_LENGTH = sorted(_PREFIX.items(), key=lambda pair: -len(pair[1]))

_TITLE = {
    "absolute": "in the camera's space",
    "root": "relative to the wrist",
    "bone": "scale and place fitted",
    "procrustes": "Procrustes aligned",
}


class Mesh(NamedTuple):
    """A true hand, metres."""

    joints: NDArray[np.float64]  # (21, 3)
    vertices: NDArray[np.float64]  # (778, 3)


class JointEvaluator:
    """Evaluates keypoints in space and, where a set and a model have them, meshes; millimetres."""

    def __init__(self, protocol: Protocol, mano: str | None = None, mano_left: str | None = None) -> None:
        self._protocol = protocol
        self._names = dict(protocol.names)
        self._mano = {"Right": mano, "Left": mano_left}
        self.main = protocol.main

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Every hand of which more than the root is known in space."""
        truth = [
            (number, one)
            for number, one in enumerate(sample.instances)
            if one.kind == "hand"
            and (known := known_points(one.keypoints_m, one.valid_m)) is not None
            and np.isfinite(known).all(1).sum() > 1
        ]
        own = matched(truth, predictions)
        return [self._evaluate(sample, number, one, own.get(number)) for number, one in truth]

    def _evaluate(self, sample: Sample, number: int, one: Instance, prediction: Prediction | None) -> EvaluatedItem:
        truth = known_points(one.keypoints_m, one.valid_m)
        assert truth is not None
        joints = shaped(None if prediction is None else prediction.keypoints_m, truth, "keypoints_m")
        if self._protocol.root == "palm":
            truth, joints = _from_palm(truth), _from_palm(joints)
        errors = {
            self.error_name(alignment): _errors(joints, truth, alignment, prediction, mirror=self._protocol.mirror)
            for alignment in self._protocol.alignments
        }
        numbers: dict[str, float] = {}
        if prediction is not None and prediction.hand_type is not None:
            present = [[one.side == side for side in _SIDES]]
            numbers["handedness"] = float(handedness_hits([prediction.hand_type], present)[0])
        if prediction is not None and prediction.root_depth_m is not None:
            numbers["root_depth"] = _MM * abs(prediction.root_depth_m - float(truth[0, 2]))
        if self._protocol.f_thresholds and (vertices := self._true_vertices(sample, number)) is not None:
            for alignment in self._protocol.alignments:
                numbers |= self._mesh(prediction, joints, Mesh(truth, vertices), alignment)
        points = None if prediction is None else prediction.keypoints_px
        of_recording: dict[str, Any] = {}
        if sample.sequence is not None and sample.frame is not None:
            motion = np.stack([_MM * (own - own[0]) for own in (joints, truth)])
            track = f"{sample.dataset}/{sample.sequence}/{sample.view or ''}/{one.side}"
            of_recording = {"track": track, "frame": sample.frame, "motion": motion}
        return EvaluatedItem(
            instance=number,
            side=one.side,
            hidden=hidden_share(one),
            group=group_of(one),
            errors=errors,
            numbers=numbers,
            points_px=None if points is None else np.asarray(points, np.float64)[:, :2],
            **of_recording,
        )

    def _true_vertices(self, sample: Sample, number: int) -> NDArray[np.float64] | None:
        """As the set gives them, else by its MANO parameters where the user's MANO is there."""
        one = sample.instances[number]
        if one.vertices_m is not None:
            return one.vertices_m
        file = self._mano[one.side or "Right"]
        if one.mesh is None or one.side is None or file in (None, "demo"):
            return None
        return sample.mesh(_mano_of(file, "left" if one.side == "Left" else "right"), number)

    def _mesh(
        self, prediction: Prediction | None, joints: NDArray[np.float64], truth: Mesh, alignment: Alignment
    ) -> dict[str, float]:
        prefix = _PREFIX[alignment]
        limits = self._protocol.f_thresholds
        names = [f"{prefix}mpvpe", f"{prefix}mesh_auc", *(f"{prefix}f{threshold:g}" for threshold in limits)]
        if alignment == "bone":
            return {}  # the servers fit scale and place for joints alone
        if prediction is None:
            return dict.fromkeys(names, math.inf)
        if prediction.vertices_m is None or (alignment == "absolute" and not prediction.placed):
            return {}
        vertices, true = shaped(prediction.vertices_m, truth.vertices, "vertices_m"), truth.vertices
        if alignment == "root":
            vertices, true = vertices - joints[0], true - truth.joints[0]
        points = _aligned(
            vertices, true, "absolute" if alignment == "root" else alignment, mirror=self._protocol.mirror
        )
        errors = _MM * joint_errors(*points)
        scores = f_scores(points.predicted[0], points.truth[0], tuple(limit / _MM for limit in limits))
        area = float(areas_under_pck(errors, *self._protocol.auc).mean())
        values = [float(errors.mean()), 100 * area, *(100 * score.f_score for score in scores)]
        return dict(zip(names, values, strict=True))

    def error_name(self, alignment: Alignment) -> str:
        """The metric of an alignment's mean error."""
        return self._names.get(alignment, f"{_PREFIX[alignment]}mpjpe")

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Means, AUC, meshes, by joint, finger and how much is hidden."""
        summary = MetricSummary()
        hidden = np.array([one.hidden for one in evaluated], np.float64)
        low, high, steps = self._protocol.auc
        thresholds = np.linspace(low, high, steps)
        average = self._protocol.average
        for alignment in self._protocol.alignments:
            name, title = self.error_name(alignment), _TITLE[alignment]
            errors = stacked([one.errors[name] for one in evaluated])
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
                summary.metrics += _by_hidden(name, label, errors, hidden, clusters, "mm", "lower")
                summary.metrics += _by_hidden(auc, until, areas, hidden, clusters, "%", "higher")
        summary.metrics += _of_both_tasks(evaluated, clusters)
        for name in sorted({key for one in evaluated for key in one.numbers} - _OF_BOTH_TASKS.keys()):
            column = np.array([one.numbers.get(name, np.nan) for one in evaluated], np.float64).reshape(-1, 1)
            is_score = not name.endswith("mpvpe")
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
        main = stacked([one.errors[self.main] for one in evaluated])
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
    """(K,) millimetres; NaN where an alignment does not apply."""
    if alignment == "absolute" and prediction is not None and not prediction.placed:
        return np.full(len(truth), np.nan)
    return _MM * joint_errors(*_aligned(joints, truth, alignment, mirror=mirror))[0]


def _from_palm(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A hand (21, 3) with the palm's centre, half-way from the wrist to the middle finger's knuckle, for the wrist."""
    return np.concatenate([points[[0, 9]].mean(0, keepdims=True), points[1:]])


def _aligned(points: NDArray[np.float64], truth: NDArray[np.float64], alignment: Alignment, *, mirror: bool) -> Points:
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
    hidden: NDArray[np.float64],
    clusters: Sequence[Hashable],
    unit: str,
    better: str,
) -> list[Metric]:
    """A metric per bin of how much is hidden; none where the set does not say."""
    if not np.isfinite(hidden).any():
        return []
    return [
        Metric(
            f"{name} {part.name}",
            f"{title}, {part.name} hidden",
            part.mean,
            unit,
            "higher" if better == "higher" else "lower",
            part.interval.low,
            part.interval.high,
            part.counted,
            part.missing,
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
    evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable], unit: str = "mm", where: str = ", from the wrist"
) -> list[Metric]:
    """How smoothly something moves from frame to frame of a recording, beside its labels; none outside of recordings.

    Args:
        evaluated: with the motion of those in recordings.
        clusters: what intervals draw together.
        unit: of the motion.
        where: for the titles, what the motion is relative to.
    """
    joints = next((one.motion.shape[1] for one in evaluated if one.motion is not None), 1)
    tracks: dict[str, dict[int, int]] = {}
    for place, one in enumerate(evaluated):
        if one.motion is not None:
            tracks.setdefault(one.track, {})[one.frame] = place
    tables = {name: np.full((len(evaluated), joints), np.nan) for name, *_ in _MOTION}
    for track in tracks.values():
        for places in _unbroken(track):
            predicted, true = (np.stack([_motion_of(evaluated[place])[which] for place in places]) for which in (0, 1))
            tables["acceleration_error"][places[1:-1]] = acceleration_errors(predicted, true)
            for name, points in (("jitter", predicted), ("jitter_of_labels", true)):
                tables[name][places[1:-2]] = np.linalg.norm(np.diff(points, 3, axis=0), axis=-1)
            tables["acceleration"][places[1:-1]] = np.linalg.norm(np.diff(predicted, 2, axis=0), axis=-1)
    return [
        mean_metric(name, title + where, tables[name], f"{unit}/{per}", clusters=clusters)
        for name, title, per in _MOTION
        if np.isfinite(tables[name]).any()
    ]


_MOTION = (
    ("acceleration_error", "acceleration error", "frame²"),
    ("acceleration", "acceleration", "frame²"),
    ("jitter", "jitter (jerk)", "frame³"),
    ("jitter_of_labels", "jitter of the labels", "frame³"),
)


def _unbroken(track: dict[int, int]) -> Iterator[list[int]]:
    """Places of frames that follow each other by number, three or more."""
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


def _motion_of(one: EvaluatedItem) -> NDArray[np.float64]:
    assert one.motion is not None
    return one.motion


@cache
def _mano_of(file: str, side: Literal["right", "left"]) -> Mano:
    import torch

    from sonjit.hand_models import load_mano

    return load_mano(file, side, torch.float64)


_SIDES = ("Right", "Left")
_JOINTS = 21
_ROOTS = (0, _JOINTS)  # wrists, in MediaPipe's order


class TwoHandEvaluator:
    """Evaluates images of one person's hands; joints of the right hand, then of the left one; millimetres."""

    main = "mpjpe"

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """The image, where a hand is labelled in space."""
        hands = {one.side: one for one in sample.instances if one.kind == "hand" and one.side is not None}
        truth = np.concatenate([_joints(hands.get(side)) for side in _SIDES])
        if not np.isfinite(truth).any():
            return []
        two = sample.tags.get("hand_type", "interacting" if len(hands) == 2 else "") == "interacting"
        own: dict[str, Prediction] = {}
        for prediction in sorted(predictions, key=lambda prediction: prediction.score):
            if prediction.side is not None:
                own[prediction.side] = prediction  # the surest last
        joints = np.concatenate([_predicted(own.get(side)) for side in _SIDES])
        errors = _MM * two_hand_errors(joints[None], truth[None], roots=_ROOTS)
        numbers = {"interacting": float(two)}
        if own and all(prediction.placed for prediction in own.values()):
            placed = joints.copy()
            offset = own["Left"].root_offset_m if "Left" in own else None
            if offset is not None:  # a left root that is predicted from the right one, beside its own place
                placed[_ROOTS[1]] = placed[_ROOTS[0]] + offset
            offsets = root_offset_errors(placed[None], truth[None], interacting=np.array([two]), roots=_ROOTS)
            numbers["mrrpe"] = _MM * float(offsets[0])
        depths = {side: own[side].root_depth_m for side in hands if side in own}
        off = [abs(depth - truth[_ROOTS[_SIDES.index(side)], 2]) for side, depth in depths.items() if depth is not None]
        if np.isfinite(off).any():
            numbers["root_depth"] = _MM * float(np.nanmean(off))
        scores = [own[side].score if side in own else 0.0 for side in _SIDES]
        present = _hand_type(sample, hands)
        if present is not None and np.isfinite(scores).all():
            numbers["handedness"] = float(handedness_hits([scores], [present])[0])
            for side, score, is_there in zip(_SIDES, scores, present, strict=True):
                numbers |= {f"score_{side}": score, f"present_{side}": float(is_there)}
        points = [own[side].keypoints_px for side in hands if side in own]
        drawn = [np.asarray(one, np.float64)[:, :2] for one in points if one is not None]
        return [
            EvaluatedItem(
                side="both" if two else next(iter(hands)),
                hidden=float(np.mean([hidden_share(one) for one in hands.values()])),
                errors={"mpjpe": errors[0]},
                numbers=numbers,
                points_px=np.concatenate(drawn) if drawn else None,
            )
        ]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """MPJPE of single, interacting and all, MRRPE, handedness; by joint and finger of both hands."""
        errors = stacked([one.errors["mpjpe"] for one in evaluated])
        two = np.array([one.numbers["interacting"] > 0 for one in evaluated], np.bool_)
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
        summary.metrics += _of_both_tasks(evaluated, clusters)
        summary.metrics += _precisions(evaluated)
        hand = load_skeleton("hand_mediapipe21")
        hidden = np.array([one.hidden for one in evaluated], np.float64)
        both = np.concatenate([errors[:, :_JOINTS], errors[:, _JOINTS:]]) if len(evaluated) else errors
        summary.parts = parts_of(both, hand, np.concatenate([hidden, hidden]), [*clusters, *clusters])
        x = np.linspace(*self._protocol.auc)
        summary.curves.append(Curve("PCK", x.tolist(), pck_curve(errors, x, average=average).tolist(), "mm"))
        summary.values = row_means(errors)
        return summary


_OF_BOTH_TASKS: dict[str, tuple[str, str, Literal["lower", "higher"]]] = {
    "handedness": ("handedness, accuracy", "", "higher"),
    "root_depth": ("the root's depth", "mm", "lower"),
}
"""Metrics that hands alone and in pairs have: title, unit, which way."""


def _of_both_tasks(evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> list[Metric]:
    columns = {name: _column(evaluated, name) for name in _OF_BOTH_TASKS}
    return [
        mean_metric(name, title, columns[name], unit, clusters=clusters, better=better)
        for name, (title, unit, better) in _OF_BOTH_TASKS.items()
        if np.isfinite(columns[name]).any()
    ]


def _precisions(evaluated: Sequence[EvaluatedItem]) -> list[Metric]:
    """Average precision of saying that there is a right, and a left hand, and the mean of both."""
    precisions: dict[str, float] = {}
    counts: dict[str, int] = {}
    for side in _SIDES:
        scores, present = _column(evaluated, f"score_{side}")[:, 0], _column(evaluated, f"present_{side}")[:, 0]
        known = np.isfinite(present)
        precisions[side] = average_precision(scores[known], present[known] > 0)
        counts[side] = int(known.sum())
    rows = [(f"handedness_ap_{side.lower()}", f"handedness, AP, {side.lower()}", precisions[side]) for side in _SIDES]
    values = [value for value in precisions.values() if math.isfinite(value)]
    if not values:
        return []
    rows.append(("handedness_ap", "handedness, AP, mean of both", float(np.mean(values))))
    return [Metric(name, title, value, "", "higher", counted=counts[_SIDES[0]]) for name, title, value in rows]


def _hand_type(sample: Sample, hands: Collection[str]) -> list[bool] | None:
    """Whether there is a right and a left hand; None where the set does not know."""
    if not sample.tags.get("hand_type_valid", True):
        return None
    return [side in hands for side in _SIDES]


def _joints(hand: Instance | None) -> NDArray[np.float64]:
    """(21, 3) metres; NaN without a label."""
    known = None if hand is None else known_points(hand.keypoints_m, hand.valid_m)
    return np.full((_JOINTS, 3), np.nan) if known is None else known


def _predicted(prediction: Prediction | None) -> NDArray[np.float64]:
    return shaped(None if prediction is None else prediction.keypoints_m, np.full((_JOINTS, 3), np.nan), "keypoints_m")


def _column(evaluated: Sequence[EvaluatedItem], name: str) -> NDArray[np.float64]:
    return np.array([one.numbers.get(name, math.nan) for one in evaluated], np.float64).reshape(-1, 1)
