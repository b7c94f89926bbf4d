"""Track instances from frame to frame: stable ids, one track per object, re-identification of lost instances."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, Self, TypeAlias

import numpy as np

from sonjit._util import Float32Array, FloatArray
from sonjit.detectors.observations import (
    Disc,
    O,
    Observation,
    are_near,
    centre_of,
    clamp_to_occluder,
    colour_difference,
    is_same_object,
    mean_distance,
    suppress_duplicates,
)
from sonjit.detectors.smoothing import Smoother
from sonjit.geometry.boxes import RotatedBox, overlap_over_smaller

Propagate: TypeAlias = "Callable[[O, Float32Array, float], O]"  # shifts by (2,) pixels and sets the score


@dataclass(frozen=True)
class TrackerSettings:
    """Settings of `Tracker`. Distances are in sizes of an instance; costs are distances from the predicted place.

    They were chosen by `benchmarks/crossings.py`, which measures other values with `--set`. `research/search.md` has
    the results, under "Crossing hands" and "Crossing people". Pages use the same values.
    """

    side_weight: float = 1.0
    """Cost of a full contradiction of left and right."""
    colour_weight: float = 1.0
    """Cost of a mean colour difference from black to white."""
    colour_memory: float = 0.1
    """Weight of a new frame in the running mean of an instance's colours."""
    side_memory: float = 0.05
    """Minimum weight of a new, confident frame in the belief of left or right."""
    min_overlap: float = 0.1
    """Minimum share of the smaller box in the other one at which a network may see the other instance."""
    colour_ratio: float = 0.6
    """Maximum ratio of the colour differences to the other and to the own instance at which it sees the other."""
    max_revive_distance: float = 1.5
    """Cost from which a lost instance is not re-identified."""
    slip_margin: float = 0.3
    """Cost by which a lost track must fit better than the current one to replace it."""
    min_step_s: float = 1 / 240
    """Minimum time step of a velocity estimate."""
    max_step: float = 0.25
    """Maximum mean keypoint step, per frame, of an instance that overlaps another one."""
    max_trusted_cost: float = 0.4
    """Cost from which an observation of an overlapping instance is not trusted: it may be a blend of two."""
    same_instance_distance: float = 0.25
    """Mean keypoint distance below which two observations may show one instance."""
    blend_overlap: float = 0.5
    """Share of the smaller box in the other one above which a new detection blends two instances."""
    new_track_frames: int = 10
    """Number of frames from which the side of an overlapping instance counts."""
    min_side_sureness: float = 0.5
    """The same for the sureness of the side, 0 to 1."""
    occluded_cost: float = 0.1
    """Additional cost of an occluded track, which must fit an observation better than a visible one."""
    occluded_offset: float = 0.1
    """Final maximum distance of an occluded instance from the centre of its occluder, in occluder sizes."""
    initial_offset: float = 0.5
    """Addition to this distance when the occlusion begins."""
    offset_decay_s: float = 0.3
    """Time in which the addition decays to 1/e."""
    max_occluded_s: float = 2.5
    """Maximum time of an occlusion."""
    max_unoccluded_s: float = 0.2
    """Maximum time without an occluder within an occlusion."""
    max_interruption_s: float = 0.5
    """Maximum time of an interruption that does not end the time of an occlusion."""
    drift_window_s: float = 0.15
    """Time over which the initial velocity of an occluded instance is averaged."""
    speed_decay_s: float = 0.7
    """Time in which its velocity decays to 1/e."""
    score_decay_s: float = 1.0
    """Time in which its score decays to 1/e."""
    memory_s: float = 2.0
    """Time after which a lost instance is forgotten."""


SHIPPED: Final = TrackerSettings()


@dataclass(eq=False)
class Track(Generic[O]):
    """One instance over time."""

    id: int  # identifier, stable while the instance is tracked or remembered
    observation: O  # observation in the newest frame, not smoothed
    smoothed: O  # observation in the newest frame with its final keypoints, see `smooth`
    smoother: Smoother[O] | None  # smoother of the observations; None for no smoothing
    seen_s: float  # time of the newest frame in seconds
    left: float | None = None  # belief that the instance is a left one; None for instances without sides
    # running mean of the colours while no other instance is near; None if there are none
    colours: Float32Array | None = None
    frames: int = 0
    # time in seconds since another instance occluded it; None while it is visible. The observations are then propagated
    # from the last one.
    occluded_s: float | None = None
    unoccluded_s: float = 0.0  # time in seconds without an occluder during an occlusion
    hidden_s: float = 0.0  # time in seconds of an occlusion that short interruptions do not end
    settings: TrackerSettings = SHIPPED
    _hidden_until_s: float = -math.inf
    box: RotatedBox = field(init=False)
    _sureness: float = 0.0
    _centre: FloatArray = field(default_factory=lambda: np.zeros(2))  # centre of the newest frame that shows it
    _velocity: FloatArray = field(default_factory=lambda: np.zeros(2))
    _drift: FloatArray = field(default_factory=lambda: np.zeros(2))

    def update(self, observation: O, now_s: float, *, isolated: bool = True) -> None:
        """Add the observation of a new frame. The colours are learned only while no other instance is near."""
        settings, step_s, centre = self.settings, now_s - self.seen_s, centre_of(observation)
        if self.frames and step_s > 0 and self.occluded_s is None:
            moved = centre - self._centre
            speed = moved / max(step_s, settings.min_step_s)
            self._velocity = 0.5 * self._velocity + 0.5 * speed
            self._drift += -math.expm1(-step_s / settings.drift_window_s) * (speed - self._drift)
        self.observation, self.seen_s, self._centre = observation, now_s, centre
        self.frames += 1
        self.occluded_s, self.unoccluded_s = None, 0.0
        if observation.left is not None:
            self._update_side(observation.left)
        if self.colours is None:
            self.colours = observation.colours
        elif isolated and observation.colours is not None:
            step = settings.colour_memory * (observation.colours - self.colours)
            self.colours = (self.colours + step).astype(np.float32)

    def smooth(self, refined: O, now_s: float) -> None:
        """Smooth the refined observation of the newest frame, if the track has a smoother."""
        self.smoothed = refined if self.smoother is None else self.smoother(refined, now_s)

    def mark_occluded(
        self, now_s: float, propagate: Propagate[O], covers: Sequence[Track[O]], *, covered: bool
    ) -> None:
        """Propagate the track by one frame without an observation, ever slower and close to its occluder."""
        settings = self.settings
        step_s = now_s - self.seen_s if math.isfinite(self.seen_s) else 0.0
        if self.occluded_s is None:
            self._velocity = self._drift
            if now_s - self._hidden_until_s > settings.max_interruption_s:
                self.hidden_s = 0.0
        shift = self._velocity * step_s
        if covers:
            decay = math.exp(-(self.occluded_s or 0.0) / settings.offset_decay_s)
            max_offset = settings.occluded_offset + settings.initial_offset * decay
            shift = clamp_to_occluder(self.observation, shift, [cover.observation for cover in covers], max_offset)
        self._velocity = self._velocity * math.exp(-step_s / settings.speed_decay_s)
        self.unoccluded_s = 0.0 if covered else self.unoccluded_s + step_s
        self.occluded_s, self.hidden_s = (self.occluded_s or 0.0) + step_s, self.hidden_s + step_s
        self.seen_s = self._hidden_until_s = now_s
        score, step = self.observation.score * math.exp(-step_s / settings.score_decay_s), shift.astype(np.float32)
        self.observation = propagate(self.observation, step, score)
        self.smoothed = propagate(self.smoothed, step, score)

    def move(self, shift: FloatArray, propagate: Propagate[O]) -> None:
        """Move the track by (2,) pixels, because its region of the image moved. It is no motion of the instance."""
        step = shift.astype(np.float32)
        self.observation = propagate(self.observation, step, self.observation.score)
        self.smoothed = propagate(self.smoothed, step, self.smoothed.score)
        self._centre = self._centre + shift
        self.box = self.box._replace(cx=self.box.cx + float(shift[0]), cy=self.box.cy + float(shift[1]))

    def is_behind(self, cover: Track[O], now_s: float) -> bool:
        """Check whether the expected centre is less than the size of another instance from its centre."""
        disc = Disc.around(cover.observation)
        return math.dist(self.expected(now_s).disc.centre, disc.centre) < disc.size

    def _update_side(self, left: float) -> None:
        """Update the belief of the side, weighted by the confidence of the new frame."""
        sureness = abs(2 * left - 1)
        self._sureness += sureness
        if self.left is None or self._sureness == 0:
            self.left = left
        else:
            self.left += max(sureness / self._sureness, self.settings.side_memory * sureness) * (left - self.left)

    def cost(self, observation: O, now_s: float) -> float:
        """Return the cost of an observation: distance from the predicted centre, other side, other colours."""
        return self.expected(now_s).cost(_Appearance.of(observation), self.settings)

    def expected(self, now_s: float) -> _Appearance:
        """Predict the appearance at a time."""
        reach_s = min(max(now_s - self.seen_s, 0.0), 0.2)  # an older speed is unreliable
        predicted = centre_of(self.observation) + self._velocity * reach_s
        return _Appearance(Disc(predicted.tolist(), Disc.around(self.observation).size), self.left, self.colours)


class _Appearance(NamedTuple):
    """Position, side and colours of an instance."""

    disc: Disc
    left: float | None
    colours: Float32Array | None

    @classmethod
    def of(cls, observation: Observation) -> Self:
        """Return the appearance of an observation."""
        return cls(Disc.around(observation), observation.left, observation.colours)

    def cost(self, observed: _Appearance, settings: TrackerSettings) -> float:
        """Return the cost of assigning an observed appearance; see `Track.cost`."""
        cost = math.dist(self.disc.centre, observed.disc.centre) / max(self.disc.size, observed.disc.size)
        if self.left is not None and observed.left is not None:
            cost += settings.side_weight * abs(self.left - observed.left)
        if self.colours is not None and observed.colours is not None:
            cost += settings.colour_weight / 255 * colour_difference(self.colours, observed.colours)
        return cost


class Tracker(Generic[O]):
    """Assign observations to tracks.

    `propagate` shifts an occluded instance until it is visible again; without it the instance is lost. For
    `merge_nested` see `is_same_object`. `overlap_keypoints` are the indices of the keypoints that decide whether two
    instances overlap.
    """

    def __init__(
        self,
        new_smoother: Callable[[], Smoother[O] | None] = lambda: None,
        *,
        merge_nested: bool = False,
        propagate: Propagate[O] | None = None,
        max_tracks: int = 1,
        overlap_keypoints: tuple[int, ...] | None = None,
        settings: TrackerSettings = SHIPPED,
    ) -> None:
        self._settings = settings
        self._overlap_keypoints = slice(None) if overlap_keypoints is None else list(overlap_keypoints)
        self._propagate, self._max_tracks = propagate, max_tracks
        self._merge_nested = merge_nested
        self._new_smoother = new_smoother
        self.reset()

    def match(self, observations: Sequence[O], now_s: float) -> tuple[list[tuple[Track[O], O]], list[O]]:
        """Match observations from external boxes with the active tracks. Return the pairs and the rest."""
        pairs: list[tuple[Track[O], O]] = []
        free, unmatched = list(self.active), list(observations)
        while free and unmatched:
            cost, i, j = min((t.cost(s, now_s), i, j) for i, t in enumerate(free) for j, s in enumerate(unmatched))
            if cost >= self._settings.max_revive_distance:
                break
            pairs.append((free.pop(i), unmatched.pop(j)))
        return pairs, unmatched

    def is_another(self, track: Track[O], observation: O) -> bool:
        """Check whether an observation has the colours of another instance there rather than the track's own."""
        if track.colours is None or observation.colours is None or self._propagate is None:
            return False
        limit = self._settings.colour_ratio * colour_difference(track.colours, observation.colours)
        return any(
            colour_difference(other.colours, observation.colours) < limit
            and overlap_over_smaller(other.observation.keypoints, observation.keypoints) > self._settings.min_overlap
            for other in (*self.active, *self._lost)
            if other is not track and other.colours is not None
        )

    def reset(self) -> None:
        """Forget all tracks. Ids start again at 1."""
        self.active: list[Track[O]] = []
        self._lost: list[Track[O]] = []
        self._next_id = 1
        self._scene = 1
        self._former: dict[int, list[Track[O]]] = {}  # tracks of former scenes, by the number of the scene

    def is_in(self, scene: int) -> bool:
        """Check whether a scene with a number is the current one."""
        return scene == self._scene

    def enter_scene(self, number: int, kept: Mapping[Track[O], FloatArray]) -> None:
        """Set the tracks aside in another scene, apart from those whose region moved by (2,) pixels only.

        Tracks of a former scene are then lost ones, which may return.
        """
        self._former[self._scene] = [track for track in (*self.active, *self._lost) if track not in kept]
        self.active = [track for track in self.active if track in kept]
        self._lost = [track for track in self._former.pop(number, []) if track not in kept]
        self._scene = number
        for track, shift in kept.items():
            if self._propagate is not None and shift.any():
                track.move(shift, self._propagate)

    def end(self, track: Track[O]) -> None:
        """End an active track, which is not remembered."""
        self.active.remove(track)

    def lost_since(self, time_s: float) -> list[Track[O]]:
        """Return the lost tracks that were seen at a time in seconds or later."""
        return [track for track in self._lost if track.seen_s >= time_s]

    def forget(self, track: Track[O]) -> None:
        """Forget a lost track."""
        self._lost = [other for other in self._lost if other is not track]

    def restart_clock(self) -> None:
        """Start a new time axis: filters are reset, active tracks continue."""
        self._lost.clear()
        self._former.clear()
        for track in self.active:
            track.smoother = self._new_smoother()
            track.seen_s = -math.inf

    def update(self, carried: Sequence[tuple[Track[O], O]], new: Sequence[O], now_s: float) -> bool:
        """Update the tracks with one frame. Return whether any was lost, or is occluded without an occluder.

        `carried` are the tracks whose box still shows an instance, each with its observation.
        """
        self._lost = [track for track in self._lost if 0 <= now_s - track.seen_s <= self._settings.memory_s]
        self._former = {
            number: kept
            for number, tracks in self._former.items()
            if (kept := [track for track in tracks if 0 <= now_s - track.seen_s <= self._settings.memory_s])
        }
        observed = {track for track, _ in carried}
        discs = [(track, Disc.around(track.observation)) for track in self.active] if len(self.active) > 1 else []
        isolated = {track for track, observation in carried if _is_isolated(track, observation, discs)}
        if self._propagate is not None:
            carried = [pair for pair in carried if pair[0] in isolated or self._is_trusted(*pair, carried, now_s)]
        tracks = [track for track, _ in carried]
        observations = _resolve_swaps(tracks, [observation for _, observation in carried], now_s)
        unseen = [track for track in self.active if track.occluded_s is not None and track not in tracks]
        tracks = [
            self._reidentified(track, observation, unseen, now_s)
            for track, observation in zip(tracks, observations, strict=True)
        ]
        indices = _one_track_per_object(tracks, observations, now_s, merge_nested=self._merge_nested)
        active = [tracks[i] for i in indices]
        missing = [track for track in self.active if track not in active]
        is_any_lost = any(track.occluded_s is None for track in missing)
        for i in indices:
            tracks[i].update(observations[i], now_s, isolated=tracks[i] in isolated)
        for track in missing:
            if math.isinf(track.seen_s):  # the clock was restarted
                track.seen_s = now_s
        self._lost += missing
        detections = suppress_duplicates(new, [track.observation for track in active], merge_nested=self._merge_nested)
        if self._propagate is not None:
            detections = [
                detection for detection in detections if not self._is_blend(detection, [*active, *missing], now_s)
            ]
        active += [self._start_or_revive(observation, now_s) for observation in detections]
        if self._propagate is not None:
            missing = [track for track in missing if track in self._lost]
            active += self._mark_occluded(missing, observed, active, now_s, self._propagate)
        self.active = sorted(active, key=lambda track: track.id)
        return is_any_lost or any(track.unoccluded_s > 0 for track in active)

    def _is_trusted(self, track: Track[O], observation: O, carried: Sequence[tuple[Track[O], O]], now_s: float) -> bool:
        """Check whether an observation shows its track, not a blend of two instances or the other one."""
        settings, cost = self._settings, track.cost(observation, now_s)
        if track.left is not None and observation.left is not None:
            is_new = track.frames < settings.new_track_frames
            undecided = is_new or abs(2 * track.left - 1) < settings.min_side_sureness
            cost -= undecided * settings.side_weight * abs(track.left - observation.left)
        if cost >= settings.max_trusted_cost or (
            track.occluded_s is None and mean_distance(observation, track.observation) > settings.max_step
        ):
            return False
        rank = cost + settings.occluded_cost * (track.occluded_s is not None)
        return not any(
            other is not track
            and mean_distance(observation, item, self._overlap_keypoints) < settings.same_instance_distance
            and other.cost(item, now_s) + settings.occluded_cost * (other.occluded_s is not None) < rank
            for other, item in carried
        )

    def _is_blend(self, detection: O, tracks: Sequence[Track[O]], now_s: float) -> bool:
        """Check whether a detection blends known instances. It is ignored until they separate."""
        if any(track.cost(detection, now_s) < self._settings.max_trusted_cost for track in self._lost):
            return False
        disc, indices = Disc.around(detection), self._overlap_keypoints
        near = (item.observation for item in tracks if disc.may_touch(Disc.around(item.observation)))
        shares = (overlap_over_smaller(detection.keypoints[indices], item.keypoints[indices]) for item in near)
        return any(share > self._settings.blend_overlap for share in shares)

    def _mark_occluded(
        self,
        missing: Sequence[Track[O]],
        doubted: set[Track[O]],
        active: Sequence[Track[O]],
        now_s: float,
        propagate: Propagate[O],
    ) -> list[Track[O]]:
        """Propagate the lost tracks that are near another track or had a doubtful observation."""
        occluded: list[Track[O]] = []
        for track in missing[: max(self._max_tracks - len(active), 0)]:
            near = [o for o in (*active, *missing) if o is not track and are_near(o.observation, track.observation)]
            if track.occluded_s is None and not near and track not in doubted:
                continue
            covers = [other for other in near if other in active]
            if track.occluded_s is None and covers and not any(track.is_behind(cover, now_s) for cover in covers):
                continue
            is_blended = bool(near) and any(other in doubted for other in (track, *near))
            track.mark_occluded(now_s, propagate, covers, covered=bool(covers) or is_blended)
            is_short = track.unoccluded_s <= self._settings.max_unoccluded_s
            if is_short and track.hidden_s <= self._settings.max_occluded_s:
                occluded.append(track)
                self._lost.remove(track)
        return occluded

    def _reidentified(self, track: Track[O], observation: O, occluded: list[Track[O]], now_s: float) -> Track[O]:
        """Return the track, or a lost one that fits clearly better: a box can slip onto a hand that reappears."""
        costs = [(lost.cost(observation, now_s), lost.id, lost) for lost in (*self._lost, *occluded)]
        if not costs or min(costs)[0] + self._settings.slip_margin > track.cost(observation, now_s):
            return track
        back = min(costs)[2]
        (occluded if back in occluded else self._lost).remove(back)
        back.smoother = self._new_smoother()
        return back

    def _start_or_revive(self, observation: O, now_s: float) -> Track[O]:
        """Return the lost track that fits an observation, or a new track."""
        near = [(track.cost(observation, now_s), track.id, track) for track in self._lost]
        if near and min(near)[0] < self._settings.max_revive_distance:
            track = min(near)[2]
            self._lost.remove(track)
            track.smoother = self._new_smoother()
        else:
            track = Track(self._next_id, observation, observation, self._new_smoother(), now_s, settings=self._settings)
            self._next_id += 1
        track.update(observation, now_s)
        return track


def _resolve_swaps(tracks: Sequence[Track[O]], observations: Sequence[O], now_s: float) -> list[O]:
    """Return the observations in the order of the tracks that they fit, with swapped pairs exchanged."""
    if len(tracks) < 2:
        return list(observations)
    expected = [track.expected(now_s) for track in tracks]
    appearances = [_Appearance.of(observation) for observation in observations]
    order = list(range(len(observations)))
    for i in range(len(tracks)):
        for j in range(i):
            settings = tracks[i].settings
            stay = expected[i].cost(appearances[order[i]], settings) + expected[j].cost(appearances[order[j]], settings)
            swap = expected[i].cost(appearances[order[j]], settings) + expected[j].cost(appearances[order[i]], settings)
            if swap < stay:
                order[i], order[j] = order[j], order[i]
    return [observations[i] for i in order]


def _is_isolated(track: Track[O], observation: O, discs: Sequence[tuple[Track[O], Disc]]) -> bool:
    """Check whether a track is visible and no other track is near. `discs` is empty if there is no other track."""
    if track.occluded_s is not None or not discs:
        return track.occluded_s is None
    current, new = Disc.around(track.observation), Disc.around(observation)
    return not any(
        are_near(item, other.observation)
        for other, disc in discs
        if other is not track and (current.may_touch(disc) or new.may_touch(disc))
        for item in (track.observation, observation)
    )


def _one_track_per_object(
    tracks: Sequence[Track[O]], observations: Sequence[O], now_s: float, *, merge_nested: bool
) -> list[int]:
    """Return the indices of the tracks to keep. Of two tracks on one object, the better fit stays."""
    if len(tracks) == 1:
        return [0]
    indices: list[int] = []
    discs = [Disc.around(observation) for observation in observations]
    for i in sorted(range(len(tracks)), key=lambda i: tracks[i].cost(observations[i], now_s)):
        near = (j for j in indices if discs[i].may_touch(discs[j]))
        if not any(is_same_object(observations[i], observations[j], merge_nested=merge_nested) for j in near):
            indices.append(i)
    return indices
