"""Options, results and the vision tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import not_covered
from sonjit.compat.mediapipe.tasks.python import components, core, vision
from sonjit.compat.mediapipe.tasks.python.core.base_options import BaseOptions

__all__ = ["BaseOptions", "components", "core", "vision"]

if not TYPE_CHECKING:  # a type checker shall keep complaining about unknown names

    def __getattr__(name: str) -> object:
        """Say what is covered."""
        raise not_covered(__name__, name, __all__)
