"""Gestures of a hand by rules on soft memberships: which fingers are out, where the thumb is, which way it points.

Steady gestures over time: one leaky vote per tracked hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sonjit.arrays import FloatArray, RealArray
from sonjit.errors import InputError
from sonjit.measures.hands import (
    FINGERS,
    finger_curl_rad,
    finger_reach,
    hand_length_m,
    pinch_distance_m,
    thumb_spread_rad,
)
from sonjit.results import Hand

GESTURE_KINDS = frozenset({"hand"})
"""Kinds of instances that have gestures."""
GESTURES = (
    "open",
    "fist",
    "point",
    "victory",
    "three",
    "four",
    "thumb_up",
    "thumb_down",
    "ok",
    "call_me",
    "i_love_you",
    "none",
)
"""Every name that `gesture_of` gives."""

CLEAR_SCORE = 0.5
"""Below it no rule is clear, and the gesture is "none"."""

# Where each membership is 0 and 1; halfway lies the decision. Reach in parts of the finger's length, angles in radians.
_FINGER_OUT = (0.65, 0.85)
_THUMB_OUT_RAD = (-0.5, -0.1)
_THUMB_WIDE_RAD = (-0.15, 0.25)
_PINCHED = (0.25, 0.13)
_CLENCHED_RAD = (2.5, 3.1)
_THUMB_UPRIGHT_RAD = (math.radians(60), math.radians(30))


class Gesture(NamedTuple):
    """What a hand says.

    Attributes:
        name: one of `GESTURES`.
        score: 0..1: the weakest membership of the rule that won; for "none", how far the best rule was from 1.
    """

    name: str
    score: float


def fingers_up(hand: Hand) -> dict[str, bool]:
    """Which fingers are stretched out, thumb first, whichever way the hand points; all False where it is unknown.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     for hand in detector.detect("photo.jpg"):
        ...         print(hand.side, [finger for finger, is_up in sonjit.fingers_up(hand).items() if is_up])
        Left ['thumb', 'index', 'middle', 'ring', 'pinky']
        Right []
    """
    points = hand.keypoints_3d
    out = [_soft(thumb_spread_rad(points), *_THUMB_OUT_RAD), *_soft(finger_reach(points)[1:], *_FINGER_OUT)]
    return {finger: bool(share >= CLEAR_SCORE) for finger, share in zip(FINGERS, out, strict=True)}


def gesture_of(hand: Hand) -> Gesture:
    """The gesture whose rule holds best, or "none" where no rule is clear."""
    scores = gesture_scores(hand)
    name = max(scores, key=scores.__getitem__)
    best = scores[name]
    return Gesture(name, best) if best >= CLEAR_SCORE else Gesture("none", 1 - best)


def gesture_scores(hand: Hand) -> dict[str, float]:
    """Score 0..1 of every rule: the smallest of its memberships, so each of them can veto. All 0 where NaN."""
    points = hand.keypoints_3d
    index, middle, ring, pinky = _soft(finger_reach(points)[1:], *_FINGER_OUT).tolist()
    spread = thumb_spread_rad(points)
    thumb, wide = float(_soft(spread, *_THUMB_OUT_RAD)), float(_soft(spread, *_THUMB_WIDE_RAD))
    pinch, pinch_middle, *_ = _soft(pinch_distance_m(points) / hand_length_m(points), *_PINCHED).tolist()
    up = _tilt_from_up_rad(hand.keypoints)
    upward, downward = (float(_soft(tilt, *_THUMB_UPRIGHT_RAD)) for tilt in (up, math.pi - up))
    apart, narrow = 1 - pinch, 1 - wide
    curled = 1 - max(index, middle, ring, pinky)
    clenched = float(_soft(finger_curl_rad(points)[1:].mean(), *_CLENCHED_RAD))  # not a hand that holds a pen
    rules = {
        "open": (thumb, index, middle, ring, pinky, apart),
        "fist": (narrow, curled, clenched),
        "point": (narrow, index, 1 - middle, 1 - ring, 1 - pinky, apart),
        "victory": (narrow, index, middle, 1 - ring, 1 - pinky, apart),
        "three": (index, middle, 1 - pinky, max(min(narrow, ring), min(wide, 1 - ring)), apart),
        "four": (1 - thumb, index, middle, ring, pinky, apart),
        "thumb_up": (wide, curled, upward),
        "thumb_down": (wide, curled, downward),
        "ok": (pinch, middle, ring, pinky, 1 - pinch_middle),
        "call_me": (thumb, 1 - index, 1 - middle, 1 - ring, pinky),
        "i_love_you": (thumb, index, 1 - middle, 1 - ring, pinky, apart),
    }
    return {name: min(rule) for name, rule in rules.items()}


def _tilt_from_up_rad(keypoints: RealArray) -> float:
    """Angle in the image between the thumb (MCP to tip) and straight up, 0..pi."""
    x, y = (keypoints[4, :2] - keypoints[2, :2]).tolist()
    return math.atan2(abs(x), -y)


def _soft(value: RealArray | float, zero_at: float, one_at: float) -> FloatArray:
    """Smooth step from 0 to 1; an unknown value (NaN) is not a member."""
    part = np.clip((np.asarray(value, float) - zero_at) / (one_at - zero_at), 0, 1)
    return np.nan_to_num(part * part * (3 - 2 * part))


@dataclass(slots=True)
class _Vote:
    """Shares of the gestures in the recent past (they sum to 1 at most) and the one in force."""

    name: str
    time_s: float
    shares: dict[str, float]


class GestureSmoother:
    """Gestures that change only once another has been clearly ahead for a while.

    Each frame pulls its gesture's share towards the gesture's score and every other share towards 0; the gesture in
    force changes when another share leads by `margin`. Between two gestures that are equally clear that takes about
    `settle_s`; one odd frame at 30 frames a second never does it. What is kept is a few numbers per hand in sight.

    Args:
        settle_s: seconds that a clear change takes.
        margin: lead in share, 0..1, that counts as clear.
        forget_s: a hand not seen for this long is forgotten.

    Raises:
        InputError: a duration is not positive, or the margin is outside [0, 1).
    """

    def __init__(self, settle_s: float = 0.15, margin: float = 0.1, forget_s: float = 1.0) -> None:
        if not (settle_s > 0 and forget_s > 0 and 0 <= margin < 1):
            raise InputError("GestureSmoother needs settle_s > 0, forget_s > 0 and 0 <= margin < 1")
        self._margin, self._forget_s = margin, forget_s
        # a step from one gesture to another: shares e and 1 - e with e = exp(-t / tau), and the lead is 1 - 2 e
        self._tau_s = settle_s / math.log(2 / (1 - margin))
        self._votes: dict[int, _Vote] = {}

    def __len__(self) -> int:
        """How many hands are remembered."""
        return len(self._votes)

    def reset(self) -> None:
        """Forget every hand."""
        self._votes.clear()

    def __call__(self, hands: Iterable[Hand], time_s: float) -> list[Gesture]:
        """The steady gesture of each hand of one frame; a hand without an id gets its own of this frame."""
        gestures = [(hand.id, gesture_of(hand)) for hand in hands]
        return [one if id is None else self.update(id, one, time_s) for id, one in gestures]

    def update(self, id: int, gesture: Gesture, time_s: float) -> Gesture:
        """The steady gesture of one hand; its score is its share of the recent past.

        Args:
            id: of the hand, stable while it is tracked.
            gesture: of this frame.
            time_s: seconds, not smaller than at any call before; InputError otherwise.
        """
        for gone in [key for key, vote in self._votes.items() if time_s - vote.time_s > self._forget_s]:
            del self._votes[gone]
        vote = self._votes.get(id)
        if vote is None:
            self._votes[id] = _Vote(gesture.name, time_s, {gesture.name: gesture.score})
            return gesture
        if time_s < vote.time_s:
            raise InputError(f"time runs backwards: {time_s} s after {vote.time_s} s; reset() before another video")
        keep = math.exp((vote.time_s - time_s) / self._tau_s)
        vote.shares = {name: share * keep for name, share in vote.shares.items()}
        vote.shares[gesture.name] = vote.shares.get(gesture.name, 0.0) + (1 - keep) * gesture.score
        vote.time_s = time_s
        leader = max(vote.shares, key=vote.shares.__getitem__)
        if vote.shares[leader] > vote.shares.get(vote.name, 0.0) + self._margin:
            vote.name = leader
        return Gesture(vote.name, vote.shares.get(vote.name, 0.0))
