"""Files of calibrated cameras: which format one is in, and Sonjit's own JSON.

| format | file | unit |
|---|---|---|
| sonjit | `.json` | metres |
| interhand | `..._camera.json` of InterHand2.6M: positions, not translations | millimetres |
| anipose | `.toml` | as the file states or the caller gives |
| caliscope (read) | `camera_array.toml` | metres |
| opencv | `.yml`, `.yaml`, `.xml`, or a folder of them | likewise |
| colmap | a folder with `cameras.txt` and `images.txt` | likewise |
| TemugeB's (read) | a folder of `.dat` files, as handpose3d's | as the caller gives |
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import numpy as np

from sonjit.datasets.reading import field, load_json, numbers
from sonjit.errors import InputError
from sonjit.files import write_text
from sonjit.multiview.cameras.dat_folders import DAT, load_dat
from sonjit.multiview.cameras.formats import (
    OPENCV_ENDINGS,
    cameras_from_captures,
    load_anipose,
    load_colmap,
    load_opencv,
    save_anipose,
    save_colmap,
    save_interhand,
    save_opencv,
)
from sonjit.multiview.cameras.rig import (
    CameraRig,
    RigCamera,
    metres_of,
    record_camera,
    rig_from_records,
)

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
    """A rig from a file or folder of any known format, recognised by its ending and content.

    Args:
        path: the file or folder.
        unit: of lengths, for formats whose files do not state it: m, cm, mm, or a length such as 44mm.
        size: width and height of the images, pixels, for InterHand2.6M's files and .dat, which do not state it.
        capture: which of InterHand2.6M's captures; needed where a file holds several.
        poses: False for lenses alone: then no unit is needed, and in TOML and OpenCV's files no pose; a camera without
            one is at the origin.

    Raises:
        InputError: missing, damaged, of no known format, or it lacks what the caller must then give.
    """
    path = Path(path)
    unit = unit if poses else unit or "m"
    if path.is_dir():
        if (path / "cameras.txt").is_file() or (path / "images.txt").is_file():
            return load_colmap(path, unit)
        if any(path.glob(f"*{DAT}")):
            return load_dat(path, unit, size)
        return load_opencv(path, unit, poses=poses)
    match path.suffix.lower():
        case ".json":
            content = load_json(path)
            if isinstance(content, dict) and content.get("format") == _FORMAT:
                return _rig_from_json(content, str(path))
            return cameras_from_captures(content, path, size=size, capture=capture)
        case ".toml":
            return load_anipose(path, unit, poses=poses)
        case ".txt":
            return load_colmap(path.parent, unit)
        case ending if ending == DAT:
            return load_dat(path.parent, unit, size)
        case ending if ending in OPENCV_ENDINGS:
            return load_opencv(path, unit, poses=poses)
        case ending:
            raise InputError(
                f"{path}: cameras are read from .json, .toml, .yml, .xml or a COLMAP folder, not from {ending or 'it'}"
            )


def save_cameras(rig: CameraRig, path: str | os.PathLike[str], *, format: CameraFormat | None = None) -> None:
    """Write a rig.

    Args:
        rig: its cameras.
        path: file to write; a folder for COLMAP. OpenCV's form writes one file, or one per camera into a folder.
        format: by default Sonjit's for `.json`, anipose's for `.toml`, OpenCV's for `.yml`, COLMAP's for a folder.

    Raises:
        InputError: no format has that ending, or it cannot hold these cameras.
        JobError: writing failed.
    """
    path = Path(path)
    match format or format_of(path):
        case "sonjit":
            write_text(path, json.dumps(_json_from_rig(rig), indent=1) + "\n")
        case "interhand":
            save_interhand(rig, path)
        case "anipose":
            save_anipose(rig, path)
        case "opencv":
            save_opencv(rig, path)
        case "colmap":
            save_colmap(rig, path)


def format_of(path: Path) -> CameraFormat:
    """The format in which cameras are written to a place.

    Raises:
        InputError: none has that ending.
    """
    by_ending: dict[str, CameraFormat] = {".json": "sonjit", ".toml": "anipose", "": "colmap"}
    by_ending |= dict.fromkeys(OPENCV_ENDINGS, "opencv")
    if (found := by_ending.get(path.suffix.lower())) is None:
        raise InputError(f"{path}: name a .json, .toml or .yml file or a folder, or give the format")
    return found


def _json_from_rig(rig: CameraRig) -> dict[str, object]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "unit": "m",
        "cameras": [
            {
                "name": view.name,
                "width": view.width,
                "height": view.height,
                "K": np.asarray(view.camera.K).tolist(),
                "R": view.R.tolist(),
                "t": view.t.tolist(),
                "distortion": None if view.camera.distortion is None else np.asarray(view.camera.distortion).tolist(),
            }
            for view in rig
        ],
    }


def _rig_from_json(content: dict[str, object], named: str) -> CameraRig:
    version = content.get("version")
    if version != _VERSION:
        raise InputError(f"{named} has version {version!r} and this Sonjit reads {_VERSION}: update Sonjit")
    metres = metres_of(content.get("unit"), named)
    made: list[RigCamera] = []
    for place, record in enumerate(list(field(content, "cameras", named) or [])):
        at = f"{named}: camera {place}"
        lens = field(record, "distortion", at)
        made.append(
            record_camera(
                named,
                field(record, "name", at),
                [field(record, "width", at), field(record, "height", at)],
                numbers(field(record, "K", at), (3, 3), f"{at}: K"),
                numbers(field(record, "R", at), (3, 3), f"{at}: R"),
                numbers(field(record, "t", at), (3,), f"{at}: t") * metres,
                None if lens is None else numbers(lens, (-1,), f"{at}: distortion"),
            )
        )
    return rig_from_records(made, named)
