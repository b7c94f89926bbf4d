"""What all solutions have in common: a detector, checks in MediaPipe's words, landmarks as messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sonjit.compat.mediapipe.framework.formats.landmark_pb2 import (
    LandmarkList,
    NormalizedLandmarkList,
)
from sonjit.errors import InputError

if TYPE_CHECKING:
    from sonjit.detectors import Detector

L = TypeVar("L", NormalizedLandmarkList, LandmarkList)
V = TypeVar("V")


class Solution:
    """Base of the solutions that run one detector; a context manager."""

    _detector: Detector[Any]

    def reset(self) -> None:
        """Forget what is held: the next image starts a new video."""
        self._detector.reset()

    def close(self) -> None:
        """Free the networks."""
        self._detector.close()

    def __enter__(self) -> Self:
        """The object itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def image_landmarks(
    keypoints: NDArray[np.float32], image: NDArray[np.uint8], visibility: NDArray[np.float32] | None = None
) -> NormalizedLandmarkList:
    """Keypoints (K, 3) in pixels of an image (H, W, 3) as parts of it, with the visibility (K,) of each."""
    height, width = image.shape[:2]
    return _filled(NormalizedLandmarkList(), keypoints / np.array([width, height, width], np.float32), visibility)


def world_landmarks(points: NDArray[np.float32], visibility: NDArray[np.float32] | None = None) -> LandmarkList:
    """Points (K, 3) in metres, with the visibility (K,) of each."""
    return _filled(LandmarkList(), points, visibility)


def _filled(landmarks: L, points: NDArray[np.float32], visibility: NDArray[np.float32] | None) -> L:
    sure: list[float | None] = [None] * len(points) if visibility is None else visibility.tolist()
    for (x, y, z), value in zip(points.tolist(), sure, strict=True):
        landmarks.landmark.add(x=x, y=y, z=z, visibility=value)
    return landmarks


def choice(name: str, value: int, names: Mapping[int, V]) -> V:
    """What a number stands for.

    Raises:
        InputError: nothing.
    """
    if value not in names:
        raise InputError(f"{name}={value}: give {' or '.join(f'{number} ({what})' for number, what in names.items())}")
    return names[value]


def check_probabilities(**values: float) -> None:
    """Refuse a value that is not a probability, by its name."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise InputError(f"{name}={value}: give a probability between 0 and 1")


def check_rgb(image: Any) -> None:  # noqa: ANN401  # whatever a script passes
    """Refuse an array that is not an RGB image (H, W, 3) uint8."""
    if image is None:
        raise InputError("process() got None for an image: the file or the camera frame could not be read")
    if not isinstance(image, np.ndarray):
        raise InputError(f"process() takes an RGB array, not a {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"process() takes RGB, (H, W, 3) uint8, not {image.shape} {image.dtype}")
