"""Which networks a thorough search of each kind runs, and what `Detector` asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from sonjit.detectors.kinds.body import Bodies, BodyObservation, load_bodies
from sonjit.detectors.kinds.face import FaceBoxes, FaceMeshes, FaceObservation, load_face_detector, load_meshes
from sonjit.detectors.kinds.hands import HandObservation, Hands, load_palm_finder
from sonjit.detectors.kinds.holistic import Holistic
from sonjit.detectors.search.bodies import BodySearch
from sonjit.detectors.search.faces import BoxSearch, FaceSearch, HeadSearch
from sonjit.detectors.search.finds import FACE_SHARE, PALM_SHARE, Find, O
from sonjit.detectors.search.hands import Guide, HandSearch
from sonjit.detectors.search.light import in_good_light
from sonjit.detectors.search.people import PeopleSearch

if TYPE_CHECKING:
    from sonjit.detectors.options import DetectorOptions
    from sonjit.detectors.search.finds import Image


class CalibratedSearch(Generic[O]):
    """A search as `Detector` calls it; see `sonjit.detectors.interfaces.Thorough`.

    Args:
        search: every candidate of an image (H, W, 3) with its score, best first.
        options: a still is searched in good light; what a stream tracks is seen as it is.
    """

    def __init__(self, search: Callable[[Image], list[Find[O]]], options: DetectorOptions) -> None:
        self._search, self._is_still = search, options.static_image

    def search(self, rgb: Image) -> list[O]:
        """What is in an image (H, W, 3), best first; the score of each is the search's."""
        return [find.result for find in self._search(in_good_light(rgb) if self._is_still else rgb)]


def search_hands(options: DetectorOptions, hands: Hands) -> CalibratedSearch[HandObservation]:
    """Hands in windows, and in stills at the ends of the arms of bodies that faces suggest."""
    assert hands.palms is not None
    search = HandSearch(
        hands.palms.detector,
        hands,
        Guide(partial(_load_guide, options)),
        published=options.min_detection_score,
        min_detection=PALM_SHARE * options.min_detection_score,
        enough=options.max_instances,
    )
    return CalibratedSearch(search.search, options)


def _load_guide(options: DetectorOptions) -> tuple[HeadSearch, Bodies]:
    as_in_clips = _of_bodies(options, static_image=False, smoothing="published")  # in bf16: exact enough for a lead
    bodies = load_bodies(as_in_clips, finds=False)
    return HeadSearch(load_face_detector(options, "face-full")), bodies


def search_faces(options: DetectorOptions, meshes: FaceMeshes | FaceBoxes) -> CalibratedSearch[FaceObservation] | None:
    """Faces in windows, by the full-range detector; None for boxes in streams, where every frame is searched whole."""
    if isinstance(meshes, FaceBoxes):
        if not options.static_image:
            return None
        detector = load_face_detector(options, "face-full")
        boxes = BoxSearch(meshes, detector, published=options.min_detection_score, enough=options.max_instances)
        return CalibratedSearch(boxes.search, options)
    search = FaceSearch(
        load_face_detector(options, "face-full"),
        meshes,
        published=options.min_detection_score,
        min_detection=FACE_SHARE * options.min_detection_score,
        enough=options.max_instances,
    )
    return CalibratedSearch(search.search, options)


def search_bodies(options: DetectorOptions, bodies: Bodies) -> CalibratedSearch[BodyObservation]:
    """Bodies that faces suggest, and those of the person detector."""
    search = _body_search(options, bodies)
    published = replace(options, detector_model=None, landmark_model=None)
    faces = FaceSearch(load_face_detector(options, "face-full"), load_meshes(published, "attention"))

    def all_bodies(rgb: Image) -> list[Find[BodyObservation]]:
        return search.search(rgb, [face for face in faces.search(rgb) if face.score > FaceSearch.SURE])

    return CalibratedSearch(all_bodies, options)


def search_people(options: DetectorOptions, people: Holistic) -> CalibratedSearch[BodyObservation]:
    """Whole people in stills; their bodies in streams."""
    if not options.static_image:
        return search_bodies(options, people.bodies)
    bodies = _body_search(options, people.bodies)
    faces = FaceSearch(load_face_detector(options, "face-full"), people.faces)
    palms = load_palm_finder(options, "palm-full").detector
    hands = HandSearch(palms, people.hands, min_detection=PALM_SHARE * options.min_detection_score)
    search = PeopleSearch(
        people, faces, bodies, hands, min_score=options.min_presence_score, max_instances=options.max_instances
    )
    return CalibratedSearch(search.search, options)


def _body_search(options: DetectorOptions, bodies: Bodies) -> BodySearch:
    assert bodies.people is not None
    score, enough = options.min_detection_score, options.max_instances
    return BodySearch(bodies.people.detector, bodies, min_detection=score, enough=enough)


def _of_bodies(options: DetectorOptions, **given: Any) -> DetectorOptions:  # noqa: ANN401  # of any option
    """Options of the published bodies that lead to something else."""
    own = {"detector_model": None, "landmark_model": None, "segmentation": False}
    return replace(options, kind="body", model="full", **own, **given)
