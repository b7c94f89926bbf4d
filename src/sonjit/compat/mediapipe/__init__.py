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
from sonjit.compat.mediapipe.not_covered import load_when_asked

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import framework, json_format, python, solutions, tasks
    from sonjit.compat.mediapipe.image import Image, ImageFormat

__all__ = ["Image", "ImageFormat", "__version__", "framework", "json_format", "python", "solutions", "tasks"]

load_when_asked(
    globals(),
    "sonjit.compat.mediapipe",
    {".image": "Image ImageFormat"},
    modules="framework json_format python solutions tasks",
)
