"""Define the dataclasses of the tasks' results, and connections of landmarks.

The messages that `to_pb2` returns need protobuf. The dataclasses do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, reduce
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sonjit.compat.mediapipe import _containers, _messages

    containers = _containers

AnyMessage = TypeVar("AnyMessage", bound="Message")


class Container(Generic[AnyMessage]):
    """Base of the dataclasses whose fields are those of one message.

    Args of a subclass:
        message: Name of the message, by default that of the class.
        names: Paths in the message of fields with another name there.
    """

    _message: ClassVar[str]
    _names: ClassVar[Mapping[str, str]]

    def __init_subclass__(cls, message: str = "", names: Mapping[str, str] | None = None) -> None:
        cls._message, cls._names = message or cls.__name__, names or {}

    def to_pb2(self) -> AnyMessage:
        """Convert to a message. Fields that are None are unset."""
        message = _message(self._message)
        for name, (*parents, last), _ in _layout(type(self)):
            value: Any = getattr(self, name)
            place = reduce(getattr, parents, message)
            if parents:
                place.SetInParent()
            if isinstance(value, list):
                getattr(place, last).extend([part.to_pb2() for part in value])
            elif isinstance(value, Container):
                getattr(place, last).CopyFrom(value.to_pb2())
            elif value is not None:
                setattr(place, last, value)
        return message

    @classmethod
    def create_from_pb2(cls, pb2_obj: AnyMessage) -> Self:
        """Create from a message. Unset fields become 0, an empty string or an empty list."""
        values: dict[str, Any] = {}
        for name, path, kind in _layout(cls):
            value: Any = reduce(getattr, path, pb2_obj)
            if kind is None:
                values[name] = value
            elif hasattr(value, "DESCRIPTOR"):
                values[name] = kind.create_from_pb2(value)
            else:
                values[name] = [kind.create_from_pb2(part) for part in value]
        return cls(**values)


@cache
def _layout(kind: type[Container[Any]]) -> list[tuple[str, list[str], Any]]:
    """Return each field's name, its path in the message, and the container that it has or lists, or None."""
    declared: Any = kind  # a subclass is a dataclass
    types, names = get_type_hints(kind), declared._names
    return [
        (field.name, names.get(field.name, field.name).split("."), _container_in(types[field.name]))
        for field in fields(declared)
    ]


def _container_in(kind: Any) -> Any:  # noqa: ANN401  # a type
    if hasattr(kind, "create_from_pb2"):
        return kind
    return next(filter(None, map(_container_in, get_args(kind))), None)


@dataclass
class BoundingBox(
    Container["_messages.LocationData.BoundingBox"],
    message="LocationData.BoundingBox",
    names={"origin_x": "xmin", "origin_y": "ymin"},
):
    """Upright box in integer pixels: top left corner and size."""

    origin_x: int
    origin_y: int
    width: int
    height: int


@dataclass
class Category(Container["_messages.Classification"], message="Classification", names={"category_name": "label"}):
    """Label with its index, probability and names. Missing names are None."""

    index: int | None = None
    score: float | None = None
    display_name: str | None = None
    category_name: str | None = None


@dataclass
class NormalizedKeypoint(
    Container["_messages.LocationData.RelativeKeypoint"],
    message="LocationData.RelativeKeypoint",
    names={"label": "keypoint_label"},
):
    """A point of a detection: x as a part of the image's width, y of its height."""

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
        return _message(self._message, x=self.x, y=self.y, z=self.z, **scores)


@dataclass
class Landmark(_Point["_messages.Landmark"]):
    """A point in metres: x right, y down, z away from the camera; None for what a network does not give."""


@dataclass
class NormalizedLandmark(_Point["_messages.NormalizedLandmark"]):
    """A point in an image: x as a part of its width, y of its height, z of its width, nearer is smaller."""


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
class NormalizedRect(Container["_messages.NormalizedRect"]):
    """A turned region by its centre and size, as parts of the image; the rotation is clockwise in radians."""

    x_center: float
    y_center: float
    width: float
    height: float
    rotation: float | None = 0.0
    rect_id: int | None = None


@dataclass
class Classifications(
    Container["_messages.Classifications"], names={"categories": "classification_list.classification"}
):
    """Labels of one head of a classifier, best first, with index and name of the head."""

    categories: list[Category]
    head_index: int
    head_name: str | None = None


@dataclass
class ClassificationResult(Container["_messages.ClassificationResult"]):
    """Results of all heads of a classifier, and the start of the piece of a time series in milliseconds."""

    classifications: list[Classifications]
    timestamp_ms: int | None = None


@dataclass
class Detection:
    """Detected object: box in pixels, labels and points."""

    bounding_box: BoundingBox
    categories: list[Category]
    keypoints: list[NormalizedKeypoint] | None = None

    def to_pb2(self) -> _messages.Detection:
        """Convert to a message. Zeros and empty names are omitted, as in MediaPipe."""
        points = [
            NormalizedKeypoint(point.x or None, point.y or None, point.label or None, point.score or None)
            for point in self.keypoints or ()
        ]
        location = _message(
            "LocationData",
            format="BOUNDING_BOX",
            bounding_box=self.bounding_box.to_pb2(),
            relative_keypoints=[point.to_pb2() for point in points],
        )
        return _message(
            "Detection",
            label=[category.category_name for category in self.categories if category.category_name],
            label_id=[category.index for category in self.categories if category.index],
            score=[category.score for category in self.categories],
            display_name=[category.display_name for category in self.categories if category.display_name],
            location_data=location,
        )

    @classmethod
    def create_from_pb2(cls, pb2_obj: _messages.Detection) -> Self:
        """Create from a message."""
        lists = pb2_obj.label_id, pb2_obj.score, pb2_obj.display_name, pb2_obj.label
        location = pb2_obj.location_data
        return cls(
            BoundingBox.create_from_pb2(location.bounding_box),
            [Category(*values) for values in zip_longest(*lists)],
            [NormalizedKeypoint.create_from_pb2(point) for point in location.relative_keypoints],
        )


@dataclass
class DetectionResult(Container["_messages.DetectionList"], message="DetectionList", names={"detections": "detection"}):
    """Detections of one image, best first."""

    detections: list[Detection]


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


@dataclass
class LandmarksDetectionResult(
    Container["_messages.LandmarksDetectionResult"],
    names={
        "landmarks": "landmarks.landmark",
        "categories": "classifications.classification",
        "world_landmarks": "world_landmarks.landmark",
    },
):
    """Landmarks of an object in the image and in metres, its labels, and its search region."""

    landmarks: list[NormalizedLandmark] | None
    categories: list[Category] | None
    world_landmarks: list[Landmark] | None
    rect: NormalizedRect


@dataclass(frozen=True)
class Connection:
    """A line from one landmark to another."""

    start: int
    end: int


def cosine_similarity(u: Embedding, v: Embedding) -> float:
    """Return the cosine of the angle between two feature vectors, -1 to 1.

    Raise InputError if the vectors differ in length or type, are empty, or one of them is zero.
    """
    first, second = u.embedding, v.embedding
    if len(first) != len(second):
        raise InputError(
            f"Cannot compute cosine similarity between embeddings of different sizes ({len(first)} vs. {len(second)})."
        )
    if (first.dtype == np.uint8) != (second.dtype == np.uint8):
        raise InputError("Cannot compute cosine similarity between quantized and float embeddings.")
    if first.dtype == np.uint8:
        first, second = first.view(np.int8), second.view(np.int8)
    first, second = first.astype(np.float64), second.astype(np.float64)
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    if not norms:
        raise InputError("Cannot compute cosine similarity on embeddings that are empty or have a norm of 0.")
    return float(first @ second) / norms


def _message(name: str, **values: Any) -> Any:  # noqa: ANN401  # a message of that name
    """Return a message of a type, with the values that are not None."""
    from sonjit.compat.mediapipe import _messages

    kind: Any = reduce(getattr, name.split("."), _messages)
    return kind(**values)
