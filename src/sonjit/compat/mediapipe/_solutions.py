"""The classes of `mediapipe.solutions`: they find hands, faces, bodies, people and masks in RGB arrays."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, Image
from sonjit._util.files import Closing
from sonjit.compat.mediapipe import _detector, _messages
from sonjit.compat.mediapipe._connections import *  # noqa: F403  # names that MediaPipe has here too
from sonjit.compat.mediapipe._connections import FaceKeyPoint
from sonjit.compat.mediapipe._images import ImageError
from sonjit.compat.mediapipe._selfie import SELFIE_WEIGHTS, SelfieModel, load_selfie_segmenter
from sonjit.detectors.options import PUBLISHED_THRESHOLDS, GraphThresholds
from sonjit.engines import EngineOptions, Precision, load_ahead
from sonjit.results import Body, Face, Hand, Person
from sonjit.weights import find_weight

Found = TypeVar("Found")

_LABELS = ("Left", "Right")
_HAND_MODELS = {0: "lite", 1: "full"}
_BODY_MODELS = {0: "lite", 1: "full", 2: "heavy"}
_FACE_MODELS = {0: "short range", 1: "full range"}
_SELFIE_MODELS: dict[int, SelfieModel] = {0: "general", 1: "landscape"}
_MAX_FACES = 100  # more than the networks distinguish


class Solution(Closing, ABC, Generic[Found]):
    """Base of the solutions. Use as a context manager.

    Raise InputError, a ValueError, if a value is out of range, or weights are missing.
    """

    _loading: Future[Any]

    def process(self, image: NDArray[Any]) -> Found:
        """Detect instances in one image.

        Args:
            image: (H, W, 3) uint8 RGB; it is only read.

        Raise ImageError, a ValueError, if the argument is not such an array, and InputError, a ValueError, if the
        object is closed.
        """
        if image is None:  # pyright: ignore[reportUnnecessaryComparison]  # scripts pass anything
            raise ImageError("process() got None for an image: the file or the camera frame could not be read")
        if not isinstance(image, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ImageError(f"process() takes an RGB array, not a {type(image).__name__}")
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ImageError(
                f"Input image must contain three channel rgb data: (H, W, 3) uint8, not {image.shape} {image.dtype}"
            )
        return self._outputs(image)

    @abstractmethod
    def _outputs(self, image: Image) -> Found: ...

    def reset(self) -> None:
        """Do nothing, because images are independent."""

    def close(self) -> None:
        """Free the networks."""
        _detector.free_loaded(self._loading)


class DetectorSolution(Solution[Found]):
    """Base of the solutions that run one detector."""

    def _open(
        self,
        kind: str,
        static_image_mode: bool,
        confidences: tuple[float | None, float],
        options: Mapping[str, object],
        thresholds: GraphThresholds = PUBLISHED_THRESHOLDS,
    ) -> None:
        """Create the detector from MediaPipe's confidences of detection and tracking, and our options."""
        detection, tracking = confidences
        _detector.check_confidences(min_detection_confidence=detection, min_tracking_confidence=tracking)
        scores = {"min_detection_score": detection, "min_presence_score": tracking}
        self._loading = _detector.open_detector(
            kind, {"static_image": static_image_mode, **scores, **options}, thresholds
        )
        self._order = _detector.InstanceOrder(new_first=True)

    def _detect(self, image: Image) -> list[Any]:
        return self._order.sort(self._loading.result().detect(image))

    def reset(self) -> None:
        """Forget all tracks. The next image starts a new video."""
        self._loading.result().reset()
        self._order.reset()


class HandsOutputs(NamedTuple):
    """Results of `Hands.process`: lists with one entry per hand, or None for no hand.

    Attributes:
        multi_hand_landmarks: 21 landmarks each, as parts of the image.
        multi_hand_world_landmarks: The same landmarks in metres, origin at the hand's centre.
        multi_handedness: One classification each, "Left" or "Right".
    """

    multi_hand_landmarks: list[_messages.NormalizedLandmarkList] | None = None
    multi_hand_world_landmarks: list[_messages.LandmarkList] | None = None
    multi_handedness: list[_messages.ClassificationList] | None = None


class Hands(DetectorSolution[HandsOutputs]):
    """Find hands in images. Use as a context manager.

    Labels apply to selfie views, as in MediaPipe. Flip other images first, or exchange "Left" and "Right".

    Args:
        static_image_mode: True if images are independent, False if they are frames of one video.
        max_num_hands: Maximum number of hands.
        model_complexity: 0 for the lite networks, 1 for the full ones.
        min_detection_confidence: Minimum score of a palm detection, 0 to 1.
        min_tracking_confidence: Minimum probability that a crop contains a hand, 0 to 1.
        search_interval: Frames between searches for more hands while some are tracked; an option of Sonjit. 1 is the
            schedule of MediaPipe and slower.
        precision: Number format of the networks; "f32" computes as MediaPipe does.
    """

    def __init__(
        self,
        static_image_mode: bool = False,
        max_num_hands: int = 2,
        model_complexity: int = 1,
        min_detection_confidence: float = 0.5,
        min_tracking_confidence: float = 0.5,
        *,
        search_interval: int = 5,
        precision: Precision = "f32",
    ) -> None:
        model = _detector.choice("model_complexity", model_complexity, _HAND_MODELS)
        _detector.check_count(max_num_hands=max_num_hands)
        confidences = min_detection_confidence, min_tracking_confidence
        options = {"search_interval": search_interval, "precision": precision, "mirrored": True}
        options |= {"model": model, "max_instances": max_num_hands}
        self._open("hands", static_image_mode, confidences, options)

    def _outputs(self, image: Image) -> HandsOutputs:
        hands: list[Hand] = self._detect(image)
        if not hands:
            return HandsOutputs()
        return HandsOutputs(
            [_messages.image_landmarks(hand.keypoints, image) for hand in hands],
            [_messages.world_landmarks(hand.keypoints_3d) for hand in hands],
            [_messages.ClassificationList(classification=[_classification(hand)]) for hand in hands],
        )


def _classification(hand: Hand) -> _messages.Classification:
    return _messages.Classification(
        index=_LABELS.index(hand.handedness), score=hand.handedness_score, label=hand.handedness
    )


class FaceMeshOutputs(NamedTuple):
    """Results of `FaceMesh.process`.

    Attributes:
        multi_face_landmarks: 468 or 478 landmarks per face, as parts of the image; None for no face.
    """

    multi_face_landmarks: list[_messages.NormalizedLandmarkList] | None = None


class FaceMesh(DetectorSolution[FaceMeshOutputs]):
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
        _detector.check_count(max_num_faces=max_num_faces)
        model = "attention" if refine_landmarks else "mesh"
        confidences = min_detection_confidence, min_tracking_confidence
        options = {"search_interval": search_interval, "precision": precision}
        options |= {"model": model, "max_instances": max_num_faces}
        self._open("face", static_image_mode, confidences, options)

    def _outputs(self, image: Image) -> FaceMeshOutputs:
        faces: list[Face] = self._detect(image)
        return FaceMeshOutputs([_messages.image_landmarks(face.keypoints, image) for face in faces] or None)


class FaceDetectionOutputs(NamedTuple):
    """Results of `FaceDetection.process`.

    Attributes:
        detections: One detection per face, best first, or None without faces.
    """

    detections: list[_messages.Detection] | None = None


def get_key_point(
    detection: _messages.Detection, key_point_enum: FaceKeyPoint
) -> _messages.LocationData.RelativeKeypoint | None:
    """Return a normalised key point of a face, or None for a detection without key points."""
    points = detection.location_data.relative_keypoints
    return points[key_point_enum] if points else None


class FaceDetection(DetectorSolution[FaceDetectionOutputs]):
    """Find faces in independent images. Use as a context manager.

    Args:
        min_detection_confidence: Minimum score of a face detection, 0 to 1. Default: 0.5, for the full range 0.6.
            MediaPipe's Python package takes this argument and ignores it: its defaults always apply.
            Sonjit adds weaker faces or omits uncertain ones. The boxes of the others do not change.
        model_selection: 0 for faces up to about 2 m away, 1 for those up to about 5 m.
        precision: Number format of the networks; "f32" computes as MediaPipe does.
    """

    def __init__(
        self, min_detection_confidence: float | None = None, model_selection: int = 0, *, precision: Precision = "f32"
    ) -> None:
        is_full = _detector.choice("model_selection", model_selection, _FACE_MODELS) == _FACE_MODELS[1]
        thresholds = GraphThresholds(blended=0.6 if is_full else 0.5)
        options = {"model": "box-full" if is_full else "box", "max_instances": _MAX_FACES, "precision": precision}
        self._open("face", True, (min_detection_confidence, 0.5), options, thresholds)

    def _outputs(self, image: Image) -> FaceDetectionOutputs:
        height, width = image.shape[:2]
        faces: list[Face] = self._detect(image)
        return FaceDetectionOutputs([_face_detection(face, width, height) for face in faces] or None)


def _face_detection(face: Face, width: int, height: int) -> _messages.Detection:
    x_min, y_min, x_max, y_max = face.box
    box = _messages.LocationData.RelativeBoundingBox(
        xmin=x_min / width, ymin=y_min / height, width=(x_max - x_min) / width, height=(y_max - y_min) / height
    )
    location = _messages.LocationData(format=_messages.LocationData.RELATIVE_BOUNDING_BOX, relative_bounding_box=box)
    detection = _messages.Detection(label_id=[0], score=[face.score], location_data=location)
    for x, y, _ in face.keypoints.tolist():
        detection.location_data.relative_keypoints.add(x=x / width, y=y / height)
    return detection


class PoseOutputs(NamedTuple):
    """Results of `Pose.process`. Without a person, all are None.

    Attributes:
        pose_landmarks: 33 landmarks with their visibility, as parts of the image.
        pose_world_landmarks: The same landmarks in metres, origin between the hips.
        segmentation_mask: (H, W) float32 probability of the person per pixel, or None without the option.
    """

    pose_landmarks: _messages.NormalizedLandmarkList | None = None
    pose_world_landmarks: _messages.LandmarkList | None = None
    segmentation_mask: Float32Array | None = None


class Pose(DetectorSolution[PoseOutputs]):
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
        options = {
            "model": _detector.choice("model_complexity", model_complexity, _BODY_MODELS),
            "smoothing": "published" if smooth_landmarks else None,
            "segmentation": enable_segmentation,
            "smooth_segmentation": smooth_segmentation,
            "precision": precision,
        }
        self._open("body", static_image_mode, (min_detection_confidence, min_tracking_confidence), options)

    def _outputs(self, image: Image) -> PoseOutputs:
        bodies: list[Body] = self._detect(image)
        return _pose_outputs(bodies[0], image) if bodies else PoseOutputs()


def _pose_outputs(body: Body, image: Image) -> PoseOutputs:
    """Return the outputs for a body in an image (H, W, 3)."""
    return PoseOutputs(
        _messages.image_landmarks(body.keypoints, image, body.visibility),
        _messages.world_landmarks(body.keypoints_3d, body.visibility),
        None if body.mask is None else body.mask.copy(),  # callers write into it
    )


class HolisticOutputs(NamedTuple):
    """Results of `Holistic.process`. Missing parts are None.

    Attributes:
        pose_landmarks: 33 landmarks with their visibility, as parts of the image.
        pose_world_landmarks: The same landmarks in metres, origin between the hips.
        left_hand_landmarks: 21 landmarks of the person's own left hand, at the pose's left wrist.
        right_hand_landmarks: 21 landmarks of the person's own right hand.
        face_landmarks: 468 landmarks, or 478 with irises.
        segmentation_mask: (H, W) float32 probability of the person per pixel, or None without the option.
    """

    pose_landmarks: _messages.NormalizedLandmarkList | None = None
    pose_world_landmarks: _messages.LandmarkList | None = None
    left_hand_landmarks: _messages.NormalizedLandmarkList | None = None
    right_hand_landmarks: _messages.NormalizedLandmarkList | None = None
    face_landmarks: _messages.NormalizedLandmarkList | None = None
    segmentation_mask: Float32Array | None = None


class Holistic(DetectorSolution[HolisticOutputs]):
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
        options = {
            "model": _detector.choice("model_complexity", model_complexity, _BODY_MODELS),
            "hand_model": "full",
            "face_model": "attention" if refine_face_landmarks else "mesh",
            "smoothing": "published" if smooth_landmarks else None,
            "segmentation": enable_segmentation,
            "smooth_segmentation": smooth_segmentation,
            "search_interval": search_interval,
            "precision": precision,
        }
        confidences = min_detection_confidence, min_tracking_confidence
        thresholds = GraphThresholds(searches_parts=search_interval == 1)
        self._open("holistic", static_image_mode, confidences, options, thresholds)

    def _outputs(self, image: Image) -> HolisticOutputs:
        people: list[Person] = self._detect(image)
        if not people:
            return HolisticOutputs()
        pose = _pose_outputs(people[0].body, image)

        def landmarks(part: Hand | Face | None) -> _messages.NormalizedLandmarkList | None:
            return None if part is None else _messages.image_landmarks(part.keypoints, image)

        return HolisticOutputs(
            pose.pose_landmarks,
            pose.pose_world_landmarks,
            landmarks(people[0].left_hand),
            landmarks(people[0].right_hand),
            landmarks(people[0].face),
            pose.segmentation_mask,
        )


class SelfieOutputs(NamedTuple):
    """Results of `SelfieSegmentation.process`.

    Attributes:
        segmentation_mask: (H, W) float32 probability of a person per pixel.
    """

    segmentation_mask: Float32Array


class SelfieSegmentation(Solution[SelfieOutputs]):
    """Segment people in images. Use as a context manager.

    Args:
        model_selection: 0 for the general network, 1 for the landscape one, which is faster.
        precision: Number format of the networks; "f32" computes as MediaPipe does.
    """

    def __init__(self, model_selection: int = 0, *, precision: Precision = "f32") -> None:
        model = _detector.choice("model_selection", model_selection, _SELFIE_MODELS)
        find_weight(SELFIE_WEIGHTS[model])  # report a missing file here and not at the first image
        EngineOptions(precision=precision)
        self._loading = load_ahead(lambda: load_selfie_segmenter(model, precision=precision))

    def _outputs(self, image: Image) -> SelfieOutputs:
        return SelfieOutputs(self._loading.result().mask(image))


for _kind in (HandsOutputs, FaceMeshOutputs, FaceDetectionOutputs, PoseOutputs, HolisticOutputs, SelfieOutputs):
    _kind.__name__ = "SolutionOutputs"  # in their texts, as in MediaPipe
