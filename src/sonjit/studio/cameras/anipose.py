"""Read and write anipose's calibration.toml, and read caliscope's camera_array.toml.

Sources: aniposelib's documentation; files of caliscope's 2023 version.

Anipose has a table per camera with size, matrix, distortions, rotation (Rodrigues vector) and translation. Lengths are
in the unit of the measured board, which the file does not state. Sonjit writes it as `unit` under `[metadata]`.

Caliscope has a table per camera under `cameras`, the rotation as a matrix or Rodrigues vector, and metres. Its cameras
are named like its videos, cam_0 for camera 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sonjit._util.data_files import parse_toml
from sonjit._util.files import write_text
from sonjit._util.json_text import json_from
from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.lab.datasets.reading import field, numbers
from sonjit.studio.cameras.records import (
    camera_from_record,
    coefficients_or_zeros,
    from_opencv,
    lens_coefficients,
    metres_per_unit,
    read_text,
    rig_from_cameras,
    to_opencv,
)
from sonjit.studio.cameras.rig import CameraRig, RigCamera


def load_anipose(path: Path, unit: str | None, *, poses: bool) -> CameraRig:
    """Load a rig from a file of anipose or caliscope.

    Args:
        path: TOML file.
        unit: Unit of lengths if the file does not state it.
        poses: True if poses are required. If False, a camera without a pose is placed at the origin.

    Raises:
        InputError: The file is damaged, or its unit is unknown.
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
