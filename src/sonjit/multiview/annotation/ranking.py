"""Which frame sets need attention most: few views that agree, residuals, bones of other lengths, jumps, lost joints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.multiview.annotation.store import Need
from sonjit.multiview.triangulation.bones import FITTED_BONES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


_ENOUGH_VIEWS: Final = 4
_FAST_M_S: Final = 3.0
_LINKED_S: Final = 0.5
_UNITS: Final = {"lost": 4.0, "few": 5.0, "spread": 3.0, "residual": 3.0, "bones": 3.0, "jump": 1.0, "mesh": 6.0}
"""How many joints, millimetres, pixels or times the usual speed count as 1."""

_REASONS: Final = {
    "lost": "{:.0f} joints without a label",
    "few": "{:.0f} joints in few views",
    "spread": "uncertain by {:.1f} mm",
    "residual": "{:.1f} px off in the views",
    "bones": "bones off by {:.1f} mm",
    "jump": "jumps at {:.1f} m/s",
    "mesh": "{:.1f} mm off a possible hand",
}


def rank(
    frames: NDArray[np.int64],
    points_m: NDArray[np.float64],
    spread_m: NDArray[np.float64],
    views: NDArray[np.int64],
    residual_px: NDArray[np.float64],
    lengths_m: NDArray[np.float64],
    times_s: NDArray[np.float64],
    mesh_m: NDArray[np.float64],
    expected: NDArray[np.bool_],
) -> Mapping[int, Need]:
    """How much each frame set needs attention, and why.

    Args:
        frames: (N,) numbers of the frame sets.
        points_m: (N, 2, 21, 3) labels; NaN without.
        spread_m: (N, 2, 21) root of the summed variances.
        views: (N, 2, 21) how many agree.
        residual_px: (N, 2, 21) root mean square over them.
        lengths_m: (2, 20) usual bones.
        times_s: (N,) seconds.
        mesh_m: (N, 2) mean distance of the joints from the fitted mesh's.
        expected: (N, 2) a hand is expected there.

    Returns:
        The sum over reasons, each in its own unit, and the strongest reason in words; 0 where nothing needs attention.
    """
    labelled = np.isfinite(points_m).all(-1)
    lengths = np.linalg.norm(points_m[:, :, FITTED_BONES[:, 1]] - points_m[:, :, FITTED_BONES[:, 0]], axis=-1)
    measures = {
        "lost": (~labelled & expected[..., None]).sum((1, 2)).astype(np.float64),
        "few": (labelled & (views < _ENOUGH_VIEWS)).sum((1, 2)).astype(np.float64),
        "spread": 1000 * _worst(spread_m),
        "residual": _worst(residual_px),
        "bones": 1000 * _worst(np.abs(lengths - lengths_m)),
        "jump": _speeds(points_m, times_s),
        "mesh": 1000 * _worst(mesh_m),
    }
    shares = np.stack(
        [np.maximum(measures[name] / unit - (name == "jump") * _FAST_M_S, 0) for name, unit in _UNITS.items()]
    )
    names = list(_UNITS)
    needs: dict[int, Need] = {}
    for row, frame in enumerate(frames.tolist()):
        top = names[int(shares[:, row].argmax())]
        score = float(shares[:, row].sum())
        needs[frame] = Need(round(score, 3), _REASONS[top].format(measures[top][row]) if score > 0 else "")
    return needs


def _worst(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) the 95th percentile of each row of (N, ...); 0 for one that is unknown throughout."""
    flat = values.reshape(len(values), -1)
    known = np.isfinite(flat).any(1)
    worst = np.zeros(len(flat))
    if known.any():
        worst[known] = np.nanpercentile(flat[known], 95, axis=1)
    return worst


def _speeds(points_m: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) metres per second of the fastest joint, to or from the neighbouring frame sets; 0 where those are far."""
    speeds = np.zeros(len(points_m))
    if len(points_m) < 2:
        return speeds
    step_s = np.maximum(np.diff(times_s), 1e-6)
    moved = np.linalg.norm(np.diff(points_m, axis=0), axis=-1).reshape(len(step_s), -1)
    fastest = np.where(step_s < _LINKED_S, np.nan_to_num(moved).max(1) / step_s, 0)
    return np.maximum(np.append(fastest, 0), np.append(0, fastest))
