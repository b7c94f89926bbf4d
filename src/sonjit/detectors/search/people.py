"""Find people in stills: bodies, hands and faces, assigned to each other by geometry."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

from sonjit._util import Image
from sonjit.detectors.kinds.hands import load_palm_detector
from sonjit.detectors.kinds.holistic import Holistic, PersonObservation, hands_of_bodies
from sonjit.detectors.search import geometry
from sonjit.detectors.search.hands import HandSearch
from sonjit.detectors.search.load import in_good_light, new_body_search, search_bodies
from sonjit.detectors.search.stills import Extent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sonjit.detectors.interfaces import StillSearch
    from sonjit.detectors.kinds.body import BodyObservation
    from sonjit.detectors.kinds.face import FaceObservation
    from sonjit.detectors.options import HolisticOptions


def search_people(options: HolisticOptions, people: Holistic) -> StillSearch[BodyObservation]:
    """Return the search for people in stills, or for their bodies in streams."""
    if not options.static_image:
        return search_bodies(options, people.bodies)
    new_hand_search = partial(
        HandSearch,
        palms=load_palm_detector(options, "palm-full"),
        hands=people.hands,
        extent=Extent(options.min_detection_score),
    )
    new_search, min_score = new_body_search(options, people.bodies), options.min_presence_score

    def find(rgb: Image) -> tuple[list[BodyObservation], bool]:
        """Return people with the scores of their bodies, best first. The first of them have hands and faces."""
        search = new_search(rgb)
        bodies = [body.result for body in search.search() if body.score > min_score]
        shown = bodies[: options.max_instances]
        crops = (people.hand_crop(rgb, body, side) for body in shown for side in (0, 1))
        around = new_hand_search(rgb).around(shown, [box for box in crops if box is not None])
        own_hands = hands_of_bodies(shown, [hand.result for hand in around if hand.score > min_score])
        faces: list[FaceObservation] = []
        for index, body in enumerate(shown):
            face = _face_of(rgb, people, body, search.heads)
            if face is not None and any(geometry.is_same_instance(face.keypoints, other.keypoints) for other in faces):
                face = None
            faces += [] if face is None else [face]
            body_fields = {item.name: getattr(body, item.name) for item in fields(body)}
            pair = own_hands.get((index, 0)), own_hands.get((index, 1))
            bodies[index] = PersonObservation(**body_fields, hands=pair, face=face)
        return bodies, search.complete

    return in_good_light(find, options)


def _face_of(
    rgb: Image, people: Holistic, body: BodyObservation, heads: Sequence[geometry.Head]
) -> FaceObservation | None:
    """Return the face in the head crop of a body, or at the head that the search found. Return None for no face."""
    face = people.face_in(rgb, body)
    body_head = next((head for head in heads if geometry.is_head_of(body, head)), None)
    if face is not None or body_head is None:
        return face
    first = people.faces.observe(rgb, body_head.crop)
    second = people.faces.observe(rgb, people.faces.box_after(first))
    return second if min(first.score, second.score) > geometry.PRESENT else None
