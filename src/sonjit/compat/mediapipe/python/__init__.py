"""`mediapipe.python`, from which some scripts import: `Image`, and the same modules as `mediapipe.solutions`."""

import sys

from sonjit.compat.mediapipe import solutions
from sonjit.compat.mediapipe.image import Image, ImageFormat

__all__ = ["Image", "ImageFormat", "solutions"]

sys.modules[f"{__name__}.solutions"] = solutions
for _name in solutions.__all__:
    sys.modules[f"{__name__}.solutions.{_name}"] = getattr(solutions, _name)
