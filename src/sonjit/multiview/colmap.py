"""COLMAP's text model: cameras.txt and images.txt. One registered picture is one camera of the rig.

Source: COLMAP's documentation, "Output format". A reconstruction has no scale of its own, so the unit must be said;
ours writes it as a comment.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.geometry.rotations import quaternion_from_matrix
from sonjit.media.image_files import IMAGE_ENDINGS
from sonjit.media.outputs import Draft, failing_as_job
from sonjit.multiview.camera_records import (
    Unit,
    lens_or_zeros,
    metres_of,
    record_camera,
    refuse_skew,
    rig_from_records,
    text_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.cameras import CameraRig, RigCamera

_MODELS = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
}
_LENS = ("k1", "k2", "p1", "p2", "k3")


def load_colmap(folder: Path, unit: Unit | None = None) -> CameraRig:
    """A rig from a folder with cameras.txt and images.txt.

    Raises:
        InputError: a file is missing or damaged, a lens model is not supported, or no unit is given.
    """
    lenses = dict(map(_lens_record, *_lines(folder / "cameras.txt")))
    path = folder / "images.txt"
    text = text_of(path)
    said = re.search(r"^# unit: (\w+)", text, re.MULTILINE)
    metres = metres_of(unit or (said[1] if said else None), str(folder))
    made: list[RigCamera] = []
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if not line.startswith("#")]
    for number, line in lines[::2]:  # every second line holds 2D points, and may be empty
        if not line:
            continue
        at = f"{path}, line {number}"
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise InputError(f"{at}: IMAGE_ID, 7 numbers, CAMERA_ID and NAME are wanted, not {line[:60]!r}")
        qw, qx, qy, qz, *shift = _floats(words[1:8], at)
        if words[8] not in lenses:
            raise InputError(f"{at}: cameras.txt has no camera {words[8]}")
        width, height, K, lens = lenses[words[8]]
        name = PurePosixPath(words[9])
        named = str(name.with_suffix("")) if name.suffix.lower() in IMAGE_ENDINGS else str(name)
        R = _matrix_from_quaternion(np.array([qx, qy, qz, qw]), at)
        made.append(record_camera(str(path), named, [width, height], K, R, np.array(shift) * metres, lens))
    return rig_from_records(made, str(folder))


def save_colmap(rig: CameraRig, folder: Path) -> None:
    """Write a rig as cameras.txt, images.txt and an empty points3D.txt, in metres."""
    refuse_skew(rig, "COLMAP's text")
    cameras = ["# Camera list with one line of data per camera:", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    images = [
        "# unit: m",
        "# Image list with two lines of data per image:",
        "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
        "#   POINTS2D[] as (X, Y, POINT3D_ID)",
    ]
    for number, view in enumerate(rig, 1):
        K, lens = view.camera.K, lens_or_zeros(view)
        model = "FULL_OPENCV" if lens[4] else "OPENCV" if lens.any() else "PINHOLE"
        values = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *lens, 0, 0, 0]
        values = values[: len(_MODELS[model].split())]
        cameras.append(" ".join([str(number), model, f"{view.width}", f"{view.height}", *_texts(values)]))
        x, y, z, w = quaternion_from_matrix(view.R)
        images += [" ".join([str(number), *_texts([w, x, y, z, *view.t]), str(number), view.name]), ""]
    draft = Draft(folder, folder=True)
    try:
        with failing_as_job(folder):
            for name, lines in (("cameras", cameras), ("images", images), ("points3D", ["# 3D point list: empty"])):
                (draft.draft / f"{name}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
        draft.keep()
    finally:
        draft.drop()


def _texts(values: object) -> list[str]:
    return [repr(float(value)) for value in np.ravel(np.asarray(values, np.float64))]


def _lines(path: Path) -> tuple[list[str], list[str]]:
    """A file's lines that are no comments, and how to name each."""
    kept = [(f"{path}, line {n}", line) for n, line in enumerate(text_of(path).splitlines(), 1)]
    kept = [(at, line) for at, line in kept if line.strip() and not line.startswith("#")]
    return [line for _, line in kept], [at for at, _ in kept]


def _lens_record(
    line: str, at: str
) -> tuple[str, tuple[float, float, NDArray[np.float64], NDArray[np.float64] | None]]:
    """A camera's id; its width, height, K and lens."""
    number, model, *words = [*line.split(), "", ""]
    if model not in _MODELS:
        raise InputError(f"{at}: lens model {model!r} is not supported: undistort to one of {', '.join(_MODELS)}")
    names = ["width", "height", *_MODELS[model].split()]
    words = words[:-2]
    if len(words) != len(names):
        raise InputError(f"{at}: {model} has {len(names)} numbers after its name, not {len(words)}")
    value = dict(zip(names, _floats(words, at), strict=True))
    if any(value.get(name) for name in ("k4", "k5", "k6")):
        raise InputError(f"{at}: k4, k5 and k6 of FULL_OPENCV are not supported: undistort to OPENCV")
    f = value.get("f", 0.0)
    K = np.array([[value.get("fx", f), 0, value["cx"]], [0, value.get("fy", f), value["cy"]], [0, 0, 1]])
    lens = np.array([value.get(name, 0.0) for name in _LENS])
    return number, (value["width"], value["height"], K, lens if lens.any() else None)


def _floats(words: list[str], at: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        raise InputError(f"{at}: {' '.join(words)[:60]!r} are no numbers") from None


def _matrix_from_quaternion(quaternion: NDArray[np.float64], at: str) -> NDArray[np.float64]:
    """(3, 3) from x, y, z, w of any length but 0."""
    length = float(np.linalg.norm(quaternion))
    if not length > 0:
        raise InputError(f"{at}: the rotation's four numbers are 0")
    x, y, z, w = quaternion / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross
