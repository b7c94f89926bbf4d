"""The layout of InterHand2.6M: what reads that set reads this one.

A capture has cameras of its own. Stills of one view each therefore are a capture each; a sequence is one capture.
Source: https://mks0601.github.io/InterHand2.6M; see `datasets.interhand` for the units.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit.datasets.joint_orders import INTERHAND
from sonjit.synthesis.layouts import Made, PictureLayout, join, whole_file, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

SPLIT: Final = "train"
_ROOM: Final = 1.2
"""The set's boxes are so much larger than what is in them."""
_PLACES: Final = {"Right": np.array(INTERHAND), "Left": np.array(INTERHAND) + 21}


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
        write_whole(folder / "skeleton.txt", _skeleton().encode())
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
    points = np.concatenate([one["keypoints_px"] for one in record["instances"]]).astype(np.float64)
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    size = (high - low) * _ROOM
    corner = (low + high - size) / 2
    return {
        "id": number,
        "image_id": number,
        "bbox": np.concatenate([corner, size]).round(3).tolist(),
        "joint_valid": _valid(record)[:, None].tolist(),
        "hand_type": _hand_type(record),
        "hand_type_valid": 1,
    }


def _cameras(records: Iterator[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    cameras: dict[str, dict[str, Any]] = {name: {} for name in ("campos", "camrot", "focal", "princpt")}
    for record in records:
        camera, view = record["camera"], record["view"]
        matrix, rotation = np.array(camera["K"]), np.array(camera["R"])
        cameras["campos"][view] = (-1000 * rotation.T @ camera["t"]).tolist()
        cameras["camrot"][view] = camera["R"]
        cameras["focal"][view] = [matrix[0, 0], matrix[1, 1]]
        cameras["princpt"][view] = matrix[:2, 2].tolist()
    return cameras


def _joints(records: Iterator[dict[str, Any]]) -> dict[str, Any]:
    frames: dict[str, Any] = {}
    for record in records:
        if str(record["frame"]) in frames or not record["instances"]:
            continue
        world = np.ones((42, 3))  # as the set marks what is not known
        for one in record["instances"]:
            world[_PLACES[one["side"]]] = 1000 * np.array(one["extra"]["keypoints_world_m"])
        frames[str(record["frame"])] = {
            "world_coord": world.round(3).tolist(),
            "joint_valid": _valid(record)[:, None].tolist(),
            "hand_type": _hand_type(record),
            "hand_type_valid": True,
        }
    return frames


def _valid(record: dict[str, Any]) -> NDArray[np.int64]:
    valid = np.zeros(42, np.int64)
    for one in record["instances"]:
        valid[_PLACES[one["side"]]] = 1
    return valid


def _hand_type(record: dict[str, Any]) -> str:
    sides = [one["side"].lower() for one in record["instances"]]
    return sides[0] if len(sides) == 1 else "interacting"


def _skeleton() -> str:
    """Lines `name id parent`, right hand first, as the set's own file has them."""
    lines: list[str] = []
    for side, first in (("r", 0), ("l", 21)):
        for finger_number, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
            for joint in range(4):  # the tip first
                number = first + 4 * finger_number + joint
                lines.append(f"{side}_{finger}{4 - joint} {number} {number + 1 if joint < 3 else first + 20}")
        lines.append(f"{side}_wrist {first + 20} -1")
    return "# name id parent\n" + "\n".join(lines) + "\n"
