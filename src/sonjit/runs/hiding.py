"""Hide people in the images below drawings.

Stills are searched thoroughly, and searched again after hiding until no face is found. A video that can be read twice
is searched before it is drawn: by the face detector up to 20 times a second, and by the search of stills periodically
and in the first frame of a scene. Each head is followed to the frames before and after, within its scene. Frames of a
live stream are drawn at once, so that somebody is visible until the first detection.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image, pluralize
from sonjit._util.lazy_names import LazyModule
from sonjit._util.pools import Progress
from sonjit.geometry.boxes import Box, box_iou
from sonjit.media import Anonymise, Source, SourceFrame
from sonjit.media.cuts import Scenes
from sonjit.media.drawing.covers import add_unseen, cover, distinct, heads_and_bodies, inside, is_same_head
from sonjit.results import Frame

if TYPE_CHECKING:
    import cv2

    from sonjit.detectors.bystanders import Bystanders, BystanderSearch
else:
    cv2 = LazyModule("cv2")

_COVERS: Final = 0.9  # share of a head that a followed one covers if the head needs no cover of its own
_ROUNDS: Final = 6  # maximum number of further searches of a still, in which the heads of those before are hidden
_PERIOD_S: Final = 0.5  # time between searches of a video as a still
_GLANCE_S: Final = 0.05  # minimum time between searches for faces in a file, where heads are also followed back
_WINDOWS: Final = (2, 3)  # numbers of windows along the longer side of a frame, of which one each is searched
_FORWARD_S, _BACK_S = 1.0, 3.0  # time for which a head is followed after its last and before its first detection
_ONCE_S: Final = 0.5  # time for which a head is followed before its first detection if there is no second one
_TOGETHER_S: Final = 0.7  # time for which two heads are at one place if they are one
_SMALL_PX: Final = 320  # longer side of the grey images in which heads are followed
_GRID: Final = 5  # points along a followed box
_MIN_POINTS, _MAX_ERROR_PX = 6, 1.0  # minimum number of followed points, and their error after going back
_LEVELS, _STEPS, _STEP_PX = 2, 10, 0.03
"""Number of halvings of the image in which a point is first followed, maximum number of steps, and smallest step."""
_MAX_SCALE: Final = 1.1  # maximum change of the size between two frames
_SAME: Final = 0.25  # IoU from which two boxes of bodies show one person
_PART, _SHRINK = 0.6, 0.9
"""Size below which a box shows only a part of a head, and minimum size after a detection, relative to that before."""
_INSIDE, _MOVED = 0.6, 0.5  # share of a head that another one covers, and IoU of two that are at one place
_LEAST_PX: Final = 16  # width of the heads of crowds from which the searches find nearly all
_LIMITS_TEXT: Final = (
    f"Heads under {_LEAST_PX} px are too small to be searched, and others may not be found: "
    "check the result before you publish it"
)
_LIVE_TEXT: Final = "In a live stream a head is also visible until it is first found"


@dataclass
class Hidden:
    """Number of people who were hidden in the drawings of a run."""

    people: int = 0  # in all inputs
    frames: int = 0  # images in which somebody was hidden
    of: int = 0  # images in which people were to be hidden
    is_live: bool = False  # True if they were those of a live stream
    doubtful: int = 0  # further covered places that may show a head

    def add(self, other: "Hidden") -> None:
        """Add those of another input."""
        self.people = self.people + other.people
        self.frames = self.frames + other.frames
        self.of = self.of + other.of
        self.is_live = self.is_live or other.is_live
        self.doubtful = self.doubtful + other.doubtful

    def __str__(self) -> str:
        """Return how many were hidden and what cannot be promised, in one line.

        >>> str(Hidden(5, 2, 3))[:46]
        'hid 5 people in 2 of 3 frames. Heads under 16 '
        """
        limits = f"{_LIMITS_TEXT}. {_LIVE_TEXT}" if self.is_live else _LIMITS_TEXT
        people, frames = pluralize(self.people, "person", "people"), pluralize(self.of, "frame")
        places = f", and {pluralize(self.doubtful, 'place')} that may show a head" if self.doubtful else ""
        return f"hid {people} in {self.frames} of {frames}{places}. {limits}"


class _Frame(NamedTuple):
    """What is kept of a frame to follow heads: its number, time and scene, and a small grey image (h, w)."""

    number: int
    time: float
    scene: int
    grey: Image


@dataclass(eq=False)
class _Region:
    """A head or a body that is followed."""

    box: Box  # in pixels of the frame
    seen_s: float  # time of the last detection
    is_body: bool
    person: int  # number of the person
    first: _Frame  # frame of the first detection
    count: int = 1  # number of detections

    def see(self, box: Box, now: float) -> None:
        """Move to a detection. A part of a head does not replace it, and its size decreases slowly."""
        self.seen_s, self.count = now, self.count + 1
        wide, high = self.box[2] - self.box[0], self.box[3] - self.box[1]
        if max(box[2] - box[0], box[3] - box[1]) < _PART * max(wide, high):
            return
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        half_x, half_y = (
            max(new, _SHRINK * old) / 2 for new, old in ((box[2] - box[0], wide), (box[3] - box[1], high))
        )
        self.box = x - half_x, y - half_y, x + half_x, y + half_y


@dataclass(eq=False)
class _Start:
    """Place from which a region is followed back."""

    region: _Region
    frame: _Frame
    box: FloatArray  # (4,) in the small image
    scale: float  # pixels of the frame per pixel of the small image
    alone_s: float  # time of the last frame without others at its place


@dataclass
class Covered:
    """Boxes x_min, y_min, x_max, y_max to cover in a frame, in pixels: heads and people."""

    faces: list[Box] = field(default_factory=list[Box])  # heads, one per person
    people: list[Box] = field(default_factory=list[Box])
    again: list[Box] = field(default_factory=list[Box])  # heads that also show a face after covering
    kept: list[Box] = field(default_factory=list[Box])  # heads that stay visible
    doubtful: list[Box] = field(default_factory=list[Box])  # heads of `faces` that do not count as people

    def with_known(self, known: "Covered", *, are_followed: bool = False) -> "Covered":
        """Return also what a run found itself, without the heads that stay visible.

        Followed heads may lag behind, so that a head that the run found in this frame stays unless one covers it.
        """
        faces = [*self.faces]
        for head in known.faces:
            if not are_followed:
                add_unseen(faces, head)
            elif not any(inside(head, other) > _COVERS for other in self.faces):
                faces.append(head)
        faces = [head for head in faces if not _is_kept(head, known)]
        again = [head for head in self.again if not _is_kept(head, known)]
        return Covered(faces, [*known.people, *self.people], again, doubtful=self.doubtful)

    @property
    def counts(self) -> tuple[int, int]:
        """Number of people, each once, and of further places that may show a head."""
        sure: list[Box] = []
        for head in self.faces:
            if head not in self.doubtful:
                add_unseen(sure, head)
        more: list[Box] = []
        for head in [*self.doubtful, *self.again]:
            if head in self.faces or head in self.again:
                add_unseen(more, head)
        more = [head for head in more if not any(is_same_head(head, other) for other in sure)]
        return (len(sure), len(more)) if self.faces or self.again else (len(self.people), 0)


_NOBODY: Final = Covered()


def _is_kept(head: Box, known: Covered) -> bool:
    """Check whether a head stays visible: it is nearer to one that stays than to that of somebody else."""

    def away(other: Box) -> float:
        middles = ([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] for box in (head, other))
        return math.dist(*middles)

    near = min((away(kept) for kept in known.kept if is_same_head(head, kept)), default=math.inf)
    return near < min((away(other) for other in known.faces if is_same_head(head, other)), default=math.inf)


def covered(frame: Frame, keep: int | None = None) -> Covered:
    """Return the boxes of the heads and bodies that a detector found in a frame. The person of an id stays visible."""
    results = list(frame.all_results())
    heads, bodies = heads_and_bodies(result for result in results if keep is None or result.id != keep)
    kept = [] if keep is None else heads_and_bodies(result for result in results if result.id == keep)[0]
    return Covered(heads, bodies, kept=kept)


class Anonymiser:
    """Hide people in the images of one input after the other.

    The searches have weight files from `models_dir`, and `threads` as `create_detector`.

    Attributes:
        keeps_people: Whether nothing is hidden.
    """

    def __init__(self, how: Anonymise, models_dir: "str | Path | None" = None, threads: int | None = None) -> None:
        self.keeps_people, self._is_black = how == "none", how == "black"
        self._hider: _Hider | None = None
        if how in ("blur", "persons"):
            from sonjit.detectors.bystanders import BystanderSearch  # networks, which runs without hiding do not load

            self._hider = _Hider(BystanderSearch(models_dir, threads), with_people=how == "persons")

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

    def below(self, frame: SourceFrame, detected: Covered = _NOBODY) -> Image:
        """Return the image (H, W, 3) of a frame without its people, also without those that the run found itself."""
        if self._hider is not None:
            return self._hider.below(frame, detected)
        return frame.rgb * 0 if self._is_black else frame.rgb

    def as_still(self, frame: SourceFrame, detected: Covered = _NOBODY) -> Image:
        """Return the image (H, W, 3) of one of few frames of a video, which is searched as a still.

        People count once, as they may be in several of the frames.
        """
        if self._hider is None:
            return self.below(frame, detected)
        hidden = self._hider.hidden
        before = hidden.people, hidden.doubtful
        image = self._hider.below(frame._replace(time=None), detected)
        hidden.people = max(before[0], hidden.people - before[0])
        hidden.doubtful = max(before[1], hidden.doubtful - before[1])
        return image

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
        self._followed = _Follower(self._find_in_frame, self._search, is_live=True)

    def scan(self, source: Source, limit: int | None, progress: Progress) -> None:
        """Search a video, up to `limit` frames."""
        self._followed = _Follower(self._find_in_frame, self._search, is_live=False)
        for number, frame in enumerate(source, 1):
            self._followed.add(frame)
            progress.advance()
            if number == limit:
                break
        self._plan = self._followed.plan

    def below(self, frame: SourceFrame, detected: Covered) -> Image:
        """Return the image (H, W, 3) of a frame without its people."""
        boxes = self.boxes(frame, detected)
        people, doubtful = boxes.counts
        self.hidden.of += 1
        self.hidden.frames += people + doubtful > 0
        if frame.time is None:
            self.hidden.people += people
            self.hidden.doubtful += doubtful
        else:
            self.hidden.people = max(self.hidden.people, self._followed.people, people)
            self.hidden.doubtful = max(self.hidden.doubtful, self._followed.doubtful, doubtful)
        return self._cover(frame.rgb, boxes)

    def boxes(self, frame: SourceFrame, detected: Covered = _NOBODY) -> Covered:
        """Return the boxes to cover in a frame."""
        if frame.index in self._plan:
            return self._plan[frame.index].with_known(detected, are_followed=True)
        if frame.time is None:
            return self._everybody(frame.rgb, detected)
        self.hidden.is_live = True
        return self._followed.add(frame).with_known(detected, are_followed=True)

    def _everybody(self, rgb: Image, detected: Covered) -> Covered:
        """Return the boxes to cover in a still, which is searched again after covering."""
        bystanders = self._search.find(rgb, with_people=self._with_people)
        boxes = self._covered(bystanders).with_known(detected)
        changed = [*boxes.faces, *(boxes.people if self._with_people else ())]
        for _ in range(_ROUNDS):
            if not changed:
                break
            heads = [*boxes.faces, *boxes.again]
            left = self._search.find_again(self._cover(rgb, boxes), heads, changed, bystanders.hands)
            changed = [head for head in left if not _is_kept(head, detected)]
            boxes.again += changed
        return boxes

    def _find_in_frame(self, rgb: Image, known: Sequence[Box]) -> Covered:
        return self._covered(self._search.find(rgb, thorough=False, known=known, with_people=self._with_people))

    def _covered(self, bystanders: "Bystanders") -> Covered:
        people = bystanders.people if self._with_people else []
        return Covered(bystanders.heads, people, doubtful=[*bystanders.doubtful])

    def _cover(self, rgb: Image, boxes: Covered) -> Image:
        return cover(rgb, boxes.faces, boxes.people if self._with_people else (), boxes.again)


class _Follower:
    """Find everybody in the frames of a video, and follow them to the frames before and after a detection.

    Attributes:
        plan: Boxes to cover by the number of the frame, which later frames complete; empty in a live stream.
    """

    def __init__(self, find: Callable[..., Covered], search: "BystanderSearch", *, is_live: bool) -> None:
        self._find, self._search, self._is_live = find, search, is_live
        self.plan: dict[int, Covered] = {}
        self._scenes = Scenes()
        self._regions: list[_Region] = []
        self._before: deque[_Frame] = deque()
        self._searched_s = self._glanced_s = -math.inf
        self._number = 0
        self._sightings = Counter[int]()  # of each person
        self._sure = set[int]()  # people who were found for certain
        self._starts: WeakKeyDictionary[_Region, _Start] = WeakKeyDictionary()

    @property
    def people(self) -> int:
        """Number of people who were found more than once, and once for certain."""
        return sum(count > 1 and person in self._sure for person, count in self._sightings.items())

    @property
    def doubtful(self) -> int:
        """Number of further places that were taken for a head more than once."""
        return sum(count > 1 and person not in self._sure for person, count in self._sightings.items())

    def add(self, frame: SourceFrame) -> Covered:
        """Search the next frame and return the boxes to cover, which the plan also gets for the frames before."""
        rgb, now = frame.rgb, float(frame.time or 0)
        last = self._before[-1] if self._before else None
        current = _Frame(frame.index, now, self._scenes.number(rgb, now), _small(rgb))
        scale = max(rgb.shape[:2]) / max(current.grey.shape)
        if last is not None and (last.grey.shape != current.grey.shape or now < last.time):
            self._before.clear()
            last = None
        if last is not None and last.scene == current.scene:
            for region, box in zip(self._regions, _moved(last.grey, current.grey, self._boxes(scale)), strict=True):
                region.box = _scaled(box, scale)
        else:
            self._regions.clear()
            self._searched_s = self._glanced_s = -math.inf
        new, again = self._see(self._found(rgb, now), current)
        self._before.append(current)
        self._regions = [each for each in self._regions if _is_inside(each.box, rgb)]
        covered = Covered()
        for region in self._regions:
            (covered.people if region.is_body else covered.faces).append(region.box)
            if region.person not in self._sure and not region.is_body:
                covered.doubtful.append(region.box)
        if not self._is_live:
            self.plan[frame.index] = covered
            self._starts |= {each: _Start(each, current, np.array(each.box) / scale, scale, now) for each in new}
            self._follow_back([self._starts[region] for region in new], _ONCE_S)
            for region in again:
                self._follow_back([self._starts[region]], _BACK_S)
        while now - self._before[0].time > (0 if self._is_live else _BACK_S + _FORWARD_S):
            self._before.popleft()
        return covered

    def _boxes(self, scale: float) -> list[FloatArray]:
        """Return the boxes (4,) of the regions in the small images."""
        return [np.array(region.box) / scale for region in self._regions]

    def _found(self, rgb: Image, now: float) -> Covered:
        """Return the boxes found in a frame."""
        if now - self._searched_s >= _PERIOD_S:
            self._searched_s = self._glanced_s = now
            return self._find(rgb, known=[region.box for region in self._regions if not region.is_body])
        if not self._is_live and now - self._glanced_s < _GLANCE_S:
            return Covered()
        self._glanced_s = now
        self._number += 1
        heads = self._search.glance(rgb, 1)
        heads += (box for count in _WINDOWS for box in self._search.glance(rgb, count, self._number))
        return Covered(distinct(heads))

    def _see(self, found: Covered, frame: _Frame) -> tuple[list[_Region], list[_Region]]:
        """Move the regions to what was found, and remove those that are not seen for long.

        Return the new regions, and those that are found for the second time.
        """
        now, new, again = frame.time, list[_Region](), list[_Region]()
        for box, is_body in [*((box, False) for box in found.faces), *((box, True) for box in found.people)]:
            is_sure = not is_body and box not in found.doubtful
            near = [(box_iou(each.box, box), each) for each in self._regions if _is_same(each, box, is_body=is_body)]
            region = max(near, key=itemgetter(0))[1] if near else None
            if region is not None and (region.seen_s < now or inside(box, region.box) > _INSIDE):
                if region.seen_s < now:
                    self._sightings[region.person] += not is_body
                    self._sure |= {region.person} if is_sure else set()
                    region.see(box, now)
                    again += [region] * (region.count == 2)
                continue
            person = len(self._sightings)  # bodies have numbers too, and do not count
            self._sightings[person] = int(not is_body)
            self._sure |= {person} if is_sure else set()
            new.append(_Region(box, now, is_body, person, frame))
            self._regions.append(new[-1])
        seen = [each for each in self._regions if each.seen_s == now]
        for region in [each for each in self._regions if each.seen_s < now]:
            same = next((each for each in seen if _is_covered(region, each)), None)
            if same is not None:
                self._join(region, same)
                self._regions.remove(region)
        self._regions = [each for each in self._regions if now - each.seen_s <= _FORWARD_S]
        return new, again

    def _join(self, region: _Region, other: _Region) -> None:
        """Count two regions as one person."""
        if region.person != other.person:
            self._sightings[other.person] += self._sightings[region.person]
            self._sightings[region.person] = 0
            self._sure |= {other.person} if region.person in self._sure else set()
            region.person = other.person

    def _follow_back(self, starts: Iterable[_Start], back_s: float) -> None:
        """Add positions of heads to the frames of the scene before, for a time before their first detections.

        A head ends where it is at the place of others for long.
        """
        active = [*starts]
        if not active:
            return
        later, first_s, scene = active[0].frame, active[0].region.first.time, active[0].frame.scene
        for frame in reversed([each for each in self._before if each.number < later.number and each.scene == scene]):
            if first_s - frame.time > back_s or not active:
                break
            moved = _moved(later.grey, frame.grey, [start.box for start in active])
            for start, small in zip(active, moved, strict=True):
                box, shown = _scaled(small, start.scale), self.plan[frame.number]
                others = shown.people if start.region.is_body else shown.faces
                if not any(box_iou(box, other) > _MOVED for other in others):
                    start.alone_s = frame.time
                start.box, start.frame = small, frame
                if start.alone_s - frame.time < _TOGETHER_S:
                    others.append(box)
            active = [start for start in active if start.alone_s - frame.time < _TOGETHER_S]
            later = frame


def _is_same(region: _Region, box: Box, *, is_body: bool) -> bool:
    """Check whether a box shows the head or body of a region."""
    if region.is_body or is_body:
        return region.is_body == is_body and box_iou(region.box, box) > _SAME
    return is_same_head(region.box, box)


def _is_covered(region: _Region, other: _Region) -> bool:
    """Check whether another region covers one."""
    return region.is_body == other.is_body and inside(region.box, other.box) > _INSIDE


def _is_inside(box: Box, rgb: Image) -> bool:
    """Check whether a part of a box is in an image (H, W, 3)."""
    (height, width), (x_min, y_min, x_max, y_max) = rgb.shape[:2], box
    return x_min < width and y_min < height and x_max > 0 and y_max > 0


def _scaled(box: FloatArray, scale: float) -> Box:
    """Return a box (4,) of a small image in pixels of the frame."""
    x_min, y_min, x_max, y_max = (box * scale).tolist()
    return x_min, y_min, x_max, y_max


def _small(rgb: Image) -> Image:
    """Return a small grey image (h, w) of an image (H, W, 3)."""
    scale = min(1.0, _SMALL_PX / max(rgb.shape[:2]))
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    return cv2.cvtColor(np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), cv2.COLOR_RGB2GRAY)  # pyright: ignore[reportReturnType]


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
    for box, before, to, good in zip(boxes, points, there.reshape(points.shape), kept, strict=True):
        if good.sum() < _MIN_POINTS:
            moved.append(box)
            continue
        shift = np.median(to[good] - before[good], axis=0)
        spread = [
            float(np.median(np.linalg.norm(places[good] - places[good].mean(axis=0), axis=1)))
            for places in (before, to)
        ]
        ratio = float(np.clip(spread[1] / max(spread[0], 1e-3), 1 / _MAX_SCALE, _MAX_SCALE))
        middle, half = (box[:2] + box[2:]) / 2 + shift, (box[2:] - box[:2]) / 2 * ratio
        moved.append(np.concatenate([middle - half, middle + half]))
    return moved


def _flow(first: Image, second: Image, points: Float32Array) -> tuple[Float32Array, NDArray[np.bool_], Float32Array]:
    """Return where points (n, 1, 2) of an image are in a second one (n, 2), whether found (n,), and back (n, 2)."""
    settings = {"maxLevel": _LEVELS, "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _STEPS, _STEP_PX)}
    there, status, _ = cv2.calcOpticalFlowPyrLK(first, second, points, None, **settings)  # pyright: ignore[reportCallIssue, reportArgumentType]
    back, again, _ = cv2.calcOpticalFlowPyrLK(second, first, there, None, **settings)  # pyright: ignore[reportCallIssue, reportArgumentType]
    is_found = ((status > 0) & (again > 0)).ravel()
    return there.reshape(-1, 2), is_found, back.reshape(-1, 2)
