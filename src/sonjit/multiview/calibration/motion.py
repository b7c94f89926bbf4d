"""Images that were not taken at once: where a moving target was when each was taken.

A webcam's image may be a tenth of a second old when it is read, and a board in the hand has moved 50 mm by then. Poses
of the frame sets before and after say how it moved; each image gets a time of its own, which costs one of its numbers
(Furgale, Rehder and Siegwart, "Unified temporal and spatial calibration for multi-sensor systems", 2013, with one
time for each image instead of one for each camera, because such delays vary from image to image).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.arrays import BoolArray, FloatArray
from sonjit.geometry.rotations import rotation_vector_from_matrix
from sonjit.multiview.calibration.bundle_adjustment import (
    Bundle,
    LensPrior,
    Observations,
    adjust,
    robust_cost,
)

if TYPE_CHECKING:
    from sonjit.multiview.calibration.board import CalibrationTarget
    from sonjit.multiview.calibration.sightings import Placed

_ROUNDS, _STEPS = 8, 5
"""Of paths, and of the adjustment along each."""
_LEAST_REACH, _MOST_REACH = 2, 6
"""Frame sets before and after whose poses say how a target moved."""
_FEWEST, _SMOOTH = 6, 0.5
"""Places that make a path, at least, and how far off its neighbours' middle one is, in halves of their distance."""
_POWERS, _END_POWERS = 4, 2
"""Of a time, in a path; where there are frame sets on one side only."""


def followed(
    start: Bundle,
    observed: Observations,
    placed: Sequence[Placed],
    *,
    free_lens: BoolArray,
    prior: LensPrior,
    robust_px: float,
) -> Bundle:
    """The bundle in which each image has a time of its own along its target's path.

    Args:
        start: adjusted as if all images of a frame set were taken at once.
        observed: the points.
        placed: frame set and target of each of the bundle's (F,) places.
        free_lens: as of `adjust`.
        prior: likewise.
        robust_px: likewise.
    """
    times = np.zeros((len(placed), len(start.lenses))) if start.times is None else start.times
    best, least = replace(start, times=times), np.inf
    at = best
    for _ in range(_ROUNDS):  # paths follow from poses, and poses from the times along paths
        reach = int(np.clip(np.abs(times).max() + 1, _LEAST_REACH, _MOST_REACH))
        at = replace(at, paths=target_paths(at, placed, reach))
        at = adjust(at, observed, free_lens=free_lens, prior=prior, robust_px=robust_px, steps=_STEPS)
        cost, _, _ = robust_cost(at, observed, robust_px, prior)
        if cost < least:
            best, least = at, cost
    return best


def are_paths(at: Bundle, placed: Sequence[Placed]) -> bool:
    """Whether targets were carried along paths: mostly nearer to the middle of the places before and after than those.

    Not so for boards that were put somewhere else for every frame set, or for few of many images.
    """
    off, half = (np.linalg.norm(part, axis=1) for part in _bends(at, placed))
    return len(off) >= _FEWEST and float(np.median(off)) < _SMOOTH * float(np.median(half))


def _bends(at: Bundle, placed: Sequence[Placed]) -> tuple[FloatArray, FloatArray]:
    """(n, 3) each, metres: from the middle of the places before and after to a place, and to the place after."""
    rows: dict[CalibrationTarget, list[int]] = {}
    for row, (_, target) in enumerate(placed):
        rows.setdefault(target, []).append(row)
    before, between, after = (
        np.concatenate([at.target_shifts[own][part] for own in rows.values()])
        for part in (slice(None, -2), slice(1, -1), slice(2, None))
    )
    return between - (before + after) / 2, (after - before) / 2


def target_paths(at: Bundle, placed: Sequence[Placed], reach: int) -> FloatArray:
    """(F, 4, 6) how each target turns and moves about its frame set, by the powers of a time in the recording's steps.

    By least squares over the frame sets within reach; zeros for powers that they are too few for.
    """
    frames = np.array([frame for frame, _ in placed], np.float64)
    kinds = {target: number for number, (_, target) in enumerate(placed)}
    kind = np.array([kinds[target] for _, target in placed])
    steps = np.diff(np.unique(frames))
    usual = float(np.median(steps)) if len(steps) else 1.0
    paths = np.zeros((len(placed), _POWERS, 6))
    for row in range(len(placed)):
        away = (frames - frames[row]) / usual
        near = np.flatnonzero((kind == kind[row]) & (away != 0) & (np.abs(away) <= reach))
        most = _POWERS if len(np.unique(np.sign(away[near]))) > 1 else _END_POWERS
        powers = away[near, None] ** np.arange(1, min(len(near), most) + 1)
        turned = rotation_vector_from_matrix(at.target_turns[near] @ at.target_turns[row].T)
        moved = np.concatenate([turned, at.target_shifts[near] - at.target_shifts[row]], 1)
        paths[row, : powers.shape[1]] = np.linalg.lstsq(powers, moved)[0]
    return paths
