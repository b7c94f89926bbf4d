"""Readers and writers of other programs' camera files.

OpenCV, and with it anipose and caliscope, count pixels from the middle of the first one, and Sonjit and COLMAP from its
corner: principal points move by half a pixel where such files are read and written.

Caliscope's camera_array.toml: a table per camera under `cameras`, rotation as a matrix or Rodrigues vector, metres.

Source: files of its 2023 version; its cameras are named like its videos, cam_0 for camera 0.

Anipose's calibration.toml: a table per camera with size, matrix, distortions, rotation (Rodrigues), translation.

Source: aniposelib's documentation. Lengths are in the unit of the measured board, which the file does not state;
ours states it as `unit` under `[metadata]`.

COLMAP's text model: cameras.txt and images.txt. One registered image is one camera of the rig.

Source: COLMAP's documentation, "Output format". A reconstruction has no scale of its own, so the unit must be given;
ours writes it as a comment.

InterHand2.6M's camera file: per capture campos, camrot, focal, princpt, each by camera.

Source: Moon et al., ECCV 2020; `campos` is where a camera is, in millimetres: x_camera = camrot (x_world - campos).
The file holds no image sizes; ours adds a `size`, which other readers pass over.

OpenCV's FileStorage: one file with a list of cameras, or a file for each.

The names of a camera's parts differ from program to program; those of OpenCV's own samples are known.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sonjit.arrays import FloatArray
from sonjit.datasets.hands.interhand import index_images
from sonjit.datasets.joint_orders import MM, camera_matrix
from sonjit.datasets.reading import field, numbers, one_line
from sonjit.errors import InputError
from sonjit.files import atomic_file, atomic_folder, write_text
from sonjit.geometry.rotations import (
    matrix_from_quaternion_wxyz,
    matrix_from_rotation_vector,
    quaternion_wxyz_from_matrix,
)
from sonjit.media.sources.image_files import IMAGE_ENDINGS
from sonjit.media.sources.open import natural_key
from sonjit.multiview.cameras.rig import (
    CameraRig,
    RigCamera,
    lens_from,
    lens_or_zeros,
    metres_of,
    record_camera,
    refuse_skew,
    rig_from_records,
    rotation_vector,
    text_of,
)


def from_opencv(K: FloatArray) -> FloatArray:
    """K (3, 3) for pixels that count from the first one's corner, of one that counts from its middle."""
    return K + _TO_MIDDLE


def to_opencv(K: FloatArray) -> FloatArray:
    """The reverse of `from_opencv`."""
    return K - _TO_MIDDLE


_TO_MIDDLE = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])


def load_anipose(path: Path, unit: str | None = None, *, poses: bool = True) -> CameraRig:
    """A rig from a file of anipose or caliscope; without `poses` a camera that has none is at the origin.

    Raises:
        InputError: damaged, or no unit given.
    """
    try:
        content = tomllib.loads(text_of(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} is truncated or not TOML: {error}; get it again") from None
    cameras, about = content.get("cameras"), content.get("metadata")
    stated = about.get("unit") if isinstance(about, dict) else None
    if isinstance(cameras, dict):
        tables = {f"cam_{key}": table for key, table in cameras.items() if isinstance(table, dict)}
        stated = "m"
    else:
        tables = {key: table for key, table in content.items() if key != "metadata" and isinstance(table, dict)}
        if any("cam_id" in table for table in tables.values()):  # caliscope's config.toml has other tables beside
            tables = {key: table for key, table in tables.items() if "cam_id" in table}
            stated = "m"
    metres = metres_of(unit or stated, str(path))
    made: list[RigCamera] = []
    for key, table in tables.items():
        at = f"{path}: {key}"
        table = table if poses else {"rotation": [0.0] * 3, "translation": [0.0] * 3} | table
        turn = field(table, "rotation", at)
        is_matrix = isinstance(turn, list) and bool(turn) and isinstance(turn[0], list)
        shapes = {"matrix": (3, 3), "rotation": (3, 3) if is_matrix else (3,), "translation": (3,)}
        read = {name: numbers(field(table, name, at), shape, f"{at}.{name}") for name, shape in shapes.items()}
        made.append(
            record_camera(
                str(path),
                table.get("name", key),
                field(table, "size", at),
                from_opencv(read["matrix"]),
                read["rotation"] if is_matrix else matrix_from_rotation_vector(read["rotation"]),
                read["translation"] * metres,
                lens_from(table.get("distortions", []), f"{at}.distortions", fisheye=bool(table.get("fisheye"))),
            )
        )
    return rig_from_records(made, str(path))


def save_anipose(rig: CameraRig, path: Path) -> None:
    """Write a rig, in millimetres."""
    lines: list[str] = []
    for place, view in enumerate(rig):
        fields: dict[str, object] = {
            "name": view.name,
            "size": [view.width, view.height],
            "matrix": to_opencv(np.asarray(view.camera.K, float)).tolist(),
            "distortions": lens_or_zeros(view).tolist(),
            "fisheye": view.camera.is_fisheye,
            "rotation": rotation_vector(view.R).tolist(),
            "translation": (view.t * 1000).tolist(),
        }
        # JSON's texts, numbers and lists of them are TOML's too
        lines += [f"[cam_{place}]", *(f"{name} = {json.dumps(value)}" for name, value in fields.items()), ""]
    write_text(path, "\n".join([*lines, "[metadata]", 'unit = "mm"', ""]))


_MODELS = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
}

_LENS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


def load_colmap(folder: Path, unit: str | None = None) -> CameraRig:
    """A rig from a folder with cameras.txt and images.txt.

    Raises:
        InputError: a file is missing or damaged, a lens model is not supported, or no unit is given.
    """
    lenses = dict(map(_lens_record, *_lines(folder / "cameras.txt")))
    path = folder / "images.txt"
    text = text_of(path)
    stated = re.search(r"^# unit: (\w+)", text, re.MULTILINE)
    metres = metres_of(unit or (stated[1] if stated else None), str(folder))
    made: list[RigCamera] = []
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if not line.startswith("#")]
    for number, line in lines[::2]:  # every second line holds 2D points, and may be empty
        if not line:
            continue
        at = f"{path}, line {number}"
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise InputError(f"{at}: IMAGE_ID, 7 numbers, CAMERA_ID and NAME are wanted, not {line[:60]!r}")
        *quaternion, tx, ty, tz = floats_of(words[1:8], at)
        if words[8] not in lenses:
            raise InputError(f"{at}: cameras.txt has no camera {words[8]}")
        width, height, K, lens = lenses[words[8]]
        name = PurePosixPath(words[9])
        named = str(name.with_suffix("")) if name.suffix.lower() in IMAGE_ENDINGS else str(name)
        length = float(np.linalg.norm(quaternion))
        if not length > 0:
            raise InputError(f"{at}: the rotation's four numbers are 0")
        R = matrix_from_quaternion_wxyz(np.array(quaternion) / length)
        made.append(record_camera(str(path), named, [width, height], K, R, np.array([tx, ty, tz]) * metres, lens))
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
        model = "FULL_OPENCV" if lens[4:].any() else "OPENCV" if lens.any() else "PINHOLE"
        model = "OPENCV_FISHEYE" if view.camera.is_fisheye else model
        values = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *lens, 0, 0, 0]
        values = values[: len(_MODELS[model].split())]
        cameras.append(" ".join([str(number), model, f"{view.width}", f"{view.height}", *_texts(values)]))
        images += [
            " ".join([str(number), *_texts([*quaternion_wxyz_from_matrix(view.R), *view.t]), str(number), view.name]),
            "",
        ]
    with atomic_folder(folder) as draft:
        for name, lines in (("cameras", cameras), ("images", images), ("points3D", ["# 3D point list: empty"])):
            (draft / f"{name}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _texts(values: object) -> list[str]:
    return [repr(float(value)) for value in np.ravel(np.asarray(values, np.float64))]


def _lines(path: Path) -> tuple[list[str], list[str]]:
    """A file's lines that are not comments, and how to name each."""
    kept = [(f"{path}, line {n}", line) for n, line in enumerate(text_of(path).splitlines(), 1)]
    kept = [(at, line) for at, line in kept if line.strip() and not line.startswith("#")]
    return [line for _, line in kept], [at for at, _ in kept]


def _lens_record(line: str, at: str) -> tuple[str, tuple[float, float, FloatArray, FloatArray | None]]:
    """A camera's id; its width, height, K and lens."""
    number, model, *words = [*line.split(), "", ""]
    if model not in _MODELS:
        raise InputError(f"{at}: lens model {model!r} is not supported: undistort to one of {', '.join(_MODELS)}")
    names = ["width", "height", *_MODELS[model].split()]
    words = words[:-2]
    if len(words) != len(names):
        raise InputError(f"{at}: {model} has {len(names)} numbers after its name, not {len(words)}")
    value = dict(zip(names, floats_of(words, at), strict=True))
    f = value.get("f", 0.0)
    K = np.array([[value.get("fx", f), 0, value["cx"]], [0, value.get("fy", f), value["cy"]], [0, 0, 1]])
    fisheye = model == "OPENCV_FISHEYE"
    lens = lens_from([value.get(name, 0.0) for name in (names[-4:] if fisheye else _LENS)], at, fisheye=fisheye)
    return number, (value["width"], value["height"], K, lens)


def floats_of(words: list[str], at: str) -> list[float]:
    """Words of a text file as numbers; `at` is where they are, for the message of the InputError."""
    try:
        return [float(word) for word in words]
    except ValueError:
        raise InputError(f"{at}: {' '.join(words)[:60]!r} are not numbers") from None


_FIELDS = ("campos", "camrot", "focal", "princpt")


def cameras_from_captures(
    content: Any,  # noqa: ANN401  # JSON
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    capture: str | None = None,
) -> CameraRig:
    """A rig of one capture.

    Args:
        content: of the file.
        path: of the file; sizes are taken from `..._data.json` beside `..._camera.json` where neither file nor caller
            gives them.
        size: width and height, pixels; swapped for cameras whose principal point shows that they are upright.
        capture: which; needed where the file holds several.

    Raises:
        InputError: not such a camera file, or it lacks something that the caller did not give.
    """
    if isinstance(content, dict) and all(name in content for name in _FIELDS):
        content = {capture or "0": content}  # one capture alone
    captures = [key for key, value in content.items() if _holds_cameras(value)] if isinstance(content, dict) else []
    if not captures:
        raise InputError(f"{path} holds no cameras: neither Sonjit's nor InterHand2.6M's names are in it")
    if capture is None and len(captures) > 1:
        raise InputError(f"{path} holds captures {', '.join(captures)[:80]}: give --capture")
    chosen = captures[0] if capture is None else capture
    record = field(content, chosen, f"{path}: captures")
    positions = field(record, "campos", f"{path}: {chosen}")
    sizes = record.get("size") or ({} if size else _sizes_beside(path, chosen))
    made: list[RigCamera] = []
    for name in positions:
        at = f"{path}: {chosen}.{{}}.{name}"
        where, turned, focal, middle = (
            numbers(field(field(record, kind, str(path)), name, at.format(kind)), shape, at.format(kind))
            for kind, shape in zip(_FIELDS, ((3,), (3, 3), (2,), (2,)), strict=True)
        )
        if name not in sizes and size is None:
            raise InputError(f"{path} holds no image sizes: give --size, such as --size 512x334")
        own = sizes[name] if name in sizes else _turned(size or (0, 0), (float(middle[0]), float(middle[1])))
        K = camera_matrix(focal, middle)
        made.append(record_camera(str(path), name, own, K, turned, -turned @ where * MM, None))
    return rig_from_records(made, str(path))


def save_interhand(rig: CameraRig, path: Path, capture: str = "0") -> None:
    """Write a rig as the cameras of one capture.

    Raises:
        InputError: a camera has distortion or skew, which the format cannot hold.
    """
    refuse_skew(rig, "InterHand2.6M's format")
    for view in rig:
        if view.camera.distortion is not None:
            raise InputError(
                f"camera {view.name!r} has distortion, which InterHand2.6M's format cannot hold: undistort the "
                "images first, or write another format"
            )
    record = {
        "campos": {view.name: (view.centre_m / MM).tolist() for view in rig},
        "camrot": {view.name: view.R.tolist() for view in rig},
        "focal": {view.name: [float(view.camera.K[0, 0]), float(view.camera.K[1, 1])] for view in rig},
        "princpt": {view.name: [float(view.camera.K[0, 2]), float(view.camera.K[1, 2])] for view in rig},
        "size": {view.name: [view.width, view.height] for view in rig},
    }
    write_text(path, json.dumps({capture: record}) + "\n")


def _holds_cameras(value: object) -> bool:
    return isinstance(value, dict) and all(name in value for name in _FIELDS)


def _turned(size: tuple[int, int], middle: tuple[float, float]) -> tuple[int, int]:
    """The size or its exchange, whichever has its middle nearer to the principal point."""
    ways = (size, (size[1], size[0]))
    return min(ways, key=lambda way: abs(way[0] / 2 - middle[0]) + abs(way[1] / 2 - middle[1]))


def _sizes_beside(path: Path, capture: str) -> dict[str, tuple[int, int]]:
    """Each camera's image size from the images' own file beside the cameras'; empty without."""
    beside = path.with_name(path.name.replace("_camera.json", "_data.json"))
    if beside == path or not beside.is_file():
        return {}
    index = index_images(beside)
    sizes: dict[str, tuple[int, int]] = {}
    for place in range(len(index.annotation_ids)):
        try:
            image = index.image(place)
        except InputError:  # a wrong image is not the cameras' matter
            continue
        if image.capture == capture:
            sizes.setdefault(image.camera, (image.width, image.height))
    return sizes


OPENCV_ENDINGS = (".yml", ".yaml", ".xml")
_MATRIX = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "K", "M", "intrinsic_matrix")
_OPENCV_LENS = ("distortion_coefficients", "distCoeffs", "dist_coeffs", "Distortion_Coefficients", "D", "dist")
_TURN = ("R", "rotation", "rotation_matrix", "rvec", "Rotation")
_SHIFT = ("t", "T", "translation", "tvec", "Translation")
_WIDTH = ("image_width", "image_Width", "width")
_HEIGHT = ("image_height", "image_Height", "height")
_FISHEYE = ("fisheye_model", "fisheye")


def load_opencv(path: Path, unit: str | None = None, *, poses: bool = True) -> CameraRig:
    """A rig from one file, or from a folder of them: a camera is then named like its file.

    Without `poses` a camera that has none is at the origin.

    Raises:
        InputError: damaged, something of a camera is missing, or no unit is given.
    """
    if not path.is_dir():
        return rig_from_records(_cameras_of(path, unit, poses=poses), str(path))
    files = sorted((f for f in path.iterdir() if f.suffix.lower() in OPENCV_ENDINGS), key=lambda f: natural_key(f.name))
    if not files:
        raise InputError(f"{path} has no camera files: expected .yml, .yaml, .xml and COLMAP's cameras.txt")
    made = [camera for file in files for camera in _cameras_of(file, unit, poses=poses)]
    return rig_from_records(made, str(path))


def save_opencv(rig: CameraRig, path: Path) -> None:
    """Write a rig, in metres: all cameras into one file, or one file for each where the path has no ending."""
    if path.suffix:
        with atomic_file(path) as draft:
            _write(draft, list(rig))
        return
    with atomic_folder(path) as folder:
        for view in rig:
            _write(folder / f"{view.name}.yml", [view])


def _write(file: Path, views: list[RigCamera]) -> None:
    import cv2

    storage = cv2.FileStorage(str(file), cv2.FILE_STORAGE_WRITE)
    storage.write("unit", "m")
    storage.startWriteStruct("cameras", cv2.FileNode_SEQ)
    for view in views:
        storage.startWriteStruct("", cv2.FileNode_MAP)
        storage.write("name", f"camera {view.name}")  # a number alone would be read back as one
        storage.write("image_width", view.width)
        storage.write("image_height", view.height)
        storage.write("camera_matrix", to_opencv(np.asarray(view.camera.K, np.float64)))
        if view.camera.distortion is not None:
            storage.write("distortion_coefficients", np.asarray(view.camera.distortion, np.float64)[:, None])
            storage.write("fisheye_model", int(view.camera.is_fisheye))
        storage.write("R", view.R)
        storage.write("t", view.t[:, None])
        storage.endWriteStruct()
    storage.endWriteStruct()
    storage.release()


def _cameras_of(file: Path, unit: str | None, *, poses: bool) -> list[RigCamera]:
    import cv2

    text = text_of(file)
    if file.suffix.lower() != ".xml" and not text.lstrip().startswith("%YAML"):
        raise InputError(f"{file} is not an OpenCV file: its first line must be %YAML:1.0")
    try:
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        root = storage.root()
        listed = storage.getNode("cameras")
        stated = storage.getNode("unit")
        metres = metres_of(unit or (stated.string() if stated.isString() else None), str(file))
        if not listed.isSeq():
            return [_camera(root, file, file.stem, metres, poses=poses)]
        return [
            _camera(listed.at(place), file, f"{file.stem}{place}", metres, poses=poses)
            for place in range(listed.size())
        ]
    except (cv2.error, SystemError) as error:
        raise InputError(f"{file} is damaged: {one_line(error)}; get it again") from None


def _camera(node: Any, file: Path, otherwise: str, metres: float, *, poses: bool) -> RigCamera:  # noqa: ANN401  # cv2.FileNode
    stated = node.getNode("name")
    name = stated.string().removeprefix("camera ") if stated.isString() else otherwise
    named = f"{file}: camera {name}"
    if any(child.real() for child in _children(node, ("xi",))):
        raise InputError(f"{named} has an omnidirectional lens, which is not supported")
    K = _matrix(node, _MATRIX, named)
    is_placed = poses or next(_children(node, (*_TURN, *_SHIFT)), None) is not None
    turn, shift = (_matrix(node, names, named) if is_placed else np.zeros(3) for names in (_TURN, _SHIFT))
    if K.shape != (3, 3) or turn.size not in (3, 9) or shift.size != 3:
        raise InputError(
            f"{named}: sizes {K.shape}, {turn.shape}, {shift.shape} are not a 3x3 matrix, a rotation and a translation"
        )
    lens, width, height = (next(_children(node, names), None) for names in (_OPENCV_LENS, _WIDTH, _HEIGHT))
    if width is None or height is None:
        raise InputError(f"{named} has no image_width and image_height")
    R = matrix_from_rotation_vector(turn.ravel()) if turn.size == 3 else turn
    matrix = None if lens is None else lens.mat()
    fisheye = any(child.real() for child in _children(node, _FISHEYE))
    bent = None if matrix is None else lens_from(matrix, f"{named}: distortion", fisheye=fisheye)
    return record_camera(
        str(file), name, [width.real(), height.real()], from_opencv(K), R, shift.ravel() * metres, bent
    )


def _children(node: Any, names: tuple[str, ...]) -> Iterator[Any]:  # noqa: ANN401  # cv2.FileNode
    """Those of these names that there are."""
    return (child for key in names if not (child := node.getNode(key)).empty())


def _matrix(node: Any, names: tuple[str, ...], named: str) -> FloatArray:  # noqa: ANN401  # cv2.FileNode
    for child in _children(node, names):
        if (matrix := child.mat()) is not None:
            return np.asarray(matrix, np.float64)
    raise InputError(f"{named} has no matrix {names[0]!r} (nor {', '.join(names[1:])})")
