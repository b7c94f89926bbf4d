"""Find the heads of everybody whom drawings have to hide, and with them the people.

A detector reports instances that are probably right. To hide people, a missed face is worse than a covered wall, so
that doubtful faces are verified by their meshes, and bodies count from a low score. Their number has no limit.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import Image, InputError
from sonjit.detectors import kinds
from sonjit.detectors.kinds import face_networks
from sonjit.detectors.kinds.body import Bodies, load_bodies
from sonjit.detectors.kinds.face import box_around_detection
from sonjit.detectors.options import BodyOptions, FaceOptions
from sonjit.detectors.search import light, load
from sonjit.detectors.search.bodies import BodySearch, clipped
from sonjit.detectors.search.geometry import Proposal
from sonjit.detectors.search.network import PeopleNetwork, PersonBox
from sonjit.detectors.search.stills import AUTO
from sonjit.detectors.ssd import Detection, SingleShotDetector
from sonjit.geometry.boxes import Box, letterbox_box
from sonjit.geometry.windows import windows
from sonjit.media.drawing.covers import add_unseen, distinct, head_around, head_of_keypoints, inside, is_same_head

_WEIGHTS: Final = (
    "face-short",
    "face-full",
    "face-mesh",
    "face-attention",
    "body-full",
    "body-lite",
    "person-detector",
)
_MODELS: Final = ("attention", "mesh")  # models of faces, of which each takes other covered heads for faces
_TURNS: Final = math.pi / 2, math.pi, -math.pi / 2

# Minimum scores. `benchmarks/hiding.py` measures what they find and miss.
_SURE_FACE: Final = 0.6  # a face without a mesh
_FACE: Final = 0.4  # a face with a mesh
_MESH: Final = 0.5  # the mesh of a face by one model
_EACH_MESH: Final = 0.2  # the mesh of a face by each model
_BODY: Final = 0.2
_PERSON: Final = 0.65
_LIKELY_PERSON: Final = 0.35  # a small person in a frame of a video, in whose box a body is searched
_TURNED_FACE: Final = 0.65  # a face with a mesh in a turned image
_CERTAIN_FACE: Final = 0.8
"""A face without a mesh in a turned or distant image, in a frame between searches, or at a hand."""
_GLANCED_FACE: Final = 0.6  # a face with a mesh in such a frame
_AGAIN: Final = 0.25  # a face with a mesh at a covered head of similar size
_IN_HAND, _FILLED = 0.5, 0.66
"""Minimum share of a head in the box of a hand, and maximum share of that box in the head, for which it is no head."""

_AGAIN_SIZE: Final = 0.4  # minimum size of a face at a covered head, relative to that head

# Numbers of windows along the longer side.
_PARTS: Final = (1, 2, 3, 4)  # stills
_FEWER_PARTS: Final = (1, 2, 3)  # frames of videos, and stills whose heads are covered
_CLOSE_UP: Final = 2.0  # size of an area around the image, in which a face that fills the image is as large as usual

# The head of a person, relative to the width and height of the person's box.
_HEAD_WIDTH: Final = 0.5  # maximum side of a head that is not seen, in widths
_HEAD_HEIGHT: Final = 0.35  # the same in heights
_ABOVE: Final = 0.1  # maximum distance of the centre above the upper edge, in heights
_UPPER: Final = 0.35  # maximum distance of the centre below the upper edge, in heights
_ASIDE: Final = 0.3  # maximum distance of the centre from the middle, in widths
_LEAST_HEAD: Final = 0.15  # minimum width of the head, in widths

_SMALL: Final = 0.3  # maximum height of a small person, relative to the longer side of the image

_EYES, _MOUTH = slice(2), 3  # keypoints of a detected face


class Bystanders(NamedTuple):
    """Boxes x_min, y_min, x_max, y_max in pixels of an image; they may leave it."""

    heads: list[Box]  # one per person
    people: list[Box]  # bodies and people
    hands: Sequence[Box] = ()
    doubtful: Sequence[Box] = ()  # heads of `heads` that may show no person, or another place of one


class _SeenFace(NamedTuple):
    """A face that the detector found."""

    score: float
    head: Box
    has_mesh: Callable[[], bool]


class BystanderSearch:
    """Search images for everybody whom a drawing hides.

    Raises:
        InputError: The weights of the searches are missing.
    """

    def __init__(self, models_dir: str | Path | None = None, threads: int | None = None) -> None:
        folder = None if models_dir is None else str(models_dir)
        settings = {"static_image": True, "models_dir": folder, "threads": threads}
        body, face = (kinds.make_options(kinds.KINDS.find(kind), settings) for kind in ("body", "face"))
        assert isinstance(body, BodyOptions)
        assert isinstance(face, FaceOptions)
        try:
            for name in _WEIGHTS:
                body.file(name)
        except InputError as error:
            raise InputError(f"{error} (hiding people needs it: sonjit models pull face body)") from error
        self._faces = face_networks.load_face_detector(face, "face-full")
        self._meshes = [face_networks.load_meshes(face, model) for model in _MODELS]
        loads = {model: partial(load_bodies, replace(body, model=model), finds=False) for model in ("full", "lite")}
        self._bodies = {model: cache(load_one) for model, load_one in loads.items()}
        self._network = cache(lambda: load.load_network(body))

    def find(
        self, rgb: Image, *, thorough: bool = True, known: Sequence[Box] = (), with_people: bool = False
    ) -> Bystanders:
        """Return everybody in an image (H, W, 3).

        Args:
            rgb: Image.
            thorough: Also search finer windows for small faces, and for turned ones, and verify bodies by the larger
                network.
            known: Heads that are followed, which may have drifted. They count as found above a person without a head.
            with_people: Return the bodies and people, too.
        """
        rgb, window_counts = light.in_good_light(rgb), _PARTS if thorough else _FEWER_PARTS
        faces = [face for count in window_counts for face in self._faces_in(rgb, count, _FACE, is_strict=not thorough)]
        faces += self._faces_in(rgb, 1, _FACE, _CERTAIN_FACE, is_strict=not thorough, size=_CLOSE_UP)
        for turn in _TURNS if thorough else ():
            faces += self._faces_in(rgb, 1, _TURNED_FACE, _CERTAIN_FACE, turn=turn)
        found_heads = _heads_of(faces)
        seen = () if with_people else found_heads.copy()
        least = 0 if thorough or with_people else _LIKELY_PERSON
        networks = self._bodies["full" if thorough else "lite"]()
        search = _UnseenBodies(rgb, self._network, self._faces, networks, seen, least)
        bodies = [body.last for body in search.search() if body.score > _BODY]
        hands = [hand.bounds for hand in search.hands]
        found_heads = [head for head in found_heads if not _is_hand(head, hands) or _is_confirmed(head, faces)]
        for body in bodies:
            add_unseen(found_heads, head_of_keypoints(body.keypoints))
        headless = [
            person.box for person in search.people if not any(_is_head_of(head, person.box) for head in found_heads)
        ]
        for head in known:
            if any(_is_head_of(head, person) for person in headless):
                add_unseen(found_heads, head)
        people = [person for person in search.people if person.score > _PERSON]
        for person in people:
            if not any(_has_head(person, box) for box in found_heads):
                add_unseen(found_heads, _head_of(person))
        people_boxes = [*(clipped(body, rgb) for body in bodies), *(person.box for person in people)]
        certain = [face.head for face in faces if face.score >= _CERTAIN_FACE]
        sure = [head for head in found_heads if any(is_same_head(head, other) for other in certain)]
        for own in (head_of_keypoints(body.keypoints) for body in bodies):
            sure += [head for head in found_heads if is_same_head(head, own)][:1]
        for person in search.people:
            if person.score > _LIKELY_PERSON and not any(_is_head_of(head, person.box) for head in sure):
                sure += [head for head in found_heads if _is_head_of(head, person.box)][:1]
        doubtful = [head for head in found_heads if head not in sure]
        return Bystanders(found_heads, people_boxes, hands, doubtful)

    def find_again(self, rgb: Image, covered: Sequence[Box], changed: Sequence[Box], hands: Sequence[Box]) -> list[Box]:
        """Return the heads that still show a face in an image (H, W, 3) of which heads are covered.

        Args:
            rgb: Image.
            covered: Covered heads. A lower limit applies to faces of similar size there.
            changed: What was covered after the search before. Windows without it show what they showed before.
            hands: Hands that `find` returned. They are no heads.
        """
        lit = light.in_good_light(rgb)
        faces = [
            face
            for parts in _FEWER_PARTS
            for face in self._faces_in(lit, parts, _FACE, covered=covered, changed=changed)
        ]
        return [head for head in _heads_of(faces) if not _is_hand(head, hands) or _is_confirmed(head, faces)]

    def glance(self, rgb: Image, parts: int, number: int | None = None) -> list[Box]:
        """Return the heads of the faces that the detector finds in windows of an image (H, W, 3).

        Args:
            rgb: Image.
            parts: Number of windows along the longer side of the image. 1 is the image.
            number: Search only one of the windows, which takes turns by this number.
        """
        faces = self._faces_in(rgb, parts, _GLANCED_FACE, _CERTAIN_FACE, is_strict=True, number=number)
        return [face.head for face in faces]

    def _faces_in(
        self,
        rgb: Image,
        parts: int,
        least: float,
        sure: float = _SURE_FACE,
        *,
        is_strict: bool = False,
        turn: float = 0.0,
        size: float = 1.0,
        number: int | None = None,
        covered: Sequence[Box] = (),
        changed: Sequence[Box] | None = None,
    ) -> list[_SeenFace]:
        """Return the faces in windows, of doubtful ones only those with a mesh.

        A lower limit applies to faces at covered heads of similar size. Windows without a changed box are left out.
        """
        searched = windows(rgb.shape[1], rgb.shape[0], parts)
        if changed is not None:
            searched = [window for window in searched if any(inside(box, window) > 0 for box in changed)]
        if number is not None and searched:
            searched = [searched[number % len(searched)]]
        faces: list[_SeenFace] = []
        for window in searched:
            part, corner = window.cut(rgb), np.tile((window.left, window.top), 2)
            area = letterbox_box(part.shape[1], part.shape[0], 1, 1)
            area = area._replace(width=area.width * size, height=area.height * size, rotation=turn)
            for face in self._faces.find_in(part, area, min(least, _AGAIN) if covered else least):
                down = face.keypoints[_MOUTH] - face.keypoints[_EYES].mean(axis=0)
                head = head_around((face.box + corner).tolist(), down)
                is_again = any(
                    is_same_head(head, other) and head[2] - head[0] > _AGAIN_SIZE * (other[2] - other[0])
                    for other in covered
                )
                is_doubtful = face.score >= (_AGAIN if is_again else least)
                has_mesh = partial(self._has_mesh, part, face, is_strict=is_strict)
                if face.score >= sure or (is_doubtful and has_mesh()):
                    faces.append(_SeenFace(face.score, head, has_mesh))
        return faces

    def _has_mesh(self, rgb: Image, face: Detection, *, is_strict: bool) -> bool:
        """Check whether a model, or with `is_strict` each, finds the mesh of a face in an image (H, W, 3)."""
        box = box_around_detection(face)
        scores = (meshes.observe(rgb, box).score for meshes in self._meshes)
        return all(score > _EACH_MESH for score in scores) if is_strict else any(score > _MESH for score in scores)


def _heads_of(faces: Iterable[_SeenFace]) -> list[Box]:
    """Return one head for each person, that of the best face."""
    return distinct(face.head for face in sorted(faces, key=attrgetter("score"), reverse=True))


def _is_hand(head: Box, hands: Iterable[Box]) -> bool:
    """Check whether a head lies in the box of a hand and does not fill it.

    The network of people and hands takes some heads in profile for hands of their size.
    """
    return any(inside(head, hand) > _IN_HAND and inside(hand, head) < _FILLED for hand in hands)


def _is_confirmed(head: Box, faces: Iterable[_SeenFace]) -> bool:
    """Check whether a face of a head is certain or has a mesh."""
    of_head = (face for face in faces if is_same_head(face.head, head))
    return any(face.score >= _CERTAIN_FACE or face.has_mesh() for face in of_head)


class _UnseenBodies(BodySearch):
    """Search of one image for the bodies of people whose heads are not known."""

    def __init__(
        self,
        rgb: Image,
        network: Callable[[], PeopleNetwork],
        faces: SingleShotDetector,
        bodies: Bodies,
        known: Sequence[Box],
        least: float,
    ) -> None:
        super().__init__(rgb, network, faces, bodies, AUTO, refuses_hands=True)
        self._known, self._least_score = known, least

    def is_known(self, proposal: Proposal) -> bool:
        """Check whether a proposal is small and doubtful, or shows a known head or what was verified before."""
        is_doubtful = proposal.score < self._least_score and self._is_small(proposal)
        return is_doubtful or super().is_known(proposal) or any(self._has(proposal, head) for head in self._known)

    def _is_small(self, proposal: Proposal) -> bool:
        """Check whether a proposal is a small person, of which crowds have many."""
        box = proposal.person
        return box is not None and box[3] - box[1] < _SMALL * max(self.rgb.shape[:2])

    def _has(self, proposal: Proposal, head: Box) -> bool:
        if proposal.head is None:
            return proposal.person is not None and _is_head_of(head, proposal.person)
        (x, y), (x_min, y_min, x_max, y_max) = proposal.head.middle.tolist(), head
        return x_min < x < x_max and y_min < y < y_max


def _head_of(person: PersonBox) -> Box:
    """Return a square at the top of a person's box, which has the head also where it shows only the upper body."""
    x_min, y_min, x_max, y_max = person.box
    side = min(_HEAD_WIDTH * (x_max - x_min), _HEAD_HEIGHT * (y_max - y_min))
    middle = (x_min + x_max) / 2
    return middle - side / 2, y_min, middle + side / 2, y_min + side


def _has_head(person: PersonBox, head: Box) -> bool:
    """Check whether a head is in the upper half of a person's box."""
    x_min, y_min, x_max, y_max = person.box
    x, y = (head[0] + head[2]) / 2, (head[1] + head[3]) / 2
    return x_min < x < x_max and y_min - 0.1 * (y_max - y_min) < y < (y_min + y_max) / 2


def _is_head_of(head: Box, person: Box) -> bool:
    """Check whether a head is where that of a person with a box is, and of its size."""
    (x_min, y_min, x_max, y_max), (left, top, right, bottom) = person, head
    wide, high = x_max - x_min, y_max - y_min
    is_above = -_ABOVE * high < (top + bottom) / 2 - y_min < _UPPER * high
    return is_above and abs(left + right - x_min - x_max) / 2 < _ASIDE * wide and right - left > _LEAST_HEAD * wide
