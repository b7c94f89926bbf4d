"""`HandLandmarker`, `GestureRecognizer` and `ImageSegmenter`, under MediaPipe's names.

The segmenter has the selfie network, which gives the mask of the people in front of a camera.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sonjit._util import Float32Array, InputError
from sonjit.compat.mediapipe._connections import *  # noqa: F403  # names that MediaPipe has here too
from sonjit.compat.mediapipe._containers import Category, Landmark, NormalizedLandmark
from sonjit.compat.mediapipe._detector import free_loaded
from sonjit.compat.mediapipe._images import Image, ImageFormat
from sonjit.compat.mediapipe._options import ClassifierOptions, accept_newer_names
from sonjit.compat.mediapipe._selfie import SELFIE_WEIGHTS, SelfieModel, load_selfie_segmenter, resized_mask
from sonjit.compat.mediapipe.tasks.python.vision import _task
from sonjit.detectors.kinds import gesture_bundle
from sonjit.detectors.kinds.gesture_bundle import CUSTOM, GestureNetworks
from sonjit.engines import EngineOptions, load_ahead
from sonjit.gestures import gesture_of
from sonjit.results import Hand
from sonjit.weights import cache_folder, find_weight, load_bundle

_LABELS = ("Right", "Left")
_NAMES = {"Closed_Fist", "Open_Palm", "Pointing_Up", "Thumb_Down", "Thumb_Up", "Victory", "ILoveYou"}
"""Gestures of MediaPipe's recogniser. Others become "None"."""
_NONE = "None"
NETWORK = "selfie_segmenter.tflite"
_BACKGROUND = 255


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
class HandOptions(_task.TaskOptions):
    """Options of the tasks that find hands.

    Attributes:
        num_hands: Maximum number of hands.
        min_hand_detection_confidence: Minimum score of a palm detection, 0 to 1.
        min_hand_presence_confidence: Minimum probability that a crop contains a hand, 0 to 1.
        min_tracking_confidence: Minimum IoU of a new palm's box and a tracked hand to match them in a video.
    """

    num_hands: int = 1
    min_hand_detection_confidence: float = 0.5
    min_hand_presence_confidence: float = 0.5
    min_tracking_confidence: float = 0.5


@dataclass
class HandLandmarkerOptions(HandOptions):
    """Options of `HandLandmarker`, with the model bundle `hand_landmarker.task`."""

    result_callback: Callable[[HandLandmarkerResult, Image, int], None] | None = None


class HandTask(_task.DetectorTask[_task.Found]):
    """Base of the tasks that find hands."""

    kind, model = "hands", "hand_landmarker.task"
    arguments: ClassVar = {
        "num_hands": "max_instances",
        "min_hand_detection_confidence": "min_detection_score",
        "min_hand_presence_confidence": "min_presence_score",
    }
    turns_as_mediapipe = True


class HandLandmarker(HandTask[HandLandmarkerResult], _task.DetectingTask[HandLandmarkerResult]):
    """Find hands in images, videos and live streams. Use as a context manager."""

    options_type = HandLandmarkerOptions

    def _run(self, frame: _task.Frame) -> HandLandmarkerResult:
        return HandLandmarkerResult(*_hand_lists(frame, self._detect(frame)))


def _hand_lists(
    frame: _task.Frame, hands: list[Hand]
) -> tuple[list[list[Category]], list[list[NormalizedLandmark]], list[list[Landmark]]]:
    """Return the handedness, landmarks and world landmarks of hands."""
    return (
        [[_side(hand)] for hand in hands],
        [_task.normalized_landmarks(frame.points(hand.keypoints)) for hand in hands],
        [_task.world_landmarks(frame.directions(hand.keypoints_3d)) for hand in hands],
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
class GestureRecognizerOptions(HandOptions):
    """Options of `GestureRecognizer`. Names of MediaPipe 1.2.3 are accepted.

    The model bundle is `gesture_recognizer.task`, with custom gestures if it has any. Without a bundle, the published
    hand networks find hands and Sonjit's network classifies their gestures.

    Attributes:
        canned_gesture_classifier_options: Gestures that are reported; "None" replaces all others.
        custom_gesture_classifier_options: The same for custom gestures of a bundle, which take precedence.
    """

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

    recognize = _task.BaseVisionTaskApi[GestureRecognizerResult]._process_image
    recognize_for_video = _task.BaseVisionTaskApi[GestureRecognizerResult]._process_video
    recognize_async = _task.BaseVisionTaskApi[GestureRecognizerResult]._send

    def _run(self, frame: _task.Frame) -> GestureRecognizerResult:
        hands: list[Hand] = self._detect(frame)
        with _task.as_model_errors():
            networks = self._gestures_loading.result()
        gestures = [self._gestures(networks, frame, hand) for hand in hands]
        return GestureRecognizerResult(gestures, *_hand_lists(frame, hands))

    def _gestures(self, networks: GestureNetworks | None, frame: _task.Frame, hand: Hand) -> list[Category]:
        """Return the best category of the first classifier that recognises a gesture, otherwise the first "None"."""
        if networks is None:
            name, score = gesture_of(hand) or (_NONE, 1.0)
            classified = [[_category(name if name in _NAMES else _NONE, score)]]
        else:
            scores = networks.scores(hand, max(frame.rgb.shape[:2]), frame.image.width)
            classified = [[_category(*item) for item in score.items()] for score in scores]
        best = [categories[:1] for categories in map(ClassifierOptions.choose, self._chosen, classified) if categories]
        return next(
            (categories for categories in best if categories[0].category_name != _NONE), best[0] if best else []
        )


def _category(name: str, score: float) -> Category:
    return Category(-1, score, display_name="", category_name=name)


@dataclass
class ImageSegmenterResult:
    """The masks of one image.

    Attributes:
        confidence_masks: One (H, W) float32 probability of a person per pixel, or None without the option.
        category_mask: (H, W) uint8, 0 for people and 255 for the background, or None without the option.
    """

    confidence_masks: list[Image] | None = None
    category_mask: Image | None = None


@dataclass
class ImageSegmenterOptions(_task.TaskOptions):
    """Options of `ImageSegmenter`.

    The network is `selfie_segmenter.tflite` or the faster `selfie_segmenter_landscape.tflite`. Without such a file, the
    published network runs.

    Attributes:
        output_confidence_masks: Return probabilities.
        output_category_mask: Return categories.
    """

    output_confidence_masks: bool = True
    output_category_mask: bool = False
    result_callback: Callable[[ImageSegmenterResult, Image, int], None] | None = None


class ImageSegmenter(_task.BaseVisionTaskApi[ImageSegmenterResult]):
    """Segment people in images, videos and live streams. Use as a context manager."""

    options_type = ImageSegmenterOptions

    def _open(self, options: ImageSegmenterOptions) -> None:
        if not options.output_confidence_masks and not options.output_category_mask:
            raise InputError("output_confidence_masks and output_category_mask are both False: ask for one of them")
        path = options.base_options.file(NETWORK)
        self._options = options
        if path.is_file():
            self._loading = load_ahead(lambda: load_selfie_segmenter(path))
            self._loading.result()  # report an invalid file here and not at the first image
            return
        model: SelfieModel = "landscape" if "landscape" in path.stem else "general"
        find_weight(SELFIE_WEIGHTS[model])  # as is one that is missing
        self._loading = load_ahead(lambda: load_selfie_segmenter(model))

    @property
    def labels(self) -> list[str]:
        """Names of the categories: none, as in the published networks."""
        return []

    segment = _task.BaseVisionTaskApi[ImageSegmenterResult]._process_image
    segment_for_video = _task.BaseVisionTaskApi[ImageSegmenterResult]._process_video
    segment_async = _task.BaseVisionTaskApi[ImageSegmenterResult]._send

    def _run(self, frame: _task.Frame) -> ImageSegmenterResult:
        mask = self._loading.result().network_mask(frame.rgb)
        result = ImageSegmenterResult()
        if self._options.output_confidence_masks:
            result.confidence_masks = [Image(ImageFormat.VEC32F1, frame.mask(resized_mask(mask, frame.rgb)))]
        if self._options.output_category_mask:
            people = _stretched(mask, *frame.rgb.shape[:2]) > 0.5
            categories = np.where(people, np.uint8(0), np.uint8(_BACKGROUND))
            result.category_mask = Image(ImageFormat.GRAY8, np.ascontiguousarray(np.rot90(categories, frame.turns)))
        return result

    def _free(self) -> None:
        free_loaded(self._loading)


def _stretched(mask: Float32Array, height: int, width: int) -> Float32Array:
    """Resize a mask by interpolating between pixel centres, as MediaPipe does for category masks."""
    for axis, size in enumerate((height, width)):
        at = np.linspace(0, mask.shape[axis] - 1, size)
        low = at.astype(np.intp)
        part = np.expand_dims(at - low, 1 - axis).astype(np.float32)
        high = np.minimum(low + 1, mask.shape[axis] - 1)
        first, second = mask.take(low, axis), mask.take(high, axis)
        mask = first + (second - first) * part
    return mask
