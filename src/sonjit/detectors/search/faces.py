"""Search an image for faces: proposals of the full-range detector, verified by one or two runs of the mesh network."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np

from sonjit._util import Image, RealArray
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation, box_around_detection
from sonjit.detectors.kinds.face_boxes import FaceBoxes, box_observation
from sonjit.detectors.search import geometry
from sonjit.detectors.search.network import PeopleNetwork, PersonBox
from sonjit.detectors.search.score import LIMITS, logit, probability
from sonjit.detectors.search.stills import AUTO, Candidate, Extent, StillSearch
from sonjit.detectors.ssd import SingleShotDetector
from sonjit.geometry.boxes import box_around, iou, latest_boxes, letterbox_box, size_of
from sonjit.geometry.windows import Window, is_long, reach, windows

_SAME_FACE = 0.4  # minimum overlap of the box of a proposal and that of a known face that it shows
_MOST_PARTS = 3  # maximum number of windows along the longer side of an image
_BOX_SCORE = 0.6  # published threshold of the full-range detector
_TURNS = 0.0, math.pi  # rotations in which the detector searches for faces: upright and upside down
_BROW_AND_CHIN, _CHEEKS = (10, 152), (234, 454)  # keypoints at the ends of the mesh, to measure its height and width
_NOSE, _EYE_CORNERS, _MIN_SHARE = 4, (33, 263), 0.05
"""Tip of the nose, outer corners of the eyes, and a term that keeps the logarithm of `turned` finite."""
_ABOVE, _UPPER, _UNSEEN = 0.3, 0.45, 0.02
"""Part of a person's box in which the face lies: its start above the box in face heights, and its end in heights of the
box. Score of a person that the network does not find."""


class FaceSearch(StillSearch[FaceObservation]):
    """Search of one image for faces.

    The people of `network` are a feature of the scores. The network runs only if a face has a probability below
    `sure_score` without a person. Windows propose no face whose crop is smaller than `smallest_px`. To hide faces, a
    face without a person counts as much as one with a person.
    """

    def __init__(
        self,
        rgb: Image,
        detector: SingleShotDetector,
        meshes: FaceMeshes,
        extent: Extent = AUTO,
        *,
        network: Callable[[], PeopleNetwork],
        hides: bool = False,
        sure_score: float = math.inf,
        smallest_px: float = 0.0,
    ) -> None:
        super().__init__(rgb, extent)
        self._detector, self._meshes, self._network, self._hides = detector, meshes, network, hides
        self._sure_score, self._smallest_px = sure_score, smallest_px

    @cached_property
    def people(self) -> list[PersonBox]:
        """People that the network finds in the complete image."""
        return find_people(self.rgb, self._network())

    def propose(self) -> Iterator[list[geometry.Proposal]]:
        """Yield the faces of the published search, and those in finer windows while there are none or small ones."""
        published = self._meshes.find(self.rgb, self.min_detection)
        latest = latest_boxes(published, self._meshes.is_same_instance)
        least = LIMITS["face_share"] * self.min_detection
        yield [geometry.Proposal(box, least, "published") for box in latest]
        for count, level in finer_windows(self.rgb, self._sizes, thorough=self.thorough):
            self.complete = count == _MOST_PARTS
            for window in level:
                part = window.cut(self.rgb)
                area = letterbox_box(part.shape[1], part.shape[0], 1, 1)
                turned = (area._replace(rotation=turn) for turn in self._turns(count))
                faces = [face for turned_area in turned for face in self._detector.find_in(part, turned_area, least)]
                proposals = geometry.proposals_in(window, faces, box_around_detection, "window")
                proposals = [proposal for proposal in proposals if proposal.box.width >= self._smallest_px]
                yield geometry.merge_proposals(proposals, 4 * max(self.rgb.shape))

    def _sizes(self) -> list[float]:
        """Return the sizes of the faces found so far, in pixels."""
        return [size_of(candidate.last.keypoints[:, :2]) for candidate in self.candidates]

    def _turns(self, count: int) -> Iterable[float]:
        """Return the rotations in which windows are searched: all in the coarsest windows, then those of the faces."""
        if count == 1:
            return _TURNS
        rotations = [
            abs(self._meshes.box_after(candidate.last).rotation)
            for candidate in self.candidates
            if self.score(candidate) > 0.5
        ]
        return {turn for turn in _TURNS for rotation in rotations if abs(rotation - turn) < math.pi / 2} or _TURNS[:1]

    def shows(self, proposal: geometry.Proposal, instance: FaceObservation) -> bool:
        """Check whether a proposal shows a face."""
        return iou(proposal.box, self._meshes.box_after(instance)) > _SAME_FACE

    def verify(self, proposal: geometry.Proposal) -> Candidate[FaceObservation] | None:
        """Run the mesh network on a proposal, and in doubt again on the box that it found."""
        first = self._meshes.observe(self.rgb, proposal.box)
        if first.score < LIMITS["seen"]:
            return None
        published = proposal.published and first.score > geometry.PRESENT
        if first.score > LIMITS["sure"] and (published or proposal.score >= self.min_detection):
            return Candidate([first], proposal, published=published)
        second = self._meshes.observe(self.rgb, self._meshes.box_after(first))
        views = [second, first] if proposal.published else [first, second]
        return Candidate(views, proposal, geometry.oks(first.keypoints, second.keypoints), published)

    def score(self, candidate: Candidate[FaceObservation]) -> float:
        """Return the probability that a candidate is a face, or a lower one that is sure without a person."""
        score = self._score_with(candidate, ())
        return score if score >= self._sure_score else self._score_with(candidate, self.people)

    def _score_with(self, candidate: Candidate[FaceObservation], people: Iterable[PersonBox]) -> float:
        candidate.features = face_features(candidate, people)
        names = ("face", "hidden_face") if self._hides else ("face",)
        return max(probability(name, candidate.features) for name in names)


def find_people(rgb: Image, network: PeopleNetwork) -> list[PersonBox]:
    """Return the people in a complete image (H, W, 3), also very doubtful ones."""
    image = windows(rgb.shape[1], rgb.shape[0], 1, fewer=True)
    return [person for window in image for person in network.find(rgb, window, _UNSEEN)[0]]


def face_features(candidate: Candidate[FaceObservation], people: Iterable[PersonBox]) -> dict[str, float]:
    """Return the features of the score of a face."""
    shown = (person.score for person in people if shows_face(person, candidate.last))
    return {
        "detection": logit(candidate.proposal.score),
        "presence": logit(candidate.presence),
        "agreement": logit(candidate.agreement),
        **mesh_proportions(candidate.last),
        "person": logit(max(shown, default=_UNSEEN)),
    }


def shows_face(person: PersonBox, face: FaceObservation) -> bool:
    """Check whether a face lies where the face of a person is: in the upper part of the box or just above it."""
    x, y = face.keypoints[:, :2].mean(axis=0).tolist()
    x_min, y_min, x_max, y_max = person.box
    highest = y_min - _ABOVE * _length(*face.keypoints[list(_BROW_AND_CHIN), :2])
    return x_min < x < x_max and highest < y < y_min + _UPPER * (y_max - y_min)


def mesh_proportions(face: FaceObservation) -> dict[str, float]:
    """Return log ratios of a mesh: height to width, depth to height, and eye distance in the image to that in space."""
    points = face.keypoints
    height, width, eyes = (_length(points[a], points[b]) for a, b in (_BROW_AND_CHIN, _CHEEKS, _EYE_CORNERS))
    depth = _length(points[_NOSE], points[list(_CHEEKS)].mean(axis=0))
    right, left = points[list(_EYE_CORNERS), :2].tolist()
    return {
        "long": math.log(height / width),
        "depth": math.log(depth / height),
        "turned": math.log(math.dist(right, left) / eyes + _MIN_SHARE),
    }


def _length(a: RealArray, b: RealArray) -> float:
    """Return the distance of two keypoints in space, at least a pixel."""
    return max(math.dist(a.tolist(), b.tolist()), 1.0)


def search_boxes(
    rgb: Image, detector: SingleShotDetector, boxes: FaceBoxes, extent: Extent
) -> tuple[list[FaceObservation], bool]:
    """Return the boxes of faces in an image (H, W, 3), as published and by the full-range detector in windows.

    The second value is True if all windows were searched.
    """
    min_detection, thorough = extent
    faces = boxes.search(rgb, min_detection)
    complete = False

    def sizes() -> list[float]:
        return [float(np.ptp(face.keypoints[:2, 1])) for face in faces]

    for count, level in finer_windows(rgb, sizes, thorough=thorough):
        complete = count == _MOST_PARTS
        for window in level:
            for face in detector.find(window.cut(rgb), max(min_detection, _BOX_SCORE)):
                box = box_observation(face, (window.left, window.top))
                is_known = any(geometry.is_same_instance(box.keypoints, other.keypoints) for other in faces)
                if not window.cuts(box_around(box.keypoints[:2]), rgb) and not is_known:
                    faces.append(box)
    return sorted(faces, key=lambda face: -face.score), complete


def finer_windows(
    rgb: Image, sizes: Callable[[], Sequence[float]], *, thorough: bool
) -> Iterator[tuple[int, list[Window]]]:
    """Yield the windows of an image (H, W, 3), level by level, with their number along the longer side.

    `sizes` are those of the faces found so far, in pixels. If they are large, finer levels are left out.
    """
    height, width = rgb.shape[:2]
    for count in range(1, _MOST_PARTS + 1):
        smallest = min(sizes(), default=0.0 if count == 2 else math.inf) / reach(width, height)
        if count > 1 and not (thorough or is_long(rgb)) and smallest > LIMITS[f"face_part{count}"]:
            return
        yield count, windows(width, height, count)
