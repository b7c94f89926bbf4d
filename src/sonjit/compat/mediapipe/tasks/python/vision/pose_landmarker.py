"""`PoseLandmarker`: bodies of one or several people with their masks, under MediaPipe's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from sonjit.compat.mediapipe.connections import Connection, connections
from sonjit.compat.mediapipe.containers import Landmark, NormalizedLandmark
from sonjit.compat.mediapipe.image import Image, ImageFormat
from sonjit.compat.mediapipe.solution import check_confidences, check_count
from sonjit.compat.mediapipe.solutions.pose import PoseLandmark
from sonjit.compat.mediapipe.solutions.pose_connections import ORDERED
from sonjit.compat.mediapipe.task_options import BaseOptions, VisionTaskRunningMode
from sonjit.compat.mediapipe.tasks.python.vision.core.base_vision_task_api import (
    DetectingTask,
    DetectorTask,
    Frame,
    association,
    normalized_landmarks,
    world_landmarks,
)
from sonjit.detectors.options import PUBLISHED_THRESHOLDS
from sonjit.results import Body

__all__ = [
    "PoseLandmark",
    "PoseLandmarker",
    "PoseLandmarkerOptions",
    "PoseLandmarkerResult",
    "PoseLandmarksConnections",
]

BUNDLE = "pose_landmarker.task"
_BY_HIPS = 0.5
"""Default of `min_tracking_confidence`, with which hips are compared instead of boxes."""


class PoseLandmarksConnections:
    """The lines of a body."""

    Connection: ClassVar = Connection
    POSE_LANDMARKS: ClassVar = connections(ORDERED)


@dataclass
class PoseLandmarkerResult:
    """The people of one image.

    Attributes:
        pose_landmarks: 33 landmarks each with visibility and presence, as parts of the image.
        pose_world_landmarks: The same landmarks in metres, origin between the hips.
        segmentation_masks: (H, W) float32 probability of each person per pixel, or None without the option.
    """

    pose_landmarks: list[list[NormalizedLandmark]]
    pose_world_landmarks: list[list[Landmark]]
    segmentation_masks: list[Image] | None = None


@dataclass
class PoseLandmarkerOptions:
    """Options of `PoseLandmarker`.

    Attributes:
        base_options: Model bundle, `pose_landmarker.task` or another size such as `pose_landmarker_lite.task`.
        running_mode: Type of input: images, a video or a live stream.
        num_poses: Maximum number of people.
        min_pose_detection_confidence: Minimum score of a person detection, 0 to 1.
        min_pose_presence_confidence: Minimum probability that a crop contains a person, 0 to 1.
        min_tracking_confidence: Minimum IoU of a new person's box and a tracked person to match them in a video. With
            the default, Sonjit compares hips instead, because boxes of people side by side overlap by more than 0.5.
        output_segmentation_masks: Return the masks.
        result_callback: Function that takes result, image and timestamp in milliseconds. Only for live streams.
    """

    base_options: BaseOptions
    running_mode: VisionTaskRunningMode = VisionTaskRunningMode.IMAGE
    num_poses: int = 1
    min_pose_detection_confidence: float = 0.5
    min_pose_presence_confidence: float = 0.5
    min_tracking_confidence: float = _BY_HIPS
    output_segmentation_masks: bool = False
    result_callback: Callable[[PoseLandmarkerResult, Image, int], None] | None = None


class PoseLandmarker(DetectorTask[PoseLandmarkerResult], DetectingTask[PoseLandmarkerResult]):
    """Find people in images, videos and live streams. Use as a context manager."""

    options_type = PoseLandmarkerOptions

    def _open(self, options: PoseLandmarkerOptions) -> None:
        check_count(num_poses=options.num_poses)
        check_confidences(
            min_pose_detection_confidence=options.min_pose_detection_confidence,
            min_pose_presence_confidence=options.min_pose_presence_confidence,
            min_tracking_confidence=options.min_tracking_confidence,
        )
        self._gives_masks = options.output_segmentation_masks
        self._create(
            "body",
            options,
            options.num_poses,
            PUBLISHED_THRESHOLDS
            if options.min_tracking_confidence == _BY_HIPS
            else association(options.running_mode, options.min_tracking_confidence),
            landmark_model=options.base_options.file(BUNDLE),
            min_detection_score=options.min_pose_detection_confidence,
            min_presence_score=options.min_pose_presence_confidence,
            segmentation=options.output_segmentation_masks,
        )

    def _run(self, frame: Frame) -> PoseLandmarkerResult:
        bodies: list[Body] = self._detect(frame)
        masks = [Image(ImageFormat.VEC32F1, frame.mask(body.mask)) for body in bodies if body.mask is not None]
        return PoseLandmarkerResult(
            [normalized_landmarks(frame.points(body.keypoints), body.visibility, body.presence) for body in bodies],
            [world_landmarks(frame.directions(body.keypoints_3d), body.visibility, body.presence) for body in bodies],
            masks if self._gives_masks and bodies else None,
        )
