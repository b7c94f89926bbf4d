"""Whole people by a thorough search: bodies, hands and faces are found on their own, and put together by geometry."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from sonjit.detectors.kinds.holistic import PersonObservation, wrist_distance
from sonjit.detectors.search.agenda import Found
from sonjit.detectors.search.geometry import Proposal, head_distance, head_from_mesh, is_same_instance
from sonjit.detectors.search.hands import CROP
from sonjit.detectors.search.score import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sonjit.detectors.kinds.body import BodyObservation
    from sonjit.detectors.kinds.face import FaceObservation
    from sonjit.detectors.kinds.hands import HandObservation
    from sonjit.detectors.kinds.holistic import Holistic
    from sonjit.detectors.search.bodies import BodySearch
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.search.hands import HandSearch

_A = TypeVar("_A")

_OFFERED = 0.5
"""Score of a body's own crops of its hands as places to look at."""


_ASTRAY = 1.0
"""How far, in sizes of the hand, a hand's wrist may be from the wrist of its body."""
_OTHER_SIDE = 0.5
"""How much farther a hand counts that is surely of the other side, in the same."""


class PeopleSearch:
    """People of an image with their hands and faces.

    Args:
        people: sees the parts of a body, as the published graph does.
        bodies: finds bodies.
        hands: finds the hands that a body's own crops miss.
        min_score: Minimum score of a body or hand.
        max_instances: how many people there may be.
    """

    def __init__(
        self,
        people: Holistic,
        bodies: BodySearch,
        hands: HandSearch,
        *,
        min_score: float,
        max_instances: int,
    ) -> None:
        self._people, self._bodies, self._hands = people, bodies, hands
        self._min_score, self._max_instances = min_score, max_instances

    def search(self, rgb: Image) -> Found[BodyObservation]:
        """Return people with the scores of their bodies, best first."""
        bodies, every_face = self._bodies.search_with_faces(rgb)
        faces = [find for find in every_face if find.score > self._min_score]
        found = [find for find in bodies.finds if find.score > self._min_score][: self._max_instances]
        seen, heads = [find.last for find in found], [head_from_mesh(face.score, face.last.keypoints) for face in faces]
        crops = (self._people.hand_crop(rgb, body, side) for body in seen for side in (0, 1))
        places = [Proposal(box, _OFFERED, {CROP}) for box in crops if box is not None]
        around = self._hands.around(rgb, heads, seen, places)
        hands = [find.result for find in around.finds if find.score > self._min_score]
        own_hands = hands_of_bodies(seen, hands)
        own_faces = self._faces_of(rgb, seen, [face.result for face in faces])
        for number, find in enumerate(found):
            whole = {item.name: getattr(find.last, item.name) for item in fields(find.last)}
            pair = own_hands.get((number, 0)), own_hands.get((number, 1))
            find.views[-1] = PersonObservation(**whole, hands=pair, face=own_faces.get(number))
        return Found(found, bodies.complete and around.complete, bodies.log)

    def _faces_of(
        self, rgb: Image, bodies: Sequence[BodyObservation], faces: Sequence[FaceObservation]
    ) -> dict[int, FaceObservation]:
        """Return the faces by body: as the published graph sees them in the head crops, else as they were found.

        The search for bodies may end before it has found all faces, so that the head crop decides for the others.
        """
        found = faces_of_bodies(bodies, faces)
        for number, body in enumerate(bodies):
            near = found[number].box if number in found else None
            seen = self._people.face_in(rgb, body, near)
            others = (face for other, face in found.items() if other != number)
            if seen is not None and not any(is_same_instance(seen.keypoints, face.keypoints) for face in others):
                found[number] = seen
        return found


def hands_of_bodies(
    bodies: Sequence[BodyObservation], hands: Sequence[HandObservation]
) -> dict[tuple[int, int], HandObservation]:
    """Assign hands to arms, by body and side (0 left, 1 right). Each arm has at most one hand."""
    pairs: list[tuple[float, tuple[int, int], int]] = []
    for number, body in enumerate(bodies):
        for side in (0, 1):
            for which, hand in enumerate(hands):
                distance = wrist_distance(body, side, hand)
                if distance < _ASTRAY:
                    other = 1 - hand.left if side == 0 else hand.left
                    pairs.append((distance + _OTHER_SIDE * other, (number, side), which))
    return {arm: hands[which] for arm, which in _nearest_first(pairs)}


def faces_of_bodies(bodies: Sequence[BodyObservation], faces: Sequence[FaceObservation]) -> dict[int, FaceObservation]:
    """Assign faces to bodies. Each face belongs to at most one body."""
    pairs: list[tuple[float, int, int]] = []
    for number, body in enumerate(bodies):
        for which, face in enumerate(faces):
            x_min, y_min, x_max, y_max = face.box
            distance = head_distance(body, ((x_min + x_max) / 2, (y_min + y_max) / 2)) / max(y_max - y_min, 1.0)
            if distance < LIMITS["own_face"]:
                pairs.append((distance, number, which))
    return {body: faces[which] for body, which in _nearest_first(pairs)}


def _nearest_first(pairs: Iterable[tuple[float, _A, int]]) -> list[tuple[_A, int]]:
    """Match two sets greedily by cost. Each item is in at most one pair."""
    chosen: dict[_A, int] = {}
    for _, one, other in sorted(pairs, key=lambda pair: pair[0]):
        if one not in chosen and other not in chosen.values():
            chosen[one] = other
    return list(chosen.items())
