"""The initial estimate for bundle adjustment: poses of the target, each camera's intrinsics, and poses of the cameras.

A flat board explains one image almost equally well in two poses (Collins and Bartoli, "Infinitesimal plane-based pose
estimation", 2014; OpenCV's IPPE gives both). Relative poses of cameras follow from pairs that saw the target at once,
along the best tree of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np

from sonjit.arrays import FloatArray
from sonjit.errors import InputError
from sonjit.geometry.cameras import FISHEYE, CalibratedCamera, assumed_camera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.multiview.calibration.bundle_adjustment import (
    OF_CAMERA,
    ROBUST_PX,
    Bundle,
    Observations,
    adjust,
    usual_lenses,
)
from sonjit.multiview.calibration.sightings import Placed, Sighting
from sonjit.runs.processor import counted

_WRONG_TIMES, _WRONG_PX = 4.0, 1.0
"""A point further off than both, in median distances and in pixels, is left out."""

_FEWEST = 6


@dataclass(frozen=True, eq=False)
class TargetPose:
    """A target's pose before one camera.

    Attributes:
        R: (3, 3) target to camera.
        t: (3,) metres.
        rms_px: of its points, without outliers.
    """

    R: FloatArray
    t: FloatArray
    rms_px: float


def target_poses(points_m: FloatArray, pixels: FloatArray, camera: CalibratedCamera, *, flat: bool) -> list[TargetPose]:
    """The poses that explain an image, the best first: two for a flat target, one otherwise; none behind the camera.

    Args:
        points_m: (n, 3) in the target's axes; flat ones in z = 0.
        pixels: (n, 2).
        camera: K and distortion.
        flat: all points lie in one plane.
    """
    poses = _solved(points_m, pixels, camera, flat)
    if not poses:
        return []
    gap = np.linalg.norm(camera.project(points_m @ poses[0].R.T + poses[0].t) - pixels, axis=1)
    near = gap <= max(_WRONG_TIMES * float(np.median(gap)), _WRONG_PX)
    if near.all() or near.sum() < _FEWEST:
        return poses
    return _solved(points_m[near], pixels[near], camera, flat)  # a few wrong corners turn a board a lot


def sighting_poses(one: Sighting, camera: CalibratedCamera) -> list[TargetPose]:
    """As `target_poses`, of a sighting."""
    return target_poses(one.points_m, one.pixels, camera, flat=one.target.is_flat)


def _solved(points_m: FloatArray, pixels: FloatArray, camera: CalibratedCamera, flat: bool) -> list[TargetPose]:
    import cv2

    method = cv2.SOLVEPNP_IPPE if flat else cv2.SOLVEPNP_SQPNP
    shown, lens = pixels, _lens(camera)
    if camera.is_fisheye:  # OpenCV's solvers know other lenses only
        shown, lens = camera.undistorted_rays(pixels) @ camera.K[:2, :2].T + camera.K[:2, 2], np.zeros(5)
        if not np.isfinite(shown).all():
            return []
    try:
        _, turns, shifts, _ = cv2.solvePnPGeneric(points_m, shown, np.asarray(camera.K, np.float64), lens, flags=method)
    except cv2.error:
        return []  # points on one line fix nothing
    found: list[TargetPose] = []
    for turn, shift in zip(turns, shifts, strict=True):
        refined: Any = cv2.solvePnPRefineLM(points_m, shown, np.asarray(camera.K, np.float64), lens, turn, shift)
        for vector, place in (refined, (turn, shift)):  # refining may jump to the other pose: keep both
            turned, t = (np.ravel(np.asarray(value, np.float64)) for value in (vector, place))
            R = matrix_from_rotation_vector(turned)
            seen = points_m @ R.T + t
            if (seen[:, 2] > 0).all():
                gap = camera.project(seen) - pixels
                found.append(TargetPose(R, t, float(np.sqrt((gap**2).sum(1).mean()))))
    return _distinct(sorted(found, key=lambda pose: pose.rms_px))


def _distinct(poses: list[TargetPose]) -> list[TargetPose]:
    """At most two of them that differ by more than 2 degrees, the best first."""
    kept: list[TargetPose] = []
    for pose in poses:
        if all(angle_between(pose.R, other.R) > np.radians(2) for other in kept):
            kept.append(pose)
    return kept[:2]


def angle_between(one: FloatArray, other: FloatArray) -> float:
    """Radians of the turn that takes one rotation (3, 3) to another."""
    return float(np.arccos(np.clip((np.trace(one @ other.T) - 1) / 2, -1, 1)))


def _lens(camera: CalibratedCamera) -> FloatArray:
    return np.zeros(5) if camera.distortion is None else np.asarray(camera.distortion, np.float64)


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
"""How many a lens of each model has."""

_FEWEST_IMAGES = 4
_MOST_IMAGES = 40
_UNSURE = 0.1
_TILTED = 0.01
_FISHEYE_IMAGES, _FISHEYE_WRONG = 12, 0.02
"""Images by which the focal length is chosen, and error above which none fits, as a share of the image."""


def camera_from_sightings(
    sightings: Sequence[Sighting], size: tuple[int, int], lens: LensModel = "usual"
) -> CalibratedCamera:
    """K and distortion of one camera.

    Args:
        sightings: of this camera alone.
        size: width and height, pixels.
        lens: which coefficients to estimate.

    Raises:
        InputError: too few images, or none that fixes the focal length, such as a board always held parallel.
    """
    import cv2

    chosen = most_different(sightings, size)
    name = sightings[0].view if sightings else "?"
    if len(chosen) < _FEWEST_IMAGES:
        raise InputError(
            f"camera {name!r}: {counted(len(chosen), 'image shows', 'images show')} the board, and its lens needs at "
            f"least {_FEWEST_IMAGES}: show it more, near and far, tilted, and in the corners, or give the lens with "
            "--lenses or --lens-recordings"
        )
    if lens == "fisheye":
        return _fisheye_start(chosen, size)
    flags = cv2.CALIB_ZERO_TANGENT_DIST if not {2, 3} & set(LENS_TERMS[lens]) else 0
    # k4 to k6 of a rational lens are left to bundle adjustment, whose prior holds what the images do not show
    for term, flag in ((0, cv2.CALIB_FIX_K1), (1, cv2.CALIB_FIX_K2), (4, cv2.CALIB_FIX_K3)):
        flags |= 0 if term in LENS_TERMS[lens] else flag
    assumed = assumed_camera(*size)
    start = np.array([[assumed.fx, 0, assumed.cx], [0, assumed.fy, assumed.cy], [0, 0, 1.0]])
    is_flat = all(one.target.is_flat for one in chosen)
    if not is_flat:  # OpenCV estimates a start itself from flat targets only
        flags |= cv2.CALIB_USE_INTRINSIC_GUESS
    tilted = not is_flat or _tilts(chosen) > _TILTED
    plain = cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_FIX_PRINCIPAL_POINT | cv2.CALIB_ZERO_TANGENT_DIST
    plain |= cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3
    for held in (0, plain) if tilted else ():  # bundle adjustment frees again what a weak start must hold
        try:
            _, found, bent, _, _, spread, _, _ = cv2.calibrateCameraExtended(
                [one.points_m.astype(np.float32) for one in chosen],
                [one.pixels.astype(np.float32) for one in chosen],
                size,
                start.copy(),
                np.zeros(5),
                flags=flags | held,
            )
        except cv2.error:
            continue
        K = np.asarray(found, np.float64)
        focal, unsure = np.array([K[0, 0], K[1, 1]]), np.ravel(np.asarray(spread, np.float64))[:2]
        if (focal > 0).all() and (unsure < _UNSURE * focal).all():
            terms = np.ravel(np.asarray(bent, np.float64))[:5]
            return CalibratedCamera(K, distortion=terms if terms.any() else None)
    raise InputError(
        f"camera {name!r}: {len(chosen)} images do not fix its focal length: tilt the board by 30 degrees or "
        "more, this way and that, and hold it nearer, or give the lens with --lenses or --lens-recordings"
    )


def _fisheye_start(sightings: Sequence[Sighting], size: tuple[int, int]) -> CalibratedCamera:
    """A fisheye lens: of those whose angles grow evenly with the distance from the middle the best, adjusted.

    Raises:
        InputError: none fits, or no image tells one from another.
    """
    name = sightings[0].view
    some = sightings[:: -(-len(sightings) // _FISHEYE_IMAGES)]
    if all(one.target.is_flat for one in sightings) and _tilts(sightings) < _TILTED:
        raise InputError(f"camera {name!r}: the board is never tilted, which fixes no focal length")

    def fitted(focal: float) -> tuple[float, CalibratedCamera, list[list[TargetPose]]]:
        K = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1.0]])
        camera = CalibratedCamera(K, distortion=np.zeros(FISHEYE))
        found = [sighting_poses(one, camera) for one in some]
        return float(np.mean([poses[0].rms_px if poses else size[0] for poses in found])), camera, found

    halves = np.radians(np.linspace(20, 110, 19))  # of the angle that the longer side shows
    cost, camera, poses = min((fitted(max(size) / 2 / half) for half in halves), key=lambda one: one[0])
    if cost > _FISHEYE_WRONG * max(size):
        raise InputError(f"camera {name!r}: no fisheye lens explains its images; leave --lens fisheye out")
    shown = [(one, own[0]) for one, own in zip(some, poses, strict=True) if own]
    lens = np.array([[*camera.intrinsics, *[0.0] * (OF_CAMERA - 4)]])
    fisheye = np.array([True])
    start = Bundle(
        lens,
        np.eye(3)[None],
        np.zeros((1, 3)),
        np.stack([pose.R for _, pose in shown]),
        np.stack([pose.t for _, pose in shown]),
        fisheye,
    )
    image = np.concatenate([np.full(len(one.points), row) for row, (one, _) in enumerate(shown)])
    observed = Observations(
        np.zeros_like(image),
        image,
        np.concatenate([one.points_m for one, _ in shown]),
        np.concatenate([one.pixels for one, _ in shown]),
    )
    free = np.arange(OF_CAMERA)[None] < 4 + FISHEYE
    fx, fy, cx, cy, *terms = adjust(
        start, observed, free_lens=free, prior=usual_lenses([size], ROBUST_PX / 2, fisheye), robust_px=ROBUST_PX
    ).lenses[0]
    return CalibratedCamera(
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), distortion=np.array(terms[:FISHEYE], np.float64)
    )


def _tilts(sightings: Sequence[Sighting]) -> float:
    """How much the images differ in how a flat target's far side shrinks: nothing else fixes a focal length.

    Returns:
        Root mean square over images, in parts of the target's size there; 0 for targets that are held parallel.
    """
    import cv2

    shrinks: list[FloatArray] = []
    for one in sightings:
        points = one.points_m[:, :2]
        around = (points - points.mean(0)) / np.ptp(one.target.points_m[:, :2], axis=0).max()
        plane = np.asarray(cv2.findHomography(around, one.pixels)[0], np.float64)
        if plane.shape == (3, 3):  # none from points on one line
            shrinks.append(plane[2, :2] / plane[2, 2])
    return float(np.sqrt(np.var(shrinks, axis=0).sum())) if shrinks else 0.0


def most_different(sightings: Sequence[Sighting], size: tuple[int, int]) -> list[Sighting]:
    """At most 40 of them that differ most in where, how large and how tilted the target is, each the farthest next."""
    if len(sightings) <= _MOST_IMAGES:
        return list(sightings)
    kinds = np.stack([_kind(one, size) for one in sightings])
    chosen = [int(np.argmax([len(one.points) for one in sightings]))]
    apart = np.full(len(kinds), np.inf)
    while len(chosen) < _MOST_IMAGES:
        apart = np.minimum(apart, np.linalg.norm(kinds - kinds[chosen[-1]], axis=1))
        chosen.append(int(apart.argmax()))
    return [sightings[place] for place in chosen]


def _kind(one: Sighting, size: tuple[int, int]) -> FloatArray:
    """(5,) middle and second moments of a sighting's pixels, in parts of the image."""
    shares = one.pixels / max(size)
    (xx, xy), (_, yy) = np.cov(shares.T)
    return np.array([*shares.mean(0), xx**0.5, yy**0.5, xy / (xx * yy) ** 0.5 / 4])


Place = tuple["FloatArray", "FloatArray"]
"""R (3, 3) and t (3,) metres from one coordinate frame to another."""

_NEAR_RAD = np.radians(4)
_NEAR_SHARE = 0.06
_MOST_FRAMES = 60
_OTHER_RAD = np.radians(8)
_CLOSE_CALL = 0.8
_AGREED = 0.4


@dataclass(frozen=True, eq=False)
class Pair:
    """Two cameras that saw a target at once.

    Attributes:
        first: place of a camera in the rig's order.
        second: likewise.
        place: from the first camera's frame to the second's.
        frames: frame sets that agree on it; one that shows several targets counts for each.
        common: frame sets that both saw a target in, likewise.
        rival: frame sets that agree on the next best place, which is not this one.
    """

    first: int
    second: int
    place: Place
    frames: int
    common: int
    rival: int

    @property
    def is_unsure(self) -> bool:
        """Another place explains almost as many frame sets: the two solutions of a flat board."""
        return self.rival >= _CLOSE_CALL * self.frames


def pairs_of(poses: Sequence[Mapping[Placed, list[TargetPose]]]) -> list[Pair]:
    """Every pair of cameras that saw a target at once.

    Each frame set proposes up to four places, two solutions of one camera by two of the other; only the true ones agree
    over frame sets, because a false one depends on how the target was held.

    Args:
        poses: of targets before each camera, in the order of frames.
    """
    found: list[Pair] = []
    for first, second in combinations(range(len(poses)), 2):
        if common := [placed for placed in poses[first] if placed in poses[second]]:
            asked = common[:: -(-len(common) // _MOST_FRAMES)]
            found.append(_agreed(first, second, [(poses[first][placed], poses[second][placed]) for placed in asked]))
    return found


def tree_places(pairs: Sequence[Pair], names: Sequence[str]) -> tuple[list[Place], list[Pair]]:
    """Every camera's pose in the first one's frame, along the tree of the pairs that agree in most frame sets.

    Returns:
        World to camera for each, and the pairs of the tree.

    Raises:
        InputError: cameras that never saw the target together with the others, or that contradict them; names them.
    """
    places: dict[int, Place] = {0: (np.eye(3), np.zeros(3))}
    tree: list[Pair] = []
    while len(places) < len(names):
        edges = [pair for pair in pairs if (pair.first in places) != (pair.second in places)]
        if not edges:
            apart = [name for place, name in enumerate(names) if place not in places]
            raise InputError(
                f"camera{'s' * (len(apart) > 1)} {', '.join(apart)} saw the board in no frame set together with "
                f"{', '.join(names[place] for place in places)}: carry it from one to the other, or check --sync"
            )
        best = max(edges, key=lambda pair: (not pair.is_unsure, pair.frames, pair.frames - pair.rival))
        if best.frames < _AGREED * min(best.common, _MOST_FRAMES):
            raise InputError(
                f"cameras {names[best.first]} and {names[best.second]} agree on their relative pose in only "
                f"{best.frames} of {best.common} frame sets: their images are of other frame sets (--sync), a lens is "
                "wrong (--lenses), or the board is too small in the images to show how it is turned: hold it nearer"
            )
        tree.append(best)
        if best.first in places:
            places[best.second] = joined(best.place, places[best.first])
        else:
            places[best.first] = joined(inverse(best.place), places[best.second])
    return [places[place] for place in range(len(names))], tree


def joined(second: Place, first: Place) -> Place:
    """The composition: `first`, then `second`."""
    return second[0] @ first[0], second[0] @ first[1] + second[1]


def inverse(place: Place) -> Place:
    """The inverse transformation."""
    return place[0].T, -place[0].T @ place[1]


def _agreed(first: int, second: int, seen: list[tuple[list[TargetPose], list[TargetPose]]]) -> Pair:
    """The place that most frame sets agree on, averaged over them, and how many agree on its rival."""
    proposals = [
        (frame, joined((b.R, b.t), inverse((a.R, a.t))), a.rms_px + b.rms_px)
        for frame, (ones, others) in enumerate(seen)
        for a in ones
        for b in others
    ]
    if not proposals:
        return Pair(first, second, (np.eye(3), np.zeros(3)), 0, len(seen), 0)
    R = np.stack([place[0] for _, place, _ in proposals])
    t = np.stack([place[1] for _, place, _ in proposals])
    frames, rms = np.array([frame for frame, *_ in proposals]), np.array([error for *_, error in proposals])
    turned = np.arccos(np.clip((np.einsum("aij,bij->ab", R, R) - 1) / 2, -1, 1))
    shifted = np.linalg.norm(t[:, None] - t, axis=2) / np.maximum(np.linalg.norm(t, axis=1), 0.05)[:, None]
    near = (turned < _NEAR_RAD) & (shifted < _NEAR_SHARE)
    support = np.array([len(np.unique(frames[row])) for row in near])
    mean_rms = (near * rms).sum(1) / near.sum(1)
    best = int(np.lexsort((mean_rms, -support))[0])
    agreed = near[best]
    left, _, right = np.linalg.svd(R[agreed].sum(0))
    middle = left @ right
    others = np.array([angle_between(middle, one) > _OTHER_RAD for one in R])
    rival = int(support[others].max()) if others.any() else 0
    return Pair(first, second, (middle, np.median(t[agreed], axis=0)), int(support[best]), len(seen), rival)
