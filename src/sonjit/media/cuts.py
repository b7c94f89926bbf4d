"""Number the scenes of a video: a cut or a dissolve begins a new one; a flash, a blank image or a pan does not.

Parts of an image that change places, as the tiles of a video call, also begin a new one.

`python research/cuts.py FOLDER` joins labelled clips by cuts, dissolves and blank images, adds flashes and pans, and
counts the errors. `research/recordings.md` has the results.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit._util import Float32Array, FloatArray, Image
from sonjit._util.lazy_names import LazyModule

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

_SIDE = 48  # longer side of the thumbnails that are compared, in pixels
_SAMPLES = 4  # number of image rows and columns that are averaged for a pixel of a thumbnail, if there are as many
_REGION, _SMALLEST = 1.5, 6.0  # size of the region of an instance, in its sizes and at least in pixels of a thumbnail
_GRIDS = 4, 3  # cells along each side, in which parts of an image that change places are found
_BINS = 6  # number of levels of red, green and blue in a histogram


@dataclass(frozen=True)
class SceneSettings:
    """Settings of `Scenes`, chosen on the tuned half of the labelled clips by `research/cuts.py`."""

    alike: float = 0.8
    """Minimum correlation of two frames of one scene, at the best shift of the central part."""
    same_colours: float = 0.62
    """Minimum share of the pixels that have the same colours in two frames of one scene, if these are not alike."""
    reach: float = 0.2
    """Maximum shift between two frames, relative to the image."""
    blank: float = 6.0
    """Standard deviation of the grey levels below which an image is blank."""
    dissolve_s: float = 1.0
    """Time between the frames that are compared to find a dissolve."""
    mixed: float = 0.15
    """Maximum share of the middle frames that is no mix of the frames before and after a dissolve."""
    flash_s: float = 0.3
    """Time after its begin in which a scene may turn out to be a flash in the one before."""
    memory_s: float = 3.0
    """Time for which a former scene is remembered, to which the video may return."""
    unchanged: float = 8.0
    """Maximum mean difference in grey levels of a region that a cut left as it was."""
    changed: float = 20.0
    """Minimum mean difference in grey levels of a part that changes its place."""
    found: float = 0.92
    """Minimum correlation of a part with the place to which it moved."""
    moved: float = 0.1
    """Minimum distance of such places, relative to the longer side of the image."""


class _View(NamedTuple):
    """A frame: time in seconds, width and height in pixels, grey thumbnail (h, w), and its colours.

    These are a histogram without black, with sum 1.
    """

    time_s: float
    size: tuple[int, int]
    grey: Float32Array
    colours: Float32Array


class Scenes:
    """Number the scenes of the frames of a video, in their order.

    Example:
        >>> scenes, rng = Scenes(), np.random.default_rng(0)
        >>> indoors, outdoors = (np.kron(rng.integers(0, 255, (9, 16, 3)), np.ones((20, 20, 1))) for _ in range(2))
        >>> frames = [image.astype(np.uint8) for image in (indoors, indoors, outdoors)]
        >>> [scenes.number(rgb, number / 30) for number, rgb in enumerate(frames)]
        [1, 1, 2]
    """

    def __init__(self, settings: SceneSettings = SceneSettings()) -> None:
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget the video before. The next frame has scene 1."""
        self._views: deque[_View] = deque()  # of the current scene, within the time of a dissolve
        self._former: dict[int, _View] = {}  # last frame of each remembered scene by its number
        self._scene = self._count = 1
        self._began_s = 0.0
        self._is_interrupted = False  # by blank images
        self._cut: tuple[Float32Array, Float32Array] | None = None  # grey thumbnails before and after the last cut
        self._is_rearranged = False  # parts of the image changed places at the last cut

    def number(self, rgb: Image, time_s: float) -> int:
        """Return the number of the scene of the next frame (H, W, 3) at a time in seconds, from 1.

        A blank image belongs to the scene before, and blank images at the start are scene 1. A video that returns to a
        scene within its memory has the number of that scene. An image of another size begins a scene.
        """
        view = _view_of(rgb, time_s)
        if view.grey.std() < self._settings.blank:
            self._is_interrupted = True
            return self._scene
        if not self._views:
            self._scene = self._count = 1 + self._is_interrupted
            self._is_interrupted = False
            self._views.append(view)
            return self._scene
        last = self._views[-1]
        if view.size != last.size or time_s < last.time_s or not self._continues(last, view):
            self._begin(view, last)
        elif self._changes_places(last, view):
            self._begin(view, last)
            self._is_rearranged = True
        else:
            self._views.append(view)
            is_flash = time_s - self._began_s < self._settings.flash_s and self._former_of(view) is not None
            if is_flash or self._is_dissolved():
                self._begin(view, self._views[0])
        while time_s - self._views[0].time_s > self._settings.dissolve_s:
            self._views.popleft()
        self._is_interrupted = False
        return self._scene

    def shift_of(self, keypoints: Float32Array, rgb: Image) -> FloatArray | None:
        """Return by how many pixels (2,) the last cut moved the region of an instance: 0 if it left it as it was.

        `keypoints` (K, 2 or more) are in pixels of the image (H, W, 3). Return None if the region is not found again.
        """
        if self._cut is None:
            return None
        before, after = self._cut
        height, width = before.shape
        scale = np.array([width / rgb.shape[1], height / rgb.shape[0]])
        low, high = keypoints[:, :2].min(axis=0) * scale, keypoints[:, :2].max(axis=0) * scale
        reach = max(_REGION * float((high - low).max()), _SMALLEST) / 2
        middle = np.clip((low + high) / 2, 0, (width, height))
        left, top = np.maximum(np.floor(middle - reach), 0).astype(int)
        right, bottom = np.minimum(np.ceil(middle + reach), (width, height)).astype(int)
        part = before[top:bottom, left:right]
        if min(part.shape) < 2 or part.std() < self._settings.blank:
            return None
        there = after[top:bottom, left:right]
        if float(np.abs(part - there).mean()) <= self._settings.unchanged:
            return np.zeros(2)
        if not self._is_rearranged:
            return None
        place = self._place_of(part, after)
        return None if place is None else (place - (left, top)) / scale

    def _place_of(self, part: Float32Array, grey: Float32Array) -> FloatArray | None:
        """Return the corner (2,) at which a grey image (h, w) shows a part of another one, or None."""
        scores = cv2.matchTemplate(grey, np.ascontiguousarray(part), cv2.TM_CCOEFF_NORMED)
        _, best, _, place = cv2.minMaxLoc(scores)
        return np.array(place, np.float64) if best >= self._settings.found else None

    def _changes_places(self, last: _View, view: _View) -> bool:
        """Check whether parts of the image moved to several places at once, which no pan explains."""
        difference = np.abs(view.grey - last.grey)
        if float(difference.mean()) < self._settings.unchanged or self._is_alike(last, view):
            return False
        return any(self._are_moved(last.grey, view.grey, difference, count) for count in _GRIDS)

    def _are_moved(self, before: Float32Array, after: Float32Array, difference: Float32Array, count: int) -> bool:
        """Check whether half of the changed cells of a grid of `count` x `count` are found in at least two places."""
        (height, width), settings = before.shape, self._settings
        shifts: list[FloatArray] = []
        changed = 0
        for row, column in np.ndindex(count, count):
            rows = slice(row * height // count, (row + 1) * height // count)
            columns = slice(column * width // count, (column + 1) * width // count)
            part = before[rows, columns]
            if difference[rows, columns].mean() < settings.changed or part.std() < settings.blank:
                continue
            changed += 1
            place = self._place_of(part, after)
            shift = None if place is None else place - (columns.start, rows.start)
            if shift is not None and np.abs(shift).max() > settings.moved * max(width, height):
                shifts.append(shift)
        if not changed or 2 * len(shifts) < changed:
            return False
        return any(np.abs(shift - shifts[0]).max() > settings.moved * max(width, height) for shift in shifts)

    def _continues(self, last: _View, view: _View) -> bool:
        """Check whether a frame continues the scene. After blank images it must look the same."""
        return self._is_same(last, view) if self._is_interrupted else self._is_near(last, view)

    def _is_near(self, a: _View, b: _View) -> bool:
        """Check whether two frames in a row show one scene, also moved or lit in another way."""
        return self._has_same_colours(a, b) or self._is_alike(a, b)

    def _is_same(self, a: _View, b: _View) -> bool:
        """Check whether two frames look the same."""
        return a.size == b.size and self._has_same_colours(a, b) and self._is_alike(a, b)

    def _has_same_colours(self, a: _View, b: _View) -> bool:
        return _shared(a.colours, b.colours) >= self._settings.same_colours

    def _is_alike(self, a: _View, b: _View) -> bool:
        return _correlation(a.grey, b.grey, self._settings.reach) >= self._settings.alike

    def _begin(self, view: _View, before: _View) -> None:
        """Start a new scene, or return to a remembered one that looks like a frame. `before` shows the current one."""
        memory_s = self._settings.memory_s
        left = self._scene
        self._cut, self._is_rearranged = (before.grey, view.grey) if before.size == view.size else None, False
        self._former = {
            number: former for number, former in self._former.items() if 0 <= view.time_s - former.time_s < memory_s
        }
        back = self._former_of(view)
        if back is None:
            self._count += 1
        self._scene, self._began_s = self._count if back is None else back, view.time_s
        self._former[left] = before
        self._views.clear()
        self._views.append(view)

    def _former_of(self, view: _View) -> int | None:
        """Return the number of the latest former scene that looks like a frame, or None."""
        same = [number for number, former in self._former.items() if self._is_same(former, view)]
        return max((number for number in same if number != self._scene), default=None)

    def _is_dissolved(self) -> bool:
        """Check whether the oldest view turned into the newest one by mixing both."""
        first, last, settings = self._views[0], self._views[-1], self._settings
        if last.time_s - first.time_s < 0.5 * settings.dissolve_s or self._is_near(first, last):
            return False
        change = last.grey - first.grey
        power = max(float((change * change).sum()), 1e-6)
        mixes = 0
        for view in list(self._views)[1:-1]:
            share = float(((view.grey - first.grey) * change).sum()) / power
            rest = view.grey - first.grey - share * change
            if 0.25 < share < 0.75:
                if float((rest * rest).sum()) > settings.mixed * power * share * (1 - share) * 4:
                    return False
                mixes += 1
        return mixes > 0


def _view_of(rgb: Image, time_s: float) -> _View:
    """Return the view of an image (H, W, 3), from sampled pixels of a large one."""
    height, width = rgb.shape[:2]
    scale = min(_SIDE / max(width, height), 1.0)
    size = max(round(width * scale), 4), max(round(height * scale), 4)
    if max(width, height) > _SAMPLES * _SIDE:
        sampled = _SAMPLES * size[0], _SAMPLES * size[1]
        rgb = np.asarray(cv2.resize(rgb, sampled, interpolation=cv2.INTER_NEAREST), np.uint8)
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    counts = cv2.calcHist([small], [0, 1, 2], None, [_BINS] * 3, [0, 256] * 3)
    counts[0, 0, 0] = 0  # black bars and darkness do not describe a scene
    colours = np.asarray(counts.ravel() / max(counts.sum(), 1.0), np.float32)
    return _View(time_s, (width, height), np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float32), colours)


def _shared(a: Float32Array, b: Float32Array) -> float:
    """Return the share of two histograms that is the same."""
    return float(np.minimum(a, b).sum())


def _correlation(before: Float32Array, after: Float32Array, reach: float) -> float:
    """Return the correlation of the central part of a grey image (h, w) with another one, at its best shift.

    `reach` is the maximum shift relative to the image. An equal change of all grey levels does not matter.
    """
    margins = [min(math.ceil(reach * length), (length - 2) // 2) for length in before.shape]
    rows, columns = (slice(margin, length - margin) for margin, length in zip(margins, before.shape, strict=True))
    scores = cv2.matchTemplate(after, np.ascontiguousarray(before[rows, columns]), cv2.TM_CCOEFF_NORMED)
    return float(scores.max())
