"""Hands by a thorough search: palms in the image and at the ends of arms, scored by two to four inferences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.kinds.hands import HandObservation, box_around_hand, box_from_palm
from sonjit.detectors.search.bodies import bodies_of_heads
from sonjit.detectors.search.faces import without_same_heads
from sonjit.detectors.search.finds import (
    Find,
    LogisticRegression,
    Place,
    Window,
    area,
    corners,
    is_near,
    logit,
    merged,
    oks,
    rank,
    shared_area,
    tiles,
    window_around,
    without_same,
)  # fmt: skip
from sonjit.detectors.smoothing import size_of
from sonjit.geometry.boxes import RotatedBox, iou, wrap_angle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.kinds.body import Bodies, BodyObservation
    from sonjit.detectors.kinds.hands import Hands
    from sonjit.detectors.search.faces import Head, HeadSearch
    from sonjit.detectors.search.finds import Image
    from sonjit.detectors.ssd import SingleShotDetector

_LARGE = 0.15
"""Size of a hand, in sides of a window, from which the palm detector finds three of four."""
_SMALL_HEAD = 0.1
"""Height of a face, in sides of the image, under which there may be more that the whole image does not show."""
_DOUBTFUL = 0.02
"""Score from which a find that is not plain is worth two more inferences."""
_PRESENT = 0.5
"""Presence from which the published search takes what it sees for a hand."""
CROP = "crop"
"""Vote of a body's own crop of its hand, as the published graph makes it."""
_ELBOWS, _WRISTS, _KNUCKLES = (13, 14), (15, 16), ((15, 17, 19), (16, 18, 20))
_FEET = ((27, 29, 31), (28, 30, 32))
_LEAST_SEEN = 0.1
"""Presence below which a place shows nothing."""
_SAME_HAND = 0.4
"""Intersection over union from which a place is that of a hand seen plainly."""
_FACE_OF_EYES, _FACE_OF_SHOULDERS = 2.6, 0.45
"""Height of a face's mesh in distances of the eyes from the mouth, and of one shoulder from the other."""
_FAR_ARM, _FARTHEST_ARM, _NEAR_ARM, _MOST_ARM = 1.5, 9.0, 0.3, 1.5
"""Distance of both arms, in sizes of the hand, from which they say nothing of its side; the greatest that counts, what
is added to each, and the most that both say."""
_SEEN_FOOT, _NEAR_FOOT = 0.3, 0.7
"""Visibility of a foot that counts, and its distance, in sizes of the hand, below which what is seen is that foot."""
_PART_OF_FACE, _INSIDE_FACE = 0.6, 0.7
"""Size, in heights of a face, and share inside it, of what is part of it."""


class Guide:
    """Where faces and bodies are, as far as it takes to find hands; its networks are loaded when first asked.

    Args:
        load: gives what finds faces, and what sees the bodies below them.
    """

    def __init__(self, load: Callable[[], tuple[HeadSearch, Bodies]]) -> None:
        self._load = load

    @cached_property
    def _searches(self) -> tuple[HeadSearch, Bodies]:
        return self._load()

    def heads(self, rgb: Image, parts: Sequence[int]) -> list[Head]:
        """Faces in windows, the surest first; see `tiles`."""
        return self._searches[0].search(rgb, parts)

    def bodies(self, rgb: Image, heads: Sequence[Head]) -> Iterator[BodyObservation]:
        """Bodies of these faces, one after the other."""
        return bodies_of_heads(rgb, self._searches[1], heads)


class HandSearch:
    """Hands of an image.

    Args:
        palms: palm detector.
        hands: sees each candidate, and again in the mirror. With heads: their side is the calibrated one.
        guide: says where arms end; None where palms alone are asked.
        published: detection score from which the published search takes a palm of the whole image: what it finds
            keeps the keypoints that it has there.
        min_detection: least score of a palm that is worth an inference.
        enough: so many hands that are seen plainly end the search.
    """

    WRIST_WINDOW = 3.0
    """Side of the window around a body's wrist, in heights of the face: a hand is 0.7 of them."""
    REACH = 0.3
    LEAST_PUBLISHED = 0.5
    SCORE = LogisticRegression(-2.4, {"presence": 1.26, "wrist": 2.0, "votes": 1.1, "published": 1.5})
    SIDE = LogisticRegression(0.0, {"side": 0.72, "arm": 1.41})

    def __init__(
        self,
        palms: SingleShotDetector,
        hands: Hands,
        guide: Guide | None = None,
        *,
        published: float = LEAST_PUBLISHED,
        min_detection: float = 0.2,
        enough: int | None = None,
    ) -> None:
        self._palms, self._hands, self._guide = palms, hands, guide
        self._published, self._min_detection, self._enough = published, min_detection, enough

    def search(self, rgb: Image) -> list[Find[HandObservation]]:
        """Every candidate with its score, best first."""
        height, width = rgb.shape[:2]
        candidates = _Candidates()
        (whole,) = tiles(width, height, (1,))
        self._consider(rgb, self._palms_in(rgb, whole, whole), candidates)
        heads: list[Head] = []
        bodies: list[BodyObservation] = []
        if self._guide is not None and not self._is_enough(candidates.finds):
            heads = self._guide.heads(rgb, (1,))
            if not _is_close_up(heads, candidates.finds, max(width, height)):
                if min((head.height for head in heads), default=0.0) < _SMALL_HEAD * max(width, height):
                    heads = without_same_heads([*heads, *self._guide.heads(rgb, (2,))])
                for body in self._guide.bodies(rgb, heads):
                    if self._is_enough(candidates.finds):
                        break
                    bodies.append(body)
                    for side in (0, 1):
                        self._at_wrist(rgb, body, side, candidates)
                if not (len(heads) == len(bodies) == 1 or self._is_enough(candidates.finds)):
                    quarters = tiles(width, height, (2,))
                    self._consider(rgb, [p for w in quarters for p in self._palms_in(rgb, w, w)], candidates)
        return self._scored(rgb, candidates.finds, heads, bodies)

    def around(
        self, rgb: Image, heads: Sequence[Head], bodies: Sequence[BodyObservation], places: list[Place]
    ) -> list[Find[HandObservation]]:
        """Hands of people who are known: in these places, and at the wrists where none of them is plain."""
        candidates = _Candidates()
        self._consider(rgb, places, candidates)
        for body in bodies:
            for side in (0, 1):
                self._at_wrist(rgb, body, side, candidates)
        return self._scored(rgb, candidates.finds, heads, bodies)

    def _is_enough(self, finds: Sequence[Find[HandObservation]]) -> bool:
        return self._enough is not None and sum(find.plain for find in finds) >= self._enough

    def _scored(
        self,
        rgb: Image,
        finds: list[Find[HandObservation]],
        heads: Sequence[Head],
        bodies: Sequence[BodyObservation],
    ) -> list[Find[HandObservation]]:
        finds = [find for find in finds if not is_foot(find.last, bodies) and not is_part_of_face(find.last, heads)]
        finds = without_same(finds, rank)
        for find in finds:
            is_published = self._is_published(rgb, find)
            self._score(find, bodies, is_published=is_published)
            if not find.plain and find.score > _DOUBTFUL:
                self._infer_again(rgb, find, stays=is_published or CROP in find.votes)
                self._score(find, bodies, is_published=is_published)
            find.observations[-1] = replace(find.last, left=self.SIDE(find.features))
        return sorted(finds, key=lambda f: -f.score)

    def _is_published(self, rgb: Image, find: Find[HandObservation]) -> bool:
        """Whether the published search finds it too."""
        height, width = rgb.shape[:2]
        is_found = Window(0, 0, width, height) in find.votes and find.detection >= self._published
        return is_found and find.last.score > _PRESENT

    def _score(self, find: Find[HandObservation], bodies: Sequence[BodyObservation], *, is_published: bool) -> None:
        seen = find.observations
        find.features = {
            "presence": float(np.mean([logit(one.score) for one in seen])),
            "wrist": max(1 - wrist_distance(find.last, bodies), 0),
            "votes": math.log(len(find.votes)),
            "published": float(is_published),
            "side": float(np.mean([logit(one.left) for one in seen])),
            "arm": arm_side(find.last, bodies),
        }
        find.score = self.SCORE(find.features)

    def _infer_again(self, rgb: Image, find: Find[HandObservation], *, stays: bool) -> None:
        """Two more inferences from the keypoints seen in the mirror.

        Args:
            rgb: image.
            find: to be extended.
            stays: the first observation stays the one that counts.
        """
        *_, mirrored, first = find.observations
        again = self._hands.observe(rgb, box_around_hand(mirrored.keypoints))
        more = [again, seen_in_mirror(self._hands, rgb, box_around_hand(again.keypoints))]
        find.observations = [mirrored, *more, first] if stays else [mirrored, first, *more[::-1]]

    def _palms_in(self, rgb: Image, window: Window, vote: object, *, turned: bool = False) -> list[Place]:
        """Boxes of hands in a window, which may be turned upside down."""
        cut = window.cut(rgb)
        if turned:
            cut = np.ascontiguousarray(cut[::-1, ::-1])
        places: list[Place] = []
        as_published, more = self._palms.find_from(cut, self._published, self._min_detection)
        for palm in [*as_published, *more]:  # the same palms with other neighbours blended in lie a little apart
            box = box_from_palm(palm)
            if turned:
                cx, cy = cut.shape[1] - box.cx, cut.shape[0] - box.cy
                box = box._replace(cx=cx, cy=cy, rotation=wrap_angle(box.rotation + math.pi))
            places.append(Place(window.placed(box), palm.score, {vote}))
        return places

    def _consider(self, rgb: Image, places: list[Place], candidates: _Candidates) -> None:
        """Run inference in places; those of hands seen plainly, and those seen before, count as votes."""
        for place in merged(places, 4 * max(rgb.shape)):
            if not candidates.knows(place):
                candidates.add(place, self._infer(rgb, place))

    def _at_wrist(self, rgb: Image, body: BodyObservation, side: int, candidates: _Candidates) -> None:
        """Search the end of a body's arm where no hand is plain there: upright, then upside down."""
        height, width = rgb.shape[:2]
        wrist = body.keypoints[_WRISTS[side], :2].astype(np.float64)
        if not (-0.05 * width < wrist[0] < 1.05 * width and -0.05 * height < wrist[1] < 1.05 * height):
            return
        face = face_height(body)
        arm = wrist - body.keypoints[_ELBOWS[side], :2]
        cx, cy = wrist + self.REACH * face * arm / max(float(np.linalg.norm(arm)), 1.0)
        window = window_around(cx, cy, self.WRIST_WINDOW * face, rgb)
        for turned in (False, True):
            if window is None or any(find.plain and _is_at(find.last, wrist) for find in candidates.finds):
                return
            self._consider(rgb, self._palms_in(rgb, window, ("arm", turned), turned=turned), candidates)

    def _infer(self, rgb: Image, place: Place) -> Find[HandObservation] | None:
        first = self._hands.observe(rgb, place.box)
        if first.score < _LEAST_SEEN:
            return None
        mirrored = seen_in_mirror(self._hands, rgb, box_around_hand(first.keypoints))
        if mirrored.score < _LEAST_SEEN:
            return None
        return Find([mirrored, first], place.score, set(place.votes), oks(first.keypoints, mirrored.keypoints))


def seen_in_mirror(hands: Hands, rgb: Image, box: RotatedBox) -> HandObservation:
    """What is seen in a box in the mirror, with keypoints and side as they are in the image itself."""
    height, width = rgb.shape[:2]
    reach = 0.75 * box.width
    left, top = (min(max(int(at - reach), 0), size - 1) for at, size in ((box.cx, width), (box.cy, height)))
    right, bottom = (
        max(min(int(box.cx + reach) + 1, width), left + 1),
        max(min(int(box.cy + reach) + 1, height), top + 1),
    )
    cut = np.ascontiguousarray(rgb[top:bottom, left:right][:, ::-1])
    place = box._replace(cx=right - box.cx, cy=box.cy - top, rotation=-box.rotation)
    seen = hands.observe(cut, place)
    back = np.array([-1, 1, 1], np.float32)
    keypoints = seen.keypoints * back + np.array([right, top, 0], np.float32)
    return replace(
        seen,
        keypoints=keypoints,
        keypoints_3d=seen.keypoints_3d * back,
        left=1 - seen.left,
        appearance=None,  # which is the mirror's
    )


class _Candidates:
    """What has been inferred in one image."""

    def __init__(self) -> None:
        self.finds: list[Find[HandObservation]] = []
        self._inferred: list[tuple[RotatedBox, Find[HandObservation] | None]] = []

    def knows(self, place: Place) -> bool:
        """Whether a place shows a plain hand or a box seen before, which its votes then count for."""
        known = [f for f in self.finds if f.plain and iou(box_around_hand(f.last.keypoints), place.box) > _SAME_HAND]
        known += [find for box, find in self._inferred if is_near(place.box, box)][:1]
        if known and known[0] is not None:
            known[0].votes |= place.votes
        return bool(known)

    def add(self, place: Place, find: Find[HandObservation] | None) -> None:
        """Keep what was seen in a place."""
        self._inferred.append((place.box, find))
        if find is not None:
            self.finds.append(find)


def _is_close_up(heads: Sequence[Head], finds: Sequence[Find[HandObservation]], side: int) -> bool:
    """Whether an image shows large hands and no face: finer windows show nothing more."""
    sizes = [size_of(find.last.keypoints[:, :2]) for find in finds if find.plain]
    return not heads and bool(sizes) and min(sizes) > _LARGE * side


def _is_at(hand: HandObservation, wrist: NDArray[np.floating]) -> bool:
    return math.dist(hand.keypoints[0, :2], wrist) < size_of(hand.keypoints[:, :2])


def face_height(body: BodyObservation) -> float:
    """Height of the face's mesh in pixels, from eyes and mouth, and from the shoulders where it is turned away."""
    points = body.keypoints[:, :2]
    eyes, mouth = points[[2, 5]].mean(axis=0), points[[9, 10]].mean(axis=0)
    return max(_FACE_OF_EYES * math.dist(eyes, mouth), _FACE_OF_SHOULDERS * math.dist(points[11], points[12]))


def wrist_distance(hand: HandObservation, bodies: Sequence[BodyObservation], side: int | None = None) -> float:
    """From a hand to the nearest body's wrist or knuckles, in sizes of the hand."""
    size, centre = size_of(hand.keypoints[:, :2]), hand.keypoints[:, :2].mean(axis=0)
    nearest = math.inf
    for body in bodies:
        for s in (0, 1) if side is None else (side,):
            points = body.keypoints[list(_KNUCKLES[s]), :2]
            near = min(math.dist(hand.keypoints[0, :2], points[0]), math.dist(centre, points.mean(axis=0)))
            nearest = min(nearest, near / size)
    return nearest


def arm_side(hand: HandObservation, bodies: Sequence[BodyObservation]) -> float:
    """How much nearer to a left arm's end than to a right one's: -1.5 (right) .. 1.5 (left), 0 far from both."""
    left, right = wrist_distance(hand, bodies, 0), wrist_distance(hand, bodies, 1)
    if min(left, right) > _FAR_ARM:
        return 0.0
    far_left, far_right = (min(one, _FARTHEST_ARM) + _NEAR_ARM for one in (left, right))
    return float(np.clip(math.log(far_right / far_left), -_MOST_ARM, _MOST_ARM))


def is_foot(hand: HandObservation, bodies: Sequence[BodyObservation]) -> bool:
    """Whether it stands on a body's foot, and nearer to it than to any wrist."""
    size, centre = size_of(hand.keypoints[:, :2]), hand.keypoints[:, :2].mean(axis=0)
    nearest = math.inf
    for body in bodies:
        for foot in _FEET:
            if body.visibility[foot[0]] > _SEEN_FOOT:
                points = body.keypoints[list(foot), :2]
                points = np.vstack([points, points.mean(axis=0)])
                nearest = min(nearest, float(np.linalg.norm(points - centre, axis=1).min()) / size)
    return nearest < _NEAR_FOOT and nearest < wrist_distance(hand, bodies)


def is_part_of_face(hand: HandObservation, heads: Sequence[Head]) -> bool:
    """Whether it lies in a face and is too small for a hand before it: an ear, a nose."""
    box = corners(hand.keypoints)
    return any(
        size_of(hand.keypoints[:, :2]) < _PART_OF_FACE * head.height
        and shared_area(box, head.box) > _INSIDE_FACE * area(box)
        for head in heads
    )
