"""The options, the results and the vision tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe.task_options import BaseOptions as BaseOptions
    from sonjit.compat.mediapipe.tasks.python import components as components
    from sonjit.compat.mediapipe.tasks.python import core as core
    from sonjit.compat.mediapipe.tasks.python import vision as vision

add_covered_names(globals())
