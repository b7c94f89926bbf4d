"""`Pose`: 33 landmarks, world landmarks and the mask of one person, under MediaPipe's names."""

from __future__ import annotations

from typing import NamedTuple

from sonjit._util.arrays import Float32Array, Image
from sonjit.compat.mediapipe._messages import LandmarkList, NormalizedLandmarkList, image_landmarks, world_landmarks
from sonjit.compat.mediapipe._names import add_covered_names
from sonjit.compat.mediapipe._solution import DetectorSolution, choice
from sonjit.compat.mediapipe.solutions.pose_connections import POSE_CONNECTIONS, PoseLandmark
from sonjit.engines import Precision
from sonjit.results import Body

__all__ = ["POSE_CONNECTIONS", "Pose", "PoseLandmark", "SolutionOutputs"]

MODELS = {0: "lite", 1: "full", 2: "heavy"}


class SolutionOutputs(NamedTuple):
    """Results of `Pose.process`. Without a person, all are None.

    Attributes:
        pose_landmarks: 33 landmarks with their visibility, as parts of the image.
        pose_world_landmarks: The same landmarks in metres, origin between the hips.
        segmentation_mask: (H, W) float32 probability of the person per pixel, or None without the option.
    """

    pose_landmarks: NormalizedLandmarkList | None = None
    pose_world_landmarks: LandmarkList | None = None
    segmentation_mask: Float32Array | None = None


class Pose(DetectorSolution[SolutionOutputs]):
    """Find one person in images. Use as a context manager.

    Args:
        static_image_mode: True if images are independent, False if they are frames of one video.
        model_complexity: 0 for the lite network, 1 for the full one, 2 for the heavy one.
        smooth_landmarks: Smooth landmarks over the frames of a video.
        enable_segmentation: Return the mask.
        smooth_segmentation: Smooth masks over the frames of a video. MediaPipe's Python package ignores this argument.
        min_detection_confidence: Minimum score of a person detection, 0 to 1.
        min_tracking_confidence: Minimum probability that a crop contains a person, 0 to 1.
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
        min_detection_confidence: float = 0.5,
        min_tracking_confidence: float = 0.5,
        *,
        precision: Precision = "f32",
    ) -> None:
        self._open(
            "body",
            static_image_mode,
            min_detection_confidence,
            min_tracking_confidence,
            model=choice("model_complexity", model_complexity, MODELS),
            smoothing="published" if smooth_landmarks else None,
            segmentation=enable_segmentation,
            smooth_segmentation=smooth_segmentation,
            precision=precision,
        )

    def _outputs(self, image: Image) -> SolutionOutputs:
        bodies: list[Body] = self._detect(image)
        return pose_outputs(bodies[0], image) if bodies else SolutionOutputs()


def pose_outputs(body: Body, image: Image) -> SolutionOutputs:
    """Return the outputs for a body in an image (H, W, 3)."""
    return SolutionOutputs(
        image_landmarks(body.keypoints, image, body.visibility),
        world_landmarks(body.keypoints_3d, body.visibility),
        body.mask,
    )


add_covered_names(globals())
