"""Write hands as Wavefront OBJ, GLB and BVH files.

A rigged hand in a GLB file has a mesh, a skin and one rotation per joint and frame, with the axes of `rig` under a node
that converts them to glTF's (y up, z towards the viewer). A hidden hand is scaled to zero. The rotations of a BVH file
are relative to the rest pose of the rig and are applied as Z X Y. Joints turn at most as fast as the bones of
characters, see `sonjit.media.tables.characters.turns`.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, RealArray, glb
from sonjit.geometry.rotations import continuous_zxy_angles, quaternion_wxyz_from_matrix, vertex_normals
from sonjit.geometry.steps import Rows, row_times, turns_at, values_at
from sonjit.media.tables.characters import BoneNames
from sonjit.media.tables.characters.turns import in_space, steady
from sonjit_lab.hand_models.rig import JOINTS, PARENTS, Rig, RigMotion, joint_names

_MAX_GAP_S: Final = 0.25  # a hand that is not visible for longer is hidden
_STATIC: Final = frozenset(joint for joint, name in enumerate(JOINTS) if name.endswith(("finger-metacarpal", "tip")))
_FROM_CAMERA: Final = np.array([1.0, -1.0, -1.0])
_ROTATION_CHANNELS: Final = "Zrotation Xrotation Yrotation"


class Mesh(NamedTuple):
    """Triangles: vertices (V, 3) in metres in the camera's axes, and faces (F, 3), counterclockwise from outside."""

    name: str
    vertices: RealArray
    faces: NDArray[np.integer]


def obj_from_meshes(meshes: Iterable[Mesh]) -> str:
    """Return an OBJ file in metres, y up, z towards the viewer, as most programs expect."""
    lines: list[str] = []
    first = 1  # OBJ indices start at 1 and continue over all objects
    for name, vertices, faces in meshes:
        lines.append(f"o {name}")
        lines += [f"v {x:.6f} {-y:.6f} {-z:.6f}" for x, y, z in vertices.tolist()]
        lines += [f"f {a} {b} {c}" for a, b, c in (faces + first).tolist()]
        first += len(vertices)
    return "\n".join(lines) + "\n"


def glb_from_meshes(meshes: Iterable[Mesh]) -> bytes:
    """Return a GLB file with vertices in the camera's axes under nodes that convert them to glTF's axes."""
    builder = glb.GlbBuilder()
    nodes: list[dict[str, object]] = []
    for name, vertices, faces in meshes:
        points, normals = vertices.astype(np.float32), vertex_normals(vertices, faces).astype(np.float32)
        mesh = builder.add_mesh(name, faces, glb.SKIN, POSITION=points, NORMAL=normals)
        nodes.append({"name": name, "mesh": mesh, "rotation": glb.CAMERA_AXES})
    scene = {"nodes": list(range(len(nodes)))} if nodes else {}
    builder.document |= {"scene": 0, "scenes": [scene], "nodes": nodes}
    return builder.to_bytes()


def glb_from_motions(motions: Sequence[RigMotion], bones: BoneNames | None = None) -> bytes:
    """Return a GLB file of hands: animated if they have times, otherwise posed.

    Args:
        motions: Hands of one video or image.
        bones: Convention of the bone names, as in characters. Further hands of one side have their own name before it.
            Default: WebXR Hand Input, with the own name of each hand before it.
    """
    builder = glb.GlbBuilder("hands")
    camera: dict[str, object] = {"name": "camera axes", "rotation": glb.CAMERA_AXES}
    builder.document |= {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": [camera]}
    end = max((float(motion.times[-1]) for motion in motions if motion.times is not None), default=0.0)
    for number, motion in enumerate(motions):
        names = JOINTS if bones is None else joint_names(motion.rig.side, bones)
        if bones is None or any(other.rig.side == motion.rig.side for other in motions[:number]):
            names = [f"{motion.name} {name}" for name in names]
        first = _add_hand(builder, motion, names)
        if motion.times is not None:
            _animate(builder, motion, first, end)
    return builder.to_bytes()


def _add_hand(builder: glb.GlbBuilder, motion: RigMotion, names: Sequence[str]) -> int:
    """Add mesh, skin and nodes in the pose of the first frame; return the wrist's node, which precedes the others."""
    rig, document = motion.rig, builder.document
    nodes = document["nodes"]
    first = len(nodes)
    rotations, translations = _local(motion)
    for joint, name in enumerate(names):
        children = [first + child for child, parent in enumerate(PARENTS) if parent == joint]
        node = {"name": name, "rotation": rotations[0, joint].tolist(), "translation": translations[0, joint].tolist()}
        nodes.append(node | ({"children": children} if children else {}))
    nodes[0].setdefault("children", []).append(first)
    bind = np.zeros((len(JOINTS), 4, 4))
    bind[:, :3, :3] = rig.frames
    bind[:, :3, 3] = rig.joints
    bind[:, 3, 3] = 1
    skins = document.setdefault("skins", [])
    skins.append(
        {
            "joints": list(range(first, first + len(JOINTS))),
            "skeleton": first,
            "inverseBindMatrices": builder.add(np.linalg.inv(bind).astype(np.float32)),
        }
    )
    joints, weights = _four_weights(rig)
    mesh = builder.add_mesh(
        motion.name,
        rig.faces,
        glb.SKIN,
        POSITION=rig.vertices.astype(np.float32),
        NORMAL=rig.normals.astype(np.float32),
        JOINTS_0=joints,
        WEIGHTS_0=weights,
    )
    document["scenes"][0]["nodes"].append(len(nodes))  # the skin positions the mesh: its node is a root node
    nodes.append({"name": motion.name, "mesh": mesh, "skin": len(skins) - 1})
    return first


def _animate(builder: glb.GlbBuilder, motion: RigMotion, first: int, end: float) -> None:
    assert motion.times is not None
    rotations, translations = _local(motion)
    builder.animate(first, "translation", motion.times, translations[:, 0])
    for joint in range(len(JOINTS)):
        if joint not in _STATIC:
            builder.animate(first + joint, "rotation", motion.times, rotations[:, joint])
    times, shown = presence(motion.times, end)
    if not all(shown):
        scales = np.repeat(np.array(shown, np.float64)[:, None], 3, 1)
        builder.animate(first, "scale", np.array(times), scales, "STEP")


def presence(times: FloatArray, end: float) -> tuple[list[float], list[bool]]:
    """Return when something becomes visible or hidden, and whether it is visible from then on.

    `times` (T,) are those of its frames in seconds, and `end` is the end of the recording. Gaps up to a quarter of a
    second are ignored. Changes are half a frame off, so that rounding hides no frame.
    """
    half = (float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30) / 2
    first, last = float(times[0]), float(times[-1])
    changes = [(0.0, False), (first - half, True)] if first > half else [(first, True)]
    for before, after in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        if after - before > _MAX_GAP_S:
            changes += [(before + half, False), (after - half, True)]
    if last + half < end:
        changes.append((last + half, False))
    return [time for time, _ in changes], [shown for _, shown in changes]


def _steady_joints(motion: RigMotion) -> tuple[FloatArray, FloatArray]:
    """Return the axes (N, 25, 3, 3) and positions (N, 25, 3) in metres of joints that turn slower than a limit."""
    frames, joints = motion.rig.joint_frames(motion.pose)
    if motion.times is None or len(motion.times) < 2:
        return frames, joints
    parents = np.array(PARENTS[1:])
    back = np.swapaxes(frames[:, parents], -1, -2)
    bones = (back @ (joints[:, 1:] - joints[:, parents])[..., None])[..., 0]  # in the axes of their parents
    turns = np.concatenate([frames[:, :1], back @ frames[:, 1:]], 1)
    above = [None, *PARENTS[1:]]
    turned, moved = in_space(steady(turns, above, motion.times), above), joints.copy()
    for joint, parent in enumerate(PARENTS[1:], 1):
        moved[:, joint] = moved[:, parent] + (turned[:, parent] @ bones[:, joint - 1, :, None])[..., 0]
    return turned, moved


def _local(motion: RigMotion) -> tuple[FloatArray, FloatArray]:
    """Return each joint in its parent's frame: quaternions (N, 25, 4) as x, y, z, w, and translations (N, 25, 3)."""
    frames, joints = _steady_joints(motion)
    parents = np.array(PARENTS[1:])
    back = np.swapaxes(frames[:, parents], -1, -2)
    translations = np.concatenate([joints[:, :1], (back @ (joints[:, 1:] - joints[:, parents])[..., None])[..., 0]], 1)
    turns = quaternion_wxyz_from_matrix(np.concatenate([frames[:, :1], back @ frames[:, 1:]], 1))
    quaternions = np.roll(turns, -1, -1)
    turned = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0  # q and -q are the same rotation: keep the sign
    quaternions[1:] *= np.where(turned.cumsum(0) % 2, -1.0, 1.0)[..., None]
    return quaternions, translations


def _four_weights(rig: Rig) -> tuple[NDArray[np.uint8], Float32Array]:
    """Return the four joints (V, 4) with the largest weights of each vertex, and their weights (V, 4)."""
    joints = np.argsort(-rig.weights, axis=1, kind="stable")[:, :4]
    weights = np.take_along_axis(rig.weights, joints, 1)
    weights /= weights.sum(1, keepdims=True)
    return np.where(weights > 0, joints, 0).astype(np.uint8), weights.astype(np.float32)


def bvh_from_motion(
    motion: RigMotion,
    *,
    frames: int | None = None,
    frame_time: float | None = None,
    bones: BoneNames | None = None,
    rows: Rows | None = None,
) -> str:
    """Return a BVH file of one hand in constant steps from the start of a video.

    A row is between the frames with the hand before and after. Rows before all frames with the hand have its first
    pose, those after them its last.

    Args:
        motion: Motion of the hand.
        frames: Number of rows; by default up to the last frame with the hand.
        frame_time: Seconds between frames; by default from the hand's times, or 1/30.
        bones: Convention of the bone names, as in characters. Default: WebXR Hand Input.
        rows: Rows to write, in place of `frames` and `frame_time`.
    """
    frame_time = _frame_time(motion) if frame_time is None else frame_time
    times = motion.indices.astype(np.float64) * frame_time if motion.times is None else motion.times
    if rows is None:
        end_s = float(times[-1]) if frames is None else (frames - 1) * frame_time
        rows = row_times(np.arange(round(end_s / frame_time) + 1, dtype=np.float64) * frame_time, frame_time)
    frames_of_joints, joints = _steady_joints(motion)
    turns = frames_of_joints @ np.swapaxes(motion.rig.frames, 1, 2)  # from rest, in the camera's axes
    moving = [joint for joint, name in enumerate(JOINTS) if not name.endswith("tip")]
    parents = [PARENTS[joint] for joint in moving[1:]]
    root = (_FROM_CAMERA[:, None] * turns[:, 0])[:, None]
    local = np.concatenate([root, np.swapaxes(turns[:, parents], -1, -2) @ turns[:, moving[1:]]], 1)
    angles = np.rad2deg(continuous_zxy_angles(turns_at(local, times, rows.times))).reshape(len(rows.times), -1)
    values = np.concatenate([values_at(joints[:, 0] * _FROM_CAMERA, times, rows.times), angles], 1)
    body = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in values.tolist())
    hierarchy = "\n".join(_hierarchy(motion, JOINTS if bones is None else joint_names(motion.rig.side, bones), 0, ""))
    return f"HIERARCHY\n{hierarchy}\nMOTION\nFrames: {len(values)}\nFrame Time: {rows.step_s:.8f}\n{body}\n"


def _frame_time(motion: RigMotion) -> float:
    """Return the median seconds between frames of the source."""
    if motion.times is None or len(motion.times) < 2:
        return 1 / 30
    return float(np.median(np.diff(motion.times) / np.diff(motion.indices)))


def _hierarchy(motion: RigMotion, names: Sequence[str], joint: int, indent: str) -> list[str]:
    """Return the lines of a joint and its descendants, in the order of `JOINTS`."""
    rest = motion.rig.joints
    parent = PARENTS[joint]
    inner = indent + "  "
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
