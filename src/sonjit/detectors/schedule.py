"""Decide which frame of a stream is searched, and how: by the published search, or as a still in a key frame.

What each search costs on one core (median of some hundred frames of 40 clips, in inferences of one hand), and what only
it finds:

- published search, 1: large instances, one to five frames after they appear.
- key frame of faces, 12: small and turned faces, and what is no face.
- key frame of hands, 20: small, held and overlapped hands, and what is no hand. The closer windows around proposals
  take half of it. They find still hands that fill a close-up, and second hands of a person.
- key frame of bodies, 30: people without a large face, people behind others, and what is no body.
- look around a lost instance, 1 to 3: hands in fast motion, and hands whose box is off. Nothing else finds them before
  the next key frame, so that their identity would change.
- way back of a new instance, 1 for each frame: all frames before its first key frame, in recordings only.
- search of a gap, 2 to 3 for each frame: blurred hands between two frames that show them, in recordings only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_COUNT_INTERVAL = 90  # frames, also in pages


@dataclass(frozen=True)
class ScheduleSettings:
    """Settings of `Schedule`.

    Those of key frames are in seconds, so that they do not depend on the frame rate. They were chosen on the tuned half
    of the labelled clips by `benchmarks/streams.py`; `research/recordings.md` has the results.
    """

    interval_s: float = 1.0
    """Time between key frames."""
    calm_interval_s: float = 2.0
    """The same once `calm_after` key frames in a row agree with the tracks."""
    calm_after: int = 2
    urgent_interval_s: float = 0.25
    """Time to the next key frame when an instance was lost that did not leave, or when one may be new."""
    count_interval: int = _COUNT_INTERVAL
    """Frames between published searches for instances beyond `max_instances`."""
    sparse_interval: int = 30
    """Frames between published searches once a recording shows as many instances as a live stream may."""


class Schedule:
    """Schedule of one stream.

    The published search runs as in MediaPipe: in every frame without an instance, otherwise every `search_interval`
    frames while instances may be added. `sparse_from` is the number of instances from which it runs rarely.
    """

    def __init__(
        self, search_interval: int, sparse_from: int | None = None, settings: ScheduleSettings = ScheduleSettings()
    ) -> None:
        self._search_interval, self._sparse_from, self._settings = search_interval, sparse_from, settings
        self.reset()

    def reset(self) -> None:
        """Start a new stream. Its first frame is searched, and is a key frame."""
        self._since_search = self._search_interval
        self._last_s = -math.inf
        self._agreeing = 0
        self._urgent_s: float | None = None  # time to the next key frame; None if none is urgent
        self._is_lost = False  # the next key frame shows whether a lost instance is still there
        self._is_proposed = False  # the next key frame shows whether a proposal is an instance
        self._loss_s, self._proposal_s = self._settings.urgent_interval_s, 0.0

    def searches(self, visible: int, room: int, *, is_patient: bool = False) -> bool:
        """Decide whether a frame with so many visible instances is searched by the published search, and count it.

        `room` is the number of instances that may be added. A patient stream is not searched in every empty frame.
        """
        interval = self._search_interval
        if self._sparse_from is not None and visible >= self._sparse_from:
            interval = max(interval, self._settings.sparse_interval)
        elif room <= 0:
            interval = max(interval, self._settings.count_interval)
        is_due = self._since_search >= interval or (room > 0 and visible == 0 and not is_patient)
        self._since_search = 1 if is_due else self._since_search + 1
        return is_due

    def search_soon(self) -> None:
        """Let the published search run in the next frame, and a key frame follow what it proposes: one was lost."""
        self._since_search = self._search_interval
        self._proposal_s = 0.0

    def skip(self) -> None:
        """Count a frame that is searched in another way."""
        self._since_search += 1

    def hurry(self, *, is_patient: bool) -> None:
        """Ask for a key frame soon, because an instance was lost that did not leave; later after key frames in vain.

        A patient stream, in which a later key frame shows it as well, waits as long as between other key frames.
        """
        self._is_lost = True
        loss_s = self._settings.interval_s if is_patient else self._loss_s
        self._urgent_s = loss_s if self._urgent_s is None else min(self._urgent_s, loss_s)

    def verify(self) -> None:
        """Ask for a key frame soon, because an instance is doubtful."""
        interval_s = self._settings.urgent_interval_s
        self._urgent_s = interval_s if self._urgent_s is None else min(self._urgent_s, interval_s)

    def propose(self) -> None:
        """Ask for a key frame at once, because the published search proposes an instance, or later after refusals."""
        self._is_proposed = True
        self._urgent_s = self._proposal_s if self._urgent_s is None else min(self._urgent_s, self._proposal_s)

    def started(self, now_s: float) -> None:
        """Count a key frame whose search has only begun."""
        self._last_s = now_s

    def begin_scene(self) -> None:
        """Make the next frame a key frame, because the scene changed."""
        self._urgent_s, self._agreeing = 0.0, 0
        self._loss_s, self._proposal_s = self._settings.urgent_interval_s, 0.0

    def is_key_frame(self, now_s: float) -> bool:
        """Decide whether a frame is searched as a still."""
        settings = self._settings
        calm = settings.calm_interval_s if self._agreeing >= settings.calm_after else settings.interval_s
        interval_s = calm if self._urgent_s is None else min(self._urgent_s, calm)
        return not 0 <= now_s - self._last_s < interval_s - 1e-6

    def done(self, now_s: float, *, agrees: bool, has_new: bool) -> None:
        """Count a key frame: whether it agrees with the tracks, and whether it shows new instances.

        Urgent key frames that find nothing new become rarer.
        """
        settings = self._settings
        if has_new:
            self._loss_s, self._proposal_s = settings.urgent_interval_s, 0.0
        else:
            if self._is_proposed:
                self._proposal_s = min(max(2 * self._proposal_s, settings.urgent_interval_s), settings.interval_s)
            if self._is_lost:
                self._loss_s = min(2 * self._loss_s, settings.interval_s)
        self._is_lost = self._is_proposed = False
        self._last_s, self._urgent_s = max(now_s, self._last_s), None
        self._agreeing = self._agreeing + 1 if agrees else 0
