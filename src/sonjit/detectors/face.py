"""MediaPipe Face Mesh: short-range face detector and 468 landmarks, or 478 with refined lips, eyes and irises.

Source: Kartynnik et al. 2019, Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs; Grishchenko et
al. 2020, Attention Mesh: High-fidelity Face Mesh Prediction in Real-time; the constants are those of mediapipe
0.10.21's CPU graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.face_refinement import refined
from sonjit.detectors.pipeline import Kind
from sonjit.detectors.ssd import SingleShotDetector
from sonjit.geometry import RotatedBox, crop, points_from_crop, square_box, wrap_angle
from sonjit.results import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.detectors.anchors import AnchorGrid
    from sonjit.detectors.tracking import Track
    from sonjit.engines import Engine
    from sonjit.results import Box

_RIGHT_CORNER, _LEFT_CORNER = 33, 263  # outer corners of the person's eyes
_BOX_SCALE = 1.5


@dataclass(frozen=True, eq=False)
class FaceObservation:
    """What was seen of a face in one picture; see `Observation`."""

    score: float
    keypoints: NDArray[np.float32]
    keypoints_3d: None = None
    left: None = None

    @cached_property
    def box(self) -> Box:
        """Upright box around the keypoints; asked for twice a frame, and worked out once."""
        x, y = self.keypoints[:, 0], self.keypoints[:, 1]
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())


class FaceFinder:
    """Boxes for the landmark network from a face detector.

    Args:
        engine: network with a picture in and (1, N, 16), (1, N, 1) out.
        grid: its N anchors.
    """

    def __init__(self, engine: Engine, grid: AnchorGrid) -> None:
        self._faces = SingleShotDetector(engine, grid)

    def find(self, rgb: NDArray[np.uint8], min_score: float) -> list[RotatedBox]:
        """Boxes in a picture (H, W, 3) with the eyes level in them, best first."""
        return [
            box_around_face(face.box.tolist(), *face.keypoints[:2].tolist())  # the person's right eye, then the left
            for face in self._faces.find(rgb, min_score)
        ]


class FaceMeshes(Kind[FaceObservation, Face]):
    """Face detector and face mesh.

    Args:
        faces: finds new faces.
        landmarks: network with a square picture in and, in its pixels, 468 x (x, y, z) out and the logit of a face;
            or, between the two, the points of `refined`'s regions.
    """

    def __init__(self, faces: FaceFinder, landmarks: Engine) -> None:
        self._faces = faces
        self._landmarks = landmarks
        self._size = landmarks.input.shape[1]

    def find(self, rgb: NDArray[np.uint8], min_score: float) -> list[RotatedBox]:
        """Boxes of faces in a picture (H, W, 3), best first."""
        return self._faces.find(rgb, min_score)

    def observe(self, rgb: NDArray[np.uint8], box: RotatedBox) -> FaceObservation:
        """Landmarks and presence from one box."""
        crop(rgb, box, self._size, self._size, out=self._landmarks.input[0])
        mesh, *regions, logit = self._landmarks.run()
        points = mesh.reshape(-1, 3)
        if regions:
            points = refined(points, regions)
        probability = 0.5 + 0.5 * math.tanh(logit.item() / 2)
        return FaceObservation(probability, points_from_crop(points * np.float32(1 / self._size), box))

    def follow(self, track: Track[FaceObservation]) -> RotatedBox:
        """The next frame's box, from the face as seen."""
        return self.box_after(track.observation)

    def box_after(self, observation: FaceObservation) -> RotatedBox:
        """The box around a face just seen: upright around all landmarks, turned to have the eyes level, and larger."""
        points = observation.keypoints
        right, left = points[_RIGHT_CORNER, :2].tolist(), points[_LEFT_CORNER, :2].tolist()
        return box_around_face(observation.box, right, left)

    def result(
        self, rgb: NDArray[np.uint8], observation: FaceObservation, track: Track[FaceObservation] | None
    ) -> Face:
        """The public result."""
        return Face(observation.score, observation.keypoints, observation.box, None if track is None else track.id)

    def flip(self, result: Face, width: int) -> Face:
        """The face as it stands on a mirrored canvas; names stay the person's own left and right."""
        return flipped(result, width)


def flipped(face: Face, width: int) -> Face:
    """A face with x mirrored in a picture of that width."""
    x_min, y_min, x_max, y_max = face.box
    face.keypoints = face.keypoints * np.array([-1, 1, 1], np.float32) + np.array([width, 0, 0], np.float32)
    left, right = (float(np.float32(width - x)) for x in (x_max, x_min))
    face.box = (left, y_min, right, y_max)
    return face


def box_around_face(corners: Sequence[float], right_eye: list[float], left_eye: list[float]) -> RotatedBox:
    """The landmark network's box, all in pixels: from a face's x_min, y_min, x_max, y_max and two points (x, y) of its
    eyes' line, the person's right eye first.
    """
    x_min, y_min, x_max, y_max = corners
    dx, dy = left_eye[0] - right_eye[0], left_eye[1] - right_eye[1]
    rotation = wrap_angle(-math.atan2(-dy, dx))
    face = RotatedBox((x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min, rotation)
    return square_box(face, scale=_BOX_SCALE)
