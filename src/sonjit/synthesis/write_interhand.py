"""The layout of InterHand2.6M: what reads that set reads this one.

A capture has cameras of its own. Stills of one view each therefore are a capture each; a sequence is one capture.
Source: https://mks0601.github.io/InterHand2.6M; see `datasets.interhand` for the units.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit.datasets.interhand_records import annotation_record, cameras_record, joints_record, skeleton_lines
from sonjit.synthesis.layouts import Made, PictureLayout, join, whole_file, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

SPLIT: Final = "train"
_SIDES: Final = ("Right", "Left")


class InterHandLayout(PictureLayout):
    """`images/train/Capture{c}/{sequence}/cam{camera}/image{frame}.jpg` and `annotations/train`."""

    def name(self, one: Made, chunk: int) -> str:
        """As the set names its pictures."""
        sample = one.sample
        folder = f"Capture{one.number}/{sample.sequence}/cam{sample.view}"
        return f"images/{SPLIT}/{folder}/image{sample.frame}.jpg"

    def finish(self, chunks: Sequence[int]) -> None:
        """All annotations; each file is a pass over the truth."""
        folder = self.root / "annotations"
        stem = folder / SPLIT / f"InterHand2.6M_{SPLIT}"
        write_whole(folder / "skeleton.txt", skeleton_lines().encode())
        with whole_file(stem.with_name(f"{stem.name}_data.json")) as file:
            file.write('{"images": [\n')
            join(file.write, (json.dumps(_image(number, one)) for number, one in self._numbered(chunks)))
            file.write('\n],\n"annotations": [\n')
            join(
                file.write,
                (json.dumps(_annotation(number, one)) for number, one in self._numbered(chunks) if one["instances"]),
            )
            file.write("\n]}\n")
        with whole_file(stem.with_name(f"{stem.name}_camera.json")) as file:
            self._write_captures(file.write, chunks, _cameras)
        with whole_file(stem.with_name(f"{stem.name}_joint_3d.json")) as file:
            self._write_captures(file.write, chunks, _joints)

    def _numbered(self, chunks: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        return enumerate(self.records(chunks), 1)

    def _write_captures(
        self, write: Callable[[str], object], chunks: Sequence[int], make: Callable[[Iterator[dict[str, Any]]], Any]
    ) -> None:
        """`{capture: what is made of its records}`; a capture's records follow each other."""
        write("{\n")
        captures = groupby(self.records(chunks), _capture)
        join(write, (f"{json.dumps(capture)}: {json.dumps(make(ones))}" for capture, ones in captures))
        write("\n}\n")


def _capture(record: dict[str, Any]) -> str:
    return record["id"].split("/")[2].removeprefix("Capture")


def _image(number: int, record: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": record["id"].removeprefix(f"images/{SPLIT}/"),
        "width": record["width"],
        "height": record["height"],
        "capture": int(_capture(record)),
        "subject": record["subject"],
        "seq_name": record["sequence"],
        "camera": record["view"],
        "frame_idx": record["frame"],
    }


def _annotation(number: int, record: dict[str, Any]) -> dict[str, Any]:
    points = _of_sides(record, lambda one: one["keypoints_px"], 2)
    there = [[any(one["side"] == side for one in record["instances"])] * 21 for side in _SIDES]
    return annotation_record(number, points, np.array(there))


def _cameras(records: Iterator[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    cameras = {one["view"]: one["camera"] for one in records}
    return cameras_record(
        {view: (np.array(one["K"]), np.array(one["R"]), np.array(one["t"])) for view, one in cameras.items()}
    )


def _joints(records: Iterator[dict[str, Any]]) -> dict[str, Any]:
    frames: dict[str, Any] = {}
    for record in records:
        if str(record["frame"]) not in frames and record["instances"]:
            points = _of_sides(record, lambda one: one["extra"]["keypoints_world_m"], 3)
            frames[str(record["frame"])] = joints_record(points)
    return frames


def _of_sides(record: dict[str, Any], points_of: Callable[[dict[str, Any]], Any], size: int) -> NDArray[np.float64]:
    """(2, 21, size) of the right and the left hand; NaN without."""
    points = np.full((2, 21, size), np.nan)
    for one in record["instances"]:
        points[_SIDES.index(one["side"])] = points_of(one)
    return points
