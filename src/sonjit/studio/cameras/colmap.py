"""Read and write COLMAP's text model: cameras.txt and images.txt.

Source: COLMAP's documentation, "Output format". One registered image is one camera of the rig. A reconstruction has no
scale of its own, so the unit must be given. Sonjit writes it as a comment.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_folder
from sonjit.geometry.rotations import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from sonjit.media.sources.sniff import IMAGE_ENDINGS
from sonjit.studio.cameras.records import (
    camera_from_record,
    check_no_skew,
    coefficients_or_zeros,
    floats_from_words,
    lens_coefficients,
    metres_per_unit,
    read_text,
    rig_from_cameras,
)
from sonjit.studio.cameras.rig import CameraRig, RigCamera

_LENS_MODELS = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
}
_COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


def load_colmap(folder: Path, unit: str | None) -> CameraRig:
    """Load a rig from a folder with cameras.txt and images.txt.

    Args:
        folder: Folder that contains both files.
        unit: Unit of lengths if images.txt does not state it.

    Raises:
        InputError: A file is missing or damaged, a lens model is not supported, or the unit is unknown.
    """
    lenses = dict(map(_parse_lens, *_data_lines(folder / "cameras.txt")))
    path = folder / "images.txt"
    text = read_text(path)
    file_unit = re.search(r"^# unit: (\w+)", text, re.MULTILINE)
    metres = metres_per_unit(unit or (file_unit[1] if file_unit else None), str(folder))
    cameras: list[RigCamera] = []
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if not line.startswith("#")]
    for number, line in lines[::2]:  # every second line contains 2D points and may be empty
        if not line:
            continue
        location = f"{path}, line {number}"
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise InputError(f"{location}: expected IMAGE_ID, 7 numbers, CAMERA_ID and NAME, got {line[:60]!r}")
        *quaternion, tx, ty, tz = floats_from_words(words[1:8], location)
        if words[8] not in lenses:
            raise InputError(f"{location}: cameras.txt has no camera {words[8]}")
        width, height, K, lens = lenses[words[8]]
        name = PurePosixPath(words[9])
        camera_name = str(name.with_suffix("")) if name.suffix.lower() in IMAGE_ENDINGS else str(name)
        norm = float(np.linalg.norm(quaternion))
        if not norm > 0:
            raise InputError(f"{location}: the rotation's four numbers are 0")
        R = matrix_from_quaternion_wxyz(np.array(quaternion) / norm)
        cameras.append(
            camera_from_record(
                str(path), camera_name, [width, height], K=K, R=R, t_m=np.array([tx, ty, tz]) * metres, lens=lens
            )
        )
    return rig_from_cameras(cameras, str(folder))


def save_colmap(rig: CameraRig, folder: Path) -> None:
    """Write a rig as cameras.txt, images.txt and an empty points3D.txt, in metres."""
    check_no_skew(rig, "COLMAP's text")
    cameras = ["# Camera list with one line of data per camera:", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    images = [
        "# unit: m",
        "# Image list with two lines of data per image:",
        "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
        "#   POINTS2D[] as (X, Y, POINT3D_ID)",
    ]
    for number, camera in enumerate(rig, 1):
        K, lens = camera.camera.K, coefficients_or_zeros(camera)
        model = "FULL_OPENCV" if lens[4:].any() else "OPENCV" if lens.any() else "PINHOLE"
        model = "OPENCV_FISHEYE" if camera.camera.is_fisheye else model
        values = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *lens, 0, 0, 0]
        values = values[: len(_LENS_MODELS[model].split())]
        cameras.append(" ".join([str(number), model, f"{camera.width}", f"{camera.height}", *_format_numbers(values)]))
        images += [
            " ".join(
                [
                    str(number),
                    *_format_numbers([*quaternion_wxyz_from_matrix(camera.R), *camera.t]),
                    str(number),
                    camera.name,
                ]
            ),
            "",
        ]
    with atomic_folder(folder) as draft:
        for name, lines in (("cameras", cameras), ("images", images), ("points3D", ["# 3D point list: empty"])):
            (draft / f"{name}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _format_numbers(values: object) -> list[str]:
    """Format numbers so that they are read back exactly."""
    return [repr(float(value)) for value in np.ravel(np.asarray(values, np.float64))]


def _data_lines(path: Path) -> tuple[list[str], list[str]]:
    """Return a file's lines without comments, and the location of each for messages."""
    lines = [(f"{path}, line {number}", line) for number, line in enumerate(read_text(path).splitlines(), 1)]
    lines = [(location, line) for location, line in lines if line.strip() and not line.startswith("#")]
    return [line for _, line in lines], [location for location, _ in lines]


def _parse_lens(line: str, location: str) -> tuple[str, tuple[float, float, FloatArray, FloatArray | None]]:
    """Parse a line of cameras.txt into the camera's id and its width, height, K and distortion."""
    number, model, *words = [*line.split(), "", ""]
    if model not in _LENS_MODELS:
        raise InputError(
            f"{location}: lens model {model!r} is not supported: undistort to one of {', '.join(_LENS_MODELS)}"
        )
    names = ["width", "height", *_LENS_MODELS[model].split()]
    words = words[:-2]
    if len(words) != len(names):
        raise InputError(f"{location}: {model} has {len(names)} numbers after its name, not {len(words)}")
    value = dict(zip(names, floats_from_words(words, location), strict=True))
    f = value.get("f", 0.0)
    K = np.array([[value.get("fx", f), 0, value["cx"]], [0, value.get("fy", f), value["cy"]], [0, 0, 1]])
    fisheye = model == "OPENCV_FISHEYE"
    lens = lens_coefficients(
        [value.get(name, 0.0) for name in (names[-4:] if fisheye else _COEFFICIENTS)], location, fisheye=fisheye
    )
    return number, (value["width"], value["height"], K, lens)
