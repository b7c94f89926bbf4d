"""Evaluate joints of two hands."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sonjit.report.documents import Curve
from sonjit.results.skeletons import load_skeleton
from sonjit_lab import metrics
from sonjit_lab.datasets import Sample
from sonjit_lab.evaluation import metrics as summaries
from sonjit_lab.evaluation.landmarks import MM, SIDES, add_shared_metrics
from sonjit_lab.evaluation.models import ModelChoice
from sonjit_lab.evaluation.predictions import (
    EvaluatedItem,
    Prediction,
    hidden_share,
    in_known_order,
    match_shape,
)
from sonjit_lab.evaluation.protocols import Protocol

_JOINTS = 21
_ROOTS = (0, _JOINTS)  # wrists, in MediaPipe's order


def open_evaluator(protocol: Protocol, _: ModelChoice) -> TwoHandEvaluator:
    """Return the evaluator of a protocol of the task `two_hands`."""
    return TwoHandEvaluator(protocol)


class TwoHandEvaluator:
    """Evaluator of images of one person's hands, joints of the right hand first, in millimetres."""

    main = "mpjpe"

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the image if a hand has 3D labels, or the hand type is labelled."""
        hands = {
            item.side: in_known_order(item, sample) or item
            for item in sample.instances
            if item.kind == "hand" and item.side is not None
        }
        unknown = np.full((_JOINTS, 3), np.nan)
        labels = (hands.get(side) for side in SIDES)
        labelled_points = [None if hand is None else hand.labelled_m for hand in labels]
        truth = np.concatenate([unknown if points is None else points for points in labelled_points])
        if not np.isfinite(truth).any() and not (hands and "hand_type" in sample.tags):
            return []
        two = sample.tags.get("hand_type", "interacting" if len(hands) == 2 else "") == "interacting"
        ordered = sorted(predictions, key=lambda prediction: prediction.score)
        by_side = {item.side: item for item in ordered if item.side is not None}  # the surest of each side is last
        joints = np.concatenate(
            [
                match_shape(by_side[side].keypoints_m if side in by_side else None, unknown, "keypoints_m")
                for side in SIDES
            ]
        )
        present = [side in hands for side in SIDES] if sample.tags.get("hand_type_valid", True) else None
        numbers = {"interacting": float(two)}
        numbers |= _relative_root_error(by_side, joints, truth, two=two)
        numbers |= _root_depth_error(by_side, hands, truth)
        numbers |= _hand_type_scores(by_side, present)
        points = [by_side[side].keypoints_px for side in hands if side in by_side]
        drawn = [np.asarray(point, np.float64)[:, :2] for point in points if point is not None]
        return [
            EvaluatedItem(
                side="both" if two else next(iter(hands)),
                hidden=float(np.mean([hidden_share(value) for value in hands.values()])),
                errors={"mpjpe": MM * metrics.two_hand_errors(joints[None], truth[None], roots=_ROOTS)[0]},
                numbers=numbers,
                points_px=np.concatenate(drawn) if drawn else None,
            )
        ]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> summaries.MetricSummary:
        """Return MPJPE of single, interacting and all hands, MRRPE and handedness, with parts of both hands."""
        errors = summaries.stack_rows([item.errors["mpjpe"] for item in evaluated])
        two = np.array([item.numbers["interacting"] > 0 for item in evaluated], np.bool_)
        average = self._protocol.average
        summary = summaries.MetricSummary(values=summaries.row_means(errors))
        for name, title, chosen in (
            ("mpjpe", "MPJPE, all", np.ones(len(two), np.bool_)),
            ("mpjpe_single", "MPJPE, single hands", ~two),
            ("mpjpe_interacting", "MPJPE, interacting hands", two),
        ):
            among = [cluster for cluster, take in zip(clusters, chosen.tolist(), strict=True) if take]
            summary.add(name, title, errors[chosen], "mm", among, average=average)
        if np.isfinite(offsets := summaries.column(evaluated, "mrrpe")).any():
            summary.add("mrrpe", "MRRPE", offsets, "mm", clusters)
        add_shared_metrics(summary, evaluated, clusters)
        summary.metrics += _hand_precisions(evaluated)
        hidden = np.array([item.hidden for item in evaluated], np.float64)
        both = np.concatenate([errors[:, :_JOINTS], errors[:, _JOINTS:]]) if len(evaluated) else errors
        skeleton = load_skeleton("hand_mediapipe21")
        summary.parts = summaries.parts_of(both, skeleton, np.concatenate([hidden, hidden]), [*clusters, *clusters])
        x = np.linspace(*self._protocol.auc)
        summary.curves.append(Curve("PCK", x.tolist(), metrics.pck_curve(errors, x, average=average).tolist(), "mm"))
        return summary


def _relative_root_error(
    by_side: Mapping[str, Prediction], joints: NDArray[np.float64], truth: NDArray[np.float64], *, two: bool
) -> dict[str, float]:
    """Return the error of the left root relative to the right one in joints (42, 3), m, if all hands are `placed`."""
    if not by_side or not all(prediction.placed for prediction in by_side.values()):
        return {}
    placed = joints.copy()
    offset = by_side["Left"].root_offset_m if "Left" in by_side else None
    if offset is not None:  # a left root that is predicted from the right one, in addition to its own position
        placed[_ROOTS[1]] = placed[_ROOTS[0]] + offset
    offsets = metrics.root_offset_errors(placed[None], truth[None], interacting=np.array([two]), roots=_ROOTS)
    return {"mrrpe": MM * float(offsets[0])}


def _root_depth_error(
    by_side: Mapping[str, Prediction], sides: Collection[str], truth: NDArray[np.float64]
) -> dict[str, float]:
    """Return the mean error of the depths of the labelled hands' roots, if any is predicted."""
    depths = {side: by_side[side].root_depth_m for side in sides if side in by_side}
    errors = [abs(depth - truth[_ROOTS[SIDES.index(side)], 2]) for side, depth in depths.items() if depth is not None]
    return {"root_depth": MM * float(np.nanmean(errors))} if np.isfinite(errors).any() else {}


def _hand_type_scores(by_side: Mapping[str, Prediction], present: list[bool] | None) -> dict[str, float]:
    """Return the accuracy of the predicted hand type, and for each side its score and whether it is labelled."""
    scores = [by_side[side].score if side in by_side else 0.0 for side in SIDES]
    if present is None:
        return {}
    numbers = {"handedness": float(metrics.handedness_hits([scores], [present])[0])}
    for side, score, is_present in zip(SIDES, scores, present, strict=True):
        numbers |= {f"score_{side}": score, f"present_{side}": float(is_present)}
    return numbers


def _hand_precisions(evaluated: Sequence[EvaluatedItem]) -> list[summaries.Metric]:
    """Return the average precision of the presence of a right and a left hand, and their mean."""
    rows: list[tuple[str, str, float]] = []
    counted = 0
    for side in SIDES:
        scores, present = summaries.column(evaluated, f"score_{side}"), summaries.column(evaluated, f"present_{side}")
        labelled = np.isfinite(present)
        value, name = metrics.average_precision(scores[labelled], present[labelled] > 0), side.lower()
        rows.append((f"handedness_ap_{name}", f"handedness, AP, {name}", value))
        counted = int(labelled.sum())
    values = [value for *_, value in rows if math.isfinite(value)]
    if not values:
        return []
    rows.append(("handedness_ap", "handedness, AP, mean of both", float(np.mean(values))))
    return [summaries.Metric(name, title, value, "", "higher", counted=counted) for name, title, value in rows]
