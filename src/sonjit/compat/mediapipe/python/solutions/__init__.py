"""Hold the solutions under MediaPipe's second import path."""

import sys

from sonjit.compat.mediapipe import solutions
from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.solutions import *  # noqa: F403  # the same names

__all__: list[str] = []
__all__ += solutions.__all__

for _name in __all__:  # so that the files are not loaded a second time
    sys.modules[f"{__name__}.{_name}"] = getattr(solutions, _name)

name_what_is_covered(globals())
