"""Options, results and the vision tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import load_when_asked

if TYPE_CHECKING:
    from sonjit.compat.mediapipe.tasks.python import components, core, vision
    from sonjit.compat.mediapipe.tasks.python.core.base_options import BaseOptions

__all__ = ["BaseOptions", "components", "core", "vision"]

load_when_asked(
    globals(),
    "sonjit.compat.mediapipe.tasks.python",
    {".core.base_options": "BaseOptions"},
    modules="components core vision",
)
