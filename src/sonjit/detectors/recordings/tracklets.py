"""Carry instances from frame to frame by the landmark network: the keypoints of a frame place the box of the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic

from sonjit._util import Image
from sonjit.detectors.interfaces import Kind
from sonjit.detectors.observations import O
from sonjit.detectors.search.geometry import is_same
from sonjit.detectors.tracking import Track, Tracker
from sonjit.geometry.boxes import RotatedBox

Pairs = list[tuple[Track[O], O]]


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
    ) -> None:
        self.tracker = tracker
        self._kind, self._min_presence, self._published = kind, min_presence, published

    def observe(self, rgb: Image) -> tuple[Pairs[O], list[Track[O]]]:
        """Return each track that an image (H, W, 3) shows with its observation, and the tracks that it does not."""
        pairs: Pairs[O] = []
        missing: list[Track[O]] = []
        for track in self.tracker.active:
            observation = self._kind.observe(rgb, track.box)
            if self.is_present(observation) and not self.tracker.is_another(track, observation):
                pairs.append((track, observation))
            else:
                missing.append(track)
        return pairs, missing

    def new(self, rgb: Image, tracked: Sequence[O], candidates: Iterable[O]) -> tuple[list[O], list[O]]:
        """Return the probable instances that a search of an image (H, W, 3) found and that are not tracked.

        First those that the landmark network also sees in their own boxes, as it sees them there, then the others.
        """
        new: list[O] = []
        single: list[O] = []
        boxes: Sequence[RotatedBox] | None = None
        for candidate in candidates:
            if candidate.score <= self._min_presence or any(is_same(candidate, other) for other in (*tracked, *new)):
                continue
            box = self._kind.box_after(candidate)
            if self._published is not None:
                boxes = self._published(rgb) if boxes is None else boxes
                box = next((nearby for nearby in boxes if self._kind.is_same_instance(nearby, box)), box)
            observation = self._kind.observe(rgb, box)
            if not self.is_present(observation):
                single.append(candidate)
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


def follow_back(
    tracklets: Tracklets[O], start: O, start_s: float, earlier: Iterable[tuple[Image, float]]
) -> Iterator[Track[O]]:
    """Yield the track of one instance in each of the earlier frames, the last first, until it is lost.

    `start` is its observation at a time in seconds. `earlier` has images (H, W, 3) with their times.
    """
    tracklets.tracker.reset()
    tracklets.update([], [start], 0.0)
    for rgb, time_s in earlier:
        pairs, _ = tracklets.observe(rgb)
        if not pairs:
            return
        tracklets.update(pairs, [], start_s - time_s)
        if not tracklets.tracker.active or tracklets.tracker.active[0].occluded_s is not None:
            return
        yield tracklets.tracker.active[0]
