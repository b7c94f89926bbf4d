"""The names of `mediapipe.solutions` and `mediapipe.tasks.vision`, computed by Sonjit.

The package covers hands, faces, bodies, holistic, selfie masks, gestures and drawing. A script changes one line,
`import mediapipe as mp`, to `from sonjit.compat import mediapipe as mp`; see docs/migrating-from-mediapipe.md for what
is covered and what differs. The names below this package are MediaPipe's. `solutions` and messages need protobuf, which
the extra `compat` installs.

>>> from sonjit.compat import mediapipe as mp
>>> int(mp.solutions.hands.HandLandmark.INDEX_FINGER_TIP)
8
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Literal

from sonjit._util.version import __version__ as sonjit_version
from sonjit.compat.mediapipe._names import ImportPaths, add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import _images
    from sonjit.compat.mediapipe import framework as framework
    from sonjit.compat.mediapipe import json_format as json_format
    from sonjit.compat.mediapipe import solutions as solutions
    from sonjit.compat.mediapipe import tasks as tasks
    from sonjit.compat.mediapipe._images import Image as Image
    from sonjit.compat.mediapipe._images import ImageFormat as ImageFormat
    from sonjit.compat.mediapipe._images import ImageFrame as ImageFrame
    from sonjit.compat.mediapipe._images import Timestamp as Timestamp

    python = _images

__all__ = ["__version__", "follow_version", "sonjit_version"]

__version__ = "0.10.21"  # version of MediaPipe whose behaviour this package follows. Sonjit's own is `sonjit_version`.
_CURRENT: Final = ("1.2.2", "1.2.3")


def follow_version(version: Literal["0.10.21", "1.2.2", "1.2.3"]) -> None:
    """Select the release of MediaPipe whose results the tasks return, and report it as `__version__`.

    Args:
        version: "0.10.21" reports an unknown visibility or presence of a landmark as 0.0, shows masks and grey images
            as (H, W), and returns transformation matrices as float64. "1.2.2" and "1.2.3" report None, (H, W, 1) and
            float32.

    Raises:
        ValueError: Another version.
    """
    global __version__
    versions = "0.10.21", *_CURRENT
    if version not in versions:
        raise ValueError(f"Unknown version {version!r}. Choose from {', '.join(versions)}")
    __version__ = version


def follows_current() -> bool:
    """Check whether results are those of the current releases."""
    return __version__ in _CURRENT


sys.meta_path.insert(0, ImportPaths())
add_covered_names(globals())
