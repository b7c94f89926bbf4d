"""Follow the instances of a stream from frame to frame: published search, key frames and tracklets in one step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Generic, NamedTuple

from sonjit._util import Image
from sonjit.detectors.observations import O
from sonjit.detectors.recordings.key_frames import KeyFrame, KeyFrames
from sonjit.detectors.recordings.live import LiveSearch
from sonjit.detectors.recordings.tracklets import Pairs, Tracklets
from sonjit.detectors.search.geometry import is_same
from sonjit.detectors.tracking import Track


class Step(NamedTuple, Generic[O]):
    """What one frame changes."""

    tracks: list[Track[O]]  # active tracks of the frame, also those that end with it
    begun: list[Track[O]]  # tracks that a key frame begins
    ended: dict[Track[O], float]  # tracks that a key frame ends, each with the time to which it was supported
    single: list[O]  # instances of a key frame that cannot be followed
    excess: int | None  # number of instances beyond the maximum; None if this frame does not show it
    is_any_lost: bool


class Follower(Generic[O]):
    """Follow the instances of one stream.

    `propose` is the published search of an image: it returns what it finds apart from the tracks. `live` searches key
    frames in a thread of its own; without it, the frame waits for the search.
    """

    def __init__(
        self,
        tracklets: Tracklets[O],
        key_frames: KeyFrames[O],
        propose: Callable[[Image, Pairs[O]], Sequence[O]],
        max_instances: int,
        live: LiveSearch[O] | None = None,
    ) -> None:
        self.tracklets, self.key_frames = tracklets, key_frames
        self._propose, self._max_instances, self._live = propose, max_instances, live

    def step(
        self, rgb: Image, now_s: float, scene: int, *, looks_ahead: bool = False, is_last: bool = False
    ) -> Step[O]:
        """Follow the instances to the next image (H, W, 3) at a time in seconds, in a scene of `media.cuts.Scenes`.

        With `looks_ahead`, a later key frame may still add instances to this frame, so fewer frames are searched. The
        last frame is then a key frame.
        """
        tracker, schedule = self.tracklets.tracker, self.key_frames.schedule
        if tracker.enter_scene(scene):
            schedule.begin_scene()
        pairs, missing = self.tracklets.observe(rgb)
        visible = [observation for track, observation in pairs if track.occluded_s is None]
        room = max(self._max_instances - len(visible), 0)
        is_patient = looks_ahead and not self.key_frames.is_urgent
        if any(self.key_frames.is_lost_inside(track, rgb) for track in missing):
            schedule.hurry(is_patient=is_patient, backs_off=not looks_ahead)
        is_searched = schedule.searches(len(visible), room, is_patient=looks_ahead)
        is_key_frame = self._live is None and (is_last or schedule.is_key_frame(now_s))
        proposed = self._propose(rgb, pairs) if is_searched and not is_key_frame else []
        if proposed and (room or looks_ahead):
            schedule.propose()
        if self._live is None:  # the key frame that follows shows whether they are instances
            proposed = []
        key_frame = self._key_frame(rgb, now_s, is_last=is_last)
        new, single = self.tracklets.new(rgb, [*visible, *proposed], [] if key_frame is None else key_frame.instances)
        if self._live is not None:  # what the published search proposes is shown at once
            new = [*proposed, *new]
        elif not looks_ahead:
            new = [*new, *single]
        excess = None if key_frame is None and not proposed else max(len(new) - room, 0)
        before = {track for track in tracker.active if track.occluded_s is None or not looks_ahead}
        is_any_lost = self.tracklets.update(pairs, new[:room], now_s)
        self.key_frames.observe(tracker.active)
        tracks = list(tracker.active)
        if key_frame is None:
            return Step(tracks, [], {}, single, excess, is_any_lost)
        begun = [track for track in tracks if track not in before and track.occluded_s is None]
        shown = key_frame.shown or {track: track.observation for track in tracks}
        has_doubtful = looks_ahead and not is_patient and not _are_shown(key_frame.instances, shown.values())
        ended = self.key_frames.compare(key_frame._replace(shown=shown), has_new=bool(begun), has_doubtful=has_doubtful)
        if not is_patient and any(map(self.key_frames.is_doubtful, shown)):
            schedule.verify()
        for track in ended:
            if track in tracker.active:
                tracker.end(track)
        return Step(tracks, begun, ended, single, excess, is_any_lost)

    def _key_frame(self, rgb: Image, now_s: float, *, is_last: bool) -> KeyFrame[O] | None:
        """Return a key frame whose search has ended, with the tracks of its time if that is an earlier frame."""
        schedule, tracker = self.key_frames.schedule, self.tracklets.tracker
        is_due = is_last or schedule.is_key_frame(now_s)
        if self._live is None:
            return KeyFrame(now_s, self.key_frames.search(rgb), {}) if is_due else None
        key_frame = self._live.take()
        if is_due and self._live.start(rgb, now_s, tracker.active):
            schedule.started(now_s)
        return key_frame and key_frame._replace(instances=self.key_frames.probable(key_frame.instances))


def _are_shown(instances: Iterable[O], observations: Collection[O]) -> bool:
    """Check whether each instance of a key frame, also a doubtful one, is the observation of a track."""
    return all(any(is_same(instance, other) for other in observations) for instance in instances)
