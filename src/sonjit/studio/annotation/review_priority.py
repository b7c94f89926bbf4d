"""Rank frame sets by how much they need review: few views, residuals, wrong bone lengths, jumps, and lost joints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IntArray
from sonjit.studio.annotation.mark_store import ReviewPriority
from sonjit.studio.triangulation.bones import bone_lengths

_MIN_VIEWS: Final = 4  # views below which a labelled joint counts as "few"
_USUAL_SPEED: Final = 3.0  # m/s up to which a joint does not jump
_MAX_LINK_S: Final = 0.5  # time between frame sets from which speed is unknown
_SCORE_UNITS: Final = {"lost": 4.0, "few": 5.0, "spread": 3.0, "residual": 3.0, "bones": 3.0, "jump": 1.0, "mesh": 6.0}
"""Joints, millimetres, pixels or m/s above the usual speed that contribute a score of 1."""
_REASONS: Final = {
    "lost": "{:.0f} joints without a label",
    "few": "{:.0f} joints in few views",
    "spread": "uncertain by {:.1f} mm",
    "residual": "{:.1f} px off in the views",
    "bones": "bones off by {:.1f} mm",
    "jump": "jumps at {:.1f} m/s",
    "mesh": "{:.1f} mm off a possible hand",
}


def review_priorities(
    frames: IntArray,
    points_m: FloatArray,
    std_m: FloatArray,
    *,
    views: IntArray,
    residual_px: FloatArray,
    lengths_m: FloatArray,
    times_s: FloatArray,
    mesh_m: FloatArray,
    expected: BoolArray,
) -> Mapping[int, ReviewPriority]:
    """Return how much each frame set needs review, and the main reason.

    Args:
        frames: (N,) numbers of the frame sets.
        points_m: (N, 2, 21, 3) labels in metres, NaN where unknown.
        std_m: (N, 2, 21) root of the summed variances, metres.
        views: (N, 2, 21) number of views that agree.
        residual_px: (N, 2, 21) root mean square error over these views, pixels.
        lengths_m: (2, 20) usual bone lengths, metres.
        times_s: (N,) times in seconds.
        mesh_m: (N, 2) mean distance of the joints from the fitted mesh's, metres.
        expected: (N, 2) whether a hand is expected.

    Returns:
        Priority by frame set: the sum over reasons in their own units, and the strongest reason in words. 0 without
            any.
    """
    labelled = np.isfinite(points_m).all(-1)
    measures = {
        "lost": (~labelled & expected[..., None]).sum((1, 2)).astype(np.float64),
        "few": (labelled & (views < _MIN_VIEWS)).sum((1, 2)).astype(np.float64),
        "spread": 1000 * _worst(std_m),
        "residual": _worst(residual_px),
        "bones": 1000 * _worst(np.abs(bone_lengths(points_m) - lengths_m)),
        "jump": _speeds(points_m, times_s),
        "mesh": 1000 * _worst(mesh_m),
    }
    scores = np.stack(
        [np.maximum(measures[name] / unit - (name == "jump") * _USUAL_SPEED, 0) for name, unit in _SCORE_UNITS.items()]
    )
    names, priorities = list(_SCORE_UNITS), dict[int, ReviewPriority]()
    for row, frame in enumerate(frames.tolist()):
        reason = names[int(scores[:, row].argmax())]
        score = float(scores[:, row].sum())
        priorities[frame] = ReviewPriority(
            round(score, 3), _REASONS[reason].format(measures[reason][row]) if score > 0 else ""
        )
    return priorities


def _worst(values: FloatArray) -> FloatArray:
    """Return the 95th percentile (N,) of each row of (N, ...), 0 for a row without known values."""
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat).any(1)
    worst = np.zeros(len(flat))
    if finite.any():
        worst[finite] = np.nanpercentile(flat[finite], 95, axis=1)
    return worst


def _speeds(points_m: FloatArray, times_s: FloatArray) -> FloatArray:
    """Return the speed (N,) of the fastest joint to a neighbouring frame set in m/s, 0 if that is far in time."""
    speeds = np.zeros(len(points_m))
    if len(points_m) < 2:
        return speeds
    step_s = np.maximum(np.diff(times_s), 1e-6)
    moved = np.linalg.norm(np.diff(points_m, axis=0), axis=-1).reshape(len(step_s), -1)
    fastest = np.where(step_s < _MAX_LINK_S, np.nan_to_num(moved).max(1) / step_s, 0)
    return np.maximum(np.append(fastest, 0), np.append(0, fastest))
