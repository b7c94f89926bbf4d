"""The loop of every detector: search the image, run the landmark network on each box, track the instances.

The keypoints of a frame become the box of the next frame while the instance is present. What differs between hands,
faces and bodies is in a `sonjit.detectors.interfaces.Kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from sonjit._util import Image
from sonjit.detectors import interfaces
from sonjit.detectors.observations import Observation, suppress_duplicates
from sonjit.detectors.options import CommonOptions
from sonjit.detectors.recordings.following import AsPublished, LookAhead, SearchInThread, SearchNow, Stream
from sonjit.detectors.recordings.joining import Recording
from sonjit.detectors.recordings.key_frames import KeyFrames
from sonjit.detectors.recordings.live import LiveSearch
from sonjit.detectors.recordings.second_thread import SecondThread
from sonjit.detectors.recordings.tracklets import Pairs, SeekSettings, Tracklets
from sonjit.detectors.schedule import Schedule
from sonjit.detectors.search.geometry import is_same
from sonjit.detectors.tracking import Track, Tracker
from sonjit.geometry.boxes import RotatedBox, iou, latest_boxes
from sonjit.media.cuts import Scenes
from sonjit.results import Result

R = TypeVar("R", bound=Result, covariant=True)


class Found(NamedTuple):
    """Instances of one image."""

    instances: Sequence[tuple[Any, Track[Any] | None]]  # final observations with their tracks; stills have no tracks
    total: int  # number of instances, with those beyond the maximum
    complete: bool = True  # False if the search of a still left out proposals


class Loop(Generic[R]):
    """Find the instances of one stream, or of stills, with the networks of a kind.

    `search` is the search of stills or key frames, `live` that of the key frames of a live stream. `backward` follows
    the instances of a recording backwards. `second` searches key frames of a recording before their turn.
    """

    def __init__(
        self,
        kind: interfaces.Kind[Any, R],
        tracker: Tracker[Any],
        options: CommonOptions,
        *,
        search: interfaces.StillSearch[Any] | None = None,
        backward: Tracker[Any] | None = None,
        live: LiveSearch[Any] | None = None,
        second: SecondThread[Any] | None = None,
    ) -> None:
        self.kind = kind
        self.tracker = tracker
        self._scenes = Scenes()
        self.options = options
        self._still_search = search
        self._live = live
        self._second = second
        published: Callable[[Image], Sequence[RotatedBox]] | None = None
        if getattr(options, "averages_mirrored", False):
            published = partial(kind.find, min_score=options.min_detection_score)
        seek = SeekSettings() if options.has_key_frames and not options.is_live else None
        self._tracklets = Tracklets(kind, tracker, options.min_presence_score, published, seek)
        self._backward = None if backward is None else Tracklets(kind, backward, options.min_presence_score, seek=seek)
        self._schedule = Schedule(options.search_interval, options.sparse_from)
        self._key_frames: KeyFrames[Any] | None = None
        self._stream: Stream[Any] = AsPublished(self._tracklets, self._search)
        self._look_ahead: LookAhead[Any] | None = None
        if options.has_key_frames and (search is not None or live is not None):
            early = None if self._second is None else self._second.search
            self._key_frames = KeyFrames(
                early or search, self._schedule, kind.certain_presence, kind.sure_score, options.min_presence_score
            )
            parts = self._tracklets, self._key_frames, self._proposed, options.max_instances, self._scenes
            self._stream = SearchNow(*parts) if live is None else SearchInThread(*parts, live)
            self._look_ahead = LookAhead(*parts) if live is None else None
        self._excess = 0  # number of instances beyond the maximum in the last search

    @property
    def searches_windows(self) -> bool:
        """Check whether stills or key frames are searched in windows."""
        return self._still_search is not None or self._live is not None

    @property
    def searches_early(self) -> bool:
        """Check whether the search of a key frame can begin before the frame."""
        return self._second is not None

    def search_early(self, following: Iterable[tuple[Image, float]]) -> None:
        """Begin to search the next key frame of the images (H, W, 3) that follow, with their times in seconds."""
        if self._second is not None:
            due = (rgb for rgb, now_s in following if self._schedule.is_key_frame(now_s))
            if (rgb := next(due, None)) is not None:
                self._second.start(rgb)

    def paused(self) -> AbstractContextManager[None]:
        """Pause the search of a live stream inside, where a frame is processed."""
        return nullcontext() if self._live is None else self._live.paused()

    def recording(self) -> Recording[Any] | None:
        """Return a recording that looks ahead. Return None if each frame is processed on its own."""
        if self._look_ahead is None or self._backward is None:
            return None
        return Recording(self._look_ahead, self._backward, self.options.max_instances)

    def reset(self) -> None:
        """Forget all tracked instances."""
        self.tracker.reset()
        self._scenes.reset()
        self._schedule.reset()
        self._excess = 0
        if self._key_frames is not None:
            self._key_frames.reset()
        if self._live is not None:
            self._live.reset()

    def close(self) -> None:
        """End the threads of the kind and of the searches."""
        self.kind.at_close.close()
        if self._live is not None:
            self._live.close()

    def still(self, rgb: Image, boxes: Sequence[RotatedBox] | None) -> Found:
        """Return the instances of a still (H, W, 3), or those in given boxes."""
        if boxes is None and self._still_search is not None:
            observations, complete = self._still_search(rgb)
            present = [observation for observation in observations if self._is_present(observation)]
            return self._found_in_still(present[: self.options.max_instances], len(present), complete)
        follows_graph = self.options.follows_bundle and self.options.keeps_overlapping
        keeps_all = follows_graph or self.options.thresholds.overlap is not None  # as MediaPipe's graph does
        limit, min_score = self.options.max_instances, self.options.min_detection_score
        beyond = 0  # number of proposals beyond the limit
        if boxes is None and isinstance(self.kind, interfaces.SearchedKind):
            candidates = self.kind.search(rgb, min_score)
            observations, beyond = candidates[:limit], len(candidates[limit:])
        else:
            if boxes is None:
                proposals = self.kind.find(rgb, min_score)
                boxes, beyond = proposals[:limit], len(proposals[limit:])
            observations = self._present(rgb, boxes if keeps_all else self._without_overlapping(boxes))
        observations = observations if keeps_all else suppress_duplicates(observations)
        return self._found_in_still(observations, len(observations) + beyond)

    def _found_in_still(self, observations: Sequence[Any], total: int, complete: bool = True) -> Found:
        return Found([(self.kind.refine(observation), None) for observation in observations], total, complete)

    def frame(self, rgb: Image, now_s: float, boxes: Sequence[RotatedBox] | None) -> Found:
        """Return the instances of the next frame (H, W, 3) of a stream, or those in given boxes, sorted by id."""
        if boxes is not None or isinstance(self.kind, interfaces.SearchedKind):
            self._schedule.skip()
            pairs, new = self.tracker.match(self._given_or_searched(rgb, boxes), now_s)
            is_any_lost, tracks = self._tracklets.update(pairs, new, now_s), self.tracker.active
        else:
            step = self._stream.step(rgb, now_s)
            is_any_lost, tracks = step.is_any_lost, list(filter(self._stream.shows, self.tracker.active))
            self._excess = self._excess if step.excess is None else step.excess
        if is_any_lost:
            self._schedule.search_soon()
        self._excess = self._excess if len(tracks) >= self.options.max_instances else 0
        return Found([(track.smoothed, track) for track in tracks], len(tracks) + self._excess)

    def _given_or_searched(self, rgb: Image, boxes: Sequence[RotatedBox] | None) -> list[Any]:
        """Return the observations of given boxes, or of the search of a kind that searches every image."""
        if boxes is not None:
            return self._present(rgb, boxes)
        assert isinstance(self.kind, interfaces.SearchedKind)
        candidates, limit = self.kind.search(rgb, self.options.min_detection_score), self.options.max_instances
        self._excess = len(candidates[limit:])
        return candidates[:limit]

    def _search(self, rgb: Image, visible: int, pairs: Pairs[Any]) -> tuple[list[Any], int | None]:
        """Return the new instances of a frame by the published or the thorough search, if it is due.

        Also return how many instances there are beyond the maximum, or None without a search. `visible` is the number
        of visible tracks, and `pairs` has those that the frame shows.
        """
        room = max(self.options.max_instances - visible, 0)
        if not self._schedule.searches(visible, room):
            return [], None
        excess = 0
        if self._still_search is not None:
            new = [item for item in self._still_search(rgb)[0] if self._is_present(item)]
        else:
            known = [track.box for track in self.tracker.active if track.occluded_s is None]
            new = self._published(rgb, known, room)
        if len(new) > room:
            shown = [observation for track, observation in pairs if track.occluded_s is None]
            distinct = suppress_duplicates(new, shown, merge_nested=True)
            excess = max(len(distinct) - room, 0)
            if self.options.search != "fast":
                new = sorted(distinct, key=lambda item: -item.score)
        return new[:room], excess

    def _published(self, rgb: Image, known_boxes: Sequence[RotatedBox], room: int) -> list[Any]:
        """Return the instances that the published search finds apart from known boxes.

        One more than there is room for shows that the result is limited.
        """
        boxes = self.kind.find(rgb, self.options.min_detection_score)
        candidates = self._without_overlapping(boxes[: self.options.max_instances], known_boxes)[:room]
        new = self._present(rgb, candidates)
        if len(new) >= room:
            new += self._present(rgb, self._without_overlapping(boxes, [*known_boxes, *candidates])[:1])
        return new

    def _proposed(self, rgb: Image, pairs: Pairs[Any]) -> list[Any]:
        """Return the instances that the published search finds apart from the tracked ones."""
        tracked = [observation for _, observation in pairs]
        boxes = [self.kind.box_after(observation) for observation in tracked]
        candidates = self._published(rgb, boxes, max(self.options.max_instances - len(tracked), 0))
        return [candidate for candidate in candidates if not any(is_same(candidate, other) for other in tracked)]

    def _is_present(self, observation: Observation) -> bool:
        return self.kind.is_present(observation, self.options.min_presence_score)

    def _present(self, rgb: Image, boxes: Sequence[RotatedBox]) -> list[Any]:
        return list(filter(self._is_present, (self.kind.observe(rgb, box) for box in boxes)))

    def _without_overlapping(self, boxes: Sequence[RotatedBox], others: Sequence[RotatedBox] = ()) -> list[RotatedBox]:
        """Return the boxes of new instances. Of two boxes of one instance the later stays, as in MediaPipe."""
        accepted = latest_boxes(boxes, self._is_same_instance)
        return [box for box in accepted if not any(self._is_same_instance(box, other) for other in others)]

    def _is_same_instance(self, box: RotatedBox, other: RotatedBox) -> bool:
        limit = self.options.thresholds.same_overlap
        return self.kind.is_same_instance(box, other) if limit is None else iou(box, other) > limit
