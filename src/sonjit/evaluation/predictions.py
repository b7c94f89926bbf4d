"""What a model says of an image, and what is kept of each evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Instance
    from sonjit.results import Box

_NEAR = 0.5
"""Of the truth's longer side: a prediction further off on average is of something else."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """One thing that a model says is there.

    Attributes:
        skeleton: the order of its keypoints; None for that of the labels.
        side: whose hand.
        side_score: how sure that is, 0..1.
        score: how sure, 0..1.
        keypoints_px: (K, 2) pixels of the image.
        visible: (K,) which are predicted to be seen.
        keypoints_m: (K, 3) metres in the camera's axes; from anywhere, unless it is `placed`.
        placed: its 3D is in the camera's space.
        vertices_m: (V, 3) in the same frame.
        box: x_min, y_min, x_max, y_max in pixels.
        mask: (H, W).
        category_id: of its class, in the data set's counting.
        category: name of its class, where the model knows it.
        map: (h, w) the evidence for its class by place, over all of what was shown.
        instance: which of the sample's instances it is meant for; None where that is to be found out.
        person: number of the person in the image that it is a part of; None where that is not known.
        hand_type: probabilities of a right and of a left hand where it was sought; None where a model gives none.
        root_depth_m: of its root before the camera, where the model predicts that.
        root_offset_m: (3,) to its root, of a left hand, from the right one's, where a model predicts that by itself.
    """

    skeleton: str | None = "hand_mediapipe21"
    side: str | None = None
    side_score: float = 1.0
    score: float = 1.0
    keypoints_px: NDArray[np.floating] | None = None
    visible: NDArray[np.bool_] | None = None
    keypoints_m: NDArray[np.floating] | None = None
    placed: bool = False
    vertices_m: NDArray[np.floating] | None = None
    box: Box | None = None
    mask: NDArray[np.bool_] | None = None
    category_id: int | None = None
    category: str | None = None
    map: NDArray[np.float32] | None = None
    instance: int | None = None
    person: int | None = None
    hand_type: tuple[float, float] | None = None
    root_depth_m: float | None = None
    root_offset_m: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluatedItem:
    """What came of one thing that is evaluated: an instance, or an image.

    Attributes:
        instance: its number in the sample, -1 for the image.
        side: whose hand, where known.
        hidden: share of its keypoints that are hidden, NaN where unknown.
        errors: by alignment or metric, per keypoint; NaN is not evaluated, inf not predicted.
        numbers: single metrics; NaN likewise.
        points_px: (K, 2) as predicted, to draw.
        records: what average precision needs, in COCO's format.
        group: what the set says of the person: region, skin tone, gender, age.
        conditions: under which it is seen, by factor; several of one factor with "; " between them.
        track: of which recording's hand it is a frame; "" outside of recordings.
        frame: its number there.
        motion: (2, K, 3) predicted and true keypoints from the root, in the unit of the errors, of a track's frame.
    """

    instance: int = -1
    side: str | None = None
    hidden: float = math.nan
    errors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict[str, "NDArray[np.float64]"])
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    points_px: NDArray[np.float64] | None = None
    records: Sequence[Mapping[str, Any]] = ()
    group: Mapping[str, str] = field(default_factory=dict[str, str])
    conditions: Mapping[str, str] = field(default_factory=dict[str, str])
    track: str = ""
    frame: int = 0
    motion: NDArray[np.float64] | None = None

    def to_dict(self) -> dict[str, object]:
        """As plain JSON: NaN is null, and infinity a text."""
        return {
            "instance": self.instance,
            "side": self.side,
            "hidden": _plain(self.hidden),
            "errors": {name: _plain(one.tolist()) for name, one in self.errors.items()},
            "numbers": {name: _plain(one) for name, one in self.numbers.items()},
            "points_px": None if self.points_px is None else _plain(self.points_px.round(3).tolist()),
            "records": list(self.records),
            "group": dict(self.group),
            "conditions": dict(self.conditions),
            "track": self.track,
            "frame": self.frame,
            "motion": None if self.motion is None else _plain(self.motion.tolist()),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EvaluatedItem:
        """What `to_dict` wrote."""
        points, motion = data["points_px"], data["motion"]
        return cls(
            instance=data["instance"],
            side=data["side"],
            hidden=float(_array(data["hidden"])),
            errors={name: _array(one) for name, one in data["errors"].items()},
            numbers={name: float(_array(one)) for name, one in data["numbers"].items()},
            points_px=None if points is None else _array(points),
            records=data["records"],
            group=data["group"],
            conditions=data["conditions"],
            track=data["track"],
            frame=data["frame"],
            motion=None if motion is None else _array(motion),
        )


LandmarkKind = Literal["hand", "body", "face"]
"""What has keypoints."""

Mode = Literal["tracking", "reacquisition", "ground-truth boxes", "predictions"]
"""How a model is asked: its crop from the frame before, from its own search, from the truth; or it was asked before."""


def matched(instances: Sequence[tuple[int, Instance]], predictions: Sequence[Prediction]) -> dict[int, Prediction]:
    """Which prediction is of which instance, each at most once, the nearest first.

    A prediction that names its instance belongs to it. Others go by their keypoints in the image: to the nearest
    instance, at most half of its size away on average. A prediction without keypoints in the image goes by its side,
    else it is taken where there is but one of both.
    """
    found = {prediction.instance: prediction for prediction in predictions if prediction.instance is not None}
    free = [prediction for prediction in predictions if prediction.instance is None]
    left = [(number, one) for number, one in instances if number not in found]
    pairs = [
        (apart, place, number, prediction)
        for place, prediction in enumerate(free)
        for number, one in left
        if (apart := _distance(one, prediction, alone=len(left) == len(free) == 1)) is not None
    ]
    taken: set[int] = set()
    for _, place, number, prediction in sorted(pairs, key=lambda pair: pair[:3]):
        if place not in taken and number not in found:
            taken.add(place)
            found[number] = prediction
    return found


def known_points(points: NDArray[np.float64] | None, valid: NDArray[np.bool_] | None) -> NDArray[np.float64] | None:
    """Points (K, D) with NaN where they are not labelled; None without any."""
    if points is None:
        return None
    known = np.asarray(np.isfinite(points).all(1), np.bool_)
    if valid is not None:
        known &= valid
    return np.where(known[:, None], points, np.nan) if known.any() else None


def group_of(one: Instance) -> dict[str, str]:
    """What a set says of the person, but for who it is."""
    group: Mapping[str, Any] = one.extra.get("group") or {}
    return {str(name): str(value) for name, value in group.items() if name != "subject" and value is not None}


def hidden_share(one: Instance) -> float:
    """How much of an instance's labelled keypoints is hidden, 0..1; NaN where the set does not say."""
    if one.visible is None:
        return math.nan
    labelled = np.ones(len(one.visible), np.bool_) if one.valid_px is None else one.valid_px
    return 1 - float(one.visible[labelled].mean()) if labelled.any() else math.nan


def shaped(prediction: NDArray[np.floating] | None, truth: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """A prediction as the truth is shaped (K, D); NaN without one.

    Raises:
        InputError: another shape.
    """
    if prediction is None:
        return np.full(truth.shape, np.nan)
    if prediction.shape != truth.shape:
        raise InputError(
            f"{what} {prediction.shape} for a truth of {truth.shape}: give one row per keypoint, in its order"
        )
    return np.asarray(prediction, np.float64)


def _distance(one: Instance, prediction: Prediction, *, alone: bool) -> float | None:
    """How far a prediction is from an instance, in parts of the instance's size; None where it is of something else."""
    truth = known_points(one.keypoints_px, one.valid_px)
    if truth is not None and prediction.keypoints_px is not None and len(truth) == len(prediction.keypoints_px):
        apart = np.linalg.norm(np.asarray(prediction.keypoints_px, np.float64)[:, :2] - truth, axis=1)
        size = float(np.nanmax(np.nanmax(truth, 0) - np.nanmin(truth, 0)))
        if not np.isfinite(apart).any() or not size > 0:
            return None
        share = float(np.nanmean(apart)) / size
        return share if share <= _NEAR else None
    if one.side is not None and prediction.side is not None:
        return 1.0 if one.side == prediction.side else None
    return 1.0 if alone else None


def _plain(value: Any) -> Any:  # noqa: ANN401  # numbers, and lists of them
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if math.isnan(value) else "inf" if math.isinf(value) else value


def _array(value: Any) -> NDArray[np.float64]:  # noqa: ANN401
    return np.array(value, np.float64)  # None reads as NaN, "inf" as infinity
