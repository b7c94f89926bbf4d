"""Hide people in the images below drawings.

Stills are searched thoroughly, and searched again after hiding until no face is found. A video that can be read twice
is searched before it is drawn: by the face detector in every frame, and by the search of stills periodically and after
cuts. What is found is followed to the frames before and after. Frames of a live stream are drawn at once, so that
somebody is visible until the first detection.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image, pluralize
from sonjit._util.lazy_names import LazyModule
from sonjit._util.pools import Progress
from sonjit.geometry.boxes import Box, box_iou
from sonjit.media import Anonymise, Source, SourceFrame
from sonjit.media.drawing.instances import cover, heads_and_bodies
from sonjit.results import Frame

if TYPE_CHECKING:
    import cv2

    from sonjit.detectors.bystanders import BystanderSearch
else:
    cv2 = LazyModule("cv2")

_ROUNDS: Final = 6  # maximum number of further searches of a still, in which the faces of those before are hidden
_PERIOD_S: Final = 0.5  # time between searches of a video as a still
_WINDOWS: Final = (2, 3)  # numbers of windows along the longer side of a frame, of which one each is searched
_FORWARD_S, _BACK_S = 1.0, 3.0  # time for which a face is followed after its last and before its first detection
_SMALL_PX: Final = 320  # longer side of the grey images in which faces are followed
_GRID: Final = 5  # points along a followed box
_MIN_POINTS, _MAX_ERROR_PX = 6, 1.0  # minimum number of followed points, and their error after going back
_CELLS: Final = 16  # cells along an image, whose changes show a cut
_CUT_LEVELS, _CUT_SHARE = 24, 0.12  # minimum change of a cell, and share of the cells that change in a cut
_MAX_SCALE: Final = 1.1  # maximum change of the size between two frames
_SAME, _INSIDE = 0.25, 0.6  # IoU, or share of the smaller box, from which two boxes show the same face
_LEAST_PX: Final = 16  # width of the faces of crowds from which the searches find nearly all
_LIMITS_TEXT: Final = (
    f"Faces under {_LEAST_PX} px, and others that no search finds, may stay visible: "
    "check the result before you publish it"
)
_LIVE_TEXT: Final = "In a live stream a face is also visible until it is first found"


@dataclass
class Hidden:
    """Number of faces that were hidden in the drawings of a run."""

    faces: int = 0  # faces, heads and people in all images
    frames: int = 0  # images in which something was hidden
    of: int = 0  # images in which people were to be hidden
    is_live: bool = False  # True if they were those of a live stream

    def add(self, other: "Hidden") -> None:
        """Add those of another input."""
        self.faces = self.faces + other.faces
        self.frames = self.frames + other.frames
        self.of = self.of + other.of
        self.is_live = self.is_live or other.is_live

    @classmethod
    def of_image(cls, faces: int) -> "Hidden":
        """Return the count of one image."""
        return cls(faces, int(faces > 0), 1)

    def __str__(self) -> str:
        """Return how much was hidden and what cannot be promised, in one line.

        >>> str(Hidden(5, 2, 3))[:45]
        'hid 5 faces in 2 of 3 frames. Faces under 16 '
        """
        limits = f"{_LIMITS_TEXT}. {_LIVE_TEXT}" if self.is_live else _LIMITS_TEXT
        return f"hid {pluralize(self.faces, 'face')} in {self.frames} of {pluralize(self.of, 'frame')}. {limits}"


class _Frame(NamedTuple):
    """What is kept of a frame to follow faces: its number, its time and a small grey image (h, w)."""

    number: int
    time: float
    grey: Image


@dataclass(eq=False)
class _Region:
    """A face or a person that is followed."""

    box: FloatArray  # (4,) in pixels of the frame
    seen_s: float  # time of the last detection
    is_person: bool


@dataclass
class Covered:
    """Boxes x_min, y_min, x_max, y_max to cover in a frame, in pixels: faces or heads, and people."""

    faces: list[Box] = field(default_factory=list[Box])
    people: list[Box] = field(default_factory=list[Box])
    again: list[Box] = field(default_factory=list[Box])  # faces that are also found after covering

    def add(self, box: FloatArray, *, is_person: bool) -> None:
        """Add a box (4,) in pixels."""
        x_min, y_min, x_max, y_max = box.tolist()
        (self.people if is_person else self.faces).append((x_min, y_min, x_max, y_max))

    def __add__(self, other: "Covered") -> "Covered":
        pairs = ((self.faces, other.faces), (self.people, other.people), (self.again, other.again))
        return Covered(*([*own, *more] for own, more in pairs))


_NOBODY: Final = Covered()


def covered(frame: Frame) -> Covered:
    """Return the boxes of the faces, heads and bodies that a detector found in a frame."""
    faces, bodies = heads_and_bodies(frame)
    return Covered(faces, bodies)


class Anonymiser:
    """Hide people in the images of one input after the other. `models_dir` has the weight files of the searches.

    Attributes:
        keeps_people: Whether nothing is hidden.
    """

    def __init__(self, how: Anonymise, models_dir: "str | Path | None" = None) -> None:
        self.keeps_people, self._is_black = how == "none", how == "black"
        self._hider: _Hider | None = None
        if how in ("blur", "persons"):
            from sonjit.detectors.bystanders import BystanderSearch  # networks, which runs without hiding do not load

            self._hider = _Hider(BystanderSearch(models_dir), with_people=how == "persons")

    @property
    def hidden(self) -> Hidden | None:
        """What was hidden in the images of the input so far; None if people are shown, or all is black."""
        return None if self._hider is None else self._hider.hidden

    def reset(self) -> None:
        """Forget the input before."""
        if self._hider is not None:
            self._hider.reset()

    def scan(self, source: Source, limit: int | None, progress: Progress) -> None:
        """Search a video that can be read twice, up to `limit` frames, before it is drawn."""
        is_file = bool(source.files) and not source.live and all(file.is_file() for file in source.files)
        if self._hider is not None and source.kind == "video" and is_file:
            progress.start(source.count if limit is None else min(source.count or limit, limit))
            self._hider.scan(source, limit, progress)

    def below(self, frame: SourceFrame, known: Covered = _NOBODY) -> Image:
        """Return the image (H, W, 3) of a frame without its people, also without those that the run found itself."""
        if self._hider is not None:
            return self._hider.below(frame, known)
        return frame.rgb * 0 if self._is_black else frame.rgb

    def boxes(self, frame: SourceFrame) -> Covered:
        """Return the boxes to cover in a frame, for another program that draws it; none if people are shown."""
        return _NOBODY if self._hider is None else self._hider.boxes(frame)


class _Hider:
    """Cover faces in images, and with `with_people` also bodies."""

    def __init__(self, search: "BystanderSearch", *, with_people: bool) -> None:
        self._search, self._with_people = search, with_people
        self.reset()

    def reset(self) -> None:
        """Forget the input before."""
        self.hidden = Hidden()
        self._plan: dict[int, Covered] = {}
        self._followed = _Follower(self._find, self._search)

    def scan(self, source: Source, limit: int | None, progress: Progress) -> None:
        """Search a video, up to `limit` frames."""
        follower = _Follower(self._find, self._search, self._plan)
        for number, frame in enumerate(source, 1):
            follower.add(frame)
            progress.advance()
            if number == limit:
                break

    def below(self, frame: SourceFrame, known: Covered) -> Image:
        """Return the image (H, W, 3) of a frame without its people."""
        boxes = self.boxes(frame, known)
        people = boxes.people if self._with_people else []
        self.hidden.add(Hidden.of_image(_count_distinct([*people, *boxes.faces, *boxes.again])))
        return self._cover(frame.rgb, boxes)

    def boxes(self, frame: SourceFrame, known: Covered = _NOBODY) -> Covered:
        """Return the boxes to cover in a frame."""
        if frame.index in self._plan:
            return known + self._plan[frame.index]
        if frame.time is None:
            return self._everybody(frame.rgb, known)
        self.hidden.is_live = True
        return known + self._followed.add(frame)

    def _everybody(self, rgb: Image, known: Covered) -> Covered:
        """Return the boxes to cover in a still, which is searched again after covering."""
        boxes = known + self._find(rgb, thorough=True)
        for _ in range(_ROUNDS):
            more = self._search.find_again(self._cover(rgb, boxes))
            if not more:
                break
            boxes += Covered(again=more)
        return boxes

    def _find(self, rgb: Image, *, thorough: bool = False) -> Covered:
        found = self._search.find(rgb, thorough=thorough)
        return Covered(found.faces, found.people if self._with_people else [])

    def _cover(self, rgb: Image, boxes: Covered) -> Image:
        return cover(rgb, boxes.faces, boxes.people if self._with_people else (), boxes.again)


class _Follower:
    """Find everybody in the frames of a video, and follow them to the frames before and after a detection."""

    def __init__(
        self, find: Callable[[Image], Covered], search: "BystanderSearch", plan: dict[int, Covered] | None = None
    ) -> None:
        self._find = find
        self._search = search
        self._plan = plan
        self._regions: list[_Region] = []
        self._before: deque[_Frame] = deque()
        self._searched_s: float | None = None
        self._number = 0

    def add(self, frame: SourceFrame) -> Covered:
        """Search the next frame and return the boxes to cover, which the plan also gets for the frames before."""
        rgb, now = frame.rgb, float(frame.time or 0)
        current = _Frame(frame.index, now, _small(rgb))
        scale = max(rgb.shape[:2]) / max(current.grey.shape)
        if self._before and (self._before[-1].grey.shape != current.grey.shape or now < self._before[-1].time):
            self._before.clear()
            self._regions.clear()
            self._searched_s = None
        last = self._before[-1] if self._before else None
        if last is not None:
            if _is_cut(last.grey, current.grey):
                self._searched_s = None  # other people may be in the image
            moved = _moved(last.grey, current.grey, [region.box / scale for region in self._regions])
            for region, box in zip(self._regions, moved, strict=True):
                region.box = box * scale
        covered, new = Covered(), list[_Region]()
        for box, is_person in sorted(self._found(rgb, now), key=_area):  # the largest of a face is followed
            near = [(_iou(each, box), each) for each in self._regions if each.is_person == is_person]
            overlap, region = max(near, key=itemgetter(0), default=(0.0, None))
            if region is None or overlap <= _SAME:  # also a small box inside, which does not show the complete face
                new.append(_Region(np.array(box, np.float64), now, is_person))
                self._regions.append(new[-1])
            else:
                covered.add(region.box, is_person=is_person)  # both, because either may be too small
                region.box, region.seen_s = np.array(box, np.float64), now
        self._regions = [each for each in self._regions if now - each.seen_s <= _FORWARD_S and _is_inside(each, rgb)]
        for region in self._regions:
            covered.add(region.box, is_person=region.is_person)
        self._before.append(current)
        if self._plan is not None:
            self._plan[frame.index] = covered
            self._follow_back(new, scale)
        while now - self._before[0].time > (_BACK_S if self._plan is not None else 0):
            self._before.popleft()
        return covered

    def _found(self, rgb: Image, now: float) -> list[tuple[Box, bool]]:
        """Return the boxes found in a frame, and whether they are those of people."""
        self._number += 1
        if self._searched_s is None or now - self._searched_s >= _PERIOD_S:
            self._searched_s = now
            found = self._find(rgb)
            return [*((box, False) for box in found.faces), *((box, True) for box in found.people)]
        boxes = self._search.glance(rgb, 1)
        boxes += (box for parts in _WINDOWS for box in self._search.glance(rgb, parts, number=self._number))
        return [(box, False) for box in boxes]

    def _follow_back(self, new: Sequence[_Region], scale: float) -> None:
        """Add the positions of new regions to the frames before, also where others cover them: they may go on."""
        assert self._plan is not None
        boxes, frames = [region.box / scale for region in new], list(self._before)
        for later, earlier in zip(reversed(frames), reversed(frames[:-1]), strict=False):
            boxes = _moved(later.grey, earlier.grey, boxes)
            for region, box in zip(new, boxes, strict=True):
                self._plan[earlier.number].add(box * scale, is_person=region.is_person)


def _small(rgb: Image) -> Image:
    """Return a small grey image (h, w) of an image (H, W, 3)."""
    scale = min(1.0, _SMALL_PX / max(rgb.shape[:2]))
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    return cv2.cvtColor(np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), cv2.COLOR_RGB2GRAY)  # pyright: ignore[reportReturnType]


def _is_cut(first: Image, second: Image) -> bool:
    """Check whether a grey image (h, w) shows another scene than the one before."""
    cells = [
        cv2.resize(grey, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).astype(np.int16) for grey in (first, second)
    ]
    return float((np.abs(cells[0] - cells[1]) > _CUT_LEVELS).mean()) > _CUT_SHARE


def _moved(first: Image, second: Image, boxes: Sequence[FloatArray]) -> list[FloatArray]:
    """Return boxes (4,) of a grey image (h, w) moved as their points move to a second one.

    A box whose points cannot be followed stays. Source: Lucas and Kanade 1981, with the check of Kalal et al. 2010,
    Forward-Backward Error.
    """
    if not boxes:
        return []
    steps = (np.arange(_GRID) + 0.5) / _GRID
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)  # (P, 2)
    points = np.stack([box[:2] + grid * (box[2:] - box[:2]) for box in boxes]).astype(np.float32)  # (n, P, 2)
    there, is_found, back = _flow(first, second, points.reshape(-1, 1, 2))
    error = np.linalg.norm(back - points.reshape(-1, 2), axis=1)
    kept = (is_found & (error < _MAX_ERROR_PX)).reshape(len(boxes), -1)
    moved: list[FloatArray] = []
    for box, own, to, good in zip(boxes, points, there.reshape(points.shape), kept, strict=True):
        if good.sum() < _MIN_POINTS:
            moved.append(box)
            continue
        shift = np.median(to[good] - own[good], axis=0)
        spread = [float(np.median(np.linalg.norm(each[good] - each[good].mean(axis=0), axis=1))) for each in (own, to)]
        ratio = float(np.clip(spread[1] / max(spread[0], 1e-3), 1 / _MAX_SCALE, _MAX_SCALE))
        middle, half = (box[:2] + box[2:]) / 2 + shift, (box[2:] - box[:2]) / 2 * ratio
        moved.append(np.concatenate([middle - half, middle + half]))
    return moved


def _flow(first: Image, second: Image, points: Float32Array) -> tuple[Float32Array, NDArray[np.bool_], Float32Array]:
    """Return where points (n, 1, 2) of an image are in a second one (n, 2), whether found (n,), and back (n, 2)."""
    there, found, _ = cv2.calcOpticalFlowPyrLK(first, second, points, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    back, again, _ = cv2.calcOpticalFlowPyrLK(second, first, there, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    is_found = ((found > 0) & (again > 0)).ravel()
    return there.reshape(-1, 2), is_found, back.reshape(-1, 2)


def _area(found: tuple[Box, bool]) -> float:
    """Return the area of a found box."""
    (x_min, y_min, x_max, y_max), _ = found
    return (x_max - x_min) * (y_max - y_min)


def _iou(region: _Region, box: Box) -> float:
    """Return the IoU of a region and a box, 0 to 1."""
    return box_iou(tuple(region.box.tolist()), box)


def _overlaps(a: Box, b: Box) -> bool:
    if box_iou(a, b) > _SAME:
        return True
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return min(width, height) > 0 and width * height > _INSIDE * smaller


def _is_inside(region: _Region, rgb: Image) -> bool:
    """Check whether a part of a region is in an image (H, W, 3)."""
    (height, width), (x_min, y_min, x_max, y_max) = rgb.shape[:2], region.box.tolist()
    return x_min < width and y_min < height and x_max > 0 and y_max > 0


def _count_distinct(boxes: Sequence[Box]) -> int:
    """Return the number of boxes that do not lie over an earlier one."""
    kept: list[Box] = []
    for box in boxes:
        if not any(_overlaps(box, other) for other in kept):
            kept.append(box)
    return len(kept)
