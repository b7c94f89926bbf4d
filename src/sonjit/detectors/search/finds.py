"""Candidates of a thorough search: windows to search in, places to crop, and what two inferences make of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from sonjit.detectors.observations import Observation, share_inside
from sonjit.detectors.smoothing import size_of
from sonjit.geometry.boxes import RotatedBox, wrap_angle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

O = TypeVar("O", bound=Observation)  # noqa: E741

PALM_SHARE, FACE_SHARE = 0.4, 0.6
"""Thresholds of palms and faces in parts of the caller's: a second inference rejects the false ones."""
PARTS = (1, 2, 3)
_MIN_WINDOW_PX = 96
"""A smaller window is half of a detector's input: enlarging it further shows nothing new."""
_TOLERANCE = 0.08
"""Distance of two keypoints, in sizes of the instance, at which they agree by exp(-1/2)."""
_SAME_DISTANCE = 0.12
_SAME_IOU = 0.3
_SAME_INSIDE = 0.6
_NEAR_BOX = 0.08
_NEAR_SCALE = 1.15
_NEAR_TURN = 0.15
_PLAIN = 0.9
_EDGE_PX = 2


class Window(NamedTuple):
    """A part of an image in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, rgb: Image) -> Image:
        """The part of an image (H, W, 3)."""
        return np.ascontiguousarray(rgb[self.top : self.bottom, self.left : self.right])

    def placed(self, box: RotatedBox) -> RotatedBox:
        """A box of this window's image, in pixels of the whole image."""
        return box._replace(cx=box.cx + self.left, cy=box.cy + self.top)

    def cuts(self, box: NDArray[np.floating], rgb: Image) -> bool:
        """Whether a box of this window's image reaches to where the window ends and the whole image does not."""
        (height, width), (x_min, y_min, x_max, y_max) = rgb.shape[:2], box.ravel().tolist()
        at_left, at_top = x_min < _EDGE_PX and self.left > 0, y_min < _EDGE_PX and self.top > 0
        at_right = x_max > self.right - self.left - _EDGE_PX and self.right < width
        return at_left or at_top or at_right or (y_max > self.bottom - self.top - _EDGE_PX and self.bottom < height)


def tiles(width: int, height: int, parts: Sequence[int] = PARTS) -> list[Window]:
    """The whole image, its quarters, its ninths: the tiles of each kind touch, and the kinds' seams lie apart."""
    found: list[Window] = []
    for n in parts:
        if n > 1 and (max(width, height) < n * _MIN_WINDOW_PX or min(width, height) < n):
            continue
        xs = [round(width * i / n) for i in range(n + 1)]
        ys = [round(height * i / n) for i in range(n + 1)]
        found += [Window(xs[i], ys[j], xs[i + 1], ys[j + 1]) for j in range(n) for i in range(n)]
    return found


def window_around(cx: float, cy: float, side: float, rgb: Image) -> Window | None:
    """The square window that the image shows, or None where that is next to nothing."""
    height, width = rgb.shape[:2]
    window = Window(
        max(int(cx - side / 2), 0),
        max(int(cy - side / 2), 0),
        min(int(cx + side / 2), width),
        min(int(cy + side / 2), height),
    )
    return window if min(window.right - window.left, window.bottom - window.top) >= 24 else None


class LogisticRegression(NamedTuple):
    """A calibrated score: the probability that a logistic regression gives from named features.

    Attributes:
        bias: constant.
        weights: one per feature.
    """

    bias: float
    weights: dict[str, float]

    def __call__(self, features: dict[str, float]) -> float:
        """Probability that the features are those of a true find."""
        return 1 / (1 + math.exp(-self.bias - sum(w * features[name] for name, w in self.weights.items())))


@dataclass(eq=False)
class Find(Generic[O]):
    """One candidate, seen twice.

    Attributes:
        observations: what the landmark network saw in the suggested box, and in the box that follows from it.
        detection: score of the detector or place that suggested it.
        votes: windows and places that led here.
        agreement: of both inferences' keypoints (OKS), 0..1.
        score: calibrated, 0..1.
        features: that the score was made of.
    """

    observations: list[O]
    detection: float
    votes: set[object]
    agreement: float
    score: float = 0.0
    features: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def last(self) -> O:
        """The newest observation."""
        return self.observations[-1]

    @property
    def result(self) -> O:
        """The newest observation with the search's score in place of its own."""
        return replace(self.last, score=self.score)  # pyright: ignore[reportArgumentType, reportReturnType, reportUnknownVariableType]  # every observation is a dataclass

    @property
    def plain(self) -> bool:
        """Whether it is seen so plainly that nothing else need be tried there."""
        return min(self.presence, self.agreement) > _PLAIN

    @property
    def presence(self) -> float:
        """Of the less sure inference."""
        return min(one.score for one in self.observations)


def logit(probability: float) -> float:
    """Log odds, kept within those of one in a thousand."""
    p = min(max(probability, 1e-3), 1 - 1e-3)
    return math.log(p / (1 - p))


def oks(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    tolerance: float = _TOLERANCE,
    weights: NDArray[np.floating] | None = None,
) -> float:
    """Object keypoint similarity (Ronchi and Perona 2017) of keypoints (K, 2 or more), 0..1.

    Args:
        a: keypoints of an instance.
        b: of the same, seen another time.
        tolerance: of every keypoint, in sizes of the instance.
        weights: (K,) what each keypoint counts; by default all the same.
    """
    size = max(size_of(a[:, :2]), size_of(b[:, :2]))
    near = np.exp(-((a[:, :2] - b[:, :2]) ** 2).sum(axis=1) / (2 * (tolerance * size) ** 2))
    return float(near.mean()) if weights is None else float((near * weights).sum() / max(weights.sum(), 1e-6))


def corners(points: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """x_min, y_min, x_max, y_max of points (K, 2 or more)."""
    x, y = points[:, 0], points[:, 1]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def shared_area(a: Sequence[float], b: Sequence[float]) -> float:
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)


def area(a: Sequence[float]) -> float:
    return max((a[2] - a[0]) * (a[3] - a[1]), 1e-6)


def is_same_find(a: NDArray[np.floating], b: NDArray[np.floating]) -> bool:
    """Whether keypoints (K, 2 or more) are of one thing: they coincide, overlap, or one lies in the other."""
    distance = np.linalg.norm(a[:, :2] - b[:, :2], axis=1).mean()
    if distance < _SAME_DISTANCE * max(size_of(a[:, :2]), size_of(b[:, :2])):  # pyright: ignore
        return True
    first, second = corners(a), corners(b)
    shared = shared_area(first, second)
    if shared > _SAME_IOU * (area(first) + area(second) - shared):
        return True
    return share_inside(a, b) > _SAME_INSIDE


def is_near(a: RotatedBox, b: RotatedBox) -> bool:
    """Whether two boxes would show a landmark network the same."""
    return (
        math.dist(a[:2], b[:2]) < _NEAR_BOX * max(a.width, b.width)
        and 1 / _NEAR_SCALE < a.width / b.width < _NEAR_SCALE
        and abs(wrap_angle(a.rotation - b.rotation)) < _NEAR_TURN
    )


@dataclass(eq=False)
class Place:
    """Where to search, what suggests it, and how sure."""

    box: RotatedBox
    score: float
    votes: set[object]


def merged(places: Iterable[Place], limit_px: float) -> list[Place]:
    """Places without those that show the same as a surer one; boxes over `limit_px` wide are left out."""
    kept: list[Place] = []
    for place in sorted(places, key=lambda p: -p.score):
        if not 4 < place.box.width < limit_px:
            continue
        for other in kept:
            if is_near(place.box, other.box):
                other.votes |= place.votes
                break
        else:
            kept.append(place)
    return kept


def without_same(finds: Iterable[Find[O]], rank: Callable[[Find[O]], float]) -> list[Find[O]]:
    """The best of each thing, with the votes of all that found it."""
    kept: list[Find[O]] = []
    for find in sorted(finds, key=rank, reverse=True):
        for other in kept:
            if is_same_find(find.last.keypoints, other.last.keypoints):
                other.votes |= find.votes
                other.detection = max(other.detection, find.detection)
                break
        else:
            kept.append(find)
    return kept


def rank(find: Find[O]) -> float:
    return find.observations[-1].score * math.sqrt(find.agreement)
