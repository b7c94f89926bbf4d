"""Decide between a tracked box and the box of a search, as in MediaPipe's holistic graph."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonjit.geometry.boxes import RotatedBox, wrap_angle


@dataclass(frozen=True)
class Agreement:
    """Maximum differences between a tracked box and the box of a search at which the tracked box is kept.

    Source: options of the `RoiTrackingCalculator` in MediaPipe's holistic graph.

    Attributes:
        rotation: Difference of the angles in radians.
        shift: Distance along each axis of the image, relative to the size of the searched box.
        scale: Difference of the sizes, relative to the size of the searched box.
        margin: Margin of the searched box, relative to its size, that must not contain tracked keypoints.
    """

    rotation: float
    shift: float
    scale: float
    margin: float

    def accepts(self, tracked: RotatedBox, keypoints: NDArray[np.float32], found: RotatedBox) -> bool:
        """Check whether the tracked box is close to the found box, which must contain its keypoints (K, 2)."""
        size = found.width
        if (
            abs(wrap_angle(tracked.rotation - found.rotation)) > self.rotation
            or max(abs(tracked.cx - found.cx), abs(tracked.cy - found.cy)) > self.shift * size
            or abs(tracked.width - size) > self.scale * size
        ):
            return False
        cosine, sine = math.cos(found.rotation), math.sin(found.rotation)
        offsets = (keypoints - (found.cx, found.cy)) @ np.array([[cosine, -sine], [sine, cosine]])
        return bool(np.abs(offsets).max() < (1 - self.margin) * size / 2)
