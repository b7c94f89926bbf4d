"""The names of `mediapipe.tasks.python.components.utils`."""

from sonjit.compat.mediapipe import cosine_similarity
from sonjit.compat.mediapipe.not_covered import install_attribute_errors

__all__ = ["cosine_similarity"]

install_attribute_errors(globals())
