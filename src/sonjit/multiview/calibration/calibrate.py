"""Calibration of a rig from sightings of a target: intrinsics and poses, refined together by bundle adjustment.

The adjustment finds the cameras and poses of the target that minimise the reprojection error of its points.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IndexArray
from sonjit.errors import JobError
from sonjit.extras import needed_for
from sonjit.geometry.cameras import CalibratedCamera, distort, distortion_jacobian
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.multiview.calibration.initial_estimate import (
    LENS_TERMS,
    LensModel,
    Pair,
    Place,
    TargetPose,
    camera_from_sightings,
    inverse,
    joined,
    most_different,
    pairs_of,
    target_poses,
    tree_places,
)
from sonjit.multiview.cameras.rig import CameraRig, RigCamera

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scipy.sparse import csr_matrix

    from sonjit.multiview.calibration.board import CalibrationTarget, Sighting, Sightings

_OF_CAMERA, _OF_POSE = 9, 6  # fx fy cx cy k1 k2 p1 p2 k3; a turn and a shift
_STILL = 1e-9
_GIVE_UP = 1e8
_ROBUST_PX = 1.0
"""Beyond this an error counts by its size, not by its square."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """The parameters, as arrays.

    Attributes:
        lenses: (C, 9) fx, fy, cx, cy, k1, k2, p1, p2, k3.
        camera_turns: (C, 3, 3) world to camera.
        camera_shifts: (C, 3) metres.
        target_turns: (F, 3, 3) target to world.
        target_shifts: (F, 3) metres.
    """

    lenses: FloatArray
    camera_turns: FloatArray
    camera_shifts: FloatArray
    target_turns: FloatArray
    target_shifts: FloatArray


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
        means: (C, 8) of fx - fy, cx, cy, k1, k2, p1, p2, k3.
        deviations: (C, 8) their standard deviations.
        noise_px: standard deviation of a coordinate in the images, which the prior is weighed against.
    """

    means: FloatArray
    deviations: FloatArray
    noise_px: float

    def terms(self, lenses: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Cost, gradient (C, 9) and curvature (C, 9, 9) in squared pixels, halved as those of errors are."""
        off = (lenses @ _TO_PRIOR.T - self.means) / self.deviations
        slopes = _TO_PRIOR / self.deviations[..., None]  # (C, 8, 9)
        scale = self.noise_px**2
        pull = np.full_like(off, scale)
        pull[:, 0] /= 1 + off[:, 0] ** 2
        return (
            float(scale * ((off[:, 1:] ** 2).sum() + np.log1p(off[:, 0] ** 2).sum())),
            np.einsum("ckl,ck->cl", slopes, pull * off),
            np.einsum("ckl,ckm->clm", slopes, pull[..., None] * slopes),
        )


_TO_PRIOR = np.eye(9)[1:]
_TO_PRIOR[0, :2] = 1, -1
"""(8, 9) takes a lens to what the prior is about."""


def usual_lenses(sizes: Sequence[tuple[int, int]], noise_px: float) -> LensPrior:
    """Of ordinary lenses: fx = fy to 1 % of the width, the centre in the middle to 4 %, moderate distortion."""
    wide = np.array([width for width, _ in sizes], np.float64)
    high = np.array([height for _, height in sizes], np.float64)
    zero = np.zeros_like(wide)
    means = np.stack([zero, wide / 2, high / 2, *[zero] * 5], 1)
    of_lens = np.tile([0.3, 0.3, 0.005, 0.005, 0.3], (len(wide), 1))
    deviations = np.concatenate([np.stack([0.01 * wide, 0.04 * wide, 0.04 * wide], 1), of_lens], 1)
    return LensPrior(means, deviations, noise_px)


def adjust(
    start: Bundle,
    observed: Observations,
    *,
    free_lens: BoolArray,
    prior: LensPrior | None = None,
    robust_px: float = _ROBUST_PX,
    steps: int = 100,
) -> Bundle:
    """The bundle of least robust (soft L1) error; the first camera's pose is kept, so that the world stays.

    Args:
        start: near the solution.
        observed: the points.
        free_lens: (C, 9) which of each camera's parameters may change.
        prior: of the lenses; none by default.
        robust_px: beyond this an error counts by its size, not by its square.
        steps: at most.

    Raises:
        JobError: the parameters diverged.
    """
    cameras, frames = len(start.lenses), len(start.target_turns)
    of_cameras = np.zeros((cameras, _OF_CAMERA + _OF_POSE), np.bool_)
    of_cameras[:, :_OF_CAMERA] = free_lens
    of_cameras[1:, _OF_CAMERA:] = True
    free = np.flatnonzero(np.concatenate([of_cameras.ravel(), np.ones(frames * _OF_POSE, np.bool_)]))
    columns = _columns(observed, cameras, free, of_cameras.size + frames * _OF_POSE)
    at, damping = start, 1e-4
    cost, weights, errors = _robust(at, observed, robust_px, prior)
    for _ in range(steps):
        normal, downhill = _normal(at, observed, columns, free, weights, errors, prior)
        gain = 0.0
        while damping < _GIVE_UP:
            whole = np.zeros(of_cameras.size + frames * _OF_POSE)
            whole[free] = _solved(normal, damping, downhill)
            trial = _moved(at, whole)
            there, new_weights, new_errors = _robust(trial, observed, robust_px, prior)
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


def _normal(
    at: Bundle,
    observed: Observations,
    columns: IndexArray,
    free: IndexArray,
    weights: FloatArray,
    errors: FloatArray,
    prior: LensPrior | None,
) -> tuple[FloatArray, FloatArray]:
    """The normal matrix (n, n) of the free parameters and the negative gradient (n,)."""
    slopes = _slopes(at, observed, columns, len(free))
    weighted = slopes.multiply(weights[:, None]).tocsr()
    normal = (weighted.T @ slopes).toarray()
    downhill = -(weighted.T @ errors)
    if prior:
        _, gradient, curvature = prior.terms(at.lenses)
        for row in range(len(at.lenses)):
            terms = row * (_OF_CAMERA + _OF_POSE) + np.arange(_OF_CAMERA)
            kept = np.isin(terms, free)
            places = np.searchsorted(free, terms[kept])
            normal[np.ix_(places, places)] += curvature[row][np.ix_(kept, kept)]
            downhill[places] -= gradient[row][kept]
    return normal, downhill


def _robust(
    bundle: Bundle, observed: Observations, robust_px: float, prior: LensPrior | None
) -> tuple[float, FloatArray, FloatArray]:
    """The soft L1 cost with the prior's, the weights (2 M,) of the squares that stand for it, and the errors (2 M,)."""
    errors = projected(bundle, observed) - observed.pixels
    grown = np.sqrt(1 + (errors**2).sum(1) / robust_px**2)
    cost = float(2 * robust_px**2 * (grown - 1).sum()) + (prior.terms(bundle.lenses)[0] if prior else 0.0)
    return cost if np.isfinite(cost) else np.inf, np.repeat(1 / grown, 2), errors.ravel()


def _solved(normal: FloatArray, damping: float, downhill: FloatArray) -> FloatArray:
    """Levenberg and Marquardt's step; zeros where the matrix cannot be solved."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    diagonal = np.diag(normal)
    try:
        factor = cho_factor(normal + np.diag(damping * diagonal + 1e-12 * diagonal.max()), check_finite=False)
    except LinAlgError:
        return np.zeros(len(normal))
    return np.asarray(cho_solve(factor, downhill, check_finite=False), np.float64)


def projected(bundle: Bundle, observed: Observations) -> FloatArray:
    """(M, 2) pixels at which the bundle's cameras see what was seen."""
    _, _, seen = _placed(bundle, observed)
    lens = bundle.lenses[observed.camera]
    return distort(seen[:, :2] / seen[:, 2:], lens[:, 4:]) * lens[:, :2] + lens[:, 2:4]


def _placed(bundle: Bundle, observed: Observations) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(M, 3) each: turned with its target; then with its camera; then in the camera's frame."""
    turned = _times(bundle.target_turns[observed.frame], observed.points_m)
    in_camera = _times(bundle.camera_turns[observed.camera], turned + bundle.target_shifts[observed.frame])
    return turned, in_camera, in_camera + bundle.camera_shifts[observed.camera]


def _times(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    return (matrices @ vectors[..., None])[..., 0]


def _moved(start: Bundle, whole: FloatArray) -> Bundle:
    """The bundle after a step in all parameters; turns are applied after those that are there."""
    cameras = len(start.lenses)
    split = cameras * (_OF_CAMERA + _OF_POSE)
    of_camera = whole[:split].reshape(cameras, -1)
    of_target = whole[split:].reshape(-1, _OF_POSE)
    return Bundle(
        start.lenses + of_camera[:, :9],
        matrix_from_rotation_vector(of_camera[:, 9:12]) @ start.camera_turns,
        start.camera_shifts + of_camera[:, 12:],
        matrix_from_rotation_vector(of_target[:, :3]) @ start.target_turns,
        start.target_shifts + of_target[:, 3:],
    )


def _columns(observed: Observations, cameras: int, free: IndexArray, count: int) -> IndexArray:
    """(M, 21) which free parameter each slope of an observation belongs to; -1 for one that is kept."""
    place = np.full(count, -1, np.intp)
    place[free] = np.arange(len(free))
    per = _OF_CAMERA + _OF_POSE
    of_camera = observed.camera[:, None] * per + np.arange(per)
    of_target = cameras * per + observed.frame[:, None] * _OF_POSE + np.arange(_OF_POSE)
    return place[np.concatenate([of_camera, of_target], 1)]


def _slopes(bundle: Bundle, observed: Observations, columns: IndexArray, count: int) -> csr_matrix:
    """(2 M, count) how errors move with the free parameters."""
    with needed_for("calibrating cameras", "studio"):
        from scipy.sparse import csr_matrix

    turned, in_camera, seen = _placed(bundle, observed)
    lens, R = bundle.lenses[observed.camera], bundle.camera_turns[observed.camera]
    focal = lens[:, :2]
    rays = seen[:, :2] / seen[:, 2:]
    to_ray = np.concatenate([np.tile(np.eye(2), (len(rays), 1, 1)), -rays[..., None]], 2) / seen[:, 2, None, None]
    to_seen = focal[..., None] * distortion_jacobian(rays, lens[:, 4:]) @ to_ray  # (M, 2, 3)
    to_world = to_seen @ R
    slopes = np.concatenate(
        [
            _lens_slopes(rays, lens),
            -to_seen @ _cross(in_camera),
            to_seen,
            -to_world @ _cross(turned),
            to_world,
        ],
        2,
    )  # (M, 2, 21)
    rows = np.broadcast_to(np.arange(2 * len(rays)).reshape(-1, 2, 1), slopes.shape)
    wide = np.broadcast_to(columns[:, None], slopes.shape)
    kept = wide >= 0
    return csr_matrix((slopes[kept], (rows[kept], wide[kept])), shape=(2 * len(rays), count))


def _lens_slopes(rays: FloatArray, lens: FloatArray) -> FloatArray:
    """(M, 2, 9) how pixels move with fx, fy, cx, cy, k1, k2, p1, p2, k3."""
    slopes = np.zeros((len(rays), 2, _OF_CAMERA))
    bent = distort(rays, lens[:, 4:])
    x, y = rays.T
    r2 = x * x + y * y
    slopes[:, [0, 1], [0, 1]] = bent
    slopes[:, [0, 1], [2, 3]] = 1
    for place, power in ((4, r2), (5, r2**2), (8, r2**3)):
        slopes[:, :, place] = rays * power[:, None]
    slopes[:, :, 6] = np.stack([2 * x * y, r2 + 2 * y * y], 1)
    slopes[:, :, 7] = np.stack([r2 + 2 * x * x, 2 * x * y], 1)
    slopes[:, :, 4:] *= lens[:, :2, None]
    return slopes


def _cross(vectors: FloatArray) -> FloatArray:
    """(M, 3, 3) matrices that take the cross product with vectors (M, 3)."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)


_DEVIATION = 1.4826
"""Standard deviation of normal errors for a median magnitude of 1."""
_PARTS = 8
"""Parts of the recording; each is left out once to see how much hangs on it."""


def _deviations(
    best: Bundle, observed: Observations, terms: BoolArray, prior: LensPrior, robust_px: float
) -> tuple[FloatArray, FloatArray]:
    """Standard errors (C, 9) of lenses and (C, C) of distances between cameras, in metres.

    Of lenses the larger of the inverse normal matrix's and the jackknife's, of distances the jackknife's, NaN for a
    recording too short for it. Points of one image are wrong together (late images, a bent board), which leaving out
    whole stretches of the recording shows. What the prior alone fixes has its deviation in the first.
    """
    cameras, frames = len(best.lenses), len(best.target_turns)
    of_cameras = np.ones((cameras, _OF_CAMERA + _OF_POSE), np.bool_)
    of_cameras[:, :_OF_CAMERA] = terms
    of_cameras[0, _OF_CAMERA:] = False
    found, apart_m = np.zeros_like(best.lenses), np.full((cameras, cameras), np.nan)
    if terms.any():
        free = np.flatnonzero(np.concatenate([of_cameras.ravel(), np.ones(frames * _OF_POSE, np.bool_)]))
        columns = _columns(observed, cameras, free, of_cameras.size + frames * _OF_POSE)
        _, weights, errors = _robust(best, observed, robust_px, prior)
        normal, _ = _normal(best, observed, columns, free, weights, errors, prior)
        every = np.zeros(of_cameras.size + frames * _OF_POSE)
        every[free] = prior.noise_px**2 * np.diag(np.linalg.pinv(normal, hermitian=True))
        found = every[: of_cameras.size].reshape(cameras, -1)[:, :_OF_CAMERA]
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
    centres = -_times(bundle.camera_turns.swapaxes(1, 2), bundle.camera_shifts)
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


_BAD_PX = 0.5
_BAD_TIMES = 2.0
_CLUSTERED, _LATE_TIMES = 2.0, 2.0
"""Design effect above which lenses are also estimated from each camera's images alone; and how many times smaller their
errors must be to be preferred."""
_WEAK = 0.02
"""Standard error of a focal length, as a share of it, above which it is told."""


@dataclass(frozen=True, eq=False)
class RigCalibration:
    """A calibrated rig and the evidence for it.

    Attributes:
        rig: in the first camera's frame, metres.
        target: what was seen.
        target_places: target to world, by frame.
        sightings: those that were used.
        errors_px: (n, 2) of each sighting, where the rig sees its points less where they were seen.
        tree: the pairs of cameras that the initial estimate went along.
        problems: images that could not be read, and doubts about the rig; one line each.
        lens_deviations: standard errors (9,) of fx, fy, cx, cy, k1, k2, p1, p2, k3 of each camera whose lens was
            estimated; 0 for what was kept.
        distance_deviations_m: (C, C) standard errors of the distances between cameras; NaN where they are not known.
    """

    rig: CameraRig
    target: CalibrationTarget
    target_places: Mapping[int, Place]
    sightings: tuple[Sighting, ...]
    errors_px: tuple[FloatArray, ...]
    tree: tuple[Pair, ...] = ()
    problems: tuple[str, ...] = ()
    lens_deviations: Mapping[str, FloatArray] = field(default_factory=dict[str, "FloatArray"])
    distance_deviations_m: FloatArray = field(default_factory=lambda: np.full((0, 0), np.nan))

    @property
    def rms_px(self) -> float:
        """Root mean square distance of all points, pixels: what OpenCV and InterHand2.6M report."""
        return rms_of(self.errors_px)

    def rms_by_view(self) -> dict[str, float]:
        """Likewise for each camera."""
        return {name: rms_of([errors for _, errors in self.seen_by(name)]) for name in self.rig.names}

    def moved(self, R: FloatArray, t_m: FloatArray, scale: float = 1.0) -> RigCalibration:
        """The same in another world, x_new = scale R x_old + t_m; the target keeps its own axes but not its size."""
        places = {frame: (R @ turn, scale * R @ shift + t_m) for frame, (turn, shift) in self.target_places.items()}
        spread_m = scale * self.distance_deviations_m
        return replace(self, rig=self.rig.moved(R, t_m, scale), target_places=places, distance_deviations_m=spread_m)

    def seen_by(self, view: str) -> list[tuple[Sighting, FloatArray]]:
        """A camera's sightings, each with its errors."""
        return [(one, e) for one, e in zip(self.sightings, self.errors_px, strict=True) if one.view == view]


def rms_of(errors_px: Sequence[FloatArray]) -> float:
    """Root mean square distance of errors (n, 2); NaN without any."""
    if not errors_px:
        return float("nan")
    return float(np.sqrt((np.concatenate(list(errors_px)) ** 2).sum(1).mean()))


def calibrate(
    target: CalibrationTarget,
    sightings: Sightings,
    *,
    lens: LensModel = "usual",
    lenses: Mapping[str, CalibratedCamera] | None = None,
) -> RigCalibration:
    """A rig from sightings of a target that several cameras saw in the same frame sets.

    Args:
        target: what was seen; its size gives the world its metres.
        sightings: by all cameras; a frame's number means the same frame set in each.
        lens: which distortion coefficients to estimate.
        lenses: K and distortion by camera where they are known; they are kept then.

    Raises:
        InputError: a camera saw the target in too few images, or never together with the others.
        JobError: the sightings fit no rig.
    """
    names = list(sightings.sizes)
    known = lenses or {}
    cameras = [
        known[name] if name in known else camera_from_sightings(target, sightings.of(name), sightings.sizes[name], lens)
        for name in names
    ]
    poses: list[dict[int, list[TargetPose]]] = [
        {
            one.frame: found
            for one in sightings.of(name)
            if (found := target_poses(target.points_m[one.points], one.pixels, camera, flat=target.is_flat))
        }
        for name, camera in zip(names, cameras, strict=True)
    ]
    places, tree = tree_places(pairs_of(poses), names)
    placed = _target_places(target, sightings, names, cameras, poses, places)
    used = tuple(one for one in sightings.found if one.frame in placed)
    terms = np.zeros((len(names), 9), np.bool_)
    terms[:, [0, 1, 2, 3, *(4 + term for term in LENS_TERMS[lens])]] = True
    terms[[name in known for name in names]] = False
    frames = {frame: row for row, frame in enumerate(placed)}
    observed = Observations(
        np.concatenate([np.full(len(one.points), names.index(one.view)) for one in used]),
        np.concatenate([np.full(len(one.points), frames[one.frame]) for one in used]),
        np.concatenate([target.points_m[one.points] for one in used]),
        np.concatenate([one.pixels for one in used]),
    )
    start = Bundle(
        np.stack([_numbers(camera) for camera in cameras]),
        *(np.stack([place[part] for place in places]) for part in (0, 1)),
        *(np.stack([place[part] for place in placed.values()]) for part in (0, 1)),
    )
    sizes = [sightings.sizes[name] for name in names]
    image = observed.camera * len(frames) + observed.frame
    best, errors = start, np.zeros_like(observed.pixels)
    prior, robust_px = usual_lenses(sizes, _ROBUST_PX / 2), _ROBUST_PX
    for _ in range(2):  # the noise, which weighs the images against the prior, is known after the first
        best = adjust(best, observed, free_lens=terms, prior=prior, robust_px=robust_px)
        errors = projected(best, observed) - observed.pixels
        noise_px = _DEVIATION * float(np.median(np.abs(errors)))
        robust_px = max(_ROBUST_PX, 2 * noise_px)
        prior = usual_lenses(sizes, noise_px * design_effect(errors, image) ** 0.5)
    own: dict[str, RigCalibration] = {}
    if len(names) > 1 and terms.any() and design_effect(errors, image) > _CLUSTERED:
        own = {name: _own_lens(target, sightings, name, lens) for name in names if name not in known}
    joint_px, alone_px = rms_of([errors]), rms_of([gap for one in own.values() for gap in one.errors_px])
    if is_late := joint_px > _LATE_TIMES * alone_px:
        lenses_alone = [
            _numbers(own[name].rig[name].camera) if name in own else row
            for name, row in zip(names, best.lenses, strict=True)
        ]
        terms[:] = False
        best = adjust(replace(best, lenses=np.stack(lenses_alone)), observed, free_lens=terms, robust_px=robust_px)
        errors = projected(best, observed) - observed.pixels
    spread, apart_m = _deviations(best, observed, terms, prior, robust_px)
    if is_late:
        spread = np.stack([own[name].lens_deviations[name] if name in own else np.zeros(9) for name in names])
    if not np.isfinite(errors).all():
        raise JobError("calibration failed: the cameras do not fit together; check for a wrong or swapped camera")
    ends = np.cumsum([len(one.points) for one in used])[:-1]
    made = RigCalibration(
        CameraRig(RigCamera(name, *sightings.sizes[name], _camera(best, row)) for row, name in enumerate(names)),
        target,
        {frame: (best.target_turns[row], best.target_shifts[row]) for frame, row in frames.items()},
        used,
        tuple(np.split(errors, ends)),
        tuple(tree),
        lens_deviations={name: spread[row] for row, name in enumerate(names) if name not in known},
        distance_deviations_m=apart_m,
    )
    late = (
        f"each camera alone fits its images to {alone_px:.2f} px, all together to {joint_px:.2f} px: the images of a "
    )
    late += (
        "frame set are not of one time; each lens was estimated from its camera's images alone. Hold the board still"
    )
    return replace(made, problems=(*sightings.problems, *[late] * is_late, *_doubts(made)))


def calibrate_lens(target: CalibrationTarget, sightings: Sightings, *, lens: LensModel = "usual") -> RigCalibration:
    """One camera's lens from a recording of its own: from its images that differ most.

    Args:
        target: what was seen.
        sightings: of one camera.
        lens: which distortion coefficients to estimate.

    Raises:
        InputError: too few images, or none that fixes the focal length.
    """
    (size,) = sightings.sizes.values()
    return calibrate(target, replace(sightings, found=tuple(most_different(sightings.found, size))), lens=lens)


def _own_lens(target: CalibrationTarget, sightings: Sightings, name: str, lens: LensModel) -> RigCalibration:
    """A camera's lens from its own images of a rig's recording, which nothing that is late in others disturbs."""
    alone = replace(sightings, found=tuple(sightings.of(name)), sizes={name: sightings.sizes[name]}, problems=())
    return calibrate_lens(target, alone, lens=lens)


def _doubts(made: RigCalibration) -> list[str]:
    """Reasons to doubt a calibration, one line each."""
    names, views = made.rig.names, made.rms_by_view()
    usual = float(np.nanmedian(list(views.values())))
    return [
        *(
            f"cameras {names[pair.first]} and {names[pair.second]} are linked by {pair.frames} frame sets that two "
            "solutions explain alike: show them the board nearer and tilted more"
            for pair in made.tree
            if pair.is_unsure
        ),
        *(
            f"camera {name} fits badly: {rms:.2f} px where half of the cameras have below {usual:.2f}"
            for name, rms in views.items()
            if rms > max(_BAD_TIMES * usual, _BAD_PX)
        ),
        *(
            f"camera {name}: its focal length is known to {share:.0%} only (standard error {spread[0]:.0f} px): "
            "show it the board larger and tilted, or give its lens with --lenses"
            for name, spread in made.lens_deviations.items()
            if (share := float(spread[0] / made.rig[name].camera.K[0, 0])) > _WEAK
        ),
    ]


def _target_places(
    target: CalibrationTarget,
    sightings: Sightings,
    names: list[str],
    cameras: list[CalibratedCamera],
    poses: list[dict[int, list[TargetPose]]],
    places: list[Place],
) -> dict[int, Place]:
    """Target to world for each frame: of all that single cameras propose, the one that all of them fit best."""
    by_frame: dict[int, list[Sighting]] = {}
    for one in sightings.found:
        by_frame.setdefault(one.frame, []).append(one)
    chosen: dict[int, Place] = {}
    for frame, seen in sorted(by_frame.items()):
        proposals = [
            joined(inverse(places[row]), (pose.R, pose.t))
            for row in range(len(names))
            for pose in poses[row].get(frame, [])
        ]
        costs = [_misfit(target, seen, names, cameras, places, place) for place in proposals]
        if costs and np.isfinite(min(costs)):
            chosen[frame] = proposals[int(np.argmin(costs))]
    return chosen


def _misfit(
    target: CalibrationTarget,
    seen: list[Sighting],
    names: list[str],
    cameras: list[CalibratedCamera],
    places: list[Place],
    target_place: Place,
) -> float:
    """Sum over views of the median distance in pixels, none counting for more than 50 px."""
    total = 0.0
    for one in seen:
        row = names.index(one.view)
        R, t = joined(places[row], target_place)
        gap = np.linalg.norm(cameras[row].project(target.points_m[one.points] @ R.T + t) - one.pixels, axis=1)
        total += min(float(np.median(np.nan_to_num(gap, nan=np.inf))), 50.0)
    return total


def _numbers(camera: CalibratedCamera) -> FloatArray:
    """(9,) fx, fy, cx, cy, k1, k2, p1, p2, k3."""
    lens = np.zeros(5) if camera.distortion is None else camera.distortion
    return np.array([*camera.intrinsics, *lens])


def _camera(bundle: Bundle, row: int) -> CalibratedCamera:
    fx, fy, cx, cy, *lens = bundle.lenses[row]
    bent = np.array(lens)
    return CalibratedCamera(
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        bundle.camera_turns[row],
        bundle.camera_shifts[row],
        bent if bent.any() else None,
    )
