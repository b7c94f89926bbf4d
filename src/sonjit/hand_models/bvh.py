"""BVH out of a rigged hand: the motion-capture text format that animation programs read.

Metres, y up, z towards the viewer. Rotations count from the rig's rest pose and are applied as Z X Y. BVH keeps what
the fit gave of twist: the first joint of each finger has a little, hinges have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.hand_models.rig import JOINTS, PARENTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.hand_models.rig import RigMotion

_UP: Final = np.array([1.0, -1.0, -1.0])  # from the camera's axes
_TURNS: Final = "Zrotation Xrotation Yrotation"


def bvh_from_motion(motion: RigMotion, *, frames: int, frame_time: float) -> str:
    """A BVH file of one hand over a whole video; where it is not seen it keeps its last pose, before that its first.

    Args:
        motion: the hand.
        frames: of the video.
        frame_time: seconds from one to the next.
    """
    placed, joints = motion.rig.place(motion.pose)
    turns = placed @ np.swapaxes(motion.rig.frames, 1, 2)  # from rest, in the camera's axes
    moving = [joint for joint, name in enumerate(JOINTS) if not name.endswith("tip")]
    parents = [PARENTS[joint] for joint in moving[1:]]
    root = (_UP[:, None] * turns[:, 0])[:, None]
    local = np.concatenate([root, np.swapaxes(turns[:, parents], -1, -2) @ turns[:, moving[1:]]], 1)
    angles = np.rad2deg(_zxy_angles(local)).reshape(len(local), -1)
    rows = np.concatenate([joints[:, 0] * _UP, angles], 1)
    seen = np.searchsorted(motion.indices, np.arange(frames), side="right") - 1
    lines = [" ".join(f"{value:.6f}" for value in row) for row in rows.tolist()]
    body = "\n".join(lines[max(number, 0)] for number in seen.tolist())
    hierarchy = "\n".join(_hierarchy(motion, 0, ""))
    return f"HIERARCHY\n{hierarchy}\nMOTION\nFrames: {frames}\nFrame Time: {frame_time:.8f}\n{body}\n"


def _hierarchy(motion: RigMotion, joint: int, indent: str) -> list[str]:
    """The lines of one joint and all that hangs on it, in the order of `JOINTS`."""
    rest, parent, inner = motion.rig.joints, PARENTS[joint], indent + "  "
    offset = rest[joint] - rest[parent] if joint else np.zeros(3)
    place = f"{inner}OFFSET {' '.join(f'{value:.6f}' for value in offset.tolist())}"
    if JOINTS[joint].endswith("tip"):
        return [f"{indent}End Site", f"{indent}{{", place, f"{indent}}}"]
    channels = f"6 Xposition Yposition Zposition {_TURNS}" if joint == 0 else f"3 {_TURNS}"
    lines = [f"{indent}{'JOINT' if joint else 'ROOT'} {JOINTS[joint]}", f"{indent}{{", place]
    lines.append(f"{inner}CHANNELS {channels}")
    for child, above in enumerate(PARENTS):
        if above == joint:
            lines += _hierarchy(motion, child, inner)
    return [*lines, f"{indent}}}"]


def _zxy_angles(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3) angles z, x, y in radians with R = Rz Rx Ry, of matrices (..., 3, 3)."""
    m = matrices
    sine = np.clip(m[..., 2, 1], -1, 1)
    locked = np.hypot(m[..., 0, 1], m[..., 1, 1]) < 1e-7  # z and y turn about one axis: z takes all
    z = np.where(locked, np.arctan2(m[..., 1, 0], m[..., 0, 0]), np.arctan2(-m[..., 0, 1], m[..., 1, 1]))
    y = np.where(locked, 0.0, np.arctan2(-m[..., 2, 0], m[..., 2, 2]))
    return np.stack([z, np.arcsin(sine), y], -1)
