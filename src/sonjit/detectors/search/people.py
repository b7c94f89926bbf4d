"""Search people thoroughly: find bodies, hands and faces separately and assign them to each other by geometry."""

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

_CROP_SCORE = 0.5
"""Score of the proposals from a body's own crops of its hands."""
_MAX_WRIST_DISTANCE = 1.0
"""Maximum distance from the wrist of a hand to the wrist of its body, in hand sizes."""
_OTHER_SIDE_COST = 0.5
"""Distance that is added if a hand is of the other side, in hand sizes."""


def find_people(
    rgb: Image,
    people: Holistic,
    bodies: BodySearch,
    hands: HandSearch,
    *,
    min_score: float,
    max_instances: int,
) -> Found[BodyObservation]:
    """Return people with the scores of their bodies, best first. The first `max_instances` have hands and faces.

    Args:
        rgb: Image (H, W, 3).
        people: Networks of the parts of a body, as in the published graph.
        bodies: Search of the image for bodies.
        hands: Search of the image for the hands that a body's own crops miss.
        min_score: Minimum score of a body, hand or face.
        max_instances: Maximum number of people with hands and faces.
    """
    every_body = bodies.search()
    found = [candidate for candidate in every_body.candidates if candidate.score > min_score]
    faces = [candidate for candidate in bodies.faces if candidate.score > min_score]
    shown = [candidate.last for candidate in found[:max_instances]]
    crops = (people.hand_crop(rgb, body, side) for body in shown for side in (0, 1))
    proposals = [Proposal(box, _CROP_SCORE, {CROP}) for box in crops if box is not None]
    around = hands.around([head_from_mesh(face.score, face.last.keypoints) for face in faces], shown, proposals)
    own_hands = hands_of_bodies(shown, [hand.result for hand in around.candidates if hand.score > min_score])
    own_faces = _faces_in(rgb, people, shown, [face.result for face in faces])
    for number, body in enumerate(shown):
        body_fields = {item.name: getattr(body, item.name) for item in fields(body)}
        pair = own_hands.get((number, 0)), own_hands.get((number, 1))
        found[number].views[-1] = PersonObservation(**body_fields, hands=pair, face=own_faces.get(number))
    return Found(found, every_body.complete and around.complete, every_body.log)


def _faces_in(
    rgb: Image, people: Holistic, bodies: Sequence[BodyObservation], faces: Sequence[FaceObservation]
) -> dict[int, FaceObservation]:
    """Return the faces by body, from the head crops of the published graph or from the search.

    The search for bodies may end before it has found all faces. The head crops provide the others.
    """
    found = faces_of_bodies(bodies, faces)
    for number, body in enumerate(bodies):
        cropped = people.face_in(rgb, body, found[number].box if number in found else None)
        others = (face for other, face in found.items() if other != number)
        if cropped is not None and not any(is_same_instance(cropped.keypoints, face.keypoints) for face in others):
            found[number] = cropped
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
                if distance < _MAX_WRIST_DISTANCE:
                    other = 1 - hand.left if side == 0 else hand.left
                    pairs.append((distance + _OTHER_SIDE_COST * other, (number, side), which))
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
    for _, first, second in sorted(pairs, key=lambda pair: pair[0]):
        if first not in chosen and second not in chosen.values():
            chosen[first] = second
    return list(chosen.items())
