"""The records of InterHand2.6M's files, as those write them who lay out pictures of their own like that set.

Source: https://mks0601.github.io/InterHand2.6M; see `datasets.interhand` for the units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit.datasets.joint_orders import INTERHAND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ORDER: Final = np.concatenate([np.array(INTERHAND), np.array(INTERHAND) + 21])
"""(42,) where the set has MediaPipe's keypoints of the right, then of the left hand."""
_ROOM: Final = 1.2
"""The set's boxes are so much larger than what is in them."""
_TYPES: Final = {(True, False): "right", (False, True): "left", (True, True): "interacting"}


def cameras_record(
    cameras: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]],
) -> dict[str, dict[str, Any]]:
    """A capture's entry of `camera.json` from K, R and t (metres) of each camera."""
    return {
        "campos": {name: (-1000 * R.T @ t).tolist() for name, (_, R, t) in cameras.items()},
        "camrot": {name: R.tolist() for name, (_, R, _) in cameras.items()},
        "focal": {name: [K[0, 0].item(), K[1, 1].item()] for name, (K, _, _) in cameras.items()},
        "princpt": {name: K[:2, 2].tolist() for name, (K, _, _) in cameras.items()},
    }


def joints_record(points_m: NDArray[np.float64]) -> dict[str, Any]:
    """An instant's entry of `joint_3d.json`.

    Args:
        points_m: (2, 21, 3) of the right and the left hand in the world; NaN where unknown.
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


def annotation_record(number: int, points_px: NDArray[np.float64], valid: NDArray[np.bool_]) -> dict[str, Any]:
    """The entry of picture `number` under `annotations` of `data.json`.

    Args:
        number: of picture and annotation.
        points_px: (2, 21, 2) of the right and the left hand; NaN where unknown.
        valid: (2, 21) joints that are known.
    """
    points = points_px.reshape(42, 2)
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    size = _ROOM * (high - low)
    return {
        "id": number,
        "image_id": number,
        "bbox": np.concatenate([(low + high - size) / 2, size]).round(3).tolist(),
        "joint_valid": _flags(valid),
        "hand_type": _hand_type(valid),
        "hand_type_valid": 1,
    }


def skeleton_lines() -> str:
    """`skeleton.txt`: lines `name id parent`, right hand first, as the set's own file has them."""
    lines: list[str] = []
    for side, first in (("r", 0), ("l", 21)):
        for place, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
            for joint in range(4):  # the tip first
                own = first + 4 * place + joint
                lines.append(f"{side}_{finger}{4 - joint} {own} {own + 1 if joint < 3 else first + 20}")
        lines.append(f"{side}_wrist {first + 20} -1")
    return "# name id parent\n" + "\n".join(lines) + "\n"


def _flags(valid: NDArray[np.bool_]) -> list[list[int]]:
    """(42, 1) in the set's order."""
    flags = np.zeros((42, 1), np.int64)
    flags[ORDER, 0] = valid.reshape(42)
    return flags.tolist()


def _hand_type(valid: NDArray[np.bool_]) -> str:
    return _TYPES[bool(valid[0].any()), bool(valid[1].any())]
