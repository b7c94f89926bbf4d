"""Follow the instances of a stream from frame to frame: published search, key frames and tracklets in one step.

A stream is followed in one of four ways: `AsPublished`, `SearchNow`, `SearchInThread` and `LookAhead`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple

from sonjit._util import Image
from sonjit.detectors.observations import O
from sonjit.detectors.recordings.key_frames import KeyFrame, KeyFrames
from sonjit.detectors.recordings.live import LiveSearch
from sonjit.detectors.recordings.tracklets import Pairs, Tracklets
from sonjit.detectors.tracking import Track
from sonjit.media.cuts import Scenes


class Step(NamedTuple, Generic[O]):
    """What one frame changes."""

    tracks: list[Track[O]]  # active tracks of the frame, also those that end with it
    begun: list[Track[O]]  # tracks that begin with it, or are found again
    ended: dict[Track[O], float]  # tracks that a key frame ends, each with the time to which it was supported
    single: list[O]  # instances of a key frame that cannot be followed
    excess: int | None  # number of instances beyond the maximum; None if this frame does not show it
    is_any_lost: bool
    scene: int  # number of the scene


class _View(NamedTuple, Generic[O]):
    """A frame in which the tracks were carried on, before anything new begins."""

    rgb: Image
    now_s: float
    pairs: Pairs[O]
    is_last: bool

    @property
    def visible(self) -> list[O]:
        """Return the observations of visible tracks."""
        return [observation for track, observation in self.pairs if track.occluded_s is None]


class Stream(ABC, Generic[O]):
    """Follow the instances of one stream."""

    @abstractmethod
    def step(self, rgb: Image, now_s: float, *, is_last: bool = False) -> Step[O]:
        """Follow the instances to the next image (H, W, 3) at a time in seconds."""

    def shows(self, track: Track[O]) -> bool:
        """Check whether an active track is shown. By default it is."""
        return True


class AsPublished(Stream[O]):
    """No key frames, as in MediaPipe's graphs.

    `search` returns the new instances of an image with so many visible tracks, and how many instances there are beyond
    the maximum; None if it was not searched.
    """

    def __init__(
        self, tracklets: Tracklets[O], search: Callable[[Image, int, Pairs[O]], tuple[list[O], int | None]]
    ) -> None:
        self._tracklets, self._search = tracklets, search

    def step(self, rgb: Image, now_s: float, *, is_last: bool = False) -> Step[O]:
        """Follow the instances to the next image (H, W, 3) at a time in seconds."""
        visible = sum(track.occluded_s is None for track in self._tracklets.tracker.active)
        pairs, _ = self._tracklets.observe(rgb, now_s)
        new, excess = self._search(rgb, visible, pairs)
        is_any_lost = self._tracklets.update(pairs, new, now_s)
        return Step([], [], {}, [], excess, is_any_lost, 1)


class Follower(Stream[O]):
    """Follow the instances of one stream with key frames.

    `propose` is the published search of an image: it returns what it finds apart from the tracks.
    """

    looks_ahead = False

    def __init__(
        self,
        tracklets: Tracklets[O],
        key_frames: KeyFrames[O],
        propose: Callable[[Image, Pairs[O]], Sequence[O]],
        max_instances: int,
        scenes: Scenes,
    ) -> None:
        self.tracklets, self.key_frames, self.scenes = tracklets, key_frames, scenes
        self._propose, self._max_instances = propose, max_instances

    def step(self, rgb: Image, now_s: float, *, is_last: bool = False) -> Step[O]:
        """Follow the instances to the next image (H, W, 3) at a time in seconds."""
        tracker = self.tracklets.tracker
        scene = self._enter_scene(rgb, now_s)
        pairs, missing = self.tracklets.observe(rgb, now_s)
        view = _View(rgb, now_s, pairs, is_last)
        room = max(self._max_instances - len(view.visible), 0)
        if any(self.key_frames.is_lost_inside(track, rgb) for track in missing):
            self.key_frames.schedule.hurry(is_patient=self.looks_ahead)
        lost = [track for track in self.tracklets.just_lost(now_s) if self.key_frames.is_lost_inside(track, rgb)]
        at_once = self.tracklets.again(rgb, now_s, lost, view.visible) if room else []
        at_once += self.proposals(view, room)
        key_frame = self.key_frame(view)
        known = [*view.visible, *at_once]
        instances = [] if key_frame is None else key_frame.instances
        new, single = self.tracklets.new(rgb, known, instances, self.key_frames.begins)
        new = [*at_once, *new, *self.shown_once(single)]
        excess = None if key_frame is None and not at_once else max(len(new) - room, 0)
        before = {track for track in tracker.active if track.occluded_s is None or not self.looks_ahead}
        is_any_lost = self.tracklets.update(pairs, new[:room], now_s)
        self.key_frames.observe(tracker.active)
        tracks = list(tracker.active)
        begun = [track for track in tracks if track not in before and track.occluded_s is None]
        ended = {} if key_frame is None else self._compare(key_frame, tracks, has_new=bool(begun))
        return Step(tracks, begun, ended, single, excess, is_any_lost, scene)

    def shows(self, track: Track[O]) -> bool:
        """Check whether key frames confirm a track."""
        return self.key_frames.confirms(track)

    def _enter_scene(self, rgb: Image, now_s: float) -> int:
        """Return the number of the scene. Tracks of regions that a cut leaves as they are stay, moved if these move."""
        tracker = self.tracklets.tracker
        scene = self.scenes.number(rgb, now_s)
        if tracker.is_in(scene):
            return scene
        shifts = {track: self.scenes.shift_of(track.observation.keypoints, rgb) for track in tracker.active}
        tracker.enter_scene(scene, {track: shift for track, shift in shifts.items() if shift is not None})
        self.key_frames.schedule.begin_scene()
        return scene

    def _compare(self, key_frame: KeyFrame[O], tracks: Sequence[Track[O]], *, has_new: bool) -> dict[Track[O], float]:
        """Compare a key frame with the tracks, and return those that it ends."""
        tracker, shown = self.tracklets.tracker, key_frame.shown or {track: track.observation for track in tracks}
        ended = self.key_frames.compare(key_frame._replace(shown=shown), has_new=has_new)
        if not self.looks_ahead and any(map(self.key_frames.is_doubtful, shown)):
            self.key_frames.schedule.verify()
        for track in ended:
            if track in tracker.active:
                tracker.end(track)
        return ended

    @abstractmethod
    def proposals(self, view: _View[O], room: int) -> list[O]:
        """Run the published search if it is due, and return what it shows at once. `room`: instances that may begin."""

    @abstractmethod
    def key_frame(self, view: _View[O]) -> KeyFrame[O] | None:
        """Return a key frame whose search has ended."""

    def shown_once(self, single: list[O]) -> list[O]:
        """Return the instances of a key frame that begin tracks although the landmark network does not follow them."""
        return single


class SearchNow(Follower[O]):
    """Each frame waits for its search, and what is found later changes nothing in it."""

    def proposals(self, view: _View[O], room: int) -> list[O]:
        """Ask for a key frame where the published search proposes an instance. It shows whether it is one."""
        schedule = self.key_frames.schedule
        is_due = schedule.searches(len(view.visible), room, is_patient=self.looks_ahead)
        if not is_due or self._is_key_frame(view):
            return []
        if self._propose(view.rgb, view.pairs) and (room or self.looks_ahead):
            schedule.propose()
        return []

    def key_frame(self, view: _View[O]) -> KeyFrame[O] | None:
        """Search the frame if it is a key frame."""
        if not self._is_key_frame(view):
            return None
        return KeyFrame(view.now_s, self.key_frames.search(view.rgb), {})

    def _is_key_frame(self, view: _View[O]) -> bool:
        return view.is_last or self.key_frames.schedule.is_key_frame(view.now_s)


class LookAhead(SearchNow[O]):
    """Key frames also change the frames of the seconds before them, so that fewer frames are searched.

    The last frame is a key frame.
    """

    looks_ahead = True

    def shown_once(self, single: list[O]) -> list[O]:
        """Return nothing: a recording shows them in their frame only."""
        return []


class SearchInThread(Follower[O]):
    """No frame waits: `live` searches key frames in a thread of its own, and what it finds enters a later frame."""

    def __init__(
        self,
        tracklets: Tracklets[O],
        key_frames: KeyFrames[O],
        propose: Callable[[Image, Pairs[O]], Sequence[O]],
        max_instances: int,
        scenes: Scenes,
        live: LiveSearch[O],
    ) -> None:
        super().__init__(tracklets, key_frames, propose, max_instances, scenes)
        self._live = live

    def proposals(self, view: _View[O], room: int) -> list[O]:
        """Return what the published search proposes, which is shown at once."""
        schedule = self.key_frames.schedule
        if not schedule.searches(len(view.visible), room):
            return []
        proposed = list(self._propose(view.rgb, view.pairs))
        if proposed and room:
            schedule.propose()
        return proposed

    def key_frame(self, view: _View[O]) -> KeyFrame[O] | None:
        """Return an earlier frame whose search has ended, with the tracks of its time, and begin the next search."""
        schedule, tracker = self.key_frames.schedule, self.tracklets.tracker
        key_frame = self._live.take()
        if schedule.is_key_frame(view.now_s) and self._live.start(view.rgb, view.now_s, tracker.active):
            schedule.started(view.now_s)
        return key_frame and key_frame._replace(instances=self.key_frames.probable(key_frame.instances))

    def shown_once(self, single: list[O]) -> list[O]:
        """Return nothing: they belong to an earlier frame."""
        return []

    def shows(self, track: Track[O]) -> bool:
        """Check whether no key frame refuses a track. No frame waits for the first one."""
        return not self.key_frames.is_refused(track)
