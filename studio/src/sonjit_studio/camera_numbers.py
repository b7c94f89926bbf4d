"""Numbers of cameras that files of several programs share."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sonjit._util import FloatArray, InputError
from sonjit._util.records import numbers
from sonjit.geometry.cameras import COEFFICIENT_COUNTS, FISHEYE, CalibratedCamera, CameraModel
from sonjit.media.sources.images import read_bytes
from sonjit_studio.rig import CameraRig, RigCamera

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}  # metres per unit of length

_HALF_PIXEL_SHIFT = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
"""Move principal points from OpenCV's pixel centres at integers to Sonjit's pixel corners at integers."""


def metres_per_unit(unit: object, named: str) -> float:
    """Return the metres of a unit of length: m, cm, mm, or a length such as 44mm, the side of a board's square."""
    if unit is None:
        raise InputError(f"{named} does not state the unit of its camera positions: give --unit m, cm, mm or as 25mm")
    match = re.fullmatch(r"(\d*\.?\d+)?(mm|cm|m)", str(unit))
    metres = float(match[1] or 1) * METRES[match[2]] if match else 0.0
    if not metres > 0:
        raise InputError(
            f"{named}: unit {str(unit)[:20]!r}: give m, cm, mm, or a length such as 44mm, or 25.4mm for an inch"
        )
    return metres


class Lens(NamedTuple):
    """Distortion of a camera: OpenCV's coefficients (K,), None for none, and their model."""

    coefficients: FloatArray | None = None
    model: CameraModel = "pinhole"


def lens_of(value: Any, named: str, model: CameraModel) -> Lens:  # noqa: ANN401  # of a file
    """Convert the distortion of a file to the least number of OpenCV's coefficients; a pinhole's may all be zero."""
    numbers_read = np.ravel(numbers(np.ravel(np.asarray(value, object)).tolist(), (-1,), named))
    needed = int(np.flatnonzero(numbers_read).max(initial=-1)) + 1
    if model == "pinhole" and not needed:
        return Lens()
    counts = [count for count in COEFFICIENT_COUNTS[model] if count >= max(needed, FISHEYE)]
    if not counts:
        most = COEFFICIENT_COUNTS[model][-1]
        raise InputError(f"{named} has {len(numbers_read)} coefficients: a {model} lens has at most {most}")
    coefficients = np.zeros(counts[0])
    coefficients[:needed] = numbers_read[:needed]
    return Lens(coefficients, model)


def coefficients_of(view: RigCamera) -> FloatArray:
    """Return the distortion coefficients of a camera, (5,) zeros if it has none."""
    lens = view.camera.distortion
    return np.zeros(5) if lens is None else np.asarray(lens, np.float64)


def camera_of(
    named: str,
    name: object,
    size: Any,  # noqa: ANN401  # read from a file
    *,
    K: FloatArray,
    R: FloatArray,
    t_m: FloatArray,
    lens: Lens,
) -> RigCamera:
    """Build a camera from a file's values, with the rotation nearest to R.

    K is (3, 3) in pixels, R (3, 3), t (3,) in metres.
    """
    at = f"{named}: size of camera {name!r}"
    width, height = numbers(size, (2,), at)
    if not np.isfinite((width, height)).all():
        raise InputError(f"{at} is {width:g} x {height:g}: expected numbers of pixels")
    try:
        camera = RigCamera(str(name), int(width), int(height), CalibratedCamera(K, R, t_m, *lens))
    except InputError as error:
        raise InputError(f"{named}: {error}") from None
    left, _, right = np.linalg.svd(camera.R)
    return RigCamera(camera.name, camera.width, camera.height, CalibratedCamera(K, left @ right, t_m, *lens))


def check_no_skew(rig: CameraRig, format_name: str) -> None:
    """Check that no camera has skew, which some formats cannot represent."""
    for camera in rig:
        if abs(camera.camera.K[0, 1]) > 1e-9 or abs(camera.camera.K[1, 0]) > 1e-9:
            raise InputError(
                f"camera {camera.name!r} has skew, which {format_name} cannot represent: write .json or OpenCV's .yml"
            )


def read_text(path: Path) -> str:
    """Read a text file."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file of cameras; get it again") from None


def from_opencv(K: FloatArray) -> FloatArray:
    """Convert K (3, 3) from pixel coordinates that start at the first pixel's centre to its corner."""
    return K + _HALF_PIXEL_SHIFT


def to_opencv(K: FloatArray) -> FloatArray:
    """Convert K (3, 3) from pixel coordinates that start at the first pixel's corner to its centre."""
    return K - _HALF_PIXEL_SHIFT


def floats_from_words(words: list[str], at: str) -> list[float]:
    """Convert words of a text file to numbers."""
    try:
        return [float(word) for word in words]
    except ValueError:
        raise InputError(f"{at}: {' '.join(words)[:60]!r} are not numbers") from None
