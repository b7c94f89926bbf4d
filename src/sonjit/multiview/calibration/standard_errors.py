"""How well a calibration knows its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IndexArray
from sonjit.geometry.rotations import rotation_vector_from_matrix
from sonjit.multiview.calibration.bundle_adjustment import (
    OF_CAMERA,
    OF_POSE,
    Bundle,
    LensPrior,
    Observations,
    adjust,
    cross_matrices,
    factorised,
    free_parameters,
    normal_equations,
    parameter_columns,
    robust_cost,
    rotated,
)

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

_PARTS = 8
"""Parts of the recording; each is left out once to see how much hangs on it."""
_STEPS = 40
"""Enough to reach the least cost: fewer stay near the whole recording's along what images hardly show."""


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Of C cameras.

    Attributes:
        lenses: (C, 12, 12) covariances of fx, fy, cx, cy and a lens's eight coefficients; zeros for what was kept.
        distances_m: (C, C) standard errors of the distances between cameras.
        turns_rad: (C, C) likewise of the turns from one to another: root of the sum of the variances about three axes.
    """

    lenses: FloatArray
    distances_m: FloatArray
    turns_rad: FloatArray


def uncertainty(
    best: Bundle,
    observed: Observations,
    terms: BoolArray,
    prior: LensPrior,
    robust_px: float,
    kept_lenses: FloatArray,
) -> Uncertainty:
    """How well lenses and relative poses are known, whichever camera's frame is the world.

    The larger of what the inverse normal matrix says, with all parameters free, and of the jackknife, in recordings
    that are long enough for it: points of one image are wrong together (late images, a bent board), which leaving out
    whole stretches of the recording shows. Lenses that were estimated elsewhere and kept here add what they are
    uncertain by (Schmidt's consider covariance). The size of the board is taken as exact.

    Args:
        best: the solution.
        observed: the points.
        terms: (C, 12) which of each camera's lens parameters were free.
        prior: of the lenses.
        robust_px: beyond this an error counts by its size, not by its square.
        kept_lenses: (C, 12, 12) covariances of lenses that were not free; zeros for those taken as exact.
    """
    cameras, frames = len(best.lenses), len(best.target_turns)
    known = np.diagonal(kept_lenses, axis1=1, axis2=2) > 0
    of_cameras = np.ones((cameras, OF_CAMERA + OF_POSE), np.bool_)
    of_cameras[:, :OF_CAMERA] = terms | known
    of_cameras[0, OF_CAMERA:] = False
    asked = free_parameters(best, observed, of_cameras)
    columns = parameter_columns(best, observed, asked)
    _, weights, errors = robust_cost(best, observed, robust_px, prior)
    normal, _ = normal_equations(best, observed, columns, asked, weights, errors, prior)
    is_kept = np.isin(asked, np.flatnonzero(np.pad(known, ((0, 0), (0, OF_POSE))).ravel()))
    is_camera = (asked < of_cameras.size) & ~is_kept
    inverse, pull = _marginal(normal, is_camera, is_kept)
    elsewhere = np.zeros((cameras, OF_CAMERA, cameras, OF_CAMERA))
    elsewhere[np.arange(cameras), :, np.arange(cameras)] = kept_lenses
    elsewhere = elsewhere.reshape(known.size, -1)[np.ix_(known.ravel(), known.ravel())]
    own, added = np.zeros((2, of_cameras.size, of_cameras.size))
    own[np.ix_(*[asked[is_camera]] * 2)] = prior.noise_px**2 * inverse
    added[np.ix_(*[asked[is_camera]] * 2)] = pull @ elsewhere @ pull.T
    lenses = np.stack([_block(own, row)[:OF_CAMERA, :OF_CAMERA] for row in range(cameras)])
    distances, turns = _relative_variances(best, own)
    if frames >= 2 * _PARTS:
        part = observed.frame * _PARTS // frames
        fits = [
            adjust(
                best, observed.only(part != left_out), free_lens=terms, prior=prior, robust_px=robust_px, steps=_STEPS
            )
            for left_out in range(_PARTS)
        ]
        variances = np.diagonal(lenses, axis1=1, axis2=2)
        larger = np.maximum(variances, (_PARTS - 1) * np.stack([fit.lenses for fit in fits]).var(0))
        grown = np.sqrt(np.divide(larger, variances, out=np.ones_like(larger), where=variances > 0))
        lenses = grown[:, :, None] * lenses * grown[:, None]
        distances = np.maximum(distances, (_PARTS - 1) * np.stack([_distances(fit) for fit in fits]).var(0))
        turns = np.maximum(turns, (_PARTS - 1) * np.stack([_turns(fit, best) for fit in fits]).var(0).sum(-1))
    distances_added, turns_added = _relative_variances(best, added)
    return Uncertainty(lenses, np.sqrt(distances + distances_added), np.sqrt(turns + turns_added))


def _marginal(normal: csc_matrix, is_camera: BoolArray, is_kept: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Of free cameras' parameters the inverse (a, a), poses and times being free too, and (a, k) how kept ones pull.

    By Schur's complement: poses and times are many, and each meets few others.
    """
    rest = ~is_camera & ~is_kept
    inner = normal[rest][:, rest]
    outer = normal[rest][:, ~rest].toarray()
    factor = factorised(inner, 1e-12 * np.full(inner.shape[0], inner.diagonal().max()))
    assert factor is not None  # something was added to its diagonal
    left = normal[~rest][:, ~rest].toarray() - outer.T @ factor.solve(outer)
    of_camera = is_camera[~rest]
    inverse = np.linalg.pinv(left[np.ix_(of_camera, of_camera)], hermitian=True)
    return inverse, inverse @ left[np.ix_(of_camera, ~of_camera)]


def _block(covariance: FloatArray, row: int) -> FloatArray:
    """(18, 18) of one camera."""
    one = slice(row * (OF_CAMERA + OF_POSE), (row + 1) * (OF_CAMERA + OF_POSE))
    return covariance[one, one]


def _relative_variances(best: Bundle, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Variances (C, C) of distances between cameras and of their turns, from the covariance of all cameras."""
    cameras = len(best.lenses)
    to_world = best.camera_turns.swapaxes(1, 2)
    places = np.zeros((2, cameras, 3, cameras, OF_CAMERA + OF_POSE))
    each = np.arange(cameras)
    places[0, each, :, each, OF_CAMERA : OF_CAMERA + 3] = -to_world @ cross_matrices(best.camera_shifts)
    places[0, each, :, each, OF_CAMERA + 3 :] = -to_world
    places[1, each, :, each, OF_CAMERA : OF_CAMERA + 3] = to_world
    slopes = places.reshape(2, cameras, 3, -1)
    moved, turned = (of_one[:, None] - of_one for of_one in slopes)  # (C, C, 3, 18 C)
    centres = -rotated(to_world, best.camera_shifts)
    apart = centres[:, None] - centres
    along = apart / np.maximum(np.linalg.norm(apart, axis=2, keepdims=True), 1e-12)
    stretched = (along[..., None] * moved).sum(2)
    return (
        np.maximum(np.einsum("abi,ij,abj->ab", stretched, covariance, stretched, optimize=True), 0),
        np.maximum(np.einsum("abki,ij,abkj->ab", turned, covariance, turned, optimize=True), 0),
    )


def _distances(bundle: Bundle) -> FloatArray:
    """(C, C) metres from camera to camera."""
    centres = -rotated(bundle.camera_turns.swapaxes(1, 2), bundle.camera_shifts)
    return np.linalg.norm(centres[:, None] - centres, axis=2)


def _turns(bundle: Bundle, best: Bundle) -> FloatArray:
    """(C, C, 3) how cameras are turned against each other more than in another bundle, radians; small ones."""
    turned = rotation_vector_from_matrix(best.camera_turns.swapaxes(1, 2) @ bundle.camera_turns)
    return turned[:, None] - turned


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
