"""Hands as files: GLB, as far as hands need it, read and written; Wavefront OBJ; BVH motion capture.

Source: Khronos Group, glTF 2.0 specification, sections 3.6 (accessors) and 4.4 (binary layout).

Rigged hands as GLB have mesh, skin and one rotation per joint and frame. Joints are in the camera's axes under one node
that turns them into glTF's (y up, z towards the viewer). A joint's own x bends it, y points out of the back of the
hand, z back along the bone; its twist about z is what the fit gave, zero but for the first joint of each finger. A hand
that is out of sight is scaled to nothing.

BVH is in metres, y up, z towards the viewer. Rotations count from the rig's rest pose and are applied as Z X Y. It
keeps what the fit gave of twist: the first joint of each finger has a little, hinges have none.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._version import __version__
from sonjit.arrays import Float32Array, FloatArray, RealArray
from sonjit.errors import InputError
from sonjit.geometry.rotations import quaternion_wxyz_from_matrix
from sonjit.geometry.triangles import vertex_normals
from sonjit.hand_models.rig import JOINTS, PARENTS, Rig, RigMotion

_DTYPES: Final = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}

_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "SCALAR": (), "VEC2": (2,), "VEC3": (3,), "VEC4": (4,), "MAT4": (4, 4),
}  # fmt: skip

CAMERA_AXES: Final = [1.0, 0.0, 0.0, 0.0]
"""Quaternion x, y, z, w of a node that turns a camera's axes (y down, z forward) into glTF's (y up, z backward)."""

SKIN: Final = (0.6, 0.36, 0.26)
"""Colour of a hand, linear RGB."""

_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_VERTICES, _INDICES = 34962, 34963  # what a buffer view is for


class Glb:
    """A GLB file that was read.

    Attributes:
        document: its JSON part.
    """

    def __init__(self, path: Path) -> None:
        """Read a file; InputError in one line where it is not a whole GLB."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}; name a .glb file") from None
        self._path = path
        try:
            magic, version, length, json_length, kind = struct.unpack_from("<5I", data)
            if (magic, version, kind) != (_MAGIC, 2, _JSON) or length != len(data):
                raise ValueError
            self.document: dict[str, Any] = json.loads(data[20 : 20 + json_length])
            size, kind = struct.unpack_from("<2I", data, 20 + json_length)
            self._binary = data[28 + json_length : 28 + json_length + size]
            if kind != _BIN or len(self._binary) != size:
                raise ValueError
        except (struct.error, ValueError):
            raise InputError(
                f"{path} is not a whole GLB 2 file with its data inside; fetch or export it anew"
            ) from None

    def array(self, accessor: int) -> NDArray[Any]:
        """The numbers of one accessor, a row for each of its elements; matrices act on columns."""
        about = self.document["accessors"][accessor]
        view = self.document["bufferViews"][about["bufferView"]]
        dtype, shape = np.dtype(_DTYPES[about["componentType"]]), _SHAPES[about["type"]]
        width = dtype.itemsize * math.prod(shape)
        start = view.get("byteOffset", 0) + about.get("byteOffset", 0)
        step = view.get("byteStride", width)
        try:
            strides = (step, *np.empty(shape, dtype).strides)
            array = np.ndarray((about["count"], *shape), dtype, self._binary, start, strides).copy()
        except (TypeError, ValueError):
            raise InputError(f"{self._path} is damaged: accessor {accessor} leaves its data; fetch it anew") from None
        return array.swapaxes(1, 2) if len(shape) == 2 else array  # matrices are stored by columns


class GlbBuilder:
    """A GLB file in the making: fill `document`, add arrays, take the bytes."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"sonjit {__version__}"},
            "accessors": [],
            "bufferViews": [],
        }
        self._binary = bytearray()

    def add(self, array: NDArray[Any], *, used_by: int | None = None, bounds: bool = False) -> int:
        """Put an array into the file and return its accessor.

        Args:
            array: (N,), (N, 2), (N, 3), (N, 4) or (N, 4, 4), of float32, uint8, uint16 or uint32; matrices act on
                columns.
            used_by: what the buffer view is for; None for animations and skins.
            bounds: write the least and greatest values, as positions and times must.
        """
        kinds = {np.dtype(name): number for number, name in _DTYPES.items()}
        shapes = {shape: name for name, shape in _SHAPES.items()}
        stored = np.ascontiguousarray(array.swapaxes(1, 2) if array.ndim == 3 else array)
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": stored.nbytes}
        accessor = {
            "bufferView": len(self.document["bufferViews"]),
            "componentType": kinds[array.dtype],
            "count": len(array),
            "type": shapes[array.shape[1:]],
        }
        if bounds:
            flat = array.reshape(len(array), -1)
            accessor |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self._binary += stored.tobytes() + bytes(-stored.nbytes % 4)
        self.document["bufferViews"].append(view | ({"target": used_by} if used_by else {}))
        self.document["accessors"].append(accessor)
        return len(self.document["accessors"]) - 1

    def add_mesh(
        self, name: str, faces: NDArray[np.integer], colour: tuple[float, float, float], **attributes: NDArray[Any]
    ) -> int:
        """Add a mesh of triangles (F, 3) in one plain colour (linear RGB, 0..1) and return its number."""
        materials, meshes = self.document.setdefault("materials", []), self.document.setdefault("meshes", [])
        pbr = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.6}
        materials.append({"pbrMetallicRoughness": pbr})
        accessors = {
            kind: self.add(array, used_by=_VERTICES, bounds=kind == "POSITION") for kind, array in attributes.items()
        }
        indices = self.add(faces.astype(np.uint16).reshape(-1), used_by=_INDICES)
        primitive = {"attributes": accessors, "indices": indices, "material": len(materials) - 1}
        meshes.append({"name": name, "primitives": [primitive]})
        return len(meshes) - 1

    def to_bytes(self) -> bytes:
        """The whole file; what stayed empty is left out, as glTF wants it."""
        document = {key: value for key, value in self.document.items() if value != []}
        if self._binary:
            document["buffers"] = [{"byteLength": len(self._binary)}]
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<2I", len(text), _JSON) + text
        if self._binary:
            chunks += struct.pack("<2I", len(self._binary), _BIN) + self._binary
        return struct.pack("<3I", _MAGIC, 2, 12 + len(chunks)) + chunks


class Mesh(NamedTuple):
    """Triangles in space.

    Attributes:
        name: of the object in files.
        vertices: (V, 3) metres in the camera's axes (x right, y down, z forward).
        faces: (F, 3) indices, counterclockwise from outside.
    """

    name: str
    vertices: RealArray
    faces: NDArray[np.integer]


def obj_from_meshes(meshes: Iterable[Mesh]) -> str:
    """An OBJ file: metres, y up, z towards the viewer, as most programs expect."""
    lines: list[str] = []
    first = 1  # OBJ counts from one, over all objects
    for name, vertices, faces in meshes:
        lines.append(f"o {name}")
        lines += [f"v {x:.6f} {-y:.6f} {-z:.6f}" for x, y, z in vertices.tolist()]
        lines += [f"f {a} {b} {c}" for a, b, c in (faces + first).tolist()]
        first += len(vertices)
    return "\n".join(lines) + "\n"


def glb_from_meshes(meshes: Iterable[Mesh]) -> bytes:
    """A GLB file: the vertices in the camera's axes, under nodes that turn them into glTF's."""
    builder = GlbBuilder()
    nodes: list[dict[str, object]] = []
    for name, vertices, faces in meshes:
        points, normals = vertices.astype(np.float32), vertex_normals(vertices, faces).astype(np.float32)
        mesh = builder.add_mesh(name, faces, SKIN, POSITION=points, NORMAL=normals)
        nodes.append({"name": name, "mesh": mesh, "rotation": CAMERA_AXES})
    scene = {"nodes": list(range(len(nodes)))} if nodes else {}
    builder.document |= {"scene": 0, "scenes": [scene], "nodes": nodes}
    return builder.to_bytes()


_AWAY_S: Final = 0.25  # a hand that is not seen for longer is hidden
_STATIC: Final = frozenset(joint for joint, name in enumerate(JOINTS) if name.endswith(("finger-metacarpal", "tip")))


def glb_from_motions(motions: Sequence[RigMotion]) -> bytes:
    """A GLB file of hands: animated where they have times, else posed."""
    builder = GlbBuilder()
    camera: dict[str, object] = {"name": "camera axes", "rotation": CAMERA_AXES}
    builder.document |= {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": [camera]}
    end = max((float(motion.times[-1]) for motion in motions if motion.times is not None), default=0.0)
    channels: list[Mapping[str, object]] = []
    samplers: list[Mapping[str, object]] = []
    for motion in motions:
        first = _add_hand(builder, motion)
        if motion.times is not None:
            _animate(builder, motion, first, end, channels, samplers)
    if channels:
        builder.document["animations"] = [{"name": "hands", "channels": channels, "samplers": samplers}]
    return builder.to_bytes()


def _add_hand(builder: GlbBuilder, motion: RigMotion) -> int:
    """Add nodes in the pose of the first frame, mesh and skin; returns the wrist's node, the other joints follow it."""
    rig, document = motion.rig, builder.document
    nodes = document["nodes"]
    first = len(nodes)
    rotations, translations = _local(motion)
    for joint, name in enumerate(JOINTS):
        children = [first + child for child, parent in enumerate(PARENTS) if parent == joint]
        node = {
            "name": f"{motion.name} {name}",
            "rotation": rotations[0, joint].tolist(),
            "translation": translations[0, joint].tolist(),
        }
        nodes.append(node | ({"children": children} if children else {}))
    nodes[0].setdefault("children", []).append(first)
    bind = np.zeros((len(JOINTS), 4, 4))
    bind[:, :3, :3], bind[:, :3, 3], bind[:, 3, 3] = rig.frames, rig.joints, 1
    skins = document.setdefault("skins", [])
    skins.append({
        "joints": list(range(first, first + len(JOINTS))),
        "skeleton": first,
        "inverseBindMatrices": builder.add(np.linalg.inv(bind).astype(np.float32)),
    })  # fmt: skip
    joints, weights = _four_weights(rig)
    mesh = builder.add_mesh(
        motion.name,
        rig.faces,
        SKIN,
        POSITION=rig.vertices.astype(np.float32),
        NORMAL=rig.normals.astype(np.float32),
        JOINTS_0=joints,
        WEIGHTS_0=weights,
    )
    document["scenes"][0]["nodes"].append(len(nodes))  # a skin places its mesh: the mesh's own node goes to the root
    nodes.append({"name": motion.name, "mesh": mesh, "skin": len(skins) - 1})
    return first


def _animate(
    builder: GlbBuilder,
    motion: RigMotion,
    first: int,
    end: float,
    channels: list[Mapping[str, object]],
    samplers: list[Mapping[str, object]],
) -> None:
    assert motion.times is not None
    rotations, translations = _local(motion)
    clock = builder.add(motion.times.astype(np.float32), bounds=True)

    def add(node: int, path: str, inputs: int, values: FloatArray, interpolation: str = "LINEAR") -> None:
        output = builder.add(values.astype(np.float32))
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
        samplers.append({"input": inputs, "output": output, "interpolation": interpolation})

    add(first, "translation", clock, translations[:, 0])
    for joint in range(len(JOINTS)):
        if joint not in _STATIC:
            add(first + joint, "rotation", clock, rotations[:, joint])
    times, shown = presence(motion.times, end)
    if not all(shown):
        scales = np.repeat(np.array(shown, np.float64)[:, None], 3, 1)
        add(first, "scale", builder.add(np.array(times, np.float32), bounds=True), scales, "STEP")


def presence(times: FloatArray, end: float) -> tuple[list[float], list[bool]]:
    """When something is seen from, and when no longer: half a frame off, so that no rounding hides a frame.

    Args:
        times: (N,) seconds at which it is seen, rising; away for a quarter of a second or less is not away.
        end: of the recording, seconds.

    Returns:
        When it changes, and whether it is seen from then on.
    """
    half = (float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30) / 2
    first, last = float(times[0]), float(times[-1])
    changes = [(0.0, False), (first - half, True)] if first > half else [(first, True)]
    for before, after in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        if after - before > _AWAY_S:
            changes += [(before + half, False), (after - half, True)]
    if last + half < end:
        changes.append((last + half, False))
    return [time for time, _ in changes], [shown for _, shown in changes]


def _local(motion: RigMotion) -> tuple[FloatArray, FloatArray]:
    """Each joint in its parent's frame: quaternions (N, 25, 4) as glTF's x, y, z, w; translations (N, 25, 3)."""
    frames, joints = motion.rig.place(motion.pose)
    parents = np.array(PARENTS[1:])
    back = np.swapaxes(frames[:, parents], -1, -2)
    translations = np.concatenate([joints[:, :1], (back @ (joints[:, 1:] - joints[:, parents])[..., None])[..., 0]], 1)
    turns = quaternion_wxyz_from_matrix(np.concatenate([frames[:, :1], back @ frames[:, 1:]], 1))
    quaternions = np.roll(turns, -1, -1)
    turned = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0  # q and -q are one rotation: stay on one side
    quaternions[1:] *= np.where(turned.cumsum(0) % 2, -1.0, 1.0)[..., None]
    return quaternions, translations


def _four_weights(rig: Rig) -> tuple[NDArray[np.uint8], Float32Array]:
    """The four joints (V, 4) that move each vertex most, and their shares (V, 4)."""
    joints = np.argsort(-rig.weights, axis=1, kind="stable")[:, :4]
    weights = np.take_along_axis(rig.weights, joints, 1)
    weights /= weights.sum(1, keepdims=True)
    return np.where(weights > 0, joints, 0).astype(np.uint8), weights.astype(np.float32)


_UP: Final = np.array([1.0, -1.0, -1.0])  # from the camera's axes
_TURNS: Final = "Zrotation Xrotation Yrotation"


def bvh_from_motion(motion: RigMotion, *, frames: int | None = None, frame_time: float | None = None) -> str:
    """A BVH file of one hand over a whole video; where it is not seen it keeps its last pose, before that its first.

    Args:
        motion: the hand.
        frames: of the video; by default up to the last one in which the hand is seen.
        frame_time: seconds from one to the next; by default as the hand's own times say, else 1/30.
    """
    frames = int(motion.indices[-1]) + 1 if frames is None else frames
    frame_time = _frame_time(motion) if frame_time is None else frame_time
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


def _frame_time(motion: RigMotion) -> float:
    """Median seconds from one frame of the source to the next."""
    if motion.times is None or len(motion.times) < 2:
        return 1 / 30
    return float(np.median(np.diff(motion.times) / np.diff(motion.indices)))


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


def _zxy_angles(matrices: FloatArray) -> FloatArray:
    """(..., 3) angles z, x, y in radians with R = Rz Rx Ry, of matrices (..., 3, 3)."""
    m = matrices
    sine = np.clip(m[..., 2, 1], -1, 1)
    locked = np.hypot(m[..., 0, 1], m[..., 1, 1]) < 1e-7  # z and y turn about one axis: z takes all
    z = np.where(locked, np.arctan2(m[..., 1, 0], m[..., 0, 0]), np.arctan2(-m[..., 0, 1], m[..., 1, 1]))
    y = np.where(locked, 0.0, np.arctan2(-m[..., 2, 0], m[..., 2, 2]))
    return np.stack([z, np.arcsin(sine), y], -1)
