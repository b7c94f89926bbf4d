"""The names of `mediapipe.solutions` and `mediapipe.tasks.vision`, computed by Sonjit.

The package covers hands, faces, bodies, holistic, selfie masks, gestures and drawing. A script changes one line,
`import mediapipe as mp`, to `from sonjit.compat import mediapipe as mp`; see docs/migrating-from-mediapipe.md for what
is covered and what differs. The names below this package are MediaPipe's.

>>> from sonjit.compat import mediapipe as mp
>>> int(mp.solutions.hands.HandLandmark.INDEX_FINGER_TIP)
8
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sonjit._util.version import __version__ as sonjit_version
from sonjit.compat.mediapipe.import_paths import ImportPaths
from sonjit.compat.mediapipe.not_covered import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import framework as framework
    from sonjit.compat.mediapipe import json_format as json_format
    from sonjit.compat.mediapipe import python as python
    from sonjit.compat.mediapipe import solutions as solutions
    from sonjit.compat.mediapipe import tasks as tasks
    from sonjit.compat.mediapipe.image import Image as Image
    from sonjit.compat.mediapipe.image import ImageFormat as ImageFormat
    from sonjit.compat.mediapipe.image_frame import ImageFrame as ImageFrame
    from sonjit.compat.mediapipe.timestamp import Timestamp as Timestamp
    from sonjit.compat.mediapipe.versions import follow_version as follow_version

__all__ = ["__version__", "sonjit_version"]

__version__ = "0.10.21"
"""Version of MediaPipe whose behaviour this package follows. Sonjit's own is `sonjit_version`."""

sys.meta_path.insert(0, ImportPaths())
add_covered_names(globals())
