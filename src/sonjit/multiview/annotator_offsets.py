"""What a detector marks beside what people mark: a place of its own for each joint, learned from frames that have both.

A network was taught by other people's labels; its wrist may lie a centimetre from one's own. An offset is constant in
axes that go with the hand: those of the palm, and beyond the knuckles those of the bone that leads to the joint. With
more labelled frames, how it changes as the fingers bend is learned too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.multiview.camera_records import write_text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_BENT: Final = tuple(k for k in range(1, 21) if k % 4 in (1, 2, 3) and k != 1)  # joints that bend before another
_FEWEST: Final = 5
_STIFF: Final = 4.0  # how many frames it takes to believe that an offset changes with the bends
_OFF_M: Final = 0.04  # of the two, beyond which it is no offset but another hand


@dataclass(frozen=True, eq=False)
class Offsets:
    """Learned offsets.

    Attributes:
        values_m: (2, 21, 1 + B, 3) for the right and the left hand: constant, then along each of B bends.
        frames: (2, 21) how many taught each.
    """

    values_m: NDArray[np.float64]
    frames: NDArray[np.int64]

    def correct(self, points_m: NDArray[np.float64], side: int) -> NDArray[np.float64]:
        """Joints (N, 21, 3) of one side as people would mark them; NaN stays where a joint or its axes are unknown."""
        axes, bends = joint_axes(points_m), _features(points_m)
        moved = np.einsum("nb,kbi->nki", bends, self.values_m[side])
        return points_m + (axes @ moved[..., None])[..., 0]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        record = {"format": "sonjit-offsets", "values_m": self.values_m.tolist(), "frames": self.frames.tolist()}
        write_text(path, json.dumps(record) + "\n")


def load_offsets(path: Path) -> Offsets:
    """Read what `Offsets.save` wrote.

    Raises:
        InputError: it is missing, damaged or something else.
    """
    try:
        record: Any = json.loads(path.read_text("utf-8"))
        values = np.array(record["values_m"], np.float64).reshape(2, 21, 1 + len(_BENT), 3)
        return Offsets(values, np.array(record["frames"], np.int64).reshape(2, 21))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no offsets ({error}): sonjit annotate train writes it") from None


def learn_offsets(machine_m: NDArray[np.float64], human_m: NDArray[np.float64]) -> Offsets:
    """Offsets from the machine's joints to people's.

    Args:
        machine_m: (N, 2, 21, 3) what was triangulated from a detector; NaN where unknown.
        human_m: (N, 2, 21, 3) of the same instants, likewise.

    Raises:
        InputError: fewer than five frames have both.
    """
    values = np.zeros((2, 21, 1 + len(_BENT), 3))
    counts = np.zeros((2, 21), np.int64)
    for side in range(2):
        axes, bends = joint_axes(machine_m[:, side]), _features(machine_m[:, side])
        off = human_m[:, side] - machine_m[:, side]
        local = (np.swapaxes(axes, -1, -2) @ off[..., None])[..., 0]  # (N, 21, 3)
        near = np.linalg.norm(off, axis=-1) < _OFF_M
        for joint in range(21):
            both = near[:, joint] & np.isfinite(local[:, joint]).all(-1) & np.isfinite(bends).all(-1)
            counts[side, joint] = both.sum()
            if both.sum() >= _FEWEST:
                values[side, joint] = _robust(bends[both], local[both, joint])
    if not (counts >= _FEWEST).any():
        raise InputError(
            f"{int(counts.max())} frames have joints both by people and by the machine: mark {_FEWEST} or more frames "
            "in two views each, spread over the recording"
        )
    return Offsets(values, counts)


def _robust(bends: NDArray[np.float64], local: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 + B, 3) least squares that lean to a constant; frames that lie far off count less."""
    ridge = np.diag([1e-6, *[_STIFF] * (bends.shape[1] - 1)])
    weights, solved = np.ones(len(bends)), np.zeros((bends.shape[1], 3))
    for _ in range(8):
        weighted = bends * weights[:, None]
        solved = np.linalg.solve(weighted.T @ bends + ridge, weighted.T @ local)
        far = np.linalg.norm(local - bends @ solved, axis=1)
        usual = max(float(np.median(far)), 1e-4)
        weights = 1 / (1 + (far / (2 * usual)) ** 2)
    return np.asarray(solved, np.float64)


def joint_axes(points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 21, 3, 3) columns that go with each joint of hands (N, 21, 3)."""
    wrist, index, middle, little = (points_m[:, k] for k in (0, 5, 9, 17))
    across, along = _unit(little - index), middle - wrist
    out = _unit(np.cross(across, along))
    palm = np.stack([across, np.cross(out, across), out], -1)
    axes = np.repeat(palm[:, None], 21, 1)
    for joint in range(2, 21):
        if joint % 4 == 1:
            continue  # the first joint of each finger goes with the palm
        bone = _unit(points_m[:, joint] - points_m[:, joint - 1])
        beside = out if joint < 5 else across
        side = _unit(beside - (beside * bone).sum(-1, keepdims=True) * bone)
        axes[:, joint] = np.stack([side, bone, np.cross(side, bone)], -1)
    return axes


def _features(points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 1 + B) one, and how far each joint bends: 1 less the cosine between its bones."""
    chains = [(0 if k % 4 == 1 else k - 1, k, k + 1) for k in _BENT]
    before, at, after = (points_m[:, list(places)] for places in zip(*chains, strict=True))
    cosine = (_unit(at - before) * _unit(after - at)).sum(-1)
    bends: NDArray[np.float64] = np.concatenate([np.ones((len(points_m), 1)), 1 - cosine], 1)
    return bends


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float64)
