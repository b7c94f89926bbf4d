"""`mediapipe.python.solutions`: another name of `mediapipe.solutions` and of each of its modules."""

import sys

from sonjit.compat.mediapipe import solutions

for _name in solutions.__all__:
    sys.modules[f"{__name__}.{_name}"] = getattr(solutions, _name)
sys.modules[__name__] = solutions
