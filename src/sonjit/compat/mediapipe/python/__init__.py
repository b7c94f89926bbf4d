"""Hold the names that MediaPipe keeps below `mediapipe.python`."""

from sonjit.compat.mediapipe.image import Image, ImageFormat
from sonjit.compat.mediapipe.image_frame import ImageFrame
from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.python import solutions
from sonjit.compat.mediapipe.timestamp import Timestamp

__all__ = ["Image", "ImageFormat", "ImageFrame", "Timestamp", "solutions"]

name_what_is_covered(globals())
