"""`LandmarksDetectionResult`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sonjit.compat.mediapipe.framework.formats.classification_pb2 import ClassificationList
from sonjit.compat.mediapipe.framework.formats.landmark_pb2 import LandmarkList, NormalizedLandmarkList
from sonjit.compat.mediapipe.framework.formats.rect_pb2 import NormalizedRect as NormalizedRectMessage
from sonjit.compat.mediapipe.messages import Message
from sonjit.compat.mediapipe.tasks.python.components.containers.category import Category
from sonjit.compat.mediapipe.tasks.python.components.containers.landmark import Landmark, NormalizedLandmark
from sonjit.compat.mediapipe.tasks.python.components.containers.rect import NormalizedRect


class _LandmarksDetectionResult(Message):
    landmarks: NormalizedLandmarkList = NormalizedLandmarkList()
    classifications: ClassificationList = ClassificationList()
    world_landmarks: LandmarkList = LandmarkList()
    rect: NormalizedRectMessage = NormalizedRectMessage()


@dataclass
class LandmarksDetectionResult:
    """One object's landmarks in the image and in metres, its labels, and the region that it was looked for in."""

    landmarks: list[NormalizedLandmark] | None
    categories: list[Category] | None
    world_landmarks: list[Landmark] | None
    rect: NormalizedRect

    def to_pb2(self) -> _LandmarksDetectionResult:
        """The same as a message; lists that are None are empty there."""
        return _LandmarksDetectionResult(
            landmarks=NormalizedLandmarkList(landmark=[one.to_pb2() for one in self.landmarks or ()]),
            classifications=ClassificationList(classification=[one.to_pb2() for one in self.categories or ()]),
            world_landmarks=LandmarkList(landmark=[one.to_pb2() for one in self.world_landmarks or ()]),
            rect=self.rect.to_pb2(),
        )

    @classmethod
    def create_from_pb2(cls, pb2_obj: _LandmarksDetectionResult) -> Self:
        """What a message holds."""
        return cls(
            [NormalizedLandmark.create_from_pb2(one) for one in pb2_obj.landmarks.landmark],
            [Category.create_from_pb2(one) for one in pb2_obj.classifications.classification],
            [Landmark.create_from_pb2(one) for one in pb2_obj.world_landmarks.landmark],
            NormalizedRect.create_from_pb2(pb2_obj.rect),
        )
