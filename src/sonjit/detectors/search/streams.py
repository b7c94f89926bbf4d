"""Spread a thorough search over the frames of a stream.

Each frame gets one window and one inference, or two inferences. A proposal in a window is observed in that frame. If an
instance is present, it is verified in the next frame. Only observations that agree become detections.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util import Image
from sonjit.detectors.interfaces import Kind, Verifier
from sonjit.detectors.search.geometry import Proposal, is_same_instance, merge_proposals
from sonjit.detectors.search.stills import O
from sonjit.geometry.boxes import RotatedBox, iou
from sonjit.geometry.windows import Window, window_around, windows

_TRACKED_IOU = 0.3  # minimum overlap of a proposal and the box of a tracked instance that it shows
_PARTS = (2, 3)  # numbers of windows along the longer side of an image
_MIN_SCORE = 0.5
_MIN_INFERENCES = 2
_MIN_PROPOSALS = 3  # minimum number of proposals that are kept; otherwise two for each instance that may be added
_MAX_REPEATS = 3  # maximum number of frames in which a detection that is not tracked is returned again
_LOST_WINDOW = 2.0  # side of the window around a lost instance, in box sides
_THUMBNAIL = 48  # longer side of the thumbnail in which changes are detected, in pixels
_ROWS_PER_PIXEL = 8  # number of image rows, and columns, whose mean is a thumbnail's pixel, if the image has as many
_CHANGE = 6  # difference of a thumbnail's pixel, in grey levels, above which a window has changed
_MAX_PAUSE = 3  # maximum number of passes that a window is skipped; it grows with each search without proposals


class Source(NamedTuple):
    """A detector that proposes instances in the windows of an image."""

    find: Callable[[Image, Window], Sequence[Proposal]]  # proposals in a window of an image, in pixels of the image
    parts: Sequence[int] = _PARTS  # numbers of windows along the longer side of the image
    cost: float = 1.0  # time of a window, in inferences of the landmark network
    fewer: bool = False  # see `windows`


@dataclass
class _SearchedWindow:
    """Content of a window when it was searched."""

    frame: int
    thumbnail: NDArray[np.int16]  # (h, w, 3)
    free: NDArray[np.int16]  # (h, w, 1), 0 where an instance was tracked and 1 elsewhere
    pause: int = 1  # number of passes over all windows during which the window is skipped


class _Candidate(NamedTuple, Generic[O]):
    """Observation of a proposal in the previous frame."""

    proposal: Proposal
    observation: O
    repeats: int = 0


class Finder(Verifier[O], ABC):
    """Base of the finders, one for each kind."""

    refresh_frames: ClassVar[float] = math.inf  # number of frames after which an unchanged window is searched again
    min_presence: ClassVar[float] = 0.2  # minimum score of an observation that is verified in the next frame
    inferences: ClassVar[int] = 1  # number of inferences of this verification

    def __init__(self, kind: Kind[O, Any]) -> None:
        self._kind, self.box_after = kind, kind.box_after

    @property
    @abstractmethod
    def sources(self) -> tuple[Source, ...]:
        """Detectors that propose instances. They refer to this finder, so it does not keep them."""

    def reset(self) -> None:
        """Forget the previous stream."""

    def begin_frame(self, tracked: Sequence[O]) -> None:
        """Start a frame with these tracked instances."""

    def observe(self, rgb: Image, box: RotatedBox, proposal: Proposal, tracked: Sequence[O]) -> O:
        """Run the landmark network on a box of an image (H, W, 3), with similar tracked instances covered."""
        return self._kind.observe(rgb, box)

    @abstractmethod
    def score(self, rgb: Image, proposal: Proposal, first: O, second: O) -> float:
        """Return the probability that two observations show an instance; the image (H, W, 3) is that of the second."""

    def is_tracked(self, proposal: Proposal, tracked: O) -> bool:
        """Check whether a proposal shows a tracked instance."""
        return iou(proposal.box, self.box_after(tracked)) > _TRACKED_IOU

    def is_same(self, observation: O, tracked: O) -> bool:
        """Check whether an observation shows a tracked instance."""
        return is_same_instance(observation.keypoints, tracked.keypoints)

    def accepts_new(self, rgb: Image, observation: O, detections: int = 1, proposal: Proposal | None = None) -> bool:
        """Check whether a new detection in an image (H, W, 3) may start a track.

        `detections` is the number of frames in a row with it. `proposal` is None for the search of the complete image.
        """
        return True


class StreamSearch(Generic[O]):
    """Search a stream window by window, a few windows in each frame; see `sonjit.detectors.interfaces.StreamSearch`."""

    def __init__(self, finder: Finder[O]) -> None:
        self._finder = self.check = finder
        self.reset()

    def reset(self) -> None:
        """Forget the previous stream."""
        self._frame = self._number = self._inferences_left = 0
        self._debt = 0.0  # time of the last windows that is not balanced yet, in inferences
        self._proposals: list[Proposal] = []
        self._candidates: list[_Candidate[O]] = []
        self._detected: list[_Candidate[O]] = []
        self._searched_windows: dict[tuple[Source, Window], _SearchedWindow] = {}
        self.is_first_pass = True
        self._last_thumbnail: NDArray[np.int16] | None = None
        self._finder.reset()

    @property
    def is_verifying(self) -> bool:
        """Check whether an instance was detected that must be detected again."""
        return bool(self._detected)

    def is_changed(self, rgb: Image) -> bool:
        """Check whether an image (H, W, 3) changed since the last image that did."""
        thumbnail = thumbnail_of(rgb)
        before = self._last_thumbnail
        if before is not None and before.shape == thumbnail.shape and np.abs(thumbnail - before).max() <= _CHANGE:
            return False
        self._last_thumbnail = thumbnail
        return True

    def step(
        self, rgb: Image, tracked: Sequence[O], new: Sequence[O], lost: Sequence[RotatedBox], *, spent: int, room: int
    ) -> list[O]:
        """Verify new detections in an image (H, W, 3), run this frame's share of the search, and return new instances.

        The share grows with the number of tracked instances, so that the search stays a part of the frame's time.
        """
        self._frame += 1
        self._finder.begin_frame([*tracked, *new])
        candidates = [*self._candidates, *self._detected]
        self._candidates, self._detected = [], []
        self._inferences_left = max(len(tracked) + len(new) + 1, _MIN_INFERENCES) - spent
        if room > 0 and not candidates:  # what the windows show may verify the new detections
            self._search_windows(rgb, lost, [*tracked, *new])
        found = [item for item in new if self._finder.accepts_new(rgb, item)]
        tracked, room = [*tracked, *found], room - len(found)
        if room <= 0:  # proposals would be outdated later
            self._proposals = []
            return found
        for candidate in candidates:
            second = self._verified(rgb, candidate, tracked, found)
            found += [] if second is None else [second]
        if candidates:
            self._search_windows(rgb, lost, tracked)
        proposals = merge_proposals(self._proposals, 4 * max(rgb.shape))
        self._proposals = self._untracked(proposals, tracked)[: max(_MIN_PROPOSALS, 2 * room)]
        while self._proposals and self._inferences_left > 0:
            self._inferences_left -= 1
            proposal = self._proposals.pop(0)
            observation = self._finder.observe(rgb, proposal.box, proposal, tracked)
            if observation.score > self._finder.min_presence:
                self._candidates.append(_Candidate(proposal, observation))
            elif proposal.otherwise is not None:
                self._proposals.append(proposal.otherwise)
        return found

    def _search_windows(self, rgb: Image, lost: Sequence[RotatedBox], tracked: Sequence[O]) -> None:
        """Add the proposals of the next windows, or of a window around a lost instance, if inferences are left."""
        self._debt = max(self._debt - 1, 0.0)
        if self._debt > 0 or self._inferences_left <= min(_MIN_INFERENCES, len(self._proposals)):
            return
        self._inferences_left -= 1
        self._number += 1
        if lost and self._number % 2:
            box = lost[self._number // 2 % len(lost)]
            around = window_around(box.cx, box.cy, _LOST_WINDOW * box.width, rgb)
            if around is not None:
                self._proposals += (found for source in self._finder.sources for found in source.find(rgb, around))
                return
        chosen = self._next_windows(rgb, tracked)
        self._debt = sum(source.cost for source, _ in chosen)
        for source, window in chosen:
            new = self._untracked(source.find(rgb, window), tracked)
            if new:
                self._searched_windows[source, window].pause = 1
            self._proposals += new

    def _verified(self, rgb: Image, candidate: _Candidate[O], tracked: Sequence[O], found: Sequence[O]) -> O | None:
        """Verify a candidate in the next frame. Return its second observation if it is a new instance.

        Without enough inferences, the candidate is kept for the next frame.
        """
        finder, (proposal, first, repeats) = self._finder, candidate
        if any(finder.is_same(first, other) for other in tracked):
            return None
        if self._inferences_left < finder.inferences:
            self._candidates.append(candidate)
            return None
        self._inferences_left -= finder.inferences
        second = finder.observe(rgb, finder.box_after(first), proposal, tracked)
        score = finder.score(rgb, proposal, first, second) if second.score > finder.min_presence else 0.0
        second = replace(second, score=score)  # pyright: ignore
        if score <= _MIN_SCORE or any(finder.is_same(second, other) for other in (*tracked, *found)):
            self._proposals += [proposal.otherwise] if proposal.otherwise is not None else []
            return None
        if repeats + 1 < _MAX_REPEATS:
            self._detected.append(_Candidate(proposal, second, repeats + 1))
        return second if finder.accepts_new(rgb, second, repeats + 1, proposal) else None

    def _untracked(self, proposals: Sequence[Proposal], tracked: Sequence[O]) -> list[Proposal]:
        return [item for item in proposals if not any(self._finder.is_tracked(item, other) for other in tracked)]

    def _next_windows(self, rgb: Image, tracked: Sequence[O]) -> list[tuple[Source, Window]]:
        """Return the windows without tracked instances that were searched longest ago.

        A window is due if it changed after its pause, or was not searched for long.
        """
        height, width = rgb.shape[:2]
        thumbnail, scale = thumbnail_of(rgb), _THUMBNAIL / max(width, height)
        free = np.ones((*thumbnail.shape[:2], 1), np.int16)
        for box in map(self._finder.box_after, tracked):
            x, y, reach = box.cx * scale, box.cy * scale, box.width * scale / 2
            top, left = max(int(y - reach), 0), max(int(x - reach), 0)
            free[top : max(int(y + reach) + 1, 0), left : max(int(x + reach) + 1, 0)] = 0
        every = dict.fromkeys(
            (source, window)
            for source in self._finder.sources
            for parts in source.parts
            for window in windows(width, height, parts, fewer=source.fewer)
        )
        frames = sum(source.cost for source, _ in every)  # in which all windows can be searched
        before = {key: self._searched_windows[key] for key in self._searched_windows if key in every}
        self._searched_windows = before.copy()
        chosen: list[tuple[Source, Window]] = []
        self.is_first_pass = len(before) < len(every)
        cost = 0.0
        for source, window in (*(key for key in every if key not in before), *before):
            if chosen and cost + source.cost > 1:
                break
            part = (
                slice(math.floor(window.top * scale), math.ceil(window.bottom * scale)),
                slice(math.floor(window.left * scale), math.ceil(window.right * scale)),
            )
            current, last = _SearchedWindow(self._frame, thumbnail[part], free[part]), before.get((source, window))
            if last is not None:
                rested = current.frame - last.frame
                if rested <= last.pause * frames:
                    continue
                changes = np.abs(current.thumbnail - last.thumbnail) * current.free * last.free
                if changes.max() <= _CHANGE and rested <= self._finder.refresh_frames:
                    continue
                current.pause = min(last.pause + 1, _MAX_PAUSE)
                del self._searched_windows[source, window]
            self._searched_windows[source, window] = current
            chosen.append((source, window))
            cost += source.cost
        return chosen


def thumbnail_of(rgb: Image) -> NDArray[np.int16]:
    """Return the means of sampled pixels of an image (H, W, 3); all pixels would take longer than an inference."""
    height, width = rgb.shape[:2]
    scale = _THUMBNAIL / max(width, height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if max(width, height) > _ROWS_PER_PIXEL * _THUMBNAIL:
        rgb = cv2.resize(rgb, (_ROWS_PER_PIXEL * size[0], _ROWS_PER_PIXEL * size[1]), interpolation=cv2.INTER_NEAREST)  # pyright: ignore
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.int16)
