"""Search key frames as stills, and compare what they show with the tracks.

`sonjit.detectors.schedule` decides which frames are key frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from sonjit._util import Image
from sonjit.detectors.observations import O
from sonjit.detectors.schedule import Schedule
from sonjit.detectors.search.geometry import is_same
from sonjit.detectors.tracking import Track

if TYPE_CHECKING:
    from sonjit.detectors.interfaces import StillSearch


@dataclass(frozen=True)
class SupportSettings:
    """Settings of the support of tracks by key frames, chosen as those of `ScheduleSettings`."""

    unsupported: int = 2
    """Number of key frames in a row that do not show a track, after which it ends."""
    least: float = 0.2
    """Minimum probability of an instance of a key frame that supports a track."""
    begins: float = 0.6
    """Minimum probability of an instance that begins a track, relative to `min_presence_score`."""
    shown: float = 0.9
    """Minimum mean probability of a track in its key frames up to the last one that shows it, relative to the same."""
    doubtful: float = 0.3
    """Minimum probability of an instance without a track after which the stream is not calm."""
    border: float = 0.05
    """Distance from the border of the image at which a lost instance has left, in sizes of the instance."""


@dataclass
class _Support:
    """Support of a track by key frames."""

    best: float = 0.0  # highest probability in a key frame; 1 if the network was certain
    total: float = 0.0  # sum of the probabilities in key frames
    looks: int = 0  # number of key frames up to the last one that shows it
    count: int = 0  # number of those that show it
    last_s: float = -math.inf  # time of the last one that shows it
    failures: int = 0  # number of key frames since then
    presence: float = 0.0  # sum of the presence in the frames since then
    frames: int = 0  # number of these frames

    @property
    def mean(self) -> float:
        """Mean probability in these key frames, where those that do not show it count as 0."""
        return self.total / max(self.looks, 1)

    def add(self, score: float, now_s: float, *, is_certain: bool) -> None:
        """Count a key frame that shows the track with a probability, 0 if it does not."""
        if score == 0:
            self.failures += 1
            return
        self.total += score
        self.looks += 1 + self.failures
        self.best, self.count = max(self.best, score, float(is_certain)), self.count + 1
        self.last_s, self.failures, self.presence, self.frames = now_s, 0, 0.0, 0


class KeyFrame(NamedTuple, Generic[O]):
    """A searched frame."""

    time_s: float
    instances: list[O]  # instances with their probabilities as scores, best first, also doubtful ones
    shown: Mapping[Track[O], O]  # observations of the tracks in it


class KeyFrames(Generic[O]):
    """Search key frames, and decide which tracks they support.

    A track of at least `certain_presence` since its last support stays without support. An instance of at least
    `sure_score` is shown at once, and a second key frame must support others. A live stream has no `search`, see
    `LiveSearch`.
    """

    def __init__(
        self,
        search: StillSearch[O] | None,
        schedule: Schedule,
        certain_presence: float,
        sure_score: float,
        min_presence: float,
        settings: SupportSettings = SupportSettings(),
    ) -> None:
        self.schedule = schedule
        self._search, self._settings = search, settings
        self._certain_presence, self._sure_score = certain_presence, sure_score
        self._min_presence, self.begins = min_presence, settings.begins * min_presence
        self._support: WeakKeyDictionary[Track[O], _Support] = WeakKeyDictionary()

    def reset(self) -> None:
        """Forget the stream before."""
        self._support.clear()

    def search(self, rgb: Image) -> list[O]:
        """Return the instances of an image (H, W, 3) with their probabilities as scores, also doubtful ones."""
        assert self._search is not None
        return self.probable(self._search(rgb)[0])

    def probable(self, instances: Iterable[O]) -> list[O]:
        """Return the instances whose probability suffices to support a track."""
        return [instance for instance in instances if instance.score > self._settings.least]

    def is_lost_inside(self, track: Track[O], rgb: Image) -> bool:
        """Check whether a track is lost that was last seen away from the border of an image (H, W, 3)."""
        if track.occluded_s is not None:
            return False
        low, high = track.observation.keypoints[:, :2].min(axis=0), track.observation.keypoints[:, :2].max(axis=0)
        margin = self._settings.border * float((high - low).max())
        return bool((low > margin).all() and (high < np.array(rgb.shape[1::-1]) - margin).all())

    def observe(self, tracks: Iterable[Track[O]]) -> None:
        """Count a frame with these tracks."""
        for track in tracks:
            support = self._support.setdefault(track, _Support())
            presence = 0.0 if track.occluded_s is not None else track.observation.score
            support.presence += presence
            support.frames += 1
            if support.count and presence >= self._certain_presence:
                support.best = 1.0

    def compare(self, key_frame: KeyFrame[O], *, has_new: bool) -> dict[Track[O], float]:
        """Compare the instances of a key frame with the tracks, and report the result to the schedule.

        Return the tracks that end, each with the time of the last key frame that shows it. `has_new` is true if new
        tracks begin with it.
        """
        ended: dict[Track[O], float] = {}
        now_s, instances, shown = key_frame
        doubtful = [instance for instance in instances if instance.score > self._settings.doubtful]
        agrees = not has_new and all(any(is_same(item, other) for other in shown.values()) for item in doubtful)
        for track, observation in shown.items():
            support = self._support.setdefault(track, _Support())
            score = max((instance.score for instance in instances if is_same(instance, observation)), default=0.0)
            support.add(score, now_s, is_certain=observation.score >= self._certain_presence)
            if score > 0:
                continue
            agrees = False
            is_doubtful = support.presence < self._certain_presence * support.frames
            failures = self._settings.unsupported if self.confirms(track) else 1
            if support.failures >= failures and is_doubtful:
                ended[track] = support.last_s
        self.schedule.done(now_s, agrees=agrees, has_new=has_new)
        return ended

    def is_doubtful(self, track: Track[O]) -> bool:
        """Check whether another key frame decides about a track that has been in one."""
        return self._support[track].failures == 1 or not self.confirms(track)

    def confirms(self, track: Track[O]) -> bool:
        """Check whether a track may be shown: a key frame or the network is sure of it, or two key frames show it.

        The mean of its key frames must suffice too.
        """
        support = self._support.get(track)
        if support is None or (support.looks and support.mean < self._settings.shown * self._min_presence):
            return False
        return support.best >= self._sure_score or support.count > 1

    def is_refused(self, track: Track[O]) -> bool:
        """Check whether a track waits for a second key frame, or the first one does not show it."""
        support = self._support.get(track)
        return support is not None and support.count + support.failures > 0 and not self.confirms(track)

    def is_sure(self, instance: O) -> bool:
        """Check whether an instance of a key frame may be shown without a track."""
        return instance.score >= self._sure_score

    def join(self, track: Track[O], earlier: Track[O]) -> None:
        """Add the support of an earlier track of the same instance."""
        support, other = (self._support.setdefault(tracked, _Support()) for tracked in (track, earlier))
        support.best, support.count = max(support.best, other.best), support.count + other.count
        support.total, support.looks = support.total + other.total, support.looks + other.looks
