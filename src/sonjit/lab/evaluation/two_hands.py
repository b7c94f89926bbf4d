"""Evaluate the 3D joints of both hands of a person as InterHand2.6M does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from sonjit.lab.documents.plots import Curve
from sonjit.lab.evaluation.metrics import (
    Metric,
    MetricSummary,
    mean_metric,
    parts_of,
    row_means,
    stack_rows,
)
from sonjit.lab.evaluation.predictions import EvaluatedItem, hidden_share, known_points, match_shape
from sonjit.lab.metrics import (
    average_precision,
    handedness_hits,
    pck_curve,
    root_offset_errors,
    two_hand_errors,
)
from sonjit.results.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.lab.datasets import Instance, Sample
    from sonjit.lab.evaluation.predictions import Prediction
    from sonjit.lab.evaluation.protocols import Protocol

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
