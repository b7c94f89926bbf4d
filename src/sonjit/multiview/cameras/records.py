"""What all camera files have in common: checked records, units, lenses, atomic writing of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sonjit.datasets.reading import file_bytes, numbers
from sonjit.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.multiview.cameras.rig import CameraRig, RigCamera

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Unit = Literal["m", "cm", "mm"]
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}


def metres_of(unit: object, named: str) -> float:
    """How many metres a unit has.

    Raises:
        InputError: it is missing, or is not m, cm or mm.
    """
    if unit is None:
        raise InputError(f"{named} does not state the unit of its camera positions: give --unit m, cm or mm")
    if unit not in METRES:
        raise InputError(f"{named}: unit {str(unit)[:20]!r}: give m, cm or mm")
    return METRES[str(unit)]


def lens_from(value: Any, named: str) -> NDArray[np.float64] | None:  # noqa: ANN401  # read from a file
    """(5,) k1, k2, p1, p2, k3 from as many as a file gives, in OpenCV's order; None where all are 0.

    Raises:
        InputError: no numbers, or a lens model of more than these five.
    """
    given = np.ravel(numbers(np.ravel(np.asarray(value, object)).tolist(), (-1,), named))
    if given[5:].any():
        raise InputError(f"{named} has {len(given)} coefficients: only k1, k2, p1, p2, k3 are supported")
    lens = np.zeros(5)
    lens[: min(len(given), 5)] = given[:5]
    return lens if lens.any() else None


def lens_or_zeros(view: RigCamera) -> NDArray[np.float64]:
    """(5,) k1, k2, p1, p2, k3 of a camera."""
    lens = view.camera.distortion
    return np.zeros(5) if lens is None else np.asarray(lens, np.float64)


def record_camera(
    named: str,
    name: object,
    size: Any,  # noqa: ANN401  # read from a file
    K: NDArray[np.float64],
    R: NDArray[np.float64],
    t_m: NDArray[np.float64],
    lens: NDArray[np.float64] | None,
) -> RigCamera:
    """A camera from what was read.

    Args:
        named: the file, for messages.
        name: of the camera.
        size: width and height, pixels.
        K: (3, 3) pixels.
        R: (3, 3) world to camera; one rounded to a few digits is turned into the nearest rotation.
        t_m: (3,) metres.
        lens: (5,) or None.

    Raises:
        InputError: impossible numbers, with the file's name.
    """
    width, height = numbers(size, (2,), f"{named}: size of camera {name!r}")
    try:
        made = RigCamera(str(name), int(width), int(height), CalibratedCamera(K, R, t_m, lens))
    except InputError as error:
        raise InputError(f"{named}: {error}") from None
    left, _, right = np.linalg.svd(made.R)
    return RigCamera(made.name, made.width, made.height, CalibratedCamera(K, left @ right, t_m, lens))


def rig_from_records(cameras: list[RigCamera], named: str) -> CameraRig:
    """A rig of what a file held.

    Raises:
        InputError: no cameras, or two of one name, with the file's name.
    """
    if not cameras:
        raise InputError(f"{named} holds no cameras")
    try:
        return CameraRig(cameras)
    except InputError as error:
        raise InputError(f"{named}: {error}") from None


def rotation_vector(R: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) axis times angle of a rotation (3, 3)."""
    import cv2

    return np.asarray(cv2.Rodrigues(R)[0], np.float64).ravel()


def refuse_skew(rig: CameraRig, what: str) -> None:
    """Raise an InputError where a camera has skew, which a format cannot hold.

    Raises:
        InputError: names the camera.
    """
    for view in rig:
        if abs(view.camera.K[0, 1]) > 1e-9 or abs(view.camera.K[1, 0]) > 1e-9:
            raise InputError(f"camera {view.name!r} has skew, which {what} cannot hold: write .json or OpenCV's .yml")


def text_of(path: Path) -> str:
    """A whole text file.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    try:
        return file_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file of cameras; get it again") from None
