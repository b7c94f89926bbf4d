"""Check the values of camera files, and read and write OpenCV's FileStorage and COLMAP's text model."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file, atomic_folder
from sonjit.geometry.cameras import FISHEYE, CalibratedCamera
from sonjit.geometry.rotations import (
    matrix_from_quaternion_wxyz,
    matrix_from_rotation_vector,
    quaternion_wxyz_from_matrix,
)
from sonjit.lab.datasets.reading import file_bytes, load_yaml, numbers, one_line
from sonjit.media.sources import natural_key
from sonjit.media.sources.images import IMAGE_ENDINGS
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
        named: Location shown in error messages.
        fisheye: True if the lens follows the fisheye model, which has four coefficients.
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
    """Build a camera from the values of a file, which error messages name.

    Args:
        size: Width and height in pixels.
        K: (3, 3) camera matrix in pixels.
        R: (3, 3) rotation from world to camera. A rounded one is replaced by the nearest rotation.
        t_m: (3,) translation in metres.
        lens: (4,), (5,) or (8,) distortion coefficients, or None.
    """
    at = f"{named}: size of camera {name!r}"
    width, height = numbers(size, (2,), at)
    if not np.isfinite((width, height)).all():
        raise InputError(f"{at} is {width:g} x {height:g}: expected numbers of pixels")
    try:
        camera = RigCamera(str(name), int(width), int(height), CalibratedCamera(K, R, t_m, lens))
    except InputError as error:
        raise InputError(f"{named}: {error}") from None
    left, _, right = np.linalg.svd(camera.R)
    return RigCamera(camera.name, camera.width, camera.height, CalibratedCamera(K, left @ right, t_m, lens))


def rig_from_cameras(cameras: list[RigCamera], named: str) -> CameraRig:
    """Build a rig from the cameras of a file, which error messages name."""
    if not cameras:
        raise InputError(f"{named} contains no cameras")
    try:
        return CameraRig(cameras)
    except InputError as error:
        raise InputError(f"{named}: {error}") from None


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
        at: Location shown in error messages.

    Raises:
        InputError: A word is not a number.
    """
    try:
        return [float(word) for word in words]
    except ValueError:
        raise InputError(f"{at}: {' '.join(words)[:60]!r} are not numbers") from None


OPENCV_ENDINGS = (".yml", ".yaml", ".xml")
_MATRIX_NAMES = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "K", "M", "intrinsic_matrix")
_DISTORTION_NAMES = ("distortion_coefficients", "distCoeffs", "dist_coeffs", "Distortion_Coefficients", "D", "dist")
_ROTATION_NAMES = ("R", "rotation", "rotation_matrix", "rvec", "Rotation")
_TRANSLATION_NAMES = ("t", "T", "translation", "tvec", "Translation")
_WIDTH_NAMES = ("image_width", "image_Width", "width")
_HEIGHT_NAMES = ("image_height", "image_Height", "height")
_FISHEYE_NAMES = ("fisheye_model", "fisheye")
_YAML_TAG = re.compile(r"!!opencv-[\w-]+")
_NOT_FINITE = re.compile(r"\.(nan|inf)$", re.IGNORECASE)


def load_opencv(path: Path, unit: str | None, *, poses: bool) -> CameraRig:
    """Load a rig from one file of OpenCV's FileStorage, or from a folder of files that are named like their cameras.

    Args:
        unit: Unit of lengths if the files do not state it.
        poses: True if poses are required. If False, a camera without a pose is placed at the origin.
    """
    files = [path]
    if path.is_dir():
        found = (file for file in path.iterdir() if file.suffix.lower() in OPENCV_ENDINGS)
        files = sorted(found, key=lambda file: natural_key(file.name))
    if not files:
        raise InputError(f"{path} has no camera files: expected .yml, .yaml, .xml and COLMAP's cameras.txt")
    cameras: list[RigCamera] = []
    for file in files:
        content = _read_xml(file) if file.suffix.lower() == ".xml" else _read_yaml(file)
        file_unit, records = content.get("unit"), content.get("cameras")
        metres = metres_per_unit(unit or (file_unit if isinstance(file_unit, str) else None), str(file))
        named = (
            {f"{file.stem}{index}": record for index, record in enumerate(records)}
            if isinstance(records, list)
            else {file.stem: content}
        )
        cameras += [_read_camera(record, file, name, metres, poses=poses) for name, record in named.items()]
    return rig_from_cameras(cameras, str(path))


def save_opencv(rig: CameraRig, path: Path) -> None:
    """Write a rig in metres: all cameras into one file, or one file for each if the path has no ending."""
    if path.suffix:
        with atomic_file(path) as draft:
            _write_cameras(draft, list(rig))
        return
    with atomic_folder(path) as folder:
        for camera in rig:
            _write_cameras(folder / f"{camera.name}.yml", [camera])


def _write_cameras(file: Path, cameras: list[RigCamera]) -> None:
    import cv2

    storage = cv2.FileStorage(str(file), cv2.FILE_STORAGE_WRITE)
    storage.write("unit", "m")
    storage.startWriteStruct("cameras", cv2.FileNode_SEQ)
    for camera in cameras:
        storage.startWriteStruct("", cv2.FileNode_MAP)
        storage.write("name", f"camera {camera.name}")  # a name that is only a number would be read back as a number
        storage.write("image_width", camera.width)
        storage.write("image_height", camera.height)
        storage.write("camera_matrix", to_opencv(np.asarray(camera.camera.K, np.float64)))
        if camera.camera.distortion is not None:
            storage.write("distortion_coefficients", np.asarray(camera.camera.distortion, np.float64)[:, None])
            storage.write("fisheye_model", int(camera.camera.is_fisheye))
        storage.write("R", camera.R)
        storage.write("t", camera.t[:, None])
        storage.endWriteStruct()
    storage.endWriteStruct()
    storage.release()


def _read_yaml(file: Path) -> dict[str, Any]:
    """Return the content of a YAML file.

    OpenCV's own parser writes outside its memory if a file is damaged, so that the process crashes.
    """
    first, _, text = read_text(file).lstrip().partition("\n")
    if not first.startswith("%YAML"):
        raise InputError(f"{file} is not an OpenCV file: its first line must be %YAML:1.0")
    return load_yaml(file, _YAML_TAG.sub("", text))


def _read_xml(file: Path) -> dict[str, Any]:
    try:
        content = _xml_value(ElementTree.fromstring(read_text(file)))
    except (ElementTree.ParseError, RecursionError, ValueError) as error:
        raise InputError(f"{file} is damaged: {one_line(error)}; get it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} contains no cameras")
    return content


def _xml_value(element: ElementTree.Element) -> Any:  # noqa: ANN401  # any value of a file
    """Return a list for elements that are called `_`, a dictionary for others, and text for an element without any."""
    if len(element) == 0:
        return (element.text or "").strip().removeprefix('"').removesuffix('"')
    if all(child.tag == "_" for child in element):
        return [_xml_value(child) for child in element]
    return {child.tag: _xml_value(child) for child in element}


def _read_camera(node: Any, file: Path, default_name: str, metres: float, *, poses: bool) -> RigCamera:  # noqa: ANN401  # read from a file
    if not isinstance(node, dict):
        raise InputError(f"{file}: camera {default_name} has no fields")
    fields = cast("dict[str, Any]", node)
    name = str(fields.get("name", default_name)).removeprefix("camera ")
    at = f"{file}: camera {name}"
    if _read_number(fields, ("xi",), at):
        raise InputError(f"{at} has an omnidirectional lens, which is not supported")
    K = _read_matrix(fields, _MATRIX_NAMES, at)
    has_pose = poses or any(key in fields for key in (*_ROTATION_NAMES, *_TRANSLATION_NAMES))
    rotation, translation = (
        _read_matrix(fields, names, at) if has_pose else np.zeros(3) for names in (_ROTATION_NAMES, _TRANSLATION_NAMES)
    )
    if K.shape != (3, 3) or rotation.size not in (3, 9) or translation.size != 3:
        raise InputError(
            f"{at}: sizes {K.shape}, {rotation.shape}, {translation.shape} are not "
            "a 3x3 matrix, a rotation and a translation"
        )
    size = [_read_number(fields, names, at) for names in (_WIDTH_NAMES, _HEIGHT_NAMES)]
    if None in size:
        raise InputError(f"{at} has no image_width and image_height")
    R = matrix_from_rotation_vector(rotation.ravel()) if rotation.size == 3 else rotation
    lens, fisheye = None, bool(_read_number(fields, _FISHEYE_NAMES, at))
    if any(key in fields for key in _DISTORTION_NAMES):
        lens = lens_coefficients(_read_matrix(fields, _DISTORTION_NAMES, at), f"{at}: distortion", fisheye=fisheye)
    t_m = translation.ravel() * metres
    return camera_from_record(str(file), name, size, K=from_opencv(K), R=R, t_m=t_m, lens=lens)


def _read_number(fields: dict[str, Any], names: tuple[str, ...], location: str) -> float | None:
    """Return the number under the first of the names that exists; None if there is none."""
    value = next((fields[key] for key in names if key in fields), None)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        raise InputError(f"{location}: {names[0]} is not a number") from None


def _read_matrix(fields: dict[str, Any], names: tuple[str, ...], location: str) -> FloatArray:
    key = next((key for key in names if key in fields), None)
    if key is None:
        raise InputError(f"{location} has no matrix {names[0]!r} (nor {', '.join(names[1:])})")
    try:
        matrix = fields[key]
        sizes = _numbers(matrix["sizes"]) if "sizes" in matrix else _numbers([matrix["rows"], matrix["cols"]])
        return np.asarray(_numbers(matrix["data"]), np.float64).reshape([int(size) for size in sizes])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{location}: {key!r} is not a matrix of numbers") from None


def _numbers(values: Any) -> list[float]:  # noqa: ANN401  # a list, or a text of XML
    """Return numbers as OpenCV writes them: not finite ones are .Nan, .Inf and -.Inf."""
    texts = values.split() if isinstance(values, str) else [str(value) for value in values]
    return [float(_NOT_FINITE.sub(r"\1", text)) for text in texts]


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
    """Load a rig from a folder with COLMAP's cameras.txt and images.txt.

    Source: COLMAP's documentation, "Output format". One registered image is one camera of the rig. A reconstruction
    has no scale of its own, so the unit must be given. Sonjit writes it as a comment.
    """
    path = folder / "cameras.txt"
    lines = [(f"{path}, line {number}", line) for number, line in enumerate(read_text(path).splitlines(), 1)]
    lenses = dict(_parse_lens(line, at) for at, line in lines if line.strip() and not line.startswith("#"))
    path = folder / "images.txt"
    text = read_text(path)
    file_unit = re.search(r"^# unit: (\w+)", text, re.MULTILINE)
    metres = metres_per_unit(unit or (file_unit[1] if file_unit else None), str(folder))
    cameras: list[RigCamera] = []
    lines = [(f"{path}, line {n}", line.strip()) for n, line in enumerate(text.splitlines(), 1) if line[:1] != "#"]
    for at, line in lines[::2]:  # every second line contains 2D points and may be empty
        if not line:
            continue
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise InputError(f"{at}: expected IMAGE_ID, 7 numbers, CAMERA_ID and NAME, got {line[:60]!r}")
        *quaternion, tx, ty, tz = floats_from_words(words[1:8], at)
        if words[8] not in lenses:
            raise InputError(f"{at}: cameras.txt has no camera {words[8]}")
        width, height, K, lens = lenses[words[8]]
        name = PurePosixPath(words[9])
        camera_name = str(name.with_suffix("")) if name.suffix.lower() in IMAGE_ENDINGS else str(name)
        norm = float(np.linalg.norm(quaternion))
        if not norm > 0:
            raise InputError(f"{at}: the rotation's four numbers are 0")
        R, t_m = matrix_from_quaternion_wxyz(np.array(quaternion) / norm), np.array([tx, ty, tz]) * metres
        cameras.append(camera_from_record(str(path), camera_name, [width, height], K=K, R=R, t_m=t_m, lens=lens))
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
        values = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *lens, 0, 0, 0][: len(_LENS_MODELS[model].split())]
        pose = [*quaternion_wxyz_from_matrix(camera.R), *camera.t]
        shown, placed = (" ".join(repr(float(value)) for value in part) for part in (values, pose))  # read back exactly
        cameras.append(f"{number} {model} {camera.width} {camera.height} {shown}")
        images += [f"{number} {placed} {number} {camera.name}", ""]
    with atomic_folder(folder) as draft:
        for name, lines in (("cameras", cameras), ("images", images), ("points3D", ["# 3D point list: empty"])):
            (draft / f"{name}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


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
