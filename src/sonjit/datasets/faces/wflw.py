"""WFLW: 98 points per face with attributes; source: https://wywu.github.io/projects/LAB/WFLW.html.

A line of its lists is one face; the faces of one image become one sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.datasets.dataset import DatasetEntry, RecordDataset, box_from_corner, read_lines, size_of_image
from sonjit.datasets.formats.coco_sets import CocoSet, Record, labelled
from sonjit.datasets.registry import register
from sonjit.datasets.sample import Instance, Sample
from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sonjit.datasets.dataset import Dataset

_POINTS = 98
_ATTRIBUTES = ("pose", "expression", "illumination", "make_up", "occlusion", "blur")
_SUBSETS = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")


class Wflw(RecordDataset):
    """The images of one list."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self._file = self.need(_list_file(split))
        faces: dict[str, list[str]] = {}
        for number, line in enumerate(read_lines(self._file), 1):
            fields = line.split()
            if len(fields) <= 2 * _POINTS:
                raise InputError(f"{self._file}, line {number}: {len(fields)} fields; a face has {2 * _POINTS} numbers")
            faces.setdefault(fields[-1], []).append(line)
        self.keep(faces.items(), str(self._file))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        """One image with all its faces."""
        name, lines = record
        path = self.root / "WFLW_images" / name
        width, height = size_of_image(path)
        return Sample(
            dataset=self.entry.name,
            id=f"WFLW_images/{name}",
            image=path,
            width=width,
            height=height,
            instances=tuple(_face(line.split()[:-1]) for line in lines),
            source=self.annotations,
            licence=self.entry.licence,
        )


def _face(fields: list[str]) -> Instance:
    """Points come first; rectangle and attributes follow in some of the lists."""
    numbers = np.array(fields, np.float64)
    points, rest = numbers[: 2 * _POINTS].reshape(_POINTS, 2), numbers[2 * _POINTS :].tolist()
    is_full = len(rest) == 4 + len(_ATTRIBUTES)
    return Instance(
        kind="face",
        skeleton="face_wflw98",
        keypoints_px=points,
        valid_px=np.ones(_POINTS, np.bool_),
        box=(rest[0], rest[1], rest[2], rest[3]) if is_full else None,
        extra=dict(zip(_ATTRIBUTES, map(int, rest[4:]), strict=True)) if is_full else {},
    )


class CocoWflw(CocoSet):
    """The same in COCO's form."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self.read(_coco_file(root, split), root / "WFLW_images", root)

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        """The one face of an annotation."""
        points = labelled(annotation, "keypoints", _POINTS, says_hidden=False)
        yield Instance(kind="face", skeleton="face_wflw98", box=box_from_corner(annotation, "bbox"), **points)


def _list_file(split: str) -> str:
    if split in ("train", "test"):
        return f"WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt"
    return f"WFLW_annotations/list_98pt_test/list_98pt_{split.replace('-', '_')}.txt"


def _coco_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"face_landmarks_wflw_{split.replace('-', '_')}.json"


def _open(entry: DatasetEntry, root: Path, split: str) -> Dataset:
    return (CocoWflw if _coco_file(root, split).is_file() else Wflw)(entry, root, split)


register(
    DatasetEntry(
        name="wflw",
        title="Wider Facial Landmarks in the Wild",
        open=_open,
        splits=("train", "test", *(f"test-{subset}" for subset in _SUBSETS)),
        kinds=("face",),
        licence="non-commercial research",
        where="https://wywu.github.io/projects/LAB/WFLW.html",
        needs=("WFLW_annotations", "WFLW_images"),
    )
)
