"""Faces, bodies and people in images, under MediaPipe's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from sonjit.compat.mediapipe import _containers
from sonjit.compat.mediapipe._connections import *  # noqa: F403  # names that MediaPipe has here too
from sonjit.compat.mediapipe._images import Image, ImageFormat
from sonjit.compat.mediapipe._options import accept_newer_names
from sonjit.compat.mediapipe.tasks.python.vision import _task
from sonjit.detectors.options import PUBLISHED_THRESHOLDS, GraphThresholds
from sonjit.results import Body, Face, Hand, Person

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import _messages as messages

_MAX_FACES = 100
_BY_HIPS = 0.5  # default of `min_tracking_confidence`, with which hips are compared instead of boxes
_LEFT_WRIST, _RIGHT_WRIST = 15, 16  # of the pose
FaceDetectorResult = _containers.DetectionResult


@dataclass
class FaceLandmarkerResult:
    """The faces of one image.

    Attributes:
        face_landmarks: 478 landmarks each, as parts of the image.
        face_blendshapes: 52 categories each, with the option.
        facial_transformation_matrixes: (4, 4) each, from the canonical face to the camera, in centimetres, with the
            option.
    """

    face_landmarks: list[list[_containers.NormalizedLandmark]]
    face_blendshapes: list[list[_containers.Category]]
    facial_transformation_matrixes: list[NDArray[np.float32 | np.float64]]


@dataclass
class FaceLandmarkerOptions(_task.TaskOptions):
    """Options of `FaceLandmarker`.

    The model bundle is `face_landmarker.task`. No package contains its networks.

    Attributes:
        num_faces: Maximum number of faces.
        min_face_detection_confidence: Minimum score of a face detection, 0 to 1.
        min_face_presence_confidence: Minimum probability that a crop contains a face, 0 to 1. MediaPipe's
            Python package ignores it and uses `min_face_detection_confidence`.
        min_tracking_confidence: Minimum IoU of a new face's box and a tracked face to match them in a video.
        output_face_blendshapes: Return blendshapes.
        output_facial_transformation_matrixes: Return transformation matrices.
    """

    num_faces: int = 1
    min_face_detection_confidence: float = 0.5
    min_face_presence_confidence: float = 0.5
    min_tracking_confidence: float = 0.5
    output_face_blendshapes: bool = False
    output_facial_transformation_matrixes: bool = False
    result_callback: Callable[[FaceLandmarkerResult, Image, int], None] | None = None


class FaceLandmarker(_task.DetectorTask[FaceLandmarkerResult], _task.DetectingTask[FaceLandmarkerResult]):
    """Find faces in images, videos and live streams. Use as a context manager."""

    options_type = FaceLandmarkerOptions
    kind, model = "face", "face_landmarker.task"
    arguments: ClassVar = {
        "num_faces": "max_instances",
        "min_face_detection_confidence": "min_detection_score",
        "min_face_presence_confidence": "min_presence_score",
        "output_face_blendshapes": "blendshapes",
        "output_facial_transformation_matrixes": "transform",
    }
    turns_as_mediapipe = True

    def _run(self, frame: _task.Frame) -> FaceLandmarkerResult:
        faces: list[Face] = self._detect(frame)
        return FaceLandmarkerResult(
            [_task.normalized_landmarks(frame.points(face.keypoints)) for face in faces],
            [_blendshape_categories(face.blendshapes) for face in faces if face.blendshapes is not None],
            [frame.transform(face.transform) for face in faces if face.transform is not None],
        )


def _blendshape_categories(blendshapes: dict[str, float]) -> list[_containers.Category]:
    """Return the 52 blendshapes of a face in their order."""
    return [_containers.Category(index, score, "", name) for index, (name, score) in enumerate(blendshapes.items())]


@dataclass
class FaceDetectorOptions(_task.TaskOptions):
    """Options of `FaceDetector`, with the network `blaze_face_short_range.tflite`.

    Attributes:
        min_detection_confidence: Minimum score of a face detection, 0 to 1.
        min_suppression_threshold: Minimum IoU of boxes that are blended into one face.
    """

    min_detection_confidence: float = 0.5
    min_suppression_threshold: float = 0.3
    result_callback: Callable[[FaceDetectorResult, Image, int], None] | None = None


class FaceDetector(_task.DetectorTask[FaceDetectorResult], _task.DetectingTask[FaceDetectorResult]):
    """Find faces in images, videos and live streams. Use as a context manager."""

    options_type = FaceDetectorOptions
    kind, model = "face", "blaze_face_short_range.tflite"
    arguments: ClassVar = {"min_detection_confidence": "min_detection_score"}
    turns_as_mediapipe = True

    def _models(self, file: Path) -> dict[str, object]:
        detector_file = file if file.is_file() else None
        return {"detector_model": detector_file, "model": "box", "max_instances": _MAX_FACES, "static_image": True}

    def _thresholds(self, options: FaceDetectorOptions) -> GraphThresholds:
        return GraphThresholds(overlap=options.min_suppression_threshold)

    def _run(self, frame: _task.Frame) -> FaceDetectorResult:
        faces: list[Face] = self._detect(frame)
        return FaceDetectorResult([_detection(face, frame) for face in sorted(faces, key=lambda face: -face.score)])


def _detection(face: Face, frame: _task.Frame) -> _containers.Detection:
    x_min, y_min, x_max, y_max = face.box
    corners = frame.points(np.array([(x_min, y_min, 0), (x_max, y_max, 0)], np.float32))[:, :2]
    size = frame.image.width, frame.image.height
    low, high = corners.min(0) * size, corners.max(0) * size
    # As in MediaPipe, each number is clipped to the image separately: a box that begins left of it keeps its width.
    box = _containers.BoundingBox(*np.clip(np.concatenate([low, high - low]), 0, size * 2).astype(int).tolist())
    points = [_containers.NormalizedKeypoint(x, y, "", 0.0) for x, y in frame.points(face.keypoints)[:, :2].tolist()]
    return _containers.Detection(box, [_containers.Category(0, face.score)], points)


@dataclass
class PoseLandmarkerResult:
    """The people of one image.

    Attributes:
        pose_landmarks: 33 landmarks each with visibility and presence, as parts of the image.
        pose_world_landmarks: The same landmarks in metres, origin between the hips.
        segmentation_masks: (H, W) float32 probability of each person per pixel, or None without the option.
    """

    pose_landmarks: list[list[_containers.NormalizedLandmark]]
    pose_world_landmarks: list[list[_containers.Landmark]]
    segmentation_masks: list[Image] | None = None


@dataclass
class PoseLandmarkerOptions(_task.TaskOptions):
    """Options of `PoseLandmarker`.

    The model bundle is `pose_landmarker.task` or another size such as `pose_landmarker_lite.task`.

    Attributes:
        num_poses: Maximum number of people.
        min_pose_detection_confidence: Minimum score of a person detection, 0 to 1.
        min_pose_presence_confidence: Minimum probability that a crop contains a person, 0 to 1.
        min_tracking_confidence: Minimum IoU of a new person's box and a tracked person to match them in a video. With
            the default, Sonjit compares hips instead, because boxes of people side by side overlap by more than 0.5.
        output_segmentation_masks: Return the masks.
    """

    num_poses: int = 1
    min_pose_detection_confidence: float = 0.5
    min_pose_presence_confidence: float = 0.5
    min_tracking_confidence: float = _BY_HIPS
    output_segmentation_masks: bool = False
    result_callback: Callable[[PoseLandmarkerResult, Image, int], None] | None = None


class PoseLandmarker(_task.DetectorTask[PoseLandmarkerResult], _task.DetectingTask[PoseLandmarkerResult]):
    """Find people in images, videos and live streams. Use as a context manager."""

    options_type = PoseLandmarkerOptions
    kind, model = "body", "pose_landmarker.task"
    arguments: ClassVar = {
        "num_poses": "max_instances",
        "min_pose_detection_confidence": "min_detection_score",
        "min_pose_presence_confidence": "min_presence_score",
        "output_segmentation_masks": "segmentation",
    }

    def _thresholds(self, options: PoseLandmarkerOptions) -> GraphThresholds:
        self._gives_masks = options.output_segmentation_masks
        return PUBLISHED_THRESHOLDS if options.min_tracking_confidence == _BY_HIPS else super()._thresholds(options)

    def _run(self, frame: _task.Frame) -> PoseLandmarkerResult:
        bodies: list[Body] = self._detect(frame)
        masks = [Image(ImageFormat.VEC32F1, frame.mask(body.mask)) for body in bodies if body.mask is not None]
        landmark_pairs = [_pose(frame, body) for body in bodies]
        landmarks, in_metres = [points for points, _ in landmark_pairs], [points for _, points in landmark_pairs]
        return PoseLandmarkerResult(landmarks, in_metres, masks if self._gives_masks and bodies else None)


def _pose(frame: _task.Frame, body: Body) -> tuple[list[_containers.NormalizedLandmark], list[_containers.Landmark]]:
    """Return the landmarks of a body in parts of the image and in metres."""
    scores = body.visibility, body.presence
    return (
        _task.normalized_landmarks(frame.points(body.keypoints), *scores),
        _task.world_landmarks(frame.directions(body.keypoints_3d), *scores),
    )


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

    face_landmarks: list[_containers.NormalizedLandmark]
    pose_landmarks: list[_containers.NormalizedLandmark]
    pose_world_landmarks: list[_containers.Landmark]
    left_hand_landmarks: list[_containers.NormalizedLandmark]
    left_hand_world_landmarks: list[_containers.Landmark]
    right_hand_landmarks: list[_containers.NormalizedLandmark]
    right_hand_world_landmarks: list[_containers.Landmark]
    face_blendshapes: list[_containers.Category] | None = None
    segmentation_mask: Image | None = None

    @classmethod
    def create_from_pb2(cls, pb2_obj: messages.HolisticResult) -> Self:
        """Create from a message, without masks and metric hands."""

        def points(landmark_list: messages.NormalizedLandmarkList) -> list[_containers.NormalizedLandmark]:
            return [_containers.NormalizedLandmark.create_from_pb2(landmark) for landmark in landmark_list.landmark]

        in_metres = list(map(_containers.Landmark.create_from_pb2, pb2_obj.pose_world_landmarks.landmark))
        shapes = list(map(_containers.Category.create_from_pb2, pb2_obj.face_blendshapes.classification))
        face, pose = points(pb2_obj.face_landmarks), points(pb2_obj.pose_landmarks)
        left, right = points(pb2_obj.left_hand_landmarks), points(pb2_obj.right_hand_landmarks)
        return cls(face, pose, in_metres, left, [], right, [], shapes)


@accept_newer_names(
    min_face_presence_confidence="min_face_landmarks_confidence",
    min_pose_presence_confidence="min_pose_landmarks_confidence",
    output_pose_segmentation_masks="output_segmentation_mask",
)
@dataclass
class HolisticLandmarkerOptions(_task.TaskOptions):
    """Options of `HolisticLandmarker`. Names of MediaPipe 1.2.3 are accepted.

    The model bundle is `holistic_landmarker.task`. Without a bundle, the published networks of bodies, hands and faces
    run.

    Attributes:
        min_face_detection_confidence: Minimum score of a face detection in the head crop, 0 to 1.
        min_face_suppression_threshold: Minimum IoU of face boxes that are blended into one face.
        min_face_landmarks_confidence: Minimum probability that a crop contains a face, 0 to 1.
        min_pose_detection_confidence: Minimum score of a person detection, 0 to 1.
        min_pose_suppression_threshold: Minimum IoU of boxes that are blended into one person.
        min_pose_landmarks_confidence: Minimum probability that a crop contains a body, 0 to 1.
        min_hand_landmarks_confidence: Minimum probability that a crop contains a hand, 0 to 1.
        output_face_blendshapes: Return blendshapes. The published networks have none.
        output_segmentation_mask: Return the mask.
    """

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


class HolisticLandmarker(_task.DetectorTask[HolisticLandmarkerResult], _task.DetectingTask[HolisticLandmarkerResult]):
    """Find one person with hands and face in images, videos and live streams. Use as a context manager."""

    options_type = HolisticLandmarkerOptions
    kind, model = "holistic", "holistic_landmarker.task"
    arguments: ClassVar = {
        "min_pose_detection_confidence": "min_detection_score",
        "min_pose_landmarks_confidence": "min_presence_score",
        "output_segmentation_mask": "segmentation",
        "output_face_blendshapes": "blendshapes",
    }

    def _models(self, file: Path) -> dict[str, object]:
        return {"landmark_model": file if file.is_file() else None, "max_instances": 1}

    def _thresholds(self, options: HolisticLandmarkerOptions) -> GraphThresholds:
        return GraphThresholds(
            overlap=options.min_pose_suppression_threshold,
            face_detection=options.min_face_detection_confidence,
            face_overlap=options.min_face_suppression_threshold,
            face_presence=options.min_face_landmarks_confidence,
            hand_presence=options.min_hand_landmarks_confidence,
            searches_parts=True,
        )

    def _run(self, frame: _task.Frame) -> HolisticLandmarkerResult:
        people: list[Person] = self._detect(frame)
        if not people:
            return HolisticLandmarkerResult([], [], [], [], [], [], [])
        person = people[0]
        body = person.body

        def landmarks(part: Hand | Face | None) -> list[_containers.NormalizedLandmark]:
            return [] if part is None else _task.normalized_landmarks(frame.points(part.keypoints))

        def in_metres(hand: Hand | None, wrist: int) -> list[_containers.Landmark]:
            if hand is None:
                return []
            moved = hand.keypoints_3d + (body.keypoints_3d[wrist] - hand.keypoints_3d[0])
            return _task.world_landmarks(frame.directions(moved))

        shapes = None if person.face is None else person.face.blendshapes
        return HolisticLandmarkerResult(
            landmarks(person.face),
            *_pose(frame, body),
            landmarks(person.left_hand),
            in_metres(person.left_hand, _LEFT_WRIST),
            landmarks(person.right_hand),
            in_metres(person.right_hand, _RIGHT_WRIST),
            face_blendshapes=None if shapes is None else _blendshape_categories(shapes),
            segmentation_mask=None if body.mask is None else Image(ImageFormat.VEC32F1, frame.mask(body.mask)),
        )
