"""MediaPipe's current API: `tasks.vision`, under its names; `tasks.python` is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import not_covered
from sonjit.compat.mediapipe.tasks import python
from sonjit.compat.mediapipe.tasks.python import BaseOptions, components, core, vision

__all__ = ["BaseOptions", "components", "core", "python", "vision"]

if not TYPE_CHECKING:  # a type checker shall keep complaining about unknown names

    def __getattr__(name: str) -> object:
        """Say what is covered."""
        raise not_covered(__name__, name, __all__)
