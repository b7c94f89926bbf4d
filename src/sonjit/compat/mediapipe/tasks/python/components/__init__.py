"""The names of `mediapipe.tasks.python.components`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import task_options as processors
    from sonjit.compat.mediapipe.tasks.python.components import containers as containers
    from sonjit.compat.mediapipe.tasks.python.components import utils as utils

__all__ = [
    "containers",
    "processors",
    "utils",
]

add_covered_names(globals())
