"""The names that MediaPipe defines below `mediapipe.python`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import solutions as solutions
    from sonjit.compat.mediapipe.image import Image as Image
    from sonjit.compat.mediapipe.image import ImageFormat as ImageFormat
    from sonjit.compat.mediapipe.image_frame import ImageFrame as ImageFrame
    from sonjit.compat.mediapipe.timestamp import Timestamp as Timestamp

add_covered_names(globals())
