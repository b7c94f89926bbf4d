"""Hands that `sonjit hands` found in each view, put together into hands in space."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.errors import InputError
from sonjit.media import load_frames
from sonjit.multiview.camera_records import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.multiview.cameras import CameraRig
    from sonjit.multiview.triangulation import Triangulation

SIDES = ("Right", "Left")
"""In which order the hands of an array stand, as in InterHand2.6M."""


@dataclass(frozen=True, eq=False)
class SeenHands:
    """What C cameras saw of two hands over F instants.

    Attributes:
        frames: (F,) numbers of the instants.
        points_px: (C, F, 2, 21, 2) right hand, left hand; MediaPipe's order; NaN without.
        confidence: (C, F, 2, 21) each hand's score.
    """

    frames: tuple[int, ...]
    points_px: NDArray[np.float64]
    confidence: NDArray[np.float64]


def seen_hands(rig: CameraRig, tables: Mapping[str, Path]) -> SeenHands:
    """Read a table of hands per camera; of several hands of one side in a picture the surest counts.

    Args:
        rig: cameras; those without a table saw nothing.
        tables: written by `sonjit hands --save`, by camera; a frame's index is the same instant in all.

    Raises:
        InputError: a table cannot be read, or none holds a hand.
    """
    read = {name: load_frames(path)[1] for name, path in tables.items()}
    numbers = sorted({frame.index for frames in read.values() for frame in frames})
    rows = {number: row for row, number in enumerate(numbers)}
    points = np.full((len(rig), len(numbers), 2, 21, 2), np.nan)
    confidence = np.zeros(points.shape[:-1])
    for name, frames in read.items():
        view = rig.index(name)
        for frame in frames:
            for hand in sorted(frame.hands, key=lambda hand: hand.score):
                at = view, rows[frame.index], SIDES.index(hand.handedness)
                points[at], confidence[at] = hand.keypoints[:, :2], hand.score
    if not np.isfinite(points).any():
        raise InputError(f"no hand in {', '.join(str(path) for path in tables.values())[:80]}: name tables of hands")
    return SeenHands(tuple(numbers), points, confidence)


def save_hands(path: Path, rig: CameraRig, frames: tuple[int, ...], found: Triangulation) -> None:
    """Write hands in space as JSON.

    `{"unit": "m", "cameras": [names], "frames": [{"index", "hands": [{"handedness", "keypoints_m" 21 x 3,
    "spread_mm" 21, "residual_px" {camera: 21}, "views" 21}]}]}`; what is unknown is null. `spread_mm` is the root of
    the covariance's trace, `views` how many agree.

    Args:
        path: file to write.
        rig: cameras.
        frames: (F,) numbers of the instants.
        found: of points (F, 2, 21).
    """
    spread = np.sqrt(np.trace(found.covariance_m2, axis1=-2, axis2=-1)) * 1000
    written: list[dict[str, Any]] = []
    for row, number in enumerate(frames):
        hands = [
            {
                "handedness": side,
                "keypoints_m": _plain(found.points_m[row, place], 6),
                "spread_mm": _plain(spread[row, place], 3),
                "residual_px": {
                    name: _plain(found.residual_px[view, row, place], 2) for view, name in enumerate(rig.names)
                },
                "views": found.inlier[:, row, place].sum(0).tolist(),
            }
            for place, side in enumerate(SIDES)
            if found.ok[row, place].any()
        ]
        written.append({"index": number, "hands": hands})
    write_text(path, json.dumps({"unit": "m", "cameras": list(rig.names), "frames": written}) + "\n")


def _plain(values: NDArray[np.float64], digits: int) -> Any:  # noqa: ANN401  # nested lists
    """Lists with null for what is unknown."""
    rounded = np.round(values, digits).astype(object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()
