"""Smooth keypoints over time with the One-Euro filter.

The filter (Casiez, Roussel, Vogel 2012) works on arrays of values divided by the object's size, so that one set of
parameters fits every image size.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

import numpy as np

from sonjit._util import Float32Array, FloatArray
from sonjit.detectors.observations import Observation
from sonjit.geometry.boxes import size_of

if TYPE_CHECKING:
    from sonjit.detectors.options import CommonOptions

O = TypeVar("O", bound="Observation")  # noqa: E741

FilterChoice: TypeAlias = "Literal['published'] | Filter | None"
"""What MediaPipe's own graph of a kind does, a filter, or nothing."""

Smoother: TypeAlias = "Callable[[O, float], O]"
"""Function that smooths the observations of one track, with increasing times in seconds."""


class Filter(Protocol):
    """Filter for `smoothing=`.

    It is copied for each tracked instance, once for image and once for world keypoints. Refined hands require two
    further copies, for their published keypoints.
    """

    def __call__(self, values: Float32Array, *, time: float, scale: float) -> Float32Array:
        """Filter the values of one frame.

        Args:
            values: (K, D) keypoints.
            time: Seconds, larger than at the call before.
            scale: Size of the instance in the unit of the values.
        """
        ...

    def reset(self) -> None:
        """Forget the past: the next values pass through."""
        ...


class OneEuro:
    """Low-pass filter whose cut-off rises with speed: calm when still, prompt when moving.

    Args:
        min_cutoff_hz: Cut-off at rest; lower is calmer.
        beta: Increase of the cut-off with the speed, in Hz per (object size / second).
        derivative_cutoff_hz: Cut-off of the speed estimate.
        dead_speed: Speed in object sizes per second that counts as rest, so that noise does not open the filter.
    """

    def __init__(
        self,
        min_cutoff_hz: float = 0.7,
        beta: float = 120.0,
        derivative_cutoff_hz: float = 1.0,
        dead_speed: float = 0.08,
    ) -> None:
        self.min_cutoff_hz = min_cutoff_hz
        self.beta = beta
        self.derivative_cutoff_hz = derivative_cutoff_hz
        self.dead_speed = dead_speed
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next values pass through."""
        self._time = -math.inf
        self._raw = self._smooth = self._speed = np.zeros(0)

    def __call__(self, values: Float32Array, *, time: float, scale: float) -> Float32Array:
        """Return filtered values (K, D) of one frame, see `Filter`; unchanged ones if the time does not increase."""
        raw = values.astype(np.float64)
        if not self._raw.size:
            self._time = time
            self._raw = raw
            self._smooth = raw
            self._speed = np.zeros_like(raw)
            return values
        step_s = time - self._time
        if not step_s > 0:
            return values
        speed = (raw - self._raw) / (scale * step_s)
        speed = self._speed + _alpha(self.derivative_cutoff_hz, step_s) * (speed - self._speed)
        self._speed = np.where(np.isnan(speed), 0.0, speed)  # a missing keypoint restarts
        moving = np.maximum(np.abs(self._speed) - self.dead_speed, 0)
        alpha = _alpha(self.min_cutoff_hz + self.beta * moving, step_s)
        smooth = self._smooth + alpha * (raw - self._smooth)
        self._smooth = np.where(np.isnan(smooth), raw, smooth)
        self._time, self._raw = time, raw
        return self._smooth.astype(np.float32)


class KeypointSmoother:
    """The same filter for image and world keypoints, with the size of an instance from its points (K, D)."""

    def __init__(self, pattern: Filter, size: Callable[[Float32Array], float] | None = None) -> None:
        self._image, self._world = copy.deepcopy(pattern), copy.deepcopy(pattern)
        self._size = size or size_of

    def __call__(self, observation: O, now_s: float) -> O:
        """Return the observation, a dataclass, with smoothed keypoints."""
        image, world = observation.keypoints, observation.keypoints_3d
        changes = {"keypoints": self._image(image, time=now_s, scale=self._size(image[:, :2]))}
        if world is not None:
            changes["keypoints_3d"] = self._world(world, time=now_s, scale=self._size(world))
        return replace(observation, **changes)  # pyright: ignore


def keypoint_smoothers(
    options: CommonOptions, smoother: type[KeypointSmoother] = KeypointSmoother
) -> Callable[[], KeypointSmoother | None]:
    """Return a factory of smoothers, for kinds whose published graph does not smooth."""
    pattern = options.filter
    if pattern is None or pattern == "published":
        return lambda: None
    return lambda: smoother(pattern)


def _alpha(cutoff_hz: float | FloatArray, step_s: float) -> float | FloatArray:
    """Return the weight of the new sample in a first-order low-pass filter."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * step_s))
