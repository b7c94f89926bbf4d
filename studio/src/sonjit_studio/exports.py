"""Export people in space for motion capture, tables, animation and drawings.

Motion capture uses C3D (https://www.c3d.org/HTML/default.htm), or TRC as OpenSim reads it. Rigged hands are GLB or BVH.
A GLB of keypoints has a node with a ball at each one in metres, scaled to zero where unknown. Tapered bones are its
child nodes and rotate towards the other end, so programs read positions from the nodes.
"""

import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit._util import BoolArray, FloatArray, IndexArray, InputError, IntArray, glb
from sonjit._util.files import write_bytes, write_text
from sonjit.geometry.rotations import matrix_from_rotation_vector, quaternion_wxyz_from_matrix
from sonjit.media.drawing.instances import FINGERS
from sonjit.media.drawing.strokes import LEFT, RIGHT, Colour
from sonjit.report.documents import line_mark, svg_of
from sonjit.results.measures.bodies import BODY_ANGLES, body_angles_rad, neck_flexion_rad
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.hand_models import drawing, mesh_files
from sonjit_lab.hand_models.rig import RigMotion, Side, fit_pose
from sonjit_studio.bones import Part, median_lengths, rig_with_lengths
from sonjit_studio.ground import people_on_floor
from sonjit_studio.people import HANDS, PeopleInSpace

_GREY: Final[Colour] = (136, 136, 136)
_BALL_RADIUS_M: Final = {"hands": 0.006, "bodies": 0.02, "faces": 0.0015}
_BONE_RADII: Final = (0.75, 0.5)  # radii at a bone's start and end, relative to a ball's
_BALL_RINGS, _RING_VERTICES = 6, 10
_CONSTANT_LENGTH_M: Final = 1e-4  # a bone whose length varies less has constant length
_BLOCK: Final = 512
_MAX_FRAMES: Final = 65_534  # of C3D, which has 16 bits for their number. Programs read 65,535 as unknown
_MAX_TEXT: Final = 128_000  # bytes of labels in 255 blocks of parameters
_MAX_LABELS: Final = 255  # of a parameter of C3D, in 8 bits; further labels go to LABELS2 and so on
_MAX_LETTERS: Final = 255  # of a label, in 8 bits
Figure = Literal["mesh", "skeleton", "angles"]  # content of a .glb (mesh or skeleton) or a .csv (angles)
_FIGURES: Final[dict[str, tuple[Figure, ...]]] = {".glb": ("mesh", "skeleton"), ".csv": ("angles",)}
_ANGLES: Final = (*BODY_ANGLES, "neck_flexion_rad")  # angles of the report that do not depend on the world's axes
ENDINGS: Final = (".c3d", ".trc", ".csv", ".glb", ".bvh", ".svg")
_FLOOR_ENDINGS: Final = (".c3d", ".trc", ".csv")  # formats of motion capture and tables
_CAMERA_ENDINGS: Final = (".glb", ".bvh")  # formats whose writers take the axes of a camera, and write y up
_FROM_Z_UP: Final = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # from a world with z up to a camera's axes
_SVG_COLUMNS, _SVG_CELL_PX = 6, 200
_UPRIGHT_KEYPOINTS: Final = {"hands": (0, 12), "bodies": (23, 0)}  # wrist and middle fingertip, hip and nose


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
        self._builder = glb.GlbBuilder("people")
        self._nodes: list[dict[str, object]] = [{"name": "camera axes", "rotation": glb.CAMERA_AXES}]
        self._children: dict[int, list[int]] = {}
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
            self._builder.animate(balls[joint], "translation", self._times[is_known], positions)
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
                self._builder.animate(bone, "rotation", self._times[both_known], rotations)
                self._show(bone, both_known, sizes)

    def to_bytes(self) -> bytes:
        """Return the file."""
        for node, children in self._children.items():
            self._nodes[node]["children"] = children
        self._builder.document |= {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": self._nodes}
        return self._builder.to_bytes()

    def _node(self, parent: int, name: str, **fields: object) -> int:
        self._nodes.append({"name": name, **fields})
        self._children.setdefault(parent, []).append(len(self._nodes) - 1)
        return len(self._nodes) - 1

    def _mesh(self, kind: str, colour: Colour) -> int:
        """Return a ball of radius 1, or a truncated cone from the origin to z = 1, one mesh per colour."""
        if (kind, colour) not in self._meshes:
            if kind == "ball":
                height = np.linspace(0, np.pi, _BALL_RINGS + 1)
                normals = vertices = _rings(np.sin(height), np.cos(height))
                faces = _faces(_BALL_RINGS)
            else:
                vertices = _rings(np.array(_BONE_RADII), np.array([0.0, 1.0]))
                outwards = vertices * [1, 1, 0]
                normals = outwards / np.linalg.norm(outwards, axis=-1, keepdims=True)
                faces = _faces(1)[:, ::-1]
            arrays = {"POSITION": vertices.astype(np.float32), "NORMAL": normals.astype(np.float32)}
            self._meshes[kind, colour] = self._builder.add_mesh(kind, faces, drawing.linear_light(colour), **arrays)
        return self._meshes[kind, colour]

    def _show(self, node: int, is_known: BoolArray, sizes: FloatArray) -> None:
        """Scale a node by sizes (N or 1, 3) in the frames of a mask (F,), and to zero in the others."""
        times = self._times[is_known]
        changes, shown = mesh_files.presence(times, float(self._times[-1]))
        if len(sizes) == 1:
            if not all(shown):
                self._builder.animate(node, "scale", np.array(changes), np.array(shown)[:, None] * sizes, "STEP")
            return
        hidden = np.array([time for time, is_shown in zip(changes, shown, strict=True) if not is_shown])
        times, sizes = np.concatenate([times, hidden]), np.concatenate([sizes, np.zeros((len(hidden), 3))])
        order = np.argsort(times, kind="stable")
        self._builder.animate(node, "scale", times[order], sizes[order], "STEP")


def _quaternions_to(directions: FloatArray) -> FloatArray:
    """Return quaternions x, y, z, w (N, 4) that rotate z to directions (N, 3), by successive least rotations."""
    unit = directions / np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-12)
    before = np.concatenate([[[0.0, 0.0, 1.0]], unit[:-1]])
    axes, cosine = np.cross(before, unit), (before * unit).sum(-1, keepdims=True)
    sine = np.linalg.norm(axes, axis=-1, keepdims=True)
    helper = np.eye(3)[np.abs(before).argmin(-1)]  # for opposite directions any perpendicular axis works
    axes_across = np.where(sine > 1e-9, axes, np.cross(before, helper))
    lengths = np.linalg.norm(axes_across, axis=-1, keepdims=True)
    steps = matrix_from_rotation_vector(np.arctan2(sine, cosine) * axes_across / np.maximum(lengths, 1e-12))
    rotations, rotation = np.empty((len(directions), 3, 3)), np.eye(3)
    for row, step in enumerate(steps):
        rotations[row] = rotation = step @ rotation
    quaternions = np.roll(quaternion_wxyz_from_matrix(rotations), -1, -1)
    flips = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0  # q and -q are the same rotation: keep the sign continuous
    quaternions[1:] *= np.where(flips.cumsum() % 2, -1.0, 1.0)[:, None]
    return quaternions


def _rings(radius: FloatArray, height: FloatArray) -> FloatArray:
    """Return the vertices (R A, 3) of circles about z."""
    turn = np.arange(_RING_VERTICES) * 2 * np.pi / _RING_VERTICES
    circle = np.column_stack([np.cos(turn), np.sin(turn)])
    rings = zip(radius, height, strict=True)
    return np.concatenate([np.column_stack([size * circle, np.full(_RING_VERTICES, z)]) for size, z in rings])


def _faces(bands: int) -> IntArray:
    """Return triangles (2 A bands, 3) between neighbouring rings, counterclockwise from outside."""
    vertex = np.arange(_RING_VERTICES)
    after = (vertex + 1) % _RING_VERTICES
    lower = np.column_stack([vertex, _RING_VERTICES + vertex, after])
    upper = np.column_stack([after, _RING_VERTICES + vertex, _RING_VERTICES + after])
    return np.concatenate([np.concatenate([lower, upper]) + band * _RING_VERTICES for band in range(bands)])


def c3d_from_points(labels: Sequence[str], points_m: FloatArray, rate: float) -> bytes:
    """Return a C3D file in mm, in Intel's byte order, of points (F, N, 3), F below 65,535, and 128 kB of labels."""
    count, width = len(points_m), max(map(len, labels))
    if count > _MAX_FRAMES or width > _MAX_LETTERS or width * len(labels) > _MAX_TEXT:
        limits = f"at most {_MAX_FRAMES} frames and {_MAX_TEXT} letters of names"
        raise InputError(f"C3D cannot store {count} frames of {len(labels)} points, but {limits}: write .trc or .csv")

    def section(data_block: int, blocks: int) -> bytes:
        entries = [
            _entry("POINT", -1, b"\0"),  # the group, without a description
            _entry("USED", 1, _values(2, (), struct.pack("<h", len(labels)))),
            _entry("SCALE", 1, _values(4, (), struct.pack("<f", -1.0))),
            _entry("RATE", 1, _values(4, (), struct.pack("<f", rate))),
            _entry("DATA_START", 1, _values(2, (), struct.pack("<h", data_block))),
            _entry("FRAMES", 1, _values(2, (), struct.pack("<H", count))),
            _entry("UNITS", 1, _values(-1, (2,), b"mm")),
        ]
        for first in range(0, len(labels), _MAX_LABELS):
            chunk = labels[first : first + _MAX_LABELS]
            text = "".join(label.ljust(width) for label in chunk).encode()
            name = f"LABELS{first // _MAX_LABELS + 1}" if first else "LABELS"
            entries.append(_entry(name, 1, _values(-1, (width, len(chunk)), text)))
        return b"\x01\x50" + bytes([blocks, 84]) + b"".join(entries) + b"\0\0"

    blocks = -(-len(section(0, 0)) // _BLOCK)
    data_block = 2 + blocks
    header = struct.pack("<BBhhHHhfhhf", 2, 0x50, len(labels), 0, 1, count, 0, -1.0, data_block, 0, rate)
    finite = np.isfinite(points_m).all(-1)
    body = np.concatenate([np.nan_to_num(points_m * 1000), np.where(finite, 0.0, -1.0)[..., None]], -1).astype("<f4")
    content = header.ljust(_BLOCK, b"\0") + section(data_block, blocks).ljust(blocks * _BLOCK, b"\0") + body.tobytes()
    return content + bytes(-len(content) % _BLOCK)


def _entry(name: str, group: int, content: bytes) -> bytes:
    """Return a group (number below 0) or a parameter of one. The offset counts from its own position."""
    return struct.pack("<bb", len(name), group) + name.encode() + struct.pack("<h", 2 + len(content)) + content


def _values(kind: int, shape: tuple[int, ...], data: bytes) -> bytes:
    """Return type (-1 text, 2 integers, 4 floats), dimensions, values and an empty description."""
    return struct.pack("<bB", kind, len(shape)) + bytes(shape) + data + b"\0"


def _keypoint_names(part: Part) -> list[str]:
    """Return keypoint names of a table. A mesh's points, which have no names, are numbered."""
    names = load_skeleton(part.skeleton).keypoints
    return list(names) if len(set(names)) == len(names) else list(map(str, range(len(names))))


def _column_labels(people: PeopleInSpace) -> list[str]:
    """Return a label per column: `R_wrist`, `left_knee`, `face_12`; of several people `person2:left_knee`."""
    labels: list[str] = []
    for person, part, _ in people.each_part():
        prefix = f"person{person}:" if len(people.people) > 1 else ""
        prefix += f"{part.handedness[0]}_" if part.handedness else "face_" if part.list_name == "faces" else ""
        labels += [prefix + name for name in _keypoint_names(part)]
    return labels


class CompleteHand(NamedTuple):
    """One hand in the M frame sets in which all its joints are known."""

    name: str  # name such as "right", or "person2-left" of several people
    side: Side
    frames: IndexArray  # (M,) numbers of the frame sets
    times_s: FloatArray  # (M,) times in seconds
    points_m: FloatArray  # (M, 21, 3) joints in metres
    lengths_m: FloatArray  # (20,) bone lengths over all frame sets


def complete_hands(people: PeopleInSpace) -> list[CompleteHand]:
    """Return the hands of a recording. Raise an InputError if there are none, or none is complete."""
    if not set(HANDS) & set(people.parts):
        raise InputError("a rigged mesh requires hands: write .c3d, .trc, .csv or .svg, or .glb --as skeleton")
    hands: list[CompleteHand] = []
    for person, part, points in people.each_part():
        rows = np.flatnonzero(np.isfinite(points).all((1, 2)))
        if part in HANDS and len(rows):
            side: Side = "Right" if part.handedness == "Right" else "Left"
            name = side.lower() if len(people.people) == 1 else f"person{person}-{side.lower()}"
            frames, times = people.frames[rows], people.times_s[rows]
            hands.append(CompleteHand(name, side, frames, times, points[rows], median_lengths(points)))
    if not hands:
        raise InputError("no frame set has all 21 joints of a hand: triangulate with --constant-bones")
    return hands


def hand_motions(people: PeopleInSpace) -> list[RigMotion]:
    """Fit the rigged hands with each person's bones in every frame set with all joints."""
    motions: list[RigMotion] = []
    for hand in complete_hands(people):
        rig = rig_with_lengths(hand.side, hand.lengths_m)
        pose = fit_pose(rig, hand.points_m, hand.times_s)
        rows, times = hand.frames - people.frames[0], hand.times_s - people.times_s[0]
        motions.append(RigMotion(hand.name, rig, pose, rows, times))
    return motions


def _csv(people: PeopleInSpace) -> str:
    lines = ["frame,time_s,person,part,keypoint,x_m,y_m,z_m"]
    parts = [(person, part, _keypoint_names(part), points) for person, part, points in people.each_part()]
    for row, frame in enumerate(people.frames.tolist()):
        for person, part, names, points in parts:
            for joint in np.flatnonzero(np.isfinite(points[row]).all(-1)).tolist():
                position = ",".join(f"{value:.6f}" for value in points[row, joint].tolist())
                lines.append(f"{frame},{people.times_s[row]:.6f},{person},{part.name},{names[joint]},{position}")
    return "\n".join(lines) + "\n"


def _angles_csv(people: PeopleInSpace) -> str:
    """Return a row of joint angles in radians per frame set and body. Unknown angles are empty."""
    bodies = [(person, points) for person, part, points in people.each_part() if part.list_name == "bodies"]
    if not bodies:
        raise InputError("--as angles applies only to bodies: triangulate tables of sonjit body or holistic")
    lines = [",".join(("frame", "time_s", "person", *_ANGLES))]
    angles = [
        np.concatenate([body_angles_rad(points), neck_flexion_rad(points)[:, None]], axis=-1) for _, points in bodies
    ]
    for row, frame in enumerate(people.frames.tolist()):
        for (person, _), body_angles in zip(bodies, angles, strict=True):
            if np.isfinite(body_angles[row]).any():
                values = ",".join("" if np.isnan(value) else f"{value:.6f}" for value in body_angles[row].tolist())
                lines.append(f"{frame},{people.times_s[row]:.6f},{person},{values}")
    return "\n".join(lines) + "\n"


def _trc(people: PeopleInSpace, name: str) -> str:
    """Return markers in millimetres. The format repeats the name of its file."""
    rows, points = people.every_frame()
    labels = _column_labels(people)
    rate, count = f"{1 / rows.step_s:.4f}", str(len(points))
    head = "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame OrigNumFrames"
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{name}",
        head.replace(" ", "\t"),
        "\t".join((rate, rate, count, str(len(labels)), "mm", rate, "1", count)),
        "Frame#\tTime\t" + "\t\t\t".join(labels),
        "\t\t" + "\t".join(f"{axis}{number}" for number in range(1, len(labels) + 1) for axis in "XYZ"),
        "",
    ]
    for number, row in enumerate((points * 1000).reshape(len(points), -1).tolist()):
        values = "\t".join("" if np.isnan(value) else f"{value:.4f}" for value in row)
        lines.append(f"{number + 1}\t{number * rows.step_s:.6f}\t{values}")
    return "\n".join(lines) + "\n"


def _page_axes(people: PeopleInSpace, points_m: FloatArray) -> FloatArray:
    """Return axes (2, 3) along which points (M, N K, 3) about 0 spread most, y down; bodies and hands stand upright."""
    first, down = 0, {"bodies": np.zeros(3), "hands": np.zeros(3)}
    for _, part, own_points in people.each_part():
        if part.list_name in down:
            below, above = (first + keypoint for keypoint in _UPRIGHT_KEYPOINTS[part.list_name])
            down[part.list_name] += np.nansum(points_m[:, below] - points_m[:, above], 0)
        first += own_points.shape[1]
    finite = points_m[np.isfinite(points_m).all(-1)]
    longest = np.linalg.svd(finite, full_matrices=False)[2][1::-1]
    if not down["bodies"].any():
        return -longest if longest[1] @ down["hands"] < 0 else longest
    y = down["bodies"] / np.linalg.norm(down["bodies"])
    return np.stack([np.linalg.svd(finite - np.outer(finite @ y, y), full_matrices=False)[2][0], y])


def _svg(people: PeopleInSpace) -> str:
    visible_frames = np.flatnonzero(np.isfinite(people.points_m).any((1, 2, 3)))
    rows = visible_frames[np.unique(np.linspace(0, len(visible_frames) - 1, _SVG_COLUMNS).round().astype(int))]
    points = people.points_m[rows].reshape(len(rows), -1, 3)
    points = points - np.nanmean(points, 1, keepdims=True)
    flat = points @ _page_axes(people, points).T
    first, lines = 0, list[tuple[int, int, str]]()
    for _, part, own_points in people.each_part():
        for a, b in drawn_lines(part):
            lines.append((first + a, first + b, "#{:02x}{:02x}{:02x}".format(*line_colour(part, a, b))))
        first += own_points.shape[1]
    scale = 0.42 * _SVG_CELL_PX / np.nanmax(np.abs(flat))
    marks: list[str] = []
    for cell, points_2d in enumerate(flat * scale + _SVG_CELL_PX / 2):
        for parent, child, colour in lines:
            (x, y), (u, v) = points_2d[parent], points_2d[child]
            if np.isfinite([x, y, u, v]).all():
                marks.append(line_mark(x + cell * _SVG_CELL_PX, y, u + cell * _SVG_CELL_PX, v, colour=colour, width=3))
    return svg_of(len(rows) * _SVG_CELL_PX, _SVG_CELL_PX, marks, "people in space at moments of the recording")


def export_people(
    people: PeopleInSpace, path: Path, figure: Figure | None = None, *, floor: bool = False
) -> list[Path]:
    """Write people as .c3d or .trc (mm), .csv (m), .glb, .bvh (per rigged hand) or .svg, and return the files.

    `figure`: content of a .glb, the rigged hand's mesh by default, or skeletons; joint angles of bodies for a .csv.
    `floor`: the floor under bodies becomes y = 0 in a .trc, and z = 0 in a .c3d or .csv.
    """
    ending = path.suffix.lower()
    if figure and ending in ENDINGS and figure not in _FIGURES.get(ending, ()):
        needed = next(file_ending for file_ending, figures in _FIGURES.items() if figure in figures)
        raise InputError(f"{path}: --as {figure} applies only to {needed}")
    if floor:
        if ending not in _FLOOR_ENDINGS or figure:
            raise InputError(f"{path}: --floor applies only to keypoints as {', '.join(_FLOOR_ENDINGS)}")
        people = people_on_floor(people, y_up=ending == ".trc")
    if people.z_up and ending in _CAMERA_ENDINGS:
        people = replace(people, points_m=people.points_m @ _FROM_Z_UP.T)
    files: dict[Path, bytes | str] = {}
    match ending:
        case ".c3d":
            rows, points = people.every_frame()
            files[path] = c3d_from_points(_column_labels(people), points, 1 / rows.step_s)
        case ".trc":
            files[path] = _trc(people, path.name)
        case ".csv":
            files[path] = _angles_csv(people) if figure == "angles" else _csv(people)
        case ".glb":
            files[path] = (
                glb_from_people(people) if figure == "skeleton" else mesh_files.glb_from_motions(hand_motions(people))
            )
        case ".bvh":
            motions, rows = hand_motions(people), people.rows()
            rows = rows._replace(times=rows.times - people.times_s[0])
            for motion in motions:  # a BVH file contains one figure
                file = path if len(motions) == 1 else path.with_stem(f"{path.stem}-{motion.name}")
                files[file] = mesh_files.bvh_from_motion(motion, rows=rows)
        case ".svg":
            files[path] = _svg(people)
        case _:
            raise InputError(f"{path}: Unknown file ending {ending!r}. Choose from {', '.join(ENDINGS)}")
    for file, content in files.items():
        write_bytes(file, content) if isinstance(content, bytes) else write_text(file, content)
    return list(files)
