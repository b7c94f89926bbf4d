"""Read folders of TemugeB's stereo calibration, which have two `.dat` files for each camera.

handpose3d and bodypose3d have `c0.dat` and `rot_trans_c0.dat`. python_stereo_camera_calibrate has
`camera0_intrinsics.dat` and `camera0_rot_trans.dat`.

Source: those repositories' own files. Rows of numbers follow `intrinsic:`, `distortion:`, `R:` and `T:`, as OpenCV's
calibrateCamera returns them. The files state neither sizes nor a unit. Camera 0 is named cam0 or camera0, like its
images.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sonjit._util.errors import InputError
from sonjit.lab.datasets.reading import field, numbers
from sonjit.media.sources.open import natural_key
from sonjit.studio.cameras.records import (
    camera_from_record,
    floats_from_words,
    from_opencv,
    lens_coefficients,
    metres_per_unit,
    read_text,
    rig_from_cameras,
)
from sonjit.studio.cameras.rig import CameraRig, RigCamera

DAT_ENDING = ".dat"


def load_dat_folder(folder: Path, unit: str | None, size: tuple[int, int] | None) -> CameraRig:
    """Load a rig from a folder of TemugeB's files.

    Args:
        folder: Folder of `.dat` files.
        unit: Unit of lengths.
        size: Width and height of the images in pixels.

    Raises:
        InputError: A file is damaged, a camera has no rotation and translation, or no unit or size is given.
    """
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
