"""Load and save calibrated cameras in any supported format, and define Sonjit's own JSON.

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

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit.lab.datasets.reading import field, numbers
from sonjit.studio.cameras.formats import (
    DAT_ENDING,
    camera_from_record,
    load_anipose,
    load_dat_folder,
    metres_per_unit,
    rig_from_cameras,
    rig_from_captures,
    save_anipose,
    save_interhand,
)
from sonjit.studio.cameras.opencv_files import OPENCV_ENDINGS, load_colmap, load_opencv, save_colmap, save_opencv
from sonjit.studio.cameras.rig import CameraRig, RigCamera

CameraFormat = Literal["sonjit", "interhand", "anipose", "opencv", "colmap"]
_FORMAT, _VERSION = "sonjit-cameras", 1


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
    if path.is_dir():
        if (path / "cameras.txt").is_file() or (path / "images.txt").is_file():
            return load_colmap(path, unit)
        if any(path.glob(f"*{DAT_ENDING}")):
            return load_dat_folder(path, unit, size)
        return load_opencv(path, unit, poses=poses)
    match path.suffix.lower():
        case ".json":
            content = read_json(path)
            if isinstance(content, dict) and content.get("format") == _FORMAT:
                return _rig_from_json(content, str(path))
            return rig_from_captures(content, path, size=size, capture=capture)
        case ".toml":
            return load_anipose(path, unit, poses=poses)
        case ".txt":
            return load_colmap(path.parent, unit)
        case ending if ending == DAT_ENDING:
            return load_dat_folder(path.parent, unit, size)
        case ending if ending in OPENCV_ENDINGS:
            return load_opencv(path, unit, poses=poses)
        case ending:
            raise InputError(
                f"{path}: cameras are read from .json, .toml, .yml, .xml or a COLMAP folder, not from {ending or 'it'}"
            )


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
    match format or format_from_ending(path):
        case "sonjit":
            write_json(path, _json_from_rig(rig), indent=1)
        case "interhand":
            save_interhand(rig, path)
        case "anipose":
            save_anipose(rig, path)
        case "opencv":
            save_opencv(rig, path)
        case "colmap":
            save_colmap(rig, path)


def format_from_ending(path: Path) -> CameraFormat:
    """Return the format in which cameras are written to a path."""
    by_ending: dict[str, CameraFormat] = {".json": "sonjit", ".toml": "anipose", "": "colmap"}
    by_ending |= dict.fromkeys(OPENCV_ENDINGS, "opencv")
    if (format := by_ending.get(path.suffix.lower())) is None:
        raise InputError(f"{path}: name a .json, .toml or .yml file or a folder, or give the format")
    return format


def _json_from_rig(rig: CameraRig) -> dict[str, object]:
    """Return Sonjit's JSON record of a rig."""
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "unit": "m",
        "cameras": [
            {
                "name": camera.name,
                "width": camera.width,
                "height": camera.height,
                "K": np.asarray(camera.camera.K).tolist(),
                "R": camera.R.tolist(),
                "t": camera.t.tolist(),
                "distortion": None
                if camera.camera.distortion is None
                else np.asarray(camera.camera.distortion).tolist(),
            }
            for camera in rig
        ],
    }


def _rig_from_json(content: dict[str, object], named: str) -> CameraRig:
    """Build a rig from Sonjit's JSON record."""
    version = content.get("version")
    if version != _VERSION:
        raise InputError(f"{named} has version {version!r} and this Sonjit reads {_VERSION}: update Sonjit")
    metres = metres_per_unit(content.get("unit"), named)
    cameras: list[RigCamera] = []
    for index, record in enumerate(list(field(content, "cameras", named) or [])):
        location = f"{named}: camera {index}"
        lens = field(record, "distortion", location)
        cameras.append(
            camera_from_record(
                named,
                field(record, "name", location),
                [field(record, "width", location), field(record, "height", location)],
                K=numbers(field(record, "K", location), (3, 3), f"{location}: K"),
                R=numbers(field(record, "R", location), (3, 3), f"{location}: R"),
                t_m=numbers(field(record, "t", location), (3,), f"{location}: t") * metres,
                lens=None if lens is None else numbers(lens, (-1,), f"{location}: distortion"),
            )
        )
    return rig_from_cameras(cameras, named)
