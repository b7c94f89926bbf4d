"""Calibration of a rig from sightings of targets: intrinsics and poses, refined together by bundle adjustment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sonjit.arrays import FloatArray, IndexArray
from sonjit.errors import InputError, JobError
from sonjit.geometry.cameras import FISHEYE, CalibratedCamera
from sonjit.multiview.calibration.bundle_adjustment import (
    OF_CAMERA,
    ROBUST_PX,
    Bundle,
    LensPrior,
    Observations,
    adjust,
    projected,
    usual_lenses,
)
from sonjit.multiview.calibration.initial_estimate import (
    COEFFICIENTS,
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
    sighting_poses,
    tree_places,
)
from sonjit.multiview.calibration.motion import are_paths, followed
from sonjit.multiview.calibration.standard_errors import design_effect, uncertainty
from sonjit.multiview.cameras.rig import CameraRig, RigCamera

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sonjit.multiview.calibration.sightings import Placed, Sighting, Sightings

_DEVIATION = 1.4826
"""Standard deviation of normal errors for a median magnitude of 1."""
_BAD_PX = 0.5
_BAD_TIMES = 2.0
_CLUSTERED, _LATE_TIMES = 2.0, 2.0
"""Design effect above which each camera's images are also fitted alone; and how many times smaller their errors must be
for the images of a frame set to count as taken at several times."""
_WEAK = 0.02
"""Standard error of a focal length, as a share of it, above which it is told."""


class _Fit(Protocol):
    def __call__(self, start: Bundle, /, *, prior: LensPrior, robust_px: float) -> Bundle: ...


@dataclass(frozen=True, eq=False)
class RigCalibration:
    """A calibrated rig and the evidence for it.

    Attributes:
        rig: in the first camera's frame, metres.
        target_places: target to world, by frame and target.
        sightings: those that were used.
        errors_px: (n, 2) of each sighting, where the rig sees its points less where they were seen.
        tree: the pairs of cameras that the initial estimate went along.
        problems: images that could not be read, and doubts about the rig; one line each.
        lens_covariances: (n, n) of fx, fy, cx, cy and the coefficients of each camera whose lens was estimated.
        distance_deviations_m: (C, C) standard errors of the distances between cameras, the board's size being exact.
        turn_deviations_rad: (C, C) standard errors of the turns from one camera to another.
        times: where images of a frame set are not of one time, (n,) of each camera's images when they were taken, in
            frame sets from the mean of all cameras; else empty.
    """

    rig: CameraRig
    target_places: Mapping[Placed, Place]
    sightings: tuple[Sighting, ...]
    errors_px: tuple[FloatArray, ...]
    tree: tuple[Pair, ...] = ()
    problems: tuple[str, ...] = ()
    lens_covariances: Mapping[str, FloatArray] = field(default_factory=dict[str, "FloatArray"])
    distance_deviations_m: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    turn_deviations_rad: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    times: Mapping[str, FloatArray] = field(default_factory=dict[str, "FloatArray"])

    @property
    def rms_px(self) -> float:
        """Root mean square distance of all points, pixels: what OpenCV and InterHand2.6M report."""
        return rms_of(self.errors_px)

    @property
    def lens_deviations(self) -> dict[str, FloatArray]:
        """Standard errors (n,) of the numbers of each lens that was estimated; 0 for a number that was kept."""
        return {name: np.sqrt(np.diag(covariance)) for name, covariance in self.lens_covariances.items()}

    def rms_by_view(self) -> dict[str, float]:
        """Likewise for each camera."""
        return {name: rms_of([errors for _, errors in self.seen_by(name)]) for name in self.rig.names}

    def moved(self, R: FloatArray, t_m: FloatArray, scale: float = 1.0) -> RigCalibration:
        """The same in another world, x_new = scale R x_old + t_m; targets keep their own axes but not their size."""
        places = {key: (R @ turn, scale * R @ shift + t_m) for key, (turn, shift) in self.target_places.items()}
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
    sightings: Sightings,
    *,
    lens: LensModel = "usual",
    lenses: Mapping[str, CalibratedCamera] | None = None,
    lens_covariances: Mapping[str, FloatArray] | None = None,
    image_times: bool = False,
) -> RigCalibration:
    """A rig from sightings of targets that several cameras saw in the same frame sets.

    Args:
        sightings: by all cameras; a frame's number means the same frame set in each. Every target has a pose of its
            own in each; the sizes of all give the world its metres.
        lens: which distortion coefficients to estimate.
        lenses: K and distortion by camera where they are known; they are kept then.
        lens_covariances: of those that were estimated from other recordings, as `RigCalibration.lens_covariances`; the
            others are taken as exact.
        image_times: give each image a time of its own on the targets' path, which needs frame sets that follow each
            other; else the images of a frame set are taken to be of one time, and problems say where they are not.

    Raises:
        InputError: a camera saw targets in too few images, or never together with the others; or `image_times` has
            nothing to find: images that are of one time, or targets that were not carried along a path.
        JobError: the sightings fit no rig.
    """
    names = list(sightings.sizes)
    known = lenses or {}
    cameras = [
        known[name] if name in known else camera_from_sightings(sightings.of(name), sightings.sizes[name], lens)
        for name in names
    ]
    poses: list[dict[Placed, list[TargetPose]]] = [
        {
            one.placed: found
            for one in sorted(sightings.of(name), key=lambda one: one.frame)
            if (found := sighting_poses(one, camera))
        }
        for name, camera in zip(names, cameras, strict=True)
    ]
    places, tree = tree_places(pairs_of(poses), names)
    placed = _target_places(sightings, names, cameras, poses, places)
    used = tuple(one for one in sightings.found if one.placed in placed)
    terms = np.zeros((len(names), OF_CAMERA), np.bool_)
    terms[:, [0, 1, 2, 3, *(4 + term for term in LENS_TERMS[lens])]] = True
    terms[[name in known for name in names]] = False
    rows = {key: row for row, key in enumerate(placed)}
    observed = Observations(
        np.concatenate([np.full(len(one.points), names.index(one.view)) for one in used]),
        np.concatenate([np.full(len(one.points), rows[one.placed]) for one in used]),
        np.concatenate([one.points_m for one in used]),
        np.concatenate([one.pixels for one in used]),
    )
    fisheye = np.array([camera.is_fisheye for camera in cameras])
    start = Bundle(
        np.stack([_numbers(camera) for camera in cameras]),
        *(np.stack([place[part] for place in places]) for part in (0, 1)),
        *(np.stack([place[part] for place in placed.values()]) for part in (0, 1)),
        fisheye=fisheye,
    )
    sizes = [sightings.sizes[name] for name in names]
    image = observed.camera * len(rows) + observed.frame
    at_once = partial(adjust, observed=observed, free_lens=terms)
    best, errors, prior, robust_px = _weighed(start, observed, image, sizes, at_once)
    joint_px = rms_of([errors])
    own: dict[str, RigCalibration] = {}
    gaps: list[FloatArray] = []
    if len(names) > 1 and design_effect(errors, image) > _CLUSTERED:
        own = {name: _alone(sightings, name, lens) for name in names if name not in known}
        gaps = [gap for one in own.values() for gap in one.errors_px]
        for name, camera, found in zip(names, cameras, poses, strict=True):
            if name in known:  # each image's own pose is known: nothing is left to fit
                gaps += [
                    _gap(one, camera, found[one.placed][0]) for one in used if one.view == name and one.placed in found
                ]
    alone_px = rms_of(gaps)
    is_late = joint_px > _LATE_TIMES * alone_px
    if image_times:
        if not is_late:
            raise InputError(
                f"the images of a frame set are of one time, as far as they show: all fit together to {joint_px:.2f} "
                "px: leave out --image-times"
            )
        if not are_paths(best, list(placed)):
            raise InputError(
                "images have no times of their own (--image-times) where the board was not carried along a path: give "
                "all frame sets (--every 1), or hold the board still for each and leave out --image-times"
            )
        along_paths = partial(followed, observed=observed, placed=list(placed), free_lens=terms)
        best, errors, prior, robust_px = _weighed(best, observed, image, sizes, along_paths)
    elif is_late and terms.any():
        lenses_alone = [
            row if name in known else _numbers(own[name].rig[name].camera)
            for name, row in zip(names, best.lenses, strict=True)
        ]
        terms[:] = False
        best = adjust(replace(best, lenses=np.stack(lenses_alone)), observed, free_lens=terms, robust_px=robust_px)
        errors = projected(best, observed) - observed.pixels
    estimated = dict(lens_covariances or {})
    if is_late and not image_times:
        estimated |= {name: one.lens_covariances[name] for name, one in own.items() if name not in known}
    elsewhere = np.zeros((len(names), OF_CAMERA, OF_CAMERA))
    for name, covariance in estimated.items():
        elsewhere[names.index(name), : len(covariance), : len(covariance)] = covariance
    spread = uncertainty(best, observed, terms, prior, robust_px, elsewhere)
    count = 4 + COEFFICIENTS[lens]
    here = {name: spread.lenses[row, :count, :count] for row, name in enumerate(names) if name not in known}
    if not np.isfinite(errors).all():
        raise JobError("calibration failed: the cameras do not fit together; check for a wrong or swapped camera")
    ends = np.cumsum([len(one.points) for one in used])[:-1]
    made = RigCalibration(
        CameraRig(RigCamera(name, *sightings.sizes[name], _camera(best, row)) for row, name in enumerate(names)),
        {key: (best.target_turns[row], best.target_shifts[row]) for key, row in rows.items()},
        used,
        tuple(np.split(errors, ends)),
        tuple(tree),
        lens_covariances=here | estimated,
        distance_deviations_m=spread.distances_m,
        turn_deviations_rad=spread.turns_rad,
        times=_times(best, names, image) if image_times else {},
    )
    alone = "" if known.keys() >= set(names) else "; lenses were estimated from each camera's images alone"
    late = (
        f"each camera alone fits its images to {alone_px:.2f} px, all together to {joint_px:.2f} px: the images of a "
        f"frame set are not of one time{alone}. Synchronise the cameras, hold the board still, or give each image a "
        "time of its own: --image-times"
    )
    told = _lateness(made, joint_px) if image_times else [late] * is_late
    return replace(made, problems=(*sightings.problems, *told, *_doubts(made)))


def _weighed(
    best: Bundle,
    observed: Observations,
    image: IndexArray,
    sizes: Sequence[tuple[int, int]],
    fitted: _Fit,
) -> tuple[Bundle, FloatArray, LensPrior, float]:
    """The fit whose prior is weighed against its own noise; with its errors, that prior, and where errors are large."""
    errors = np.zeros_like(observed.pixels)
    prior, robust_px = usual_lenses(sizes, ROBUST_PX / 2, best.fisheye), ROBUST_PX
    for _ in range(2):  # the noise is known after the first
        best = fitted(best, prior=prior, robust_px=robust_px)
        errors = projected(best, observed) - observed.pixels
        noise_px = _DEVIATION * float(np.median(np.abs(errors)))
        robust_px = max(ROBUST_PX, 2 * noise_px)
        prior = usual_lenses(sizes, noise_px * design_effect(errors, image) ** 0.5, best.fisheye)
    return best, errors, prior, robust_px


def _times(best: Bundle, names: Sequence[str], image: IndexArray) -> dict[str, FloatArray]:
    """Of each camera the times of the images that there are; their mean over cameras is a frame set's."""
    assert best.times is not None
    taken = np.zeros((len(names), len(best.times)), np.bool_)
    taken.ravel()[image] = True
    times = np.where(taken.T, best.times, np.nan)
    times -= np.nanmean(times, axis=1, keepdims=True)
    return {name: times[taken[row], row] for row, name in enumerate(names)}


def _lateness(made: RigCalibration, joint_px: float) -> list[str]:
    """What is said of a rig whose images have times of their own."""
    means = {name: float(times.mean()) for name, times in made.times.items()}
    worst = max(means, key=lambda name: abs(means[name]))
    age = "older" if means[worst] < 0 else "newer"
    return [
        f"the images of a frame set are not of one time: taken to be, they fit to {joint_px:.2f} px, and with a time "
        f"for each, as here, to {made.rms_px:.2f} px; those of {worst} are {age} than the others' by "
        f"{abs(means[worst]):.2f} of the step from one frame set to the next: synchronise the cameras, or hold the "
        "board still"
    ]


def calibrate_lens(sightings: Sightings, *, lens: LensModel = "usual") -> RigCalibration:
    """One camera's lens from a recording of its own: from its images that differ most.

    Args:
        sightings: of one camera.
        lens: which distortion coefficients to estimate.

    Raises:
        InputError: too few images, or none that fixes the focal length.
    """
    (size,) = sightings.sizes.values()
    return calibrate(replace(sightings, found=tuple(most_different(sightings.found, size))), lens=lens)


def _alone(sightings: Sightings, name: str, lens: LensModel) -> RigCalibration:
    """A camera's fit to its own images of a rig's recording, which nothing that is late in others disturbs."""
    alone = replace(sightings, found=tuple(sightings.of(name)), sizes={name: sightings.sizes[name]}, problems=())
    return calibrate_lens(alone, lens=lens)


def _gap(one: Sighting, camera: CalibratedCamera, pose: TargetPose) -> FloatArray:
    """(n, 2) where a camera at a pose of the target sees its points less where they were seen."""
    return camera.project(one.points_m @ pose.R.T + pose.t) - one.pixels


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
    sightings: Sightings,
    names: list[str],
    cameras: list[CalibratedCamera],
    poses: list[dict[Placed, list[TargetPose]]],
    places: list[Place],
) -> dict[Placed, Place]:
    """Target to world, by frames: of all that single cameras propose, the one that all of them fit best."""
    by_pose: dict[Placed, list[Sighting]] = {}
    for one in sorted(sightings.found, key=lambda one: one.frame):
        by_pose.setdefault(one.placed, []).append(one)
    chosen: dict[Placed, Place] = {}
    for key, seen in by_pose.items():
        proposals = [
            joined(inverse(places[row]), (pose.R, pose.t))
            for row in range(len(names))
            for pose in poses[row].get(key, [])
        ]
        costs = [_misfit(seen, names, cameras, places, place) for place in proposals]
        if costs and np.isfinite(min(costs)):
            chosen[key] = proposals[int(np.argmin(costs))]
    return chosen


def _misfit(
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
        gap = np.linalg.norm(cameras[row].project(one.points_m @ R.T + t) - one.pixels, axis=1)
        total += min(float(np.median(np.nan_to_num(gap, nan=np.inf))), 50.0)
    return total


def _numbers(camera: CalibratedCamera) -> FloatArray:
    """(12,) as in `Bundle.lenses`."""
    lens = np.zeros(0) if camera.distortion is None else camera.distortion
    return np.array([*camera.intrinsics, *lens, *[0.0] * (OF_CAMERA - 4 - len(lens))])


def _camera(bundle: Bundle, row: int) -> CalibratedCamera:
    fx, fy, cx, cy, *lens = bundle.lenses[row]
    count = FISHEYE if bundle.fisheye[row] else 8 if any(lens[5:]) else 5
    bent = np.array(lens[:count])
    return CalibratedCamera(
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        bundle.camera_turns[row],
        bundle.camera_shifts[row],
        bent if bent.any() or bundle.fisheye[row] else None,
    )
