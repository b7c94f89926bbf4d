"""Faces by a thorough search: the full-range detector in windows, scored by two inferences of the mesh."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sonjit.detectors.kinds.face import FaceObservation, box_around_face
from sonjit.detectors.search.finds import (
    PARTS,
    Find,
    LogisticRegression,
    Place,
    logit,
    merged,
    oks,
    rank,
    tiles,
    without_same,
)

if TYPE_CHECKING:
    from sonjit.detectors.kinds.face import FaceMeshes
    from sonjit.detectors.search.finds import Image, Window
    from sonjit.detectors.ssd import SingleShotDetector


class FaceSearch:
    """Faces of an image.

    Args:
        detector: full range: it sees smaller faces than the short one.
        meshes: run twice.
        parts: see `tiles`; halves are enough where faces only lead to hands.
        min_detection: least score in a window that is worth the mesh.
    """

    SCORE = LogisticRegression(-5.79, {"detection": 1.017, "presence": 0.534, "agreement": 0.782})
    """Fitted, then set stricter by 2.2: at 0.5 it loses no true face of those that it was fitted on."""

    SURE = 0.5
    """Score from which a face is evidence for a body."""

    def __init__(
        self,
        detector: SingleShotDetector,
        meshes: FaceMeshes,
        parts: Sequence[int] = PARTS,
        min_detection: float = 0.3,
    ) -> None:
        self._detector, self._meshes, self._parts, self._min_detection = detector, meshes, parts, min_detection

    def search(self, rgb: Image) -> list[Find[FaceObservation]]:
        """Every candidate with its score, best first."""
        height, width = rgb.shape[:2]
        return self._search(rgb, tiles(width, height, self._parts))

    def search_window(self, rgb: Image, window: Window) -> list[Find[FaceObservation]]:
        """The same of one window."""
        return self._search(rgb, [window])

    def _search(self, rgb: Image, windows: Sequence[Window]) -> list[Find[FaceObservation]]:
        places: list[Place] = []
        for number, window in enumerate(windows):
            for face in self._detector.find(window.cut(rgb), self._min_detection):
                box = box_around_face(face.box.tolist(), *face.keypoints[:2].tolist())
                box = box._replace(cx=box.cx + window.left, cy=box.cy + window.top)
                places.append(Place(box, face.score, {number}))
        height, width = rgb.shape[:2]
        seen = (self._infer(rgb, place) for place in merged(places, 4 * max(width, height)))
        finds = without_same((find for find in seen if find is not None), rank)
        for find in finds:
            find.features = {
                "detection": logit(find.detection),
                "presence": logit(find.presence),
                "agreement": logit(find.agreement),
                "votes": math.log(len(find.votes)),
            }
            find.score = self.SCORE(find.features)
        return sorted(finds, key=lambda f: -f.score)

    def _infer(self, rgb: Image, place: Place) -> Find[FaceObservation] | None:
        first = self._meshes.observe(rgb, place.box)
        if first.score < 0.1:
            return None
        second = self._meshes.observe(rgb, self._meshes.box_after(first))
        return Find([first, second], place.score, set(place.votes), oks(first.keypoints, second.keypoints))
