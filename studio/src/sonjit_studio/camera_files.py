"""Load and save calibrated cameras in any supported format.

| format | file | unit |
|---|---|---|
| sonjit | `.json` | metres |
| interhand | `..._camera.json` of InterHand2.6M: positions, not translations | millimetres |
| anipose | `.toml` | as the file states or the caller gives |
| caliscope (read only) | `camera_array.toml` | metres |
| opencv | `.yml`, `.yaml`, `.xml`, or a folder of them | as the file states or the caller gives |
| colmap | a folder with `cameras.txt` and `images.txt`, or `.bin` | as the file states or the caller gives |
| Kalibr (read only) | `camchain.yaml` | metres |
| Qualisys (read only) | `.qca.txt` | millimetres |
| TemugeB's (read only) | a folder of `.dat` files, such as handpose3d's | as the caller gives |

OpenCV, and with it anipose and caliscope, places pixel coordinates 0, 0 at the centre of the first pixel. Sonjit and
COLMAP place them at its corner. Principal points move by half a pixel when such files are read and written. Files of
InterHand2.6M count from that centre unless they state another position of it as `pixel_centre`, which Sonjit writes.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from sonjit._util import InputError, json_from
from sonjit._util.data_files import parse_toml, read_json, write_json
from sonjit._util.files import write_text
from sonjit._util.records import field, numbers, numbers_of
from sonjit.geometry import rotations
from sonjit.geometry.cameras import FISHEYE
from sonjit.media.sources import natural_key
from sonjit_lab.datasets.interhand import cameras_record, index_images
from sonjit_lab.datasets.reading import MM, camera_matrix
from sonjit_lab.datasets.sample import CORNER_PIXEL
from sonjit_studio.camera_numbers import (
    Lens,
    camera_of,
    check_no_skew,
    coefficients_of,
    floats_from_words,
    from_opencv,
    lens_of,
    metres_per_unit,
    read_text,
    to_opencv,
)
from sonjit_studio.colmap_files import read_colmap, save_colmap
from sonjit_studio.kalibr_files import is_kalibr, read_kalibr
from sonjit_studio.opencv_files import read_opencv, save_opencv
from sonjit_studio.qualisys_files import read_qualisys
from sonjit_studio.rig import CameraRig, RigCamera

CameraFormat = Literal["sonjit", "interhand", "anipose", "opencv", "colmap"]
_CAPTURE_FIELDS = {"campos": (3,), "camrot": (3, 3), "focal": (2,), "princpt": (2,)}
DAT_ENDING = ".dat"
_FORMAT, _VERSION = "sonjit-cameras", 1
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
        names: dict[str, tuple[str, ...]] = {
            f".{kind}": (f"cameras.{kind}", f"images.{kind}") for kind in ("txt", "bin")
        }
        names[DAT_ENDING] = (f"*{DAT_ENDING}",)
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
        case ".txt" if path.is_file() and read_text(path).lstrip().startswith("<"):
            cameras = read_qualisys(path)
        case ".txt":
            cameras = read_colmap(folder, unit)
        case ".dat":
            cameras = _read_dat_folder(folder, unit, size)
        case ".bin":
            cameras = read_colmap(folder, unit)
        case ".yml" | ".yaml" if path.is_file() and is_kalibr(path):
            cameras = read_kalibr(path)
        case ".yml" | ".yaml" | ".xml":
            cameras = read_opencv(path, unit, poses=poses)
        case _:
            formats = ".json, .toml, .yml, .xml, .qca.txt or a COLMAP folder"
            raise InputError(f"{path}: cameras are read from {formats}, not from {ending or 'it'}")
    if not (views := list(cameras)):
        raise InputError(f"{path} contains no cameras")
    try:
        return CameraRig(views)
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
            "model": camera.camera.model,
        }
        for camera in rig
    ]
    write_json(path, {"format": _FORMAT, "version": _VERSION, "unit": "m", "cameras": cameras}, indent=1)


def _read_json(content: dict[str, object], named: str) -> Iterator[RigCamera]:
    version = content.get("version")
    if version != _VERSION:
        raise InputError(f"{named} has version {version!r} and this Sonjit reads {_VERSION}: update Sonjit")
    metres = metres_per_unit(content.get("unit"), named)
    cameras = field(content, "cameras", named)
    if not isinstance(cameras, list):
        raise InputError(f"{named}: cameras must be a list")
    records: list[Any] = cameras
    for index, record in enumerate(records):
        at = f"{named}: camera {index}"
        K, R, t = (numbers_of(record, name, shape, at) for name, shape in (("K", (3, 3)), ("R", (3, 3)), ("t", (3,))))
        lens, model = Lens(), record.get("model")
        if field(record, "distortion", at) is not None:
            coefficients = numbers_of(record, "distortion", (-1,), at)
            if model is None and len(coefficients) == FISHEYE:
                raise InputError(f'{at}: 4 coefficients: add "model": "fisheye" or "model": "pinhole"')
            lens = Lens(coefficients, model or "pinhole")
        size = [field(record, "width", at), field(record, "height", at)]
        yield camera_of(named, field(record, "name", at), size, K=K, R=R, t_m=t * metres, lens=lens)


def _read_anipose(path: Path, unit: str | None, *, poses: bool) -> Iterator[RigCamera]:
    """Read anipose's calibration.toml, caliscope's camera_array.toml or Pose2Sim's Calib.toml.

    Anipose has a table per camera, with a Rodrigues vector, in the unit of the measured board, which Sonjit writes as
    `unit` under `[metadata]`. Caliscope (files of 2023) has tables under `cameras`, a matrix or Rodrigues vector, and
    metres; ignored or uncalibrated cameras are left out. Camera 0 is named cam_0, like its video. Pose2Sim's tables are
    anipose's in metres, with the cameras' own names as keys.
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
    is_pose2sim = isinstance(metadata, dict) and "adjusted" in metadata and file_unit is None
    if is_pose2sim and not any(re.fullmatch(r"cam_\d+", key) for key in tables):  # which are anipose's keys
        file_unit = "m"
    metres = metres_per_unit(unit or file_unit, str(path))
    for key, table in tables.items():
        at = f"{path}: {key}"
        table = table if poses else {"rotation": [0.0] * 3, "translation": [0.0] * 3} | table
        rotation = field(table, "rotation", at)
        is_matrix = isinstance(rotation, list) and bool(rotation) and isinstance(rotation[0], list)
        shapes = {"matrix": (3, 3), "rotation": (3, 3) if is_matrix else (3,), "translation": (3,)}
        K, turn, t = (numbers_of(table, name, shape, at) for name, shape in shapes.items())
        R = turn if is_matrix else rotations.matrix_from_rotation_vector(turn)
        if not isinstance(table.get("fisheye", False), bool | int):
            raise InputError(f"{at}: fisheye is {table['fisheye']!r:.20}; must be true or false")
        lens = lens_of(
            table.get("distortions", []), f"{at}.distortions", "fisheye" if table.get("fisheye") else "pinhole"
        )
        name, size = table.get("name", key), field(table, "size", at)
        yield camera_of(str(path), name, size, K=from_opencv(K), R=R, t_m=t * metres, lens=lens)


def _save_anipose(rig: CameraRig, path: Path) -> None:
    """Write a rig in millimetres."""
    lines: list[str] = []
    for index, camera in enumerate(rig):
        fields: dict[str, object] = {
            "name": camera.name,
            "size": [camera.width, camera.height],
            "matrix": to_opencv(np.asarray(camera.camera.K, float)).tolist(),
            "distortions": coefficients_of(camera).tolist(),
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
    entries = content.items() if isinstance(content, dict) else ()
    captures = {key: value for key, value in entries if _is_capture(value)}
    if not captures:
        raise InputError(f"{path} contains no cameras of Sonjit's or InterHand2.6M's format")
    if capture is None and len(captures) > 1:
        raise InputError(f"{path} contains captures {', '.join(captures)[:80]}: give --capture")
    capture = next(iter(captures)) if capture is None else capture
    record = field(captures, capture, f"{path}: captures")
    first_pixel = record.get("pixel_centre", 0)
    if first_pixel not in (0, CORNER_PIXEL):
        raise InputError(f"{path}: {capture}: pixel_centre is {first_pixel!r:.20}; must be 0 or {CORNER_PIXEL}")
    sizes = record.get("size") or ({} if size else _sizes_from_data_file(path, capture))
    positions = field(record, "campos", f"{path}: {capture}")
    if not isinstance(positions, dict) or not isinstance(sizes, dict):
        raise InputError(f"{path}: {capture}: campos and size must have an entry for each camera")
    for name in positions:
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
        stated, t_m = camera_matrix(focal, principal_point), -rotation @ position * MM
        K = stated if first_pixel else from_opencv(stated)
        yield camera_of(str(path), name, own_size, K=K, R=rotation, t_m=t_m, lens=Lens())


def _save_interhand(rig: CameraRig, path: Path) -> None:
    """Write a rig as the cameras of one capture. Raise an InputError for distortion or skew."""
    check_no_skew(rig, "InterHand2.6M's format")
    for camera in rig:
        if camera.camera.distortion is not None:
            raise InputError(
                f"camera {camera.name!r} has distortion, which InterHand2.6M's format cannot represent: undistort the "
                "images first, or write another format"
            )
    record = cameras_record({camera.name: (camera.camera.K, camera.R, camera.t) for camera in rig})
    write_json(path, {"0": record | {"size": {camera.name: [camera.width, camera.height] for camera in rig}}})


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
            f"{folder} has no image sizes: convert it, sonjit annotate cameras {folder} --unit {unit} "
            "--size WIDTHxHEIGHT --out rig.json, with width and height of the recordings in pixels"
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
        lens = lens_of(np.ravel(intrinsics.get("distortion", [])).tolist(), f"{file}: distortion", "pinhole")
        name = f"cam{stem[1:]}" if re.fullmatch(r"c\d+", stem) else stem
        yield camera_of(str(file), name, [*size], K=K, R=R, t_m=t.ravel() * metres, lens=lens)


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


_WRITERS: Final[Mapping[CameraFormat, Callable[[CameraRig, Path], None]]] = {
    "sonjit": _save_json,
    "interhand": _save_interhand,
    "anipose": _save_anipose,
    "opencv": save_opencv,
    "colmap": save_colmap,
}
