"""MediaPipe's current API under its names."""

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe._names import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe._options import BaseOptions as BaseOptions
    from sonjit.compat.mediapipe.tasks import python as python
    from sonjit.compat.mediapipe.tasks.python import components as components
    from sonjit.compat.mediapipe.tasks.python import core as core
    from sonjit.compat.mediapipe.tasks.python import vision as vision

add_covered_names(globals())
