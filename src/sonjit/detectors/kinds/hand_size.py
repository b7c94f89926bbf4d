"""Estimate the bone lengths of a tracked hand and its distance from the camera."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from sonjit._util.arrays import Float32Array, FloatArray
from sonjit.detectors.tracking import Track
from sonjit.geometry.cameras import Intrinsics, assumed_camera, translation_to_view
from sonjit.results.skeletons import load_skeleton

_BONES: Final = load_skeleton("hand_mediapipe21").bones
_PARENTS, _CHILDREN = (list(column) for column in zip(*_BONES, strict=True))
_LENGTH_BONES: Final = [_CHILDREN.index(keypoint) for keypoint in (9, 10, 11, 12)]
"""Bones from the wrist to the tip of the middle finger."""
_USUAL_LENGTH_M: Final = 0.173
"""Mean distance of adults along the bones from the wrist keypoint to the tip of the middle finger."""
_USUAL_BONES: Final = np.array(
    [
        *(0.235, 0.193, 0.156, 0.127),
        *(0.528, 0.219, 0.127, 0.101),
        *(0.513, 0.239, 0.140, 0.108),
        *(0.490, 0.216, 0.129, 0.099),
        *(0.469, 0.167, 0.100, 0.081),
    ]
)
"""Median bone lengths (20,) of rendered hands relative to that distance, in the published definition of keypoints."""
_TRACK_SHARE: Final = 0.3
"""Share of a track's mean in its bone proportions. People differ less than the estimates of single frames."""
_LENGTH_SD, _VIEW_SD, _POSE_SD = 0.07, 0.13, 0.14
"""Standard deviations relative to the distance: of the hand lengths of adults, of the focal lengths of cameras with an
assumed view, and of the distance of rendered hands with known length and camera."""


class SizedHand(NamedTuple):
    """A hand with the bone lengths of its track.

    Attributes:
        keypoints_3d: (21, 3) metres with the same origin and bone directions as before.
        distance_m: Distance of the origin from the lens in metres; None if it is unknown.
        error_m: Standard deviation of the distance in metres; None if it is unknown.
    """

    keypoints_3d: Float32Array
    distance_m: float | None
    error_m: float | None


class HandSizes:
    """Bone lengths and distances of the hands of a detector.

    One image does not show the size of a hand, so that the hand length is known or usual. Bone proportions are between
    the usual ones and the mean over the frames of a track.

    Args:
        hand_length_m: Length of all hands from the wrist to the tip of the middle finger. None assumes the usual one.
        camera: Camera of the images. None assumes a field of view.
    """

    def __init__(self, hand_length_m: float | None = None, camera: Intrinsics | None = None) -> None:
        self._length_m = hand_length_m or _USUAL_LENGTH_M
        self._camera = camera
        assumed = (0 if hand_length_m else _LENGTH_SD, 0 if camera else _VIEW_SD)
        self._error = math.hypot(_POSE_SD, *assumed)
        self._means: WeakKeyDictionary[Track[Any], _MeanLengths] = WeakKeyDictionary()

    def measure(
        self, points: Float32Array, xy_px: Float32Array, size: tuple[int, int], track: Track[Any] | None
    ) -> SizedHand:
        """Return a hand with the bone lengths of its track, and its distance.

        Args:
            points: (21, 3) metres in the camera's axes.
            xy_px: (21, 2) pixels.
            size: Width and height of the image in pixels.
            track: Track of the hand. None for stills, whose mean is that of one frame.
        """
        metres = points.astype(np.float64)
        vectors = metres[_CHILDREN] - metres[_PARENTS]
        lengths = np.linalg.norm(vectors, axis=1)
        mean = lengths
        if track is not None:
            means = self._means.setdefault(track, _MeanLengths())
            if track.occluded_s is None:
                means.add(lengths)
            mean = means.lengths
        own = mean / max(mean[_LENGTH_BONES].sum(), 1e-9)
        shares = _USUAL_BONES + _TRACK_SHARE * (own - _USUAL_BONES)
        sized, sizes = np.zeros_like(metres), shares * self._length_m / shares[_LENGTH_BONES].sum()
        for (parent, child), vector, before, length in zip(_BONES, vectors, lengths, sizes, strict=True):
            sized[child] = sized[parent] + vector * (length / max(before, 1e-9))
        sized += metres.mean(0) - sized.mean(0)
        place = translation_to_view(sized, xy_px, self._camera or assumed_camera(*size))
        keypoints_3d = sized.astype(np.float32)
        if place is None:
            return SizedHand(keypoints_3d, None, None)
        distance = float(np.linalg.norm(place))
        return SizedHand(keypoints_3d, distance, distance * self._error)


class _MeanLengths:
    """Mean bone lengths (20,) in metres over the frames of a track."""

    def __init__(self) -> None:
        self.lengths: FloatArray = np.zeros(len(_BONES))
        self._frames = 0

    def add(self, lengths: FloatArray) -> None:
        """Add the bone lengths (20,) of a frame."""
        self._frames += 1
        self.lengths = self.lengths + (lengths - self.lengths) / self._frames
