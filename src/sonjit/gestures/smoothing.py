"""Smooth gestures over time with a leaky vote per tracked hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sonjit._util.errors import InputError
from sonjit.gestures.classifier import gesture_of
from sonjit.results import Gesture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sonjit.results import Hand


@dataclass(slots=True)
class _Vote:
    """Smoothed gesture of a hand, and the shares of all gestures in the recent past. Their sum is at most 1."""

    name: str | None
    time_s: float
    shares: dict[str | None, float]


class GestureSmoother:
    """Smooth gestures, so that one wrong frame does not change them.

    Each frame moves the share of its gesture towards the gesture's score, and every other share towards 0. The smoothed
    gesture changes when another share leads by `margin`. "No gesture" takes part with score 1. A change between two
    gestures of equal score takes about `settle_s`.

    Args:
        settle_s: Duration of a change in seconds.
        margin: Minimum lead in share, 0..1.
        forget_s: Seconds without a detection after which a hand is forgotten.
        classify: Function that returns the gesture of a hand in one frame; None for the shipped gestures.

    Raises:
        InputError: A duration is not positive, or the margin is outside [0, 1).
    """

    def __init__(
        self,
        settle_s: float = 0.15,
        margin: float = 0.1,
        forget_s: float = 1.0,
        *,
        classify: Callable[[Hand], Gesture | None] | None = None,
    ) -> None:
        if not (settle_s > 0 and forget_s > 0 and 0 <= margin < 1):
            raise InputError("GestureSmoother needs settle_s > 0, forget_s > 0 and 0 <= margin < 1")
        self._margin, self._forget_s, self._classify = margin, forget_s, classify
        # a step from one gesture to another: shares e and 1 - e with e = exp(-t / tau), and the lead is 1 - 2 e
        self._tau_s = settle_s / math.log(2 / (1 - margin))
        self._votes: dict[int, _Vote] = {}

    def __len__(self) -> int:
        """Return the number of remembered hands."""
        return len(self._votes)

    def reset(self) -> None:
        """Forget every hand."""
        self._votes.clear()

    def __call__(self, hands: Iterable[Hand], time_s: float) -> list[Gesture | None]:
        """Return the smoothed gesture of each hand of a frame. Hands without an id are not smoothed."""
        classify = self._classify or gesture_of
        return [self._steady(hand, classify(hand), time_s) for hand in hands]

    def _steady(self, hand: Hand, gesture: Gesture | None, time_s: float) -> Gesture | None:
        if hand.id is None:
            return gesture
        return self.update(2 * hand.id + (hand.handedness == "Left"), gesture, time_s)  # a person's hands share an id

    def update(self, id: int, gesture: Gesture | None, time_s: float) -> Gesture | None:
        """Return the smoothed gesture of a hand. Its score is its share of the recent past.

        Args:
            id: Id of the hand, stable while it is tracked.
            gesture: Gesture in this frame, or None.
            time_s: Time in seconds. A time before that of an earlier call raises InputError.
        """
        for expired in [key for key, vote in self._votes.items() if time_s - vote.time_s > self._forget_s]:
            del self._votes[expired]
        name, score = gesture or (None, 1.0)
        vote = self._votes.get(id)
        if vote is None:
            self._votes[id] = _Vote(name, time_s, {name: score})
            return gesture
        if time_s < vote.time_s:
            raise InputError(f"time runs backwards: {time_s} s after {vote.time_s} s; reset() before another video")
        keep = math.exp((vote.time_s - time_s) / self._tau_s)
        vote.shares = {name: share * keep for name, share in vote.shares.items()}
        vote.shares[name] = vote.shares.get(name, 0.0) + (1 - keep) * score
        vote.time_s = time_s
        leader = max(vote.shares, key=vote.shares.__getitem__)
        if vote.shares[leader] > vote.shares.get(vote.name, 0.0) + self._margin:
            vote.name = leader
        return None if vote.name is None else Gesture(vote.name, vote.shares.get(vote.name, 0.0))
