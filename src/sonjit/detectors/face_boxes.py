"""MediaPipe Face Detection: a box and six keypoints per face, found afresh in every picture.

Source: Bazarevsky et al. 2019, BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs; the constants are
those of mediapipe 0.10.21's CPU graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.face import FaceObservation, flipped
from sonjit.detectors.pipeline import Kind
from sonjit.detectors.ssd import SingleShotDetector
from sonjit.errors import InputError
from sonjit.geometry import RotatedBox
from sonjit.results import Face

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.anchors import AnchorGrid
    from sonjit.detectors.ssd import Detection
    from sonjit.detectors.tracking import Track
    from sonjit.engines import Engine


class FaceBoxes(Kind[FaceObservation, Face]):
    """A face detector alone. An observation is the box's two corners, then the six keypoints.

    Args:
        engine: network with a picture in and (1, N, 16), (1, N, 1) out.
        grid: its N anchors.
    """

    searches_always = True

    def __init__(self, engine: Engine, grid: AnchorGrid) -> None:
        self._faces = SingleShotDetector(engine, grid)
        self._found: dict[RotatedBox, Detection] = {}

    def find(self, rgb: NDArray[np.uint8], min_score: float) -> list[RotatedBox]:
        """Upright boxes of faces in a picture (H, W, 3), best first."""
        self._found = {_upright(face.box): face for face in self._faces.find(rgb, min_score)}
        return list(self._found)

    def observe(self, rgb: NDArray[np.uint8], box: RotatedBox) -> FaceObservation:
        """The detection behind a box of the last search."""
        if box not in self._found:
            raise InputError("model='box' has no network for given boxes; use model='mesh' or 'attention'")
        face = self._found[box]
        points = np.full((2 + len(face.keypoints), 3), np.nan, np.float32)  # no depth
        points[:2, :2], points[2:, :2] = face.box.reshape(2, 2), face.keypoints
        return FaceObservation(face.score, points)

    def follow(self, track: Track[FaceObservation]) -> RotatedBox:
        """The face's own box: nothing looks into it."""
        return _upright(track.observation.keypoints[:2, :2].ravel())

    def is_present(self, observation: FaceObservation, min_score: float) -> bool:
        """Always: the search has judged the score."""
        return True

    def is_taken(self, box: RotatedBox, other: RotatedBox) -> bool:
        """Never: the detector has blended what overlaps."""
        return False

    def result(
        self, rgb: NDArray[np.uint8], observation: FaceObservation, track: Track[FaceObservation] | None
    ) -> Face:
        """The public result."""
        x_min, y_min, x_max, y_max = observation.keypoints[:2, :2].ravel().tolist()
        keypoints, number = observation.keypoints[2:], None if track is None else track.id
        return Face(observation.score, keypoints, (x_min, y_min, x_max, y_max), number)

    def flip(self, result: Face, width: int) -> Face:
        """The face as it stands on a mirrored canvas; names stay the person's own left and right."""
        return flipped(result, width)


def _upright(corners: NDArray[np.floating]) -> RotatedBox:
    """The box with corners (4,) x_min, y_min, x_max, y_max."""
    x_min, y_min, x_max, y_max = corners.tolist()
    return RotatedBox((x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min)
