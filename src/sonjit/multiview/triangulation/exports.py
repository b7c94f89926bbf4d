"""People in space for other programs: C3D and TRC of motion capture, CSV, rigged hands as GLB or BVH; a drawing.

C3D: https://www.c3d.org/HTML/default.htm; TRC as OpenSim reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit.arrays import FloatArray, IndexArray
from sonjit.documents.plots import line_mark, svg_of
from sonjit.errors import InputError
from sonjit.files import write_bytes, write_text
from sonjit.hand_models.mesh_files import bvh_from_motion, glb_from_motions
from sonjit.hand_models.rig import RigMotion, Side
from sonjit.hand_models.rig_ik import fit_pose
from sonjit.multiview.triangulation.bones import rig_of_lengths, usual_lengths
from sonjit.multiview.triangulation.people import HANDS, Part, PeopleInSpace
from sonjit.multiview.triangulation.skeleton_glb import colour_of, glb_from_people, lines_of
from sonjit.skeletons import load_skeleton

Figure = Literal["mesh", "skeleton"]
"""What a .glb shows."""


def _keypoint_names(part: Part) -> list[str]:
    """Names in a table; a mesh's points, which have none of their own, by number."""
    names = load_skeleton(part.skeleton).keypoints
    return list(names) if len(set(names)) == len(names) else [str(number) for number in range(len(names))]


def _labels(people: PeopleInSpace) -> list[str]:
    """A name for each column of points: `R_wrist`, `left_knee`, `face_12`; of several people `person2:left_knee`."""
    labels: list[str] = []
    for person, part, _ in people.each_part():
        prefix = f"person{person}:" if len(people.people) > 1 else ""
        prefix += f"{part.handedness[0]}_" if part.handedness else "face_" if part.list_name == "faces" else ""
        labels += [prefix + name for name in _keypoint_names(part)]
    return labels


class WholeHand(NamedTuple):
    """One hand in the M frame sets of which all its joints are known.

    Attributes:
        name: such as "right"; of several people "person2-left".
        side: whose hand it is.
        frames: (M,) numbers of the frame sets.
        times_s: (M,).
        points_m: (M, 21, 3).
        lengths_m: (20,) its bones, from all frame sets.
    """

    name: str
    side: Side
    frames: IndexArray
    times_s: FloatArray
    points_m: FloatArray
    lengths_m: FloatArray


def whole_hands(people: PeopleInSpace) -> list[WholeHand]:
    """The hands of a recording.

    Raises:
        InputError: there are none, or none is whole.
    """
    if not set(HANDS) & set(people.parts):
        raise InputError(
            "a rigged mesh is of hands and there are none: write .c3d, .trc, .csv or .svg, or .glb --as skeleton"
        )
    found: list[WholeHand] = []
    for person, part, points in people.each_part():
        whole = np.flatnonzero(np.isfinite(points).all((1, 2)))
        if part in HANDS and len(whole):
            side: Side = "Right" if part.handedness == "Right" else "Left"
            name = side.lower() if len(people.people) == 1 else f"person{person}-{side.lower()}"
            lengths = usual_lengths(points)
            found.append(WholeHand(name, side, people.frames[whole], people.times_s[whole], points[whole], lengths))
    if not found:
        raise InputError("in no frame set all 21 joints of a hand are known: triangulate with --constant-bones")
    return found


def hand_motions(people: PeopleInSpace) -> list[RigMotion]:
    """The rigged hands in every frame set of which all joints are known, with each person's bones.

    Raises:
        InputError: the rigs are not here, or no hand is whole.
    """
    found: list[RigMotion] = []
    for hand in whole_hands(people):
        rig = rig_of_lengths(hand.side, hand.lengths_m)
        pose = fit_pose(rig, hand.points_m, hand.times_s)
        found.append(RigMotion(hand.name, rig, pose, hand.frames - people.frames[0], hand.times_s - people.times_s[0]))
    return found


def _glb(people: PeopleInSpace, path: Path) -> list[Path]:
    write_bytes(path, glb_from_motions(hand_motions(people)))
    return [path]


def _skeletons(people: PeopleInSpace, path: Path) -> list[Path]:
    write_bytes(path, glb_from_people(people))
    return [path]


def _bvh(people: PeopleInSpace, path: Path) -> list[Path]:
    """A file for each hand: a BVH file holds one figure."""
    motions, written = hand_motions(people), list[Path]()
    count = int(people.frames[-1] - people.frames[0]) + 1
    for motion in motions:
        written.append(path if len(motions) == 1 else path.with_stem(f"{path.stem}-{motion.name}"))
        write_text(written[-1], bvh_from_motion(motion, frames=count, frame_time=people.step_s))
    return written


def _csv(people: PeopleInSpace, path: Path) -> list[Path]:
    lines = ["frame,time_s,person,part,keypoint,x_m,y_m,z_m"]
    parts = [(person, part, _keypoint_names(part), points) for person, part, points in people.each_part()]
    for row, frame in enumerate(people.frames.tolist()):
        for person, part, names, points in parts:
            for joint in np.flatnonzero(np.isfinite(points[row]).all(-1)).tolist():
                place = ",".join(f"{value:.6f}" for value in points[row, joint].tolist())
                lines.append(f"{frame},{people.times_s[row]:.6f},{person},{part.name},{names[joint]},{place}")
    write_text(path, "\n".join(lines) + "\n")
    return [path]


def _trc(people: PeopleInSpace, path: Path) -> list[Path]:
    times, points = people.every_frame()
    labels = _labels(people)
    rate = f"{1 / people.step_s:.4f}"
    head = ("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate", "OrigDataStartFrame")
    counts = (rate, rate, str(len(points)), str(len(labels)), "mm", rate, "1", str(len(points)))
    axes = [f"{axis}{number}" for number in range(1, len(labels) + 1) for axis in "XYZ"]
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "\t".join((*head, "OrigNumFrames")),
        "\t".join(counts),
        "Frame#\tTime\t" + "\t\t\t".join(labels),
        "\t\t" + "\t".join(axes),
        "",
    ]
    for number, (time, row) in enumerate(zip(times.tolist(), (points * 1000).reshape(len(points), -1), strict=True), 1):
        values = "\t".join("" if np.isnan(value) else f"{value:.4f}" for value in row.tolist())
        lines.append(f"{number}\t{time - times[0]:.6f}\t{values}")
    write_text(path, "\n".join(lines) + "\n")
    return [path]


_BLOCK: Final = 512
_MOST_FRAMES: Final = 65535
"""C3D counts frames in 16 bits."""
_MOST_LABELS: Final = 255
"""And the labels of one parameter in 8: the others are in LABELS2 and on."""


def _c3d(people: PeopleInSpace, path: Path) -> list[Path]:
    _, points = people.every_frame()
    count, rate = len(points), 1 / people.step_s
    if count > _MOST_FRAMES:
        raise InputError(f"{path}: C3D holds {_MOST_FRAMES} frames and there are {count}: write .trc or .csv")
    labels = _labels(people)
    width = max(map(len, labels))
    named = [
        _c3d_entry(
            f"LABELS{first // _MOST_LABELS + 1}" if first else "LABELS", 1,
            _c3d_values(-1, (width, len(some)), "".join(label.ljust(width) for label in some).encode()),
        )
        for first in range(0, len(labels), _MOST_LABELS)
        for some in [labels[first : first + _MOST_LABELS]]
    ]  # fmt: skip

    def section(data_block: int, blocks: int) -> bytes:
        entries = [
            _c3d_entry("POINT", -1, b"\0"),  # the group, without a description
            _c3d_entry("USED", 1, _c3d_values(2, (), struct.pack("<h", len(labels)))),
            _c3d_entry("SCALE", 1, _c3d_values(4, (), struct.pack("<f", -1.0))),
            _c3d_entry("RATE", 1, _c3d_values(4, (), struct.pack("<f", rate))),
            _c3d_entry("DATA_START", 1, _c3d_values(2, (), struct.pack("<h", data_block))),
            _c3d_entry("FRAMES", 1, _c3d_values(2, (), struct.pack("<H", count))),
            _c3d_entry("UNITS", 1, _c3d_values(-1, (2,), b"mm")),
            *named,
        ]
        return b"\x01\x50" + bytes([blocks, 84]) + b"".join(entries) + b"\0\0"

    blocks = -(-len(section(0, 0)) // _BLOCK)
    data_block = 2 + blocks
    header = struct.pack("<BBhhHHhfhhf", 2, 0x50, len(labels), 0, 1, count, 0, -1.0, data_block, 0, rate)
    known = np.isfinite(points).all(-1)
    body = np.concatenate([np.nan_to_num(points * 1000), np.where(known, 0.0, -1.0)[..., None]], -1).astype("<f4")
    whole = header.ljust(_BLOCK, b"\0") + section(data_block, blocks).ljust(blocks * _BLOCK, b"\0") + body.tobytes()
    write_bytes(path, whole + bytes(-len(whole) % _BLOCK))
    return [path]


def _c3d_entry(name: str, group: int, content: bytes) -> bytes:
    """A group (below 0) or a parameter of one; the offset counts from where it stands itself."""
    return struct.pack("<bb", len(name), group) + name.encode() + struct.pack("<h", 2 + len(content)) + content


def _c3d_values(kind: int, shape: tuple[int, ...], data: bytes) -> bytes:
    """Type (-1 text, 2 integers, 4 floats), dimensions, values and an empty description."""
    return struct.pack("<bB", kind, len(shape)) + bytes(shape) + data + b"\0"


_MOMENTS, _CELL_PX = 6, 200
_UPRIGHT: Final = {"hands": (0, 12), "bodies": (23, 0)}
"""A keypoint below and one above: wrist and middle finger's tip, hip and nose."""


def _page_axes(people: PeopleInSpace, points_m: FloatArray) -> FloatArray:
    """(2, 3) x and y, down, of a drawing: people stand, hands lie with their longest way up; where joints spread most.

    Args:
        people: whose parts they are.
        points_m: (M, N K, 3) about the origin; NaN where unknown.
    """
    first, down = 0, {"bodies": np.zeros(3), "hands": np.zeros(3)}
    for _, part, own in people.each_part():
        if part.list_name in down:
            below, above = (first + keypoint for keypoint in _UPRIGHT[part.list_name])
            down[part.list_name] += np.nansum(points_m[:, below] - points_m[:, above], 0)
        first += own.shape[1]
    known = points_m[np.isfinite(points_m).all(-1)]
    longest = np.linalg.svd(known, full_matrices=False)[2][1::-1]
    if not down["bodies"].any():
        return -longest if longest[1] @ down["hands"] < 0 else longest
    y = down["bodies"] / np.linalg.norm(down["bodies"])
    return np.stack([np.linalg.svd(known - np.outer(known @ y, y), full_matrices=False)[2][0], y])


def _svg(people: PeopleInSpace, path: Path) -> list[Path]:
    """People at moments spread over the recording."""
    seen = np.flatnonzero(np.isfinite(people.points_m).any((1, 2, 3)))
    rows = seen[np.unique(np.linspace(0, len(seen) - 1, _MOMENTS).round().astype(int))]
    points = people.points_m[rows].reshape(len(rows), -1, 3)
    points = points - np.nanmean(points, 1, keepdims=True)
    flat = points @ _page_axes(people, points).T
    first, lines = 0, list[tuple[int, int, str]]()
    for _, part, own in people.each_part():
        lines += [
            (first + a, first + b, "#{:02x}{:02x}{:02x}".format(*colour_of(part, a, b))) for a, b in lines_of(part)
        ]
        first += own.shape[1]
    scale = 0.42 * _CELL_PX / np.nanmax(np.abs(flat))
    marks: list[str] = []
    for cell, one in enumerate(flat * scale + _CELL_PX / 2):
        for parent, child, colour in lines:
            (x, y), (u, v) = one[parent], one[child]
            if np.isfinite([x, y, u, v]).all():
                marks.append(line_mark(x + cell * _CELL_PX, y, u + cell * _CELL_PX, v, colour, 3))
    write_text(path, svg_of(len(rows) * _CELL_PX, _CELL_PX, marks, "people in space at moments of the recording"))
    return [path]


_WRITERS: Final[dict[str, Callable[[PeopleInSpace, Path], list[Path]]]] = {
    ".c3d": _c3d,
    ".trc": _trc,
    ".csv": _csv,
    ".glb": _glb,
    ".bvh": _bvh,
    ".svg": _svg,
}


def export_people(people: PeopleInSpace, path: Path, figure: Figure | None = None) -> list[Path]:
    """Write people in the format that the ending names; returns the files.

    Args:
        people: over a recording.
        path: .c3d and .trc (millimetres), .csv (metres), .glb (animated), .bvh (the rigged hand), or .svg.
        figure: of .glb, the rigged hand's mesh, which is the default, or skeletons of keypoints and bones.

    Raises:
        InputError: another ending, the format cannot hold them, or a figure of another format than GLB.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path}: people are exported as {', '.join(_WRITERS)}")
    if figure and writer is not _glb:
        raise InputError(f"{path}: --as {figure} is of .glb alone; leave it out, or write .glb")
    return _skeletons(people, path) if figure == "skeleton" else writer(people, path)
