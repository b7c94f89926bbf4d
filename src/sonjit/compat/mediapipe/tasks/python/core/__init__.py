"""The names of `mediapipe.tasks.python.core`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import task_options as base_options

__all__ = [
    "base_options",
]

add_covered_names(globals())
