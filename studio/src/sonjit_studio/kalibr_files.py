"""Read Kalibr's calibrations of several cameras."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import InputError
from sonjit._util.records import load_yaml, numbers_of
from sonjit.geometry.cameras import CameraModel
from sonjit_studio.camera_numbers import camera_of, from_opencv, lens_of, read_text
from sonjit_studio.rig import RigCamera

_LENSES: Final[dict[str, CameraModel]] = {"radtan": "pinhole", "equidistant": "fisheye", "none": "pinhole"}


def is_kalibr(path: Path) -> bool:
    """Return whether a YAML file has the fields of a camera of Kalibr and not OpenCV's first line."""
    text = read_text(path)
    return not text.lstrip().startswith("%YAML") and "camera_model:" in text and "distortion_model:" in text


def read_kalibr(path: Path) -> Iterator[RigCamera]:
    """Read camchain.yaml, whose poses `T_cn_cnm1` move points from the camera before to a camera, in metres.

    The world is the first camera. Source: Kalibr's documentation, "YAML formats".
    """
    content = load_yaml(path, read_text(path))
    pose = np.eye(4)
    for index, (name, record) in enumerate(content.items()):
        at = f"{path}: {name}"
        if not isinstance(record, dict):
            raise InputError(f"{at} is not a camera of Kalibr")
        model, lens_name = record.get("camera_model"), str(record.get("distortion_model"))
        if model != "pinhole" or lens_name not in _LENSES:
            raise InputError(
                f"{at} has the model {model}, {lens_name}: calibrate with pinhole and {' or '.join(_LENSES)}"
            )
        if index:
            pose = numbers_of(record, "T_cn_cnm1", (4, 4), at) @ pose
        fx, fy, cx, cy = numbers_of(record, "intrinsics", (4,), at)
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        coefficients = record.get("distortion_coeffs", [])
        lens = lens_of(coefficients, f"{at}.distortion_coeffs", _LENSES[lens_name])
        size = record.get("resolution")
        yield camera_of(str(path), name, size, K=from_opencv(K), R=pose[:3, :3], t_m=pose[:3, 3], lens=lens)
