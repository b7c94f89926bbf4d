"""Adjust cameras and target poses to the least reprojection error (bundle adjustment).

Images that are not simultaneous get a time of their own. A webcam's image may be a tenth of a second old when it is
read, and a hand-held board has moved 50 mm by then. Poses of neighbouring frame sets determine the motion; each image's
time costs one of its numbers (Furgale, Rehder and Siegwart, "Unified temporal and spatial calibration for multi-sensor
systems", 2013, with one time per image instead of one per camera, because such delays vary from image to image).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit._util import BoolArray, FloatArray, IndexArray, JobError
from sonjit.geometry.cameras import FISHEYE, CameraModel, distort, distortion_jacobian
from sonjit.geometry.rotations import cross_matrices, matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit_studio.boards import CalibrationTarget, PoseKey

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix, csr_matrix


LENS_SIZE, POSE_SIZE, CAMERA_SIZE = 12, 6, 18  # fx, fy, cx, cy, 8 coefficients; rotation vector, translation; both
_MIN_GAIN, _MAX_DAMPING = 1e-9, 1e8  # relative gain in cost, and damping, at which the adjustment stops
ROBUST_PX = 1.0  # error above which the cost grows linearly instead of quadratically
TIME_STD = 0.2
"""Prior standard deviation of an image's time, in frame sets.

It fixes times that no motion shows and the mean time of each frame set. Images of a moving board outweigh it a
hundredfold."""
_LENS_TO_PRIOR = np.eye(LENS_SIZE)[1:]
_LENS_TO_PRIOR[0, :2] = 1, -1  # (11, 12) matrix from a lens to the values that the prior constrains
_MAX_ROUNDS, _ADJUST_STEPS = 8, 5  # rounds of estimating paths, and steps of the adjustment in each
_MIN_WINDOW, _MAX_WINDOW = 2, 6  # frame sets before and after that determine a target's path
_MIN_POSES, _MAX_BEND = 6, 0.5
"""Least number of poses of a path, and largest distance of a pose from the midpoint of its neighbours, in halves of
their distance."""
_DEGREE, _ONE_SIDED_DEGREE = 4, 2  # of the polynomial of a path, and at its ends, with frame sets on one side


@dataclass(frozen=True, eq=False)
class Bundle:
    """The parameters of C cameras and F target poses, as arrays."""

    # (C, 12) fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, k5, k6; for a fisheye fx, fy, cx, cy, k1 to k4 and zeros
    lenses: FloatArray
    camera_rotations: FloatArray  # (C, 3, 3) rotations from world to camera
    camera_translations: FloatArray  # (C, 3) metres
    target_rotations: FloatArray  # (F, 3, 3) rotations from target to world
    target_translations: FloatArray  # (F, 3) metres
    fisheye: BoolArray  # (C,) whether the lens follows the fisheye model
    # (F, C) time of each camera's image in frame sets relative to the target's pose. None if all images of a frame set
    # are simultaneous.
    times: FloatArray | None = None
    # (F, P, 6) rotation (about the world's axes) and translation of a target by the first to P-th power of time
    paths: FloatArray | None = None

    def by_lens(
        self,
        function: Callable[[FloatArray, FloatArray, CameraModel], FloatArray],
        rays: FloatArray,
        camera: IndexArray,
    ) -> FloatArray:
        """Apply `distort` or its derivative to rays (M, 2) at unit depth and the lenses of their cameras (M,)."""
        lens, is_fisheye = self.lenses[camera, 4:], self.fisheye[camera]
        if not is_fisheye.any():
            return function(rays, lens, "pinhole")
        usual = ~is_fisheye[:, None]
        result = function(np.where(usual, rays, 0.0), np.where(usual, lens, 0.0), "pinhole")
        result[is_fisheye] = function(rays[is_fisheye], lens[is_fisheye, :FISHEYE], "fisheye")
        return result

    @property
    def first_time(self) -> int:
        """Index of the first time parameter, which follows cameras and poses."""
        return len(self.lenses) * CAMERA_SIZE + len(self.target_rotations) * POSE_SIZE


@dataclass(frozen=True, eq=False)
class Observations:
    """Observed points of targets."""

    camera: IndexArray  # (M,) index of each point's camera
    frame: IndexArray  # (M,) index of each point's target pose
    points_m: FloatArray  # (M, 3) position in the target's frame, metres
    pixels: FloatArray  # (M, 2) position in the image

    def only(self, mask: BoolArray) -> Observations:
        """Return the observations that a mask (M,) selects."""
        return Observations(self.camera[mask], self.frame[mask], self.points_m[mask], self.pixels[mask])


@dataclass(frozen=True, eq=False)
class LensPrior:
    """Gaussian prior of what images leave open; fx - fy is Cauchy's, so that images of anamorphic lenses prevail."""

    means: FloatArray  # (C, 11) means of fx - fy, cx, cy and the eight coefficients
    deviations: FloatArray  # (C, 11) standard deviations
    noise_px: float  # standard deviation of an image coordinate, which the prior is weighed against

    def terms(self, lenses: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return cost, gradient (C, 12) and curvature (C, 12, 12) in squared pixels, scaled like those of errors."""
        residuals = (lenses @ _LENS_TO_PRIOR.T - self.means) / self.deviations
        slopes = _LENS_TO_PRIOR / self.deviations[..., None]  # (C, 11, 12)
        scale = self.noise_px**2
        weights = np.full_like(residuals, scale)
        weights[:, 0] /= 1 + residuals[:, 0] ** 2
        return (
            float(scale * ((residuals[:, 1:] ** 2).sum() + np.log1p(residuals[:, 0] ** 2).sum())),
            np.einsum("ckl,ck->cl", slopes, weights * residuals),
            np.einsum("ckl,ckm->clm", slopes, weights[..., None] * slopes),
        )


def ordinary_lens_prior(sizes: Sequence[tuple[int, int]], noise_px: float, fisheye: BoolArray) -> LensPrior:
    """Return the prior of ordinary lenses for images of C cameras; the mask `fisheye` (C,) names the fisheye ones.

    fx equals fy to 1 % of the width, the principal point lies in the centre to 4 %, and distortion is moderate.
    """
    wide, high = np.array(sizes, np.float64).T
    zero = np.zeros_like(wide)
    means = np.stack([zero, wide / 2, high / 2, *[zero] * 8], 1)
    of_lens = np.where(fisheye[:, None], 0.3, [0.3, 0.3, 0.005, 0.005, 0.3, 0.3, 0.3, 0.3])
    deviations = np.concatenate([np.stack([0.01 * wide, 0.04 * wide, 0.04 * wide], 1), of_lens], 1)
    return LensPrior(means, deviations, noise_px)


def adjust(
    start: Bundle,
    observed: Observations,
    *,
    free_lens: BoolArray,
    prior: LensPrior | None = None,
    robust_px: float = ROBUST_PX,
    steps: int = 100,
) -> Bundle:
    """Minimise the robust (soft L1) reprojection error. The first camera's pose is fixed.

    Each step solves Levenberg and Marquardt's equations with a sparse factorisation. SciPy's `least_squares` with the
    same sparse derivatives has only an iterative solver, which needs about twenty times as long for the same error.

    Args:
        free_lens: (C, 12) which of each camera's parameters may change.
        robust_px: Error above which the cost grows linearly, pixels.
    """
    of_cameras = np.ones((len(start.lenses), CAMERA_SIZE), np.bool_)
    of_cameras[:, :LENS_SIZE] = free_lens
    of_cameras[0, LENS_SIZE:] = False
    free, columns = free_parameters(start, observed, of_cameras)
    current, damping = start, 1e-4
    cost, weights, errors = robust_cost(current, observed, robust_px, prior)
    for _ in range(steps):
        normal, descent = normal_equations(current, observed, columns, free, weights, errors, prior)
        gain, diagonal = 0.0, normal.diagonal()
        while damping < _MAX_DAMPING:
            step = np.zeros(start.first_time + (0 if start.times is None else start.times.size))
            if (solve := factorize(normal, damping * diagonal + 1e-12 * diagonal.max())) is not None:
                step[free] = solve(descent)
            trial = _apply_step(current, step)
            trial_cost, new_weights, new_errors = robust_cost(trial, observed, robust_px, prior)
            if trial_cost < cost:
                gain, damping = 1 - trial_cost / cost, max(damping / 10, 1e-12)
                current, cost, weights, errors = trial, trial_cost, new_weights, new_errors
                break
            damping *= 10
        if gain < _MIN_GAIN:
            break
    if not np.isfinite(cost):
        raise JobError("bundle adjustment diverged: check for a wrong or swapped camera")
    return current


def normal_equations(
    bundle: Bundle,
    observed: Observations,
    columns: IndexArray,
    free: IndexArray,
    weights: FloatArray,
    errors: FloatArray,
    prior: LensPrior | None,
) -> tuple[csc_matrix, FloatArray]:
    """Return the normal matrix (N, N) of the free parameters and the negative gradient (N,), in squared pixels."""
    from scipy.sparse import csc_matrix

    slopes = _jacobian(bundle, observed, columns, len(free))
    weighted = slopes.multiply(weights[:, None]).tocsr()
    normal = (weighted.T @ slopes).tocsc()
    descent = -(weighted.T @ errors)
    if not prior:
        return normal, descent
    added: list[tuple[FloatArray, IndexArray, IndexArray]] = []  # values, rows and columns
    _, gradient, curvature = prior.terms(bundle.lenses)
    for row in range(len(bundle.lenses)):
        terms = row * CAMERA_SIZE + np.arange(LENS_SIZE)
        is_free = np.isin(terms, free)
        indices = np.searchsorted(free, terms[is_free])
        block = curvature[row][np.ix_(is_free, is_free)].ravel()
        added.append((block, np.repeat(indices, len(indices)), np.tile(indices, len(indices))))
        descent[indices] -= gradient[row][is_free]
    if bundle.times is not None:
        indices = np.flatnonzero(free >= bundle.first_time)
        pull = (prior.noise_px / TIME_STD) ** 2
        added.append((np.full(len(indices), pull), indices, indices))
        descent[indices] -= pull * bundle.times.ravel()[free[indices] - bundle.first_time]
    values, *indices_2d = (np.concatenate(arrays) for arrays in zip(*added, strict=True))
    return normal + csc_matrix((values, indices_2d), shape=normal.shape), descent


def robust_cost(
    bundle: Bundle, observed: Observations, robust_px: float, prior: LensPrior | None
) -> tuple[float, FloatArray, FloatArray]:
    """Return the soft L1 cost with the prior's, the weights (2 M,) of its squares, and the errors (2 M,)."""
    errors = project_points(bundle, observed) - observed.pixels
    grown = np.sqrt(1 + (errors**2).sum(1) / robust_px**2)
    cost = float(2 * robust_px**2 * (grown - 1).sum())
    if prior:
        cost += prior.terms(bundle.lenses)[0]
        if bundle.times is not None:
            cost += float(((prior.noise_px / TIME_STD * bundle.times) ** 2).sum())
    return cost if np.isfinite(cost) else np.inf, np.repeat(1 / grown, 2), errors.ravel()


def factorize(normal: csc_matrix, diagonal: FloatArray) -> Callable[[FloatArray], FloatArray] | None:
    """Factorise a symmetric matrix (N, N) with (N,) added to its diagonal, as a function that solves (N,) or (N, K).

    Return None if it is singular. Variables of few neighbours come first: poses cost one block each and only cameras
    are dense, so time and memory grow with the number of frame sets, not with its cube.
    """
    from scipy.sparse import diags
    from scipy.sparse.linalg import splu

    try:
        factor = splu(  # pyright: ignore[reportUnknownVariableType]
            (normal + diags(diagonal)).tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except RuntimeError:  # exactly singular
        return None
    return factor.solve  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def project_points(bundle: Bundle, observed: Observations) -> FloatArray:
    """Return the pixels (M, 2) at which the bundle's cameras see the observed points."""
    _, _, in_view = _transform_points(bundle, observed)
    lens = bundle.lenses[observed.camera]
    return bundle.by_lens(distort, in_view[:, :2] / in_view[:, 2:], observed.camera) * lens[:, :2] + lens[:, 2:4]


def _transform_points(bundle: Bundle, observed: Observations) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the points (M, 3) rotated with their target, rotated with their camera, and in the camera's frame."""
    turned = rotate_vectors(bundle.target_rotations[observed.frame], observed.points_m)
    shift = bundle.target_translations[observed.frame]
    if bundle.times is not None and bundle.paths is not None:
        time = bundle.times[observed.frame, observed.camera]
        powers = time[:, None] ** np.arange(1, bundle.paths.shape[1] + 1)
        step = (bundle.paths[observed.frame] * powers[..., None]).sum(1)
        turned = rotate_vectors(matrix_from_rotation_vector(step[:, :3]), turned)
        shift = shift + step[:, 3:]
    in_camera = rotate_vectors(bundle.camera_rotations[observed.camera], turned + shift)
    return turned, in_camera, in_camera + bundle.camera_translations[observed.camera]


def rotate_vectors(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """Apply rotation matrices (M, 3, 3) to vectors (M, 3), in the unit of the vectors."""
    return (matrices @ vectors[..., None])[..., 0]


def _apply_step(start: Bundle, step: FloatArray) -> Bundle:
    """Return the bundle after a step in all parameters. Rotations are applied after the current ones."""
    split, first = len(start.lenses) * CAMERA_SIZE, start.first_time
    lenses, turns, shifts = np.split(step[:split].reshape(len(start.lenses), -1), [LENS_SIZE, LENS_SIZE + 3], 1)
    target_turns, target_shifts = np.split(step[split:first].reshape(-1, POSE_SIZE), 2, 1)
    return replace(
        start,
        lenses=start.lenses + lenses,
        camera_rotations=matrix_from_rotation_vector(turns) @ start.camera_rotations,
        camera_translations=start.camera_translations + shifts,
        target_rotations=matrix_from_rotation_vector(target_turns) @ start.target_rotations,
        target_translations=start.target_translations + target_shifts,
        times=None if start.times is None else start.times + step[first:].reshape(start.times.shape),
    )


def free_parameters(bundle: Bundle, observed: Observations, of_cameras: BoolArray) -> tuple[IndexArray, IndexArray]:
    """Select the free camera parameters (C, 18), all poses, and the times of existing images.

    Return their indices (n,), and the free parameter (M, 25) of each derivative of an observation, or -1.
    """
    cameras, frames = len(bundle.lenses), len(bundle.target_rotations)
    used = np.zeros((frames, cameras), np.bool_)
    if bundle.times is not None:
        used[observed.frame, observed.camera] = True
    is_free = np.concatenate([of_cameras.ravel(), np.ones(frames * POSE_SIZE, np.bool_), used.ravel()])
    free = np.flatnonzero(is_free)
    column = np.where(is_free, is_free.cumsum() - 1, -1)
    of_camera = observed.camera[:, None] * CAMERA_SIZE + np.arange(CAMERA_SIZE)
    of_target = cameras * CAMERA_SIZE + observed.frame[:, None] * POSE_SIZE + np.arange(POSE_SIZE)
    of_time = bundle.first_time + observed.frame[:, None] * cameras + observed.camera[:, None]
    return free, column[np.concatenate([of_camera, of_target, of_time], 1)]


def _jacobian(bundle: Bundle, observed: Observations, columns: IndexArray, count: int) -> csr_matrix:
    """Return the derivatives (2 M, count) of the errors by the free parameters."""
    from scipy.sparse import csr_matrix

    turned, in_camera, in_view = _transform_points(bundle, observed)
    lens, R = bundle.lenses[observed.camera], bundle.camera_rotations[observed.camera]
    focal = lens[:, :2]
    rays = in_view[:, :2] / in_view[:, 2:]
    to_ray = np.concatenate([np.tile(np.eye(2), (len(rays), 1, 1)), -rays[..., None]], 2) / in_view[:, 2, None, None]
    to_seen = focal[..., None] * bundle.by_lens(distortion_jacobian, rays, observed.camera) @ to_ray  # (M, 2, 3)
    to_world = to_seen @ R
    slopes = np.concatenate(
        [
            _lens_jacobian(bundle, rays, observed.camera),
            -to_seen @ cross_matrices(in_camera),
            to_seen,
            -to_world @ cross_matrices(turned),
            to_world,
            to_world @ _velocities(bundle, observed, turned)[..., None],
        ],
        2,
    )  # (M, 2, 25)
    rows = np.broadcast_to(np.arange(2 * len(rays)).reshape(-1, 2, 1), slopes.shape)
    all_columns = np.broadcast_to(columns[:, None], slopes.shape)
    is_free = all_columns >= 0
    return csr_matrix((slopes[is_free], (rows[is_free], all_columns[is_free])), shape=(2 * len(rays), count))


def _velocities(bundle: Bundle, observed: Observations, turned: FloatArray) -> FloatArray:
    """Return the velocities (M, 3) of the points in metres per frame set."""
    if bundle.times is None or bundle.paths is None:
        return np.zeros_like(turned)
    time = bundle.times[observed.frame, observed.camera]
    powers = np.arange(1, bundle.paths.shape[1] + 1)
    rate = (bundle.paths[observed.frame] * (powers * time[:, None] ** (powers - 1))[..., None]).sum(1)
    return rate[:, 3:] + np.cross(rate[:, :3], turned)


def _lens_jacobian(bundle: Bundle, rays: FloatArray, camera: IndexArray) -> FloatArray:
    """Return the derivatives (M, 2, 12) of the pixels by the lens parameters."""
    lens, wide = bundle.lenses[camera], bundle.fisheye[camera]
    slopes = np.zeros((len(rays), 2, LENS_SIZE))
    slopes[:, [0, 1], [0, 1]] = bundle.by_lens(distort, rays, camera)
    slopes[:, [0, 1], [2, 3]] = 1
    x, y = rays.T
    r2 = x * x + y * y
    powers = np.stack([r2, r2**2, r2**3], 1)
    above = 1 + (lens[:, [4, 5, 8]] * powers).sum(1)
    below = 1 + np.where(wide, 0, (lens[:, 9:] * powers).sum(1))
    for term in range(3):
        slopes[:, :, (4, 5, 8)[term]] = rays * (powers[:, term] / below)[:, None]
        slopes[:, :, 9 + term] = -rays * (powers[:, term] * above / below**2)[:, None]
    slopes[:, :, 6] = np.stack([2 * x * y, r2 + 2 * y * y], 1)
    slopes[:, :, 7] = np.stack([r2 + 2 * x * x, 2 * x * y], 1)
    if wide.any():
        r = np.maximum(np.sqrt(r2[wide]), 1e-6)
        theta = np.arctan(r)
        odd = theta[:, None] ** np.array([3, 5, 7, 9]) / r[:, None]
        slopes[wide, :, 4:8] = rays[wide, :, None] * odd[:, None]
        slopes[wide, :, 8:] = 0
    slopes[:, :, 4:] *= lens[:, :2, None]
    return slopes


def fit_image_times(
    start: Bundle,
    observed: Observations,
    pose_keys: Sequence[PoseKey],
    *,
    free_lens: BoolArray,
    prior: LensPrior,
    robust_px: float,
) -> Bundle:
    """Fit a bundle, adjusted for simultaneous images, in which each has its own time along its target's path.

    The mask `free_lens` (C, 12) marks the values of the lenses that may change. `robust_px` is in pixels.
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
    """Check that most poses lie near the midpoint of their neighbours, unlike boards placed anew for each image."""
    rows: dict[CalibrationTarget, list[int]] = {}
    for row, (_, target) in enumerate(pose_keys):
        rows.setdefault(target, []).append(row)
    paths = [bundle.target_translations[indices] for indices in rows.values()]
    slices = np.s_[:-2], np.s_[1:-1], np.s_[2:]
    before, between, after = (np.concatenate([part[which] for part in paths]) for which in slices)
    bend = np.linalg.norm(between - (before + after) / 2, axis=1)
    half = np.linalg.norm(after - before, axis=1) / 2
    return len(bend) >= _MIN_POSES and float(np.median(bend)) < _MAX_BEND * float(np.median(half))


def target_paths(bundle: Bundle, pose_keys: Sequence[PoseKey], window: int) -> FloatArray:
    """Fit (F, 4, 6) rotation and translation of each target by powers of frame steps over a window by least squares.

    Powers that too few frame sets determine are zero.
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
        shifts = bundle.target_translations[neighbours] - bundle.target_translations[row]
        paths[row, : powers.shape[1]] = np.linalg.lstsq(powers, np.concatenate([rotations, shifts], 1))[0]
    return paths
