"""Where a detection lies in the image."""

from enum import IntEnum

from sonjit.compat.mediapipe.messages import Message, Repeated


class _Format(IntEnum):
    """What a location is given by."""

    GLOBAL = 0
    BOUNDING_BOX = 1
    RELATIVE_BOUNDING_BOX = 2
    MASK = 3


class _BoundingBox(Message):
    """A box in whole pixels."""

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
