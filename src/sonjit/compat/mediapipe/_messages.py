"""MediaPipe's messages. Protobuf makes their classes from the fields that the classes here declare.

A field has the number of its place in the class, or the one in `_numbers`. The classes are registered in their own
pool, so that a program may also import MediaPipe.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit._util import Float32Array, Image, optional_import

with optional_import("sonjit.compat.mediapipe with messages, which mp.solutions returns,"):
    from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer as Messages
    from google.protobuf.internal.containers import RepeatedScalarFieldContainer as Numbers
    from google.protobuf.message import Message

    Int64 = int
else:
    Message = object

_PACKAGE = "mediapipe"
_TYPES = {
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int": FieldDescriptorProto.TYPE_INT32,
    "Int64": FieldDescriptorProto.TYPE_INT64,
    "str": FieldDescriptorProto.TYPE_STRING,
}


class Classification(Message):
    """One label, its index among the labels and its probability."""

    index: int
    score: float
    label: str
    display_name: str


class ClassificationList(Message):
    """Labels, the best first."""

    classification: Messages[Classification]


class ClassificationListCollection(Message):
    """The labels of several."""

    classification_list: Messages[ClassificationList]


class NormalizedLandmark(Message):
    """A point in an image: x as a part of its width, y of its height, z of its width, nearer is smaller."""

    x: float
    y: float
    z: float
    visibility: float
    presence: float


class NormalizedLandmarkList(Message):
    """The landmarks of one hand, face or body in the image."""

    landmark: Messages[NormalizedLandmark]


class NormalizedLandmarkListCollection(Message):
    """The landmarks of several in the image."""

    landmark_list: Messages[NormalizedLandmarkList]


class Landmark(Message):
    """A point in metres; x right, y down, z away from the camera."""

    x: float
    y: float
    z: float
    visibility: float
    presence: float


class LandmarkList(Message):
    """The landmarks of one hand or body in metres."""

    landmark: Messages[Landmark]


class LandmarkListCollection(Message):
    """The landmarks of several in metres."""

    landmark_list: Messages[LandmarkList]


class LocationData(Message):
    """A location; of the formats, only boxes relative to the image are in use."""

    class BoundingBox(Message):
        """Box in integer pixels."""

        xmin: int
        ymin: int
        width: int
        height: int

    class RelativeBoundingBox(Message):
        """A box: x and width as parts of the image's width, y and height of its height."""

        xmin: float
        ymin: float
        width: float
        height: float

    class RelativeKeypoint(Message):
        """A point: x as a part of the image's width, y of its height."""

        x: float
        y: float
        keypoint_label: str
        score: float

    class Format(int):
        """Form of a location."""

    GLOBAL = Format(0)
    BOUNDING_BOX = Format(1)
    RELATIVE_BOUNDING_BOX = Format(2)
    MASK = Format(3)

    format: Format
    bounding_box: BoundingBox
    relative_bounding_box: RelativeBoundingBox
    relative_keypoints: Messages[RelativeKeypoint]
    _numbers = {"relative_keypoints": 5}  # noqa: RUF012


class Detection(Message):
    """Detected object: labels with scores, best first, and location."""

    label: Numbers[str]
    label_id: Numbers[int]
    score: Numbers[float]
    location_data: LocationData
    feature_tag: str
    track_id: str
    detection_id: Int64
    display_name: Numbers[str]
    timestamp_usec: Int64
    _numbers = {"display_name": 9, "timestamp_usec": 10}  # noqa: RUF012


class DetectionList(Message):
    """Detections, the best first."""

    detection: Messages[Detection]


class Rect(Message):
    """Rotated rectangle in integer pixels: centre, size and clockwise rotation in radians."""

    x_center: int
    y_center: int
    height: int
    width: int
    rotation: float
    rect_id: Int64


class NormalizedRect(Message):
    """The same as parts of the image: x and width of its width, y and height of its height."""

    x_center: float
    y_center: float
    height: float
    width: float
    rotation: float
    rect_id: Int64


class Classifications(Message):
    """Labels of one head of a classifier."""

    classification_list: ClassificationList
    head_index: int
    head_name: str
    _numbers = {"classification_list": 4, "head_index": 2, "head_name": 3}  # noqa: RUF012


class ClassificationResult(Message):
    """Labels of all heads of a classifier."""

    classifications: Messages[Classifications]
    timestamp_ms: Int64


class LandmarksDetectionResult(Message):
    """Landmarks of an object, its labels, and its search region."""

    landmarks: NormalizedLandmarkList
    classifications: ClassificationList
    world_landmarks: LandmarkList
    rect: NormalizedRect


class HolisticResult(Message):
    """Person of one image."""

    pose_landmarks: NormalizedLandmarkList
    left_hand_landmarks: NormalizedLandmarkList
    right_hand_landmarks: NormalizedLandmarkList
    face_landmarks: NormalizedLandmarkList
    auxiliary_landmarks: NormalizedLandmarkList
    face_blendshapes: ClassificationList
    pose_world_landmarks: LandmarkList


def image_landmarks(
    keypoints: Float32Array, image: Image, visibility: Float32Array | None = None
) -> NormalizedLandmarkList:
    """Return landmarks from keypoints (K, 3) in pixels of an image (H, W, 3), with visibility (K,)."""
    height, width = image.shape[:2]
    landmarks = NormalizedLandmarkList()
    _add_points(landmarks.landmark, keypoints / np.array([width, height, width], np.float32), visibility)
    return landmarks


def world_landmarks(points: Float32Array, visibility: Float32Array | None = None) -> LandmarkList:
    """Return points (K, 3) in metres and the visibility (K,) of each."""
    landmarks = LandmarkList()
    _add_points(landmarks.landmark, points, visibility)
    return landmarks


def _add_points(
    landmarks: Messages[NormalizedLandmark] | Messages[Landmark], points: Float32Array, visibility: Float32Array | None
) -> None:
    scores = [None] * len(points) if visibility is None else visibility.tolist()
    for (x, y, z), score in zip(points.tolist(), scores, strict=True):
        landmarks.add(x=x, y=y, z=z, visibility=score)


def _message_classes(declared: Mapping[str, Any]) -> dict[str, type]:
    """Return protobuf's class of each declared class by name."""
    file = FileDescriptorProto(name="sonjit.proto", package=_PACKAGE, syntax="proto2")
    for name, kind in declared.items():
        _describe(file.message_type.add(name=name), kind, f".{_PACKAGE}")
    pool = DescriptorPool()
    pool.Add(file)  # pyright: ignore[reportUnknownMemberType]
    made: dict[str, Any] = {
        name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in declared
    }
    for name, kind in made.items():
        kind.__doc__ = declared[name].__doc__
        kind.__module__ = __name__  # messages are pickled by the name of their class
    return made


def _describe(message: DescriptorProto, declared: Any, scope: str) -> None:  # noqa: ANN401  # a class
    """Add the nested messages, the enumerators and the fields of a class to a description."""
    inner = {name: kind for name, kind in vars(declared).items() if inspect.isclass(kind)}
    for name, kind in inner.items():
        if issubclass(kind, int):
            enumerators = message.enum_type.add(name=name)
            for label, number in vars(declared).items():
                if isinstance(number, kind):
                    enumerators.value.add(name=label, number=number)
        else:
            _describe(message.nested_type.add(name=name), kind, scope)
    for number, (name, annotation) in enumerate(inspect.get_annotations(declared).items(), 1):
        container, _, kind = annotation.rstrip("]").rpartition("[")
        field = message.field.add(name=name, number=getattr(declared, "_numbers", {}).get(name, number))
        field.label = FieldDescriptorProto.LABEL_REPEATED if container else FieldDescriptorProto.LABEL_OPTIONAL
        if kind in _TYPES:
            field.type = _TYPES[kind]
            if container and kind != "str":
                field.options.packed = True
        else:
            is_enum = issubclass(inner.get(kind, object), int)
            field.type = FieldDescriptorProto.TYPE_ENUM if is_enum else FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = f"{scope}.{message.name}.{kind}" if kind in inner else f"{scope}.{kind}"


if not TYPE_CHECKING:
    _own = {name: kind for name, kind in globals().items() if inspect.isclass(kind) and kind.__module__ == __name__}
    globals().update(_message_classes(_own))
