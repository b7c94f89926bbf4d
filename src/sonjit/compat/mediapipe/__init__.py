"""`mediapipe.solutions` and `mediapipe.tasks.vision`, computed by Sonjit: hands, faces, bodies, holistic, selfie masks,
gestures and drawing.

A script changes one line, `import mediapipe as mp`, to `from sonjit.compat import mediapipe as mp`; see
docs/migrating-from-mediapipe.md for what is covered and what differs. The names below this package are MediaPipe's.

>>> from sonjit.compat import mediapipe as mp
>>> int(mp.solutions.hands.HandLandmark.INDEX_FINGER_TIP)
8
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._version import __version__
from sonjit.compat.mediapipe import framework, json_format, python, solutions, tasks
from sonjit.compat.mediapipe.image import Image, ImageFormat
from sonjit.compat.mediapipe.not_covered import not_covered

__all__ = ["Image", "ImageFormat", "__version__", "framework", "json_format", "python", "solutions", "tasks"]

if not TYPE_CHECKING:  # a type checker shall keep complaining about unknown names

    def __getattr__(name: str) -> object:
        """Say what is covered."""
        raise not_covered(__name__, name, __all__)
