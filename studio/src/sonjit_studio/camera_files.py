"""Load and save calibrated cameras in any supported format.

| format | file | unit |
|---|---|---|
| sonjit | `.json` | metres |
| interhand | `..._camera.json` of InterHand2.6M: positions, not translations | millimetres |
| anipose | `.toml` | as the file states or the caller gives |
| caliscope (read only) | `camera_array.toml` | metres |
| opencv | `.yml`, `.yaml`, `.xml`, or a folder of them | as the file states or the caller gives |
| colmap | a folder with `cameras.txt` and `images.txt` | as the file states or the caller gives |
| TemugeB's (read only) | a folder of `.dat` files, such as handpose3d's | as the caller gives |

OpenCV, and with it anipose and caliscope, places pixel coordinates 0, 0 at the centre of the first pixel. Sonjit and
COLMAP place them at its corner. Principal points move by half a pixel when such files are read and written.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, cast
from xml.etree import ElementTree

import numpy as np

from sonjit._util import FloatArray, InputError, json_from
from sonjit._util.data_files import parse_toml, read_json, write_json
from sonjit._util.files import atomic_file, atomic_folder, write_text
from sonjit._util.records import field, load_yaml, numbers, numbers_of, one_line
from sonjit.geometry import rotations
from sonjit.geometry.cameras import FISHEYE, CalibratedCamera
from sonjit.media.sources import natural_key
from sonjit.media.sources.images import IMAGE_ENDINGS, read_bytes
from sonjit_lab.datasets.interhand import index_images
from sonjit_lab.datasets.reading import MM, camera_matrix
from sonjit_studio.rig import CameraRig, RigCamera

CameraFormat = Literal["sonjit", "interhand", "anipose", "opencv", "colmap"]
_CAPTURE_FIELDS = {"campos": (3,), "camrot": (3, 3), "focal": (2,), "princpt": (2,)}
DAT_ENDING = ".dat"
_FORMAT, _VERSION = "sonjit-cameras", 1
_HALF_PIXEL_SHIFT = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
"""Move principal points from OpenCV's pixel centres at integers to Sonjit's pixel corners at integers."""
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}  # metres per unit of length
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
_FORMATS_BY_ENDING: Final[Mapping[str, CameraFormat]] = {
    ".json": "sonjit",
    ".toml": "anipose",
    ".yml": "opencv",
    ".yaml": "opencv",
    ".xml": "opencv",
    "": "colmap",
}


def load_cameras(
    path: str | os.PathLike[str],
    *,
    unit: str | None = None,
    size: tuple[int, int] | None = None,
    capture: str | None = None,
    poses: bool = True,
) -> CameraRig:
    """Load a rig from a file or folder of any supported format, recognised by its ending and content.

    Args:
        path: File or folder.
        unit: Unit of lengths for formats whose files do not state it: m, cm, mm, or a length such as 44mm.
        size: Width and height of the images in pixels. Required for InterHand2.6M's files and .dat, which do not state
            it.
        capture: Name of InterHand2.6M's capture. Required if a file has several.
        poses: True if poses are required. If False, no unit is needed, and a camera of a TOML or OpenCV file without a
            pose is placed at the origin.

    Raises:
        InputError: The path is missing, damaged or of an unknown format, or the caller must pass a missing value.
    """
    path = Path(path)
    unit = unit if poses else unit or "m"
    ending = path.suffix.lower()
    if path.is_dir():
        names = {".txt": ("cameras.txt", "images.txt"), DAT_ENDING: (f"*{DAT_ENDING}",)}
        ending = next((kind for kind, globs in names.items() if any(any(path.glob(name)) for name in globs)), ".yml")
    folder = path if path.is_dir() else path.parent
    match ending:
        case ".json":
            content = read_json(path)
            if isinstance(content, dict) and content.get("format") == _FORMAT:
                cameras = _read_json(content, str(path))
            else:
                cameras = _read_captures(content, path, size=size, capture=capture)
        case ".toml":
            cameras = _read_anipose(path, unit, poses=poses)
        case ".txt":
            cameras = _read_colmap(folder, unit)
        case ".dat":
            cameras = _read_dat_folder(folder, unit, size)
        case ".yml" | ".yaml" | ".xml":
            cameras = _read_opencv(path, unit, poses=poses)
        case _:
            raise InputError(
                f"{path}: cameras are read from .json, .toml, .yml, .xml or a COLMAP folder, not from {ending or 'it'}"
            )
    if not (found := list(cameras)):
        raise InputError(f"{path} contains no cameras")
    try:
        return CameraRig(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def save_cameras(rig: CameraRig, path: str | os.PathLike[str], *, format: CameraFormat | None = None) -> None:
    """Write a rig.

    Args:
        rig: Cameras to write.
        path: File to write, or a folder for COLMAP. OpenCV's format writes one file, or one per camera into a folder.
        format: Format to write. By default Sonjit's for `.json`, anipose's for `.toml`, OpenCV's for `.yml` and
            COLMAP's for a folder.

    Raises:
        InputError: No format has that ending, or the format cannot represent these cameras.
        JobError: Writing failed.
    """
    path = Path(path)
    _WRITERS[format or format_from_ending(path)](rig, path)


def format_from_ending(path: Path) -> CameraFormat:
    """Return the format in which cameras are written to a path. Raise an InputError if no format has its ending."""
    if (format := _FORMATS_BY_ENDING.get(path.suffix.lower())) is None:
        raise InputError(f"{path}: name a .json, .toml or .yml file or a folder, or give the format")
    return format


def metres_per_unit(unit: object, named: str) -> float:
    """Return the metres of a unit of length: m, cm, mm, or a length such as 44mm, the side of a board's square."""
    if unit is None:
        raise InputError(f"{named} does not state the unit of its camera positions: give --unit m, cm, mm or as 25mm")
    parts = re.fullmatch(r"(\d*\.?\d+)?(mm|cm|m)", str(unit))
    metres = float(parts[1] or 1) * METRES[parts[2]] if parts else 0.0
    if not metres > 0:
        raise InputError(
            f"{named}: unit {str(unit)[:20]!r}: give m, cm, mm, or a length such as 44mm, or 25.4mm for an inch"
        )
    return metres


def _lens(value: Any, named: str, *, fisheye: bool = False) -> FloatArray | None:  # noqa: ANN401  # of a file
    """Convert the distortion of a file to (5,), (8,) or (4,) coefficients of OpenCV, or None if all are zero."""
    numbers_read = np.ravel(numbers(np.ravel(np.asarray(value, object)).tolist(), (-1,), named))
    max_count = FISHEYE if fisheye else 8
    if numbers_read[max_count:].any():
        reason = "a fisheye has four" if fisheye else "thin prisms (s1 to s4) and tilted sensors are not supported"
        raise InputError(f"{named} has {len(numbers_read)} coefficients: {reason}")
    count = FISHEYE if fisheye else 8 if numbers_read[5:].any() else 5
    coefficients = np.zeros(count)
    coefficients[: min(len(numbers_read), count)] = numbers_read[:count]
    return coefficients if coefficients.any() or fisheye else None


def _coefficients(view: RigCamera) -> FloatArray:
    """Return the (4,), (5,) or (8,) distortion coefficients of a camera, (5,) zeros if it has none."""
    lens = view.camera.distortion
    return np.zeros(5) if lens is None else np.asarray(lens, np.float64)


def _camera(
    named: str,
    name: object,
    size: Any,  # noqa: ANN401  # read from a file
    *,
    K: FloatArray,
    R: FloatArray,
    t_m: FloatArray,
    lens: FloatArray | None,
) -> RigCamera:
    """Build a camera from a file's values, with the rotation nearest to R, and a lens of (4,), (5,) or (8,) or None."""
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


def _check_no_skew(rig: CameraRig, format_name: str) -> None:
    """Check that no camera has skew, which some formats cannot represent."""
    for camera in rig:
        if abs(camera.camera.K[0, 1]) > 1e-9 or abs(camera.camera.K[1, 0]) > 1e-9:
            raise InputError(
                f"camera {camera.name!r} has skew, which {format_name} cannot represent: write .json or OpenCV's .yml"
            )


def read_text(path: Path) -> str:
    """Read a text file."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file of cameras; get it again") from None


def from_opencv(K: FloatArray) -> FloatArray:
    """Convert K (3, 3) from pixel coordinates that start at the first pixel's centre to its corner."""
    return K + _HALF_PIXEL_SHIFT


def to_opencv(K: FloatArray) -> FloatArray:
    """Convert K (3, 3) from pixel coordinates that start at the first pixel's corner to its centre."""
    return K - _HALF_PIXEL_SHIFT


def floats_from_words(words: list[str], at: str) -> list[float]:
    """Convert words of a text file to numbers."""
    try:
        return [float(word) for word in words]
    except ValueError:
        raise InputError(f"{at}: {' '.join(words)[:60]!r} are not numbers") from None


def _save_json(rig: CameraRig, path: Path) -> None:
    cameras = [
        {
            "name": camera.name,
            "width": camera.width,
            "height": camera.height,
            "K": np.asarray(camera.camera.K).tolist(),
            "R": camera.R.tolist(),
            "t": camera.t.tolist(),
            "distortion": None if camera.camera.distortion is None else np.asarray(camera.camera.distortion).tolist(),
        }
        for camera in rig
    ]
    write_json(path, {"format": _FORMAT, "version": _VERSION, "unit": "m", "cameras": cameras}, indent=1)


def _read_json(content: dict[str, object], named: str) -> Iterator[RigCamera]:
    version = content.get("version")
    if version != _VERSION:
        raise InputError(f"{named} has version {version!r} and this Sonjit reads {_VERSION}: update Sonjit")
    metres = metres_per_unit(content.get("unit"), named)
    for index, record in enumerate(list(field(content, "cameras", named) or [])):
        at = f"{named}: camera {index}"
        K, R, t = (numbers_of(record, name, shape, at) for name, shape in (("K", (3, 3)), ("R", (3, 3)), ("t", (3,))))
        lens = None if field(record, "distortion", at) is None else numbers_of(record, "distortion", (-1,), at)
        size = [field(record, "width", at), field(record, "height", at)]
        yield _camera(named, field(record, "name", at), size, K=K, R=R, t_m=t * metres, lens=lens)


def _read_anipose(path: Path, unit: str | None, *, poses: bool) -> Iterator[RigCamera]:
    """Read anipose's calibration.toml or caliscope's camera_array.toml.

    Anipose has a table per camera, with a Rodrigues vector, in the unit of the measured board, which Sonjit writes as
    `unit` under `[metadata]`. Caliscope (files of 2023) has tables under `cameras`, a matrix or Rodrigues vector, and
    metres; ignored or uncalibrated cameras are left out. Camera 0 is named cam_0, like its video.
    """
    content = parse_toml(read_text(path), str(path))
    cameras, metadata = content.get("cameras"), content.get("metadata")
    file_unit = metadata.get("unit") if isinstance(metadata, dict) else None
    named = {f"cam_{key}": table for key, table in cameras.items()} if isinstance(cameras, dict) else content
    tables = {key: table for key, table in named.items() if key != "metadata" and isinstance(table, dict)}
    is_caliscope = isinstance(cameras, dict) or any("cam_id" in table for table in tables.values())
    if is_caliscope:
        file_unit = "m"
        if not isinstance(cameras, dict):  # its config.toml also has other tables
            tables = {key: table for key, table in tables.items() if "cam_id" in table}
        needed = ("matrix", "rotation", "translation") if poses else ("matrix",)
        tables = {
            key: {name: value for name, value in table.items() if value != "null"}
            for key, table in tables.items()
            if not (table.get("ignore") is True or any(table.get(name) == "null" for name in needed))
        }
    metres = metres_per_unit(unit or file_unit, str(path))
    for key, table in tables.items():
        at = f"{path}: {key}"
        table = table if poses else {"rotation": [0.0] * 3, "translation": [0.0] * 3} | table
        rotation = field(table, "rotation", at)
        is_matrix = isinstance(rotation, list) and bool(rotation) and isinstance(rotation[0], list)
        shapes = {"matrix": (3, 3), "rotation": (3, 3) if is_matrix else (3,), "translation": (3,)}
        K, turn, t = (numbers_of(table, name, shape, at) for name, shape in shapes.items())
        R = turn if is_matrix else rotations.matrix_from_rotation_vector(turn)
        lens = _lens(table.get("distortions", []), f"{at}.distortions", fisheye=bool(table.get("fisheye")))
        name, size = table.get("name", key), field(table, "size", at)
        yield _camera(str(path), name, size, K=from_opencv(K), R=R, t_m=t * metres, lens=lens)


def _save_anipose(rig: CameraRig, path: Path) -> None:
    """Write a rig in millimetres."""
    lines: list[str] = []
    for index, camera in enumerate(rig):
        fields: dict[str, object] = {
            "name": camera.name,
            "size": [camera.width, camera.height],
            "matrix": to_opencv(np.asarray(camera.camera.K, float)).tolist(),
            "distortions": _coefficients(camera).tolist(),
            "fisheye": camera.camera.is_fisheye,
            "rotation": rotations.rotation_vector_from_matrix(camera.R).tolist(),
            "translation": (camera.t * 1000).tolist(),
        }
        # Strings, numbers and lists have the same syntax in JSON and TOML.
        values = (f"{name} = {json_from(value, spaced=True)}" for name, value in fields.items())
        lines += [f"[cam_{index}]", *values, ""]
    write_text(path, "\n".join([*lines, "[metadata]", 'unit = "mm"', ""]))


def _read_captures(
    content: object, path: Path, *, size: tuple[int, int] | None, capture: str | None
) -> Iterator[RigCamera]:
    """Read one capture of InterHand2.6M's camera file (Moon et al., ECCV 2020).

    `campos` is in millimetres: x_camera = camrot (x_world - campos). Image sizes are those that Sonjit writes as
    `size`, of the caller, or of the `..._data.json` next to it, exchanged for cameras whose principal point is upright.
    """
    if _is_capture(content):
        content = {capture or "0": content}  # a file of one capture
    captures = [key for key, value in content.items() if _is_capture(value)] if isinstance(content, dict) else []
    if not captures:
        raise InputError(f"{path} contains no cameras of Sonjit's or InterHand2.6M's format")
    if capture is None and len(captures) > 1:
        raise InputError(f"{path} contains captures {', '.join(captures)[:80]}: give --capture")
    capture = captures[0] if capture is None else capture
    record = field(content, capture, f"{path}: captures")
    sizes = record.get("size") or ({} if size else _sizes_from_data_file(path, capture))
    for name in field(record, "campos", f"{path}: {capture}"):
        at = f"{path}: {capture}.{{}}.{name}"
        position, rotation, focal, principal_point = (
            numbers(field(field(record, kind, str(path)), name, at.format(kind)), shape, at.format(kind))
            for kind, shape in _CAPTURE_FIELDS.items()
        )
        if name not in sizes and size is None:
            raise InputError(f"{path} contains no image sizes: give --size, such as --size 512x334")
        own_size = sizes.get(name)
        if own_size is None and size is not None:  # upright or not, whose centre is nearer to the principal point
            both = (size, size[::-1])
            own_size = min(both, key=lambda candidate: float(np.abs(np.array(candidate) / 2 - principal_point).sum()))
        K, t_m = camera_matrix(focal, principal_point), -rotation @ position * MM
        yield _camera(str(path), name, own_size, K=K, R=rotation, t_m=t_m, lens=None)


def _save_interhand(rig: CameraRig, path: Path) -> None:
    """Write a rig as the cameras of one capture. Raise an InputError for distortion or skew."""
    _check_no_skew(rig, "InterHand2.6M's format")
    for camera in rig:
        if camera.camera.distortion is not None:
            raise InputError(
                f"camera {camera.name!r} has distortion, which InterHand2.6M's format cannot represent: undistort the "
                "images first, or write another format"
            )
    fields = {
        camera.name: {
            "campos": (camera.centre_m / MM).tolist(),
            "camrot": camera.R.tolist(),
            "focal": np.diag(camera.camera.K)[:2].tolist(),
            "princpt": camera.camera.K[:2, 2].tolist(),
            "size": [camera.width, camera.height],
        }
        for camera in rig
    }
    names = (*_CAPTURE_FIELDS, "size")
    write_json(path, {"0": {name: {camera: values[name] for camera, values in fields.items()} for name in names}})


def _is_capture(value: object) -> bool:
    return isinstance(value, dict) and all(name in value for name in _CAPTURE_FIELDS)


def _sizes_from_data_file(path: Path, capture: str) -> dict[str, tuple[int, int]]:
    """Read each camera's image size from the data file of the same folder. Return an empty dict if there is none."""
    data_file = path.with_name(path.name.replace("_camera.json", "_data.json"))
    if data_file == path or not data_file.is_file():
        return {}
    index = index_images(data_file)
    sizes: dict[str, tuple[int, int]] = {}
    for row in range(len(index.annotation_ids)):
        try:
            image = index.image(row)
        except InputError:  # a damaged image record does not concern the cameras
            continue
        if image.capture == capture:
            sizes.setdefault(image.camera, (image.width, image.height))
    return sizes


def _read_dat_folder(folder: Path, unit: str | None, size: tuple[int, int] | None) -> Iterator[RigCamera]:
    """Read TemugeB's stereo calibration, two `.dat` files per camera without sizes or unit.

    Names are `c0.dat` and `rot_trans_c0.dat`, or `camera0_intrinsics.dat` and `camera0_rot_trans.dat`. Numbers follow
    `intrinsic:`, `distortion:`, `R:` and `T:` as in OpenCV. Camera 0 is named cam0 or camera0, like its images.
    """
    metres = metres_per_unit(unit, str(folder))
    if size is None:
        raise InputError(
            f"{folder} has no image sizes: convert it, sonjit annotate cameras {folder} --unit {unit} --size 1280x720 "
            "--out rig.json"
        )
    for file in sorted(folder.glob(f"*{DAT_ENDING}"), key=lambda file: natural_key(file.name)):
        if "rot_trans" in file.stem:
            continue
        stem = file.stem.removesuffix("_intrinsics")
        candidates = [folder / f"{name}{DAT_ENDING}" for name in (f"rot_trans_{stem}", f"{stem}_rot_trans")]
        pose = next((candidate for candidate in candidates if candidate.is_file()), None)
        if pose is None:
            raise InputError(f"{folder} has {file.name}, but neither {candidates[0].name} nor {candidates[1].name}")
        intrinsics, extrinsics = _read_blocks(file), _read_blocks(pose)
        K = from_opencv(numbers_of(intrinsics, "intrinsic", (3, 3), str(file)))
        R, t = (numbers_of(extrinsics, key, shape, str(pose)) for key, shape in (("R", (3, 3)), ("T", (3, 1))))
        lens = _lens(np.ravel(intrinsics.get("distortion", [])).tolist(), f"{file}: distortion")
        name = f"cam{stem[1:]}" if re.fullmatch(r"c\d+", stem) else stem
        yield _camera(str(file), name, [*size], K=K, R=R, t_m=t.ravel() * metres, lens=lens)


def _read_blocks(file: Path) -> dict[str, list[list[float]]]:
    """Read the rows of numbers below each `name:`. If a name occurs twice, the first one counts."""
    blocks: dict[str, list[list[float]]] = {}
    rows: list[list[float]] = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        line = line.strip()
        if line.endswith(":"):
            rows = []
            blocks.setdefault(line[:-1], rows)
        elif line and not line.startswith("#"):
            rows.append(floats_from_words(line.split(), f"{file}, line {number}"))
    return blocks


def _read_opencv(path: Path, unit: str | None, *, poses: bool) -> Iterator[RigCamera]:
    """Read one file of OpenCV's FileStorage, or a folder of files that are named like their cameras."""
    files = [path]
    if path.is_dir():
        found = (file for file in path.iterdir() if file.suffix.lower() in OPENCV_ENDINGS)
        files = sorted(found, key=lambda file: natural_key(file.name))
    if not files:
        raise InputError(f"{path} has no camera files: expected .yml, .yaml, .xml and COLMAP's cameras.txt")
    for file in files:
        content = _read_xml(file) if file.suffix.lower() == ".xml" else _read_yaml(file)
        file_unit, records = content.get("unit"), content.get("cameras")
        metres = metres_per_unit(unit or (file_unit if isinstance(file_unit, str) else None), str(file))
        if not isinstance(records, list):
            yield _read_camera(content, file, file.stem, metres, poses=poses)
            continue
        for index, record in enumerate(records):
            yield _read_camera(record, file, f"{file.stem}{index}", metres, poses=poses)


def _save_opencv(rig: CameraRig, path: Path) -> None:
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
    """Return the content of a YAML file without OpenCV's parser, which crashes on damaged ones."""
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
    lens, fisheye = None, bool(_read_number(fields, _FISHEYE_NAMES, at))
    if any(key in fields for key in _DISTORTION_NAMES):
        lens = _lens(_read_matrix(fields, _DISTORTION_NAMES, at), f"{at}: distortion", fisheye=fisheye)
    t_m = translation.ravel() * metres
    return _camera(str(file), name, size, K=from_opencv(K), R=R, t_m=t_m, lens=lens)


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


def _read_colmap(folder: Path, unit: str | None) -> Iterator[RigCamera]:
    """Read COLMAP's cameras.txt and images.txt (its documentation, "Output format"), a camera per registered image.

    The unit must be given, because a reconstruction has no scale. Sonjit writes it as a comment.
    """
    path = folder / "cameras.txt"
    lines = [(f"{path}, line {number}", line) for number, line in enumerate(read_text(path).splitlines(), 1)]
    lenses = dict(_parse_lens(line, at) for at, line in lines if line.strip() and not line.startswith("#"))
    path = folder / "images.txt"
    text = read_text(path)
    file_unit = re.search(r"^# unit: (\w+)", text, re.MULTILINE)
    metres = metres_per_unit(unit or (file_unit[1] if file_unit else None), str(folder))
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
        R, t_m = rotations.matrix_from_quaternion_wxyz(np.array(quaternion) / norm), np.array([tx, ty, tz]) * metres
        yield _camera(str(path), camera_name, [width, height], K=K, R=R, t_m=t_m, lens=lens)


def _save_colmap(rig: CameraRig, folder: Path) -> None:
    """Write a rig as cameras.txt, images.txt and an empty points3D.txt, in metres."""
    _check_no_skew(rig, "COLMAP's text")
    cameras = ["# Camera list with one line of data per camera:", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    images = [
        "# unit: m",
        "# Image list with two lines of data per image:",
        "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
        "#   POINTS2D[] as (X, Y, POINT3D_ID)",
    ]
    for number, camera in enumerate(rig, 1):
        K, lens = camera.camera.K, _coefficients(camera)
        model = "FULL_OPENCV" if lens[4:].any() else "OPENCV" if lens.any() else "PINHOLE"
        model = "OPENCV_FISHEYE" if camera.camera.is_fisheye else model
        values = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *lens, 0, 0, 0][: len(_LENS_MODELS[model].split())]
        pose = [*rotations.quaternion_wxyz_from_matrix(camera.R), *camera.t]
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
    coefficients = [value.get(name, 0.0) for name in (names[-4:] if fisheye else _COEFFICIENTS)]
    return number, (value["width"], value["height"], K, _lens(coefficients, location, fisheye=fisheye))


_WRITERS: Final[Mapping[CameraFormat, Callable[[CameraRig, Path], None]]] = {
    "sonjit": _save_json,
    "interhand": _save_interhand,
    "anipose": _save_anipose,
    "opencv": _save_opencv,
    "colmap": _save_colmap,
}
