"""Encode characters as BVH, GLB and VRMA.

Sources: Khronos Group, glTF 2.0. VRM Consortium, VRMC_vrm_animation 1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit._util.glb import GlbBuilder
from sonjit.geometry.rotations import quaternion_wxyz_from_matrix, zxy_angles_from_matrix
from sonjit.media.tables.characters.bones import BONES, NAMES, PARENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sonjit._util.arrays import FloatArray
    from sonjit.media.tables.characters.bones import BoneNames
    from sonjit.media.tables.characters.motion import Motion

_ROTATION_CHANNELS: Final = "Zrotation Xrotation Yrotation"
_COLOURS: Final = ((0.6, 0.36, 0.26), (0.2, 0.4, 0.62), (0.3, 0.5, 0.25), (0.6, 0.5, 0.15))
_CORNERS: Final = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
_THICKNESS, _MAX_RADIUS_M, _SHORTEST_M = 0.16, 0.05, 0.01
"""Half width of a bone relative to its length, its maximum, and minimum length of a drawn bone."""


def bvh_from_character(motion: Motion, times: FloatArray, step_s: float, convention: BoneNames) -> str:
    """Return a BVH file in metres with y up. All rotations of the rest pose are zero.

    Args:
        motion: Motion of the character.
        times: Seconds (F,) of the frames.
        step_s: Seconds between frames of the file. A frame of the file repeats the latest frame of the motion.
        convention: Convention of the bone names.
    """
    order: list[str] = []
    hierarchy = "\n".join(_hierarchy(motion, "hips", "", NAMES[convention], order))
    angles = np.rad2deg(zxy_angles_from_matrix(motion.rotations[:, [BONES.index(bone) for bone in order]]))
    rows = np.concatenate([motion.hips, angles.reshape(len(angles), -1)], 1)
    count = round(float(times[-1] - times[0]) / step_s) + 1
    latest = np.searchsorted(times, times[0] + (np.arange(count) + 0.25) * step_s, side="right") - 1
    body = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in rows[latest].tolist())
    return f"HIERARCHY\n{hierarchy}\nMOTION\nFrames: {count}\nFrame Time: {step_s:.8f}\n{body}\n"


def _hierarchy(motion: Motion, bone: str, indent: str, names: dict[str, str], order: list[str]) -> list[str]:
    """Return the lines of a bone and its descendants, and append their names to the order of the channels."""
    order.append(bone)
    inner = indent + "  "
    is_root = not PARENTS[bone]
    offset = np.zeros(3) if is_root else motion.offsets[BONES.index(bone)]
    channels = f"6 Xposition Yposition Zposition {_ROTATION_CHANNELS}" if is_root else f"3 {_ROTATION_CHANNELS}"
    lines = [f"{indent}{'ROOT' if is_root else 'JOINT'} {names[bone]}", f"{indent}{{", _offset(offset, inner)]
    lines.append(f"{inner}CHANNELS {channels}")
    for child in (child for child, parent in PARENTS.items() if parent == bone):
        lines += _hierarchy(motion, child, inner, names, order)
    if bone in motion.ends:
        lines += [f"{inner}End Site", f"{inner}{{", _offset(motion.ends[bone], inner + "  "), f"{inner}}}"]
    return [*lines, f"{indent}}}"]


def _offset(vector: FloatArray, indent: str) -> str:
    return f"{indent}OFFSET {' '.join(f'{value:.6f}' for value in vector.tolist())}"


def glb_from_characters(motions: Sequence[Motion], times: FloatArray, convention: BoneNames) -> bytes:
    """Return a GLB file with a skinned figure of simple bones for each character, and one animation.

    Args:
        motions: Motions of the characters.
        times: Seconds (F,) of the frames.
        convention: Convention of the bone names.
    """
    scene = _Scene(times, convention)
    for number, motion in enumerate(motions):
        first = scene.add(motion)
        scene.add_figure(motion, first, _COLOURS[number % len(_COLOURS)])
    return scene.to_bytes()


def vrma_from_character(motion: Motion, times: FloatArray, convention: BoneNames) -> bytes:
    """Return a VRM animation, which avatars of VRM 1.0 play; see `glb_from_characters`."""
    scene = _Scene(times, convention)
    first = scene.add(motion)
    bones = {bone: {"node": first + number} for number, bone in enumerate(BONES)}
    extension: dict[str, Any] = {"specVersion": "1.0", "humanoid": {"humanBones": bones}}
    if motion.expressions:
        extension["expressions"] = {"custom": scene.add_expressions(motion.expressions)}
    scene.document["extensionsUsed"] = ["VRMC_vrm_animation"]
    scene.document["extensions"] = {"VRMC_vrm_animation": extension}
    return scene.to_bytes()


class _Scene:
    """Nodes and one animation of characters.

    Args:
        times: Seconds (F,) of the frames.
        convention: Convention of the bone names.
    """

    def __init__(self, times: FloatArray, convention: BoneNames) -> None:
        self._builder, self._names = GlbBuilder(), NAMES[convention]
        self._nodes: list[dict[str, Any]] = []
        self._roots: list[int] = []
        self._channels: list[dict[str, Any]] = []
        self._samplers: list[dict[str, Any]] = []
        self._clock = self._builder.add((times - times[0]).astype(np.float32), bounds=True)

    @property
    def document(self) -> dict[str, Any]:
        """JSON part of the file."""
        return self._builder.document

    def add(self, motion: Motion) -> int:
        """Add the nodes of a character in the rest pose, and their animation. Return the node of the hips."""
        self._roots.append(len(self._nodes))
        held = np.flatnonzero(motion.is_held).tolist()
        self._nodes.append({"name": motion.name, "extras": {"framesThatHoldThePose": held}})
        first = len(self._nodes)
        self._nodes[-1]["children"] = [first]
        for number, bone in enumerate(BONES):
            children = [first + BONES.index(child) for child, parent in PARENTS.items() if parent == bone]
            node: dict[str, Any] = {"name": self._names[bone], "translation": motion.offsets[number].tolist()}
            self._nodes.append(node | ({"children": children} if children else {}))
            quaternions = np.roll(quaternion_wxyz_from_matrix(motion.rotations[:, number]), -1, 1)
            signs = np.cumprod(np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1, 1))
            quaternions[1:] *= signs[:, None]  # q and -q are the same rotation: keep neighbours close
            self._animate(first + number, "rotation", quaternions)
        self._animate(first, "translation", motion.hips)
        return first

    def add_expressions(self, expressions: dict[str, FloatArray]) -> dict[str, dict[str, int]]:
        """Add a node for each expression, whose x animates the weight. Return the nodes by name."""
        added: dict[str, dict[str, int]] = {}
        for name, weights in expressions.items():
            node = len(self._nodes)
            self._roots.append(node)
            self._nodes.append({"name": name})
            self._animate(node, "translation", np.pad(weights.clip(0, 1)[:, None], ((0, 0), (0, 2))))
            added[name] = {"node": node}
        return added

    def add_figure(self, motion: Motion, first: int, colour: tuple[float, float, float]) -> None:
        """Add a mesh of bones that is bound to the nodes of a character."""
        rest = motion.rest_joints()
        segments = [(BONES.index(parent), rest[number]) for number, parent in enumerate(PARENTS.values()) if parent]
        segments += [(BONES.index(bone), rest[BONES.index(bone)] + end) for bone, end in motion.ends.items()]
        segments = [(joint, end) for joint, end in segments if np.linalg.norm(end - rest[joint]) > _SHORTEST_M]
        vertices = np.concatenate([_octahedron(rest[joint], end) for joint, end in segments])
        corners = vertices.reshape(-1, 3, 3)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        joints = np.zeros((len(vertices), 4), np.uint8)
        joints[:, 0] = np.repeat([joint for joint, _ in segments], len(vertices) // len(segments))
        weights = np.zeros((len(vertices), 4), np.float32)
        weights[:, 0] = 1
        mesh = self._builder.add_mesh(
            motion.name,
            np.arange(len(vertices)).reshape(-1, 3),
            colour,
            POSITION=vertices.astype(np.float32),
            NORMAL=np.repeat(normals, 3, 0).astype(np.float32),
            JOINTS_0=joints,
            WEIGHTS_0=weights,
        )
        inverse = np.tile(np.eye(4, dtype=np.float32), (len(BONES), 1, 1))
        inverse[:, :3, 3] = -rest
        skins = self.document.setdefault("skins", [])
        skins.append({
            "name": motion.name,
            "joints": list(range(first, first + len(BONES))),
            "skeleton": first,
            "inverseBindMatrices": self._builder.add(inverse),
        })  # fmt: skip
        self._roots.append(len(self._nodes))
        self._nodes.append({"name": f"{motion.name} figure", "mesh": mesh, "skin": len(skins) - 1})

    def _animate(self, node: int, path: str, values: FloatArray) -> None:
        target = {"node": node, "path": path}
        self._channels.append({"sampler": len(self._samplers), "target": target})
        self._samplers.append({"input": self._clock, "output": self._builder.add(values.astype(np.float32))})

    def to_bytes(self) -> bytes:
        """Return the complete file."""
        animation = {"name": "motion", "channels": self._channels, "samplers": self._samplers}
        scene = {"scenes": [{"nodes": self._roots}], "scene": 0}
        self._builder.document |= {"nodes": self._nodes, "animations": [animation], **scene}
        return self._builder.to_bytes()


def _octahedron(start: FloatArray, end: FloatArray) -> FloatArray:
    """Return the corners (24, 3) of eight triangles between two points, thickest near the start."""
    way = end - start
    length = float(np.linalg.norm(way))
    side = np.cross(way, np.eye(3)[np.argmin(np.abs(way))])
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(way / length, side)])
    ring = start + 0.15 * way + min(_THICKNESS * length, _MAX_RADIUS_M) * _CORNERS @ axes
    triangles: list[FloatArray] = []
    for corner in range(4):
        this, following = ring[corner], ring[(corner + 1) % 4]
        triangles += [np.stack([start, following, this]), np.stack([end, this, following])]
    return np.concatenate(triangles)
