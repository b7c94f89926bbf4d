"""Export people in space for motion capture, tables, animation and drawings.

Motion capture uses C3D, or TRC as OpenSim reads it. Rigged hands are written as GLB or
BVH.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit._util.arrays import FloatArray, IndexArray
from sonjit._util.errors import InputError
from sonjit._util.files import write_bytes, write_text
from sonjit.lab.documents.plots import line_mark, svg_of
from sonjit.lab.hand_models.bvh import bvh_from_motion
from sonjit.lab.hand_models.mesh_files import glb_from_motions
from sonjit.lab.hand_models.rig import RigMotion, Side
from sonjit.lab.hand_models.rig_ik import fit_pose
from sonjit.results.skeletons import load_skeleton
from sonjit.studio.triangulation.bones import median_lengths
from sonjit.studio.triangulation.c3d import c3d_from_points
from sonjit.studio.triangulation.detections import HANDS, Part
from sonjit.studio.triangulation.people import PeopleInSpace
from sonjit.studio.triangulation.rig_fit import rig_with_lengths
from sonjit.studio.triangulation.skeleton_glb import drawn_lines, glb_from_people, line_colour

Figure = Literal["mesh", "skeleton"]
"""Content of a .glb."""


ENDINGS: Final = (".c3d", ".trc", ".csv", ".glb", ".bvh", ".svg")
_SVG_COLUMNS, _SVG_CELL_PX = 6, 200
_UPRIGHT_KEYPOINTS: Final = {"hands": (0, 12), "bodies": (23, 0)}
"""A lower and an upper keypoint: wrist and middle fingertip, hip and nose."""


def _keypoint_names(part: Part) -> list[str]:
    """Return keypoint names of a table. A mesh's points, which have no names, are numbered."""
    names = load_skeleton(part.skeleton).keypoints
    return list(names) if len(set(names)) == len(names) else [str(number) for number in range(len(names))]


def _column_labels(people: PeopleInSpace) -> list[str]:
    """Return a label per column: `R_wrist`, `left_knee`, `face_12`; of several people `person2:left_knee`."""
    labels: list[str] = []
    for person, part, _ in people.each_part():
        prefix = f"person{person}:" if len(people.people) > 1 else ""
        prefix += f"{part.handedness[0]}_" if part.handedness else "face_" if part.list_name == "faces" else ""
        labels += [prefix + name for name in _keypoint_names(part)]
    return labels


class CompleteHand(NamedTuple):
    """One hand in the M frame sets in which all its joints are known.

    Attributes:
        name: Name such as "right", or "person2-left" of several people.
        side: Side of the hand.
        frames: (M,) numbers of the frame sets.
        times_s: (M,) times in seconds.
        points_m: (M, 21, 3) joints in metres.
        lengths_m: (20,) bone lengths over all frame sets.
    """

    name: str
    side: Side
    frames: IndexArray
    times_s: FloatArray
    points_m: FloatArray
    lengths_m: FloatArray


def complete_hands(people: PeopleInSpace) -> list[CompleteHand]:
    """Return the hands of a recording.

    Raises:
        InputError: There are no hands, or none is complete.
    """
    if not set(HANDS) & set(people.parts):
        raise InputError("a rigged mesh requires hands: write .c3d, .trc, .csv or .svg, or .glb --as skeleton")
    hands: list[CompleteHand] = []
    for person, part, points in people.each_part():
        complete = np.flatnonzero(np.isfinite(points).all((1, 2)))
        if part in HANDS and len(complete):
            side: Side = "Right" if part.handedness == "Right" else "Left"
            name = side.lower() if len(people.people) == 1 else f"person{person}-{side.lower()}"
            lengths = median_lengths(points)
            hands.append(
                CompleteHand(
                    name=name,
                    side=side,
                    frames=people.frames[complete],
                    times_s=people.times_s[complete],
                    points_m=points[complete],
                    lengths_m=lengths,
                )
            )
    if not hands:
        raise InputError("no frame set has all 21 joints of a hand: triangulate with --constant-bones")
    return hands


def hand_motions(people: PeopleInSpace) -> list[RigMotion]:
    """Fit the rigged hands in every frame set of which all joints are known, with each person's bones.

    Raises:
        InputError: The rigs are missing, or no hand is complete.
    """
    motions: list[RigMotion] = []
    for hand in complete_hands(people):
        rig = rig_with_lengths(hand.side, hand.lengths_m)
        pose = fit_pose(rig, hand.points_m, hand.times_s)
        motions.append(
            RigMotion(hand.name, rig, pose, hand.frames - people.frames[0], hand.times_s - people.times_s[0])
        )
    return motions


def _export_bvh(people: PeopleInSpace, path: Path) -> dict[Path, str]:
    """Return a file for each hand, because a BVH file contains one figure."""
    motions = hand_motions(people)
    count = int(people.frames[-1] - people.frames[0]) + 1
    return {
        path if len(motions) == 1 else path.with_stem(f"{path.stem}-{motion.name}"): bvh_from_motion(
            motion, frames=count, frame_time=people.step_s
        )
        for motion in motions
    }


def _csv(people: PeopleInSpace) -> str:
    """Return a row per keypoint."""
    lines = ["frame,time_s,person,part,keypoint,x_m,y_m,z_m"]
    parts = [(person, part, _keypoint_names(part), points) for person, part, points in people.each_part()]
    for row, frame in enumerate(people.frames.tolist()):
        for person, part, names, points in parts:
            for joint in np.flatnonzero(np.isfinite(points[row]).all(-1)).tolist():
                position = ",".join(f"{value:.6f}" for value in points[row, joint].tolist())
                lines.append(f"{frame},{people.times_s[row]:.6f},{person},{part.name},{names[joint]},{position}")
    return "\n".join(lines) + "\n"


def _trc(people: PeopleInSpace, name: str) -> str:
    """Return markers in millimetres. The format repeats the name of its file."""
    times, points = people.every_frame()
    labels = _column_labels(people)
    rate = f"{1 / people.step_s:.4f}"
    head = ("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate", "OrigDataStartFrame")
    counts = (rate, rate, str(len(points)), str(len(labels)), "mm", rate, "1", str(len(points)))
    axes = [f"{axis}{number}" for number in range(1, len(labels) + 1) for axis in "XYZ"]
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{name}",
        "\t".join((*head, "OrigNumFrames")),
        "\t".join(counts),
        "Frame#\tTime\t" + "\t\t\t".join(labels),
        "\t\t" + "\t".join(axes),
        "",
    ]
    for number, (time, row) in enumerate(zip(times.tolist(), (points * 1000).reshape(len(points), -1), strict=True), 1):
        values = "\t".join("" if np.isnan(value) else f"{value:.4f}" for value in row.tolist())
        lines.append(f"{number}\t{time - times[0]:.6f}\t{values}")
    return "\n".join(lines) + "\n"


def _page_axes(people: PeopleInSpace, points_m: FloatArray) -> FloatArray:
    """Return the axes (2, 3) of a drawing, x and y (down), along which the joints spread most.

    Bodies stand upright. Hands have their longest direction upwards.

    Args:
        people: People whose parts are drawn.
        points_m: (M, N K, 3) points about the origin, NaN where unknown.
    """
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
    """Draw people at moments spread over the recording."""
    visible_frames = np.flatnonzero(np.isfinite(people.points_m).any((1, 2, 3)))
    rows = visible_frames[np.unique(np.linspace(0, len(visible_frames) - 1, _SVG_COLUMNS).round().astype(int))]
    points = people.points_m[rows].reshape(len(rows), -1, 3)
    points = points - np.nanmean(points, 1, keepdims=True)
    flat = points @ _page_axes(people, points).T
    first, lines = 0, list[tuple[int, int, str]]()
    for _, part, own_points in people.each_part():
        lines += [
            (first + a, first + b, "#{:02x}{:02x}{:02x}".format(*line_colour(part, a, b))) for a, b in drawn_lines(part)
        ]
        first += own_points.shape[1]
    scale = 0.42 * _SVG_CELL_PX / np.nanmax(np.abs(flat))
    marks: list[str] = []
    for cell, points_2d in enumerate(flat * scale + _SVG_CELL_PX / 2):
        for parent, child, colour in lines:
            (x, y), (u, v) = points_2d[parent], points_2d[child]
            if np.isfinite([x, y, u, v]).all():
                marks.append(line_mark(x + cell * _SVG_CELL_PX, y, u + cell * _SVG_CELL_PX, v, colour=colour, width=3))
    return svg_of(len(rows) * _SVG_CELL_PX, _SVG_CELL_PX, marks, "people in space at moments of the recording")


def export_people(people: PeopleInSpace, path: Path, figure: Figure | None = None) -> list[Path]:
    """Write people in the format of the ending, and return the files.

    Args:
        people: People over a recording.
        path: .c3d and .trc (millimetres), .csv (metres), .glb (animated), .bvh (the rigged hand), or .svg.
        figure: Content of a .glb: the rigged hand's mesh, which is the default, or skeletons of keypoints and bones.

    Raises:
        InputError: The ending is unknown, the format cannot represent the people, or the figure does not apply.
    """
    ending = path.suffix.lower()
    if figure and ending in ENDINGS and ending != ".glb":
        raise InputError(f"{path}: --as applies only to .glb")
    files: Mapping[Path, bytes | str]
    match ending:
        case ".c3d":
            files = {path: c3d_from_points(_column_labels(people), people.every_frame()[1], 1 / people.step_s)}
        case ".trc":
            files = {path: _trc(people, path.name)}
        case ".csv":
            files = {path: _csv(people)}
        case ".glb":
            files = {path: glb_from_people(people) if figure == "skeleton" else glb_from_motions(hand_motions(people))}
        case ".bvh":
            files = _export_bvh(people, path)
        case ".svg":
            files = {path: _svg(people)}
        case _:
            raise InputError(f"{path}: Unknown file ending {ending!r}. Choose from {', '.join(ENDINGS)}")
    for file, content in files.items():
        write_bytes(file, content) if isinstance(content, bytes) else write_text(file, content)
    return list(files)
