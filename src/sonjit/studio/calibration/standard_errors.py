"""Estimate the standard errors of a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IndexArray
from sonjit.geometry.rotations import rotation_vector_from_matrix
from sonjit.studio.calibration.bundle_adjustment import (
    LENS_SIZE,
    POSE_SIZE,
    Bundle,
    LensPrior,
    Observations,
    adjust,
    cross_matrices,
    factorize,
    free_parameters,
    normal_equations,
    parameter_columns,
    robust_cost,
    rotate_vectors,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csc_matrix

_JACKKNIFE_PARTS = 8
"""Parts of the recording that the jackknife omits one at a time."""
_MAX_STEPS = 40
"""Steps of each jackknife fit. With fewer, poorly observed directions stay near the solution of the full recording."""


def estimate_uncertainty(
    best: Bundle,
    observed: Observations,
    *,
    terms: BoolArray,
    prior: LensPrior,
    robust_px: float,
    kept_lenses: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Estimate how well lenses and relative poses are known, whichever camera's frame is the world.

    The result is the larger of the inverse normal matrix, with all parameters free, and of the jackknife in recordings
    that are long enough. Points of one image share errors (late images, a bent board), which shows when parts of the
    recording are omitted. Lenses that were estimated elsewhere and fixed here add their own uncertainty (Schmidt's
    consider covariance). The size of the board is taken as exact.

    Args:
        best: Solution.
        observed: Observed points.
        terms: (C, 12) which of each camera's lens parameters were free.
        prior: Prior of the lenses.
        robust_px: Error above which the cost grows linearly, pixels.
        kept_lenses: (C, 12, 12) covariances of lenses that were not free; zeros for lenses taken as exact.

    Returns:
        Covariances (C, 12, 12) of fx, fy, cx, cy and eight coefficients, zeros for fixed parameters; standard errors
        (C, C) of the distances between cameras in metres; and standard errors (C, C) of the relative rotations in
        radians, the root of the summed variances about three axes.
    """
    cameras, frames = len(best.lenses), len(best.target_rotations)
    finite = np.diagonal(kept_lenses, axis1=1, axis2=2) > 0
    of_cameras = np.ones((cameras, LENS_SIZE + POSE_SIZE), np.bool_)
    of_cameras[:, :LENS_SIZE] = terms | finite
    of_cameras[0, LENS_SIZE:] = False
    parameters = free_parameters(best, observed, of_cameras)
    columns = parameter_columns(best, observed, parameters)
    _, weights, errors = robust_cost(best, observed, robust_px, prior)
    normal, _ = normal_equations(best, observed, columns, parameters, weights=weights, errors=errors, prior=prior)
    is_kept = np.isin(parameters, np.flatnonzero(np.pad(finite, ((0, 0), (0, POSE_SIZE))).ravel()))
    is_camera = (parameters < of_cameras.size) & ~is_kept
    inverse, gain = _marginal(normal, is_camera, is_kept)
    kept_covariance = np.zeros((cameras, LENS_SIZE, cameras, LENS_SIZE))
    kept_covariance[np.arange(cameras), :, np.arange(cameras)] = kept_lenses
    kept_covariance = kept_covariance.reshape(finite.size, -1)[np.ix_(finite.ravel(), finite.ravel())]
    covariance, kept_effect = np.zeros((2, of_cameras.size, of_cameras.size))
    covariance[np.ix_(*[parameters[is_camera]] * 2)] = prior.noise_px**2 * inverse
    kept_effect[np.ix_(*[parameters[is_camera]] * 2)] = gain @ kept_covariance @ gain.T
    lenses = np.stack([_block(covariance, row)[:LENS_SIZE, :LENS_SIZE] for row in range(cameras)])
    distances, rotations = _relative_variances(best, covariance)
    if frames >= 2 * _JACKKNIFE_PARTS:
        part = observed.frame * _JACKKNIFE_PARTS // frames
        fits = [
            adjust(
                best,
                observed.only(part != omitted),
                free_lens=terms,
                prior=prior,
                robust_px=robust_px,
                steps=_MAX_STEPS,
            )
            for omitted in range(_JACKKNIFE_PARTS)
        ]
        variances = np.diagonal(lenses, axis1=1, axis2=2)
        larger = np.maximum(variances, _jackknife_variance([fit.lenses for fit in fits]))
        growth = np.sqrt(np.divide(larger, variances, out=np.ones_like(larger), where=variances > 0))
        lenses = growth[:, :, None] * lenses * growth[:, None]
        distances = np.maximum(distances, _jackknife_variance([_distances(fit) for fit in fits]))
        differences = [_rotation_differences(fit, best) for fit in fits]
        rotations = np.maximum(rotations, _jackknife_variance(differences).sum(-1))
    distances_added, rotations_added = _relative_variances(best, kept_effect)
    return lenses, np.sqrt(distances + distances_added), np.sqrt(rotations + rotations_added)


def _marginal(normal: csc_matrix, is_camera: BoolArray, is_kept: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Marginalise poses and times by Schur's complement; they are many and have few neighbours each.

    Returns:
        Inverse (a, a) of the free camera parameters, and gain (a, k) of the fixed ones.
    """
    is_pose = ~is_camera & ~is_kept
    inner = normal[is_pose][:, is_pose]
    outer = normal[is_pose][:, ~is_pose].toarray()
    factor = factorize(inner, 1e-12 * np.full(inner.shape[0], inner.diagonal().max()))
    assert factor is not None  # the regularised matrix is never singular
    left = normal[~is_pose][:, ~is_pose].toarray() - outer.T @ factor(outer)
    of_camera = is_camera[~is_pose]
    inverse = np.linalg.pinv(left[np.ix_(of_camera, of_camera)], hermitian=True)
    return inverse, inverse @ left[np.ix_(of_camera, ~of_camera)]


def _jackknife_variance(estimates: Sequence[FloatArray]) -> FloatArray:
    """Return the variance of a quantity from its estimates, each without one part of the recording."""
    return (_JACKKNIFE_PARTS - 1) * np.stack(estimates).var(0)


def _block(covariance: FloatArray, row: int) -> FloatArray:
    """Return the block (18, 18) of one camera."""
    rows = slice(row * (LENS_SIZE + POSE_SIZE), (row + 1) * (LENS_SIZE + POSE_SIZE))
    return covariance[rows, rows]


def _relative_variances(best: Bundle, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return variances (C, C) of distances and of relative rotations from the covariance of all cameras."""
    cameras = len(best.lenses)
    to_world = best.camera_rotations.swapaxes(1, 2)
    coordinates = np.zeros((2, cameras, 3, cameras, LENS_SIZE + POSE_SIZE))
    each = np.arange(cameras)
    coordinates[0, each, :, each, LENS_SIZE : LENS_SIZE + 3] = -to_world @ cross_matrices(best.camera_translations)
    coordinates[0, each, :, each, LENS_SIZE + 3 :] = -to_world
    coordinates[1, each, :, each, LENS_SIZE : LENS_SIZE + 3] = to_world
    slopes = coordinates.reshape(2, cameras, 3, -1)
    moved, rotation_slopes = (of_one[:, None] - of_one for of_one in slopes)  # (C, C, 3, 18 C)
    centres = -rotate_vectors(to_world, best.camera_translations)
    offsets = centres[:, None] - centres
    along = offsets / np.maximum(np.linalg.norm(offsets, axis=2, keepdims=True), 1e-12)
    distance_slopes = (along[..., None] * moved).sum(2)
    return (
        np.maximum(np.einsum("abi,ij,abj->ab", distance_slopes, covariance, distance_slopes, optimize=True), 0),
        np.maximum(np.einsum("abki,ij,abkj->ab", rotation_slopes, covariance, rotation_slopes, optimize=True), 0),
    )


def _distances(bundle: Bundle) -> FloatArray:
    """Return the distances (C, C) between cameras in metres."""
    centres = -rotate_vectors(bundle.camera_rotations.swapaxes(1, 2), bundle.camera_translations)
    return np.linalg.norm(centres[:, None] - centres, axis=2)


def _rotation_differences(bundle: Bundle, best: Bundle) -> FloatArray:
    """Return (C, C, 3) the small relative rotations of cameras that exceed those of another bundle, radians."""
    turned = rotation_vector_from_matrix(best.camera_rotations.swapaxes(1, 2) @ bundle.camera_rotations)
    return turned[:, None] - turned


def design_effect(errors: FloatArray, image: IndexArray) -> float:
    """Return the factor by which the variance of a sum over an image exceeds that of independent errors, at least 1.

    Args:
        errors: (M, 2) errors of points.
        image: (M,) index of each point's image.

    >>> design_effect(np.ones((6, 2)), np.array([0, 0, 0, 1, 1, 1]))
    3.0
    """
    sums = np.zeros((int(image.max()) + 1, 2))
    np.add.at(sums, image, errors)
    return max(1.0, float((sums**2).sum() / (errors**2).sum()))
