"""`GestureRecognizer`: hands and their gestures, under MediaPipe's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sonjit._util.errors import InputError
from sonjit.compat.mediapipe.containers import Category, Landmark, NormalizedLandmark
from sonjit.compat.mediapipe.image import Image
from sonjit.compat.mediapipe.solution import load_ahead
from sonjit.compat.mediapipe.task_options import (
    BaseOptions,
    ClassifierOptions,
    ImageProcessingOptions,
    VisionTaskRunningMode,
    accept_newer_names,
)
from sonjit.compat.mediapipe.tasks.python.vision.core.base_vision_task_api import Frame, as_model_errors
from sonjit.compat.mediapipe.tasks.python.vision.hand_landmarker import HandTask, hand_lists
from sonjit.detectors.kinds import gesture_bundle
from sonjit.detectors.kinds.gesture_bundle import CUSTOM, GestureNetworks
from sonjit.engines import EngineOptions
from sonjit.gestures import gesture_of
from sonjit.results import Hand
from sonjit.weights import cache_folder, load_bundle

__all__ = ["GestureRecognizer", "GestureRecognizerOptions", "GestureRecognizerResult"]

BUNDLE = "gesture_recognizer.task"
_NO_INDEX = -1
_NAMES = {"Closed_Fist", "Open_Palm", "Pointing_Up", "Thumb_Down", "Thumb_Up", "Victory", "ILoveYou"}
"""Gestures of MediaPipe's recogniser."""
_NONE = "None"


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
    """Options of `GestureRecognizer`. The names of MediaPipe 1.2.3 are accepted too.

    Attributes:
        base_options: Model bundle, `gesture_recognizer.task`, with custom gestures if it has any. Without a bundle, the
            published hand networks find hands and Sonjit's network classifies their gestures.
        running_mode: Type of input: images, a video or a live stream.
        num_hands: Maximum number of hands.
        min_hand_detection_confidence: Minimum score of a palm detection, 0 to 1.
        min_hand_presence_confidence: Minimum probability that a crop contains a hand, 0 to 1.
        min_tracking_confidence: Minimum IoU of a new palm's box and a tracked hand to match them in a video.
        canned_gesture_classifier_options: Gestures that are reported; "None" replaces all others.
        custom_gesture_classifier_options: The same for custom gestures of a bundle, which take precedence.
        result_callback: Function that takes result, image and timestamp in milliseconds. Only for live streams.
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

    def _open(self, options: GestureRecognizerOptions) -> None:
        canned, custom = options.canned_gesture_classifier_options, options.custom_gesture_classifier_options
        canned.check()
        custom.check()
        bundle = load_bundle(options.base_options.file(BUNDLE))
        self._chosen = [custom, canned] if CUSTOM in bundle.members else [canned]
        if CUSTOM not in bundle.members and custom != ClassifierOptions():
            raise InputError(f"custom_gesture_classifier_options={custom}: {bundle.name} has no custom gestures")
        self._open_hands(options, BUNDLE)
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
        return GestureRecognizerResult(gestures, *hand_lists(frame, hands))

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
    return Category(_NO_INDEX, score, display_name="", category_name=name)
