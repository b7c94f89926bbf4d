"""Read and write OpenCV's FileStorage: one file with a list of cameras, or a file for each camera.

Programs use different names for the same fields. The reader also recognises the names in the files of OpenCV's own
samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file, atomic_folder
from sonjit.geometry.rotations import (
    matrix_from_rotation_vector,
)
from sonjit.lab.datasets.reading import one_line
from sonjit.media.sources.open import natural_key
from sonjit.studio.cameras.records import (
    camera_from_record,
    from_opencv,
    lens_coefficients,
    metres_per_unit,
    read_text,
    rig_from_cameras,
    to_opencv,
)
from sonjit.studio.cameras.rig import CameraRig, RigCamera

OPENCV_ENDINGS = (".yml", ".yaml", ".xml")
_MATRIX_NAMES = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "K", "M", "intrinsic_matrix")
_DISTORTION_NAMES = ("distortion_coefficients", "distCoeffs", "dist_coeffs", "Distortion_Coefficients", "D", "dist")
_ROTATION_NAMES = ("R", "rotation", "rotation_matrix", "rvec", "Rotation")
_TRANSLATION_NAMES = ("t", "T", "translation", "tvec", "Translation")
_WIDTH_NAMES = ("image_width", "image_Width", "width")
_HEIGHT_NAMES = ("image_height", "image_Height", "height")
_FISHEYE_NAMES = ("fisheye_model", "fisheye")


def load_opencv(path: Path, unit: str | None = None, *, poses: bool = True) -> CameraRig:
    """Load a rig from one file or from a folder of files, whose cameras are named like their files.

    Args:
        path: File or folder.
        unit: Unit of lengths if the files do not state it.
        poses: True if poses are required. If False, a camera without a pose is placed at the origin.

    Raises:
        InputError: A file is damaged, a field of a camera is missing, or the unit is unknown.
    """
    if not path.is_dir():
        return rig_from_cameras(_read_cameras(path, unit, poses=poses), str(path))
    files = sorted(
        (file for file in path.iterdir() if file.suffix.lower() in OPENCV_ENDINGS),
        key=lambda file: natural_key(file.name),
    )
    if not files:
        raise InputError(f"{path} has no camera files: expected .yml, .yaml, .xml and COLMAP's cameras.txt")
    cameras = [camera for file in files for camera in _read_cameras(file, unit, poses=poses)]
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
    """Write cameras into one file."""
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


def _read_cameras(file: Path, unit: str | None, *, poses: bool) -> list[RigCamera]:
    """Read the cameras of one file."""
    import cv2

    text = read_text(file)
    if file.suffix.lower() != ".xml" and not text.lstrip().startswith("%YAML"):
        raise InputError(f"{file} is not an OpenCV file: its first line must be %YAML:1.0")
    try:
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        root = storage.root()
        camera_nodes = storage.getNode("cameras")
        file_unit = storage.getNode("unit")
        metres = metres_per_unit(unit or (file_unit.string() if file_unit.isString() else None), str(file))
        if not camera_nodes.isSeq():
            return [_read_camera(root, file, file.stem, metres, poses=poses)]
        return [
            _read_camera(camera_nodes.at(index), file, f"{file.stem}{index}", metres, poses=poses)
            for index in range(camera_nodes.size())
        ]
    except (cv2.error, SystemError) as error:
        raise InputError(f"{file} is damaged: {one_line(error)}; get it again") from None


def _read_camera(node: Any, file: Path, default_name: str, metres: float, *, poses: bool) -> RigCamera:  # noqa: ANN401  # cv2.FileNode
    """Read one camera from its node."""
    name_node = node.getNode("name")
    name = name_node.string().removeprefix("camera ") if name_node.isString() else default_name
    location = f"{file}: camera {name}"
    if any(child.real() for child in _children(node, ("xi",))):
        raise InputError(f"{location} has an omnidirectional lens, which is not supported")
    K = _read_matrix(node, _MATRIX_NAMES, location)
    has_pose = poses or next(_children(node, (*_ROTATION_NAMES, *_TRANSLATION_NAMES)), None) is not None
    rotation, translation = (
        _read_matrix(node, names, location) if has_pose else np.zeros(3)
        for names in (_ROTATION_NAMES, _TRANSLATION_NAMES)
    )
    if K.shape != (3, 3) or rotation.size not in (3, 9) or translation.size != 3:
        raise InputError(
            f"{location}: sizes {K.shape}, {rotation.shape}, {translation.shape} are not "
            "a 3x3 matrix, a rotation and a translation"
        )
    lens, width, height = (
        next(_children(node, names), None) for names in (_DISTORTION_NAMES, _WIDTH_NAMES, _HEIGHT_NAMES)
    )
    if width is None or height is None:
        raise InputError(f"{location} has no image_width and image_height")
    R = matrix_from_rotation_vector(rotation.ravel()) if rotation.size == 3 else rotation
    distortion = None if lens is None else lens.mat()
    fisheye = any(child.real() for child in _children(node, _FISHEYE_NAMES))
    coefficients = (
        None if distortion is None else lens_coefficients(distortion, f"{location}: distortion", fisheye=fisheye)
    )
    return camera_from_record(
        str(file),
        name,
        [width.real(), height.real()],
        K=from_opencv(K),
        R=R,
        t_m=translation.ravel() * metres,
        lens=coefficients,
    )


def _children(node: Any, names: tuple[str, ...]) -> Iterator[Any]:  # noqa: ANN401  # cv2.FileNode
    """Iterate over those of the names that the node has."""
    return (child for key in names if not (child := node.getNode(key)).empty())


def _read_matrix(node: Any, names: tuple[str, ...], location: str) -> FloatArray:  # noqa: ANN401  # cv2.FileNode
    """Return the first matrix that the node has under one of the names."""
    for child in _children(node, names):
        if (matrix := child.mat()) is not None:
            return np.asarray(matrix, np.float64)
    raise InputError(f"{location} has no matrix {names[0]!r} (nor {', '.join(names[1:])})")
