"""Calibrate a rig from observations of targets: intrinsics and poses, refined together by bundle adjustment."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sonjit._util import BoolArray, FloatArray, IndexArray, InputError, JobError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import cross_matrices, rotation_vector_from_matrix
from sonjit_studio import boards, bundles, estimates
from sonjit_studio.rig import CameraRig, RigCamera

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix


_JACKKNIFE_PARTS = 8  # parts of the recording that the jackknife omits one at a time
_MAX_STEPS = 40  # of a jackknife fit; few keep poorly observed directions near the full solution
_MAD_TO_STD = 1.4826  # standard deviation of normal errors whose median magnitude is 1
_BAD_FIT_PX, _BAD_FIT_RATIO = 0.5, 2.0  # RMS error that exceeds both, the latter in medians over cameras, is reported
_MAX_DESIGN_EFFECT, _LATE_RATIO = 2.0, 2.0
"""Design effect above which each camera's images are also fitted separately, and the factor by which those errors must
be smaller for the images of a frame set to count as taken at different times."""
_MIN_TILT_DEG = 20.0  # tilt of a board to which one image must come, so that it determines the lens
_MAX_FOCAL_ERROR = 0.02  # relative standard error of a focal length above which it is reported


@dataclass(frozen=True, eq=False)
class _Fit:
    """An adjusted bundle."""

    bundle: bundles.Bundle
    errors_px: FloatArray  # (M, 2) reprojected minus observed points
    prior: bundles.LensPrior  # for the noise of the errors, like `robust_px`
    robust_px: float


def _estimate_uncertainty(
    fit: _Fit, observed: bundles.Observations, terms: BoolArray, kept_lenses: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Estimate how well lenses and relative poses are known, whichever camera's frame is the world.

    The result is the larger of the inverse normal matrix and, in long recordings, of the jackknife: points of one image
    share errors, which shows when parts are omitted. Lenses fixed here with covariances `kept_lenses` (C, 12, 12) add
    their own (Schmidt's consider covariance); `terms` (C, 12) were free. The board's size is exact. Return covariances
    (C, 12, 12) of the lenses, and standard errors (C, C) of distances in metres and rotations in radians (root of
    summed variances).
    """
    best, prior = fit.bundle, fit.prior
    cameras, frames = len(best.lenses), len(best.target_rotations)
    finite = np.diagonal(kept_lenses, axis1=1, axis2=2) > 0
    of_cameras = np.ones((cameras, bundles.CAMERA_SIZE), np.bool_)
    of_cameras[:, : bundles.LENS_SIZE] = terms | finite
    of_cameras[0, bundles.LENS_SIZE :] = False
    parameters, columns = bundles.free_parameters(best, observed, of_cameras)
    _, weights, errors = bundles.robust_cost(best, observed, fit.robust_px, prior)
    normal, _ = bundles.normal_equations(best, observed, columns, parameters, weights, errors, prior)
    is_kept = np.isin(parameters, np.flatnonzero(np.pad(finite, ((0, 0), (0, bundles.POSE_SIZE))).ravel()))
    is_camera = (parameters < of_cameras.size) & ~is_kept
    inverse, gain = _marginal(normal, is_camera, is_kept)
    kept_covariance = np.zeros((cameras, bundles.LENS_SIZE, cameras, bundles.LENS_SIZE))
    kept_covariance[np.arange(cameras), :, np.arange(cameras)] = kept_lenses
    kept_covariance = kept_covariance.reshape(finite.size, -1)[np.ix_(finite.ravel(), finite.ravel())]
    covariance, kept_effect = np.zeros((2, of_cameras.size, of_cameras.size))
    covariance[np.ix_(*[parameters[is_camera]] * 2)] = prior.noise_px**2 * inverse
    kept_effect[np.ix_(*[parameters[is_camera]] * 2)] = gain @ kept_covariance @ gain.T
    blocks = covariance.reshape(cameras, bundles.CAMERA_SIZE, cameras, bundles.CAMERA_SIZE)
    lenses = np.stack([blocks[row, : bundles.LENS_SIZE, row, : bundles.LENS_SIZE] for row in range(cameras)])
    distances, rotations = _relative_variances(best, covariance)
    if frames >= 2 * _JACKKNIFE_PARTS:
        part = observed.frame * _JACKKNIFE_PARTS // frames
        robust_px = fit.robust_px
        refit = partial(bundles.adjust, best, free_lens=terms, prior=prior, robust_px=robust_px, steps=_MAX_STEPS)
        fits = [refit(observed=observed.only(part != omitted)) for omitted in range(_JACKKNIFE_PARTS)]
        variances = np.diagonal(lenses, axis1=1, axis2=2)
        larger = np.maximum(variances, _jackknife_variance([refitted.lenses for refitted in fits]))
        growth = np.sqrt(np.divide(larger, variances, out=np.ones_like(larger), where=variances > 0))
        lenses = growth[:, :, None] * lenses * growth[:, None]
        apart: list[FloatArray] = []
        differences: list[FloatArray] = []
        for refitted in fits:
            to_world = refitted.camera_rotations.swapaxes(1, 2)
            centres = -bundles.rotate_vectors(to_world, refitted.camera_translations)
            apart.append(np.linalg.norm(centres[:, None] - centres, axis=2))
            turned = rotation_vector_from_matrix(best.camera_rotations.swapaxes(1, 2) @ refitted.camera_rotations)
            differences.append(turned[:, None] - turned)
        distances = np.maximum(distances, _jackknife_variance(apart))
        rotations = np.maximum(rotations, _jackknife_variance(differences).sum(-1))
    distances_added, rotations_added = _relative_variances(best, kept_effect)
    return lenses, np.sqrt(distances + distances_added), np.sqrt(rotations + rotations_added)


def _marginal(normal: csc_matrix, is_camera: BoolArray, is_kept: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return the inverse (a, a) of free camera parameters, and gain (a, k) of fixed ones, by Schur's complement."""
    is_pose = ~is_camera & ~is_kept
    inner = normal[is_pose][:, is_pose]
    outer = normal[is_pose][:, ~is_pose].toarray()
    factor = bundles.factorize(inner, 1e-12 * np.full(inner.shape[0], inner.diagonal().max()))
    assert factor is not None  # the regularised matrix is never singular
    left = normal[~is_pose][:, ~is_pose].toarray() - outer.T @ factor(outer)
    of_camera = is_camera[~is_pose]
    inverse = np.linalg.pinv(left[np.ix_(of_camera, of_camera)], hermitian=True)
    return inverse, inverse @ left[np.ix_(of_camera, ~of_camera)]


def _jackknife_variance(values: Sequence[FloatArray]) -> FloatArray:
    """Return the variance of a quantity from its values, each without one part of the recording."""
    return (_JACKKNIFE_PARTS - 1) * np.stack(values).var(0)


def _relative_variances(best: bundles.Bundle, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return variances (C, C) of distances and of relative rotations from the covariance of all cameras."""
    cameras = len(best.lenses)
    to_world = best.camera_rotations.swapaxes(1, 2)
    coordinates = np.zeros((2, cameras, 3, cameras, bundles.CAMERA_SIZE))
    camera_indices = np.arange(cameras)
    coordinates[0, camera_indices, :, camera_indices, bundles.LENS_SIZE : bundles.LENS_SIZE + 3] = (
        -to_world @ cross_matrices(best.camera_translations)
    )
    coordinates[0, camera_indices, :, camera_indices, bundles.LENS_SIZE + 3 :] = -to_world
    coordinates[1, camera_indices, :, camera_indices, bundles.LENS_SIZE : bundles.LENS_SIZE + 3] = to_world
    slopes = coordinates.reshape(2, cameras, 3, -1)
    moved, rotation_slopes = (of_one[:, None] - of_one for of_one in slopes)  # (C, C, 3, 18 C)
    centres = -bundles.rotate_vectors(to_world, best.camera_translations)
    offsets = centres[:, None] - centres
    along = offsets / np.maximum(np.linalg.norm(offsets, axis=2, keepdims=True), 1e-12)
    distance_slopes = (along[..., None] * moved).sum(2)
    return (
        np.maximum(np.einsum("abi,ij,abj->ab", distance_slopes, covariance, distance_slopes, optimize=True), 0),
        np.maximum(np.einsum("abki,ij,abkj->ab", rotation_slopes, covariance, rotation_slopes, optimize=True), 0),
    )


def design_effect(errors: FloatArray, image: IndexArray) -> float:
    """Return how much the variance of a sum over an image exceeds that of independent errors (M, 2), at least 1.

    >>> design_effect(np.ones((6, 2)), np.array([0, 0, 0, 1, 1, 1]))
    3.0
    """
    sums = np.zeros((int(image.max()) + 1, 2))
    np.add.at(sums, image, errors)
    return max(1.0, float((sums**2).sum() / (errors**2).sum()))


@dataclass(frozen=True, eq=False)
class RigCalibration:
    """A calibrated rig and the evidence for it.

    `lens_covariances` (n, n) are of fx, fy, cx, cy and the coefficients of each estimated lens. The standard errors (C,
    C) are of distances, for an exact board size, and rotations between cameras. `times` (n,) are those of a camera's
    images, in frame sets from the mean of all cameras, empty if the images of a frame set are simultaneous.
    """

    rig: CameraRig  # in the first camera's frame
    target_poses: Mapping[boards.PoseKey, estimates.Transform]
    observations: tuple[boards.BoardObservation, ...]
    errors_px: tuple[FloatArray, ...]  # (n, 2) reprojected minus observed
    tree: tuple[estimates.CameraPair, ...] = ()
    problems: tuple[str, ...] = ()
    lens_covariances: Mapping[str, FloatArray] = field(default_factory=dict[str, "FloatArray"])
    distance_std_m: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    rotation_std_rad: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    times: Mapping[str, FloatArray] = field(default_factory=dict[str, "FloatArray"])

    @property
    def rms_px(self) -> float:
        """Root mean square distance of all points in pixels, as OpenCV and InterHand2.6M report it."""
        return estimates.rms_of(self.errors_px)

    @property
    def lens_std(self) -> dict[str, FloatArray]:
        """Standard errors (n,) of each estimated lens, 0 for fixed values."""
        return {name: np.sqrt(np.diag(covariance)) for name, covariance in self.lens_covariances.items()}

    def rms_by_view(self) -> dict[str, float]:
        """Return the root mean square distance in pixels by camera."""
        return {name: estimates.rms_of([errors for _, errors in self.seen_by(name)]) for name in self.rig.names}

    def moved(self, R: FloatArray, t_m: FloatArray) -> RigCalibration:
        """Return the calibration in another world: x_new = R x_old + t, with R (3, 3) and t (3,) in metres."""
        poses = {key: estimates.compose_transforms((R, t_m), pose) for key, pose in self.target_poses.items()}
        return replace(self, rig=self.rig.moved(R, t_m), target_poses=poses)

    def seen_by(self, view: str) -> list[tuple[boards.BoardObservation, FloatArray]]:
        """Return a camera's observations, each with its errors."""
        pairs = zip(self.observations, self.errors_px, strict=True)
        return [(observation, errors) for observation, errors in pairs if observation.view == view]


def calibrate(
    observations: boards.BoardObservations,
    *,
    lens: estimates.LensModel = "usual",
    lenses: Mapping[str, CalibratedCamera] | None = None,
    lens_covariances: Mapping[str, FloatArray] | None = None,
    image_times: bool = False,
) -> RigCalibration:
    """Calibrate a rig from observations of targets, which give it its scale, in frame sets of equal number.

    `lens_covariances` (N, N), see `RigCalibration`, are those of known lenses estimated from other recordings; the
    others are exact. `image_times` estimates a time for each image on the targets' path, which requires consecutive
    frame sets. Otherwise images of a frame set are taken as simultaneous, and problems report where they are not.
    """
    names = list(observations.sizes)
    fixed_lenses = lenses or {}
    estimate = estimates.estimate_rig(observations, lens, fixed_lenses)
    free_lens = estimate.free_lens
    free = {"free_lens": estimate.free_lens}
    fit = _fit_with_prior(estimate, estimate.bundle, partial(bundles.adjust, observed=estimate.observed, **free))
    joint_px, apart_px = estimates.rms_of([fit.errors_px]), float("nan")
    own_fits: dict[str, RigCalibration] = {}
    if len(names) > 1 and design_effect(fit.errors_px, estimate.image) > _MAX_DESIGN_EFFECT:
        own_fits, apart_px = _fit_apart(observations, estimate, fixed_lenses, lens)
    is_late = joint_px > _LATE_RATIO * apart_px
    known_covariances = dict(lens_covariances or {})
    if image_times:
        keys = list(estimate.target_poses)
        if not is_late:
            raise InputError(
                f"no synchronisation error found: all images fit together to {joint_px:.2f} px; "
                "--image-times applies only to recordings with such errors"
            )
        if not bundles.has_continuous_paths(fit.bundle, keys):
            raise InputError(
                "--image-times requires a board that moves along a path: use all frame sets (--every 1), or stop the "
                "board for each one and omit --image-times"
            )
        fit_times = partial(bundles.fit_image_times, observed=estimate.observed, pose_keys=keys, **free)
        fit = _fit_with_prior(estimate, fit.bundle, fit_times)
    elif is_late and own_fits:
        free_lens = np.zeros_like(free_lens)
        fit = _fit_poses(estimate, fit, {name: own_fit.rig[name].camera for name, own_fit in own_fits.items()})
        known_covariances |= {name: own_fit.lens_covariances[name] for name, own_fit in own_fits.items()}
    kept_lenses = np.zeros((len(names), bundles.LENS_SIZE, bundles.LENS_SIZE))
    for name, covariance in known_covariances.items():
        kept_lenses[names.index(name), : len(covariance), : len(covariance)] = covariance
    uncertainty = _estimate_uncertainty(fit, estimate.observed, free_lens, kept_lenses)
    fitted_covariances, distance_std_m, rotation_std_rad = uncertainty
    if not np.isfinite(fit.errors_px).all():
        raise JobError("calibration failed: the cameras do not fit together; check for a wrong or swapped camera")
    count = 4 + estimates.COEFFICIENTS[lens]
    fitted = zip(names, fitted_covariances, strict=True)
    own_covariances = {name: rows[:count, :count] for name, rows in fitted if name not in fixed_lenses}
    bundle = fit.bundle
    poses = zip(bundle.target_rotations, bundle.target_translations, strict=True)
    ends = np.cumsum([len(observation.points) for observation in estimate.used])[:-1]
    calibration = RigCalibration(
        _rig_of(bundle, observations.sizes),
        dict(zip(estimate.target_poses, poses, strict=True)),
        estimate.used,
        tuple(np.split(fit.errors_px, ends)),
        tuple(estimate.tree),
        lens_covariances=own_covariances | known_covariances,
        distance_std_m=distance_std_m,
        rotation_std_rad=rotation_std_rad,
        times=_image_times(bundle, names, estimate.image),
    )
    timing = [_late_problem(apart_px, joint_px, has_own_lenses=bool(own_fits))] if is_late else []
    if image_times:
        timing = [_image_times_problem(calibration, joint_px)]
    doubts = (*_quality_problems(calibration), *_tilt_problems(calibration, own_covariances))
    return replace(calibration, problems=(*observations.problems, *timing, *doubts))


def _fit_apart(
    observations: boards.BoardObservations,
    estimate: estimates.RigEstimate,
    fixed_lenses: Mapping[str, CalibratedCamera],
    lens: estimates.LensModel,
) -> tuple[dict[str, RigCalibration], float]:
    """Fit each camera's images without the others. Return the fits of unknown lenses and the error of all in pixels."""
    names = list(observations.sizes)
    own_fits: dict[str, RigCalibration] = {}
    for name in names:
        if name not in fixed_lenses:
            view_observations = boards.BoardObservations(tuple(observations.of(name)), {name: observations.sizes[name]})
            own_fits[name] = calibrate_lens(view_observations, lens=lens)
    errors = [errors_px for own_fit in own_fits.values() for errors_px in own_fit.errors_px]
    for name in fixed_lenses.keys() & names:  # the pose of each image is known: nothing is left to fit
        errors += estimate.errors_of_own_poses(name)
    return own_fits, estimates.rms_of(errors)


def _late_problem(apart_px: float, joint_px: float, *, has_own_lenses: bool) -> str:
    """Return the problem of images that are not of one time."""
    note = "; lenses were estimated from each camera's own images" if has_own_lenses else ""
    return (
        f"each camera alone fits its images to {apart_px:.2f} px, all together to {joint_px:.2f} px: the images of "
        f"a frame set are not of one time{note}. Synchronise the cameras, stop the board for each frame set, or "
        "estimate a time for each image with --image-times"
    )


def _rig_of(bundle: bundles.Bundle, sizes: Mapping[str, tuple[int, int]]) -> CameraRig:
    values = zip(bundle.lenses, bundle.camera_rotations, bundle.camera_translations, strict=True)
    rows = zip(sizes.items(), values, bundle.fisheye.tolist(), strict=True)
    return CameraRig(
        RigCamera(name, *size, estimates.camera_from_values(*of_camera, fisheye=fisheye))
        for (name, size), of_camera, fisheye in rows
    )


def _image_times(bundle: bundles.Bundle, names: Sequence[str], image: IndexArray) -> dict[str, FloatArray]:
    """Return the times of each camera's existing images, relative to the mean of each frame set, if they are known."""
    if bundle.times is None:
        return {}
    used = np.isin(np.arange(bundle.times.size), image).reshape(len(names), -1)
    times = np.where(used.T, bundle.times, np.nan)
    times -= np.nanmean(times, axis=1, keepdims=True)
    return {name: times[used[row], row] for row, name in enumerate(names)}


def _image_times_problem(calibration: RigCalibration, joint_px: float) -> str:
    means = {name: float(times.mean()) for name, times in calibration.times.items()}
    worst = max(means, key=lambda name: abs(means[name]))
    age = "older" if means[worst] < 0 else "newer"
    return (
        f"the images of a frame set are not of one time: with one time for all they fit to {joint_px:.2f} px, and with "
        f"one for each, as here, to {calibration.rms_px:.2f} px; those of {worst} are {age} than the others' by "
        f"{abs(means[worst]):.2f} of the step from one frame set to the next: synchronise the cameras, or stop the "
        "board for each frame set"
    )


def _fit_poses(estimate: estimates.RigEstimate, fit: _Fit, lenses: Mapping[str, CalibratedCamera]) -> _Fit:
    rows = fit.bundle.lenses.copy()
    for row, name in enumerate(estimate.cameras):
        if name in lenses:
            rows[row] = estimates.lens_values(lenses[name])
    fixed, start = np.zeros_like(estimate.free_lens), replace(fit.bundle, lenses=rows)
    bundle = bundles.adjust(start, estimate.observed, free_lens=fixed, robust_px=fit.robust_px)
    errors_px = bundles.project_points(bundle, estimate.observed) - estimate.observed.pixels
    return replace(fit, bundle=bundle, errors_px=errors_px)


def _fit_with_prior(estimate: estimates.RigEstimate, start: bundles.Bundle, fit: Callable[..., bundles.Bundle]) -> _Fit:
    """Fit a bundle twice, with the prior weighed against the noise of the previous fit."""
    observed, sizes = estimate.observed, estimate.sizes
    bundle, errors_px = start, np.zeros_like(observed.pixels)
    prior = bundles.ordinary_lens_prior(sizes, bundles.ROBUST_PX / 2, bundle.fisheye)
    robust_px = bundles.ROBUST_PX
    for _ in range(2):  # the noise is known after the first
        bundle = fit(bundle, prior=prior, robust_px=robust_px)
        errors_px = bundles.project_points(bundle, observed) - observed.pixels
        noise_px = _MAD_TO_STD * float(np.median(np.abs(errors_px)))
        robust_px = max(bundles.ROBUST_PX, 2 * noise_px)
        image_noise_px = noise_px * design_effect(errors_px, estimate.image) ** 0.5
        prior = bundles.ordinary_lens_prior(sizes, image_noise_px, bundle.fisheye)
    return _Fit(bundle, errors_px, prior, robust_px)


def calibrate_lens(observations: boards.BoardObservations, *, lens: estimates.LensModel = "usual") -> RigCalibration:
    """Calibrate one camera's lens from the most varied images of a recording."""
    (size,) = observations.sizes.values()
    return calibrate(replace(observations, found=tuple(estimates.most_varied(observations.found, size))), lens=lens)


def _tilt_problems(calibration: RigCalibration, names: Iterable[str]) -> Iterator[str]:
    """Yield a line for each camera whose lens was estimated from boards that face it, which leave the lens open."""
    for name in names:
        view, tilts = calibration.rig[name], list[float]()
        for observation, _ in calibration.seen_by(name):
            pose = calibration.target_poses[observation.pose_key]
            rotation, _ = estimates.compose_transforms((view.R, view.t), pose)
            tilts.append(math.degrees(math.acos(min(abs(float(rotation[2, 2])), 1.0))))
        is_flat = all(observation.target.is_flat for observation, _ in calibration.seen_by(name))
        if tilts and is_flat and max(tilts) < _MIN_TILT_DEG:
            yield (
                f"camera {name}: the board is tilted by at most {max(tilts):.0f} degrees in its {len(tilts)} images: "
                "its lens is not determined, and the image's corners may be wrong by many pixels. Tilt the board by "
                "30 degrees or more, in several directions, or give the lens with --lenses"
            )


def _quality_problems(calibration: RigCalibration) -> list[str]:
    """List reasons to doubt a calibration, one line each."""
    names, views = calibration.rig.names, calibration.rms_by_view()
    median_px = float(np.nanmedian(list(views.values())))
    return [
        *(
            f"cameras {names[pair.first]} and {names[pair.second]} are linked by {pair.frames} frame sets that two "
            "solutions explain alike: show them the board nearer and tilted more"
            for pair in calibration.tree
            if pair.is_ambiguous
        ),
        *(
            f"camera {name} fits badly: {rms:.2f} px where half of the cameras have below {median_px:.2f}"
            for name, rms in views.items()
            if rms > max(_BAD_FIT_RATIO * median_px, _BAD_FIT_PX)
        ),
        *(
            f"camera {name}: its focal length is known to {share:.0%} only (standard error {std[0]:.0f} px): "
            "show it the board larger and tilted, or give its lens with --lenses"
            for name, std in calibration.lens_std.items()
            if (share := float(std[0] / calibration.rig[name].camera.K[0, 0])) > _MAX_FOCAL_ERROR
        ),
    ]
