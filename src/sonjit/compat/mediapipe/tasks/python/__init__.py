"""The options, the results and the vision tasks."""

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe._names import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import _containers, _options
    from sonjit.compat.mediapipe._options import BaseOptions as BaseOptions
    from sonjit.compat.mediapipe.tasks.python import vision as vision

    components, core = _containers, _options

add_covered_names(globals())
