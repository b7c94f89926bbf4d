"""Check the values that camera files contain and build rigs from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit.geometry.cameras import FISHEYE, CalibratedCamera
from sonjit.lab.datasets.reading import file_bytes, numbers
from sonjit.studio.cameras.rig import CameraRig, RigCamera

_HALF_PIXEL_SHIFT = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
"""Move principal points from OpenCV's pixel centres at integers to Sonjit's pixel corners at integers."""
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Metres per unit of length."""


def metres_per_unit(unit: object, named: str) -> float:
    """Return how many metres a unit of length has.

    Args:
        unit: m, cm, mm, or a length such as 44mm, the side of a board's square.
        named: File name shown in error messages.

    Raises:
        InputError: The unit is missing or unknown.
    """
    if unit is None:
        raise InputError(f"{named} does not state the unit of its camera positions: give --unit m, cm, mm or as 25mm")
    parts = re.fullmatch(r"(\d*\.?\d+)?(mm|cm|m)", str(unit))
    metres = float(parts[1] or 1) * METRES[parts[2]] if parts else 0.0
    if not metres > 0:
        raise InputError(
            f"{named}: unit {str(unit)[:20]!r}: give m, cm, mm, or a length such as 44mm, or 25.4mm for an inch"
        )
    return metres


def lens_coefficients(value: Any, named: str, *, fisheye: bool = False) -> FloatArray | None:  # noqa: ANN401  # of a file
    """Convert the distortion of a file to (5,), (8,) or (4,) coefficients in OpenCV's order, or None if all are zero.

    Args:
        value: Numbers as read from the file.
        named: Location shown in error messages.
        fisheye: True if the lens follows the fisheye model, which has four coefficients.

    Raises:
        InputError: The value is not a list of numbers, or the lens model has more coefficients than are supported.
    """
    numbers_read = np.ravel(numbers(np.ravel(np.asarray(value, object)).tolist(), (-1,), named))
    max_count = FISHEYE if fisheye else 8
    if numbers_read[max_count:].any():
        reason = "a fisheye has four" if fisheye else "thin prisms (s1 to s4) and tilted sensors are not supported"
        raise InputError(f"{named} has {len(numbers_read)} coefficients: {reason}")
    count = FISHEYE if fisheye else 8 if numbers_read[5:].any() else 5
    coefficients = np.zeros(count)
    coefficients[: min(len(numbers_read), count)] = numbers_read[:count]
    return coefficients if coefficients.any() or fisheye else None


def coefficients_or_zeros(view: RigCamera) -> FloatArray:
    """Return the (4,), (5,) or (8,) distortion coefficients of a camera, (5,) zeros if it has none."""
    lens = view.camera.distortion
    return np.zeros(5) if lens is None else np.asarray(lens, np.float64)


def camera_from_record(
    named: str,
    name: object,
    size: Any,  # noqa: ANN401  # read from a file
    *,
    K: FloatArray,
    R: FloatArray,
    t_m: FloatArray,
    lens: FloatArray | None,
) -> RigCamera:
    """Build a camera from the values of a file.

    Args:
        named: File name shown in error messages.
        name: Name of the camera.
        size: Width and height in pixels.
        K: (3, 3) camera matrix in pixels.
        R: (3, 3) rotation from world to camera. A rounded one is replaced by the nearest rotation.
        t_m: (3,) translation in metres.
        lens: (4,), (5,) or (8,) distortion coefficients, or None.

    Raises:
        InputError: A value is impossible. The message names the file.
    """
    location = f"{named}: size of camera {name!r}"
    width, height = numbers(size, (2,), location)
    if not np.isfinite((width, height)).all():
        raise InputError(f"{location} is {width:g} x {height:g}: expected numbers of pixels")
    try:
        camera = RigCamera(str(name), int(width), int(height), CalibratedCamera(K, R, t_m, lens))
    except InputError as error:
        raise InputError(f"{named}: {error}") from None
    left, _, right = np.linalg.svd(camera.R)
    return RigCamera(camera.name, camera.width, camera.height, CalibratedCamera(K, left @ right, t_m, lens))


def rig_from_cameras(cameras: list[RigCamera], named: str) -> CameraRig:
    """Build a rig from the cameras of a file.

    Raises:
        InputError: There are no cameras, or two have the same name. The message names the file.
    """
    if not cameras:
        raise InputError(f"{named} contains no cameras")
    try:
        return CameraRig(cameras)
    except InputError as error:
        raise InputError(f"{named}: {error}") from None


def check_no_skew(rig: CameraRig, format_name: str) -> None:
    """Check that no camera has skew, which some formats cannot represent.

    Raises:
        InputError: A camera has skew. The message names it.
    """
    for camera in rig:
        if abs(camera.camera.K[0, 1]) > 1e-9 or abs(camera.camera.K[1, 0]) > 1e-9:
            raise InputError(
                f"camera {camera.name!r} has skew, which {format_name} cannot represent: write .json or OpenCV's .yml"
            )


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        InputError: The file cannot be read, or is not text.
    """
    try:
        return file_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file of cameras; get it again") from None


def from_opencv(K: FloatArray) -> FloatArray:
    """Convert K (3, 3) from pixel coordinates that start at the first pixel's centre to its corner."""
    return K + _HALF_PIXEL_SHIFT


def to_opencv(K: FloatArray) -> FloatArray:
    """Convert K (3, 3) from pixel coordinates that start at the first pixel's corner to its centre."""
    return K - _HALF_PIXEL_SHIFT


def floats_from_words(words: list[str], at: str) -> list[float]:
    """Convert words of a text file to numbers.

    Args:
        words: Words of one line.
        at: Location shown in error messages.

    Raises:
        InputError: A word is not a number.
    """
    try:
        return [float(word) for word in words]
    except ValueError:
        raise InputError(f"{at}: {' '.join(words)[:60]!r} are not numbers") from None
