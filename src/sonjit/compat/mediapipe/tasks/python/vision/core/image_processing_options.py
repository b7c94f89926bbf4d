"""`ImageProcessingOptions`."""

from dataclasses import dataclass

from sonjit.compat.mediapipe.tasks.python.components.containers.rect import Rect


@dataclass
class ImageProcessingOptions:
    """How an image is to be looked at.

    Attributes:
        region_of_interest: of no task that is covered here.
        rotation_degrees: clockwise, a multiple of 90: turned by so much the image is upright. Results stay in the image
            as it is.
    """

    region_of_interest: Rect | None = None
    rotation_degrees: int = 0
