"""Expected errors of joint angles of one camera, read from the file that benchmarks/one_camera.py writes."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit._util import FloatArray, IndexArray, RealArray

FILE: Final = Path(__file__).with_name("angle_errors.json")
JOINTS: Final = ("elbow", "shoulder", "hip", "knee", "ankle", "trunk lean", "neck flexion")
"""Angles whose errors are measured."""
VIEWS: Final = ("side", "oblique", "front")
"""Views of an angle, by the tilt of its bones out of the image plane."""
PERCENTILES: Final = (2, 98)
"""Ends of a range of motion, which single wrong frames do not change."""
MIRRORED_LIMIT_DEG: Final = 3.0
"""Difference between the ranges of mirrored recordings above which a page warns."""
_TILT_LIMITS_DEG = (20.0, 45.0)


def joint_of(name: str) -> str:
    """Return the joint of an angle's name.

    >>> joint_of("left_knee_angle_rad"), joint_of("trunk_lean_rad")
    ('knee', 'trunk lean')
    """
    plain = name.removesuffix("_rad").removesuffix("_angle")
    return plain.removeprefix("left_").removeprefix("right_").replace("_", " ")


def view_indices(tilts_deg: RealArray) -> IndexArray:
    """Return the index in `VIEWS` of tilts (N,) in degrees, -1 where unknown."""
    return np.where(np.isfinite(tilts_deg), np.digitize(tilts_deg, _TILT_LIMITS_DEG), -1)


def angle_error_deg(model: str, joint: str, tilts_deg: FloatArray) -> float:
    """Return the error in degrees that 95 % of angles stay below in frames with these tilts (N,).

    It is NaN if it is not measured.
    """
    rows = _content()["models"][model].get(joint)
    if rows is None:
        return math.nan
    fallback = rows["views"]["all"]["percentile_95"]
    by_view = [rows["views"][view]["percentile_95"] for view in VIEWS]
    errors = np.array([fallback if value is None else value for value in by_view], np.float64)
    which = view_indices(tilts_deg)
    return float(errors[which[which >= 0]].mean()) if (which >= 0).any() else math.nan


def range_error_deg(model: str, joint: str) -> float:
    """Return the error in degrees that 95 % of ranges of motion stay below, or NaN if it is not measured."""
    rows = _content()["models"][model].get(joint)
    return math.nan if rows is None or rows["range_percentile_95"] is None else float(rows["range_percentile_95"])


def mirrored_differences_deg(model: str) -> dict[str, float]:
    """Return the joints whose ranges of motion differ noticeably from those of the mirrored recording.

    Returns:
        The largest difference in degrees by joint, where it is above `MIRRORED_LIMIT_DEG`.
    """
    largest = {joint: rows["mirrored_largest"] for joint, rows in _content()["models"][model].items()}
    return {joint: float(value) for joint, value in largest.items() if value is not None and value > MIRRORED_LIMIT_DEG}


def difference_error_deg(joint: str, *models: str) -> float:
    """Return the error in degrees that 95 % of differences between two ranges of motion stay below.

    It is the larger one if two models measured the ranges, and NaN if it is not measured.
    """
    errors_deg = [_content()["models"][model].get(joint, {}).get("difference_percentile_95") for model in models]
    return math.nan if None in errors_deg else float(max(errors_deg))


def models() -> list[str]:
    """Return the models whose errors are known."""
    return list(_content()["models"])


def origin(model: str) -> dict[str, int]:
    """Return on how many people, rendered figures, movements, recordings and frames the errors of a model rest."""
    return _content()["origins"][model]


@cache
def _content() -> dict[str, Any]:
    return json.loads(FILE.read_text("utf-8"))
