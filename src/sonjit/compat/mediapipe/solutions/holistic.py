"""`Holistic`: a person's body with its own hands and face, under MediaPipe's names."""

from __future__ import annotations

from typing import NamedTuple

from sonjit._util.arrays import Float32Array, Image
from sonjit.compat.mediapipe._messages import LandmarkList, NormalizedLandmarkList, image_landmarks
from sonjit.compat.mediapipe._names import add_covered_names
from sonjit.compat.mediapipe._solution import DetectorSolution, choice
from sonjit.compat.mediapipe.solutions import face_mesh_connections
from sonjit.compat.mediapipe.solutions.face_mesh_connections import *  # noqa: F403  # names that MediaPipe has here too
from sonjit.compat.mediapipe.solutions.hands import HAND_CONNECTIONS, HandLandmark
from sonjit.compat.mediapipe.solutions.pose import MODELS, POSE_CONNECTIONS, PoseLandmark, pose_outputs
from sonjit.detectors.options import GraphThresholds
from sonjit.engines import Precision
from sonjit.results import Face, Hand, Person

__all__ = ["HAND_CONNECTIONS", "POSE_CONNECTIONS", "HandLandmark", "Holistic", "PoseLandmark", "SolutionOutputs"]
__all__ += face_mesh_connections.__all__


class SolutionOutputs(NamedTuple):
    """Results of `Holistic.process`. Missing parts are None.

    Attributes:
        pose_landmarks: 33 landmarks with their visibility, as parts of the image.
        pose_world_landmarks: The same landmarks in metres, origin between the hips.
        left_hand_landmarks: 21 landmarks of the person's own left hand, at the pose's left wrist.
        right_hand_landmarks: 21 landmarks of the person's own right hand.
        face_landmarks: 468 landmarks, or 478 with irises.
        segmentation_mask: (H, W) float32 probability of the person per pixel, or None without the option.
    """

    pose_landmarks: NormalizedLandmarkList | None = None
    pose_world_landmarks: LandmarkList | None = None
    left_hand_landmarks: NormalizedLandmarkList | None = None
    right_hand_landmarks: NormalizedLandmarkList | None = None
    face_landmarks: NormalizedLandmarkList | None = None
    segmentation_mask: Float32Array | None = None


class Holistic(DetectorSolution[SolutionOutputs]):
    """Find one person with hands and face in images. Use as a context manager.

    Args:
        static_image_mode: True if images are independent, False if they are frames of one video.
        model_complexity: Body network: 0 for the lite network, 1 for the full one, 2 for the heavy one.
        smooth_landmarks: Smooth the body's landmarks over the frames of a video.
        enable_segmentation: Return the mask.
        smooth_segmentation: Smooth masks over the frames of a video. MediaPipe's Python package ignores this argument.
        refine_face_landmarks: Refine lips and eyes, and add ten landmarks for the irises.
        min_detection_confidence: Minimum score of a person detection, 0 to 1.
        min_tracking_confidence: Minimum probability that a crop contains its body, hand or face, 0 to 1.
        search_interval: Frames between searches for hands and faces; an option of Sonjit. 1 searches in every frame, as
            MediaPipe does. Larger values search for missing ones only and are faster.
        precision: Number format of the networks; "f32" computes as MediaPipe does.

    Raises:
        InputError: A value is out of range, or weights are missing; it is a ValueError.
    """

    def __init__(
        self,
        static_image_mode: bool = False,
        model_complexity: int = 1,
        smooth_landmarks: bool = True,
        enable_segmentation: bool = False,
        smooth_segmentation: bool = True,
        refine_face_landmarks: bool = False,
        min_detection_confidence: float = 0.5,
        min_tracking_confidence: float = 0.5,
        *,
        search_interval: int = 1,
        precision: Precision = "f32",
    ) -> None:
        self._open(
            "holistic",
            static_image_mode,
            min_detection_confidence,
            min_tracking_confidence,
            GraphThresholds(searches_parts=search_interval == 1),
            model=choice("model_complexity", model_complexity, MODELS),
            hand_model="full",
            face_model="attention" if refine_face_landmarks else "mesh",
            smoothing="published" if smooth_landmarks else None,
            segmentation=enable_segmentation,
            smooth_segmentation=smooth_segmentation,
            search_interval=search_interval,
            precision=precision,
        )

    def _outputs(self, image: Image) -> SolutionOutputs:
        people: list[Person] = self._detect(image)
        if not people:
            return SolutionOutputs()
        pose = pose_outputs(people[0].body, image)

        def landmarks(part: Hand | Face | None) -> NormalizedLandmarkList | None:
            return None if part is None else image_landmarks(part.keypoints, image)

        return SolutionOutputs(
            pose.pose_landmarks,
            pose.pose_world_landmarks,
            landmarks(people[0].left_hand),
            landmarks(people[0].right_hand),
            landmarks(people[0].face),
            pose.segmentation_mask,
        )


add_covered_names(globals(), FACE_CONNECTIONS=face_mesh_connections.removed_connections)
