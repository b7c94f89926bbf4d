"""Which networks a thorough search of each kind runs, and what `Detector` asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Generic

from sonjit.detectors.kinds.body import Bodies, BodyObservation, load_bodies
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation, load_face_detector, load_mesh_network
from sonjit.detectors.kinds.hands import HandObservation, Hands
from sonjit.detectors.kinds.holistic import Holistic, load_recrop
from sonjit.detectors.search.bodies import BodyCheck, BodySearch
from sonjit.detectors.search.faces import FaceSearch
from sonjit.detectors.search.finds import Find, O, tiles
from sonjit.detectors.search.hands import HandSearch

if TYPE_CHECKING:
    from sonjit.detectors.options import DetectorOptions
    from sonjit.detectors.search.finds import Image, Window

_PALM_SHARE, _FACE_SHARE = 0.4, 0.6
"""Thresholds of palms and faces in parts of the caller's: a second inference rejects the false ones."""


class WindowedSearch(Generic[O]):
    """A search as `Detector` calls it; see `sonjit.detectors.pipeline.Thorough`.

    Args:
        search: every candidate of an image (H, W, 3) with its score, best first.
        in_window: the same of one window alone, for streams.
    """

    def __init__(
        self,
        search: Callable[[Image], list[Find[O]]],
        in_window: Callable[[Image, Window], list[Find[O]]],
    ) -> None:
        self._search, self._in_window = search, in_window

    def search(self, rgb: Image) -> list[O]:
        """What is in an image (H, W, 3), best first; the score of each is the search's."""
        return [find.result for find in self._search(rgb)]

    def search_window(self, rgb: Image, number: int) -> list[O]:
        """What is in the window of that number, counted round the windows that are parts of the image."""
        height, width = rgb.shape[:2]
        windows = tiles(width, height)[1:]
        if not windows:
            return []
        return [find.result for find in self._in_window(rgb, windows[number % len(windows)])]


def search_hands(options: DetectorOptions, hands: Hands) -> WindowedSearch[HandObservation]:
    """Hands in windows, and in stills at the ends of the arms of bodies that faces suggest."""
    assert hands.palms is not None
    share = _PALM_SHARE * options.min_detection_score
    if not options.is_thorough:
        alone = HandSearch(hands.palms.detector, hands, None, min_detection=share)
        return WindowedSearch(lambda rgb: alone.search(rgb, [], []), alone.search_window)
    faces = FaceSearch(load_face_detector(options, "face-full"), load_mesh_network(options, "attention"))
    bodies = _load_bodies(options)
    people = BodySearch(bodies.people.detector, bodies, parts=(1,), plain=0.9)
    search = HandSearch(hands.palms.detector, hands, load_recrop(options, "hand-recrop"), min_detection=share)

    def all_hands(rgb: Image) -> list[Find[HandObservation]]:
        found = [face for face in faces.search(rgb) if face.score > FaceSearch.SURE]
        return search.search(rgb, found, people.search(rgb, found))

    return WindowedSearch(all_hands, search.search_window)


def search_faces(options: DetectorOptions, meshes: FaceMeshes) -> WindowedSearch[FaceObservation]:
    """Faces in windows, by the full-range detector."""
    detector = load_face_detector(options, "face-full")
    search = FaceSearch(detector, meshes, min_detection=_FACE_SHARE * options.min_detection_score)
    return WindowedSearch(search.search, search.search_window)


def search_bodies(options: DetectorOptions, bodies: Bodies) -> WindowedSearch[BodyObservation]:
    """Bodies that faces suggest, and those of the person detector in windows."""
    search = BodySearch(bodies.people.detector, bodies, min_detection=options.min_detection_score)
    if not options.is_thorough:
        return WindowedSearch(lambda rgb: search.search(rgb, []), search.search_window)
    faces = FaceSearch(load_face_detector(options, "face-full"), load_mesh_network(options, "attention"))

    def all_bodies(rgb: Image) -> list[Find[BodyObservation]]:
        return search.search(rgb, [face for face in faces.search(rgb) if face.score > FaceSearch.SURE])

    return WindowedSearch(all_bodies, search.search_window)


def search_people(options: DetectorOptions, people: Holistic) -> WindowedSearch[BodyObservation]:
    """The bodies of whole people."""
    return search_bodies(options, people.bodies)


def check_bodies(options: DetectorOptions, bodies: Bodies) -> BodyCheck:
    """What separates a body from a hand that is taken for one."""
    return BodyCheck(load_face_detector(options, "face-full"), bodies)


def check_people(options: DetectorOptions, people: Holistic) -> BodyCheck:
    """The same for whole people."""
    return check_bodies(options, people.bodies)


def _load_bodies(options: DetectorOptions) -> Bodies:
    own = {"detector_model": None, "landmark_model": None, "smoothing": None, "segmentation": False}
    return load_bodies(replace(options, kind="body", model="full", static_image=True, **own))
