"""Write hands as BVH motion capture, in metres with y up and z towards the viewer.

Rotations are relative to the rest pose of the rig and are applied as Z X Y. The twist is that of the fit: the first
joint of each finger has a little, hinges have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from sonjit.geometry.rotations import zxy_angles_from_matrix
from sonjit.lab.hand_models.rig import JOINTS, PARENTS, RigMotion, joint_names
from sonjit.media.tables.characters import BoneNames

_FROM_CAMERA: Final = np.array([1.0, -1.0, -1.0])
_ROTATION_CHANNELS: Final = "Zrotation Xrotation Yrotation"


def bvh_from_motion(
    motion: RigMotion, *, frames: int | None = None, frame_time: float | None = None, bones: BoneNames | None = None
) -> str:
    """Return a BVH file of one hand for all frames of a video. Frames without the hand have its last or first pose.

    Args:
        motion: Motion of the hand.
        frames: Number of frames of the video; by default up to the last one with the hand.
        frame_time: Seconds between frames; by default from the hand's times, or 1/30.
        bones: Convention of the bone names, as in characters. Default: WebXR Hand Input.
    """
    frames = int(motion.indices[-1]) + 1 if frames is None else frames
    frame_time = _frame_time(motion) if frame_time is None else frame_time
    frames_of_joints, joints = motion.rig.joint_frames(motion.pose)
    turns = frames_of_joints @ np.swapaxes(motion.rig.frames, 1, 2)  # from rest, in the camera's axes
    moving = [joint for joint, name in enumerate(JOINTS) if not name.endswith("tip")]
    parents = [PARENTS[joint] for joint in moving[1:]]
    root = (_FROM_CAMERA[:, None] * turns[:, 0])[:, None]
    local = np.concatenate([root, np.swapaxes(turns[:, parents], -1, -2) @ turns[:, moving[1:]]], 1)
    angles = np.rad2deg(zxy_angles_from_matrix(local)).reshape(len(local), -1)
    rows = np.concatenate([joints[:, 0] * _FROM_CAMERA, angles], 1)
    seen = np.searchsorted(motion.indices, np.arange(frames), side="right") - 1
    lines = [" ".join(f"{value:.6f}" for value in row) for row in rows.tolist()]
    body = "\n".join(lines[max(number, 0)] for number in seen.tolist())
    hierarchy = "\n".join(_hierarchy(motion, JOINTS if bones is None else joint_names(motion.rig.side, bones), 0, ""))
    return f"HIERARCHY\n{hierarchy}\nMOTION\nFrames: {frames}\nFrame Time: {frame_time:.8f}\n{body}\n"


def _frame_time(motion: RigMotion) -> float:
    """Return the median seconds between frames of the source."""
    if motion.times is None or len(motion.times) < 2:
        return 1 / 30
    return float(np.median(np.diff(motion.times) / np.diff(motion.indices)))


def _hierarchy(motion: RigMotion, names: Sequence[str], joint: int, indent: str) -> list[str]:
    """Return the lines of a joint and its descendants, in the order of `JOINTS`."""
    rest, parent, inner = motion.rig.joints, PARENTS[joint], indent + "  "
    offset = rest[joint] - rest[parent] if joint else np.zeros(3)
    position = f"{inner}OFFSET {' '.join(f'{value:.6f}' for value in offset.tolist())}"
    if JOINTS[joint].endswith("tip"):
        return [f"{indent}End Site", f"{indent}{{", position, f"{indent}}}"]
    turns = _ROTATION_CHANNELS
    channels = f"6 Xposition Yposition Zposition {turns}" if joint == 0 else f"3 {turns}"
    lines = [f"{indent}{'JOINT' if joint else 'ROOT'} {names[joint]}", f"{indent}{{", position]
    lines.append(f"{inner}CHANNELS {channels}")
    for child, above in enumerate(PARENTS):
        if above == joint:
            lines += _hierarchy(motion, names, child, inner)
    return [*lines, f"{indent}}}"]
