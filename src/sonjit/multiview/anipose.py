"""Anipose's calibration.toml: a table per camera with size, matrix, distortions, rotation (Rodrigues), translation.

Source: aniposelib's documentation. Lengths are in the unit of the board that was measured, which the file does not say;
ours says it as `unit` under `[metadata]`.
"""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.datasets.reading import field, numbers
from sonjit.errors import InputError
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.multiview.camera_records import (
    Unit,
    lens_from,
    lens_or_zeros,
    metres_of,
    record_camera,
    rig_from_records,
    rotation_vector,
    text_of,
    write_text,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sonjit.multiview.cameras import CameraRig, RigCamera


def load_anipose(path: Path, unit: Unit | None = None) -> CameraRig:
    """A rig from an anipose file.

    Raises:
        InputError: damaged, a fisheye lens, or no unit given.
    """
    try:
        content = tomllib.loads(text_of(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is cut off or no TOML: {error}; get it again") from None
    tables = {key: table for key, table in content.items() if key != "metadata" and isinstance(table, dict)}
    about = content.get("metadata")
    metres = metres_of(unit or (about.get("unit") if isinstance(about, dict) else None), str(path))
    made: list[RigCamera] = []
    for key, table in tables.items():
        at = f"{path}: {key}"
        if table.get("fisheye"):
            raise InputError(f"{at} has a fisheye lens, which is not supported: calibrate it as a pinhole camera")
        shapes = {"matrix": (3, 3), "rotation": (3,), "translation": (3,)}
        read = {name: numbers(field(table, name, at), shape, f"{at}.{name}") for name, shape in shapes.items()}
        made.append(
            record_camera(
                str(path),
                table.get("name", key),
                field(table, "size", at),
                read["matrix"],
                matrix_from_rotation_vector(read["rotation"]),
                read["translation"] * metres,
                lens_from(table.get("distortions", []), f"{at}.distortions"),
            )
        )
    return rig_from_records(made, str(path))


def save_anipose(rig: CameraRig, path: Path) -> None:
    """Write a rig, in millimetres."""
    lines: list[str] = []
    for place, view in enumerate(rig):
        fields: dict[str, Any] = {
            "name": view.name,
            "size": [view.width, view.height],
            "matrix": np.asarray(view.camera.K, float).tolist(),
            "distortions": lens_or_zeros(view).tolist(),
            "rotation": rotation_vector(view.R).tolist(),
            "translation": (view.t * 1000).tolist(),
        }
        # JSON's texts, numbers and lists of them are TOML's too
        lines += [f"[cam_{place}]", *(f"{name} = {json.dumps(value)}" for name, value in fields.items()), ""]
    write_text(path, "\n".join([*lines, "[metadata]", 'unit = "mm"', ""]))
