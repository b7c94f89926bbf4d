"""Estimate lenses, cameras and target poses before bundle adjustment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from sonjit._util import BoolArray, FloatArray, IndexArray, InputError, pluralize
from sonjit._util.lazy_names import LazyModule
from sonjit.geometry.cameras import FISHEYE, CalibratedCamera, assumed_camera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit_studio import bundles
from sonjit_studio.boards import BoardObservation, BoardObservations, PoseKey

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

_OUTLIER_RATIO, _OUTLIER_PX = 4.0, 1.0  # a point is an outlier if its error exceeds both, the former in median errors
_MIN_POINTS = 6  # least number of points without outliers
Transform = tuple["FloatArray", "FloatArray"]  # rotation (3, 3) and translation (3,) in metres between frames
_SAME_ROTATION_RAD = np.radians(4)  # largest difference of agreeing relative poses
_SAME_TRANSLATION = 0.06  # the same of translations, as a fraction of their length
_MAX_FRAMES = 60  # number of frame sets that determine a relative pose
_RIVAL_ROTATION_RAD = np.radians(8)  # least rotation between a relative pose and its rival
_AMBIGUOUS_RATIO = 0.8  # ratio of frame sets that support the rival from which a pair is ambiguous
_MIN_AGREEMENT = 0.4  # least fraction of frame sets that must agree on a relative pose
LensModel = Literal["none", "radial", "usual", "full", "rational", "fisheye"]
"""Which coefficients are estimated: none; k1, k2; k1, k2, p1, p2; these and k3; the rational model's eight; k1 to k4 of
the fisheye model."""
LENS_TERMS: Final[dict[str, tuple[int, ...]]] = {
    "none": (),
    "radial": (0, 1),
    "usual": (0, 1, 2, 3),
    "full": (0, 1, 2, 3, 4),
    "rational": (0, 1, 2, 3, 4, 5, 6, 7),
    "fisheye": (0, 1, 2, 3),
}
COEFFICIENTS: Final[dict[str, int]] = {"none": 5, "radial": 5, "usual": 5, "full": 5, "rational": 8, "fisheye": FISHEYE}
"""Number of coefficients of each lens model."""
_MIN_IMAGES = 4  # least number of images for a lens
_MAX_IMAGES = 40  # number of images that estimate a lens
_MAX_FOCAL_ERROR = 0.1  # largest accepted relative standard error of a focal length
_MIN_TILT = 0.01  # least variation of tilt that fixes a focal length, see `_tilt_variation`
_FISHEYE_IMAGES, _FISHEYE_MAX_ERROR = 12, 0.02  # images for the focal length, largest error in image sizes


@dataclass(frozen=True, eq=False)
class TargetPose:
    """A target's pose relative to one camera."""

    R: FloatArray  # (3, 3) rotation from target to camera
    t: FloatArray  # (3,) translation in metres
    rms_px: float  # error of the points without outliers, pixels


def poses_from_points(
    points_m: FloatArray, pixels: FloatArray, camera: CalibratedCamera, *, flat: bool
) -> list[TargetPose]:
    """Return the poses in front of the camera that explain pixels (N, 2) of points (N, 3) in metres, the best first.

    `flat`: all points lie in one plane, z = 0 in the target's frame, which has up to two solutions.
    """
    poses = _solve_poses(points_m, pixels, camera, flat=flat)
    if not poses:
        return []
    error = np.linalg.norm(camera.project(points_m @ poses[0].R.T + poses[0].t) - pixels, axis=1)
    is_inlier = error <= max(_OUTLIER_RATIO * float(np.nanmedian(error)), _OUTLIER_PX)
    if is_inlier.all() or is_inlier.sum() < _MIN_POINTS:
        return poses
    # a few wrong corners change the rotation of a board a lot
    return _solve_poses(points_m[is_inlier], pixels[is_inlier], camera, flat=flat)


def observation_poses(observation: BoardObservation, camera: CalibratedCamera) -> list[TargetPose]:
    """Return the poses of an observation's target, as `poses_from_points`."""
    return poses_from_points(observation.points_m, observation.pixels, camera, flat=observation.target.is_flat)


def _solve_poses(points_m: FloatArray, pixels: FloatArray, camera: CalibratedCamera, *, flat: bool) -> list[TargetPose]:
    """Return at most two poses that differ by more than 2 degrees, the best first."""
    method = cv2.SOLVEPNP_IPPE if flat else cv2.SOLVEPNP_SQPNP
    K = np.asarray(camera.K, np.float64)
    shown, lens = pixels, np.zeros(5) if camera.distortion is None else np.asarray(camera.distortion, np.float64)
    if camera.is_fisheye:  # OpenCV's solvers know other lenses only
        shown, lens = camera.undistorted_rays(pixels) @ camera.K[:2, :2].T + camera.K[:2, 2], np.zeros(5)
        if not np.isfinite(shown).all():
            return []
    try:
        _, rotations, translations, _ = cv2.solvePnPGeneric(points_m, shown, K, lens, flags=method)
    except cv2.error:
        return []  # points on one line fix nothing
    poses: list[TargetPose] = []
    for rotation, translation in zip(rotations, translations, strict=True):
        refined: Any = cv2.solvePnPRefineLM(points_m, shown, K, lens, rotation, translation)
        for vector, vector_t in (refined, (rotation, translation)):  # refinement may jump to the other pose: keep both
            rotation_vector, t = (np.ravel(np.asarray(value, np.float64)) for value in (vector, vector_t))
            R = matrix_from_rotation_vector(rotation_vector)
            errors = camera.project(points_m @ R.T + t) - pixels
            if np.isfinite(errors).all():
                poses.append(TargetPose(R, t, rms_of([errors])))
    distinct: list[TargetPose] = []
    for pose in sorted(poses, key=lambda pose: pose.rms_px):
        if all(angle_between(pose.R, other.R) > np.radians(2) for other in distinct):
            distinct.append(pose)
    return distinct[:2]


def rms_of(errors_px: Sequence[FloatArray]) -> float:
    """Return the root mean square distance in pixels of errors (N, 2), NaN without any."""
    return float(np.sqrt((np.concatenate(list(errors_px)) ** 2).sum(1).mean())) if errors_px else float("nan")


def angle_between(first: FloatArray, second: FloatArray) -> float:
    """Return the angle in radians between two rotations (3, 3)."""
    return float(np.arccos(np.clip((np.trace(first @ second.T) - 1) / 2, -1, 1)))


def compose_transforms(second: Transform, first: Transform) -> Transform:
    """Return the transform that applies `first`, then `second`."""
    return second[0] @ first[0], second[0] @ first[1] + second[1]


def invert_transform(transform: Transform) -> Transform:
    """Return the inverse of a transform."""
    return transform[0].T, -transform[0].T @ transform[1]


@dataclass(frozen=True, eq=False)
class CameraPair:
    """Two cameras that saw a target simultaneously."""

    first: int
    second: int
    transform: Transform
    frames: int  # frame sets that agree on it, counted once for each of their targets
    common: int
    rival: int

    @property
    def is_ambiguous(self) -> bool:
        """Whether another transform explains almost as many frame sets: the two solutions of a flat board."""
        return self.rival >= _AMBIGUOUS_RATIO * self.frames


def camera_pairs(poses: Sequence[Mapping[PoseKey, list[TargetPose]]]) -> list[CameraPair]:
    """Return every pair of cameras that saw a target simultaneously.

    Of up to four transforms per frame set (two solutions by two), only the true ones agree over frame sets.
    """
    pairs: list[CameraPair] = []
    for first, second in combinations(range(len(poses)), 2):
        if common := [key for key in poses[first] if key in poses[second]]:
            sample = common[:: -(-len(common) // _MAX_FRAMES)]
            pairs.append(_consensus(first, second, [(poses[first][key], poses[second][key]) for key in sample]))
    return pairs


def spanning_tree_poses(pairs: Sequence[CameraPair], names: Sequence[str]) -> tuple[list[Transform], list[CameraPair]]:
    """Return the transforms from the first camera's frame to each, along a tree of the best pairs, and the tree."""
    poses: dict[int, Transform] = {0: (np.eye(3), np.zeros(3))}
    tree: list[CameraPair] = []
    while len(poses) < len(names):
        edges = [pair for pair in pairs if (pair.first in poses) != (pair.second in poses)]
        if not edges:
            unreached = [name for index, name in enumerate(names) if index not in poses]
            raise InputError(
                f"camera{'s' * (len(unreached) > 1)} {', '.join(unreached)} saw the board in no frame set together "
                f"with {', '.join(names[index] for index in poses)}: carry it from one to the other, or check --sync"
            )
        best = max(edges, key=lambda pair: (not pair.is_ambiguous, pair.frames, pair.frames - pair.rival))
        if best.frames < _MIN_AGREEMENT * min(best.common, _MAX_FRAMES):
            raise InputError(
                f"cameras {names[best.first]} and {names[best.second]} agree on their relative pose in only "
                f"{best.frames} of {best.common} frame sets: their images are of other frame sets (--sync), a lens is "
                "wrong (--lenses), or the board is too small in the images to show its rotation: move it nearer"
            )
        tree.append(best)
        if best.first in poses:
            poses[best.second] = compose_transforms(best.transform, poses[best.first])
        else:
            poses[best.first] = compose_transforms(invert_transform(best.transform), poses[best.second])
    return [poses[index] for index in range(len(names))], tree


def _consensus(first: int, second: int, frame_poses: list[tuple[list[TargetPose], list[TargetPose]]]) -> CameraPair:
    """Return the transform that most frame sets agree on, averaged over them, and the support of its rival."""
    proposals = [
        (frame, compose_transforms((b.R, b.t), invert_transform((a.R, a.t))), a.rms_px + b.rms_px)
        for frame, (firsts, seconds) in enumerate(frame_poses)
        for a in firsts
        for b in seconds
    ]
    common = len(frame_poses)
    if not proposals:
        return CameraPair(first, second, (np.eye(3), np.zeros(3)), frames=0, common=common, rival=0)
    frames, rms = (np.array([proposal[part] for proposal in proposals]) for part in (0, 2))
    R, t = (np.stack([transform[part] for _, transform, _ in proposals]) for part in (0, 1))
    angles = np.arccos(np.clip((np.einsum("aij,bij->ab", R, R) - 1) / 2, -1, 1))
    distances = np.linalg.norm(t[:, None] - t, axis=2) / np.maximum(np.linalg.norm(t, axis=1), 0.05)[:, None]
    is_near = (angles < _SAME_ROTATION_RAD) & (distances < _SAME_TRANSLATION)
    support = np.array([len(np.unique(frames[row])) for row in is_near])
    mean_rms = (is_near * rms).sum(1) / is_near.sum(1)
    best = int(np.lexsort((mean_rms, -support))[0])
    agreed = is_near[best]
    left, _, right = np.linalg.svd(R[agreed].sum(0))
    mean = left @ right
    is_rival = np.array([angle_between(mean, rotation) > _RIVAL_ROTATION_RAD for rotation in R])
    rival = int(support[is_rival].max()) if is_rival.any() else 0
    transform = mean, np.median(t[agreed], axis=0)
    return CameraPair(first, second, transform, frames=int(support[best]), common=common, rival=rival)


def camera_from_observations(
    observations: Sequence[BoardObservation], size: tuple[int, int], lens: LensModel
) -> CalibratedCamera:
    """Estimate K and distortion of one camera."""
    chosen = most_varied(observations, size)
    name = observations[0].view if observations else "?"
    if len(chosen) < _MIN_IMAGES:
        raise InputError(
            f"camera {name!r}: {pluralize(len(chosen), 'image shows', 'images show')} the board, and its lens needs at "
            f"least {_MIN_IMAGES}: show it more, near and far, tilted, and in the corners, or give the lens with "
            "--lenses or --lens-recordings"
        )
    if lens == "fisheye":
        return _initial_fisheye(chosen, size)
    flags = cv2.CALIB_ZERO_TANGENT_DIST if not {2, 3} & set(LENS_TERMS[lens]) else 0
    # k4 to k6 of a rational lens are left to bundle adjustment, whose prior fixes what the images leave open
    for term, flag in ((0, cv2.CALIB_FIX_K1), (1, cv2.CALIB_FIX_K2), (4, cv2.CALIB_FIX_K3)):
        flags |= 0 if term in LENS_TERMS[lens] else flag
    assumed = assumed_camera(*size)
    start = np.array([[assumed.fx, 0, assumed.cx], [0, assumed.fy, assumed.cy], [0, 0, 1.0]])
    is_flat = all(observation.target.is_flat for observation in chosen)
    if not is_flat:  # OpenCV estimates a start itself from flat targets only
        flags |= cv2.CALIB_USE_INTRINSIC_GUESS
    tilted = not is_flat or _tilt_variation(chosen) > _MIN_TILT
    fixed_flags = cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_FIX_PRINCIPAL_POINT | cv2.CALIB_ZERO_TANGENT_DIST
    fixed_flags |= cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3
    # bundle adjustment frees the parameters that a weak start must fix
    for fixed in (0, fixed_flags) if tilted else ():
        if (camera := _fit_lens(chosen, size, start, flags | fixed)) is not None:
            return camera
    raise InputError(
        f"camera {name!r}: {len(chosen)} images do not fix its focal length: tilt the board by 30 degrees or "
        "more, in several directions, and move it nearer, or give the lens with --lenses or --lens-recordings"
    )


def _fit_lens(
    chosen: Sequence[BoardObservation], size: tuple[int, int], start: FloatArray, flags: int
) -> CalibratedCamera | None:
    """Fit K and distortion with OpenCV. Return None if the images do not fix the focal length."""
    try:
        _, matrix, coefficients, _, _, std, _, _ = cv2.calibrateCameraExtended(
            [observation.points_m.astype(np.float32) for observation in chosen],
            [observation.pixels.astype(np.float32) for observation in chosen],
            size,
            start.copy(),
            np.zeros(5),
            flags=flags,
        )
    except cv2.error:
        return None
    K = np.asarray(matrix, np.float64)
    focal, focal_std = np.array([K[0, 0], K[1, 1]]), np.ravel(np.asarray(std, np.float64))[:2]
    if not ((focal > 0).all() and (focal_std < _MAX_FOCAL_ERROR * focal).all()):
        return None
    terms = np.ravel(np.asarray(coefficients, np.float64))[:5]
    return CalibratedCamera(K, distortion=terms if terms.any() else None)


def _initial_fisheye(observations: Sequence[BoardObservation], size: tuple[int, int]) -> CalibratedCamera:
    """Estimate an equidistant fisheye lens by a search over focal lengths, then adjust it."""
    name = observations[0].view
    sample = observations[:: -(-len(observations) // _FISHEYE_IMAGES)]
    if all(observation.target.is_flat for observation in observations) and _tilt_variation(observations) < _MIN_TILT:
        raise InputError(f"camera {name!r}: the board is never tilted, so no focal length follows")

    def fitted(focal: float) -> tuple[float, CalibratedCamera, list[list[TargetPose]]]:
        K = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1.0]])
        camera = CalibratedCamera(K, distortion=np.zeros(FISHEYE), model="fisheye")
        poses_by_observation = [observation_poses(observation, camera) for observation in sample]
        return (
            float(np.mean([poses[0].rms_px if poses else size[0] for poses in poses_by_observation])),
            camera,
            poses_by_observation,
        )

    halves = np.radians(np.linspace(20, 110, 19))  # half angles of view of the longer side
    cost, camera, poses = min((fitted(max(size) / 2 / half) for half in halves), key=lambda observation: observation[0])
    if cost > _FISHEYE_MAX_ERROR * max(size):
        raise InputError(f"camera {name!r}: no fisheye lens explains its images; use another --lens")
    shown = [(observation, candidates[0]) for observation, candidates in zip(sample, poses, strict=True) if candidates]
    fisheye = np.array([True])
    start = bundles.Bundle(
        lens_values(camera)[None],
        np.eye(3)[None],
        np.zeros((1, 3)),
        np.stack([pose.R for _, pose in shown]),
        np.stack([pose.t for _, pose in shown]),
        fisheye,
    )
    observed = _stack_points([observation for observation, _ in shown], [0] * len(shown), range(len(shown)))
    free = np.arange(bundles.LENS_SIZE)[None] < 4 + FISHEYE
    prior = bundles.ordinary_lens_prior([size], bundles.ROBUST_PX / 2, fisheye)
    return camera_from_values(bundles.adjust(start, observed, free_lens=free, prior=prior).lenses[0], fisheye=True)


def _tilt_variation(observations: Sequence[BoardObservation]) -> float:
    """Return the RMS perspective of flat targets, relative to their size. Only it determines a focal length."""
    perspectives: list[FloatArray] = []
    for observation in observations:
        points = observation.points_m[:, :2]
        normalized = (points - points.mean(0)) / np.ptp(observation.target.points_m[:, :2], axis=0).max()
        homography = np.asarray(cv2.findHomography(normalized, observation.pixels)[0], np.float64)
        if homography.shape == (3, 3):  # none from points on one line
            perspectives.append(homography[2, :2] / homography[2, 2])
    return float(np.sqrt(np.var(perspectives, axis=0).sum())) if perspectives else 0.0


def most_varied(observations: Sequence[BoardObservation], size: tuple[int, int]) -> list[BoardObservation]:
    """Return at most 40 observations that differ most in position, size and tilt, by farthest-point sampling."""
    if len(observations) <= _MAX_IMAGES:
        return list(observations)
    appearances = np.stack([_appearance(observation, size) for observation in observations])
    chosen = [int(np.argmax([len(observation.points) for observation in observations]))]
    distances = np.full(len(appearances), np.inf)
    while len(chosen) < _MAX_IMAGES:
        distances = np.minimum(distances, np.linalg.norm(appearances - appearances[chosen[-1]], axis=1))
        chosen.append(int(distances.argmax()))
    return [observations[index] for index in chosen]


def _appearance(observation: BoardObservation, size: tuple[int, int]) -> FloatArray:
    """Return (5,) mean and second moments of an observation's pixels as fractions of the image."""
    shares = observation.pixels / max(size)
    (xx, xy), (_, yy) = np.cov(shares.T)
    return np.array([*shares.mean(0), xx**0.5, yy**0.5, xy / (xx * yy) ** 0.5 / 4])


@dataclass(frozen=True, eq=False)
class RigEstimate:
    """The first estimate of a rig, and the observations as arrays."""

    cameras: Mapping[str, CalibratedCamera]  # first estimates or known lenses
    own_poses: Mapping[str, Mapping[PoseKey, Sequence[TargetPose]]]
    tree: Sequence[CameraPair]
    target_poses: Mapping[PoseKey, Transform]
    used: tuple[BoardObservation, ...]
    observed: bundles.Observations
    bundle: bundles.Bundle
    free_lens: BoolArray  # (C, 12) which parameters are estimated
    sizes: Sequence[tuple[int, int]]

    @property
    def image(self) -> IndexArray:
        """Index of the image of each point: camera, then target pose."""
        return self.observed.camera * len(self.target_poses) + self.observed.frame

    def errors_of_own_poses(self, name: str) -> list[FloatArray]:
        """Return the errors of each observation of a camera in pixels if every image has its own pose."""
        return [
            self.cameras[name].project(observation.points_m @ pose.R.T + pose.t) - observation.pixels
            for observation in self.used
            if observation.view == name
            for pose in self.own_poses[name].get(observation.pose_key, [])[:1]
        ]


def estimate_rig(
    observations: BoardObservations, lens: LensModel, fixed_lenses: Mapping[str, CalibratedCamera]
) -> RigEstimate:
    """Estimate cameras and target poses from the observations of single cameras."""
    names = list(observations.sizes)
    cameras = [
        fixed_lenses.get(name) or camera_from_observations(observations.of(name), size, lens)
        for name, size in observations.sizes.items()
    ]
    poses = [
        {
            observation.pose_key: poses_of_board
            for observation in sorted(observations.of(name), key=lambda observation: observation.frame)
            if (poses_of_board := observation_poses(observation, camera))
        }
        for name, camera in zip(names, cameras, strict=True)
    ]
    camera_poses, tree = spanning_tree_poses(camera_pairs(poses), names)
    target_poses = _target_poses_in_world(observations, names, cameras, poses, camera_poses)
    used = tuple(observation for observation in observations.found if observation.pose_key in target_poses)
    rows = {key: row for row, key in enumerate(target_poses)}
    camera_of, pose_of = (
        [names.index(observation.view) for observation in used],
        [rows[observation.pose_key] for observation in used],
    )
    observed = _stack_points(used, camera_of, pose_of)
    free_lens = np.zeros((len(names), bundles.LENS_SIZE), np.bool_)
    free_lens[:, [0, 1, 2, 3, *(4 + term for term in LENS_TERMS[lens])]] = True
    free_lens[[name in fixed_lenses for name in names]] = False
    bundle = bundles.Bundle(
        np.stack([lens_values(camera) for camera in cameras]),
        *(np.stack([pose[part] for pose in camera_poses]) for part in (0, 1)),
        *(np.stack([pose[part] for pose in target_poses.values()]) for part in (0, 1)),
        fisheye=np.array([camera.is_fisheye for camera in cameras]),
    )
    lenses, own_poses = dict(zip(names, cameras, strict=True)), dict(zip(names, poses, strict=True))
    sizes = list(observations.sizes.values())
    return RigEstimate(lenses, own_poses, tree, target_poses, used, observed, bundle, free_lens, sizes)


def _stack_points(
    used: Sequence[BoardObservation], cameras: Sequence[int], poses: Sequence[int]
) -> bundles.Observations:
    """Return the points of all observations, given the index of each one's camera and target pose."""
    counts = [len(observation.points) for observation in used]
    return bundles.Observations(
        np.repeat(cameras, counts),
        np.repeat(poses, counts),
        np.concatenate([observation.points_m for observation in used]),
        np.concatenate([observation.pixels for observation in used]),
    )


def _target_poses_in_world(
    observations: BoardObservations,
    names: list[str],
    cameras: list[CalibratedCamera],
    poses: list[dict[PoseKey, list[TargetPose]]],
    camera_poses: list[Transform],
) -> dict[PoseKey, Transform]:
    """Return the proposed pose of each target with the least sum of views' median distances, of at most 50 px each."""
    by_pose: dict[PoseKey, list[BoardObservation]] = {}
    for observation in sorted(observations.found, key=lambda observation: observation.frame):
        by_pose.setdefault(observation.pose_key, []).append(observation)
    best: dict[PoseKey, Transform] = {}
    for key, group in by_pose.items():
        least = np.inf
        for row in range(len(names)):
            for pose in poses[row].get(key, []):
                proposal = compose_transforms(invert_transform(camera_poses[row]), (pose.R, pose.t))
                cost = 0.0
                for observation in group:
                    view = names.index(observation.view)
                    R, t = compose_transforms(camera_poses[view], proposal)
                    errors = cameras[view].project(observation.points_m @ R.T + t) - observation.pixels
                    distances = np.nan_to_num(np.linalg.norm(errors, axis=1), nan=np.inf)
                    cost += min(float(np.median(distances)), 50.0)
                if cost < least:
                    best[key], least = proposal, cost
    return best


def lens_values(camera: CalibratedCamera) -> FloatArray:
    """Return the (12,) values of `Bundle.lenses`.

    Raises:
        InputError: The lens has thin prisms or a tilted sensor.
    """
    lens = np.zeros(0) if camera.distortion is None else camera.distortion
    if len(lens) > bundles.LENS_SIZE - 4:
        raise InputError(
            "a lens with thin prisms (s1 to s4) or a tilted sensor cannot be adjusted: estimate it with --lens rational"
        )
    return np.array([*camera.intrinsics, *lens, *[0.0] * (bundles.LENS_SIZE - 4 - len(lens))])


def camera_from_values(
    values: FloatArray, R: FloatArray | None = None, t_m: FloatArray | None = None, *, fisheye: bool
) -> CalibratedCamera:
    """Return the camera of values (12,) of `Bundle.lenses`, with a rotation (3, 3) and a translation (3,) in metres."""
    fx, fy, cx, cy, *lens = values
    bent = np.array(lens[: FISHEYE if fisheye else 8 if any(lens[5:]) else 5], np.float64)
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return CalibratedCamera(K, R, t_m, bent if bent.any() or fisheye else None, "fisheye" if fisheye else "pinhole")
