"""Face detection: a box and six keypoints per face, without tracking of boxes.

Source: Bazarevsky et al. 2019, BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs. The constants are those
of the CPU graph of mediapipe 0.10.21.
"""

import numpy as np

from sonjit._util import Image
from sonjit.detectors import interfaces, tracking
from sonjit.detectors.kinds.face import FaceObservation
from sonjit.detectors.ssd import Detection, SingleShotDetector
from sonjit.geometry.boxes import RotatedBox, box_from_corners
from sonjit.results import Face


def box_observation(face: Detection, corner: tuple[float, float] = (0.0, 0.0)) -> FaceObservation:
    """Return the observation of a detected box: its two corners, then its six keypoints."""
    points = np.full((2 + len(face.keypoints), 3), np.nan, np.float32)  # no depth
    points[:2, :2], points[2:, :2] = face.box.reshape(2, 2), face.keypoints
    points[:, :2] += corner
    return FaceObservation(face.score, points)


class FaceBoxes(interfaces.SearchedKind[FaceObservation, Face]):
    """Detect faces as boxes. An observation has the box's two corners, then the six keypoints."""

    keypoint_count = 6
    refusal = "model='box' has no network for given boxes; use model='mesh' or 'attention'"

    def __init__(self, detector: SingleShotDetector, blended: float | None = None, *, mirrored: bool = False) -> None:
        self._order = [1, 0, 2, 3, 5, 4] if mirrored else slice(None)  # eyes and ears are exchanged
        self._faces = detector
        self._blended = blended

    def search(self, rgb: Image, min_score: float) -> list[FaceObservation]:
        """Return the faces in an image (H, W, 3), best first."""
        return [box_observation(face) for face in self._detections(rgb, min_score)]

    def _detections(self, rgb: Image, min_score: float) -> list[Detection]:
        blended = self._blended
        if blended is None:
            return self._faces.find(rgb, min_score)
        faces, every = self._faces.find_from(rgb, blended, min_score)
        sure = [face for face in faces if face.score >= min_score]
        return sure + [face for face in every if face.score < blended]

    def box_after(self, observation: FaceObservation) -> RotatedBox:
        return box_from_corners(observation.keypoints[:2, :2].ravel().tolist())

    def result(self, rgb: Image, observation: FaceObservation, track: tracking.Track[FaceObservation] | None) -> Face:
        """Return the public result for one face of an image (H, W, 3)."""
        x_min, y_min, x_max, y_max = observation.keypoints[:2, :2].ravel().tolist()
        keypoints, number = observation.keypoints[2:][self._order], None if track is None else track.id
        return Face(observation.score, keypoints, (x_min, y_min, x_max, y_max), number)
