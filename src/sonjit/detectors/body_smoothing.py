"""What MediaPipe's body graph smooths over time, and other filters in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.body_mask import MaskSmoother
from sonjit.detectors.smoothing import KeypointSmoother, OneEuro

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.body import BodyObservation
    from sonjit.detectors.smoothing import FilterChoice

_VISIBILITY_ALPHA = 0.1


class BodySmoother:
    """Smooths one person's observations.

    The alignment points, from which the next box comes, are always smoothed. A person who was lost and is found
    again gets a new smoother, so everything passes through anew; MediaPipe does so with the image keypoints alone
    and carries world keypoints, visibility and mask over the gap, however long it was.

    Args:
        keypoints: `"published"`: MediaPipe's filters for image and world keypoints and visibility; a filter for
            image and world keypoints; or None to leave them as seen.
        mask: smooth the mask as well.
    """

    def __init__(self, keypoints: FilterChoice = "published", *, mask: bool = True) -> None:
        self._alignment = OneEuro(0.01, 10, 1, dead_speed=0)
        self._published = _Published() if keypoints == "published" else None
        self._custom = None if keypoints is None or keypoints == "published" else KeypointSmoother(keypoints)
        self._mask = MaskSmoother() if mask else None

    def __call__(self, observation: BodyObservation, now_s: float) -> BodyObservation:
        """The observation of a frame, smoothed."""
        alignment = observation.alignment
        scale = max(2 * float(np.linalg.norm(alignment[1] - alignment[0])), 1e-6)
        smoothed = replace(observation, alignment=self._alignment(alignment, time=now_s, scale=scale))
        if self._published is not None:
            smoothed = self._published(smoothed, now_s, scale)
        if self._custom is not None:
            smoothed = self._custom(smoothed, now_s)
        if self._mask is not None and observation.mask is not None:
            smoothed = replace(smoothed, mask=self._mask(observation.mask))
        return smoothed


class _Published:
    """MediaPipe's three streams: image keypoints, world keypoints, visibility."""

    def __init__(self) -> None:
        self._image = OneEuro(0.05, 80, 1, dead_speed=0)
        self._world = OneEuro(0.1, 40, 1, dead_speed=0)
        self._visibility: NDArray[np.float32] | None = None

    def __call__(self, observation: BodyObservation, now_s: float, scale: float) -> BodyObservation:
        """The observation with the three smoothed; `scale` is the person's size in pixels, as seen."""
        visibility = observation.visibility
        if self._visibility is not None:
            step = _VISIBILITY_ALPHA * (visibility - self._visibility)
            visibility = (self._visibility + step).astype(np.float32)
        self._visibility = visibility
        return replace(
            observation,
            keypoints=self._image(observation.keypoints, time=now_s, scale=scale),
            keypoints_3d=self._world(observation.keypoints_3d, time=now_s, scale=1.0),
            visibility=visibility,
        )
