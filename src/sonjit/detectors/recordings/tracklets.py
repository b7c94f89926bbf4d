"""Carry instances from frame to frame by the landmark network: the keypoints of a frame place the box of the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic
from weakref import WeakKeyDictionary

from sonjit._util import Image
from sonjit.detectors.interfaces import Kind
from sonjit.detectors.observations import O, Observation
from sonjit.detectors.search.geometry import is_same
from sonjit.detectors.tracking import Track, Tracker
from sonjit.geometry.boxes import RotatedBox, size_of

Pairs = list[tuple[Track[O], O]]


@dataclass(frozen=True)
class SeekSettings:
    """Settings of the search for an instance that the box from its last keypoints does not show.

    They were chosen as those of `ScheduleSettings`.
    """

    doubtful: float = 0.75
    """Presence of a tracked instance below which it is searched too, in case that its box is off."""
    pause_s: float = 0.15
    """Time after which it is searched again if nothing better was found."""
    least: float = 0.7
    """Minimum presence of an instance that is found where a lost one was going."""
    most_cost: float = 1.0
    """Maximum cost of `Track.cost` of the same."""
    most_growth: float = 1.6
    """Maximum ratio of the sizes of the same."""
    seconds: float = 0.3
    """Time for which a lost instance is searched."""


class Tracklets(Generic[O]):
    """The instances of one direction of time.

    `published` finds boxes in an image. Where one of them shows a new instance, its track begins there. The box of a
    mirrored image is then the mirrored box, also if a search of stills found the instance elsewhere.
    """

    def __init__(
        self,
        kind: Kind[O, Any],
        tracker: Tracker[O],
        min_presence: float,
        published: Callable[[Image], Sequence[RotatedBox]] | None = None,
        seek: SeekSettings | None = None,
    ) -> None:
        self.tracker = tracker
        self._kind, self._min_presence, self._published, self._seek = kind, min_presence, published, seek
        self._vain_s: WeakKeyDictionary[Track[O], float] = WeakKeyDictionary()

    def observe(self, rgb: Image, now_s: float) -> tuple[Pairs[O], list[Track[O]]]:
        """Return each track that an image (H, W, 3) shows with its observation, and the tracks that it does not."""
        pairs: Pairs[O] = []
        missing: list[Track[O]] = []
        tracks = self.tracker.active
        observations = self._kind.observe_all(rgb, [track.box for track in tracks])
        for track, observation in zip(tracks, observations, strict=True):
            if self.is_present(observation) and not self.tracker.is_another(track, observation):
                pairs.append((track, observation))
            else:
                missing.append(track)
        if self._seek is not None:
            self._look_again(rgb, now_s, self._seek, pairs, missing)
        return pairs, missing

    def _look_again(
        self, rgb: Image, now_s: float, seek: SeekSettings, pairs: Pairs[O], missing: list[Track[O]]
    ) -> None:
        """Search doubtful and missing visible instances where they were going."""
        for index, (track, observation) in enumerate(pairs):
            is_due = now_s - self._vain_s.get(track, -math.inf) > seek.pause_s
            if track.occluded_s is None and observation.score < seek.doubtful and is_due:
                others = [other for _, other in pairs if other is not observation]
                found = self._sought(rgb, track, now_s, seek, others)
                if found is not None and found.score > observation.score:
                    pairs[index] = track, found
                else:
                    self._vain_s[track] = now_s
        for track in [track for track in missing if track.occluded_s is None]:
            found = self._sought(rgb, track, now_s, seek, [observation for _, observation in pairs])
            if found is not None:
                pairs.append((track, found))
                missing.remove(track)

    def again(self, rgb: Image, now_s: float, lost: Iterable[Track[O]], known: Sequence[O]) -> list[O]:
        """Return what an image (H, W, 3) at a time in seconds shows of lost tracks, apart from known instances."""
        found: list[O] = []
        for track in lost:
            assert self._seek is not None
            observation = self._sought(rgb, track, now_s, self._seek, [*known, *found])
            found += [] if observation is None else [observation]
        return found

    def just_lost(self, now_s: float) -> list[Track[O]]:
        """Return the tracks that were lost so short before a time in seconds that they are searched."""
        return [] if self._seek is None else self.tracker.lost_since(now_s - self._seek.seconds)

    def _sought(self, rgb: Image, track: Track[O], now_s: float, seek: SeekSettings, others: Sequence[O]) -> O | None:
        """Return the best observation of a track where it was going, apart from other instances. None for none."""
        x, y = track.expected(now_s).disc.centre
        seen = (self._kind.observe(rgb, box) for box in self._kind.find_near(rgb, track.box._replace(cx=x, cy=y)))
        likely = [
            observation
            for observation in seen
            if observation.score > seek.least
            and track.cost(observation, now_s) < seek.most_cost
            and 1 / seek.most_growth < _size(observation) / _size(track.observation) < seek.most_growth
            and not self.tracker.is_another(track, observation)
            and not any(is_same(observation, other) for other in others)
        ]
        return min(likely, key=lambda observation: track.cost(observation, now_s), default=None)

    def look(self, rgb: Image, box: RotatedBox) -> Iterator[O]:
        """Yield what the landmark network sees in a box, in pixels, of an image (H, W, 3), and in others near it."""
        yield self._kind.observe(rgb, box)
        for near in self._kind.find_near(rgb, box):
            yield self._kind.observe(rgb, near)

    def box_after(self, observation: O) -> RotatedBox:
        """Return the box of an instance in the frame after an observation."""
        return self._kind.box_after(observation)

    def refined(self, observation: O) -> O:
        """Return an observation with its final keypoints."""
        return self._kind.refine(observation)

    def new(self, rgb: Image, tracked: Sequence[O], candidates: Iterable[O], least: float) -> tuple[list[O], list[O]]:
        """Return the instances that a search of an image (H, W, 3) found and that are not tracked.

        `least` is their minimum probability.

        First those that the landmark network also sees in their own boxes, as it sees them there, then the others.
        """
        new: list[O] = []
        single: list[O] = []
        boxes: Sequence[RotatedBox] | None = None
        for candidate in candidates:
            if candidate.score <= least or any(is_same(candidate, other) for other in (*tracked, *new)):
                continue
            box = self._kind.box_after(candidate)
            if self._published is not None:
                boxes = self._published(rgb) if boxes is None else boxes
                box = next((nearby for nearby in boxes if self._kind.is_same_instance(nearby, box)), box)
            observation = self._kind.observe(rgb, box)
            if not self.is_present(observation):
                single += [candidate] if candidate.score > self._min_presence else []
            elif not any(is_same(observation, other) for other in (*tracked, *new)):
                new.append(observation)
        return new, single

    def update(self, pairs: Pairs[O], new: Sequence[O], now_s: float) -> bool:
        """Add a frame with known and new instances. Return whether an instance was lost; see `Tracker.update`."""
        is_any_lost = self.tracker.update(pairs, new, now_s)
        for track in self.tracker.active:
            if track.occluded_s is None:
                track.smooth(self._kind.refine(track.observation), now_s)
            track.box = self._kind.follow(track)
        return is_any_lost

    def is_present(self, observation: O) -> bool:
        """Check whether an observation shows an instance."""
        return self._kind.is_present(observation, self._min_presence)


def _size(observation: Observation) -> float:
    return size_of(observation.keypoints[:, :2])


def follow_back(
    tracklets: Tracklets[O], start: O, start_s: float, earlier: Iterable[tuple[Image, float]]
) -> Iterator[Track[O]]:
    """Yield the track of one instance in each of the earlier frames, the last first, until it is lost.

    `start` is its observation at a time in seconds. `earlier` has images (H, W, 3) with their times.
    """
    tracklets.tracker.reset()
    tracklets.update([], [start], 0.0)
    for rgb, time_s in earlier:
        pairs, _ = tracklets.observe(rgb, start_s - time_s)
        if not pairs:
            return
        tracklets.update(pairs, [], start_s - time_s)
        if not tracklets.tracker.active or tracklets.tracker.active[0].occluded_s is not None:
            return
        yield tracklets.tracker.active[0]
