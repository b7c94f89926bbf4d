"""Estimate when each image of a moving target was taken, for images that are not simultaneous.

A webcam's image may be a tenth of a second old when it is read, and a hand-held board has moved 50 mm by then. Poses of
neighbouring frame sets determine the motion; each image gets its own time, which costs one of its numbers (Furgale,
Rehder and Siegwart, "Unified temporal and spatial calibration for multi-sensor systems", 2013, with one time per image
instead of one per camera, because such delays vary from image to image).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray
from sonjit.geometry.rotations import rotation_vector_from_matrix
from sonjit.studio.calibration.bundle_adjustment import Bundle, LensPrior, Observations, adjust, robust_cost

if TYPE_CHECKING:
    from sonjit.studio.calibration.board import CalibrationTarget
    from sonjit.studio.calibration.board_observations import PoseKey

_MAX_ROUNDS, _ADJUST_STEPS = 8, 5
"""Rounds of estimating paths, and steps of the adjustment in each."""
_MIN_WINDOW, _MAX_WINDOW = 2, 6
"""Least and greatest number of frame sets before and after that determine a target's path."""
_MIN_POSES, _MAX_BEND = 6, 0.5
"""Least number of poses of a path, and largest distance of a pose from the midpoint of its neighbours, in halves of
their distance."""
_DEGREE, _ONE_SIDED_DEGREE = 4, 2
"""Polynomial degree of a path in time, and at its ends, where frame sets exist on one side only."""


def fit_image_times(
    start: Bundle,
    observed: Observations,
    pose_keys: Sequence[PoseKey],
    *,
    free_lens: BoolArray,
    prior: LensPrior,
    robust_px: float,
) -> Bundle:
    """Fit a bundle in which each image has its own time along its target's path.

    Args:
        start: Bundle adjusted for simultaneous images.
        observed: Observed points.
        pose_keys: Frame set and target of each of the bundle's F target poses.
        free_lens: (C, 12) which lens parameters may change.
        prior: Prior of the lenses.
        robust_px: Error above which the cost grows linearly, pixels.
    """
    times = np.zeros((len(pose_keys), len(start.lenses))) if start.times is None else start.times
    best, least_cost = replace(start, times=times), np.inf
    current = best
    for _ in range(_MAX_ROUNDS):  # alternate: paths follow from poses, and poses from the times along paths
        window = int(np.clip(np.abs(times).max() + 1, _MIN_WINDOW, _MAX_WINDOW))
        current = replace(current, paths=target_paths(current, pose_keys, window))
        current = adjust(current, observed, free_lens=free_lens, prior=prior, robust_px=robust_px, steps=_ADJUST_STEPS)
        cost, _, _ = robust_cost(current, observed, robust_px, prior)
        if cost < least_cost:
            best, least_cost = current, cost
    return best


def has_continuous_paths(bundle: Bundle, pose_keys: Sequence[PoseKey]) -> bool:
    """Check whether targets move along paths, so that most poses lie near the midpoint of their neighbours.

    It is false for boards that were placed anew for every frame set, or for a few of many images.
    """
    bend, half = (np.linalg.norm(part, axis=1) for part in _path_offsets(bundle, pose_keys))
    return len(bend) >= _MIN_POSES and float(np.median(bend)) < _MAX_BEND * float(np.median(half))


def _path_offsets(bundle: Bundle, pose_keys: Sequence[PoseKey]) -> tuple[FloatArray, FloatArray]:
    """Return (n, 3) each, metres: from the midpoint of two neighbours to a pose, and half the way between them."""
    rows: dict[CalibrationTarget, list[int]] = {}
    for row, (_, target) in enumerate(pose_keys):
        rows.setdefault(target, []).append(row)
    before, between, after = (
        np.concatenate([bundle.target_translations[indices][part] for indices in rows.values()])
        for part in (slice(None, -2), slice(1, -1), slice(2, None))
    )
    return between - (before + after) / 2, (after - before) / 2


def target_paths(bundle: Bundle, pose_keys: Sequence[PoseKey], window: int) -> FloatArray:
    """Fit (F, 4, 6) rotation and translation of each target around its frame set by powers of time, in frame steps.

    Least squares over the frame sets of a window. Powers that too few frame sets determine are zero.
    """
    frames = np.array([frame for frame, _ in pose_keys], np.float64)
    target_indices = {target: number for number, (_, target) in enumerate(pose_keys)}
    target_index = np.array([target_indices[target] for _, target in pose_keys])
    steps = np.diff(np.unique(frames))
    step = float(np.median(steps)) if len(steps) else 1.0
    paths = np.zeros((len(pose_keys), _DEGREE, 6))
    for row in range(len(pose_keys)):
        offsets = (frames - frames[row]) / step
        neighbours = np.flatnonzero((target_index == target_index[row]) & (offsets != 0) & (np.abs(offsets) <= window))
        degree = _DEGREE if len(np.unique(np.sign(offsets[neighbours]))) > 1 else _ONE_SIDED_DEGREE
        powers = offsets[neighbours, None] ** np.arange(1, min(len(neighbours), degree) + 1)
        rotations = rotation_vector_from_matrix(bundle.target_rotations[neighbours] @ bundle.target_rotations[row].T)
        motions = np.concatenate(
            [rotations, bundle.target_translations[neighbours] - bundle.target_translations[row]], 1
        )
        paths[row, : powers.shape[1]] = np.linalg.lstsq(powers, motions)[0]
    return paths
