"""Define errors that are also the exceptions that MediaPipe raises."""

from sonjit._util.errors import InputError


class ModelError(InputError, RuntimeError):
    """Report a model file that is missing or of no use: a ValueError, and MediaPipe's RuntimeError."""


class MissingFileError(ModelError, FileNotFoundError):
    """Report a file that does not exist: a RuntimeError as in MediaPipe 0.10.21, a FileNotFoundError as in 1.2.2."""


class ImageError(InputError, RuntimeError, AttributeError, TypeError, IndexError):
    """Report an argument that is not the required image. MediaPipe raises one of these exceptions for each mistake."""
