"""Search people thoroughly: find bodies, hands and faces separately and assign them to each other by geometry."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from sonjit._util.arrays import Image
from sonjit.detectors.kinds.holistic import Holistic, PersonObservation, wrist_distance
from sonjit.detectors.search.geometry import PRESENT, Head, is_head_of, is_same_instance
from sonjit.detectors.search.stills import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sonjit.detectors.kinds.body import BodyObservation
    from sonjit.detectors.kinds.face import FaceObservation
    from sonjit.detectors.kinds.hands import HandObservation
    from sonjit.detectors.search.bodies import BodySearch
    from sonjit.detectors.search.hands import HandSearch

_A = TypeVar("_A")
_MAX_WRIST_DISTANCE = 1.0
"""Maximum distance from the wrist of a hand to the wrist of its body, in hand sizes."""
_OTHER_SIDE_COST = 0.5
"""Distance that is added if a hand is of the other side, in hand sizes."""


def find_people(
    rgb: Image,
    *,
    people: Holistic,
    new_body_search: Callable[[Image], BodySearch],
    new_hand_search: Callable[[Image], HandSearch],
    min_score: float,
    max_instances: int,
) -> Found[BodyObservation]:
    """Return people with the scores of their bodies, best first. The first `max_instances` have hands and faces.

    Args:
        rgb: Image (H, W, 3).
        people: Networks of the parts of a body, as in the published graph.
        new_body_search: Function that returns the search of an image for bodies.
        new_hand_search: Function that returns the search of an image for the hands that a body's own crops miss.
        min_score: Minimum score of a body, hand or face.
        max_instances: Maximum number of people with hands and faces.
    """
    body_search = new_body_search(rgb)
    every_body = body_search.search()
    found = [candidate for candidate in every_body.candidates if candidate.score > min_score]
    shown = [candidate.last for candidate in found[:max_instances]]
    crops = (people.hand_crop(rgb, body, side) for body in shown for side in (0, 1))
    around = new_hand_search(rgb).around(shown, [box for box in crops if box is not None])
    own_hands = hands_of_bodies(shown, [hand.result for hand in around.candidates if hand.score > min_score])
    faces: list[FaceObservation] = []
    for index, body in enumerate(shown):
        face = _face_of(rgb, people, body, body_search.heads)
        if face is not None and any(is_same_instance(face.keypoints, other.keypoints) for other in faces):
            face = None
        faces += [] if face is None else [face]
        body_fields = {item.name: getattr(body, item.name) for item in fields(body)}
        pair = own_hands.get((index, 0)), own_hands.get((index, 1))
        found[index].views[-1] = PersonObservation(**body_fields, hands=pair, face=face)
    return Found(found, every_body.complete and around.complete)


def _face_of(rgb: Image, people: Holistic, body: BodyObservation, heads: Sequence[Head]) -> FaceObservation | None:
    """Return the face in the head crop of a body, or at the head that the search found. Return None for no face."""
    face = people.face_in(rgb, body)
    own = next((head for head in heads if is_head_of(body, head)), None)
    if face is not None or own is None:
        return face
    first = people.faces.observe(rgb, own.crop)
    second = people.faces.observe(rgb, people.faces.box_after(first))
    return second if min(first.score, second.score) > PRESENT else None


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


def _nearest_first(pairs: Iterable[tuple[float, _A, int]]) -> list[tuple[_A, int]]:
    """Match two sets greedily by cost. Each item is in at most one pair."""
    chosen: dict[_A, int] = {}
    for _, first, second in sorted(pairs, key=lambda pair: pair[0]):
        if first not in chosen and second not in chosen.values():
            chosen[first] = second
    return list(chosen.items())
