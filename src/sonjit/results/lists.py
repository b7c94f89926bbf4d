"""Lists of results, which also give the values of all results as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self, SupportsIndex, TypeVar, cast, overload

import numpy as np

from sonjit._util import BoolArray, Float32Array, IndexArray, InputError, IntArray
from sonjit.results.schema import Result

R = TypeVar("R", bound=Result)

NO_ID = -1
"""Value of `ResultList.ids` for a result that is not tracked. Track IDs begin at 1."""


class ResultList(list[R]):
    """List of results, with their values as arrays.

    Arrays are made when they are asked for: an edit of them changes no result. Besides a number, an index can be a
    slice, an array of booleans or an array of indices, and selects results.

    `keypoint_count` is the number of keypoints K of each result, which is the shape of the arrays of an empty list.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     hands = detector.detect("photo.jpg")
        >>> hands.xy.shape, hands.boxes.shape
        ((2, 21, 2), (2, 4))
        >>> [hand.handedness for hand in hands[hands.xy[:, 0, 0] > 320]]
        ['Left']
    """

    __slots__ = ("_keypoint_count",)

    def __init__(self, found: Iterable[R] = (), *, keypoint_count: int = 0) -> None:
        super().__init__(found)
        self._keypoint_count = keypoint_count

    @property
    def keypoints(self) -> Float32Array:
        """Return the keypoints (N, K, 3) float32: x, y in pixels of the image, z as the results define it.

        Raises:
            InputError: The results have different numbers of keypoints.
        """
        if not self:
            return np.empty((0, self._keypoint_count, 3), np.float32)
        points = [result.keypoints for result in self]
        if len({len(own) for own in points}) > 1:
            raise InputError("the results have several numbers of keypoints. Select those of one kind")
        return np.array(points, np.float32)

    @property
    def xy(self) -> Float32Array:
        """Return x and y (N, K, 2) float32 of the keypoints in pixels of the image."""
        return self.keypoints[..., :2]

    @property
    def scores(self) -> Float32Array:
        """Return the scores (N,) float32, 0..1."""
        return np.array([result.score for result in self], np.float32)

    @property
    def ids(self) -> IntArray:
        """Return the track IDs (N,) int64. They are -1 in stills, where nothing is tracked."""
        return np.array([NO_ID if result.id is None else result.id for result in self], np.int64)

    @property
    def boxes(self) -> Float32Array:
        """Return the boxes (N, 4) float32: x_min, y_min, x_max, y_max in pixels of the image."""
        return np.array([result.box for result in self], np.float32).reshape(-1, 4)

    @overload
    def __getitem__(self, index: SupportsIndex) -> R: ...
    @overload
    def __getitem__(self, index: slice | BoolArray | IndexArray | IntArray | Sequence[int]) -> Self: ...
    def __getitem__(self, index: Any) -> Any:
        """Return one result, or those of a slice, of booleans (N,) or of indices (M,)."""
        if not isinstance(index, (slice, np.ndarray, list)) or getattr(index, "shape", None) == ():
            return super().__getitem__(cast("SupportsIndex", index))
        chosen = np.arange(len(self))[index]
        if chosen.ndim != 1:
            raise IndexError(f"an index has {chosen.ndim} dimensions: give a list or an array of one dimension")
        every = list(self)
        return self._like(every[k] for k in chosen.tolist())

    def _like(self, found: Iterable[R]) -> Self:
        """Return a list of other results of the same image."""
        return type(self)(found, keypoint_count=self._keypoint_count)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), list(self), self._keypoint_count)


def _restored(kind: type[ResultList[R]], found: list[R], keypoint_count: int) -> ResultList[R]:
    return kind(found, keypoint_count=keypoint_count)
