"""Drawing landmarks on BGR images with OpenCV, and in space with matplotlib, under MediaPipe's names."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError, optional_import
from sonjit.compat.mediapipe import _containers as containers
from sonjit.compat.mediapipe._containers import Connection
from sonjit.compat.mediapipe._images import ImageError
from sonjit.compat.mediapipe._names import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import _messages as messages

Color: TypeAlias = tuple[int, int, int]
Pixel: TypeAlias = tuple[int, int]
Landmark: TypeAlias = (
    "messages.NormalizedLandmark | messages.Landmark | containers.NormalizedLandmark | containers.Landmark"
)
_Lists: TypeAlias = "messages.NormalizedLandmarkList | messages.LandmarkList"
Landmarks: TypeAlias = "_Lists | Sequence[containers.NormalizedLandmark] | Sequence[containers.Landmark]"
Connections: TypeAlias = Iterable[tuple[int, int] | Connection]

WHITE_COLOR: Color = (224, 224, 224)
BLACK_COLOR: Color = (0, 0, 0)
RED_COLOR: Color = (0, 0, 255)
GREEN_COLOR: Color = (0, 128, 0)
BLUE_COLOR: Color = (255, 0, 0)
_VISIBILITY_THRESHOLD = 0.5  # scripts set these two
_PRESENCE_THRESHOLD = 0.5
_BGR_CHANNELS = 3
_RELATIVE = 2  # of the formats of LocationData


@dataclass
class DrawingSpec:
    """How to draw: a BGR colour, a thickness (-1: filled) and a circle's radius in pixels."""

    color: Color = WHITE_COLOR
    thickness: int = 2
    circle_radius: int = 2


def draw_landmarks(
    image: NDArray[Any],
    landmark_list: Landmarks | None,
    connections: Connections | None = None,
    landmark_drawing_spec: DrawingSpec | Mapping[Any, DrawingSpec] | None = DrawingSpec(RED_COLOR),
    connection_drawing_spec: DrawingSpec | Mapping[tuple[int, int], DrawingSpec] | None = DrawingSpec(),
    is_drawing_landmarks: bool = True,
) -> None:
    """Draw lines and, above them, white-rimmed dots into an image.

    Landmarks outside the image, or with a visibility or presence below 0.5, are omitted with their lines.

    Args:
        image: (H, W, 3) uint8 BGR, drawn upon.
        landmark_list: Message of `solutions` or list of landmarks of `tasks`; None draws nothing.
        connections: Pairs of landmark indices, or connections of `tasks`.
        landmark_drawing_spec: Style of all dots, or one style per landmark; None draws no dots.
        connection_drawing_spec: Style of all lines, or one style per connection; None draws no lines.
        is_drawing_landmarks: False draws no dots.

    Raise ImageError, a ValueError and an IndexError, if the image is not BGR, and InputError if a connection has a
    landmark that the list lacks.
    """
    import cv2

    if not landmark_list:
        return
    height, width = _size_of_bgr(image)
    points = _points(landmark_list)
    pixel_of_index = {index: _pixel_of(landmark, width, height) for index, landmark in _shown(points).items()}
    pixels = {index: pixel for index, pixel in pixel_of_index.items() if pixel is not None}
    for pair in _checked(connections, len(points)):
        spec = _spec_of(connection_drawing_spec, pair)
        if spec and pixels.keys() >= set(pair):
            cv2.line(image, pixels[pair[0]], pixels[pair[1]], spec.color, spec.thickness)
    for index, pixel in pixels.items():
        spec = _spec_of(landmark_drawing_spec, index) if is_drawing_landmarks else None
        if spec:
            rim = max(spec.circle_radius + 1, int(spec.circle_radius * 1.2))
            cv2.circle(image, pixel, rim, WHITE_COLOR, spec.thickness)
            cv2.circle(image, pixel, spec.circle_radius, spec.color, spec.thickness)


def draw_detection(
    image: NDArray[Any],
    detection: messages.Detection | containers.Detection,
    keypoint_drawing_spec: DrawingSpec = DrawingSpec(RED_COLOR),
    bbox_drawing_spec: DrawingSpec = DrawingSpec(),
) -> None:
    """Draw a detection's keypoints and box into an image (H, W, 3) uint8 BGR, clipped to the image.

    Raise ImageError if the image is not BGR, and InputError if the location of a message is not relative to the image.
    """
    import cv2

    height, width = _size_of_bgr(image)
    box: Sequence[float] | None = None
    if isinstance(detection, containers.Detection):
        keypoints, pixels = detection.keypoints or (), detection.bounding_box
        sides = pixels.origin_x / width, pixels.origin_y / height, pixels.width / width, pixels.height / height
        box = np.array(sides, np.float32).tolist()  # as in a message
    else:
        location = detection.location_data
        if not detection.HasField("location_data"):
            return
        if location.format != _RELATIVE:
            raise InputError(f"LocationData must be relative for this drawing: its format is {location.format}, not 2")
        keypoints = location.relative_keypoints
        if location.HasField("relative_bounding_box"):
            relative = location.relative_bounding_box
            box = relative.xmin, relative.ymin, relative.width, relative.height
    for keypoint in keypoints:
        spec, pixel = keypoint_drawing_spec, _pixel_of(keypoint, width, height)
        if pixel is not None:
            cv2.circle(image, pixel, spec.circle_radius, spec.color, spec.thickness)
    if box is not None:
        low = math.floor(box[0] * width), math.floor(box[1] * height)
        high = math.floor((box[0] + box[2]) * width), math.floor((box[1] + box[3]) * height)
        start, end = ((min(max(x, 0), width - 1), min(max(y, 0), height - 1)) for x, y in (low, high))
        cv2.rectangle(image, start, end, bbox_drawing_spec.color, bbox_drawing_spec.thickness)


def draw_axis(
    image: NDArray[Any],
    rotation: NDArray[np.floating[Any]],
    translation: NDArray[np.floating[Any]],
    focal_length: tuple[float, float] = (1.0, 1.0),
    principal_point: tuple[float, float] = (0.0, 0.0),
    axis_length: float = 0.1,
    axis_drawing_spec: DrawingSpec = DrawingSpec(),
) -> None:
    """Draw an object's axes as arrows into an image: x red, y green, z blue.

    Args:
        image: (H, W, 3) uint8 BGR, drawn upon.
        rotation: (3, 3), object to camera; this camera has x right, y up and looks along -z.
        translation: (3,), object to camera.
        focal_length: Focal lengths in x and y, relative to half the image width and height.
        principal_point: Principal point in the same unit, relative to the image centre.
        axis_length: Length of the drawn axes, in the unit of `translation`.
        axis_drawing_spec: Style, of which only the thickness applies.
    """
    import cv2

    height, width = _size_of_bgr(image)
    ends = np.vstack([np.zeros(3), np.eye(3)]) * axis_length
    points = ends @ np.asarray(rotation).T + np.asarray(translation)  # (4, 3): origin, then the axes' ends
    plane = -points[:, :2] / (points[:, 2:] + 1e-5) * focal_length + principal_point
    shares = (np.clip(plane, -1, 1) * (1, -1) + 1) / 2
    origin, *tips = ((int(x), int(y)) for x, y in (shares * (width, height)).tolist())
    for tip, color in zip(tips, (RED_COLOR, GREEN_COLOR, BLUE_COLOR), strict=True):
        cv2.arrowedLine(image, origin, tip, color, axis_drawing_spec.thickness)


def plot_landmarks(
    landmark_list: Landmarks | None,
    connections: Connections | None = None,
    landmark_drawing_spec: DrawingSpec = DrawingSpec(RED_COLOR, thickness=5),
    connection_drawing_spec: DrawingSpec = DrawingSpec(BLACK_COLOR, thickness=5),
    elevation: int = 10,
    azimuth: int = 10,
) -> None:
    """Show landmarks and connections in space, in a window of matplotlib's.

    Raise ImportError if matplotlib is not installed, and InputError if a connection has a landmark that the list lacks.
    """
    if not landmark_list:
        return
    landmarks = _points(landmark_list)
    with optional_import("plot_landmarks"):
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    pyplot.figure(figsize=(10, 10))
    axes = pyplot.axes(projection="3d")
    axes.view_init(elev=elevation, azim=azimuth)
    points = {
        index: (-(point.z or 0.0), point.x or 0.0, -(point.y or 0.0)) for index, point in _shown(landmarks).items()
    }
    style = {"color": _plot_color(landmark_drawing_spec), "linewidth": landmark_drawing_spec.thickness}
    for x, y, z in points.values():
        axes.scatter3D([x], [y], [z], **style)
    style = {"color": _plot_color(connection_drawing_spec), "linewidth": connection_drawing_spec.thickness}
    for start, end in _checked(connections, len(landmarks)):
        if start in points and end in points:
            axes.plot3D(*zip(points[start], points[end], strict=True), **style)
    pyplot.show()


def _normalized_to_pixel_coordinates(  # scripts use it
    normalized_x: float, normalized_y: float, image_width: int, image_height: int
) -> Pixel | None:
    """Convert normalised coordinates to a pixel. Return None outside the image."""
    for value in (normalized_x, normalized_y):
        if not (0 <= value <= 1 or math.isclose(value, 1)):
            return None
    return (
        min(math.floor(normalized_x * image_width), image_width - 1),
        min(math.floor(normalized_y * image_height), image_height - 1),
    )


def _pixel_of(point: Any, width: int, height: int) -> Pixel | None:  # noqa: ANN401  # a landmark or key point
    x, y = np.array([point.x or 0.0, point.y or 0.0], np.float32).tolist()  # as in a message
    return _normalized_to_pixel_coordinates(x, y, width, height)


def _points(landmarks: Landmarks) -> Sequence[Landmark]:
    return landmarks if isinstance(landmarks, Sequence) else landmarks.landmark


def _shown(landmarks: Sequence[Landmark]) -> dict[int, Landmark]:
    """Return the landmarks by index, without those that are known to be invisible."""
    least = {"visibility": _VISIBILITY_THRESHOLD, "presence": _PRESENCE_THRESHOLD}

    def is_known(point: Landmark, name: str) -> bool:
        if isinstance(point, containers.NormalizedLandmark | containers.Landmark):
            return bool(getattr(point, name))  # 0 is unknown there
        return point.HasField(name)

    return {
        index: point
        for index, point in enumerate(landmarks)
        if not any(is_known(point, name) and getattr(point, name) < value for name, value in least.items())
    }


def _checked(connections: Connections | None, count: int) -> list[tuple[int, int]]:
    pairs = [
        (connection.start, connection.end) if isinstance(connection, Connection) else connection
        for connection in connections or ()
    ]
    for start, end in pairs:
        if not (0 <= start < count and 0 <= end < count):
            raise InputError(
                f"Landmark index is out of range. Invalid connection from landmark #{start} to landmark #{end}: "
                f"there are {count} landmarks, 0..{count - 1}"
            )
    return pairs


def _spec_of(specs: DrawingSpec | Mapping[Any, DrawingSpec] | None, key: object) -> DrawingSpec | None:
    return specs[key] if isinstance(specs, Mapping) else specs


def _size_of_bgr(image: NDArray[Any]) -> tuple[int, int]:
    if image.ndim != 3 or image.shape[2] != _BGR_CHANNELS:
        raise ImageError(f"Input image must contain three channel bgr data. It is (H, W, 3), not {image.shape}")
    return image.shape[0], image.shape[1]


def _plot_color(spec: DrawingSpec) -> tuple[float, ...]:
    """Convert BGR 0..255 to matplotlib's RGB 0..1."""
    return tuple(value / 255 for value in reversed(spec.color))


add_covered_names(globals())
