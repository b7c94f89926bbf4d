"""How well a calibration knows its numbers."""

from __future__ import annotations

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IndexArray
from sonjit.multiview.calibration.bundle_adjustment import (
    OF_CAMERA,
    OF_POSE,
    Bundle,
    LensPrior,
    Observations,
    adjust,
    normal_equations,
    parameter_columns,
    robust_cost,
    rotated,
)

_PARTS = 8
"""Parts of the recording; each is left out once to see how much hangs on it."""


def standard_errors(
    best: Bundle, observed: Observations, terms: BoolArray, prior: LensPrior, robust_px: float
) -> tuple[FloatArray, FloatArray]:
    """Standard errors (C, 12) of lenses and (C, C) of distances between cameras, in metres.

    Of lenses the larger of the inverse normal matrix's and the jackknife's, of distances the jackknife's, NaN for a
    recording too short for it. Points of one image are wrong together (late images, a bent board), which leaving out
    whole stretches of the recording shows. What the prior alone fixes has its deviation in the first.
    """
    cameras, frames = len(best.lenses), len(best.target_turns)
    of_cameras = np.ones((cameras, OF_CAMERA + OF_POSE), np.bool_)
    of_cameras[:, :OF_CAMERA] = terms
    of_cameras[0, OF_CAMERA:] = False
    found, apart_m = np.zeros_like(best.lenses), np.full((cameras, cameras), np.nan)
    if terms.any():
        free = np.flatnonzero(np.concatenate([of_cameras.ravel(), np.ones(frames * OF_POSE, np.bool_)]))
        columns = parameter_columns(observed, cameras, free, of_cameras.size + frames * OF_POSE)
        _, weights, errors = robust_cost(best, observed, robust_px, prior)
        normal, _ = normal_equations(best, observed, columns, free, weights, errors, prior)
        every = np.zeros(of_cameras.size + frames * OF_POSE)
        every[free] = prior.noise_px**2 * np.diag(np.linalg.pinv(normal, hermitian=True))
        found = every[: of_cameras.size].reshape(cameras, -1)[:, :OF_CAMERA]
    part = observed.frame * _PARTS // frames
    if frames >= 2 * _PARTS:
        fits = [
            adjust(best, observed.only(part != left_out), free_lens=terms, prior=prior, robust_px=robust_px, steps=4)
            for left_out in range(_PARTS)
        ]
        found = np.maximum(found, (_PARTS - 1) * np.stack([fit.lenses for fit in fits]).var(0))
        apart_m = np.sqrt((_PARTS - 1) * np.stack([_distances(fit) for fit in fits]).var(0))
    return np.sqrt(found), apart_m


def _distances(bundle: Bundle) -> FloatArray:
    """(C, C) metres from camera to camera."""
    centres = -rotated(bundle.camera_turns.swapaxes(1, 2), bundle.camera_shifts)
    return np.linalg.norm(centres[:, None] - centres, axis=2)


def design_effect(errors: FloatArray, image: IndexArray) -> float:
    """By how much the variance of a sum over an image exceeds that of independent errors, at least 1.

    Args:
        errors: (M, 2) of points.
        image: (M,) number of the image that each is in.

    >>> design_effect(np.ones((6, 2)), np.array([0, 0, 0, 1, 1, 1]))
    3.0
    """
    sums = np.zeros((int(image.max()) + 1, 2))
    np.add.at(sums, image, errors)
    return max(1.0, float((sums**2).sum() / (errors**2).sum()))
