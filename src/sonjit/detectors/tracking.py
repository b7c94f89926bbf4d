"""Who is who from frame to frame: stable ids, one instance per object, memory of those just lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, Self, TypeAlias

import numpy as np

from sonjit.detectors.observations import (
    Disc,
    O,
    are_near,
    centre_of,
    difference,
    is_same_object,
    kept_behind,
    mean_distance,
    share_inside,
    without_duplicates,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sonjit.detectors.observations import Observation
    from sonjit.detectors.smoothing import Smoother
    from sonjit.geometry.boxes import RotatedBox

_SIDE_WEIGHT = 1.0
"""How many instance sizes of distance a full contradiction of left and right weighs."""
_COLOUR_WEIGHT = 1.0
"""The same for a difference from black to white on average."""
_COLOUR_MEMORY = 0.1
"""Weight of a new frame in the memory of an instance's colours."""
_TOUCHING, _ANOTHERS = 0.1, 0.6
"""Share of the smaller one's box in another's, from which on the network may see the other one, and how much nearer to
its colours than to the own ones an observation then is the other's."""
_REACH = 1.5
"""How far, in instance sizes, a lost instance may have come when it is found again."""
_SOUGHT_S = 1.0
"""How long the surroundings of a lost instance are searched first."""
_SLIP_MARGIN = 0.3
"""By how much a lost instance must fit better than the held one to take its place."""
_LEAST_STEP_S = 1 / 240
"""Frames that are nearer in time than this give no speed."""
_SIDE_MEMORY = 0.05
"""Least weight of a new, sure frame in the belief of left or right."""
_CHANGED = 0.25
"""How far, in sizes, the keypoints of an instance that overlaps another may move from frame to frame on average."""
_BORROWED = 0.25
"""The same within which two observations show one instance: the one seen before, or that they fit better."""
_HIDDEN_COST = 0.1
"""By how much a hidden instance must fit what is seen better than one in view."""
_YOUNG, _SURE_SIDE = 10, 0.5
"""Frames for which the side of a new instance does not count yet where it overlaps another, and sureness of the belief
under which it does not count either."""
_BEHIND, _AT_FIRST, _DRAWN_S = 0.1, 0.5, 0.3
"""How far from the middle of what covers it, in sizes of that, a hidden instance is taken to be after long, how much
farther when it disappears, and the time in which this falls to 1/e: it would be seen elsewhere."""
_BLENDED = 0.5
"""Share of the smaller box in the other from which on a find that nothing else speaks for is taken for a blend."""
_MAX_HIDDEN_S, _MAX_UNCOVERED_S = 3.0, 0.2
"""How long an instance may be hidden, and how long of that nothing need cover it any more."""
_DRIFT_S, _SLOWING_S, _FADING_S = 0.15, 0.7, 1.0
"""Time over which the first speed of a hidden instance is averaged, and in which speed and score fall to 1/e."""
_TRUSTED = 0.4
"""Cost up to which an observation counts for its track where instances overlap: the network may see a blend there."""
Move: TypeAlias = "Callable[[O, NDArray[np.float32], float], O]"
"""An observation moved on by (2,) pixels, with a score of its own: that of an instance that another one hides."""


@dataclass(eq=False)
class Track(Generic[O]):
    """One instance over time.

    Attributes:
        id: stable as long as the instance is held or remembered.
        observation: of the newest frame, as seen.
        smoothed: the same, smoothed over time where asked for.
        left: belief that it is a left one, over the frames seen; None where there are no sides.
        colours: of it, as learnt while it is alone; None where there are none.
        hidden: for how long another instance has hidden it, in seconds; None while it is seen. Its observations are
            the last one moved on.
        uncovered_s: how long of that nothing has covered it any more.
        box: the crop of the next frame.
    """

    id: int
    observation: O
    smoothed: O
    smoother: Smoother[O] | None
    seen_s: float
    left: float | None = None
    colours: NDArray[np.float32] | None = None
    frames: int = 0
    hidden: float | None = None
    uncovered_s: float = 0.0
    box: RotatedBox = field(init=False)
    _sureness: float = 0.0
    _velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    _drift: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def see(self, observation: O, now_s: float, *, alone: bool = True) -> None:
        """Take over a new frame's observation; of one that is not alone the colours may be another's."""
        step_s = now_s - self.seen_s
        if self.frames and step_s > 0 and self.hidden is None:
            moved = centre_of(observation) - centre_of(self.observation)
            self._velocity = 0.5 * self._velocity + 0.5 * moved / max(step_s, _LEAST_STEP_S)
            self._drift += -math.expm1(-step_s / _DRIFT_S) * (moved / max(step_s, _LEAST_STEP_S) - self._drift)
        self.observation, self.seen_s = observation, now_s
        self.frames += 1
        self.hidden, self.uncovered_s = None, 0.0
        if observation.left is not None:
            self._see_side(observation.left)
        if self.colours is None:
            self.colours = observation.colours
        elif alone and observation.colours is not None:
            step = _COLOUR_MEMORY * (observation.colours - self.colours)
            self.colours = (self.colours + step).astype(np.float32)
        self.smoothed = observation if self.smoother is None else self.smoother(observation, now_s)

    def hide(self, now_s: float, move: Move[O], covers: Sequence[Track[O]], *, covered: bool) -> None:
        """Move on by a frame in which it is not seen, ever slower and not out from behind what covers it."""
        step_s = now_s - self.seen_s if math.isfinite(self.seen_s) else 0.0
        if self.hidden is None:
            self._velocity = self._drift
        shift = self._velocity * step_s
        if covers:
            off = _BEHIND + _AT_FIRST * math.exp(-(self.hidden or 0.0) / _DRAWN_S)
            shift = kept_behind(self.observation, shift, [one.observation for one in covers], off)
        self._velocity = self._velocity * math.exp(-step_s / _SLOWING_S)
        self.uncovered_s = 0.0 if covered else self.uncovered_s + step_s
        self.hidden = (self.hidden or 0.0) + step_s
        self.seen_s = now_s
        score, by = self.observation.score * math.exp(-step_s / _FADING_S), shift.astype(np.float32)
        self.observation, self.smoothed = move(self.observation, by, score), move(self.smoothed, by, score)

    @property
    def is_over(self) -> bool:
        """Whether it has been hidden for too long."""
        return (self.hidden or 0.0) > _MAX_HIDDEN_S or self.uncovered_s > _MAX_UNCOVERED_S

    def _see_side(self, left: float) -> None:
        """Move the belief towards a new frame's word, by as much as that frame is sure of it."""
        sureness = abs(2 * left - 1)
        self._sureness += sureness
        if self.left is None or self._sureness == 0:
            self.left = left
        else:
            self.left += max(sureness / self._sureness, _SIDE_MEMORY * sureness) * (left - self.left)

    def cost(self, observation: O, now_s: float) -> float:
        """How badly an observation fits this track: distance from where it should be, other side, other colours."""
        return self.expected(now_s).cost(_Look.of(observation))

    def expected(self, now_s: float) -> _Look:
        """As it should look at a time."""
        reach_s = min(max(now_s - self.seen_s, 0.0), 0.2)  # beyond that a speed says little
        predicted = centre_of(self.observation) + self._velocity * reach_s
        return _Look(Disc(predicted.tolist(), Disc.around(self.observation).size), self.left, self.colours)


class _Look(NamedTuple):
    """What an instance is known by: its place, side and colours."""

    disc: Disc
    left: float | None
    colours: NDArray[np.float32] | None

    @classmethod
    def of(cls, observation: Observation) -> Self:
        """As an observation shows it."""
        return cls(Disc.around(observation), observation.left, observation.colours)

    def cost(self, seen: _Look) -> float:
        """See `Track.cost`."""
        cost = math.dist(self.disc.centre, seen.disc.centre) / max(self.disc.size, seen.disc.size)
        if self.left is not None and seen.left is not None:
            cost += _SIDE_WEIGHT * abs(self.left - seen.left)
        if self.colours is not None and seen.colours is not None:
            cost += _COLOUR_WEIGHT / 255 * difference(self.colours, seen.colours)
        return cost


class Tracker(Generic[O]):
    """Gives observations their identity.

    Args:
        new_smoother: makes the smoother of a new track, or None for no smoothing.
        memory_s: how long a lost instance may take to come back under its id.
        one_reading: two readings of one hand, the one inside the other, are one instance; see `is_same_object`.
        move: moves on what another instance hides, until it is seen again; None to lose it.
        most: instances to hold, the hidden ones among them.
        core: which keypoints say whether two overlap: without limbs that reach out to others.
    """

    def __init__(
        self,
        new_smoother: Callable[[], Smoother[O] | None] = lambda: None,
        memory_s: float = 2.0,
        *,
        one_reading: bool = False,
        move: Move[O] | None = None,
        most: int = 1,
        core: tuple[int, ...] | None = None,
    ) -> None:
        self._core = slice(None) if core is None else list(core)
        self._move, self._most = move, most
        self._one_reading = one_reading
        self._new_smoother = new_smoother
        self._memory_s = memory_s
        self.reset()

    def match(self, seen: Sequence[O], now_s: float) -> tuple[list[tuple[Track[O], O]], list[O]]:
        """Observations from boxes of unknown origin: pairs with the held tracks that they fit, and the rest."""
        pairs: list[tuple[Track[O], O]] = []
        free, rest = list(self.active), list(seen)
        while free and rest:
            cost, i, j = min((t.cost(s, now_s), i, j) for i, t in enumerate(free) for j, s in enumerate(rest))
            if cost >= _REACH:
                break
            pairs.append((free.pop(i), rest.pop(j)))
        return pairs, rest

    def is_another(self, track: Track[O], seen: O) -> bool:
        """Whether what its box shows has the colours of another one there rather than the track's own."""
        if track.colours is None or seen.colours is None or self._move is None:
            return False
        limit = _ANOTHERS * difference(track.colours, seen.colours)
        return any(
            difference(other.colours, seen.colours) < limit
            and share_inside(other.observation.keypoints, seen.keypoints) > _TOUCHING
            for other in (*self.active, *self._lost)
            if other is not track and other.colours is not None
        )

    def lost_boxes(self, now_s: float) -> list[RotatedBox]:
        """Where instances were looked for that were lost within the last second."""
        return [track.box for track in self._lost if now_s - track.seen_s < _SOUGHT_S]

    def reset(self) -> None:
        """Forget everyone; ids start again at 1."""
        self.active: list[Track[O]] = []
        self._lost: list[Track[O]] = []
        self._next_id = 1

    def restart_clock(self) -> None:
        """A new stream of times begins: filters start anew, the instances held stay held."""
        self._lost.clear()
        for track in self.active:
            track.smoother = self._new_smoother()
            track.seen_s = -math.inf

    def update(self, carried: Sequence[tuple[Track[O], O]], new: Sequence[O], now_s: float) -> bool:
        """Take over one frame.

        Args:
            carried: the tracks whose box still shows an instance, with what was seen there.
            new: what a search found elsewhere.
            now_s: time of the frame in seconds.

        Returns:
            Whether any track was lost in this frame, or is neither seen nor hidden.
        """
        self._lost = [track for track in self._lost if 0 <= now_s - track.seen_s <= self._memory_s]
        looked_at = {track for track, _ in carried}
        discs = [(track, Disc.around(track.observation)) for track in self.active]
        alone = {track for track, observation in carried if _is_alone(track, observation, discs)}
        if self._move is not None:
            carried = [pair for pair in carried if pair[0] in alone or self._is_trusted(*pair, carried, now_s)]
        tracks = [track for track, _ in carried]
        seen = _sorted_out(tracks, [observation for _, observation in carried], now_s)
        unseen = [track for track in self.active if track.hidden is not None and track not in tracks]
        tracks = [
            self._rightful(track, observation, unseen, now_s) for track, observation in zip(tracks, seen, strict=True)
        ]
        kept = _one_track_per_object(tracks, seen, now_s, one_reading=self._one_reading)
        held = [tracks[i] for i in kept]
        gone = [track for track in self.active if track not in held]
        is_any_lost = any(track.hidden is None for track in gone)
        for i in kept:
            tracks[i].see(seen[i], now_s, alone=tracks[i] in alone)
        for track in gone:
            if math.isinf(track.seen_s):  # by a clock that began anew
                track.seen_s = now_s
        self._lost += gone
        fresh = without_duplicates(new, [track.observation for track in held], one_reading=self._one_reading)
        if self._move is not None:
            fresh = [one for one in fresh if not self._is_blend(one, [*held, *gone], now_s)]
        held += [self._welcome(observation, now_s) for observation in fresh]
        if self._move is not None:
            gone = [track for track in gone if track in self._lost]
            held += self._hide(gone, looked_at, held, now_s, self._move)
        self.active = sorted(held, key=lambda track: track.id)
        return is_any_lost or any(track.uncovered_s > 0 for track in held)

    def _is_trusted(
        self,
        track: Track[O],
        seen: O,
        carried: Sequence[tuple[Track[O], O]],
        now_s: float,
    ) -> bool:
        """Whether an observation is of its track, and not a blend of two or the other one."""
        cost = track.cost(seen, now_s)
        if track.left is not None and seen.left is not None:
            undecided = track.frames < _YOUNG or abs(2 * track.left - 1) < _SURE_SIDE
            cost -= undecided * _SIDE_WEIGHT * abs(track.left - seen.left)
        if cost >= _TRUSTED or (track.hidden is None and mean_distance(seen, track.observation) > _CHANGED):
            return False
        rank = cost + _HIDDEN_COST * (track.hidden is not None)
        return not any(
            other is not track
            and mean_distance(seen, one, self._core) < _BORROWED
            and other.cost(one, now_s) + _HIDDEN_COST * (other.hidden is not None) < rank
            for other, one in carried
        )

    def _is_blend(self, found: O, known: Sequence[Track[O]], now_s: float) -> bool:
        """Whether what a search found overlaps a known instance and is none that was lost: it waits until they part."""
        if any(track.cost(found, now_s) < _TRUSTED for track in self._lost):
            return False
        disc = Disc.around(found)
        near = (one.observation for one in known if disc.may_touch(Disc.around(one.observation)))
        core = self._core
        return any(share_inside(found.keypoints[core], one.keypoints[core]) > _BLENDED for one in near)

    def _hide(
        self, gone: Sequence[Track[O]], doubted: set[Track[O]], held: Sequence[Track[O]], now_s: float, move: Move[O]
    ) -> list[Track[O]]:
        """Those of the tracks just lost that another one hides, moved on: near another, or doubted for that."""
        hidden: list[Track[O]] = []
        for track in gone[: max(self._most - len(held), 0)]:
            near = [o for o in (*held, *gone) if o is not track and are_near(o.observation, track.observation)]
            if track.hidden is None and not near and track not in doubted:
                continue
            covers = [other for other in near if other in held]
            is_blended = bool(near) and any(other in doubted for other in (track, *near))
            track.hide(now_s, move, covers, covered=bool(covers) or is_blended)
            if not track.is_over:
                hidden.append(track)
                self._lost.remove(track)
        return hidden

    def _rightful(self, track: Track[O], observation: O, hidden: list[Track[O]], now_s: float) -> Track[O]:
        """The track itself, or a lost one that fits clearly better: a box can slip onto a hand that reappears."""
        costs = [(lost.cost(observation, now_s), lost.id, lost) for lost in (*self._lost, *hidden)]
        if not costs or min(costs)[0] + _SLIP_MARGIN > track.cost(observation, now_s):
            return track
        back = min(costs)[2]
        (hidden if back in hidden else self._lost).remove(back)
        back.smoother = self._new_smoother()
        return back

    def _welcome(self, observation: O, now_s: float) -> Track[O]:
        """The remembered track that fits an observation, or a new one."""
        near = [(track.cost(observation, now_s), track.id, track) for track in self._lost]
        if near and min(near)[0] < _REACH:
            track = min(near)[2]
            self._lost.remove(track)
            track.smoother = self._new_smoother()
        else:
            track = Track(self._next_id, observation, observation, self._new_smoother(), now_s)
            self._next_id += 1
        track.see(observation, now_s)
        return track


def _sorted_out(tracks: Sequence[Track[O]], seen: Sequence[O], now_s: float) -> list[O]:
    """Observations in the order of the tracks that they fit: two that slipped into each other's box change places."""
    expected = [track.expected(now_s) for track in tracks]
    looks = [_Look.of(one) for one in seen]
    order = list(range(len(seen)))
    for i in range(len(tracks)):
        for j in range(i):
            stay = expected[i].cost(looks[order[i]]) + expected[j].cost(looks[order[j]])
            swap = expected[i].cost(looks[order[j]]) + expected[j].cost(looks[order[i]])
            if swap < stay:
                order[i], order[j] = order[j], order[i]
    return [seen[i] for i in order]


def _is_alone(track: Track[O], seen: O, discs: Sequence[tuple[Track[O], Disc]]) -> bool:
    """Whether no other track is near one that is in view."""
    own, new = Disc.around(track.observation), Disc.around(seen)
    return track.hidden is None and not any(
        are_near(one, other.observation)
        for other, disc in discs
        if other is not track and (own.may_touch(disc) or new.may_touch(disc))
        for one in (track.observation, seen)
    )


def _one_track_per_object(
    tracks: Sequence[Track[O]], seen: Sequence[O], now_s: float, *, one_reading: bool
) -> list[int]:
    """Indices of the tracks to keep: where two see one object, the one that it fits better."""
    if len(tracks) == 1:
        return [0]
    kept: list[int] = []
    discs = [Disc.around(one) for one in seen]
    for i in sorted(range(len(tracks)), key=lambda i: tracks[i].cost(seen[i], now_s)):
        near = (j for j in kept if discs[i].may_touch(discs[j]))
        if not any(is_same_object(seen[i], seen[j], one_reading=one_reading) for j in near):
            kept.append(i)
    return kept
