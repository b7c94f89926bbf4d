"""Search an image for faces: proposals of the full-range detector, verified by one or two runs of the mesh network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.kinds.face import FaceObservation, box_around_face
from sonjit.detectors.kinds.face_boxes import box_observation
from sonjit.detectors.search.agenda import COMPLETE, Agenda, Budget, Candidate, Found, are_enough, without_duplicates
from sonjit.detectors.search.geometry import (
    PRESENT,
    PUBLISHED,
    Head,
    Hint,
    Proposal,
    Window,
    head_from_detection,
    hint_score,
    hints_in,
    is_same_instance,
    merged,
    oks,
    windows,
)
from sonjit.detectors.search.score import LIMITS, Score, logit
from sonjit.geometry.boxes import iou, latest_boxes, size_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.kinds.face import FaceMeshes
    from sonjit.detectors.kinds.face_boxes import FaceBoxes
    from sonjit.detectors.search.geometry import Image
    from sonjit.detectors.ssd import Detection, SingleShotDetector

_SAME_FACE = 0.4
"""Minimum overlap of the box of a proposal and that of a known face that it shows."""
_BOX_SCORE = 0.6
"""Published threshold of the full-range detector."""
_MOST_PARTS = 3
"""Maximum number of windows along the longer side of an image."""
_BROW_AND_CHIN, _CHEEKS = (10, 152), (234, 454)
"""Keypoints at the ends of the mesh, to measure its height and width."""
_NOSE, _EYE_CORNERS, _MIN_SHARE = 4, (33, 263), 0.05
"""Tip of the nose, outer corners of the eyes, and a term that keeps the logarithm of `turned` finite."""


def found_so_far(sizes: Sequence[float], rgb: Image) -> dict[str, float]:
    """Return features of the sizes of the instances found so far, in pixels."""
    smallest = min(sizes, default=0.0) / max(rgb.shape)
    return {"found": float(bool(sizes)), "size": smallest, "several": float(len(sizes) > 1)}


def detected_heads(detector: SingleShotDetector, rgb: Image, window: Window, min_score: float) -> list[Head]:
    """Return the heads of the faces detected in a window."""
    return [head_from_detection(face, window) for face in detector.find(window.cut(rgb), min_score)]


class FaceSearch:
    """Search images for faces.

    Args:
        detector: Full-range face detector.
        meshes: Face mesh network with the published search.
        published: Minimum score of the published search.
        least: Minimum score of a detection in a window.
        budget: Limit of the search.
    """

    def __init__(
        self,
        detector: SingleShotDetector,
        meshes: FaceMeshes,
        *,
        published: float = 0.5,
        least: float = 0.3,
        budget: Budget = COMPLETE,
    ) -> None:
        self._detector, self._meshes = detector, meshes
        self._published, self._least, self._budget = published, least, budget
        self._score = Score.named("face")

    def search(self, rgb: Image) -> Found[FaceObservation]:
        """Return all candidates with their scores, best first."""
        agenda, candidates = Agenda("face", self._budget), list[Candidate[FaceObservation]]()

        def verify(proposals: Sequence[Proposal]) -> None:
            for proposal in merged(proposals, 4 * max(rgb.shape)):
                self._verify(rgb, proposal, candidates, agenda)

        def accept(window: Window, faces: Sequence[Detection]) -> None:
            boxes = (box_around_face(face.box.tolist(), *face.keypoints[:2].tolist()) for face in faces)
            verify([Proposal(window.placed(b), face.score, {window}) for b, face in zip(boxes, faces, strict=True)])

        def sizes() -> list[float]:
            return [size_of(candidate.last.keypoints[:, :2]) for candidate in candidates if candidate.score > 0.5]

        boxes = latest_boxes(self._meshes.find(rgb, self._published), self._meshes.is_same_instance)
        verify([Proposal(box, self._least, {PUBLISHED}) for box in boxes])
        _add_windows(agenda, rgb, self._detector, self._least, sizes, accept)
        agenda.run(lambda: are_enough([one for one in candidates if one.score > LIMITS["confident"]], self._budget))
        return Found(without_duplicates(candidates), agenda.complete, agenda.log)

    def _verify(
        self, rgb: Image, proposal: Proposal, candidates: list[Candidate[FaceObservation]], agenda: Agenda
    ) -> None:
        """Run the mesh network on a proposal without a certain face, and in doubt again on the box it found."""
        known = next((f for f in candidates if iou(proposal.box, self._meshes.box_after(f.last)) > _SAME_FACE), None)
        if known is not None and known.certain:
            known.detection = max(known.detection, proposal.score)
        else:
            first = self._meshes.observe(rgb, proposal.box)
            if first.score < LIMITS["seen"]:
                return
            as_published = PUBLISHED in proposal.votes
            views, agreement = [first], 1.0
            if first.score <= LIMITS["sure"] or not (as_published or proposal.score >= self._published):
                second = self._meshes.observe(rgb, self._meshes.box_after(first))
                views = [second, first] if as_published else [first, second]
                agreement = oks(first.keypoints, second.keypoints)
            published = as_published and first.score > PRESENT
            known = Candidate(views, proposal.score, set(proposal.votes), agenda.current, agreement, published)
            candidates.append(known)
        known.features = {
            "detection": logit(known.detection),
            "presence": logit(known.presence),
            "agreement": logit(known.agreement),
            **mesh_proportions(known.last),
        }
        known.rate(self._score)


def _add_windows(
    agenda: Agenda,
    rgb: Image,
    detector: SingleShotDetector,
    least: float,
    sizes: Callable[[], Sequence[float]],
    accept: Callable[[Window, Sequence[Detection]], None],
) -> None:
    """Add the windows of an image level by level. A level is added after the coarser one has run.

    Args:
        agenda: Tasks of the image.
        rgb: Image (H, W, 3).
        detector: Full-range face detector.
        least: Minimum score of a detection.
        sizes: Function that returns the sizes of the faces found so far, in pixels.
        accept: Function that processes the detections in a window.
    """
    height, width = rgb.shape[:2]
    hints: list[Hint] = []

    def add_level(parts: int) -> None:
        level = windows(width, height, parts) if parts <= _MOST_PARTS else []
        left = len(level)

        def search(window: Window) -> None:
            nonlocal left
            faces, every = detector.find_from(window.cut(rgb), least, LIMITS["hint"])
            hints.extend(hints_in(window, [face for face in every if face.score < least]))
            accept(window, faces)
            left -= 1
            if left == 0:
                add_level(parts + 1)

        def features(window: Window) -> dict[str, float]:
            return {**found_so_far(sizes(), rgb), "hint": hint_score(window, hints)}

        for window in level:
            agenda.add(f"part{parts}", partial(search, window), partial(features, window))

    add_level(1)


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


def _length(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return the distance of two keypoints in space, at least a pixel."""
    return max(math.dist(a.tolist(), b.tolist()), 1.0)


class BoxSearch:
    """Search images for boxes of faces, as published and by the full-range detector in windows.

    Args:
        boxes: Model of the boxes.
        detector: Full-range face detector.
        published: Minimum score of the published search.
        budget: Limit of the search.
    """

    def __init__(self, boxes: FaceBoxes, detector: SingleShotDetector, *, published: float, budget: Budget) -> None:
        self._boxes, self._detector, self._published, self._budget = boxes, detector, published, budget

    def search(self, rgb: Image) -> Found[FaceObservation]:
        """Return all faces with the scores of their detector, best first."""
        found = [self._boxes.observe(rgb, box) for box in self._boxes.find(rgb, self._published)]
        agenda, enough = Agenda("face", self._budget), self._budget.enough

        def accept(window: Window, faces: Sequence[Detection]) -> None:
            for face in faces:
                detected = box_observation(face, (window.left, window.top))
                if not window.cuts(face.box, rgb) and not any(
                    is_same_instance(detected.keypoints, other.keypoints) for other in found
                ):
                    found.append(detected)

        def sizes() -> list[float]:
            return [float(np.ptp(face.keypoints[:2, 1])) for face in found]

        _add_windows(agenda, rgb, self._detector, max(self._published, _BOX_SCORE), sizes, accept)
        agenda.run(lambda: enough is not None and len(found) >= enough)
        candidates = [Candidate([face], face.score, set(), score=face.score) for face in found]
        return Found(sorted(candidates, key=lambda candidate: -candidate.score), agenda.complete, agenda.log)
