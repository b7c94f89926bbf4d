"""A thorough search spread over the frames of a stream: in each a window and an inference, or two inferences.

A place that a detector suggests in a window is looked into in that frame and, where something is seen, again in the
next one: only what both agree on is found.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Generic

import cv2
import numpy as np

from sonjit.detectors.kinds.body import Bodies, BodyObservation, box_from_alignment
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation, box_around_face, load_face_detector
from sonjit.detectors.kinds.hands import HandObservation, Hands, box_around_hand, box_from_palm
from sonjit.detectors.kinds.holistic import Holistic
from sonjit.detectors.search.bodies import seen_inside
from sonjit.detectors.search.faces import FaceSearch
from sonjit.detectors.search.finds import (
    FACE_SHARE,
    PALM_SHARE,
    LogisticRegression,
    O,
    Place,
    Window,
    is_same_find,
    logit,
    merged,
    oks,
    tiles,
    window_around,
)
from sonjit.detectors.search.hands import seen_in_mirror
from sonjit.geometry.boxes import iou

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.options import DetectorOptions
    from sonjit.detectors.search.finds import Image
    from sonjit.detectors.ssd import SingleShotDetector
    from sonjit.geometry.boxes import RotatedBox

_FOUND = 0.5
_LEAST_INFERENCES = 2
_MOST_PLACES = 3
_TAKEN_IOU = 0.3
_LOST_WINDOW = 2.0
"""Side of the window around where an instance was lost, in those of its box."""
_THUMBNAIL = 48
_LEAST_ROWS = 8
"""Of the image that a row of its thumbnail is the mean of, where it has as many."""
_CHANGE = 6
"""Difference in grey levels of a thumbnail's pixel from which on it shows something new."""
_MOST_ROUNDS = 3
"""For which a window rests: one more each time that a detector suggests nothing, as what moves was mostly there."""


class Finder(ABC, Generic[O]):
    """What differs between hands, faces and bodies in a stream's windows."""

    parts: ClassVar[Sequence[int]] = (2, 3)
    least_presence: ClassVar[float] = 0.2
    inferences: ClassVar[int] = 1
    """What a second look takes."""

    @abstractmethod
    def places(self, rgb: Image, window: Window) -> list[Place]:
        """Where a detector suggests something in a window, in pixels of the image (H, W, 3)."""

    @abstractmethod
    def observe(self, rgb: Image, box: RotatedBox) -> O:
        """What is seen in a box."""

    @abstractmethod
    def box_after(self, seen: O) -> RotatedBox:
        """The box of the next frame."""

    @abstractmethod
    def score(self, rgb: Image, place: Place, first: O, second: O) -> float:
        """Probability that what was seen in two frames is one; the image is that of the second."""


@dataclass
class _Candidate(Generic[O]):
    place: Place
    first: O


class StreamSearch(Generic[O]):
    """Searches a stream window by window, a little in each frame; see `sonjit.detectors.pipeline.Spread`."""

    def __init__(self, finder: Finder[O]) -> None:
        self._finder = finder
        self.reset()

    def reset(self) -> None:
        """Forget everything of the stream before."""
        self._number = 0
        self._places: list[Place] = []
        self._candidates: list[_Candidate[O]] = []
        self._frames = 0
        self._shown: dict[Window, _Shown] = {}
        self._searched: NDArray[np.int16] | None = None

    def is_changed(self, rgb: Image) -> bool:
        """Whether an image (H, W, 3) shows something new since one that this said of."""
        small = _thumbnail(rgb)
        before = self._searched
        if before is not None and before.shape == small.shape and np.abs(small - before).max() <= _CHANGE:
            return False
        self._searched = small
        return True

    def step(self, rgb: Image, held: Sequence[O], lost: Sequence[RotatedBox], *, detects_only: bool) -> list[O]:
        """What this frame's share of the search finds.

        Args:
            rgb: (H, W, 3).
            held: seen in this frame; it is not found again.
            lost: boxes of what was lost of late; their surroundings are searched in every other frame.
            detects_only: search a window and infer nothing: the frame has enough to do.
        """
        self._frames += 1
        inferences = 0 if detects_only else max(_LEAST_INFERENCES, len(held))
        taken = [self._finder.box_after(one) for one in held]
        found: list[O] = []
        confirmed = False
        candidates, self._candidates = self._candidates, []
        for candidate in candidates:
            if inferences < self._finder.inferences:
                self._candidates.append(candidate)
                continue
            inferences -= self._finder.inferences
            confirmed = True
            second = self._confirmed(rgb, candidate)
            if second is not None and not any(is_same_find(second.keypoints, o.keypoints) for o in (*held, *found)):
                found.append(second)
        if not confirmed and len(self._places) < _MOST_PLACES:
            self._places += self._next_places(rgb, lost, taken)
            inferences -= 1
        self._places = _without_taken(self._places, taken)
        while self._places and inferences > 0:
            inferences -= 1
            place = self._places.pop(0)
            first = self._finder.observe(rgb, place.box)
            if first.score > self._finder.least_presence:
                self._candidates.append(_Candidate(place, first))
        return found

    def _confirmed(self, rgb: Image, candidate: _Candidate[O]) -> O | None:
        """What is seen of a candidate in the next frame, with a calibrated score; None where that is too low."""
        second = self._finder.observe(rgb, self._finder.box_after(candidate.first))
        if second.score <= self._finder.least_presence:
            return None
        score = self._finder.score(rgb, candidate.place, candidate.first, second)
        return replace(second, score=score) if score > _FOUND else None  # pyright: ignore

    def _next_places(self, rgb: Image, lost: Sequence[RotatedBox], taken: Sequence[RotatedBox]) -> list[Place]:
        """Of the next window that shows something new, or of one around what was lost; the best first."""
        height, width = rgb.shape[:2]
        self._number += 1
        window = None
        if lost and self._number % 2:
            box = lost[self._number // 2 % len(lost)]
            window = window_around(box.cx, box.cy, _LOST_WINDOW * box.width, rgb)
        window = window or self._next_window(rgb, taken)
        if window is None:
            return []
        places = merged(self._finder.places(rgb, window), 4 * max(width, height))
        places = _without_taken(places, taken)[:_MOST_PLACES]
        if places and window in self._shown:
            self._shown[window].rounds = 1
        return places

    def _next_window(self, rgb: Image, taken: Sequence[RotatedBox]) -> Window | None:
        """The part of the image that was searched longest ago of those that changed since, beside what is held."""
        height, width = rgb.shape[:2]
        small = _thumbnail(rgb)
        scale = _THUMBNAIL / max(width, height)
        free = np.ones((*small.shape[:2], 1), np.int16)
        for box in taken:
            x, y, reach = box.cx * scale, box.cy * scale, box.width * scale / 2
            free[
                max(int(y - reach), 0) : max(int(y + reach) + 1, 0), max(int(x - reach), 0) : max(int(x + reach) + 1, 0)
            ] = 0
        windows = tiles(width, height, self._finder.parts)
        self._shown = {window: shown for window, shown in self._shown.items() if window in windows}
        never = [window for window in windows if window not in self._shown]
        for window in (*never, *self._shown):
            part = (
                slice(math.floor(window.top * scale), math.ceil(window.bottom * scale)),
                slice(math.floor(window.left * scale), math.ceil(window.right * scale)),
            )
            shown, before = _Shown(self._frames, small[part], free[part]), self._shown.get(window)
            if before is None or (shown.frame - before.frame > before.rounds * len(windows) and shown.differs(before)):
                shown.rounds = 1 if before is None else min(before.rounds + 1, _MOST_ROUNDS)
                self._shown.pop(window, None)
                self._shown[window] = shown
                return window
        return None


@dataclass
class _Shown:
    """What a window showed when it was searched.

    Attributes:
        frame: the number of that frame.
        small: (h, w, 3) its thumbnail.
        free: (h, w, 1) 0 where something was held, else 1.
        rounds: of all windows that it rests for.
    """

    frame: int
    small: NDArray[np.int16]
    free: NDArray[np.int16]
    rounds: int = 1

    def differs(self, other: _Shown) -> bool:
        """Whether anything is new beside what was held in either."""
        return bool((np.abs(self.small - other.small) * self.free * other.free).max() > _CHANGE)


def _thumbnail(rgb: Image) -> NDArray[np.int16]:
    """A few pixels of an image (H, W, 3)."""
    height, width = rgb.shape[:2]
    scale = _THUMBNAIL / max(width, height)
    rows = rgb[:: max(int(1 / (_LEAST_ROWS * scale)), 1)]  # all of them would take longer than a network
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(rows, size, interpolation=cv2.INTER_AREA).astype(np.int16)


def _without_taken(places: Sequence[Place], taken: Sequence[RotatedBox]) -> list[Place]:
    return [place for place in places if not any(iou(place.box, box) > _TAKEN_IOU for box in taken)]


class HandFinder(Finder[HandObservation]):
    """Hands by the palm detector, confirmed in the mirror."""

    SCORE = LogisticRegression(-1.95, {"presence": 0.212, "mirrored": 0.672})
    """That of the search of stills, for what one window alone leads to."""

    inferences = 2

    def __init__(self, palms: SingleShotDetector, hands: Hands, min_detection: float) -> None:
        self._palms, self._hands, self._min_detection = palms, hands, min_detection

    def places(self, rgb: Image, window: Window) -> list[Place]:
        """Boxes of whole hands from palms."""
        boxes = [(palm.score, box_from_palm(palm)) for palm in self._palms.find(window.cut(rgb), self._min_detection)]
        return [Place(window.placed(box), score, set()) for score, box in boxes]

    def observe(self, rgb: Image, box: RotatedBox) -> HandObservation:
        """The hand in a box."""
        return self._hands.observe(rgb, box)

    def box_after(self, seen: HandObservation) -> RotatedBox:
        """The box around a hand."""
        return box_around_hand(seen.keypoints)

    def score(self, rgb: Image, place: Place, first: HandObservation, second: HandObservation) -> float:
        """From its presence in both frames and in the mirror."""
        mirrored = seen_in_mirror(self._hands, rgb, box_around_hand(second.keypoints))
        return self.SCORE({"presence": logit(min(first.score, second.score)), "mirrored": logit(mirrored.score)})


class FaceFinder(Finder[FaceObservation]):
    """Faces by the full-range detector."""

    SCORE = FaceSearch.SCORE

    def __init__(self, detector: SingleShotDetector, meshes: FaceMeshes, min_detection: float) -> None:
        self._detector, self._meshes, self._min_detection = detector, meshes, min_detection

    def places(self, rgb: Image, window: Window) -> list[Place]:
        """Boxes of the mesh from faces."""
        return [
            Place(window.placed(box_around_face(f.box.tolist(), *f.keypoints[:2].tolist())), f.score, set())
            for f in self._detector.find(window.cut(rgb), self._min_detection)
        ]

    def observe(self, rgb: Image, box: RotatedBox) -> FaceObservation:
        """The mesh in a box."""
        return self._meshes.observe(rgb, box)

    def box_after(self, seen: FaceObservation) -> RotatedBox:
        """The box around a face."""
        return self._meshes.box_after(seen)

    def score(self, rgb: Image, place: Place, first: FaceObservation, second: FaceObservation) -> float:
        """From the detection, the presence in both frames, and how well their shapes agree."""
        shift = first.keypoints.mean(axis=0) - second.keypoints.mean(axis=0)
        agreement = oks(first.keypoints, second.keypoints + shift)
        presence = min(first.score, second.score)
        return self.SCORE({"detection": logit(place.score), "presence": logit(presence), "agreement": logit(agreement)})


class BodyFinder(Finder[BodyObservation]):
    """Bodies by the person detector, of which only the surest count."""

    parts = (2,)
    least_presence = 0.9
    MIN_AGREEMENT = 0.7
    TOLERANCE = 0.05

    def __init__(self, people: SingleShotDetector, bodies: Bodies, min_detection: float) -> None:
        self._people, self._bodies, self._min_detection = people, bodies, min_detection

    def places(self, rgb: Image, window: Window) -> list[Place]:
        """Boxes of whole people."""
        return [
            Place(window.placed(box_from_alignment(person.keypoints[:2])), person.score, set())
            for person in self._people.find(window.cut(rgb), self._min_detection)
        ]

    def observe(self, rgb: Image, box: RotatedBox) -> BodyObservation:
        """The body in a box."""
        return self._bodies.observe(rgb, box)

    def box_after(self, seen: BodyObservation) -> RotatedBox:
        """The box around a body."""
        return box_from_alignment(seen.alignment)

    def score(self, rgb: Image, place: Place, first: BodyObservation, second: BodyObservation) -> float:
        """Presence times agreement of both frames, where both are high."""
        shift = first.keypoints.mean(axis=0) - second.keypoints.mean(axis=0)
        agreement = oks(first.keypoints, second.keypoints + shift, self.TOLERANCE, seen_inside(second, rgb))
        return min(first.score, second.score) * agreement if agreement > self.MIN_AGREEMENT else 0.0


def hands_in_streams(options: DetectorOptions, hands: Hands) -> StreamSearch[HandObservation]:
    """Hands window by window."""
    assert hands.palms is not None
    return StreamSearch(HandFinder(hands.palms.detector, hands, PALM_SHARE * options.min_detection_score))


def faces_in_streams(options: DetectorOptions, meshes: FaceMeshes) -> StreamSearch[FaceObservation]:
    """Faces window by window."""
    detector = load_face_detector(options, "face-full")
    return StreamSearch(FaceFinder(detector, meshes, FACE_SHARE * options.min_detection_score))


def bodies_in_streams(options: DetectorOptions, bodies: Bodies) -> StreamSearch[BodyObservation]:
    """Bodies window by window."""
    assert bodies.people is not None
    return StreamSearch(BodyFinder(bodies.people.detector, bodies, options.min_detection_score))


def people_in_streams(options: DetectorOptions, people: Holistic) -> StreamSearch[BodyObservation]:
    """The bodies of whole people window by window."""
    return bodies_in_streams(options, people.bodies)
