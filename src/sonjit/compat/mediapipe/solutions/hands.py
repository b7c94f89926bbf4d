"""`Hands`: 21 landmarks, world landmarks and handedness of each hand, under MediaPipe's names."""

from __future__ import annotations

from typing import NamedTuple

from sonjit._util.arrays import Image
from sonjit.compat.mediapipe._messages import (
    Classification,
    ClassificationList,
    LandmarkList,
    NormalizedLandmarkList,
    image_landmarks,
    world_landmarks,
)
from sonjit.compat.mediapipe._names import add_covered_names
from sonjit.compat.mediapipe._solution import DetectorSolution, check_count, choice
from sonjit.compat.mediapipe.solutions import hands_connections
from sonjit.compat.mediapipe.solutions.hands_connections import *  # noqa: F403  # names that MediaPipe has here too
from sonjit.compat.mediapipe.solutions.hands_connections import HandLandmark
from sonjit.engines import Precision
from sonjit.results import Hand

__all__ = ["HandLandmark", "Hands", "SolutionOutputs"]
__all__ += hands_connections.__all__

_MODELS = {0: "lite", 1: "full"}
_LABELS = ("Left", "Right")


class SolutionOutputs(NamedTuple):
    """Results of `Hands.process`: lists with one entry per hand, or None for no hand.

    Attributes:
        multi_hand_landmarks: 21 landmarks each, as parts of the image.
        multi_hand_world_landmarks: The same landmarks in metres, origin at the hand's centre.
        multi_handedness: One classification each, "Left" or "Right".
    """

    multi_hand_landmarks: list[NormalizedLandmarkList] | None = None
    multi_hand_world_landmarks: list[LandmarkList] | None = None
    multi_handedness: list[ClassificationList] | None = None


class Hands(DetectorSolution[SolutionOutputs]):
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

    Raises:
        InputError: A value is out of range, or weights are missing; it is a ValueError.
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
        model = choice("model_complexity", model_complexity, _MODELS)
        check_count(max_num_hands=max_num_hands)
        self._open(
            "hands",
            static_image_mode,
            min_detection_confidence,
            min_tracking_confidence,
            model=model,
            max_instances=max_num_hands,
            mirrored=True,
            search_interval=search_interval,
            precision=precision,
        )

    def _outputs(self, image: Image) -> SolutionOutputs:
        hands: list[Hand] = self._detect(image)
        if not hands:
            return SolutionOutputs()
        return SolutionOutputs(
            [image_landmarks(hand.keypoints, image) for hand in hands],
            [world_landmarks(hand.keypoints_3d) for hand in hands],
            [ClassificationList(classification=[_classification(hand)]) for hand in hands],
        )


def _classification(hand: Hand) -> Classification:
    return Classification(index=_LABELS.index(hand.handedness), score=hand.handedness_score, label=hand.handedness)


add_covered_names(globals())
