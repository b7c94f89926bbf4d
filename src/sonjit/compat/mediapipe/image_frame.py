"""Define `ImageFrame`, the image of MediaPipe's packets."""

from sonjit.compat.mediapipe.image import Image


class ImageFrame(Image):
    """An image that reports the size of its numbers. The tasks accept it as an `Image`."""

    @property
    def byte_depth(self) -> int:
        """Bytes of one number."""
        return self.numpy_view().itemsize
