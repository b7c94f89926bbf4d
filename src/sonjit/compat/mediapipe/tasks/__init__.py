"""MediaPipe's current API: `tasks.vision`, under its names; `tasks.python` is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import load_when_asked

if TYPE_CHECKING:
    from sonjit.compat.mediapipe.tasks import python
    from sonjit.compat.mediapipe.tasks.python import BaseOptions, components, core, vision

__all__ = ["BaseOptions", "components", "core", "python", "vision"]

load_when_asked(
    globals(), "sonjit.compat.mediapipe.tasks", {".python": "BaseOptions components core vision"}, modules="python"
)
