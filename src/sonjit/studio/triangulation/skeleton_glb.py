"""Write people in space as GLB without a mesh: a ball for each keypoint, a tapered bone for each line.

A ball's node moves to its keypoint in metres. Its bones are child nodes that rotate towards the other end, so another
program reads positions from the nodes. Unknown keypoints are scaled to zero. A root node turns the camera's axes into
glTF's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IntArray
from sonjit._util.glb import CAMERA_AXES, GlbBuilder
from sonjit.geometry.rotations import matrix_from_rotation_vector, quaternion_wxyz_from_matrix
from sonjit.lab.hand_models.mesh_files import presence
from sonjit.media.drawing.instances import FINGERS
from sonjit.media.drawing.strokes import LEFT, RIGHT, Colour, linear_light
from sonjit.results.skeletons import load_skeleton
from sonjit.studio.triangulation.detections import HANDS, Part
from sonjit.studio.triangulation.people import PeopleInSpace

_GREY: Final[Colour] = (136, 136, 136)
_BALL_RADIUS_M: Final = {"hands": 0.006, "bodies": 0.02, "faces": 0.0015}
_BONE_RADII: Final = (0.75, 0.5)  # radii at a bone's start and end, relative to a ball's
_BALL_RINGS, _RING_VERTICES = 6, 10
_CONSTANT_LENGTH_M: Final = 1e-4  # a bone whose length varies less has constant length


def drawn_lines(part: Part) -> list[tuple[int, int]]:
    """Return the pairs of keypoints that are connected by lines."""
    skeleton = load_skeleton(part.skeleton)
    return [*(skeleton.bones if part in HANDS else skeleton.connections)]


def line_colour(part: Part, parent: int, child: int) -> Colour:
    """Return a line's colour: a finger's, a body side's, or grey."""
    if part in HANDS and parent:
        return tuple(FINGERS.values())[(child - 1) // 4]
    names = [load_skeleton(part.skeleton).keypoints[end].split("_")[0] for end in (parent, child)]
    side = {"left": LEFT, "right": RIGHT}.get(names[0]) if part.list_name == "bodies" and len(set(names)) == 1 else None
    return side or _GREY


def glb_from_people(people: PeopleInSpace) -> bytes:
    """Return an animated GLB file of all keypoints and lines in metres. Times start at 0."""
    builder = _SkeletonBuilder(people.times_s - people.times_s[0])
    for person, part, points in people.each_part():
        if np.isfinite(points).any():
            builder.add(f"person{person} {part.name}" if len(people.people) > 1 else part.name, part, points)
    return builder.to_bytes()


class _SkeletonBuilder:
    """Builder of the file for frames at times (F,) in seconds."""

    def __init__(self, times_s: FloatArray) -> None:
        self._times = times_s
        self._builder = GlbBuilder()
        self._nodes: list[dict[str, object]] = [{"name": "camera axes", "rotation": CAMERA_AXES}]
        self._children: dict[int, list[int]] = {}
        self._channels: list[Mapping[str, object]] = []
        self._samplers: list[Mapping[str, object]] = []
        self._clocks: dict[bytes, int] = {}
        self._meshes: dict[tuple[str, Colour], int] = {}

    def add(self, name: str, part: Part, points_m: FloatArray) -> None:
        """Add a part's keypoints (F, J, 3) and its lines."""
        lines, keypoints = drawn_lines(part), load_skeleton(part.skeleton).keypoints
        colours = {child: line_colour(part, parent, child) for parent, child in lines}
        radius_m = _BALL_RADIUS_M[part.list_name]
        root = self._node(0, name)
        finite = np.asarray(np.isfinite(points_m).all(-1), np.bool_)
        balls: dict[int, int] = {}
        for joint in np.flatnonzero(finite.any(0)).tolist():
            is_known = finite[:, joint]
            positions = points_m[is_known, joint]
            mesh = self._mesh("ball", colours.get(joint, _GREY))
            balls[joint] = self._node(root, f"{name} {keypoints[joint]}", translation=positions[0].tolist())
            self._node(balls[joint], f"{name} {keypoints[joint]} ball", mesh=mesh, scale=[radius_m] * 3)
            self._animate(balls[joint], "translation", self._times[is_known], positions)
            self._show(balls[joint], is_known, np.ones((1, 3)))
        for parent, child in lines:
            if (both_known := finite[:, parent] & finite[:, child]).any():
                vectors = points_m[both_known, child] - points_m[both_known, parent]
                lengths_m = np.linalg.norm(vectors, axis=-1)
                constant = float(np.ptp(lengths_m)) < _CONSTANT_LENGTH_M
                sizes = np.column_stack([np.full((len(vectors), 2), radius_m), lengths_m])[: 1 if constant else None]
                rotations = _quaternions_to(vectors)
                mesh = self._mesh("bone", line_colour(part, parent, child))
                fields = {"mesh": mesh, "rotation": rotations[0].tolist(), "scale": sizes[0].tolist()}
                bone = self._node(balls[parent], f"{name} {keypoints[parent]} to {keypoints[child]}", **fields)
                self._animate(bone, "rotation", self._times[both_known], rotations)
                self._show(bone, both_known, sizes)

    def to_bytes(self) -> bytes:
        """Return the file."""
        for node, children in self._children.items():
            self._nodes[node]["children"] = children
        self._builder.document |= {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": self._nodes}
        if self._channels:
            animation = {"name": "people", "channels": self._channels, "samplers": self._samplers}
            self._builder.document["animations"] = [animation]
        return self._builder.to_bytes()

    def _node(self, parent: int, name: str, **fields: object) -> int:
        """Add a node and return its index."""
        self._nodes.append({"name": name, **fields})
        self._children.setdefault(parent, []).append(len(self._nodes) - 1)
        return len(self._nodes) - 1

    def _mesh(self, kind: str, colour: Colour) -> int:
        """Return a ball of radius 1, or a bone from the origin to z = 1, one mesh per colour."""
        if (kind, colour) not in self._meshes:
            vertices, normals, faces = _ball() if kind == "ball" else _bone()
            self._meshes[kind, colour] = self._builder.add_mesh(
                kind, faces, linear_light(colour),
                POSITION=vertices.astype(np.float32), NORMAL=normals.astype(np.float32),
            )  # fmt: skip
        return self._meshes[kind, colour]

    def _animate(
        self, node: int, path: str, times_s: FloatArray, values: FloatArray, interpolation: str = "LINEAR"
    ) -> None:
        """Animate a node by values (N, 3 or 4) at times (N,). Equal times share one accessor."""
        clock = times_s.astype(np.float32)
        if clock.tobytes() not in self._clocks:
            self._clocks[clock.tobytes()] = self._builder.add(clock, bounds=True)
        sampler = {"input": self._clocks[clock.tobytes()], "interpolation": interpolation}
        self._channels.append({"sampler": len(self._samplers), "target": {"node": node, "path": path}})
        self._samplers.append(sampler | {"output": self._builder.add(values.astype(np.float32))})

    def _show(self, node: int, is_known: BoolArray, sizes: FloatArray) -> None:
        """Scale a node by sizes (N or 1, 3) in the frames of a mask (F,), and to zero in the others."""
        times = self._times[is_known]
        changes, shown = presence(times, float(self._times[-1]))
        if len(sizes) == 1:
            if not all(shown):
                self._animate(node, "scale", np.array(changes), np.array(shown)[:, None] * sizes, "STEP")
            return
        hidden = np.array([time for time, is_shown in zip(changes, shown, strict=True) if not is_shown])
        order = np.argsort(when := np.concatenate([times, hidden]), kind="stable")
        self._animate(node, "scale", when[order], np.concatenate([sizes, np.zeros((len(hidden), 3))])[order], "STEP")


def _quaternions_to(directions: FloatArray) -> FloatArray:
    """Return quaternions x, y, z, w (N, 4) that rotate z to directions (N, 3), by successive least rotations."""
    unit = directions / np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-12)
    before = np.concatenate([[[0.0, 0.0, 1.0]], unit[:-1]])
    axes, cosine = np.cross(before, unit), (before * unit).sum(-1, keepdims=True)
    sine = np.linalg.norm(axes, axis=-1, keepdims=True)
    helper = np.eye(3)[np.abs(before).argmin(-1)]  # for opposite directions any perpendicular axis works
    axes_across = np.where(sine > 1e-9, axes, np.cross(before, helper))
    steps = matrix_from_rotation_vector(
        np.arctan2(sine, cosine) * axes_across / np.maximum(np.linalg.norm(axes_across, axis=-1, keepdims=True), 1e-12)
    )
    rotations, rotation = np.empty((len(directions), 3, 3)), np.eye(3)
    for row, step in enumerate(steps):
        rotations[row] = rotation = step @ rotation
    quaternions = np.roll(quaternion_wxyz_from_matrix(rotations), -1, -1)
    flips = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0  # q and -q are the same rotation: keep the sign continuous
    quaternions[1:] *= np.where(flips.cumsum() % 2, -1.0, 1.0)[:, None]
    return quaternions


def _ball() -> tuple[FloatArray, FloatArray, IntArray]:
    """Return vertices (V, 3), normals and faces of a ball of radius 1."""
    height = np.linspace(0, np.pi, _BALL_RINGS + 1)
    vertices = _rings(np.sin(height), np.cos(height))
    return vertices, vertices, _faces(_BALL_RINGS)


def _bone() -> tuple[FloatArray, FloatArray, IntArray]:
    """Return vertices (V, 3), normals and faces of a truncated cone along z from 0 to 1, whose ends lie in balls."""
    vertices = _rings(np.array(_BONE_RADII), np.array([0.0, 1.0]))
    outwards = vertices * [1, 1, 0]
    return vertices, outwards / np.linalg.norm(outwards, axis=-1, keepdims=True), _faces(1)[:, ::-1]


def _rings(radius: FloatArray, height: FloatArray) -> FloatArray:
    """Return the vertices (R A, 3) of circles about z."""
    turn = np.arange(_RING_VERTICES) * 2 * np.pi / _RING_VERTICES
    circle = np.column_stack([np.cos(turn), np.sin(turn)])
    return np.concatenate(
        [np.column_stack([size * circle, np.full(_RING_VERTICES, z)]) for size, z in zip(radius, height, strict=True)]
    )


def _faces(bands: int) -> IntArray:
    """Return triangles (2 A bands, 3) between neighbouring rings, counterclockwise from outside."""
    vertex = np.arange(_RING_VERTICES)
    ring = np.column_stack([vertex, _RING_VERTICES + vertex, (vertex + 1) % _RING_VERTICES])
    second_triangles = np.column_stack(
        [(vertex + 1) % _RING_VERTICES, _RING_VERTICES + vertex, _RING_VERTICES + (vertex + 1) % _RING_VERTICES]
    )
    return np.concatenate([np.concatenate([ring, second_triangles]) + band * _RING_VERTICES for band in range(bands)])
