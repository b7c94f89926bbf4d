"""Single and interacting hands, as InterHand2.6M judges them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sonjit.documents.plots import Curve
from sonjit.evaluation.figures import Summary, mean_figure, parts_of, row_means, stacked
from sonjit.evaluation.guesses import Judged, hidden_share, known_points, shaped
from sonjit.metrics import handedness_hits, pck_curve, root_offset_errors, two_hand_errors
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Instance, Sample
    from sonjit.evaluation.guesses import Guess
    from sonjit.evaluation.protocols import Protocol

_MM = 1000.0
_SIDES = ("Right", "Left")
_JOINTS = 21
_ROOTS = (0, _JOINTS)  # wrists, in MediaPipe's order


class TwoHands:
    """Judges pictures of one person's hands; joints of the right hand, then of the left one; millimetres."""

    main = "mpjpe"

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def judge(self, sample: Sample, guesses: Sequence[Guess]) -> list[Judged]:
        """The picture, where a hand is labelled in space."""
        hands = {one.side: one for one in sample.instances if one.kind == "hand" and one.side is not None}
        truth = np.concatenate([_joints(hands.get(side)) for side in _SIDES])
        if not np.isfinite(truth).any():
            return []
        own: dict[str, Guess] = {}
        for guess in sorted(guesses, key=lambda guess: guess.score):
            if guess.side is not None:
                own[guess.side] = guess  # the surest last
        joints = np.concatenate([_guessed(own.get(side)) for side in _SIDES])
        interacting = np.array([len(hands) == 2])
        errors = _MM * two_hand_errors(joints[None], truth[None], roots=_ROOTS)
        numbers = {"interacting": float(len(hands) == 2)}
        if own and all(guess.placed for guess in own.values()):
            offsets = root_offset_errors(joints[None], truth[None], interacting=interacting, roots=_ROOTS)
            numbers["mrrpe"] = _MM * float(offsets[0])
        scores = [own[side].score if side in own else 0.0 for side in _SIDES]
        known = np.array([bool(sample.tags.get("hand_type_valid", True))])
        present = np.array([[side in hands for side in _SIDES]])
        told = np.isfinite(scores).all()  # not by a model that was shown which hands there are
        numbers["handedness"] = float(handedness_hits(np.array([scores]), present, known)[0]) if told else math.nan
        points = [own[side].keypoints_px for side in hands if side in own]
        drawn = [np.asarray(one, np.float64)[:, :2] for one in points if one is not None]
        return [
            Judged(
                side="both" if len(hands) == 2 else next(iter(hands)),
                hidden=float(np.mean([hidden_share(one) for one in hands.values()])),
                errors={"mpjpe": errors[0]},
                numbers=numbers,
                points_px=np.concatenate(drawn) if drawn else None,
            )
        ]

    def summary(self, judged: Sequence[Judged], clusters: Sequence[Hashable]) -> Summary:
        """MPJPE of single, interacting and all, MRRPE, handedness; by joint and finger of both hands."""
        errors = stacked([one.errors["mpjpe"] for one in judged])
        two = np.array([one.numbers["interacting"] > 0 for one in judged], np.bool_)
        average = self._protocol.average
        summary = Summary()
        for name, title, chosen in (
            ("mpjpe", "MPJPE, all", np.ones(len(two), np.bool_)),
            ("mpjpe_single", "MPJPE, single hands", ~two),
            ("mpjpe_interacting", "MPJPE, interacting hands", two),
        ):
            among = [cluster for cluster, take in zip(clusters, chosen.tolist(), strict=True) if take]
            summary.figures.append(mean_figure(name, title, errors[chosen], "mm", average=average, clusters=among))
        offsets = _column(judged, "mrrpe")
        if np.isfinite(offsets).any():
            summary.figures.append(mean_figure("mrrpe", "MRRPE", offsets, "mm", clusters=clusters))
        sides = _column(judged, "handedness")
        if np.isfinite(sides).any():
            figure = mean_figure("handedness", "handedness", sides, "", clusters=clusters, better="higher")
            summary.figures.append(figure)
        hand = load_skeleton("hand_mediapipe21")
        hidden = np.array([one.hidden for one in judged], np.float64)
        both = np.concatenate([errors[:, :_JOINTS], errors[:, _JOINTS:]]) if len(judged) else errors
        summary.parts = parts_of(both, hand, np.concatenate([hidden, hidden]), [*clusters, *clusters])
        x = np.linspace(*self._protocol.auc)
        summary.curves.append(Curve("PCK", x.tolist(), pck_curve(errors, x, average=average).tolist(), "mm"))
        summary.values = row_means(errors)
        return summary


def _joints(hand: Instance | None) -> NDArray[np.float64]:
    """(21, 3) metres; NaN without a label."""
    known = None if hand is None else known_points(hand.keypoints_m, hand.valid_m)
    return np.full((_JOINTS, 3), np.nan) if known is None else known


def _guessed(guess: Guess | None) -> NDArray[np.float64]:
    return shaped(None if guess is None else guess.keypoints_m, np.full((_JOINTS, 3), np.nan), "keypoints_m")


def _column(judged: Sequence[Judged], name: str) -> NDArray[np.float64]:
    return np.array([one.numbers.get(name, math.nan) for one in judged], np.float64).reshape(-1, 1)
