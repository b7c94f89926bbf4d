"""People in space as GLB without anybody's mesh: a ball for each keypoint, a tapered bone for each line between two.

A ball's node moves to its keypoint, in metres, and its bones are nodes below it that turn to the other end, so another
program reads places from the nodes. What is unknown is scaled to nothing. The camera's axes are turned into glTF's by
one node above.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IntArray
from sonjit.geometry.rotations import matrix_from_rotation_vector, quaternion_wxyz_from_matrix
from sonjit.hand_models.mesh_files import CAMERA_AXES, GlbBuilder, presence
from sonjit.media.drawing.instances import FINGERS
from sonjit.media.drawing.strokes import LEFT, RIGHT, Colour, linear_light
from sonjit.multiview.triangulation.people import HANDS, Part, PeopleInSpace
from sonjit.skeletons import load_skeleton

_GREY: Final[Colour] = (136, 136, 136)
_BALL_M: Final = {"hands": 0.006, "bodies": 0.02, "faces": 0.0015}
_BONE: Final = (0.75, 0.5)  # of a ball's radius, at a bone's beginning and end
_RINGS, _AROUND = 6, 10
_STEADY_M: Final = 1e-4  # a bone whose length varies less is of one length


def lines_of(part: Part) -> list[tuple[int, int]]:
    """The pairs of keypoints that are drawn joined."""
    skeleton = load_skeleton(part.skeleton)
    return [*(skeleton.bones if part in HANDS else skeleton.connections)]


def colour_of(part: Part, parent: int, child: int) -> Colour:
    """Of a line: a finger's, a body's side, or grey."""
    if part in HANDS and parent:
        return tuple(FINGERS.values())[(child - 1) // 4]
    names = [load_skeleton(part.skeleton).keypoints[end].split("_")[0] for end in (parent, child)]
    side = {"left": LEFT, "right": RIGHT}.get(names[0]) if part.list_name == "bodies" and len(set(names)) == 1 else None
    return side or _GREY


def glb_from_people(people: PeopleInSpace) -> bytes:
    """An animated GLB file of all keypoints and the lines between them, in metres; times count from the first."""
    made = _Skeletons(people.times_s - people.times_s[0])
    for person, part, points in people.each_part():
        if np.isfinite(points).any():
            made.add(f"person{person} {part.name}" if len(people.people) > 1 else part.name, part, points)
    return made.to_bytes()


class _Skeletons:
    """The file in the making; times (F,) in seconds."""

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
        lines, keypoints = lines_of(part), load_skeleton(part.skeleton).keypoints
        colours = {child: colour_of(part, parent, child) for parent, child in lines}
        radius_m = _BALL_M[part.list_name]
        root = self._node(0, name)
        known = np.asarray(np.isfinite(points_m).all(-1), np.bool_)
        balls: dict[int, int] = {}
        for joint in np.flatnonzero(known.any(0)).tolist():
            seen = known[:, joint]
            places = points_m[seen, joint]
            mesh = self._mesh("ball", colours.get(joint, _GREY))
            balls[joint] = self._node(root, f"{name} {keypoints[joint]}", translation=places[0].tolist())
            self._node(balls[joint], f"{name} {keypoints[joint]} ball", mesh=mesh, scale=[radius_m] * 3)
            self._animate(balls[joint], "translation", self._times[seen], places)
            self._show(balls[joint], seen, np.ones((1, 3)))
        for parent, child in lines:
            if (both := known[:, parent] & known[:, child]).any():
                ways = points_m[both, child] - points_m[both, parent]
                lengths_m = np.linalg.norm(ways, axis=-1)
                steady = float(np.ptp(lengths_m)) < _STEADY_M
                sizes = np.column_stack([np.full((len(ways), 2), radius_m), lengths_m])[: 1 if steady else None]
                turns = _turns_to(ways)
                mesh = self._mesh("bone", colour_of(part, parent, child))
                told = {"mesh": mesh, "rotation": turns[0].tolist(), "scale": sizes[0].tolist()}
                bone = self._node(balls[parent], f"{name} {keypoints[parent]} to {keypoints[child]}", **told)
                self._animate(bone, "rotation", self._times[both], turns)
                self._show(bone, both, sizes)

    def to_bytes(self) -> bytes:
        for node, children in self._children.items():
            self._nodes[node]["children"] = children
        self._builder.document |= {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": self._nodes}
        if self._channels:
            animation = {"name": "people", "channels": self._channels, "samplers": self._samplers}
            self._builder.document["animations"] = [animation]
        return self._builder.to_bytes()

    def _node(self, parent: int, name: str, **fields: object) -> int:
        self._nodes.append({"name": name, **fields})
        self._children.setdefault(parent, []).append(len(self._nodes) - 1)
        return len(self._nodes) - 1

    def _mesh(self, kind: str, colour: Colour) -> int:
        """A ball of radius 1, or a bone from the origin to z = 1; one of each colour."""
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
        """Values (N, 3 or 4) of a node at times (N,); keypoints that are known at the same times share one clock."""
        clock = times_s.astype(np.float32)
        if clock.tobytes() not in self._clocks:
            self._clocks[clock.tobytes()] = self._builder.add(clock, bounds=True)
        sampler = {"input": self._clocks[clock.tobytes()], "interpolation": interpolation}
        self._channels.append({"sampler": len(self._samplers), "target": {"node": node, "path": path}})
        self._samplers.append(sampler | {"output": self._builder.add(values.astype(np.float32))})

    def _show(self, node: int, seen: BoolArray, sizes: FloatArray) -> None:
        """Scale a node by sizes (N or 1, 3) in the N frames in which it is seen (F,), and to nothing in the others."""
        times = self._times[seen]
        changes, shown = presence(times, float(self._times[-1]))
        if len(sizes) == 1:
            if not all(shown):
                self._animate(node, "scale", np.array(changes), np.array(shown)[:, None] * sizes, "STEP")
            return
        hidden = np.array([time for time, there in zip(changes, shown, strict=True) if not there])
        order = np.argsort(when := np.concatenate([times, hidden]), kind="stable")
        self._animate(node, "scale", when[order], np.concatenate([sizes, np.zeros((len(hidden), 3))])[order], "STEP")


def _turns_to(ways: FloatArray) -> FloatArray:
    """Quaternions x, y, z, w (N, 4) that turn z into directions (N, 3), each by the least turn from the one before."""
    unit = ways / np.maximum(np.linalg.norm(ways, axis=-1, keepdims=True), 1e-12)
    before = np.concatenate([[[0.0, 0.0, 1.0]], unit[:-1]])
    axes, cosine = np.cross(before, unit), (before * unit).sum(-1, keepdims=True)
    sine = np.linalg.norm(axes, axis=-1, keepdims=True)
    beside = np.eye(3)[np.abs(before).argmin(-1)]  # of opposite directions any axis across will do
    across = np.where(sine > 1e-9, axes, np.cross(before, beside))
    steps = matrix_from_rotation_vector(
        np.arctan2(sine, cosine) * across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-12)
    )
    turns, turn = np.empty((len(ways), 3, 3)), np.eye(3)
    for row, step in enumerate(steps):
        turns[row] = turn = step @ turn
    quaternions = np.roll(quaternion_wxyz_from_matrix(turns), -1, -1)
    flips = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0  # q and -q are one rotation: stay on one side
    quaternions[1:] *= np.where(flips.cumsum() % 2, -1.0, 1.0)[:, None]
    return quaternions


def _ball() -> tuple[FloatArray, FloatArray, IntArray]:
    """Vertices (V, 3), normals and faces of a ball of radius 1."""
    height = np.linspace(0, np.pi, _RINGS + 1)
    vertices = _rings(np.sin(height), np.cos(height))
    return vertices, vertices, _faces(_RINGS)


def _bone() -> tuple[FloatArray, FloatArray, IntArray]:
    """Vertices (V, 3), normals and faces of a cone without its tip, along z from 0 to 1; its ends are in balls."""
    vertices = _rings(np.array(_BONE), np.array([0.0, 1.0]))
    outwards = vertices * [1, 1, 0]
    return vertices, outwards / np.linalg.norm(outwards, axis=-1, keepdims=True), _faces(1)[:, ::-1]


def _rings(radius: FloatArray, height: FloatArray) -> FloatArray:
    """(R A, 3) vertices of circles about z."""
    turn = np.arange(_AROUND) * 2 * np.pi / _AROUND
    circle = np.column_stack([np.cos(turn), np.sin(turn)])
    return np.concatenate(
        [np.column_stack([size * circle, np.full(_AROUND, z)]) for size, z in zip(radius, height, strict=True)]
    )


def _faces(bands: int) -> IntArray:
    """(2 A bands, 3) triangles between neighbouring rings that go down, counterclockwise from outside."""
    here = np.arange(_AROUND)
    ring = np.column_stack([here, _AROUND + here, (here + 1) % _AROUND])
    other = np.column_stack([(here + 1) % _AROUND, _AROUND + here, _AROUND + (here + 1) % _AROUND])
    return np.concatenate([np.concatenate([ring, other]) + band * _AROUND for band in range(bands)])
