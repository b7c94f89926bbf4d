"""Estimate a camera's intrinsics before bundle adjustment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit._util.text import pluralize
from sonjit.geometry.cameras import FISHEYE, CalibratedCamera, assumed_camera
from sonjit.studio.calibration.board_observations import BoardObservation
from sonjit.studio.calibration.bundle_adjustment import (
    LENS_SIZE,
    ROBUST_PX,
    Bundle,
    Observations,
    adjust,
    ordinary_lens_prior,
)
from sonjit.studio.calibration.target_poses import TargetPose, observation_poses

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
_MIN_IMAGES = 4
"""Least number of images for a lens."""
_MAX_IMAGES = 40
"""Number of images that estimate a lens."""
_MAX_FOCAL_ERROR = 0.1
"""Largest accepted relative standard error of a focal length."""
_MIN_TILT = 0.01
"""Least variation of tilt that fixes a focal length, see `_tilt_variation`."""
_FISHEYE_IMAGES, _FISHEYE_MAX_ERROR = 12, 0.02
"""Number of images that select the focal length, and largest accepted error as a fraction of the image."""


def camera_from_observations(
    observations: Sequence[BoardObservation], size: tuple[int, int], lens: LensModel
) -> CalibratedCamera:
    """Estimate K and distortion of one camera.

    Args:
        observations: Observations by this camera.
        size: Image width and height in pixels.
        lens: Coefficients to estimate.

    Raises:
        InputError: There are too few images, or none that fixes the focal length, such as a board that is always
            parallel.
    """
    import cv2

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
    import cv2

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
    """Estimate an equidistant fisheye lens by a search over focal lengths, then adjust it.

    Raises:
        InputError: No focal length fits, or no image distinguishes them.
    """
    name = observations[0].view
    sample = observations[:: -(-len(observations) // _FISHEYE_IMAGES)]
    if all(observation.target.is_flat for observation in observations) and _tilt_variation(observations) < _MIN_TILT:
        raise InputError(f"camera {name!r}: the board is never tilted, so no focal length follows")

    def fitted(focal: float) -> tuple[float, CalibratedCamera, list[list[TargetPose]]]:
        K = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1.0]])
        camera = CalibratedCamera(K, distortion=np.zeros(FISHEYE))
        found = [observation_poses(observation, camera) for observation in sample]
        return float(np.mean([poses[0].rms_px if poses else size[0] for poses in found])), camera, found

    halves = np.radians(np.linspace(20, 110, 19))  # half angles of view of the longer side
    cost, camera, poses = min((fitted(max(size) / 2 / half) for half in halves), key=lambda observation: observation[0])
    if cost > _FISHEYE_MAX_ERROR * max(size):
        raise InputError(f"camera {name!r}: no fisheye lens explains its images; use another --lens")
    shown = [(observation, found[0]) for observation, found in zip(sample, poses, strict=True) if found]
    lens = np.array([[*camera.intrinsics, *[0.0] * (LENS_SIZE - 4)]])
    fisheye = np.array([True])
    start = Bundle(
        lenses=lens,
        camera_rotations=np.eye(3)[None],
        camera_translations=np.zeros((1, 3)),
        target_rotations=np.stack([pose.R for _, pose in shown]),
        target_translations=np.stack([pose.t for _, pose in shown]),
        fisheye=fisheye,
    )
    image = np.concatenate([np.full(len(observation.points), row) for row, (observation, _) in enumerate(shown)])
    observed = Observations(
        np.zeros_like(image),
        image,
        np.concatenate([observation.points_m for observation, _ in shown]),
        np.concatenate([observation.pixels for observation, _ in shown]),
    )
    free = np.arange(LENS_SIZE)[None] < 4 + FISHEYE
    fx, fy, cx, cy, *terms = adjust(
        start, observed, free_lens=free, prior=ordinary_lens_prior([size], ROBUST_PX / 2, fisheye), robust_px=ROBUST_PX
    ).lenses[0]
    return CalibratedCamera(
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), distortion=np.array(terms[:FISHEYE], np.float64)
    )


def _tilt_variation(observations: Sequence[BoardObservation]) -> float:
    """Measure how much the perspective of a flat target varies over images, which alone fixes a focal length.

    Returns:
        Root mean square over images, relative to the target's size. 0 for targets that are always parallel.
    """
    import cv2

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
