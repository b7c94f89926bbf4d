"""Keep the last seconds of a recording, join the tracklets of an instance, and remove what no key frame supports."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from sonjit._util import Image
from sonjit.detectors.observations import O, centre_of
from sonjit.detectors.recordings.following import Follower
from sonjit.detectors.recordings.tracklets import Tracklets, follow_back
from sonjit.detectors.search.geometry import is_same
from sonjit.detectors.tracking import Track
from sonjit.geometry.boxes import RotatedBox, wrap_angle


@dataclass(frozen=True)
class WindowSettings:
    """Settings of the window of a recording, in which results still change."""

    seconds: float = 4.0
    """Maximum time from the first to the last frame."""
    most_bytes: int = 256_000_000
    """Maximum size of its images."""
    bridged_s: float = 0.5
    """Maximum time between the end of a track and the begin of another one of the same instance."""
    bridged_cost: float = 1.5
    """Maximum cost of `Track.cost` of the same, which grows by `bridged_speed` in each second between them."""
    bridged_speed: float = 3.0
    bridged_presence: float = 0.5
    """Minimum presence of an instance between two frames that show it."""
    bridged_growth: float = 1.4
    """Maximum ratio of its box and the one that is expected there."""


class _Shown(NamedTuple, Generic[O]):
    """A track in one frame."""

    observation: O
    smoothed: O
    occluded_s: float | None


@dataclass
class _Frame(Generic[O]):
    """A frame of the window."""

    rgb: Image
    time_s: float
    scene: int
    kept_bytes: int
    excess: int = 0  # number of instances beyond the maximum
    tracks: dict[Track[O], _Shown[O]] = field(default_factory=dict[Track[O], _Shown[O]])
    single: list[O] = field(default_factory=list[O])  # instances of a key frame that cannot be followed


class Joined(NamedTuple, Generic[O]):
    """The instances of a frame, each with its track, sorted by id."""

    tracks: list[Track[O]]
    excess: int


class Recording(Generic[O]):
    """Follow the instances of a recording, whose frames are added one after the other.

    `backward` has the same settings as the tracklets of the follower.
    """

    def __init__(
        self,
        follower: Follower[O],
        backward: Tracklets[O],
        max_instances: int,
        settings: WindowSettings = WindowSettings(),
    ) -> None:
        self._follower, self._backward = follower, backward
        self._key_frames = follower.key_frames
        self._max_instances, self._settings = max_instances, settings
        self._window: deque[_Frame[O]] = deque()
        self._bytes = 0
        self._excess = 0
        # Earlier tracklet of the same instance, and shown track of each instance, by tracklet.
        self._joined: WeakKeyDictionary[Track[O], Track[O]] = WeakKeyDictionary()
        self._public: WeakKeyDictionary[Track[O], Track[O]] = WeakKeyDictionary()
        self._continued: WeakSet[Track[O]] = WeakSet()  # tracks that a later one continues
        self._count = 0

    def add(self, rgb: Image, now_s: float, *, is_last: bool, kept_bytes: int | None = None) -> None:
        """Follow the instances to the next image (H, W, 3) at a time in seconds.

        `kept_bytes` is the memory that its frame takes until it is ready. Default: that of the image.
        """
        step = self._follower.step(rgb, now_s, is_last=is_last)
        if step.excess is not None:
            self._excess = step.excess
        seen = {track: _Shown(track.observation, track.smoothed, track.occluded_s) for track in step.tracks}
        size = rgb.nbytes if kept_bytes is None else kept_bytes
        self._window.append(_Frame(rgb, now_s, step.scene, size, self._excess, seen, step.single))
        self._bytes += size
        for track in step.begun:
            self._follow_back(track)
        for track, last_s in step.ended.items():
            for frame in self._window:
                if frame.time_s > last_s:
                    frame.tracks.pop(track, None)

    def _follow_back(self, track: Track[O]) -> None:
        """Follow a new track backwards to where it begins, or to an earlier one of the same instance."""
        *earlier, last = self._window
        if earlier and track in earlier[-1].tracks:
            return
        same_scene = [frame for frame in reversed(earlier) if frame.scene == last.scene]
        after: set[Track[O]] = set(last.tracks)
        views = ((frame.rgb, frame.time_s) for frame in same_scene)
        back = follow_back(self._backward, track.observation, last.time_s, views)
        first = last
        for frame, state in zip(same_scene, back, strict=False):
            if track in frame.tracks or frame.time_s >= last.time_s:
                return
            met = next((o for o, seen in frame.tracks.items() if is_same(state.smoothed, seen.smoothed)), None)
            if met is not None:
                if met not in after:
                    self._join(track, met)
                return
            after |= set(frame.tracks)
            frame.tracks[track] = _Shown(state.observation, state.smoothed, None)
            first = frame
        self._bridge(track, first, [frame for frame in same_scene if frame.time_s < first.time_s], after)

    def _join(self, track: Track[O], earlier: Track[O]) -> None:
        """Make a track and an earlier one those of one instance."""
        self._joined[track] = earlier
        self._continued.add(earlier)
        self._key_frames.join(track, earlier)
        self._follower.tracklets.tracker.forget(earlier)

    def _bridge(
        self, track: Track[O], first: _Frame[O], before: Sequence[_Frame[O]], after: Collection[Track[O]]
    ) -> None:
        """Join a track with the one that was lost shortly before it begins, and search it again in the gap.

        `before` are the frames before its first one, the last first. A track in `after` is another instance.
        """
        settings = self._settings
        gap: list[_Frame[O]] = []
        for frame in before:
            if first.time_s - frame.time_s > settings.bridged_s:
                return
            end = track if track in frame.tracks else self._lost_in(frame, track, first, after)
            if end is not None:
                if end is not track:
                    self._join(track, end)
                self._search_gap(track, frame, frame.tracks[end].observation, gap, first)
                return
            gap.append(frame)

    def _lost_in(
        self, frame: _Frame[O], track: Track[O], first: _Frame[O], after: Collection[Track[O]]
    ) -> Track[O] | None:
        """Return the visible track of an earlier frame that a track may continue, or None."""
        settings, observation = self._settings, first.tracks[track].observation
        most_cost = settings.bridged_cost + settings.bridged_speed * (first.time_s - frame.time_s)
        costs = [
            (cost, other.id, other)
            for other, seen in frame.tracks.items()
            if seen.occluded_s is None and other not in after and other not in self._continued
            if (cost := other.cost(observation, first.time_s)) < most_cost
        ]
        return min(costs)[2] if costs else None

    def _search_gap(self, track: Track[O], start: _Frame[O], lost: O, gap: Sequence[_Frame[O]], end: _Frame[O]) -> None:
        """Search an instance in the frames between two that show it, where it must be."""
        tracklets, found = self._backward, end.tracks[track].observation
        boxes = tracklets.box_after(lost), tracklets.box_after(found)
        for frame in gap:
            share = (frame.time_s - start.time_s) / (end.time_s - start.time_s)
            box = between(*boxes, share)
            seen = max(tracklets.look(frame.rgb, box), key=lambda item: item.score)
            growth = tracklets.box_after(seen).width / box.width
            if (
                seen.score > self._settings.bridged_presence
                and math.dist(centre_of(seen), box[:2]) < box.width / 2
                and 1 / self._settings.bridged_growth < growth < self._settings.bridged_growth
                and not any(is_same(seen, other.observation) for other in frame.tracks.values())
            ):
                frame.tracks[track] = _Shown(seen, tracklets.refined(seen), None)

    def ready(self, *, is_last: bool) -> Iterator[tuple[Image, Joined[O]]]:
        """Yield the frames that leave the window, all at the end: image (H, W, 3) and instances."""
        while self._window and (is_last or self._is_full()):
            frame = self._window.popleft()
            self._bytes -= frame.kept_bytes
            yield frame.rgb, self._instances(frame)

    def _is_full(self) -> bool:
        duration_s = self._window[-1].time_s - self._window[0].time_s
        return len(self._window) > 1 and (
            duration_s > self._settings.seconds or self._bytes > self._settings.most_bytes
        )

    def _instances(self, frame: _Frame[O]) -> Joined[O]:
        """Return the instances of a frame."""
        shown: dict[int, Track[O]] = {}
        for track, seen in frame.tracks.items():
            if not self._is_confirmed(track):
                continue
            public = self._public_track(track, seen.observation, frame.time_s)
            if public.id in shown:
                continue
            public.observation, public.smoothed = seen.observation, seen.smoothed
            public.occluded_s, public.seen_s, public.left = seen.occluded_s, frame.time_s, track.left
            shown[public.id] = public
        for instance in frame.single:
            if self._key_frames.is_sure(instance) and not any(
                is_same(instance, track.observation) for track in shown.values()
            ):
                self._count += 1
                shown[self._count] = Track(self._count, instance, instance, None, frame.time_s, instance.left)
        tracks = [shown[number] for number in sorted(shown)]
        beyond = max(len(tracks) - self._max_instances, 0)
        excess = frame.excess if len(tracks) >= self._max_instances else 0
        return Joined(tracks[: self._max_instances], excess + beyond)

    def _is_confirmed(self, track: Track[O]) -> bool:
        """Check whether a track is shown: it, an earlier one that is joined with it, or a later one is confirmed."""
        root = self._root(track)
        return any(self._key_frames.confirms(related) for related in {track, root, *self._later(root)})

    def _later(self, root: Track[O]) -> Iterator[Track[O]]:
        return (track for track in self._joined if self._root(track) is root)

    def _root(self, track: Track[O]) -> Track[O]:
        """Return the first tracklet of the instance of a track."""
        while track in self._joined:
            track = self._joined[track]
        return track

    def _public_track(self, track: Track[O], observation: O, time_s: float) -> Track[O]:
        """Return the shown track of an instance, with an id in the order of appearance."""
        root = self._root(track)
        if root not in self._public:
            self._count += 1
            self._public[root] = Track(self._count, observation, observation, None, time_s)
        return self._public[root]


def between(start: RotatedBox, end: RotatedBox, share: float) -> RotatedBox:
    """Return the box at a share of the way between two boxes."""
    turn = wrap_angle(end.rotation - start.rotation)
    values = [a + share * (b - a) for a, b in zip(start[:4], end[:4], strict=True)]
    return RotatedBox(*values, rotation=wrap_angle(start.rotation + share * turn))
