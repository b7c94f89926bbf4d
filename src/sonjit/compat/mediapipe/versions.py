"""Select the release of MediaPipe whose results the tasks return."""

from __future__ import annotations

import sys
from typing import Final, Literal

LAST_WITH_SOLUTIONS: Final = "0.10.21"
CURRENT: Final = "1.2.2"

_package = sys.modules["sonjit.compat.mediapipe"]


def follow_version(version: Literal["0.10.21", "1.2.2"]) -> None:
    """Select the release of MediaPipe whose results the tasks return, and report it as `__version__`.

    Args:
        version: "0.10.21" reports an unknown visibility or presence of a landmark as 0.0, shows masks and grey images
            as (H, W), and returns transformation matrices as float64. "1.2.2" reports None, (H, W, 1) and float32.

    Raises:
        ValueError: Another version.
    """
    if version not in (LAST_WITH_SOLUTIONS, CURRENT):
        raise ValueError(f"Unknown version {version!r}. Choose from {LAST_WITH_SOLUTIONS}, {CURRENT}")
    vars(_package)["__version__"] = version


def follows_current() -> bool:
    """Check whether results are those of the current release."""
    return vars(_package)["__version__"] == CURRENT
