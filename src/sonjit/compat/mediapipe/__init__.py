"""The names of `mediapipe.solutions` and `mediapipe.tasks.vision`, computed by Sonjit.

The package covers hands, faces, bodies, holistic, selfie masks, gestures and drawing. A script changes one line,
`import mediapipe as mp`, to `from sonjit.compat import mediapipe as mp`; see docs/migrating-from-mediapipe.md for what
is covered and what differs. The names below this package are MediaPipe's.

>>> from sonjit.compat import mediapipe as mp
>>> int(mp.solutions.hands.HandLandmark.INDEX_FINGER_TIP)
8
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._util.version import __version__ as sonjit_version
from sonjit.compat.mediapipe.not_covered import load_when_asked

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import framework, json_format, python, solutions, tasks
    from sonjit.compat.mediapipe.image import Image, ImageFormat
    from sonjit.compat.mediapipe.image_frame import ImageFrame
    from sonjit.compat.mediapipe.timestamp import Timestamp
    from sonjit.compat.mediapipe.versions import follow_version

__all__ = [
    "Image",
    "ImageFormat",
    "ImageFrame",
    "Timestamp",
    "__version__",
    "follow_version",
    "framework",
    "json_format",
    "python",
    "solutions",
    "sonjit_version",
    "tasks",
]

__version__ = "0.10.21"
"""Version of MediaPipe whose behaviour this package follows. Sonjit's own is `sonjit_version`."""

load_when_asked(
    globals(),
    "sonjit.compat.mediapipe",
    {
        ".image": "Image ImageFormat",
        ".image_frame": "ImageFrame",
        ".timestamp": "Timestamp",
        ".versions": "follow_version",
    },
    modules="framework json_format python solutions tasks",
)
