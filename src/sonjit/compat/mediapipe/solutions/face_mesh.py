"""`FaceMesh`: 468 landmarks of each face, or 478 with irises, under MediaPipe's names."""

from __future__ import annotations

from typing import NamedTuple

from sonjit._util.arrays import Image
from sonjit.compat.mediapipe._messages import NormalizedLandmarkList, image_landmarks
from sonjit.compat.mediapipe._names import add_covered_names
from sonjit.compat.mediapipe._solution import DetectorSolution, check_count
from sonjit.compat.mediapipe.solutions import face_mesh_connections
from sonjit.compat.mediapipe.solutions.face_mesh_connections import *  # noqa: F403  # names that MediaPipe has here too
from sonjit.engines import Precision
from sonjit.results import Face

__all__ = ["FACEMESH_NUM_LANDMARKS", "FACEMESH_NUM_LANDMARKS_WITH_IRISES", "FaceMesh", "SolutionOutputs"]
__all__ += face_mesh_connections.__all__

FACEMESH_NUM_LANDMARKS = 468
FACEMESH_NUM_LANDMARKS_WITH_IRISES = 478


class SolutionOutputs(NamedTuple):
    """Results of `FaceMesh.process`.

    Attributes:
        multi_face_landmarks: 468 or 478 landmarks per face, as parts of the image; None for no face.
    """

    multi_face_landmarks: list[NormalizedLandmarkList] | None = None


class FaceMesh(DetectorSolution[SolutionOutputs]):
    """Find faces in images. Use as a context manager.

    Args:
        static_image_mode: True if images are independent, False if they are frames of one video.
        max_num_faces: Maximum number of faces.
        refine_landmarks: Refine lips and eyes, and add ten landmarks for the irises.
        min_detection_confidence: Minimum score of a face detection, 0 to 1.
        min_tracking_confidence: Minimum probability that a crop contains a face, 0 to 1.
        search_interval: Frames between searches for more faces while some are tracked; an option of Sonjit. 1 is the
            schedule of MediaPipe and slower.
        precision: Number format of the networks; "f32" computes as MediaPipe does.

    Raises:
        InputError: A value is out of range, or weights are missing; it is a ValueError.
    """

    def __init__(
        self,
        static_image_mode: bool = False,
        max_num_faces: int = 1,
        refine_landmarks: bool = False,
        min_detection_confidence: float = 0.5,
        min_tracking_confidence: float = 0.5,
        *,
        search_interval: int = 5,
        precision: Precision = "f32",
    ) -> None:
        check_count(max_num_faces=max_num_faces)
        self._open(
            "face",
            static_image_mode,
            min_detection_confidence,
            min_tracking_confidence,
            model="attention" if refine_landmarks else "mesh",
            max_instances=max_num_faces,
            search_interval=search_interval,
            precision=precision,
        )

    def _outputs(self, image: Image) -> SolutionOutputs:
        faces: list[Face] = self._detect(image)
        return SolutionOutputs([image_landmarks(face.keypoints, image) for face in faces] or None)


add_covered_names(globals(), FACE_CONNECTIONS=face_mesh_connections.removed_connections)
