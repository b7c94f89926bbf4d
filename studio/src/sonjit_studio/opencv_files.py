"""Read and write OpenCV's files of cameras, YAML and XML."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast
from xml.etree import ElementTree

import numpy as np

from sonjit._util import FloatArray, InputError
from sonjit._util.files import atomic_file, atomic_folder
from sonjit._util.records import load_yaml, one_line
from sonjit.geometry import rotations
from sonjit.geometry.cameras import CameraModel
from sonjit.media.sources import natural_key
from sonjit_studio import camera_numbers
from sonjit_studio.rig import CameraRig, RigCamera

OPENCV_ENDINGS = (".yml", ".yaml", ".xml")

_MATRIX_NAMES = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "K", "M", "intrinsic_matrix")
_DISTORTION_NAMES = ("distortion_coefficients", "distCoeffs", "dist_coeffs", "Distortion_Coefficients", "D", "dist")
_ROTATION_NAMES = ("R", "rotation", "rotation_matrix", "rvec", "Rotation")
_TRANSLATION_NAMES = ("t", "T", "translation", "tvec", "Translation")
_WIDTH_NAMES = ("image_width", "image_Width", "width")
_HEIGHT_NAMES = ("image_height", "image_Height", "height")
_FISHEYE_NAMES = ("fisheye_model", "fisheye")
_MODEL_NAMES = ("distortion_model", "camera_model")
_MODELS: Final[dict[str, CameraModel]] = {
    **dict.fromkeys(("pinhole", "plumb_bob", "rational_polynomial", "radtan", "opencv", "brown"), "pinhole"),
    **dict.fromkeys(("fisheye", "equidistant", "kannala_brandt", "opencv_fisheye"), "fisheye"),
}
"""Models of lenses by the names that other programs write."""
_YAML_TAG = re.compile(r"!!opencv-[\w-]+")
_NOT_FINITE = re.compile(r"\.(nan|inf)$", re.IGNORECASE)


def read_opencv(path: Path, unit: str | None, *, poses: bool) -> Iterator[RigCamera]:
    """Read one file of OpenCV's FileStorage, or a folder of files that are named like their cameras."""
    files = [path]
    if path.is_dir():
        candidates = (file for file in path.iterdir() if file.suffix.lower() in OPENCV_ENDINGS)
        files = sorted(candidates, key=lambda file: natural_key(file.name))
    if not files:
        raise InputError(f"{path} has no camera files: expected .yml, .yaml, .xml and COLMAP's cameras.txt")
    for file in files:
        content = _read_xml(file) if file.suffix.lower() == ".xml" else _read_yaml(file)
        file_unit, records = content.get("unit"), content.get("cameras")
        metres = camera_numbers.metres_per_unit(unit or (file_unit if isinstance(file_unit, str) else None), str(file))
        if not isinstance(records, list):
            yield _read_camera(content, file, file.stem, metres, poses=poses)
            continue
        for index, record in enumerate(records):
            yield _read_camera(record, file, f"{file.stem}{index}", metres, poses=poses)


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
        storage.write("camera_matrix", camera_numbers.to_opencv(np.asarray(camera.camera.K, np.float64)))
        if camera.camera.distortion is not None:
            storage.write("distortion_coefficients", np.asarray(camera.camera.distortion, np.float64)[:, None])
            storage.write("fisheye_model", int(camera.camera.is_fisheye))
        storage.write("R", camera.R)
        storage.write("t", camera.t[:, None])
        storage.endWriteStruct()
    storage.endWriteStruct()
    storage.release()


def _read_yaml(file: Path) -> dict[str, Any]:
    """Return the content of a YAML file without OpenCV's parser, which crashes on damaged ones."""
    first, _, text = camera_numbers.read_text(file).lstrip().partition("\n")
    if not first.startswith("%YAML"):
        raise InputError(f"{file} is not an OpenCV file: its first line must be %YAML:1.0")
    return load_yaml(file, _YAML_TAG.sub("", text))


def _read_xml(file: Path) -> dict[str, Any]:
    try:
        content = _xml_value(ElementTree.fromstring(camera_numbers.read_text(file)))
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
    rotation = _read_matrix(fields, _ROTATION_NAMES, at) if has_pose else np.zeros(3)
    translation = _read_matrix(fields, _TRANSLATION_NAMES, at) if has_pose else np.zeros(3)
    if K.shape != (3, 3) or rotation.size not in (3, 9) or translation.size != 3:
        raise InputError(
            f"{at}: sizes {K.shape}, {rotation.shape}, {translation.shape} are not "
            "a 3x3 matrix, a rotation and a translation"
        )
    size = [_read_number(fields, names, at) for names in (_WIDTH_NAMES, _HEIGHT_NAMES)]
    if None in size:
        raise InputError(f"{at} has no image_width and image_height")
    R = rotations.matrix_from_rotation_vector(rotation.ravel()) if rotation.size == 3 else rotation
    lens = camera_numbers.Lens()
    if any(key in fields for key in _DISTORTION_NAMES):
        coefficients = _read_matrix(fields, _DISTORTION_NAMES, at)
        named = next((str(fields[key]) for key in _MODEL_NAMES if key in fields), "pinhole")
        named = "fisheye" if _read_number(fields, _FISHEYE_NAMES, at) else named
        if (model := _MODELS.get(named.lower())) is None:
            raise InputError(f"{at} has the lens model {named!r:.40}: {', '.join(_MODELS)} are read")
        lens = camera_numbers.lens_of(coefficients, f"{at}: distortion", model)
    t_m = translation.ravel() * metres
    return camera_numbers.camera_of(str(file), name, size, K=camera_numbers.from_opencv(K), R=R, t_m=t_m, lens=lens)


def _read_number(fields: dict[str, Any], names: tuple[str, ...], location: str) -> float | None:
    """Return the number under the first of the names that exists; None if there is none."""
    value = next((fields[key] for key in names if key in fields), None)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
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
