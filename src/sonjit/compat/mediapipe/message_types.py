"""Define MediaPipe's messages: landmarks, classifications, locations, detections and rectangles."""

from enum import IntEnum

from sonjit.compat.mediapipe.messages import Message, Repeated


class Classification(Message):
    """One label, its index among the labels and its probability."""

    index: int = 0
    score: float = 0.0
    label: str = ""
    display_name: str = ""


class ClassificationList(Message):
    """Labels, the best first."""

    classification: Repeated[Classification] = Repeated(Classification)


class ClassificationListCollection(Message):
    """The labels of several."""

    classification_list: Repeated[ClassificationList] = Repeated(ClassificationList)


class NormalizedLandmark(Message):
    """A point in an image: x as a part of its width, y of its height, z of its width, nearer is smaller."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    visibility: float = 0.0
    presence: float = 0.0


class Landmark(Message):
    """A point in metres; x right, y down, z away from the camera."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    visibility: float = 0.0
    presence: float = 0.0


class NormalizedLandmarkList(Message):
    """The landmarks of one hand, face or body in the image."""

    landmark: Repeated[NormalizedLandmark] = Repeated(NormalizedLandmark)


class LandmarkList(Message):
    """The landmarks of one hand or body in metres."""

    landmark: Repeated[Landmark] = Repeated(Landmark)


class NormalizedLandmarkListCollection(Message):
    """The landmarks of several in the image."""

    landmark_list: Repeated[NormalizedLandmarkList] = Repeated(NormalizedLandmarkList)


class LandmarkListCollection(Message):
    """The landmarks of several in metres."""

    landmark_list: Repeated[LandmarkList] = Repeated(LandmarkList)


class _Format(IntEnum):
    """What a location is given by."""

    GLOBAL = 0
    BOUNDING_BOX = 1
    RELATIVE_BOUNDING_BOX = 2
    MASK = 3


class _BoundingBox(Message):
    """Box in integer pixels."""

    xmin: int = 0
    ymin: int = 0
    width: int = 0
    height: int = 0


class _RelativeBoundingBox(Message):
    """A box: x and width as parts of the image's width, y and height of its height."""

    xmin: float = 0.0
    ymin: float = 0.0
    width: float = 0.0
    height: float = 0.0


class _RelativeKeypoint(Message):
    """A point: x as a part of the image's width, y of its height."""

    x: float = 0.0
    y: float = 0.0
    keypoint_label: str = ""
    score: float = 0.0


class LocationData(Message):
    """A location; of the formats, only boxes relative to the image are in use."""

    Format = _Format
    BoundingBox = _BoundingBox
    RelativeBoundingBox = _RelativeBoundingBox
    RelativeKeypoint = _RelativeKeypoint
    GLOBAL, BOUNDING_BOX, RELATIVE_BOUNDING_BOX, MASK = _Format

    format: _Format = _Format.GLOBAL
    bounding_box: _BoundingBox = _BoundingBox()
    relative_bounding_box: _RelativeBoundingBox = _RelativeBoundingBox()
    relative_keypoints: Repeated[_RelativeKeypoint] = Repeated(_RelativeKeypoint)
    _numbers = {"relative_keypoints": 5}  # noqa: RUF012  # read when the class is made


class Detection(Message):
    """Detected object: labels with scores, best first, and location."""

    label: Repeated[str] = Repeated(str)
    label_id: Repeated[int] = Repeated(int)
    score: Repeated[float] = Repeated(float)
    location_data: LocationData = LocationData()
    feature_tag: str = ""
    track_id: str = ""
    detection_id: int = 0
    display_name: Repeated[str] = Repeated(str)
    timestamp_usec: int = 0
    _numbers = {"display_name": 9, "timestamp_usec": 10}  # noqa: RUF012  # read when the class is made
    _wide = ("detection_id", "timestamp_usec")


class DetectionList(Message):
    """Detections, the best first."""

    detection: Repeated[Detection] = Repeated(Detection)


class Rect(Message):
    """Rotated rectangle in integer pixels: centre, size and clockwise rotation in radians."""

    x_center: int = 0
    y_center: int = 0
    height: int = 0
    width: int = 0
    rotation: float = 0.0
    rect_id: int = 0
    _wide = ("rect_id",)


class NormalizedRect(Message):
    """The same as parts of the image: x and width of its width, y and height of its height."""

    x_center: float = 0.0
    y_center: float = 0.0
    height: float = 0.0
    width: float = 0.0
    rotation: float = 0.0
    rect_id: int = 0
    _wide = ("rect_id",)
