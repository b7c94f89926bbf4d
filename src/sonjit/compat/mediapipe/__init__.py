"""`mediapipe.solutions`, computed by Sonjit: hands, faces, bodies, holistic, selfie masks and drawing.

A script changes one line, `import mediapipe as mp`, to `from sonjit.compat import mediapipe as mp`; see
docs/migrating-from-mediapipe.md for what is covered and what differs. The names below this package are MediaPipe's.

>>> from sonjit.compat import mediapipe as mp
>>> int(mp.solutions.hands.HandLandmark.INDEX_FINGER_TIP)
8
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._version import __version__
from sonjit.compat.mediapipe import framework, json_format, solutions
from sonjit.compat.mediapipe.not_covered import not_covered

__all__ = ["__version__", "framework", "json_format", "solutions"]

if not TYPE_CHECKING:  # a type checker shall keep complaining about unknown names

    def __getattr__(name: str) -> object:
        """Say what is covered."""
        raise not_covered(__name__, name, __all__)
