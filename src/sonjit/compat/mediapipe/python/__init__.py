"""`mediapipe.python.solutions`, from which some scripts import: the same modules as `mediapipe.solutions`."""

import sys

from sonjit.compat.mediapipe import solutions

__all__ = ["solutions"]

sys.modules[f"{__name__}.solutions"] = solutions
for _name in solutions.__all__:
    sys.modules[f"{__name__}.solutions.{_name}"] = getattr(solutions, _name)
