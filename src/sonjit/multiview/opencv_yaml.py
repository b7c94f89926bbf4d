"""OpenCV's FileStorage: one file with a list of cameras, or a file for each.

The names of a camera's parts differ from program to program; those of OpenCV's own samples are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.datasets.reading import one_line
from sonjit.errors import InputError
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.media.outputs import Draft, failing_as_job
from sonjit.media.stills import natural_key
from sonjit.multiview.camera_records import Unit, lens_from, metres_of, record_camera, rig_from_records, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.multiview.cameras import CameraRig, RigCamera

OPENCV_ENDINGS = (".yml", ".yaml", ".xml")
_MATRIX = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "K", "M", "intrinsic_matrix")
_LENS = ("distortion_coefficients", "distCoeffs", "dist_coeffs", "Distortion_Coefficients", "D", "dist")
_TURN = ("R", "rotation", "rotation_matrix", "rvec", "Rotation")
_SHIFT = ("t", "T", "translation", "tvec", "Translation")
_WIDTH = ("image_width", "image_Width", "width")
_HEIGHT = ("image_height", "image_Height", "height")
_FISHEYE = ("fisheye_model", "fisheye", "xi")


def load_opencv(path: Path, unit: Unit | None = None) -> CameraRig:
    """A rig from one file, or from a folder of them: a camera is then called as its file.

    Raises:
        InputError: damaged, something of a camera is missing, or no unit is given.
    """
    if not path.is_dir():
        return rig_from_records(_cameras_of(path, unit), str(path))
    files = sorted((f for f in path.iterdir() if f.suffix.lower() in OPENCV_ENDINGS), key=lambda f: natural_key(f.name))
    if not files:
        raise InputError(f"{path} holds no files of cameras: looked for .yml, .yaml, .xml and COLMAP's cameras.txt")
    return rig_from_records([camera for file in files for camera in _cameras_of(file, unit)], str(path))


def save_opencv(rig: CameraRig, path: Path) -> None:
    """Write a rig, in metres: all cameras into one file, or one file for each where the path has no ending."""
    if path.suffix:
        _write(path, list(rig), path)
        return
    draft = Draft(path, folder=True)
    try:
        for view in rig:
            _write(draft.draft / f"{view.name}.yml", [view], path)
        draft.keep()
    finally:
        draft.drop()


def _write(file: Path, views: list[RigCamera], named: Path) -> None:
    import cv2

    draft = Draft(file)
    try:
        with failing_as_job(named):
            storage = cv2.FileStorage(str(draft.draft), cv2.FILE_STORAGE_WRITE)
            storage.write("unit", "m")
            storage.startWriteStruct("cameras", cv2.FileNode_SEQ)
            for view in views:
                storage.startWriteStruct("", cv2.FileNode_MAP)
                storage.write("name", f"camera {view.name}")  # a number alone would be read back as one
                storage.write("image_width", view.width)
                storage.write("image_height", view.height)
                storage.write("camera_matrix", np.asarray(view.camera.K, np.float64))
                if view.camera.distortion is not None:
                    storage.write("distortion_coefficients", np.asarray(view.camera.distortion, np.float64)[:, None])
                storage.write("R", view.R)
                storage.write("t", view.t[:, None])
                storage.endWriteStruct()
            storage.endWriteStruct()
            storage.release()
        draft.keep()
    finally:
        draft.drop()


def _cameras_of(file: Path, unit: Unit | None) -> list[RigCamera]:
    import cv2

    text = text_of(file)
    if file.suffix.lower() != ".xml" and not text.lstrip().startswith("%YAML"):
        raise InputError(f"{file} is none of OpenCV's files: its first line must be %YAML:1.0")
    try:
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        root = storage.root()
        listed = storage.getNode("cameras")
        said = storage.getNode("unit")
        metres = metres_of(unit or (said.string() if said.isString() else None), str(file))
        if not listed.isSeq():
            return [_camera(root, file, file.stem, metres)]
        return [_camera(listed.at(place), file, f"{file.stem}{place}", metres) for place in range(listed.size())]
    except (cv2.error, SystemError) as error:
        raise InputError(f"{file} is damaged: {one_line(error)}; get it again") from None


def _camera(node: Any, file: Path, otherwise: str, metres: float) -> RigCamera:  # noqa: ANN401  # cv2.FileNode
    said = node.getNode("name")
    name = said.string().removeprefix("camera ") if said.isString() else otherwise
    named = f"{file}: camera {name}"
    if any(not node.getNode(key).empty() for key in _FISHEYE) and any(node.getNode(key).real() for key in _FISHEYE):
        raise InputError(f"{named} has a fisheye or omnidirectional lens, which is not supported")
    K, turn, shift = (_matrix(node, names, named) for names in (_MATRIX, _TURN, _SHIFT))
    if K.shape != (3, 3) or turn.size not in (3, 9) or shift.size != 3:
        raise InputError(f"{named}: sizes {K.shape}, {turn.shape}, {shift.shape} are no 3x3 matrix, rotation and shift")
    lens = next((node.getNode(key).mat() for key in _LENS if not node.getNode(key).empty()), None)
    size = [
        next((node.getNode(key).real() for key in keys if not node.getNode(key).empty()), None)
        for keys in (_WIDTH, _HEIGHT)
    ]
    if None in size:
        raise InputError(f"{named} has no image_width and image_height")
    R = matrix_from_rotation_vector(turn.ravel()) if turn.size == 3 else turn
    bent = None if lens is None else lens_from(lens, f"{named}: distortion")
    return record_camera(str(file), name, size, K, R, shift.ravel() * metres, bent)


def _matrix(node: Any, names: tuple[str, ...], named: str) -> NDArray[np.float64]:  # noqa: ANN401  # cv2.FileNode
    for key in names:
        child = node.getNode(key)
        matrix = None if child.empty() else child.mat()
        if matrix is not None:
            return np.asarray(matrix, np.float64)
    raise InputError(f"{named} has no matrix {names[0]!r} (also looked for {', '.join(names[1:])})")
