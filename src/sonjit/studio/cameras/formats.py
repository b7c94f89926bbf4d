"""Read and write the camera files of anipose, caliscope, InterHand2.6M and TemugeB, and check the values of any."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.data_files import parse_toml, write_json
from sonjit._util.errors import InputError
from sonjit._util.files import write_text
from sonjit._util.json_text import json_from
from sonjit.geometry.cameras import FISHEYE, CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.lab.datasets.interhand import index_images
from sonjit.lab.datasets.reading import MM, camera_matrix, field, file_bytes, numbers
from sonjit.media.sources import natural_key
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
        value: Numbers as read from the file.
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
    """Build a camera from the values of a file.

    Args:
        named: File name shown in error messages.
        name: Name of the camera.
        size: Width and height in pixels.
        K: (3, 3) camera matrix in pixels.
        R: (3, 3) rotation from world to camera. A rounded one is replaced by the nearest rotation.
        t_m: (3,) translation in metres.
        lens: (4,), (5,) or (8,) distortion coefficients, or None.
    """
    location = f"{named}: size of camera {name!r}"
    width, height = numbers(size, (2,), location)
    if not np.isfinite((width, height)).all():
        raise InputError(f"{location} is {width:g} x {height:g}: expected numbers of pixels")
    try:
        camera = RigCamera(str(name), int(width), int(height), CalibratedCamera(K, R, t_m, lens))
    except InputError as error:
        raise InputError(f"{named}: {error}") from None
    left, _, right = np.linalg.svd(camera.R)
    return RigCamera(camera.name, camera.width, camera.height, CalibratedCamera(K, left @ right, t_m, lens))


def rig_from_cameras(cameras: list[RigCamera], named: str) -> CameraRig:
    """Build a rig from the cameras of a file."""
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
        words: Words of one line.
        at: Location shown in error messages.

    Raises:
        InputError: A word is not a number.
    """
    try:
        return [float(word) for word in words]
    except ValueError:
        raise InputError(f"{at}: {' '.join(words)[:60]!r} are not numbers") from None


def load_anipose(path: Path, unit: str | None, *, poses: bool) -> CameraRig:
    """Load a rig from a file of anipose or caliscope.

    Args:
        path: TOML file.
        unit: Unit of lengths if the file does not state it.
        poses: True if poses are required. If False, a camera without a pose is placed at the origin.
    """
    content = parse_toml(read_text(path), str(path))
    cameras, metadata = content.get("cameras"), content.get("metadata")
    file_unit = metadata.get("unit") if isinstance(metadata, dict) else None
    if isinstance(cameras, dict):
        tables = {f"cam_{key}": table for key, table in cameras.items() if isinstance(table, dict)}
        file_unit = "m"
    else:
        tables = {key: table for key, table in content.items() if key != "metadata" and isinstance(table, dict)}
        if any("cam_id" in table for table in tables.values()):  # caliscope's config.toml also has other tables
            tables = {key: table for key, table in tables.items() if "cam_id" in table}
            file_unit = "m"
    metres = metres_per_unit(unit or file_unit, str(path))
    cameras_read: list[RigCamera] = []
    for key, table in tables.items():
        location = f"{path}: {key}"
        table = table if poses else {"rotation": [0.0] * 3, "translation": [0.0] * 3} | table
        rotation = field(table, "rotation", location)
        is_matrix = isinstance(rotation, list) and bool(rotation) and isinstance(rotation[0], list)
        shapes = {"matrix": (3, 3), "rotation": (3, 3) if is_matrix else (3,), "translation": (3,)}
        values = {
            name: numbers(field(table, name, location), shape, f"{location}.{name}") for name, shape in shapes.items()
        }
        cameras_read.append(
            camera_from_record(
                str(path),
                table.get("name", key),
                field(table, "size", location),
                K=from_opencv(values["matrix"]),
                R=values["rotation"] if is_matrix else matrix_from_rotation_vector(values["rotation"]),
                t_m=values["translation"] * metres,
                lens=lens_coefficients(
                    table.get("distortions", []), f"{location}.distortions", fisheye=bool(table.get("fisheye"))
                ),
            )
        )
    return rig_from_cameras(cameras_read, str(path))


def save_anipose(rig: CameraRig, path: Path) -> None:
    """Write a rig in millimetres."""
    lines: list[str] = []
    for index, camera in enumerate(rig):
        fields: dict[str, object] = {
            "name": camera.name,
            "size": [camera.width, camera.height],
            "matrix": to_opencv(np.asarray(camera.camera.K, float)).tolist(),
            "distortions": coefficients_or_zeros(camera).tolist(),
            "fisheye": camera.camera.is_fisheye,
            "rotation": rotation_vector_from_matrix(camera.R).tolist(),
            "translation": (camera.t * 1000).tolist(),
        }
        # Strings, numbers and lists have the same syntax in JSON and TOML.
        lines += [
            f"[cam_{index}]",
            *(f"{name} = {json_from(value, spaced=True)}" for name, value in fields.items()),
            "",
        ]
    write_text(path, "\n".join([*lines, "[metadata]", 'unit = "mm"', ""]))


_CAPTURE_FIELDS = ("campos", "camrot", "focal", "princpt")


def rig_from_captures(
    content: Any,  # noqa: ANN401  # JSON
    path: Path,
    *,
    size: tuple[int, int] | None,
    capture: str | None,
) -> CameraRig:
    """Build the rig of one capture.

    Args:
        content: Parsed JSON of the file.
        path: Path of the file. Image sizes are read from the `..._data.json` of the same folder if neither the file nor
            the caller gives them.
        size: Width and height in pixels, exchanged for cameras whose principal point shows that they are upright.
        capture: Name of the capture. Required if the file has several.

    Raises:
        InputError: The file is not such a camera file, or a value that the caller must give is missing.
    """
    if _is_capture(content):
        content = {capture or "0": content}  # a file of one capture
    captures = [key for key, value in content.items() if _is_capture(value)] if isinstance(content, dict) else []
    if not captures:
        raise InputError(f"{path} contains no cameras of Sonjit's or InterHand2.6M's format")
    if capture is None and len(captures) > 1:
        raise InputError(f"{path} contains captures {', '.join(captures)[:80]}: give --capture")
    chosen = captures[0] if capture is None else capture
    record = field(content, chosen, f"{path}: captures")
    positions = field(record, "campos", f"{path}: {chosen}")
    sizes = record.get("size") or ({} if size else _sizes_from_data_file(path, chosen))
    cameras: list[RigCamera] = []
    for name in positions:
        location = f"{path}: {chosen}.{{}}.{name}"
        position, rotation, focal, principal_point = (
            numbers(field(field(record, kind, str(path)), name, location.format(kind)), shape, location.format(kind))
            for kind, shape in zip(_CAPTURE_FIELDS, ((3,), (3, 3), (2,), (2,)), strict=True)
        )
        if name not in sizes and size is None:
            raise InputError(f"{path} contains no image sizes: give --size, such as --size 512x334")
        own_size = (
            sizes[name]
            if name in sizes
            else _orient_size(size or (0, 0), (float(principal_point[0]), float(principal_point[1])))
        )
        K = camera_matrix(focal, principal_point)
        cameras.append(
            camera_from_record(str(path), name, own_size, K=K, R=rotation, t_m=-rotation @ position * MM, lens=None)
        )
    return rig_from_cameras(cameras, str(path))


def save_interhand(rig: CameraRig, path: Path) -> None:
    """Write a rig as the cameras of one capture."""
    check_no_skew(rig, "InterHand2.6M's format")
    for camera in rig:
        if camera.camera.distortion is not None:
            raise InputError(
                f"camera {camera.name!r} has distortion, which InterHand2.6M's format cannot represent: undistort the "
                "images first, or write another format"
            )
    record = {
        "campos": {camera.name: (camera.centre_m / MM).tolist() for camera in rig},
        "camrot": {camera.name: camera.R.tolist() for camera in rig},
        "focal": {camera.name: [float(camera.camera.K[0, 0]), float(camera.camera.K[1, 1])] for camera in rig},
        "princpt": {camera.name: [float(camera.camera.K[0, 2]), float(camera.camera.K[1, 2])] for camera in rig},
        "size": {camera.name: [camera.width, camera.height] for camera in rig},
    }
    write_json(path, {"0": record})


def _is_capture(value: object) -> bool:
    """Check whether a value has the fields of a capture."""
    return isinstance(value, dict) and all(name in value for name in _CAPTURE_FIELDS)


def _orient_size(size: tuple[int, int], principal_point: tuple[float, float]) -> tuple[int, int]:
    """Return the size or its exchange, whichever has its centre nearer to the principal point."""
    sizes = (size, (size[1], size[0]))
    return min(
        sizes,
        key=lambda candidate: abs(candidate[0] / 2 - principal_point[0]) + abs(candidate[1] / 2 - principal_point[1]),
    )


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


DAT_ENDING = ".dat"


def load_dat_folder(folder: Path, unit: str | None, size: tuple[int, int] | None) -> CameraRig:
    """Load a rig from a folder of TemugeB's files."""
    metres = metres_per_unit(unit, str(folder))
    if size is None:
        raise InputError(
            f"{folder} has no image sizes: convert it, sonjit annotate cameras {folder} --unit {unit} --size 1280x720 "
            "--out rig.json"
        )
    cameras: list[RigCamera] = []
    for file in sorted(folder.glob(f"*{DAT_ENDING}"), key=lambda file: natural_key(file.name)):
        if "rot_trans" in file.stem:
            continue
        stem = file.stem.removesuffix("_intrinsics")
        candidates = [folder / f"{name}{DAT_ENDING}" for name in (f"rot_trans_{stem}", f"{stem}_rot_trans")]
        pose = next((candidate for candidate in candidates if candidate.is_file()), None)
        if pose is None:
            raise InputError(f"{folder} has {file.name}, but neither {candidates[0].name} nor {candidates[1].name}")
        intrinsics, extrinsics = _read_blocks(file), _read_blocks(pose)
        K = numbers(field(intrinsics, "intrinsic", str(file)), (3, 3), f"{file}: intrinsic")
        R = numbers(field(extrinsics, "R", str(pose)), (3, 3), f"{pose}: R")
        t = numbers(field(extrinsics, "T", str(pose)), (3, 1), f"{pose}: T").ravel() * metres
        coefficients = lens_coefficients(np.ravel(intrinsics.get("distortion", [])).tolist(), f"{file}: distortion")
        name = f"cam{stem[1:]}" if re.fullmatch(r"c\d+", stem) else stem
        cameras.append(camera_from_record(str(file), name, [*size], K=from_opencv(K), R=R, t_m=t, lens=coefficients))
    return rig_from_cameras(cameras, str(folder))


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
