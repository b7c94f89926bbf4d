"""Re-export the names of `mediapipe.tasks.python.components.utils`."""

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.tasks.python.components.utils import cosine_similarity

__all__ = ["cosine_similarity"]

name_what_is_covered(globals())
