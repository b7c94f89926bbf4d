"""A thorough search spread over the frames of a stream: in each a window and an inference, or two inferences.

A place that a detector suggests in a window is looked into in that frame and, where something is seen, again in the
next one: only what both agree on is found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic

import cv2
import numpy as np

from sonjit.detectors.kinds.body import Bodies, BodyObservation
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation
from sonjit.detectors.kinds.face_networks import load_face_detector
from sonjit.detectors.kinds.hands import HandObservation, Hands
from sonjit.detectors.kinds.holistic import Holistic
from sonjit.detectors.search.agenda import O
from sonjit.detectors.search.checks import BodyCheck, FaceCheck
from sonjit.detectors.search.geometry import Proposal, Window, merged, window_around, windows
from sonjit.detectors.search.score import LIMITS
from sonjit.detectors.search.stream_finders import BodyFinder, FaceFinder, Finder, HandFinder, HeadMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.interfaces import Verifier
    from sonjit.detectors.options import BodyOptions, CommonOptions, HandOptions, HolisticOptions
    from sonjit.detectors.search.geometry import Image
    from sonjit.geometry.boxes import RotatedBox

_FOUND = 0.5
_LEAST_INFERENCES = 2
_LEAST_PLACES = 3
"""How many of the best places are looked into, however little room there is; otherwise two for each one."""
_MOST_TIMES = 3
"""How often what is found and not held is offered again."""
_HEAD_FRAMES = 40
"""For how long a head counts that is not seen again."""
_LOST_WINDOW = 2.0
"""Side of the window around where an instance was lost, in those of its box."""
_THUMBNAIL = 48
_LEAST_ROWS = 8
"""Of the image that a row of its thumbnail is the mean of, where it has as many."""
_CHANGE = 6
"""Difference in grey levels of a thumbnail's pixel from which on it shows something new."""
_MOST_ROUNDS = 3
"""For which a window rests: one more each time that a detector suggests nothing, as what moves was mostly there."""


@dataclass
class _Candidate(Generic[O]):
    """What was seen in a place in the last frame, and how often it has been found."""

    place: Proposal
    first: O
    times: int = 0


class StreamSearch(Generic[O]):
    """Searches a stream window by window, a little in each frame; see `sonjit.detectors.interfaces.Spread`."""

    def __init__(self, finder: Finder[O], check: Verifier[O] | None = None) -> None:
        self._finder, self.check = finder, check
        self.reset()

    def reset(self) -> None:
        """Forget everything of the stream before."""
        self._frame = self._number = 0
        self._places: list[Proposal] = []
        self._candidates: list[_Candidate[O]] = []
        self._found: list[_Candidate[O]] = []
        self._shown: dict[Window, _Shown] = {}
        self._searched: NDArray[np.int16] | None = None
        self._finder.reset()
        if self.check is not None:
            self.check.reset()

    def is_changed(self, rgb: Image) -> bool:
        """Check whether an image (H, W, 3) changed since the last image that did."""
        small = _thumbnail(rgb)
        before = self._searched
        if before is not None and before.shape == small.shape and np.abs(small - before).max() <= _CHANGE:
            return False
        self._searched = small
        return True

    def step(self, rgb: Image, held: Sequence[O], lost: Sequence[RotatedBox], *, spent: int, room: int) -> list[O]:
        """Run this frame's share of the search and return its finds.

        The more is held, the more a frame takes anyway, and the larger the share.

        Args:
            rgb: (H, W, 3).
            held: seen in this frame; it is not found again.
            lost: boxes of what was lost of late; their surroundings are searched in every other frame.
            spent: what the frame has taken beside what is held, in inferences.
            room: how many more may be held; with none, the frame only passes.
        """
        self._frame += 1
        self._finder.begin_frame(held)
        if room <= 0:  # what was suggested before grows old
            self._places, self._candidates, self._found = [], [], []
            return []
        left = max(len(held) + 1, _LEAST_INFERENCES) - spent
        found: list[O] = []
        candidates = [*self._candidates, *(one for one in self._found if one.times < _MOST_TIMES)]
        self._candidates, self._found = [], []
        for candidate in candidates:
            if any(self._finder.is_same(candidate.first, one) for one in held):
                continue
            if left < self._finder.inferences:
                self._candidates.append(candidate)
                continue
            left -= self._finder.inferences
            second = self._confirmed(self._finder.masked_image(rgb, candidate.place, held), candidate)
            if second is None or any(self._finder.is_same(second, one) for one in (*held, *found)):
                self._look_elsewhere(candidate.place)
            else:
                found.append(second)
                self._found.append(_Candidate(candidate.place, second, candidate.times + 1))
        if left > _LEAST_INFERENCES or left > len(self._places):
            left -= 1
            self._places += self._next_places(rgb, lost, held)
        places = merged(self._places, 4 * max(rgb.shape))
        self._places = self._free(places, held)[: max(_LEAST_PLACES, 2 * room)]
        while self._places and left > 0:
            left -= 1
            place = self._places.pop(0)
            first = self._finder.observe(self._finder.masked_image(rgb, place, held), place.box)
            if first.score > self._finder.least_presence:
                self._candidates.append(_Candidate(place, first))
            else:
                self._look_elsewhere(place)
        return found

    def _look_elsewhere(self, place: Proposal) -> None:
        other = self._finder.elsewhere(place)
        if other is not None:
            self._places.append(other)

    def _confirmed(self, rgb: Image, candidate: _Candidate[O]) -> O | None:
        """Verify a candidate in the next frame. Return None if its calibrated score is too low."""
        second = self._finder.observe(rgb, self._finder.box_after(candidate.first))
        if second.score <= self._finder.least_presence:
            return None
        score = self._finder.score(rgb, candidate.place, candidate.first, second)
        return replace(second, score=score) if score > _FOUND else None  # pyright: ignore

    def _next_places(self, rgb: Image, lost: Sequence[RotatedBox], held: Sequence[O]) -> list[Proposal]:
        """Return proposals of the next changed windows, or of a window around a lost instance."""
        self._number += 1
        window = None
        if lost and self._number % 2:
            box = lost[self._number // 2 % len(lost)]
            window = window_around(box.cx, box.cy, _LOST_WINDOW * box.width, rgb)
        if window is not None:
            return list(self._finder.places(rgb, window))
        places: list[Proposal] = []
        for one in self._next_windows(rgb, held):
            suggested = self._free(self._finder.places(rgb, one), held)
            if suggested:
                self._shown[one].rounds = 1
            places += suggested
        return places

    def _free(self, places: Sequence[Proposal], held: Sequence[O]) -> list[Proposal]:
        return [place for place in places if not any(self._finder.is_same_instance(place, one) for one in held)]

    def _next_windows(self, rgb: Image, held: Sequence[O]) -> list[Window]:
        """Return the changed windows without tracked instances that were searched longest ago."""
        height, width = rgb.shape[:2]
        small = _thumbnail(rgb)
        scale = _THUMBNAIL / max(width, height)
        free = np.ones((*small.shape[:2], 1), np.int16)
        for box in map(self._finder.box_after, held):
            x, y, reach = box.cx * scale, box.cy * scale, box.width * scale / 2
            free[
                max(int(y - reach), 0) : max(int(y + reach) + 1, 0), max(int(x - reach), 0) : max(int(x + reach) + 1, 0)
            ] = 0
        all_windows = [one for parts in self._finder.parts for one in windows(width, height, parts)]
        self._shown = {window: shown for window, shown in self._shown.items() if window in all_windows}
        never = [window for window in all_windows if window not in self._shown]
        chosen: list[Window] = []
        for window in (*never, *self._shown):
            part = (
                slice(math.floor(window.top * scale), math.ceil(window.bottom * scale)),
                slice(math.floor(window.left * scale), math.ceil(window.right * scale)),
            )
            shown, before = _Shown(self._frame, small[part], free[part]), self._shown.get(window)
            if before is None or self._is_due(shown, before, len(all_windows)):
                shown.rounds = 1 if before is None else min(before.rounds + 1, _MOST_ROUNDS)
                self._shown.pop(window, None)
                self._shown[window] = shown
                chosen.append(window)
                if len(chosen) == self._finder.windows_at_once:
                    break
        return chosen

    def _is_due(self, shown: _Shown, before: _Shown, windows: int) -> bool:
        """Check whether a window is due: it changed after its pause, or was not searched for long."""
        rested = shown.frame - before.frame
        if rested * self._finder.windows_at_once <= before.rounds * windows:
            return False
        return shown.differs(before) or rested > self._finder.patience


@dataclass
class _Shown:
    """What a window showed when it was searched.

    Attributes:
        frame: the number of that frame.
        small: (h, w, 3) its thumbnail.
        free: (h, w, 1) 0 where something was held, else 1.
        rounds: Number of passes over all windows during which the window is skipped.
    """

    frame: int
    small: NDArray[np.int16]
    free: NDArray[np.int16]
    rounds: int = 1

    def differs(self, other: _Shown) -> bool:
        """Check whether the images differ outside the tracked instances."""
        return bool((np.abs(self.small - other.small) * self.free * other.free).max() > _CHANGE)


def _thumbnail(rgb: Image) -> NDArray[np.int16]:
    """Sample a few pixels of an image (H, W, 3)."""
    height, width = rgb.shape[:2]
    scale = _THUMBNAIL / max(width, height)
    rows = rgb[:: max(int(1 / (_LEAST_ROWS * scale)), 1)]  # all of them would take longer than a network
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(rows, size, interpolation=cv2.INTER_AREA).astype(np.int16)


def hands_in_streams(options: HandOptions, hands: Hands) -> StreamSearch[HandObservation]:
    """Search for hands window by window."""
    assert hands.palms is not None
    return StreamSearch(HandFinder(hands.palms.detector, hands, LIMITS["palm_share"] * options.min_detection_score))


def faces_in_streams(options: CommonOptions, meshes: FaceMeshes) -> StreamSearch[FaceObservation]:
    """Faces window by window."""
    detector = load_face_detector(options, "face-full")
    finder = FaceFinder(detector, meshes, LIMITS["face_share"] * options.min_detection_score)
    return StreamSearch(finder, FaceCheck(detector))


def bodies_in_streams(options: BodyOptions, bodies: Bodies) -> StreamSearch[BodyObservation]:
    """Bodies window by window."""
    faces, heads = load_face_detector(options, "face-full"), HeadMap(_HEAD_FRAMES)
    check = BodyCheck(faces, bodies, heads, mirrored=options.mirrored)
    return StreamSearch(BodyFinder(faces, bodies, heads), check)


def people_in_streams(options: HolisticOptions, people: Holistic) -> StreamSearch[BodyObservation]:
    """Search for the bodies of people window by window."""
    return bodies_in_streams(options, people.bodies)
