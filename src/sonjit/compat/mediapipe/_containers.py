"""Define the dataclasses of the tasks' results, and connections of landmarks.

The messages that `to_pb2` returns need protobuf. The dataclasses do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import reduce
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sonjit.compat.mediapipe import _containers, _messages

    containers = _containers

AnyMessage = TypeVar("AnyMessage", bound="Message")


class Container(Generic[AnyMessage]):
    """Base of the dataclasses whose fields are those of one message.

    Args of a subclass:
        message: Name of the message, by default that of the class.
        names: Names in the message of fields with another name there.
    """

    _message: ClassVar[str]
    _names: ClassVar[Mapping[str, str]]

    def __init_subclass__(cls, message: str = "", names: Mapping[str, str] | None = None) -> None:
        cls._message, cls._names = message or cls.__name__, names or {}

    def to_pb2(self) -> AnyMessage:
        """Convert to a message. Fields that are None are unset."""
        return _message(self._message, **{key: getattr(self, name) for name, key in self._keys().items()})

    @classmethod
    def create_from_pb2(cls, pb2_obj: AnyMessage) -> Self:
        """Create from a message. Unset fields become 0 or an empty string."""
        return cls(**{name: getattr(pb2_obj, key) for name, key in cls._keys().items()})

    @classmethod
    def _keys(cls) -> dict[str, str]:
        """Return the name in the message of each field."""
        declared: Any = cls  # a subclass is a dataclass
        return {field.name: cls._names.get(field.name, field.name) for field in fields(declared)}


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
class DetectionResult:
    """Detections of one image, best first."""

    detections: list[Detection]

    def to_pb2(self) -> _messages.DetectionList:
        """Convert to a message."""
        return _message("DetectionList", detection=[found.to_pb2() for found in self.detections])

    @classmethod
    def create_from_pb2(cls, pb2_obj: _messages.DetectionList) -> Self:
        """Create from a message."""
        return cls(list(map(Detection.create_from_pb2, pb2_obj.detection)))


@dataclass(frozen=True)
class Connection:
    """A line from one landmark to another."""

    start: int
    end: int


def _message(name: str, **values: Any) -> Any:  # noqa: ANN401  # a message of that name
    """Return a message of a type, with the values that are not None."""
    from sonjit.compat.mediapipe import _messages

    kind: Any = reduce(getattr, name.split("."), _messages)
    return kind(**values)
