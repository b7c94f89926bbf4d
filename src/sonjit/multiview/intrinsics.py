"""One camera's lens from pictures of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from sonjit.datasets.sample import SampleCamera
from sonjit.errors import InputError
from sonjit.geometry.cameras import assumed_camera

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.multiview.board import Target
    from sonjit.multiview.sightings import Sighting

LensModel = Literal["none", "radial", "usual", "full"]
"""Which coefficients are looked for: none; k1, k2; k1, k2, p1, p2; all five."""

LENS_TERMS: Final[dict[str, tuple[int, ...]]] = {
    "none": (),
    "radial": (0, 1),
    "usual": (0, 1, 2, 3),
    "full": (0, 1, 2, 3, 4),
}
_FEWEST_PICTURES = 4
_MOST_PICTURES = 40
_UNSURE = 0.1
_TILTED = 0.01


def camera_from_sightings(
    target: Target, sightings: Sequence[Sighting], size: tuple[int, int], lens: LensModel = "usual"
) -> SampleCamera:
    """K and distortion of one camera.

    Args:
        target: what was seen.
        sightings: of this camera alone.
        size: width and height, pixels.
        lens: which coefficients to look for.

    Raises:
        InputError: too few pictures, or none that tells the focal length, such as a board always held flat on.
    """
    import cv2

    chosen = _spread(sightings, size)
    name = sightings[0].view if sightings else "?"
    if len(chosen) < _FEWEST_PICTURES:
        raise InputError(
            f"camera {name!r}: {len(chosen)} pictures show the board and {_FEWEST_PICTURES} are the fewest: show it "
            "more, near and far, tilted, and in the corners"
        )
    flags = cv2.CALIB_ZERO_TANGENT_DIST if not {2, 3} & set(LENS_TERMS[lens]) else 0
    for term, flag in ((0, cv2.CALIB_FIX_K1), (1, cv2.CALIB_FIX_K2), (4, cv2.CALIB_FIX_K3)):
        flags |= 0 if term in LENS_TERMS[lens] else flag
    guess = assumed_camera(*size)
    start = np.array([[guess.fx, 0, guess.cx], [0, guess.fy, guess.cy], [0, 0, 1.0]])
    if not target.is_flat:  # OpenCV makes a start of its own from flat targets alone
        flags |= cv2.CALIB_USE_INTRINSIC_GUESS
    try:
        _, found, bent, _, _, spread, _, _ = cv2.calibrateCameraExtended(
            [target.points_m[one.points].astype(np.float32) for one in chosen],
            [one.pixels.astype(np.float32) for one in chosen],
            size,
            start,
            np.zeros(5),
            flags=flags,
        )
    except cv2.error:
        found, bent, spread = np.full((3, 3), np.nan), np.zeros(5), np.full(4, np.nan)
    K = np.asarray(found, np.float64)
    focal, unsure = np.array([K[0, 0], K[1, 1]]), np.ravel(np.asarray(spread, np.float64))[:2]
    tilted = not target.is_flat or _tilts(target, chosen) > _TILTED
    if not (tilted and (focal > 0).all() and (unsure < _UNSURE * focal).all()):
        raise InputError(
            f"camera {name!r}: {len(chosen)} pictures do not tell its focal length: tilt the board by 30 degrees or "
            "more, this way and that, and hold it nearer"
        )
    terms = np.ravel(np.asarray(bent, np.float64))[:5]
    return SampleCamera(K, distortion=terms if terms.any() else None)


def _tilts(target: Target, sightings: Sequence[Sighting]) -> float:
    """How much the pictures differ in how a flat target's far side shrinks: nothing else tells a focal length.

    Returns:
        Root mean square over pictures, in parts of the target's size there; 0 for targets that are held parallel.
    """
    import cv2

    shrinks: list[NDArray[np.float64]] = []
    for one in sightings:
        points = target.points_m[one.points, :2]
        around = (points - points.mean(0)) / np.ptp(target.points_m[:, :2], axis=0).max()
        plane = np.asarray(cv2.findHomography(around, one.pixels)[0], np.float64)
        if plane.shape == (3, 3):  # none from points on one line
            shrinks.append(plane[2, :2] / plane[2, 2])
    return float(np.sqrt(np.var(shrinks, axis=0).sum())) if shrinks else 0.0


def _spread(sightings: Sequence[Sighting], size: tuple[int, int]) -> list[Sighting]:
    """At most 40 of them that differ most in where, how large and how tilted the target is, each the farthest next."""
    if len(sightings) <= _MOST_PICTURES:
        return list(sightings)
    kinds = np.stack([_kind(one, size) for one in sightings])
    chosen = [int(np.argmax([len(one.points) for one in sightings]))]
    apart = np.full(len(kinds), np.inf)
    while len(chosen) < _MOST_PICTURES:
        apart = np.minimum(apart, np.linalg.norm(kinds - kinds[chosen[-1]], axis=1))
        chosen.append(int(apart.argmax()))
    return [sightings[place] for place in chosen]


def _kind(one: Sighting, size: tuple[int, int]) -> NDArray[np.float64]:
    """(5,) middle and second moments of a sighting's pixels, in parts of the picture."""
    shares = one.pixels / max(size)
    (xx, xy), (_, yy) = np.cov(shares.T)
    return np.array([*shares.mean(0), xx**0.5, yy**0.5, xy / (xx * yy) ** 0.5 / 4])
