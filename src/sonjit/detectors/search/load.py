"""Load the search of each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sonjit.detectors.kinds.body import Bodies, BodyObservation, load_bodies
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation
from sonjit.detectors.kinds.face_boxes import FaceBoxes
from sonjit.detectors.kinds.face_networks import load_face_detector, load_meshes
from sonjit.detectors.kinds.hands import HandObservation, Hands, load_palm_finder
from sonjit.detectors.kinds.holistic import Holistic
from sonjit.detectors.options import BodyOptions
from sonjit.detectors.search.agenda import Budget, Found, O
from sonjit.detectors.search.bodies import BodySearch
from sonjit.detectors.search.faces import BoxSearch, FaceSearch
from sonjit.detectors.search.hands import Guide, HandSearch
from sonjit.detectors.search.light import in_good_light
from sonjit.detectors.search.people import PeopleSearch
from sonjit.detectors.search.score import LIMITS

if TYPE_CHECKING:
    from sonjit.detectors.interfaces import StillSearch
    from sonjit.detectors.options import CommonOptions, HandOptions, HolisticOptions
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import SingleShotDetector

PALM_SHARE, FACE_SHARE = LIMITS["palm_share"], LIMITS["face_share"]


def search_hands(options: HandOptions, hands: Hands) -> StillSearch[HandObservation]:
    """Return the search for hands."""
    assert hands.palms is not None
    search = HandSearch(
        hands.palms.detector,
        hands,
        Guide(partial(_load_guide, options)),
        published=options.min_detection_score,
        least=PALM_SHARE * options.min_detection_score,
        budget=_budget(options, "hands"),
    )
    return as_still_search(search.search, options)


def as_still_search(search: Callable[[Image], Found[O]], options: CommonOptions) -> StillSearch[O]:
    """Return a search as `Detector` calls it.

    Args:
        search: Function that returns every candidate of an image (H, W, 3) with its score, best first.
        options: Options of the detector. Stills are brightened before the search, frames of streams are not.
    """

    def run(rgb: Image) -> tuple[list[O], bool]:
        found = search(in_good_light(rgb) if options.static_image else rgb)
        return [candidate.result for candidate in found.candidates], found.complete

    return run


def _budget(options: CommonOptions, name: str) -> Budget:
    return Budget.of(name, options.search, options.max_instances)


def _load_guide(options: HandOptions) -> tuple[SingleShotDetector, Bodies]:
    as_in_streams = options.as_kind(  # bf16 is precise enough for proposals
        BodyOptions,
        model="full",
        mirrored=options.mirrored,
        static_image=False,
        smoothing="published",
        detector_model=None,
        landmark_model=None,
    )
    return load_face_detector(options, "face-full"), load_bodies(as_in_streams, finds=False)


def search_faces(options: CommonOptions, meshes: FaceMeshes | FaceBoxes) -> StillSearch[FaceObservation] | None:
    """Return the search for faces, or None for boxes in streams, which use the published search in every frame."""
    if isinstance(meshes, FaceBoxes) and not options.static_image:
        return None
    detector, published, budget = (
        load_face_detector(options, "face-full"),
        options.min_detection_score,
        _budget(options, "face"),
    )
    if isinstance(meshes, FaceBoxes):
        return as_still_search(BoxSearch(meshes, detector, published=published, budget=budget).search, options)
    search = FaceSearch(detector, meshes, published=published, least=FACE_SHARE * published, budget=budget)
    return as_still_search(search.search, options)


def search_bodies(options: BodyOptions, bodies: Bodies) -> StillSearch[BodyObservation]:
    """Return the search for bodies."""
    published = replace(options, detector_model=None, landmark_model=None)
    return as_still_search(_body_search(options, bodies, load_meshes(published, "attention")).search, options)


def search_people(options: HolisticOptions, people: Holistic) -> StillSearch[BodyObservation]:
    """Return the search for people in stills, or for their bodies in streams."""
    if not options.static_image:
        return search_bodies(options, people.bodies)
    palms = load_palm_finder(options, "palm-full").detector
    hands = HandSearch(
        palms,
        people.hands,
        least=PALM_SHARE * options.min_detection_score,
        budget=_budget(options, "hands")._replace(enough=None),
    )
    search = PeopleSearch(
        people,
        _body_search(options, people.bodies, people.faces),
        hands,
        min_score=options.min_presence_score,
        max_instances=options.max_instances,
    )
    return as_still_search(search.search, options)


def _body_search(options: BodyOptions, bodies: Bodies, meshes: FaceMeshes) -> BodySearch:
    assert bodies.people is not None
    budget = _budget(options, "body_faces")._replace(enough=None)
    faces = FaceSearch(load_face_detector(options, "face-full"), meshes, budget=budget)
    published = options.min_detection_score
    return BodySearch(bodies.people.detector, bodies, faces, published=published, budget=_budget(options, "body"))
