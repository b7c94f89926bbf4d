"""The message types, in MediaPipe's place: `framework.formats`."""

from sonjit.compat.mediapipe.framework import formats

__all__ = ["formats"]
