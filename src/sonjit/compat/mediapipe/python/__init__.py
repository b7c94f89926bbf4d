"""`mediapipe.python`, from which some scripts import: `Image`, and the same modules as `mediapipe.solutions`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import load_when_asked

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import solutions
    from sonjit.compat.mediapipe.image import Image, ImageFormat

__all__ = ["Image", "ImageFormat", "solutions"]

load_when_asked(
    globals(),
    "sonjit.compat.mediapipe.python",
    {"sonjit.compat.mediapipe.image": "Image ImageFormat"},
    modules="solutions",
)
