"""Bundle adjustment: cameras and poses of a target of the least reprojection error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IndexArray
from sonjit.errors import JobError
from sonjit.extras import needed_for
from sonjit.geometry.cameras import FISHEYE, distort, distortion_jacobian
from sonjit.geometry.rotations import matrix_from_rotation_vector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scipy.sparse import csc_matrix, csr_matrix

OF_CAMERA, OF_POSE = 12, 6  # fx fy cx cy and eight of a lens; a turn and a shift
_STILL = 1e-9
_GIVE_UP = 1e8
ROBUST_PX = 1.0
"""Beyond this an error counts by its size, not by its square."""
TIME_DEVIATION = 0.2
"""Standard deviation of an image's time, in frame sets, before anything is seen: it holds what no motion shows, and the
frame sets' own times. Images of a moving board outweigh it a hundredfold."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """The parameters, as arrays.

    Attributes:
        lenses: (C, 12) fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, k5, k6; of a fisheye fx, fy, cx, cy, k1 to k4, 0.
        camera_turns: (C, 3, 3) world to camera.
        camera_shifts: (C, 3) metres.
        target_turns: (F, 3, 3) target to world.
        target_shifts: (F, 3) metres.
        fisheye: (C,) whose lens is of that model.
        times: (F, C) when each camera's image was taken, in frame sets after the target was at its place; None where
            all are of one time.
        paths: (F, P, 6) how a target turns (about the world's axes) and moves, by the first to P-th power of a time.
    """

    lenses: FloatArray
    camera_turns: FloatArray
    camera_shifts: FloatArray
    target_turns: FloatArray
    target_shifts: FloatArray
    fisheye: BoolArray
    times: FloatArray | None = None
    paths: FloatArray | None = None

    def shown(self, rays: FloatArray, camera: IndexArray) -> FloatArray:
        """Rays (M, 2) as the lenses of their cameras (M,) show them."""
        return self._by_model(distort, rays, camera)

    def shown_slope(self, rays: FloatArray, camera: IndexArray) -> FloatArray:
        """(M, 2, 2) how that moves with the rays."""
        return self._by_model(distortion_jacobian, rays, camera)

    def _by_model(
        self, of_lens: Callable[[FloatArray, FloatArray], FloatArray], rays: FloatArray, camera: IndexArray
    ) -> FloatArray:
        lens, wide = self.lenses[camera, 4:], self.fisheye[camera]
        if not wide.any():
            return of_lens(rays, lens)
        found = np.where(wide[:, None], 0.0, rays)
        found = of_lens(found, np.where(wide[:, None], 0.0, lens))
        found[wide] = of_lens(rays[wide], lens[wide, :FISHEYE])
        return found


@dataclass(frozen=True, eq=False)
class Observations:
    """Of each of M points its camera and frame (M,), place in the target (M, 3), and pixel (M, 2)."""

    camera: IndexArray
    frame: IndexArray
    points_m: FloatArray
    pixels: FloatArray

    def only(self, kept: BoolArray) -> Observations:
        """Those of (M,) points."""
        return Observations(self.camera[kept], self.frame[kept], self.points_m[kept], self.pixels[kept])


@dataclass(frozen=True, eq=False)
class LensPrior:
    """What is known of lenses before any image: it moves only what the images leave open.

    Gaussian; of fx - fy Cauchy's, so that images which show an anamorphic lens are believed.

    Attributes:
        means: (C, 11) of fx - fy, cx, cy and the lens's eight coefficients.
        deviations: (C, 11) their standard deviations.
        noise_px: standard deviation of a coordinate in the images, which the prior is weighed against.
    """

    means: FloatArray
    deviations: FloatArray
    noise_px: float

    def terms(self, lenses: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Cost, gradient (C, 12) and curvature (C, 12, 12) in squared pixels, halved as those of errors are."""
        off = (lenses @ _TO_PRIOR.T - self.means) / self.deviations
        slopes = _TO_PRIOR / self.deviations[..., None]  # (C, 11, 12)
        scale = self.noise_px**2
        pull = np.full_like(off, scale)
        pull[:, 0] /= 1 + off[:, 0] ** 2
        return (
            float(scale * ((off[:, 1:] ** 2).sum() + np.log1p(off[:, 0] ** 2).sum())),
            np.einsum("ckl,ck->cl", slopes, pull * off),
            np.einsum("ckl,ckm->clm", slopes, pull[..., None] * slopes),
        )


_TO_PRIOR = np.eye(OF_CAMERA)[1:]
_TO_PRIOR[0, :2] = 1, -1
"""(11, 12) takes a lens to what the prior is about."""


def usual_lenses(sizes: Sequence[tuple[int, int]], noise_px: float, fisheye: BoolArray) -> LensPrior:
    """Of ordinary lenses: fx = fy to 1 % of the width, the centre in the middle to 4 %, moderate distortion."""
    wide = np.array([width for width, _ in sizes], np.float64)
    high = np.array([height for _, height in sizes], np.float64)
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
    """The bundle of least robust (soft L1) error; the first camera's pose is kept, so that the world stays.

    Args:
        start: near the solution.
        observed: the points.
        free_lens: (C, 12) which of each camera's parameters may change.
        prior: of the lenses; none by default.
        robust_px: beyond this an error counts by its size, not by its square.
        steps: at most.

    Raises:
        JobError: the parameters diverged.
    """
    of_cameras = np.zeros((len(start.lenses), OF_CAMERA + OF_POSE), np.bool_)
    of_cameras[:, :OF_CAMERA] = free_lens
    of_cameras[1:, OF_CAMERA:] = True
    free = free_parameters(start, observed, of_cameras)
    columns = parameter_columns(start, observed, free)
    at, damping = start, 1e-4
    cost, weights, errors = robust_cost(at, observed, robust_px, prior)
    for _ in range(steps):
        normal, downhill = normal_equations(at, observed, columns, free, weights, errors, prior)
        gain = 0.0
        while damping < _GIVE_UP:
            whole = np.zeros(_first_time(start) + (0 if start.times is None else start.times.size))
            whole[free] = _solved(normal, damping, downhill)
            trial = _moved(at, whole)
            there, new_weights, new_errors = robust_cost(trial, observed, robust_px, prior)
            if there < cost:
                gain, damping = 1 - there / cost, max(damping / 10, 1e-12)
                at, cost, weights, errors = trial, there, new_weights, new_errors
                break
            damping *= 10
        if gain < _STILL:
            break
    if not np.isfinite(cost):
        raise JobError("bundle adjustment failed: the cameras do not fit together; check for a wrong or swapped one")
    return at


def normal_equations(
    at: Bundle,
    observed: Observations,
    columns: IndexArray,
    free: IndexArray,
    weights: FloatArray,
    errors: FloatArray,
    prior: LensPrior | None,
) -> tuple[csc_matrix, FloatArray]:
    """The normal matrix (n, n) of the free parameters and the negative gradient (n,)."""
    from scipy.sparse import csc_matrix

    slopes = _slopes(at, observed, columns, len(free))
    weighted = slopes.multiply(weights[:, None]).tocsr()
    normal = (weighted.T @ slopes).tocsc()
    downhill = -(weighted.T @ errors)
    if not prior:
        return normal, downhill
    rows, meeting, values = list[IndexArray](), list[IndexArray](), list[FloatArray]()
    _, gradient, curvature = prior.terms(at.lenses)
    for row in range(len(at.lenses)):
        terms = row * (OF_CAMERA + OF_POSE) + np.arange(OF_CAMERA)
        kept = np.isin(terms, free)
        places = np.searchsorted(free, terms[kept])
        rows.append(np.repeat(places, len(places)))
        meeting.append(np.tile(places, len(places)))
        values.append(curvature[row][np.ix_(kept, kept)].ravel())
        downhill[places] -= gradient[row][kept]
    if at.times is not None:
        own = np.flatnonzero(free >= _first_time(at))
        pull = (prior.noise_px / TIME_DEVIATION) ** 2
        rows.append(own)
        meeting.append(own)
        values.append(np.full(len(own), pull))
        downhill[own] -= pull * at.times.ravel()[free[own] - _first_time(at)]
    places = np.concatenate(rows), np.concatenate(meeting)
    return normal + csc_matrix((np.concatenate(values), places), shape=normal.shape), downhill


def robust_cost(
    bundle: Bundle, observed: Observations, robust_px: float, prior: LensPrior | None
) -> tuple[float, FloatArray, FloatArray]:
    """The soft L1 cost with the prior's, the weights (2 M,) of the squares that stand for it, and the errors (2 M,)."""
    errors = projected(bundle, observed) - observed.pixels
    grown = np.sqrt(1 + (errors**2).sum(1) / robust_px**2)
    cost = float(2 * robust_px**2 * (grown - 1).sum())
    if prior:
        cost += prior.terms(bundle.lenses)[0]
        if bundle.times is not None:
            cost += float(((prior.noise_px / TIME_DEVIATION * bundle.times) ** 2).sum())
    return cost if np.isfinite(cost) else np.inf, np.repeat(1 / grown, 2), errors.ravel()


def _solved(normal: csc_matrix, damping: float, downhill: FloatArray) -> FloatArray:
    """Levenberg and Marquardt's step; zeros where the matrix cannot be solved."""
    diagonal = normal.diagonal()
    factor = factorised(normal, damping * diagonal + 1e-12 * diagonal.max())
    return np.zeros(len(downhill)) if factor is None else np.asarray(factor.solve(downhill), np.float64)


class Factorised(Protocol):
    """A matrix (n, n) that is ready to be solved."""

    def solve(self, rhs: FloatArray, /) -> FloatArray:
        """For (n,) or (n, k)."""
        ...


def factorised(normal: csc_matrix, added: FloatArray) -> Factorised | None:
    """A symmetric matrix (n, n) with (n,) added to its diagonal, to be solved; None where it is singular.

    Its order keeps what few meet first, so that poses cost a block each and only cameras meet all: time and memory grow
    with the number of frame sets, not with its cube.
    """
    from scipy.sparse import diags
    from scipy.sparse.linalg import splu

    try:
        return splu(  # pyright: ignore[reportUnknownVariableType]
            (normal + diags(added)).tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except RuntimeError:  # exactly singular
        return None


def projected(bundle: Bundle, observed: Observations) -> FloatArray:
    """(M, 2) pixels at which the bundle's cameras see what was seen."""
    _, _, seen = _placed(bundle, observed)
    lens = bundle.lenses[observed.camera]
    return bundle.shown(seen[:, :2] / seen[:, 2:], observed.camera) * lens[:, :2] + lens[:, 2:4]


def _placed(bundle: Bundle, observed: Observations) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(M, 3) each: turned with its target; then with its camera; then in the camera's frame."""
    turned = rotated(bundle.target_turns[observed.frame], observed.points_m)
    shift = bundle.target_shifts[observed.frame]
    if bundle.times is not None and bundle.paths is not None:
        time = bundle.times[observed.frame, observed.camera]
        powers = time[:, None] ** np.arange(1, bundle.paths.shape[1] + 1)
        step = (bundle.paths[observed.frame] * powers[..., None]).sum(1)
        turned = rotated(matrix_from_rotation_vector(step[:, :3]), turned)
        shift = shift + step[:, 3:]
    in_camera = rotated(bundle.camera_turns[observed.camera], turned + shift)
    return turned, in_camera, in_camera + bundle.camera_shifts[observed.camera]


def rotated(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    return (matrices @ vectors[..., None])[..., 0]


def _moved(start: Bundle, whole: FloatArray) -> Bundle:
    """The bundle after a step in all parameters; turns are applied after those that are there."""
    cameras = len(start.lenses)
    split = cameras * (OF_CAMERA + OF_POSE)
    of_camera = whole[:split].reshape(cameras, -1)
    of_target = whole[split : _first_time(start)].reshape(-1, OF_POSE)
    return replace(
        start,
        lenses=start.lenses + of_camera[:, :OF_CAMERA],
        camera_turns=matrix_from_rotation_vector(of_camera[:, OF_CAMERA : OF_CAMERA + 3]) @ start.camera_turns,
        camera_shifts=start.camera_shifts + of_camera[:, OF_CAMERA + 3 :],
        target_turns=matrix_from_rotation_vector(of_target[:, :3]) @ start.target_turns,
        target_shifts=start.target_shifts + of_target[:, 3:],
        times=None if start.times is None else start.times + whole[_first_time(start) :].reshape(start.times.shape),
    )


def _first_time(bundle: Bundle) -> int:
    """Which parameter the first of the times is: cameras and poses come before."""
    return len(bundle.lenses) * (OF_CAMERA + OF_POSE) + len(bundle.target_turns) * OF_POSE


def free_parameters(bundle: Bundle, observed: Observations, of_cameras: BoolArray) -> IndexArray:
    """Those of (C, 18) cameras' parameters that are free, all poses, and the times of images that there are."""
    free = [of_cameras.ravel(), np.ones(len(bundle.target_turns) * OF_POSE, np.bool_)]
    if bundle.times is not None:
        taken = np.zeros(bundle.times.shape, np.bool_)
        taken[observed.frame, observed.camera] = True
        free.append(taken.ravel())
    return np.flatnonzero(np.concatenate(free))


def parameter_columns(bundle: Bundle, observed: Observations, free: IndexArray) -> IndexArray:
    """(M, 25) which free parameter each slope of an observation belongs to; -1 for one that is kept."""
    cameras, first = len(bundle.lenses), _first_time(bundle)
    place = np.full(first + len(bundle.target_turns) * cameras, -1, np.intp)
    place[free] = np.arange(len(free))
    per = OF_CAMERA + OF_POSE
    of_camera = observed.camera[:, None] * per + np.arange(per)
    of_target = cameras * per + observed.frame[:, None] * OF_POSE + np.arange(OF_POSE)
    of_time = first + observed.frame[:, None] * cameras + observed.camera[:, None]
    return place[np.concatenate([of_camera, of_target, of_time], 1)]


def _slopes(bundle: Bundle, observed: Observations, columns: IndexArray, count: int) -> csr_matrix:
    """(2 M, count) how errors move with the free parameters."""
    with needed_for("calibrating cameras", "studio"):
        from scipy.sparse import csr_matrix

    turned, in_camera, seen = _placed(bundle, observed)
    lens, R = bundle.lenses[observed.camera], bundle.camera_turns[observed.camera]
    focal = lens[:, :2]
    rays = seen[:, :2] / seen[:, 2:]
    to_ray = np.concatenate([np.tile(np.eye(2), (len(rays), 1, 1)), -rays[..., None]], 2) / seen[:, 2, None, None]
    to_seen = focal[..., None] * bundle.shown_slope(rays, observed.camera) @ to_ray  # (M, 2, 3)
    to_world = to_seen @ R
    slopes = np.concatenate(
        [
            _lens_slopes(bundle, rays, observed.camera),
            -to_seen @ cross_matrices(in_camera),
            to_seen,
            -to_world @ cross_matrices(turned),
            to_world,
            to_world @ _speeds(bundle, observed, turned)[..., None],
        ],
        2,
    )  # (M, 2, 25)
    rows = np.broadcast_to(np.arange(2 * len(rays)).reshape(-1, 2, 1), slopes.shape)
    wide = np.broadcast_to(columns[:, None], slopes.shape)
    kept = wide >= 0
    return csr_matrix((slopes[kept], (rows[kept], wide[kept])), shape=(2 * len(rays), count))


def _speeds(bundle: Bundle, observed: Observations, turned: FloatArray) -> FloatArray:
    """(M, 3) how far points move in the time of a frame set, metres."""
    if bundle.times is None or bundle.paths is None:
        return np.zeros_like(turned)
    time = bundle.times[observed.frame, observed.camera]
    powers = np.arange(1, bundle.paths.shape[1] + 1)
    rate = (bundle.paths[observed.frame] * (powers * time[:, None] ** (powers - 1))[..., None]).sum(1)
    return rate[:, 3:] + np.cross(rate[:, :3], turned)


def _lens_slopes(bundle: Bundle, rays: FloatArray, camera: IndexArray) -> FloatArray:
    """(M, 2, 12) how pixels move with the parameters of a lens."""
    lens, wide = bundle.lenses[camera], bundle.fisheye[camera]
    slopes = np.zeros((len(rays), 2, OF_CAMERA))
    slopes[:, [0, 1], [0, 1]] = bundle.shown(rays, camera)
    slopes[:, [0, 1], [2, 3]] = 1
    x, y = rays.T
    r2 = x * x + y * y
    powers = np.stack([r2, r2**2, r2**3], 1)
    above = 1 + (lens[:, [4, 5, 8]] * powers).sum(1)
    below = 1 + np.where(wide, 0, (lens[:, 9:] * powers).sum(1))
    for place in range(3):
        slopes[:, :, (4, 5, 8)[place]] = rays * (powers[:, place] / below)[:, None]
        slopes[:, :, 9 + place] = -rays * (powers[:, place] * above / below**2)[:, None]
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


def cross_matrices(vectors: FloatArray) -> FloatArray:
    """(M, 3, 3) matrices that take the cross product with vectors (M, 3)."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
