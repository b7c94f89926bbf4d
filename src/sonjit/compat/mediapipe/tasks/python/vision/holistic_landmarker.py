"""`HolisticLandmarker`: a person's body with its own hands and face, under MediaPipe's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

from sonjit.compat.mediapipe.containers import Category, Landmark, NormalizedLandmark
from sonjit.compat.mediapipe.image import Image, ImageFormat
from sonjit.compat.mediapipe.message_types import ClassificationList, LandmarkList, NormalizedLandmarkList
from sonjit.compat.mediapipe.messages import Message
from sonjit.compat.mediapipe.solution import check_confidences
from sonjit.compat.mediapipe.task_options import BaseOptions, VisionTaskRunningMode, accept_newer_names
from sonjit.compat.mediapipe.tasks.python.vision.core.base_vision_task_api import (
    DetectingTask,
    DetectorTask,
    Frame,
    normalized_landmarks,
    world_landmarks,
)
from sonjit.compat.mediapipe.tasks.python.vision.face_landmarker import blendshape_categories
from sonjit.detectors.thresholds import GraphThresholds
from sonjit.results import Face, Hand, Person

__all__ = ["HolisticLandmarker", "HolisticLandmarkerOptions", "HolisticLandmarkerResult"]

BUNDLE = "holistic_landmarker.task"
_LEFT_WRIST, _RIGHT_WRIST = 15, 16  # of the pose


class _HolisticResult(Message):
    pose_landmarks: NormalizedLandmarkList = NormalizedLandmarkList()
    left_hand_landmarks: NormalizedLandmarkList = NormalizedLandmarkList()
    right_hand_landmarks: NormalizedLandmarkList = NormalizedLandmarkList()
    face_landmarks: NormalizedLandmarkList = NormalizedLandmarkList()
    auxiliary_landmarks: NormalizedLandmarkList = NormalizedLandmarkList()
    face_blendshapes: ClassificationList = ClassificationList()
    pose_world_landmarks: LandmarkList = LandmarkList()


@dataclass
class HolisticLandmarkerResult:
    """Person of one image. Lists of missing parts are empty.

    Attributes:
        face_landmarks: 478 landmarks, as parts of the image.
        pose_landmarks: 33 landmarks with visibility and presence.
        pose_world_landmarks: The same landmarks in metres, origin between the hips.
        left_hand_landmarks: 21 landmarks of the person's own left hand.
        left_hand_world_landmarks: The same landmarks in metres, moved to the pose's wrist.
        right_hand_landmarks: 21 landmarks of the person's own right hand.
        right_hand_world_landmarks: The same landmarks in metres, moved to the pose's wrist.
        face_blendshapes: 52 categories, or None without the option or without a face.
        segmentation_mask: (H, W) float32 probability of the person per pixel, or None without the option.
    """

    face_landmarks: list[NormalizedLandmark]
    pose_landmarks: list[NormalizedLandmark]
    pose_world_landmarks: list[Landmark]
    left_hand_landmarks: list[NormalizedLandmark]
    left_hand_world_landmarks: list[Landmark]
    right_hand_landmarks: list[NormalizedLandmark]
    right_hand_world_landmarks: list[Landmark]
    face_blendshapes: list[Category] | None = None
    segmentation_mask: Image | None = None

    @classmethod
    def create_from_pb2(cls, pb2_obj: _HolisticResult) -> Self:
        """Create from a message, without masks and metric hands."""

        def points(found: NormalizedLandmarkList) -> list[NormalizedLandmark]:
            return [NormalizedLandmark.create_from_pb2(landmark) for landmark in found.landmark]

        return cls(
            points(pb2_obj.face_landmarks),
            points(pb2_obj.pose_landmarks),
            [Landmark.create_from_pb2(landmark) for landmark in pb2_obj.pose_world_landmarks.landmark],
            points(pb2_obj.left_hand_landmarks),
            [],
            points(pb2_obj.right_hand_landmarks),
            [],
            [Category.create_from_pb2(classification) for classification in pb2_obj.face_blendshapes.classification],
        )


@accept_newer_names(
    min_face_presence_confidence="min_face_landmarks_confidence",
    min_pose_presence_confidence="min_pose_landmarks_confidence",
    output_pose_segmentation_masks="output_segmentation_mask",
)
@dataclass
class HolisticLandmarkerOptions:
    """Options of `HolisticLandmarker`. The names of MediaPipe 1.2.3 are accepted too.

    Attributes:
        base_options: Model bundle, `holistic_landmarker.task`. Without a bundle, the published networks of bodies,
            hands and faces run.
        running_mode: Type of input: images, a video or a live stream.
        min_face_detection_confidence: Minimum score of a face detection in the head crop, 0 to 1.
        min_face_suppression_threshold: Minimum IoU of face boxes that are blended into one face.
        min_face_landmarks_confidence: Minimum probability that a crop contains a face, 0 to 1.
        min_pose_detection_confidence: Minimum score of a person detection, 0 to 1.
        min_pose_suppression_threshold: Minimum IoU of boxes that are blended into one person.
        min_pose_landmarks_confidence: Minimum probability that a crop contains a body, 0 to 1.
        min_hand_landmarks_confidence: Minimum probability that a crop contains a hand, 0 to 1.
        output_face_blendshapes: Return blendshapes. The published networks have none.
        output_segmentation_mask: Return the mask.
        result_callback: Function that takes result, image and timestamp in milliseconds. Only for live streams.
    """

    base_options: BaseOptions
    running_mode: VisionTaskRunningMode = VisionTaskRunningMode.IMAGE
    min_face_detection_confidence: float = 0.5
    min_face_suppression_threshold: float = 0.5
    min_face_landmarks_confidence: float = 0.5
    min_pose_detection_confidence: float = 0.5
    min_pose_suppression_threshold: float = 0.5
    min_pose_landmarks_confidence: float = 0.5
    min_hand_landmarks_confidence: float = 0.5
    output_face_blendshapes: bool = False
    output_segmentation_mask: bool = False
    result_callback: Callable[[HolisticLandmarkerResult, Image, int], None] | None = None


class HolisticLandmarker(DetectorTask[HolisticLandmarkerResult], DetectingTask[HolisticLandmarkerResult]):
    """Find one person with hands and face in images, videos and live streams. Use as a context manager."""

    options_type = HolisticLandmarkerOptions

    def _open(self, options: HolisticLandmarkerOptions) -> None:
        names = (field.name for field in fields(options) if field.name.startswith("min_"))
        check_confidences(**{name: getattr(options, name) for name in names})
        file = options.base_options.file(BUNDLE)
        self._create(
            "holistic",
            options,
            1,
            GraphThresholds(
                overlap=options.min_pose_suppression_threshold,
                face_detection=options.min_face_detection_confidence,
                face_overlap=options.min_face_suppression_threshold,
                face_presence=options.min_face_landmarks_confidence,
                hand_presence=options.min_hand_landmarks_confidence,
                searches_parts=True,
            ),
            min_detection_score=options.min_pose_detection_confidence,
            min_presence_score=options.min_pose_landmarks_confidence,
            segmentation=options.output_segmentation_mask,
            landmark_model=file if file.is_file() else None,
            blendshapes=options.output_face_blendshapes,
        )

    def _run(self, frame: Frame) -> HolisticLandmarkerResult:
        people: list[Person] = self._detect(frame)
        if not people:
            return HolisticLandmarkerResult([], [], [], [], [], [], [])
        person = people[0]
        body = person.body

        def landmarks(part: Hand | Face | None) -> list[NormalizedLandmark]:
            return [] if part is None else normalized_landmarks(frame.points(part.keypoints))

        def in_metres(hand: Hand | None, wrist: int) -> list[Landmark]:
            if hand is None:
                return []
            moved = hand.keypoints_3d + (body.keypoints_3d[wrist] - hand.keypoints_3d[0])
            return world_landmarks(frame.directions(moved))

        shapes = None if person.face is None else person.face.blendshapes
        return HolisticLandmarkerResult(
            landmarks(person.face),
            normalized_landmarks(frame.points(body.keypoints), body.visibility, body.presence),
            world_landmarks(frame.directions(body.keypoints_3d), body.visibility, body.presence),
            landmarks(person.left_hand),
            in_metres(person.left_hand, _LEFT_WRIST),
            landmarks(person.right_hand),
            in_metres(person.right_hand, _RIGHT_WRIST),
            face_blendshapes=None if shapes is None else blendshape_categories(shapes),
            segmentation_mask=None if body.mask is None else Image(ImageFormat.VEC32F1, frame.mask(body.mask)),
        )
