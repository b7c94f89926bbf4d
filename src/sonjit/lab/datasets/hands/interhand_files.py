"""Write annotation files in InterHand2.6M's layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray
from sonjit.lab.datasets.hands.interhand import ORDER

_BOX_SCALE: Final = 1.2
"""Factor by which the set's boxes are larger than their content."""
_HAND_TYPE_FLAGS: Final = {(True, False): "right", (False, True): "left", (True, True): "interacting"}


def cameras_record(
    cameras: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]],
) -> dict[str, dict[str, list[float] | list[list[float]]]]:
    """Return a capture's entry of `camera.json` from K, R and t (metres) of each camera."""
    return {
        "campos": {name: (-1000 * R.T @ t).tolist() for name, (_, R, t) in cameras.items()},
        "camrot": {name: R.tolist() for name, (_, R, _) in cameras.items()},
        "focal": {name: [K[0, 0].item(), K[1, 1].item()] for name, (K, _, _) in cameras.items()},
        "princpt": {name: K[:2, 2].tolist() for name, (K, _, _) in cameras.items()},
    }


def joints_record(points_m: FloatArray) -> dict[str, object]:
    """Return a frame's entry of `joint_3d.json`.

    Args:
        points_m: Joints (2, 21, 3) of the right and the left hand in the world; NaN where unknown.
    """
    valid = np.asarray(np.isfinite(points_m).all(-1), np.bool_)
    world = np.ones((42, 3))  # as the set marks what is not known
    world[ORDER[valid.reshape(42)]] = 1000 * points_m[valid]
    return {
        "world_coord": world.round(3).tolist(),
        "joint_valid": _flags(valid),
        "hand_type": _hand_type(valid),
        "hand_type_valid": True,
    }


def annotation_record(number: int, points_px: FloatArray, valid: BoolArray) -> dict[str, object]:
    """Return the entry of image `number` under `annotations` of `data.json`.

    Args:
        number: Number of image and annotation.
        points_px: Keypoints (2, 21, 2) of the right and the left hand; NaN where unknown.
        valid: Mask (2, 21) of the known joints.
    """
    points = points_px.reshape(42, 2)
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    size = _BOX_SCALE * (high - low)
    return {
        "id": number,
        "image_id": number,
        "bbox": np.concatenate([(low + high - size) / 2, size]).round(3).tolist(),
        "joint_valid": _flags(valid),
        "hand_type": _hand_type(valid),
        "hand_type_valid": 1,
    }


def skeleton_lines() -> str:
    """Return `skeleton.txt`: lines `name id parent`, right hand first, as in the set's own file."""
    lines: list[str] = []
    for side, first in (("r", 0), ("l", 21)):
        for index, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
            for joint in range(4):  # the tip first
                own = first + 4 * index + joint
                lines.append(f"{side}_{finger}{4 - joint} {own} {own + 1 if joint < 3 else first + 20}")
        lines.append(f"{side}_wrist {first + 20} -1")
    return "# name id parent\n" + "\n".join(lines) + "\n"


def _flags(valid: BoolArray) -> list[list[int]]:
    """Return flags (42, 1) in the set's order."""
    flags = np.zeros((42, 1), np.int64)
    flags[ORDER, 0] = valid.reshape(42)
    return flags.tolist()


def _hand_type(valid: BoolArray) -> str:
    return _HAND_TYPE_FLAGS[bool(valid[0].any()), bool(valid[1].any())]
