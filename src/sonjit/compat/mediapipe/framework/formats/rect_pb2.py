"""Turned rectangles."""

from sonjit.compat.mediapipe.messages import Message


class Rect(Message):
    """A turned rectangle in whole pixels: its centre and size; the rotation is clockwise in radians."""

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
