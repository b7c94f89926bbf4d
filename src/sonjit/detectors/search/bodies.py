"""People by a thorough search: bodies that faces suggest, and those of a person detector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from sonjit.detectors.kinds.body import BodyObservation, box_from_alignment
from sonjit.detectors.search.faces import head_from_mesh, head_from_points
from sonjit.detectors.search.finds import (
    Find,
    LogisticRegression,
    Window,
    corners,
    logit,
    oks,
)
from sonjit.detectors.smoothing import size_of
from sonjit.geometry.boxes import RotatedBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.kinds.body import Bodies
    from sonjit.detectors.kinds.face import FaceObservation
    from sonjit.detectors.search.faces import Head
    from sonjit.detectors.search.finds import Image
    from sonjit.detectors.ssd import SingleShotDetector

BODY_TOLERANCE = 0.05
_EYES_TO_MOUTH = [0, 2, 5, 9, 10]  # of the body
_EYES, _MOUTH = [2, 5], [9, 10]
_SHOULDERS, _HIPS = [11, 12], [23, 24]
_HEAD = 11
"""So many of the first keypoints are the head's."""
_SAME_HEADS = 0.5
"""Distance of two heads, in widths of the shoulders, below which they are one person's."""


class BodySearch:
    """People of an image, from their faces and from a person detector.

    Args:
        detector: finds people whose face is not seen.
        bodies: run twice.
        min_detection: least score of a person in a window.
        enough: of so many people, and half as many again that may be better (`SPARE`), the largest faces are followed.
    """

    PLACEMENTS = ((3.35, 4.5), (2.8, 3.6), (3.0, 3.2))
    """Distance of the hips from the face, and radius of the circle around the body, in heights of the face's mesh: of
    people who stand, sit, and crouch or are children."""
    MAX_FACE_DISTANCE = 0.45
    """From the body's face to the found one, in heights of its mesh: beyond it is the neighbour's."""
    PLAIN = 0.8
    """Presence and agreement from which no other placement is tried."""
    NECK, NECK_TOLERANCE = 1.25, 0.35
    """From the middle of the face's mesh to that of the shoulders, and how far from there it is worth exp(-1/2): in
    heights of the mesh."""
    SCORE = LogisticRegression(1.7, {"score": 1.0})
    """Of presence times agreement: a body whose face is seen needs little of both."""
    ALONE = 0.7, 0.9
    """Least agreement and presence of a body without the evidence of a face."""
    LEAST_SEEN = 0.02
    """Presence up to which a box shows nothing."""
    SPARE = 1.5
    """So many faces are followed for each body that is asked for."""

    def __init__(
        self,
        detector: SingleShotDetector,
        bodies: Bodies,
        *,
        min_detection: float = 0.5,
        enough: int | None = None,
    ) -> None:
        self._detector, self._bodies = detector, bodies
        self._min_detection, self._enough = min_detection, enough

    def search(self, rgb: Image, faces: Sequence[Find[FaceObservation]]) -> list[Find[BodyObservation]]:
        """People with their scores, best first."""
        height, width = rgb.shape[:2]
        people = self._people(rgb, Window(0, 0, width, height))
        published = [person.first for person in people]
        if self._enough is not None:
            by_size = sorted(faces, key=lambda face: -size_of(face.last.keypoints[:, :2]))
            faces = by_size[: math.ceil(self.SPARE * self._enough)]
        heads = [head_from_mesh(face) for face in faces]
        offers = [
            (self._rank(find, heads[number]), number, find)
            for number, face in enumerate(faces)
            for find in self._of_face(without_other_heads(rgb, heads, heads[number]), face, published)
        ]
        offers.sort(key=lambda offer: -offer[0])
        found: list[Find[BodyObservation]] = []
        served: set[int] = set()
        for _, number, find in offers:
            if number in served:
                continue
            if any(is_same_torso(find.last, other.last) for other in found):
                continue
            served.add(number)
            find.score = self.SCORE({"score": logit(find.score)})
            found.append(find)
        for person in people:
            if not any(_is_same_person(person.first, other.last) for other in found):
                found += self._alone(rgb, person)
        return sorted(found, key=lambda f: -f.score)

    def _people(self, rgb: Image, window: Window) -> list[_Person]:
        """What the landmark network sees where the person detector finds someone, the surest first."""
        corner = np.array([window.left, window.top])
        found = self._detector.find(window.cut(rgb), self._min_detection)
        boxes = [(one.score, box_from_alignment(one.keypoints[:2] + corner)) for one in found]
        return [_Person(score, self._bodies.observe(rgb, box)) for score, box in boxes]

    def _of_face(
        self, rgb: Image, face: Find[FaceObservation], published: Sequence[BodyObservation]
    ) -> list[Find[BodyObservation]]:
        """Bodies that may belong to a face; the published search's own, where it is plain.

        Args:
            rgb: image without the other heads.
            face: whose body is looked for.
            published: bodies of the published search.
        """
        head = head_from_mesh(face)
        x_min, y_min, x_max, y_max = corners(face.last.keypoints)
        centre, reach = ((x_min + x_max) / 2, (y_min + y_max) / 2), self.MAX_FACE_DISTANCE * (y_max - y_min)
        inferences: list[BodyObservation] = []
        starts: list[BodyObservation | RotatedBox] = [one for one in published if head_distance(one, centre) < reach]
        starts += [box_below(head, *placement) for placement in self.PLACEMENTS]
        for start in starts:
            first = self._bodies.observe(rgb, start) if isinstance(start, RotatedBox) else start
            inferences.append(first)
            if first.score <= self.LEAST_SEEN:
                continue
            second = self._bodies.observe(rgb, box_from_alignment(first.alignment))
            agreement = oks(first.keypoints, second.keypoints, BODY_TOLERANCE, seen_inside(second, rgb))
            if min(second.score, agreement) > self.PLAIN and head_distance(second, centre) < reach:
                if first is start:
                    return [Find([second, first], face.score, {"face"}, agreement, first.score * agreement)]
                inferences.append(second)
                break
            inferences.append(second)
        offers: list[Find[BodyObservation]] = []
        for one in inferences:
            if head_distance(one, centre) > reach:
                continue
            weights = seen_inside(one, rgb)
            others = sorted(
                oks(one.keypoints, o.keypoints, BODY_TOLERANCE, weights) for o in inferences if o is not one
            )
            agreement = float(np.mean(others[-2:])) if others else 0.0
            offers.append(Find([one], face.score, {"face"}, agreement, one.score * agreement))
        return offers

    def _rank(self, find: Find[BodyObservation], head: Head) -> float:
        """What goes before which: the surer one, and the one whose shoulders lie below its own face."""
        shoulders = find.last.keypoints[_SHOULDERS, :2].mean(axis=0)
        off = math.dist(shoulders, head.middle + self.NECK * head.down) / head.height
        return find.score * math.exp(-((off / self.NECK_TOLERANCE) ** 2) / 2)

    def _alone(self, rgb: Image, person: _Person) -> list[Find[BodyObservation]]:
        """A body that no face speaks for, where it is very sure."""
        first = person.first
        if first.score <= self.ALONE[1]:
            return []
        second = self._bodies.observe(rgb, box_from_alignment(first.alignment))
        agreement = oks(first.keypoints, second.keypoints, BODY_TOLERANCE, seen_inside(second, rgb))
        if agreement <= self.ALONE[0] or second.score <= self.ALONE[1]:
            return []
        score = min(first.score, second.score) * agreement
        return [Find([second, first], person.detection, {"detector"}, agreement, score)]


class _Person(NamedTuple):
    """Someone whom the person detector finds: its score, and what is seen there."""

    detection: float
    first: BodyObservation


_COVER, _KEPT, _HAIR = 0.75, 0.7, 0.15
"""Radius of what covers a head, and of what stays of one's own, and how far the first is moved towards the hair: in
heights of the face's mesh."""
_GREY = 128


def box_below(head: Head, hips: float, radius: float) -> RotatedBox:
    """The box of a body, its hips so far from its head and so large as in `BodySearch.PLACEMENTS`."""
    return box_from_alignment(np.stack([head.middle + hips * head.down, head.middle + (hips - radius) * head.down]))


def head_of_body(body: BodyObservation) -> Head:
    """Where a body's face is."""
    points = body.keypoints[:, :2].astype(np.float64)
    return head_from_points(body.score, points[_EYES].mean(axis=0), points[_MOUTH].mean(axis=0))


def heads_in(box: RotatedBox, heads: Iterable[Head]) -> list[Head]:
    """Those that a box may show."""
    return [head for head in heads if math.dist(head.middle, box[:2]) < box.width / math.sqrt(2) + head.height]


def without_other_heads(rgb: Image, heads: Sequence[Head], own: Head) -> Image:
    """An image with all heads covered but the face of one: of several in a crop the network sees the plainest."""
    if all(head is own for head in heads):
        return rgb
    covered = np.zeros(rgb.shape[:2], np.uint8)
    for head in heads:
        cv2.circle(covered, _pixel(head.middle - _HAIR * head.down), round(_COVER * head.height), 1, -1)
    cv2.circle(covered, _pixel(own.middle), round(_KEPT * own.height), 0, -1)
    alone = rgb.copy()
    alone[covered > 0] = _GREY
    return alone


def _pixel(point: NDArray[np.floating]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def head_distance(body: BodyObservation, centre: Sequence[float]) -> float:
    """From the middle of a body's face to a place, in pixels."""
    return math.dist(body.keypoints[_EYES_TO_MOUTH, :2].mean(axis=0), centre)


def is_head_of(body: BodyObservation, head: Head) -> bool:
    """Whether a body's face lies on a head."""
    return head_distance(body, head.middle.tolist()) < BodySearch.MAX_FACE_DISTANCE * head.height


_LIKELY = 0.6
"""Presence from which a body that only leads to hands is believed."""
_UPRIGHT = BodySearch.PLACEMENTS[0], (2.8, 3.4)
"""Placements that are tried for one: of people who stand and sit."""


def bodies_of_heads(rgb: Image, bodies: Bodies, heads: Sequence[Head]) -> Iterator[BodyObservation]:
    """The body of each face, seen once: those whose own face lies there."""
    found: list[BodyObservation] = []
    for head in heads:
        for placement in _UPRIGHT:
            seen = bodies.observe(rgb, box_below(head, *placement))
            if seen.score > _LIKELY and is_head_of(seen, head):
                if not any(is_same_torso(seen, other) for other in found):
                    found.append(seen)
                    yield seen
                break


def seen_inside(body: BodyObservation, rgb: Image) -> NDArray[np.float32]:
    """(33,) visibility of the keypoints that lie in an image, 0 for the others."""
    height, width = rgb.shape[:2]
    x, y = body.keypoints[:, 0], body.keypoints[:, 1]
    return body.visibility * ((x > 0) & (x < width) & (y > 0) & (y < height))


def torso_distance(a: BodyObservation, b: BodyObservation) -> float:
    """Mean distance of shoulders and hips, in sizes of the torso."""
    first, second = (o.keypoints[_SHOULDERS + _HIPS, :2] for o in (a, b))
    size = max(
        max(float(np.linalg.norm(t[:2].mean(axis=0) - t[2:].mean(axis=0))), math.dist(t[0], t[1]), 1.0)
        for t in (first, second)
    )
    return float(np.linalg.norm(first - second, axis=1).mean() / size)


_SAME_TORSO = 0.45
"""Distance of two torsos, in their sizes, under which they are one, or that of who stands behind is the front one's."""


def is_same_torso(a: BodyObservation, b: BodyObservation) -> bool:
    """Whether two bodies have one torso."""
    return torso_distance(a, b) < _SAME_TORSO


def _is_same_person(a: BodyObservation, b: BodyObservation) -> bool:
    heads = math.dist(a.keypoints[:_HEAD, :2].mean(axis=0), b.keypoints[:_HEAD, :2].mean(axis=0))
    shoulders = max(math.dist(*a.keypoints[_SHOULDERS, :2]), 1.0)
    return is_same_torso(a, b) or heads < _SAME_HEADS * shoulders
