"""`Detection` and `DetectionResult`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Self

from sonjit.compat.mediapipe.framework.formats import detection_pb2
from sonjit.compat.mediapipe.framework.formats.location_data_pb2 import LocationData
from sonjit.compat.mediapipe.tasks.python.components.containers.bounding_box import BoundingBox
from sonjit.compat.mediapipe.tasks.python.components.containers.category import Category
from sonjit.compat.mediapipe.tasks.python.components.containers.keypoint import NormalizedKeypoint


@dataclass
class Detection:
    """One found object: its box in pixels, its labels and its points."""

    bounding_box: BoundingBox
    categories: list[Category]
    keypoints: list[NormalizedKeypoint] | None = None

    def to_pb2(self) -> detection_pb2.Detection:
        """The same as a message; zeros and empty names are left out there, as in MediaPipe."""
        points = [
            NormalizedKeypoint(point.x or None, point.y or None, point.label or None, point.score or None)
            for point in self.keypoints or ()
        ]
        location = LocationData(
            format=LocationData.BOUNDING_BOX,
            bounding_box=self.bounding_box.to_pb2(),
            relative_keypoints=[point.to_pb2() for point in points],
        )
        return detection_pb2.Detection(
            label=[one.category_name for one in self.categories if one.category_name],
            label_id=[one.index for one in self.categories if one.index],
            score=[one.score for one in self.categories],
            display_name=[one.display_name for one in self.categories if one.display_name],
            location_data=location,
        )

    @classmethod
    def create_from_pb2(cls, pb2_obj: detection_pb2.Detection) -> Self:
        """What a message holds."""
        lists = pb2_obj.label_id, pb2_obj.score, pb2_obj.display_name, pb2_obj.label
        location = pb2_obj.location_data
        return cls(
            BoundingBox.create_from_pb2(location.bounding_box),
            [Category(*values) for values in zip_longest(*lists)],
            [NormalizedKeypoint.create_from_pb2(point) for point in location.relative_keypoints],
        )


@dataclass
class DetectionResult:
    """What was found in one image, the surest first."""

    detections: list[Detection]

    def to_pb2(self) -> detection_pb2.DetectionList:
        """The same as a message."""
        return detection_pb2.DetectionList(detection=[one.to_pb2() for one in self.detections])

    @classmethod
    def create_from_pb2(cls, pb2_obj: detection_pb2.DetectionList) -> Self:
        """What a message holds."""
        return cls([Detection.create_from_pb2(one) for one in pb2_obj.detection])
