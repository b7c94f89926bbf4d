"""Folders of TemugeB's stereo calibration, two `.dat` files for each camera.

handpose3d and bodypose3d have `c0.dat` and `rot_trans_c0.dat`, python_stereo_camera_calibrate `camera0_intrinsics.dat`
and `camera0_rot_trans.dat`.

Source: those repositories' own files. Rows of numbers below `intrinsic:`, `distortion:`, `R:` and `T:`, as OpenCV's
calibrateCamera gives them; neither sizes nor the unit are in them. Camera 0 is named cam0, or camera0, like its images.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sonjit.datasets.reading import field, numbers
from sonjit.errors import InputError
from sonjit.media.sources.open import natural_key
from sonjit.multiview.cameras.formats import floats_of, from_opencv
from sonjit.multiview.cameras.rig import (
    CameraRig,
    RigCamera,
    lens_from,
    metres_of,
    record_camera,
    rig_from_records,
    text_of,
)

DAT = ".dat"


def load_dat(folder: Path, unit: str | None = None, size: tuple[int, int] | None = None) -> CameraRig:
    """A rig from a folder of TemugeB's files.

    Raises:
        InputError: damaged, a camera has no rotation and translation, or no unit or size is given.
    """
    metres = metres_of(unit, str(folder))
    if size is None:
        raise InputError(
            f"{folder} has no image sizes: convert it, sonjit annotate cameras {folder} --unit {unit} --size 1280x720 "
            "--out rig.json"
        )
    made: list[RigCamera] = []
    for file in sorted(folder.glob(f"*{DAT}"), key=lambda file: natural_key(file.name)):
        if "rot_trans" in file.stem:
            continue
        own = file.stem.removesuffix("_intrinsics")
        beside = [folder / f"{name}{DAT}" for name in (f"rot_trans_{own}", f"{own}_rot_trans")]
        pose = next((one for one in beside if one.is_file()), None)
        if pose is None:
            raise InputError(f"{folder} has {file.name}, but neither {beside[0].name} nor {beside[1].name}")
        lens, place = _blocks(file), _blocks(pose)
        K = numbers(field(lens, "intrinsic", str(file)), (3, 3), f"{file}: intrinsic")
        R = numbers(field(place, "R", str(pose)), (3, 3), f"{pose}: R")
        t = numbers(field(place, "T", str(pose)), (3, 1), f"{pose}: T").ravel() * metres
        bent = lens_from(np.ravel(lens.get("distortion", [])).tolist(), f"{file}: distortion")
        name = f"cam{own[1:]}" if re.fullmatch(r"c\d+", own) else own
        made.append(record_camera(str(file), name, [*size], from_opencv(K), R, t, bent))
    return rig_from_records(made, str(folder))


def _blocks(file: Path) -> dict[str, list[list[float]]]:
    """Rows of numbers below each `name:`; of two of one name the first counts."""
    found: dict[str, list[list[float]]] = {}
    rows: list[list[float]] = []
    for number, line in enumerate(text_of(file).splitlines(), 1):
        line = line.strip()
        if line.endswith(":"):
            rows = []
            found.setdefault(line[:-1], rows)
        elif line and not line.startswith("#"):
            rows.append(floats_of(line.split(), f"{file}, line {number}"))
    return found
