"""2D landmarks as the model cards judge them: distances in parts of a palm, a torso or between the eyes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from sonjit.documents.plots import Curve
from sonjit.errors import InputError
from sonjit.evaluation.metrics import (
    Summary,
    areas_under_pck,
    mean_figure,
    parts_of,
    row_means,
    stacked,
)
from sonjit.evaluation.predictions import Judged, group_of, hidden_share, known_points, matched
from sonjit.metrics import eye_distances, found, normalised_errors, palm_sizes, pck_curve, pdj_hits
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Instance, Sample
    from sonjit.evaluation.predictions import Guess
    from sonjit.evaluation.protocols import Protocol

Kind = Literal["hand", "body", "face"]
_FIGURES = {"hand": ("mnae", "MNAE"), "body": ("mtae", "error in torso sizes"), "face": ("iod_mae", "IOD MAE")}
_TORSO = ("left_shoulder", "right_hip")
_BODY = "body_blazepose33"
_SKELETONS = {
    int(name[-3:].lstrip("abcdefghijklmnopqrstuvwxyz")): name
    for name in ("hand_mediapipe21", "body_coco17", "body_coco23", _BODY, "face_mediapipe468", "face_mediapipe478")
}
"""By how many keypoints they have."""


class Landmarks:
    """Judges keypoints in the image of one kind of instance.

    Args:
        protocol: with the thresholds of the curve, in per cent.
        kind: hands by the palm (MNAE), bodies by the torso (and PDJ), face meshes by the eyes (IOD MAE).
    """

    def __init__(self, protocol: Protocol, kind: Kind = "hand") -> None:
        self._curve, self._kind = protocol.curve, kind
        self.main = "pdj" if kind == "body" else _FIGURES[kind][0]

    def judge(self, sample: Sample, guesses: Sequence[Guess]) -> list[Judged]:
        """Every labelled instance of the kind; what was found beside them may be without label, and does not count."""
        truth = [
            (number, one)
            for number, one in enumerate(sample.instances)
            if one.kind == self._kind and not one.crowd and known_points(one.keypoints_px, one.valid_px) is not None
        ]
        if not truth:
            return []
        skeleton = truth[0][1].skeleton
        own = matched(truth, [_in_order(guess, skeleton) for guess in guesses])
        return [self._judge(number, one, own.get(number)) for number, one in truth]

    def _judge(self, number: int, one: Instance, guess: Guess | None) -> Judged:
        truth = known_points(one.keypoints_px, one.valid_px)
        assert truth is not None
        truth[list(one.derived)] = np.nan  # what was worked out from other keypoints is no label
        if self._kind == "body":  # feet are labelled more finely than they are found
            truth[[name not in _names(_BODY) for name in _names(one.skeleton)]] = np.nan
        points = np.full(truth.shape, np.nan)
        if guess is not None and guess.keypoints_px is not None:
            points = np.asarray(guess.keypoints_px, np.float64)[:, :2]
        size = self._size(one, truth)
        errors = 100 * normalised_errors(points[None], truth[None], np.array([size]))
        judged = {self._name: errors[0]}
        if self._kind == "body":
            seen = np.ones(len(truth), np.bool_) if one.visible is None else one.visible
            said = np.zeros(len(truth), np.bool_) if guess is None else _said_visible(guess, len(truth))
            hits = pdj_hits(
                points[None], truth[None], predicted_visible=said[None], true_visible=seen[None], sizes=np.array([size])
            )
            judged["pdj"] = 100 * hits[0]
        numbers = {"found": math.nan if np.isnan(errors).all() else float(guess is not None)}
        if one.side and guess is not None and guess.side:
            numbers["handedness"] = float(one.side == guess.side)
        return Judged(
            instance=number,
            side=one.side,
            hidden=hidden_share(one),
            group=group_of(one),
            errors=judged,
            numbers=numbers,
            points_px=None if guess is None else points,
        )

    @property
    def _name(self) -> str:
        return _FIGURES[self._kind][0]

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

    def summary(self, judged: Sequence[Judged], clusters: Sequence[Hashable]) -> Summary:
        """Means, share found, PCK and its area, by joint and part."""
        name, title = _FIGURES[self._kind]
        errors = stacked([one.errors[name] for one in judged])
        low, high, steps = self._curve
        rates = {key: _column(judged, key) for key in ("found", "handedness")}
        summary = Summary()
        if self._kind == "body":
            hits = stacked([one.errors["pdj"] for one in judged])
            summary.figures.append(mean_figure("pdj", "PDJ", hits, "%", clusters=clusters, better="higher"))
        summary.figures.append(mean_figure(name, title, errors, "%", clusters=clusters))
        areas = 100 * areas_under_pck(errors, low, high, steps)
        until = f"PCK, area from {low:g} to {high:g} %"
        summary.figures.append(mean_figure("auc", until, areas, "%", clusters=clusters, better="higher"))
        summary.figures.append(
            mean_figure("found", "found", 100 * rates["found"], "%", clusters=clusters, better="higher")
        )
        if np.isfinite(rates["handedness"]).any():
            summary.figures.append(
                mean_figure("handedness", "side", 100 * rates["handedness"], "%", clusters=clusters, better="higher")
            )
        main = stacked([one.errors[self.main] for one in judged])
        skeleton = _SKELETONS.get(main.shape[1])
        hidden = np.array([one.hidden for one in judged], np.float64)
        summary.parts = parts_of(main, load_skeleton(skeleton) if skeleton else None, hidden, clusters)
        x = np.linspace(low, high, steps)
        summary.curves.append(Curve("PCK", x.tolist(), pck_curve(errors, x, average="all").tolist(), "%"))
        summary.values = row_means(main if self.main != "pdj" else found(main))
        return summary


def _column(judged: Sequence[Judged], name: str) -> NDArray[np.float64]:
    return np.array([one.numbers.get(name, math.nan) for one in judged], np.float64).reshape(-1, 1)


def _said_visible(guess: Guess, count: int) -> NDArray[np.bool_]:
    return np.ones(count, np.bool_) if guess.visible is None else guess.visible


def _in_order(guess: Guess, skeleton: str | None) -> Guess:
    """A guess with its keypoints in another skeleton's order, by their names; NaN for those that it does not have."""
    if skeleton is None or guess.skeleton == skeleton or guess.keypoints_px is None:
        return guess
    own, wanted = _names(guess.skeleton), _names(skeleton)
    has = np.array([name in own for name in wanted], np.bool_)
    if not has.any():
        raise InputError(f"{guess.skeleton} has no keypoint of {skeleton}: they cannot be compared")
    places = [own.index(name) if name in own else 0 for name in wanted]
    points = np.where(has[:, None], guess.keypoints_px[places], np.nan)
    seen = None if guess.visible is None else guess.visible[places] & has
    return replace(guess, skeleton=skeleton, keypoints_px=points, visible=seen)


@cache
def _names(skeleton: str | None) -> tuple[str, ...]:
    return load_skeleton(skeleton or "hand_mediapipe21").keypoints
