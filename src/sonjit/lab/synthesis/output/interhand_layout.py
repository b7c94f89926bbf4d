"""Write rendered images in the layout of InterHand2.6M.

Each still or sequence is a capture, which has its own cameras. `datasets.hands.interhand` describes the units.
Source: https://mks0601.github.io/InterHand2.6M.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.files import atomic_text, write_text
from sonjit._util.json_text import json_from
from sonjit.lab.datasets.interhand import annotation_record, cameras_record, joints_record, skeleton_lines
from sonjit.lab.synthesis.output.layouts import (
    HandTruth,
    ImageLayout,
    ImageTruth,
    RenderedImage,
    join,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


SPLIT: Final = "train"
_SIDES: Final = ("Right", "Left")


class InterHandLayout(ImageLayout):
    """`images/train/Capture{c}/{sequence}/cam{camera}/image{frame}.jpg` and `annotations/train`."""

    def name(self, image: RenderedImage, chunk: int) -> str:
        """Return the name of an image in the set."""
        sample = image.sample
        folder = f"Capture{image.number}/{sample.sequence}/cam{sample.view}"
        return f"images/{SPLIT}/{folder}/image{sample.frame}.jpg"

    def finish(self, chunks: Sequence[int]) -> None:
        """Write all annotations; each file is a pass over the truth."""
        folder = self.root / "annotations"
        stem = folder / SPLIT / f"InterHand2.6M_{SPLIT}"
        write_text(folder / "skeleton.txt", skeleton_lines())
        with atomic_text(stem.with_name(f"{stem.name}_data.json")) as file:
            file.write('{"images": [\n')
            join(
                file.write,
                (
                    json_from(_interhand_image(number, item), spaced=True)
                    for number, item in self._enumerate_records(chunks)
                ),
            )
            file.write('\n],\n"annotations": [\n')
            join(
                file.write,
                (
                    json_from(_interhand_record(number, item), spaced=True)
                    for number, item in self._enumerate_records(chunks)
                    if item["instances"]
                ),
            )
            file.write("\n]}\n")
        with atomic_text(stem.with_name(f"{stem.name}_camera.json")) as file:
            self._write_captures(file.write, chunks, _cameras)
        with atomic_text(stem.with_name(f"{stem.name}_joint_3d.json")) as file:
            self._write_captures(file.write, chunks, _joints)

    def _enumerate_records(self, chunks: Sequence[int]) -> Iterator[tuple[int, ImageTruth]]:
        return enumerate(self.records(chunks), 1)

    def _write_captures(
        self, write: Callable[[str], object], chunks: Sequence[int], to_json: Callable[[Iterator[ImageTruth]], object]
    ) -> None:
        """Write `{capture: make(records)}`. The records of a capture are consecutive."""
        write("{\n")
        captures = groupby(self.records(chunks), _capture)
        join(
            write,
            (
                f"{json_from(capture, spaced=True)}: {json_from(to_json(group), spaced=True)}"
                for capture, group in captures
            ),
        )
        write("\n}\n")


def _capture(record: ImageTruth) -> str:
    return record["id"].split("/")[2].removeprefix("Capture")


def _interhand_image(number: int, record: ImageTruth) -> dict[str, object]:
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


def _interhand_record(number: int, record: ImageTruth) -> Mapping[str, object]:
    points = _by_side(record, lambda item: item["keypoints_px"], 2)
    is_labelled = [[any(instance["side"] == side for instance in record["instances"])] * 21 for side in _SIDES]
    return annotation_record(number, points, np.array(is_labelled))


def _cameras(records: Iterator[ImageTruth]) -> Mapping[str, object]:
    cameras = {record["view"]: record["camera"] for record in records}
    return cameras_record(
        {view: (np.array(item["K"]), np.array(item["R"]), np.array(item["t"])) for view, item in cameras.items()}
    )


def _joints(records: Iterator[ImageTruth]) -> Mapping[str, object]:
    frames: dict[str, object] = {}
    for record in records:
        if str(record["frame"]) not in frames and record["instances"]:
            points = _by_side(record, lambda item: item["extra"]["keypoints_world_m"], 3)
            frames[str(record["frame"])] = joints_record(points)
    return frames


def _by_side(record: ImageTruth, points_of: Callable[[HandTruth], list[list[float]]], size: int) -> FloatArray:
    """Return points (2, 21, size) of the right and the left hand; NaN without."""
    points = np.full((2, 21, size), np.nan)
    for instance in record["instances"]:
        points[_SIDES.index(instance["side"])] = points_of(instance)
    return points
