"""Faces by a thorough search: the full-range detector in windows, scored by two inferences of the mesh."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit.detectors.kinds.face import FaceObservation, box_around_face, box_observation
from sonjit.detectors.search.finds import (
    PARTS,
    Find,
    LogisticRegression,
    Place,
    is_same_find,
    logit,
    merged,
    oks,
    rank,
    tiles,
    without_same,
)
from sonjit.detectors.smoothing import size_of
from sonjit.geometry.boxes import iou

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.kinds.face import FaceBoxes, FaceMeshes
    from sonjit.detectors.search.finds import Image, Window
    from sonjit.detectors.ssd import Detection, SingleShotDetector

_SAME_FACE = 0.4
_LEAST_SEEN = 0.1
"""Presence below which a place shows nothing."""
_SAME_HEAD = 0.5
"""Distance of two heads, in heights of the larger, below which they are one."""
_PUBLISHED = "published"
_FOREHEAD, _CHIN = 10, 152  # of the face mesh
_SMALL = 0.15
"""Height of a face, in sides of the windows searched last, under which finer windows may show more."""
_MIDDLE, _HEIGHT = 0.39, 2.41
"""Of a face's mesh: its middle below the eyes, and its height, in distances of the eyes from the mouth."""


class Head(NamedTuple):
    """Where a face is, from the face detector alone.

    Attributes:
        score: of the detector.
        middle: (2,) pixels, half-way between forehead and chin.
        down: (2,) pixels, from forehead to chin.
    """

    score: float
    middle: NDArray[np.float64]
    down: NDArray[np.float64]

    @property
    def height(self) -> float:
        """From forehead to chin in pixels."""
        return max(float(np.linalg.norm(self.down)), 1.0)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Upright square around the face: x_min, y_min, x_max, y_max."""
        (x, y), half = self.middle.tolist(), self.height / 2
        return x - half, y - half, x + half, y + half


def head_from_detection(face: Detection, window: Window) -> Head:
    """The head of a face that was found in a window of an image."""
    corner = np.array([window.left, window.top])
    return head_from_points(face.score, face.keypoints[:2].mean(axis=0) + corner, face.keypoints[3] + corner)


def head_from_points(score: float, eyes: NDArray[np.float64], mouth: NDArray[np.float64]) -> Head:
    """The head that has the middle of its eyes and that of its mouth (2,) there, in pixels."""
    down = mouth - eyes
    return Head(score, eyes + _MIDDLE * down, _HEIGHT * down)


def head_from_mesh(face: Find[FaceObservation]) -> Head:
    """The head of a face whose mesh was seen."""
    points = face.last.keypoints[:, :2].astype(np.float64)
    return Head(face.score, (points[_FOREHEAD] + points[_CHIN]) / 2, points[_CHIN] - points[_FOREHEAD])


class HeadSearch:
    """Where faces are, by the face detector alone: enough to say where bodies may be.

    Args:
        detector: full range.
        min_detection: least score.
    """

    LEAST_SCORE = 0.5

    def __init__(self, detector: SingleShotDetector, min_detection: float = LEAST_SCORE) -> None:
        self._detector, self._min_detection = detector, min_detection

    def search(self, rgb: Image, parts: Sequence[int]) -> list[Head]:
        """Heads in windows of an image, the surest first; see `tiles`."""
        height, width = rgb.shape[:2]
        heads = [
            head_from_detection(face, window)
            for window in tiles(width, height, parts)
            for face in self._detector.find(window.cut(rgb), self._min_detection)
        ]
        return without_same_heads(heads)


class HeadMap:
    """The heads that were last seen in each window of a stream, in some frames ago at most.

    Args:
        frames: for how long a head counts.
    """

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self.reset()

    def __iter__(self) -> Iterator[Head]:
        """All of them; one may have been seen in several windows."""
        return chain.from_iterable(heads for heads, _ in self._seen.values())

    def reset(self) -> None:
        """Forget them."""
        self._number = 0
        self._seen: dict[Window, tuple[list[Head], int]] = {}

    def see(self, window: Window, heads: list[Head]) -> None:
        """Take over what a window shows."""
        self._seen[window] = heads, self._number

    def begin_frame(self, is_known: Callable[[Head], bool]) -> None:
        """A frame later: forget what was seen too long ago, and those whose place is known better."""
        self._number += 1
        self._seen = {
            window: ([head for head in heads if not is_known(head)], number)
            for window, (heads, number) in self._seen.items()
            if self._number - number < self._frames
        }


def without_same_heads(heads: Iterable[Head]) -> list[Head]:
    """Of heads in one place the surest, the surest first."""
    kept: list[Head] = []
    for head in sorted(heads, key=lambda h: -h.score):
        if not any(
            math.dist(head.middle, other.middle) < _SAME_HEAD * max(head.height, other.height) for other in kept
        ):
            kept.append(head)
    return kept


def _is_over(sizes: Sequence[float], enough: int | None, window: float) -> bool:
    """Whether finer windows than those of this side, in pixels, would hardly show more faces than these sizes'."""
    return len(sizes) >= (enough or math.inf) or (bool(sizes) and min(sizes) > _SMALL * window)


class FaceSearch:
    """Faces of an image.

    Args:
        detector: full range: it sees smaller faces than the short one.
        meshes: run twice. What its own detector finds keeps the keypoints of the first run, as published.
        published: least score of that detector.
        min_detection: least score in a window that is worth the mesh.
        enough: so many sure faces end the search.
    """

    SCORE = LogisticRegression(-5.79, {"detection": 1.017, "presence": 0.534, "agreement": 0.782})
    """Fitted, then set stricter by 2.2: of those fitted on, 0.5 loses the smallest faces of a crowd."""

    SURE = 0.5
    """Score from which a face speaks for a body."""
    LEAST_PUBLISHED, LEAST_DETECTION = 0.5, 0.3
    """Least scores of both detectors, where others than the caller's options ask."""

    def __init__(
        self,
        detector: SingleShotDetector,
        meshes: FaceMeshes,
        *,
        published: float = LEAST_PUBLISHED,
        min_detection: float = LEAST_DETECTION,
        enough: int | None = None,
    ) -> None:
        self._detector, self._meshes = detector, meshes
        self._published, self._min_detection, self._enough = published, min_detection, enough

    def search(self, rgb: Image) -> list[Find[FaceObservation]]:
        """Every candidate with its score, best first."""
        height, width = rgb.shape[:2]
        boxes = self._meshes.find(rgb, self._published)
        finds = self._with_places(rgb, [Place(box, self._min_detection, {_PUBLISHED}) for box in boxes], [])
        for n in PARTS:
            finds = self._with_windows(rgb, tiles(width, height, (n,)), finds)
            sizes = [size_of(find.last.keypoints[:, :2]) for find in finds if find.score > self.SURE]
            if _is_over(sizes, self._enough, max(width, height) / n):
                break
        return finds

    def _with_windows(
        self, rgb: Image, windows: Sequence[Window], finds: list[Find[FaceObservation]]
    ) -> list[Find[FaceObservation]]:
        """These finds and those of further windows, best first."""
        places: list[Place] = []
        for window in windows:
            for face in self._detector.find(window.cut(rgb), self._min_detection):
                box = box_around_face(face.box.tolist(), *face.keypoints[:2].tolist())
                places.append(Place(window.placed(box), face.score, {window}))
        return self._with_places(rgb, places, finds)

    def _with_places(
        self, rgb: Image, places: Sequence[Place], finds: list[Find[FaceObservation]]
    ) -> list[Find[FaceObservation]]:
        """These finds and those of further places, best first."""
        height, width = rgb.shape[:2]
        new: list[Find[FaceObservation]] = []
        for place in merged(places, 4 * max(width, height)):
            known = next((f for f in finds if iou(place.box, self._meshes.box_after(f.last)) > _SAME_FACE), None)
            if known is not None and known.plain:
                known.detection = max(known.detection, place.score)
            elif (find := self._infer(rgb, place)) is not None:
                new.append(find)
        finds = without_same([*finds, *new], rank)
        for find in finds:
            find.features = {
                "detection": logit(find.detection),
                "presence": logit(find.presence),
                "agreement": logit(find.agreement),
            }
            find.score = self.SCORE(find.features)
        return sorted(finds, key=lambda f: -f.score)

    def _infer(self, rgb: Image, place: Place) -> Find[FaceObservation] | None:
        first = self._meshes.observe(rgb, place.box)
        if first.score < _LEAST_SEEN:
            return None
        second = self._meshes.observe(rgb, self._meshes.box_after(first))
        observations = [second, first] if _PUBLISHED in place.votes else [first, second]
        return Find(observations, place.score, set(place.votes), oks(first.keypoints, second.keypoints))


class BoxSearch:
    """Boxes of faces: the model's own of the whole image, as published, and the full-range detector's in windows.

    Args:
        boxes: the model.
        detector: full range.
        published: least score of the model's own.
        enough: so many faces end the search.
    """

    WINDOW_SCORE = 0.6
    """The full-range detector's published threshold."""

    def __init__(
        self, boxes: FaceBoxes, detector: SingleShotDetector, *, published: float, enough: int | None = None
    ) -> None:
        self._boxes, self._detector = boxes, detector
        self._published, self._enough = published, enough

    def search(self, rgb: Image) -> list[Find[FaceObservation]]:
        """Every face with its detector's score, best first."""
        height, width = rgb.shape[:2]
        found = [self._boxes.observe(rgb, box) for box in self._boxes.find(rgb, self._published)]
        for n in PARTS:
            seen = [
                box_observation(face, (window.left, window.top))
                for window in tiles(width, height, (n,))
                for face in self._detector.find(window.cut(rgb), max(self._published, self.WINDOW_SCORE))
                if not window.cuts(face.box, rgb)
            ]
            for one in sorted(seen, key=lambda o: -o.score):
                if not any(is_same_find(one.keypoints, other.keypoints) for other in found):
                    found.append(one)
            sizes = [float(np.ptp(one.keypoints[:2, 1])) for one in found]
            if _is_over(sizes, self._enough, max(width, height) / n):
                break
        finds = [Find([one], one.score, {"detector"}, 1.0, one.score) for one in found]
        return sorted(finds, key=lambda find: -find.score)
