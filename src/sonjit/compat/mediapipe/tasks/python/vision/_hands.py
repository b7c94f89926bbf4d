"""`HandLandmarker` and `GestureRecognizer`: hands and their gestures, under MediaPipe's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from sonjit._util.errors import InputError
from sonjit.compat.mediapipe._containers import Category, Connection, Landmark, NormalizedLandmark, connections
from sonjit.compat.mediapipe._images import Image
from sonjit.compat.mediapipe._options import (
    BaseOptions,
    ClassifierOptions,
    ImageProcessingOptions,
    VisionTaskRunningMode,
    accept_newer_names,
)
from sonjit.compat.mediapipe._solution import load_ahead
from sonjit.compat.mediapipe.solutions import hands_connections as lines
from sonjit.compat.mediapipe.solutions.hands_connections import HandLandmark
from sonjit.compat.mediapipe.tasks.python.vision._task import (
    DetectingTask,
    DetectorTask,
    Found,
    Frame,
    as_model_errors,
    normalized_landmarks,
    world_landmarks,
)
from sonjit.detectors.kinds import gesture_bundle
from sonjit.detectors.kinds.gesture_bundle import CUSTOM, GestureNetworks
from sonjit.engines import EngineOptions
from sonjit.gestures import gesture_of
from sonjit.results import Hand
from sonjit.weights import cache_folder, load_bundle

__all__ = [
    "Connection",
    "GestureRecognizer",
    "GestureRecognizerOptions",
    "GestureRecognizerResult",
    "HandLandmark",
    "HandLandmarker",
    "HandLandmarkerOptions",
    "HandLandmarkerResult",
    "HandLandmarksConnections",
]

_LABELS = ("Right", "Left")
_NAMES = {"Closed_Fist", "Open_Palm", "Pointing_Up", "Thumb_Down", "Thumb_Up", "Victory", "ILoveYou"}
"""Gestures of MediaPipe's recogniser."""
_NONE = "None"


class HandLandmarksConnections:
    """The lines of a hand."""

    Connection: ClassVar = Connection
    HAND_PALM_CONNECTIONS: ClassVar = connections(lines.HAND_PALM_CONNECTIONS)
    HAND_THUMB_CONNECTIONS: ClassVar = connections(lines.HAND_THUMB_CONNECTIONS)
    HAND_INDEX_FINGER_CONNECTIONS: ClassVar = connections(lines.HAND_INDEX_FINGER_CONNECTIONS)
    HAND_MIDDLE_FINGER_CONNECTIONS: ClassVar = connections(lines.HAND_MIDDLE_FINGER_CONNECTIONS)
    HAND_RING_FINGER_CONNECTIONS: ClassVar = connections(lines.HAND_RING_FINGER_CONNECTIONS)
    HAND_PINKY_FINGER_CONNECTIONS: ClassVar = connections(lines.HAND_PINKY_FINGER_CONNECTIONS)
    HAND_CONNECTIONS: ClassVar = [
        *HAND_PALM_CONNECTIONS,
        *HAND_THUMB_CONNECTIONS,
        *HAND_INDEX_FINGER_CONNECTIONS,
        *HAND_MIDDLE_FINGER_CONNECTIONS,
        *HAND_RING_FINGER_CONNECTIONS,
        *HAND_PINKY_FINGER_CONNECTIONS,
    ]


@dataclass
class HandLandmarkerResult:
    """The hands of one image.

    Attributes:
        handedness: One category each: the person's own hand in an image that is not mirrored. `solutions` assume a
            selfie view.
        hand_landmarks: 21 landmarks each, as parts of the image.
        hand_world_landmarks: The same landmarks in metres, origin at the hand's centre.
    """

    handedness: list[list[Category]]
    hand_landmarks: list[list[NormalizedLandmark]]
    hand_world_landmarks: list[list[Landmark]]


@dataclass
class HandLandmarkerOptions:
    """Options of `HandLandmarker`. `TaskOptions` describes the modes.

    Attributes:
        base_options: Model bundle, `hand_landmarker.task`.
        num_hands: Maximum number of hands.
        min_hand_detection_confidence: Minimum score of a palm detection, 0 to 1.
        min_hand_presence_confidence: Minimum probability that a crop contains a hand, 0 to 1.
        min_tracking_confidence: Minimum IoU of a new palm's box and a tracked hand to match them in a video.
    """

    base_options: BaseOptions
    running_mode: VisionTaskRunningMode = VisionTaskRunningMode.IMAGE
    num_hands: int = 1
    min_hand_detection_confidence: float = 0.5
    min_hand_presence_confidence: float = 0.5
    min_tracking_confidence: float = 0.5
    result_callback: Callable[[HandLandmarkerResult, Image, int], None] | None = None


class HandTask(DetectorTask[Found]):
    """Base of the tasks that find hands."""

    kind, model = "hands", "hand_landmarker.task"
    arguments: ClassVar = {
        "num_hands": "max_instances",
        "min_hand_detection_confidence": "min_detection_score",
        "min_hand_presence_confidence": "min_presence_score",
    }
    turns_as_mediapipe = True


class HandLandmarker(HandTask[HandLandmarkerResult], DetectingTask[HandLandmarkerResult]):
    """Find hands in images, videos and live streams. Use as a context manager."""

    options_type = HandLandmarkerOptions

    def _run(self, frame: Frame) -> HandLandmarkerResult:
        return HandLandmarkerResult(*_hand_lists(frame, self._detect(frame)))


def _hand_lists(
    frame: Frame, hands: list[Hand]
) -> tuple[list[list[Category]], list[list[NormalizedLandmark]], list[list[Landmark]]]:
    """Handedness, landmarks and world landmarks of hands."""
    return (
        [[_side(hand)] for hand in hands],
        [normalized_landmarks(frame.points(hand.keypoints)) for hand in hands],
        [world_landmarks(frame.directions(hand.keypoints_3d)) for hand in hands],
    )


def _side(hand: Hand) -> Category:
    side = hand.handedness
    return Category(_LABELS.index(side), hand.handedness_score, display_name=side, category_name=side)


@dataclass
class GestureRecognizerResult:
    """Hands and gestures of one image.

    Attributes:
        gestures: Best category of each hand. Its index is always -1.
        handedness: One category each: the person's own hand in an image that is not mirrored.
        hand_landmarks: 21 landmarks each, as parts of the image.
        hand_world_landmarks: The same landmarks in metres, origin at the hand's centre.
    """

    gestures: list[list[Category]]
    handedness: list[list[Category]]
    hand_landmarks: list[list[NormalizedLandmark]]
    hand_world_landmarks: list[list[Landmark]]


@accept_newer_names(
    canned_gestures_classifier_options="canned_gesture_classifier_options",
    custom_gestures_classifier_options="custom_gesture_classifier_options",
)
@dataclass
class GestureRecognizerOptions:
    """Options of `GestureRecognizer`. `TaskOptions` describes the modes. Names of MediaPipe 1.2.3 are accepted.

    Attributes:
        base_options: Model bundle, `gesture_recognizer.task`, with custom gestures if it has any. Without a bundle, the
            published hand networks find hands and Sonjit's network classifies their gestures.
        num_hands: Maximum number of hands.
        min_hand_detection_confidence: Minimum score of a palm detection, 0 to 1.
        min_hand_presence_confidence: Minimum probability that a crop contains a hand, 0 to 1.
        min_tracking_confidence: Minimum IoU of a new palm's box and a tracked hand to match them in a video.
        canned_gesture_classifier_options: Gestures that are reported; "None" replaces all others.
        custom_gesture_classifier_options: The same for custom gestures of a bundle, which take precedence.
    """

    base_options: BaseOptions
    running_mode: VisionTaskRunningMode = VisionTaskRunningMode.IMAGE
    num_hands: int = 1
    min_hand_detection_confidence: float = 0.5
    min_hand_presence_confidence: float = 0.5
    min_tracking_confidence: float = 0.5
    canned_gesture_classifier_options: ClassifierOptions = field(default_factory=ClassifierOptions)
    custom_gesture_classifier_options: ClassifierOptions = field(default_factory=ClassifierOptions)
    result_callback: Callable[[GestureRecognizerResult, Image, int], None] | None = None


class GestureRecognizer(HandTask[GestureRecognizerResult]):
    """Recognise gestures in images, videos and live streams. Use as a context manager."""

    options_type = GestureRecognizerOptions
    model = "gesture_recognizer.task"

    def _open(self, options: GestureRecognizerOptions) -> None:
        canned, custom = options.canned_gesture_classifier_options, options.custom_gesture_classifier_options
        canned.check()
        custom.check()
        bundle = load_bundle(options.base_options.file(self.model))
        self._chosen = [custom, canned] if CUSTOM in bundle.members else [canned]
        if CUSTOM not in bundle.members and custom != ClassifierOptions():
            raise InputError(f"custom_gesture_classifier_options={custom}: {bundle.name} has no custom gestures")
        super()._open(options)
        running = EngineOptions(cache=cache_folder() / "compiled")
        self._gestures_loading = load_ahead(lambda: gesture_bundle.load_gestures(bundle, running))

    def recognize(
        self, image: Image, image_processing_options: ImageProcessingOptions | None = None
    ) -> GestureRecognizerResult:
        """Recognise the gestures of the hands in one image. Raise the same errors as `HandLandmarker.detect`."""
        return self._process_image(image, image_processing_options)

    def recognize_for_video(
        self, image: Image, timestamp_ms: int, image_processing_options: ImageProcessingOptions | None = None
    ) -> GestureRecognizerResult:
        """Recognise gestures in the next frame of a video. Raise as `HandLandmarker.detect_for_video`."""
        return self._process_video(image, timestamp_ms, image_processing_options)

    def recognize_async(
        self, image: Image, timestamp_ms: int, image_processing_options: ImageProcessingOptions | None = None
    ) -> None:
        """Pass the next frame of a live stream. Raise the same errors as `HandLandmarker.detect_async`."""
        self._send(image, timestamp_ms, image_processing_options)

    def _run(self, frame: Frame) -> GestureRecognizerResult:
        hands: list[Hand] = self._detect(frame)
        with as_model_errors():
            networks = self._gestures_loading.result()
        gestures = [self._gestures(networks, frame, hand) for hand in hands]
        return GestureRecognizerResult(gestures, *_hand_lists(frame, hands))

    def _gestures(self, networks: GestureNetworks | None, frame: Frame, hand: Hand) -> list[Category]:
        """Return the best category of the first classifier that recognises a gesture, otherwise the first "None"."""
        if networks is None:
            classified = [[_by_keypoints(hand)]]
        else:
            scores = networks.scores(hand, max(frame.rgb.shape[:2]), frame.image.width)
            classified = [[_category(*item) for item in score.items()] for score in scores]
        best = [categories[:1] for categories in map(ClassifierOptions.choose, self._chosen, classified) if categories]
        return next(
            (categories for categories in best if categories[0].category_name != _NONE), best[0] if best else []
        )


def _by_keypoints(hand: Hand) -> Category:
    """Return the gesture if it is one of MediaPipe's, otherwise "None"."""
    name, score = gesture_of(hand) or (_NONE, 1.0)
    return _category(name if name in _NAMES else _NONE, score)


def _category(name: str, score: float) -> Category:
    return Category(-1, score, display_name="", category_name=name)
