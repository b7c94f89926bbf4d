"""Define the dataclasses of the tasks' results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Any, ClassVar, Generic, Self, TypeVar

from numpy.typing import NDArray

from sonjit.compat.mediapipe import message_types
from sonjit.compat.mediapipe.message_types import ClassificationList, LandmarkList, LocationData, NormalizedLandmarkList
from sonjit.compat.mediapipe.messages import Message, Repeated

__all__ = [
    "BoundingBox",
    "Category",
    "ClassificationResult",
    "Classifications",
    "Detection",
    "DetectionResult",
    "Embedding",
    "EmbeddingResult",
    "Landmark",
    "LandmarksDetectionResult",
    "NormalizedKeypoint",
    "NormalizedLandmark",
    "NormalizedRect",
    "Rect",
    "RectF",
]

AnyMessage = TypeVar("AnyMessage", bound=Message)


class Container(Generic[AnyMessage]):
    """Base of the dataclasses whose fields are those of one message.

    Attributes:
        _message: Type of the message.
        _names: Names in the message of fields with another name there.
    """

    _message: ClassVar[type[Any]]
    _names: ClassVar[Mapping[str, str]] = {}

    def to_pb2(self) -> AnyMessage:
        """Convert to a message. Fields that are None are unset."""
        return self._message(**{there: getattr(self, here) for here, there in self._pairs()})

    @classmethod
    def create_from_pb2(cls, pb2_obj: AnyMessage) -> Self:
        """Create from a message. Unset fields become 0 or an empty string."""
        return cls(**{here: getattr(pb2_obj, there) for here, there in cls._pairs()})

    @classmethod
    def _pairs(cls) -> list[tuple[str, str]]:
        declared: Any = cls  # a subclass is a dataclass
        return [(field.name, cls._names.get(field.name, field.name)) for field in fields(declared)]


@dataclass
class BoundingBox(Container[LocationData.BoundingBox]):
    """Upright box in integer pixels: top left corner and size."""

    _message = LocationData.BoundingBox
    _names = {"origin_x": "xmin", "origin_y": "ymin"}  # noqa: RUF012

    origin_x: int
    origin_y: int
    width: int
    height: int


@dataclass
class Category(Container[message_types.Classification]):
    """Label with its index, probability and names. Missing names are None."""

    _message = message_types.Classification
    _names = {"category_name": "label"}  # noqa: RUF012

    index: int | None = None
    score: float | None = None
    display_name: str | None = None
    category_name: str | None = None


@dataclass
class NormalizedKeypoint(Container[LocationData.RelativeKeypoint]):
    """A point of a detection: x as a part of the image's width, y of its height."""

    _message = LocationData.RelativeKeypoint
    _names = {"label": "keypoint_label"}  # noqa: RUF012

    x: float | None = None
    y: float | None = None
    label: str | None = None
    score: float | None = None


@dataclass
class _Point(Container[AnyMessage]):
    x: float | None = None
    y: float | None = None
    z: float | None = None
    visibility: float | None = None
    presence: float | None = None

    def to_pb2(self) -> AnyMessage:
        """Return the point as a message, where a visibility or presence of 0 is unset: drawings omit lower ones."""
        scores = {"visibility": self.visibility or None, "presence": self.presence or None}
        return self._message(x=self.x, y=self.y, z=self.z, **scores)


@dataclass
class Landmark(_Point[message_types.Landmark]):
    """A point in metres: x right, y down, z away from the camera; None for what a network does not give."""

    _message = message_types.Landmark


@dataclass
class NormalizedLandmark(_Point[message_types.NormalizedLandmark]):
    """A point in an image: x as a part of its width, y of its height, z of its width, nearer is smaller."""

    _message = message_types.NormalizedLandmark


@dataclass
class Rect:
    """A region by its sides, as parts of the image."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass
class RectF:
    """A region by its sides, as parts of the image, in the order of MediaPipe 1.2.2."""

    left: float
    top: float
    bottom: float
    right: float


@dataclass
class NormalizedRect(Container[message_types.NormalizedRect]):
    """A turned region by its centre and size, as parts of the image; the rotation is clockwise in radians."""

    _message = message_types.NormalizedRect

    x_center: float
    y_center: float
    width: float
    height: float
    rotation: float | None = 0.0
    rect_id: int | None = None


class _Classifications(Message):
    classification_list: ClassificationList = ClassificationList()
    head_index: int = 0
    head_name: str = ""
    _numbers: ClassVar[dict[str, int]] = {"classification_list": 4, "head_index": 2, "head_name": 3}


class _ClassificationResult(Message):
    classifications: Repeated[_Classifications] = Repeated(_Classifications)
    timestamp_ms: int = 0
    _wide: ClassVar[tuple[str, ...]] = ("timestamp_ms",)


@dataclass
class Classifications:
    """Labels of one head of a classifier, best first, with index and name of the head."""

    categories: list[Category]
    head_index: int
    head_name: str | None = None

    def to_pb2(self) -> _Classifications:
        """Convert to a message. A name that is None is unset."""
        labels = ClassificationList(classification=[category.to_pb2() for category in self.categories])
        return _Classifications(classification_list=labels, head_index=self.head_index, head_name=self.head_name)

    @classmethod
    def create_from_pb2(cls, pb2_obj: _Classifications) -> Self:
        """Create from a message. Unset fields become 0 or an empty string."""
        categories = [
            Category.create_from_pb2(classification) for classification in pb2_obj.classification_list.classification
        ]
        return cls(categories, pb2_obj.head_index, pb2_obj.head_name)


@dataclass
class ClassificationResult:
    """Results of all heads of a classifier, and the start of the piece of a time series in milliseconds."""

    classifications: list[Classifications]
    timestamp_ms: int | None = None

    def to_pb2(self) -> _ClassificationResult:
        """Convert to a message."""
        heads = [classification.to_pb2() for classification in self.classifications]
        return _ClassificationResult(classifications=heads, timestamp_ms=self.timestamp_ms)

    @classmethod
    def create_from_pb2(cls, pb2_obj: _ClassificationResult) -> Self:
        """Create from a message."""
        return cls(
            [Classifications.create_from_pb2(classification) for classification in pb2_obj.classifications],
            pb2_obj.timestamp_ms,
        )


@dataclass
class Detection:
    """Detected object: box in pixels, labels and points."""

    bounding_box: BoundingBox
    categories: list[Category]
    keypoints: list[NormalizedKeypoint] | None = None

    def to_pb2(self) -> message_types.Detection:
        """Convert to a message. Zeros and empty names are omitted, as in MediaPipe."""
        points = [
            NormalizedKeypoint(point.x or None, point.y or None, point.label or None, point.score or None)
            for point in self.keypoints or ()
        ]
        location = LocationData(
            format=LocationData.BOUNDING_BOX,
            bounding_box=self.bounding_box.to_pb2(),
            relative_keypoints=[point.to_pb2() for point in points],
        )
        return message_types.Detection(
            label=[category.category_name for category in self.categories if category.category_name],
            label_id=[category.index for category in self.categories if category.index],
            score=[category.score for category in self.categories],
            display_name=[category.display_name for category in self.categories if category.display_name],
            location_data=location,
        )

    @classmethod
    def create_from_pb2(cls, pb2_obj: message_types.Detection) -> Self:
        """Create from a message."""
        lists = pb2_obj.label_id, pb2_obj.score, pb2_obj.display_name, pb2_obj.label
        location = pb2_obj.location_data
        return cls(
            BoundingBox.create_from_pb2(location.bounding_box),
            [Category(*values) for values in zip_longest(*lists)],
            [NormalizedKeypoint.create_from_pb2(point) for point in location.relative_keypoints],
        )


@dataclass
class DetectionResult:
    """Detections of one image, best first."""

    detections: list[Detection]

    def to_pb2(self) -> message_types.DetectionList:
        """Convert to a message."""
        return message_types.DetectionList(detection=[detection.to_pb2() for detection in self.detections])

    @classmethod
    def create_from_pb2(cls, pb2_obj: message_types.DetectionList) -> Self:
        """Create from a message."""
        return cls([Detection.create_from_pb2(detection) for detection in pb2_obj.detection])


@dataclass
class Embedding:
    """The feature vector that one head of an embedder returns.

    Attributes:
        embedding: (D,) float64, or uint8 if it is quantized.
        head_index: Index of the head.
        head_name: Name of the head.
    """

    embedding: NDArray[Any]
    head_index: int | None = None
    head_name: str | None = None


@dataclass
class EmbeddingResult:
    """The feature vectors of all heads, and the start of the piece of a time series in milliseconds."""

    embeddings: list[Embedding]
    timestamp_ms: int | None = None


class _LandmarksDetectionResult(Message):
    landmarks: NormalizedLandmarkList = NormalizedLandmarkList()
    classifications: ClassificationList = ClassificationList()
    world_landmarks: LandmarkList = LandmarkList()
    rect: message_types.NormalizedRect = message_types.NormalizedRect()


@dataclass
class LandmarksDetectionResult:
    """Landmarks of an object in the image and in metres, its labels, and its search region."""

    landmarks: list[NormalizedLandmark] | None
    categories: list[Category] | None
    world_landmarks: list[Landmark] | None
    rect: NormalizedRect

    def to_pb2(self) -> _LandmarksDetectionResult:
        """Convert to a message. Lists that are None become empty."""
        return _LandmarksDetectionResult(
            landmarks=NormalizedLandmarkList(landmark=[landmark.to_pb2() for landmark in self.landmarks or ()]),
            classifications=ClassificationList(
                classification=[category.to_pb2() for category in self.categories or ()]
            ),
            world_landmarks=LandmarkList(landmark=[landmark.to_pb2() for landmark in self.world_landmarks or ()]),
            rect=self.rect.to_pb2(),
        )

    @classmethod
    def create_from_pb2(cls, pb2_obj: _LandmarksDetectionResult) -> Self:
        """Create from a message."""
        return cls(
            [NormalizedLandmark.create_from_pb2(landmark) for landmark in pb2_obj.landmarks.landmark],
            [Category.create_from_pb2(classification) for classification in pb2_obj.classifications.classification],
            [Landmark.create_from_pb2(landmark) for landmark in pb2_obj.world_landmarks.landmark],
            NormalizedRect.create_from_pb2(pb2_obj.rect),
        )
