"""Read and write COLMAP's models: `.txt` and `.bin` (read only)."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sonjit._util import FloatArray, InputError
from sonjit._util.files import atomic_folder
from sonjit.geometry import rotations
from sonjit.media.sources.images import IMAGE_ENDINGS, read_bytes
from sonjit_studio import camera_numbers
from sonjit_studio.rig import CameraRig, RigCamera

_LENS_MODELS = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
    "SIMPLE_RADIAL_FISHEYE": "f cx cy k1",
    "RADIAL_FISHEYE": "f cx cy k1 k2",
}
_COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_FISHEYE_COEFFICIENTS = ("k1", "k2", "k3", "k4")
_MODEL_NUMBERS = (
    *("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "FOV"),
    *("SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE"),
)
"""Lens models by their numbers in binary files."""
_Lens = tuple[float, float, FloatArray, camera_numbers.Lens]  # width, height, K, distortion


def read_colmap(folder: Path, unit: str | None) -> Iterator[RigCamera]:
    """Read COLMAP's cameras and images, `.txt` or `.bin`, a camera per registered image.

    The unit must be given, because a reconstruction has no scale. Sonjit writes it as a comment. Source: COLMAP's
    documentation, "Output format".
    """
    if (folder / "cameras.txt").is_file() or not (folder / "cameras.bin").is_file():
        lenses = dict(_lenses_of_text(folder / "cameras.txt"))
        path = folder / "images.txt"
        text = camera_numbers.read_text(path)
        file_unit = re.search(r"^# unit: (\w+)", text, re.MULTILINE)
        metres = camera_numbers.metres_per_unit(unit or (file_unit[1] if file_unit else None), str(folder))
        images = _images_of_text(path, text)
    else:
        metres = camera_numbers.metres_per_unit(unit, str(folder))
        lenses = dict(_lenses_of_binary(folder / "cameras.bin"))
        path = folder / "images.bin"
        images = _images_of_binary(path)
    for at, pose, lens_id, file_name in images:
        if lens_id not in lenses:
            raise InputError(f"{at}: COLMAP's cameras have no camera {lens_id}")
        width, height, K, lens = lenses[lens_id]
        name = PurePosixPath(file_name)
        camera_name = str(name.with_suffix("")) if name.suffix.lower() in IMAGE_ENDINGS else str(name)
        norm = float(np.linalg.norm(pose[:4]))
        if not norm > 0:
            raise InputError(f"{at}: the rotation's four numbers are 0")
        R, t_m = rotations.matrix_from_quaternion_wxyz(pose[:4] / norm), pose[4:] * metres
        yield camera_numbers.camera_of(str(path), camera_name, [width, height], K=K, R=R, t_m=t_m, lens=lens)


def _lenses_of_text(path: Path) -> Iterator[tuple[str, _Lens]]:
    for number, line in enumerate(camera_numbers.read_text(path).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield _parse_lens(line, f"{path}, line {number}")


def _images_of_text(path: Path, text: str) -> Iterator[tuple[str, FloatArray, str, str]]:
    """Iterate over the place in the file, rotation and translation (7,), camera and name of each image."""
    lines = [(f"{path}, line {n}", line.strip()) for n, line in enumerate(text.splitlines(), 1) if line[:1] != "#"]
    for at, line in lines[::2]:  # every second line contains 2D points and may be empty
        if line:
            words = line.split(maxsplit=9)
            if len(words) != 10:
                raise InputError(f"{at}: expected IMAGE_ID, 7 numbers, CAMERA_ID and NAME, got {line[:60]!r}")
            yield at, np.array(camera_numbers.floats_from_words(words[1:8], at)), words[8], words[9]


class _Binary:
    """Numbers of a little-endian file, in order."""

    def __init__(self, path: Path) -> None:
        self._path, self._content, self._place = path, read_bytes(path), 0

    def take(self, form: str) -> tuple[Any, ...]:
        """Return the next numbers of a form of `struct`."""
        form = f"<{form}"
        size = struct.calcsize(form)
        self.skip(size)
        return struct.unpack(form, self._content[self._place - size : self._place])

    def skip(self, size: int) -> None:
        """Skip bytes, which the file must contain."""
        self._place += size
        if self._place > len(self._content):
            raise InputError(f"{self._path} is cut off or no file of COLMAP; copy it again")

    def text(self) -> str:
        """Return the text up to the next byte of zero."""
        start, end = self._place, self._content.find(b"\0", self._place)
        self.skip(end + 1 - start if end >= 0 else len(self._content) + 1)
        return self._content[start:end].decode("utf-8", "replace")


def _lenses_of_binary(path: Path) -> Iterator[tuple[str, _Lens]]:
    file = _Binary(path)
    for _ in range(file.take("Q")[0]):
        number, model, width, height = file.take("iiQQ")
        if not 0 <= model < len(_MODEL_NUMBERS):
            raise InputError(f"{path}: camera {number} has the unknown lens model {model}")
        name = _MODEL_NUMBERS[model]
        count = len(_LENS_MODELS[name].split()) if name in _LENS_MODELS else 0
        numbers = " ".join(map(repr, file.take(f"{count}d")))
        yield _parse_lens(f"{number} {name} {width} {height} {numbers}", f"{path}: camera {number}")


def _images_of_binary(path: Path) -> Iterator[tuple[str, FloatArray, str, str]]:
    file = _Binary(path)
    for _ in range(file.take("Q")[0]):
        number, *pose, camera = file.take("i7di")
        name = file.text()
        file.skip(24 * file.take("Q")[0])  # x, y and the number of the point in space
        yield f"{path}: image {number}", np.array(pose), str(camera), name


def save_colmap(rig: CameraRig, folder: Path) -> None:
    """Write a rig as cameras.txt, images.txt and an empty points3D.txt, in metres."""
    camera_numbers.check_no_skew(rig, "COLMAP's text")
    cameras = ["# Camera list with one line of data per camera:", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    images = [
        "# unit: m",
        "# Image list with two lines of data per image:",
        "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
        "#   POINTS2D[] as (X, Y, POINT3D_ID)",
    ]
    for number, camera in enumerate(rig, 1):
        K, lens = camera.camera.K, camera_numbers.coefficients_of(camera)
        if lens[8:].any():
            raise InputError(
                f"camera {camera.name!r} has thin prisms or a tilted sensor, which COLMAP cannot represent"
            )
        if camera.camera.is_fisheye:
            model = "OPENCV_FISHEYE"
        elif lens[4:].any():
            model = "FULL_OPENCV"
        else:
            model = "OPENCV" if lens.any() else "PINHOLE"
        values = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *lens, 0, 0, 0][: len(_LENS_MODELS[model].split())]
        pose = [*rotations.quaternion_wxyz_from_matrix(camera.R), *camera.t]
        shown, placed = (" ".join(repr(float(value)) for value in part) for part in (values, pose))  # read back exactly
        cameras.append(f"{number} {model} {camera.width} {camera.height} {shown}")
        images += [f"{number} {placed} {number} {camera.name}", ""]
    with atomic_folder(folder) as draft:
        for name, lines in (("cameras", cameras), ("images", images), ("points3D", ["# 3D point list: empty"])):
            (draft / f"{name}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _parse_lens(line: str, location: str) -> tuple[str, _Lens]:
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
    value = dict(zip(names, camera_numbers.floats_from_words(words, location), strict=True))
    f = value.get("f", 0.0)
    K = np.array([[value.get("fx", f), 0, value["cx"]], [0, value.get("fy", f), value["cy"]], [0, 0, 1]])
    is_fisheye = model.endswith("_FISHEYE")
    coefficients = [value.get(name, 0.0) for name in (_FISHEYE_COEFFICIENTS if is_fisheye else _COEFFICIENTS)]
    lens = camera_numbers.lens_of(coefficients, location, "fisheye" if is_fisheye else "pinhole")
    return number, (value["width"], value["height"], K, lens)
