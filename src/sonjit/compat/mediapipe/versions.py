"""Select the release of MediaPipe whose results the tasks return."""

from __future__ import annotations

import sys
from typing import Final, Literal

LAST_WITH_SOLUTIONS: Final = "0.10.21"
CURRENT: Final = ("1.2.2", "1.2.3")

_package = sys.modules["sonjit.compat.mediapipe"]


def follow_version(version: Literal["0.10.21", "1.2.2", "1.2.3"]) -> None:
    """Select the release of MediaPipe whose results the tasks return, and report it as `__version__`.

    Args:
        version: "0.10.21" reports an unknown visibility or presence of a landmark as 0.0, shows masks and grey images
            as (H, W), and returns transformation matrices as float64. "1.2.2" and "1.2.3" report None, (H, W, 1) and
            float32.

    Raises:
        ValueError: Another version.
    """
    known = LAST_WITH_SOLUTIONS, *CURRENT
    if version not in known:
        raise ValueError(f"Unknown version {version!r}. Choose from {', '.join(known)}")
    vars(_package)["__version__"] = version


def follows_current() -> bool:
    """Check whether results are those of the current releases."""
    return vars(_package)["__version__"] in CURRENT
