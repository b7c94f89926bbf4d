"""Hands in space for other programs: C3D and TRC of motion capture, CSV, and the rigged hand as GLB or BVH; a drawing.

C3D: https://www.c3d.org/HTML/default.htm; TRC as OpenSim reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit.arrays import FloatArray, IndexArray
from sonjit.datasets.reading import field, load_json
from sonjit.documents.plots import line_mark, svg_of
from sonjit.errors import InputError
from sonjit.files import write_bytes, write_text
from sonjit.hand_models.mesh_files import bvh_from_motion, glb_from_motions
from sonjit.hand_models.rig import RigMotion
from sonjit.hand_models.rig_ik import fit_pose
from sonjit.media.drawing.instances import FINGERS
from sonjit.multiview.triangulation.bones import FITTED_BONES, SIDES, rig_of_lengths, usual_lengths
from sonjit.skeletons import load_skeleton

_NAMES: Final = load_skeleton("hand_mediapipe21").keypoints
_LABELS: Final = [f"{side[0]}_{name}" for side in SIDES for name in _NAMES]


@dataclass(frozen=True, eq=False)
class HandsInSpace:
    """The hands of one person over a recording.

    Attributes:
        frames: (F,) numbers of the frame sets, rising.
        times_s: (F,) when they were taken.
        points_m: (F, 2, 21, 3) right hand, left hand; NaN where unknown.
    """

    frames: IndexArray
    times_s: FloatArray
    points_m: FloatArray

    @property
    def step_s(self) -> float:
        """Median time from one frame set to the next."""
        if len(self.frames) < 2:
            return 1 / 30
        return float(np.median(np.diff(self.times_s) / np.diff(self.frames)))

    def every_frame(self) -> tuple[FloatArray, FloatArray]:
        """(N,) seconds and (N, 42, 3) metres from the first frame set to the last, also of those that are missing."""
        rows = self.frames - self.frames[0]
        points = np.full((int(rows[-1]) + 1, len(_LABELS), 3), np.nan)
        points[rows] = self.points_m.reshape(len(rows), -1, 3)
        return self.times_s[0] + self.step_s * np.arange(len(points)), points


def load_hands(path: Path) -> HandsInSpace:
    """What `save_hands` wrote.

    Raises:
        InputError: it cannot be read, holds no hand, or does not say when its frame sets were taken.
    """
    content = load_json(path)
    written: Any = field(content, "frames", str(path))
    try:
        frames = np.array([int(one["index"]) for one in written], np.intp)
        times = np.array([np.nan if (time := one.get("time")) is None else time for one in written], np.float64)
        points = np.full((len(frames), 2, len(_NAMES), 3), np.nan)
        for row, one in enumerate(written):
            for hand in one["hands"]:
                points[row, SIDES.index(hand["handedness"])] = np.array(hand["keypoints_m"], np.float64)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not hands in space as sonjit annotate triangulate writes them ({error})") from None
    if not np.isfinite(points).any() or (np.diff(frames) <= 0).any():
        raise InputError(f"{path}: it holds no hand, or its frame sets are not in order")
    if not np.isfinite(times).all():
        raise InputError(f"{path}: it does not say when its frame sets were taken: triangulate tables of videos")
    return HandsInSpace(frames, times, points)


def hand_motions(hands: HandsInSpace) -> list[RigMotion]:
    """The rigged hand in every frame set of which all joints are known, with the person's bones.

    Raises:
        InputError: the rigs are not here, or no hand is whole.
    """
    found: list[RigMotion] = []
    for side, name in enumerate(SIDES):
        points = hands.points_m[:, side]
        whole = np.flatnonzero(np.isfinite(points).all((1, 2)))
        if len(whole):
            rig, times = rig_of_lengths(name, usual_lengths(points)), hands.times_s[whole]
            pose = fit_pose(rig, points[whole], times)
            found.append(RigMotion(name.lower(), rig, pose, hands.frames[whole] - hands.frames[0], times - times[0]))
    if not found:
        raise InputError("in no frame set all 21 joints of a hand are known: triangulate with --constant-bones")
    return found


def _glb(hands: HandsInSpace, path: Path) -> list[Path]:
    write_bytes(path, glb_from_motions(hand_motions(hands)))
    return [path]


def _bvh(hands: HandsInSpace, path: Path) -> list[Path]:
    """A file for each hand: a BVH file holds one figure."""
    motions, written = hand_motions(hands), list[Path]()
    for motion in motions:
        written.append(path if len(motions) == 1 else path.with_stem(f"{path.stem}-{motion.name}"))
        write_text(written[-1], bvh_from_motion(motion, frame_time=hands.step_s))
    return written


def _csv(hands: HandsInSpace, path: Path) -> list[Path]:
    lines = ["frame,time_s,hand,keypoint,x_m,y_m,z_m"]
    for row, side, joint in np.argwhere(np.isfinite(hands.points_m).all(-1)).tolist():
        place = ",".join(f"{value:.6f}" for value in hands.points_m[row, side, joint].tolist())
        lines.append(f"{hands.frames[row]},{hands.times_s[row]:.6f},{SIDES[side]},{_NAMES[joint]},{place}")
    write_text(path, "\n".join(lines) + "\n")
    return [path]


def _trc(hands: HandsInSpace, path: Path) -> list[Path]:
    times, points = hands.every_frame()
    rate = f"{1 / hands.step_s:.4f}"
    head = ("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate", "OrigDataStartFrame")
    counts = (rate, rate, str(len(points)), str(len(_LABELS)), "mm", rate, "1", str(len(points)))
    axes = [f"{axis}{number}" for number in range(1, len(_LABELS) + 1) for axis in "XYZ"]
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "\t".join((*head, "OrigNumFrames")),
        "\t".join(counts),
        "Frame#\tTime\t" + "\t\t\t".join(_LABELS),
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


def _c3d(hands: HandsInSpace, path: Path) -> list[Path]:
    _, points = hands.every_frame()
    count, rate = len(points), 1 / hands.step_s
    if count > _MOST_FRAMES:
        raise InputError(f"{path}: C3D holds {_MOST_FRAMES} frames and there are {count}: write .trc or .csv")
    width = max(map(len, _LABELS))
    labels = "".join(label.ljust(width) for label in _LABELS).encode()

    def section(data_block: int, blocks: int) -> bytes:
        entries = [
            _c3d_entry("POINT", -1, b"\0"),  # the group, without a description
            _c3d_entry("USED", 1, _c3d_values(2, (), struct.pack("<h", len(_LABELS)))),
            _c3d_entry("SCALE", 1, _c3d_values(4, (), struct.pack("<f", -1.0))),
            _c3d_entry("RATE", 1, _c3d_values(4, (), struct.pack("<f", rate))),
            _c3d_entry("DATA_START", 1, _c3d_values(2, (), struct.pack("<h", data_block))),
            _c3d_entry("FRAMES", 1, _c3d_values(2, (), struct.pack("<H", count))),
            _c3d_entry("UNITS", 1, _c3d_values(-1, (2,), b"mm")),
            _c3d_entry("LABELS", 1, _c3d_values(-1, (width, len(_LABELS)), labels)),
        ]
        return b"\x01\x50" + bytes([blocks, 84]) + b"".join(entries) + b"\0\0"

    blocks = -(-len(section(0, 0)) // _BLOCK)
    data_block = 2 + blocks
    header = struct.pack("<BBhhHHhfhhf", 2, 0x50, len(_LABELS), 0, 1, count, 0, -1.0, data_block, 0, rate)
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
_PALM: Final = "#888888"


def _svg(hands: HandsInSpace, path: Path) -> list[Path]:
    """Hands at moments spread over the recording, where the joints spread most across the page."""
    seen = np.flatnonzero(np.isfinite(hands.points_m).any((1, 2, 3)))
    rows = seen[np.unique(np.linspace(0, len(seen) - 1, _MOMENTS).round().astype(int))]
    points = hands.points_m[rows].reshape(len(rows), -1, 3)
    points = points - np.nanmean(points, 1, keepdims=True)
    known = np.isfinite(points).all(-1)
    flat = points @ np.linalg.svd(points[known], full_matrices=False)[2][1::-1].T  # the longest way is up
    wrists, tips = flat[:, [0, 21], 1], flat[:, [12, 33], 1]
    if np.nansum(wrists - tips) < 0:  # y is down: wrists below
        flat = -flat
    scale = 0.42 * _CELL_PX / np.abs(flat[known]).max()
    marks: list[str] = []
    for cell, hand in enumerate(flat * scale + _CELL_PX / 2):
        for side in range(2):
            for parent, child in (FITTED_BONES + len(_NAMES) * side).tolist():
                (x, y), (u, v) = hand[parent], hand[child]
                if np.isfinite([x, y, u, v]).all():
                    finger = tuple(FINGERS.values())[(child % 21 - 1) // 4]
                    colour = _PALM if parent % 21 == 0 else "#{:02x}{:02x}{:02x}".format(*finger)
                    marks.append(line_mark(x + cell * _CELL_PX, y, u + cell * _CELL_PX, v, colour, 3))
    write_text(path, svg_of(len(rows) * _CELL_PX, _CELL_PX, marks, "hands in space at moments of the recording"))
    return [path]


_WRITERS: Final[dict[str, Callable[[HandsInSpace, Path], list[Path]]]] = {
    ".c3d": _c3d,
    ".trc": _trc,
    ".csv": _csv,
    ".glb": _glb,
    ".bvh": _bvh,
    ".svg": _svg,
}


def export_hands(hands: HandsInSpace, path: Path) -> list[Path]:
    """Write hands in the format that the ending names; returns the files.

    Args:
        hands: of one person.
        path: .c3d and .trc (millimetres), .csv (metres), .glb (animated) and .bvh (the rigged hand), or .svg.

    Raises:
        InputError: another ending, or the format cannot hold them.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path}: hands are exported as {', '.join(_WRITERS)}")
    return writer(hands, path)
