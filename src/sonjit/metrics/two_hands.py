"""Two hands at once, as InterHand2.6M judges them: each relative to its own root, and one root from the other.

Joints are (N, 42, 3): 21 of the right hand, then 21 of the left one; `roots` says where each has its root, which is
the last of its joints in InterHand2.6M's order.

Source: Moon et al. 2020, InterHand2.6M, and its released evaluation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit.errors import InputError
from sonjit.metrics.alignment import root_relative
from sonjit.metrics.arrays import Points, checked_points
from sonjit.metrics.keypoints import joint_errors, mean_error

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from sonjit.metrics.keypoints import Average

ROOTS = (20, 41)
"""Wrists of the right and the left hand in InterHand2.6M's order."""


class TwoHandError(NamedTuple):
    """Mean errors over all samples, those of one hand, and those of two; NaN where there is none."""

    all: float
    single: float
    interacting: float


def two_hand_errors(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, roots: tuple[int, int] = ROOTS
) -> NDArray[np.float64]:
    """Errors (N, 42) of joints relative to the root of their hand; nothing of a hand without a valid root counts."""
    points = checked_points(predicted, truth, valid)
    half = points.truth.shape[-2] // 2
    if not 0 <= roots[0] < half <= roots[1] < points.truth.shape[-2]:
        raise InputError(f"roots {roots}: give one among joints 0 to {half - 1} and one among those after")
    hands = (
        Points(points.predicted[..., of, :], points.truth[..., of, :], points.valid[..., of]) for of in _halves(half)
    )
    own = (roots[0], roots[1] - half)
    return np.concatenate(
        [joint_errors(*root_relative(*hand, root=root)) for hand, root in zip(hands, own, strict=True)], axis=-1
    )


def two_hand_mpjpe(errors: NDArray[np.floating], interacting: ArrayLike, *, average: Average = "joint") -> TwoHandError:
    """MPJPE of errors (N, 42), of single and of interacting hands (N,) and of both together.

    The roots' own errors, always 0, count as the released evaluation counts them.
    """
    two = _flags("interacting", interacting, len(errors))
    return TwoHandError(
        mean_error(errors, average), mean_error(errors[~two], average), mean_error(errors[two], average)
    )


def root_offset_errors(
    predicted: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    interacting: ArrayLike,
    roots: tuple[int, int] = ROOTS,
) -> NDArray[np.float64]:
    """How far off the left root is as seen from the right one: (N,), NaN without two hands that have valid roots."""
    points = checked_points(predicted, truth, valid)
    offsets = root_relative(*(array[:, list(roots)] for array in points), root=0)  # (N, 2, 3)
    errors = joint_errors(*offsets)[:, 1]
    return np.where(_flags("interacting", interacting, len(errors)), errors, np.nan)


def mrrpe(
    predicted: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    interacting: ArrayLike,
    roots: tuple[int, int] = ROOTS,
) -> float:
    """Mean relative root position error over interacting hands (N,), in the unit of the points; NaN without any."""
    return mean_error(root_offset_errors(predicted, truth, valid, interacting=interacting, roots=roots))


def _halves(half: int) -> tuple[slice, slice]:
    return slice(0, half), slice(half, 2 * half)


def _flags(name: str, values: ArrayLike, samples: int) -> NDArray[np.bool_]:
    flags = np.asarray(values).astype(np.bool_)
    if flags.shape != (samples,):
        raise InputError(f"{name} {flags.shape}: give one per sample, ({samples},)")
    return flags
