"""`HandLandmarker`: hands in images, under MediaPipe's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from sonjit.compat.mediapipe.connections import Connection, connections
from sonjit.compat.mediapipe.containers import Category, Landmark, NormalizedLandmark
from sonjit.compat.mediapipe.image import Image
from sonjit.compat.mediapipe.solution import check_confidences, check_count
from sonjit.compat.mediapipe.solutions import hands_connections as hands
from sonjit.compat.mediapipe.solutions.hands import HandLandmark
from sonjit.compat.mediapipe.task_options import BaseOptions, VisionTaskRunningMode
from sonjit.compat.mediapipe.tasks.python.vision.core.base_vision_task_api import (
    DetectingTask,
    DetectorTask,
    Found,
    Frame,
    association,
    normalized_landmarks,
    world_landmarks,
)
from sonjit.results import Hand

__all__ = [
    "Connection",
    "HandLandmark",
    "HandLandmarker",
    "HandLandmarkerOptions",
    "HandLandmarkerResult",
    "HandLandmarksConnections",
]

BUNDLE = "hand_landmarker.task"
_LABELS = ("Right", "Left")


class HandLandmarksConnections:
    """The lines of a hand."""

    Connection: ClassVar = Connection
    HAND_PALM_CONNECTIONS: ClassVar = connections(hands.HAND_PALM_CONNECTIONS)
    HAND_THUMB_CONNECTIONS: ClassVar = connections(hands.HAND_THUMB_CONNECTIONS)
    HAND_INDEX_FINGER_CONNECTIONS: ClassVar = connections(hands.HAND_INDEX_FINGER_CONNECTIONS)
    HAND_MIDDLE_FINGER_CONNECTIONS: ClassVar = connections(hands.HAND_MIDDLE_FINGER_CONNECTIONS)
    HAND_RING_FINGER_CONNECTIONS: ClassVar = connections(hands.HAND_RING_FINGER_CONNECTIONS)
    HAND_PINKY_FINGER_CONNECTIONS: ClassVar = connections(hands.HAND_PINKY_FINGER_CONNECTIONS)
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
    """Options of `HandLandmarker`.

    Attributes:
        base_options: Model bundle, `hand_landmarker.task`.
        running_mode: Type of input: images, a video or a live stream.
        num_hands: Maximum number of hands.
        min_hand_detection_confidence: Minimum score of a palm detection, 0 to 1.
        min_hand_presence_confidence: Minimum probability that a crop contains a hand, 0 to 1.
        min_tracking_confidence: Minimum IoU of a new palm's box and a tracked hand to match them in a video.
        result_callback: Function that takes result, image and timestamp in milliseconds. Only for live streams.
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

    turns_as_mediapipe = True

    def _open_hands(self, options: Any, bundle: str) -> None:  # noqa: ANN401  # either task's own
        """Make the detector of hands."""
        check_count(num_hands=options.num_hands)
        check_confidences(
            min_hand_detection_confidence=options.min_hand_detection_confidence,
            min_hand_presence_confidence=options.min_hand_presence_confidence,
            min_tracking_confidence=options.min_tracking_confidence,
        )
        self._create(
            "hands",
            options,
            options.num_hands,
            association(options.running_mode, options.min_tracking_confidence),
            landmark_model=options.base_options.file(bundle),
            min_detection_score=options.min_hand_detection_confidence,
            min_presence_score=options.min_hand_presence_confidence,
        )


class HandLandmarker(HandTask[HandLandmarkerResult], DetectingTask[HandLandmarkerResult]):
    """Find hands in images, videos and live streams. Use as a context manager."""

    options_type = HandLandmarkerOptions

    def _open(self, options: HandLandmarkerOptions) -> None:
        self._open_hands(options, BUNDLE)

    def _run(self, frame: Frame) -> HandLandmarkerResult:
        return HandLandmarkerResult(*hand_lists(frame, self._detect(frame)))


def hand_lists(
    frame: Frame, hands: list[Hand]
) -> tuple[list[list[Category]], list[list[NormalizedLandmark]], list[list[Landmark]]]:
    """Handedness, landmarks and world landmarks of hands."""
    return (
        [[_category(hand)] for hand in hands],
        [normalized_landmarks(frame.points(hand.keypoints)) for hand in hands],
        [world_landmarks(frame.directions(hand.keypoints_3d)) for hand in hands],
    )


def _category(hand: Hand) -> Category:
    side = hand.handedness
    return Category(_LABELS.index(side), hand.handedness_score, display_name=side, category_name=side)
