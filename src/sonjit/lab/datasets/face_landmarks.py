"""Faces with landmarks: 300W and 300VW in `.pts` files, and WFLW.

Sources: https://ibug.doc.ic.ac.uk/resources/300-W/, https://ibug.doc.ic.ac.uk/resources/300-VW/ and
https://wywu.github.io/projects/LAB/WFLW.html. `.pts` files count pixels from 1, as Matlab does. `origin` is subtracted;
0 keeps the stored numbers.

WFLW has 98 points per face with attributes. A line of its lists is one face, and the faces of one image become one
sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit.lab.datasets.coco import CocoSet, Record, keypoint_fields
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry, RecordDataset, box_from_corner, read_lines
from sonjit.lab.datasets.sample import Instance, Sample

_POINTS = 68

_IMAGES = (".png", ".jpg", ".jpeg")

_SPLIT_OF_FOLDER = {
    "afw": "train",
    "trainset": "train",
    "testset": "common",
    "ibug": "challenging",
    "01_Indoor": "test",
    "02_Outdoor": "test",
}

_PARTS = {"full": ("common", "challenging")}

_CATEGORIES = {
    "category 1": (
        114, 124, 125, 126, 150, 158, 401, 402, 505, 506, 507, 508, 509, 510, 511, 514, 515, 518, 519, 520, 521, 522,
        524, 525, 537, 538, 540, 541, 546, 547, 548,
    ),
    "category 2": (203, 208, 211, 212, 213, 214, 218, 224, 403, 404, 405, 406, 407, 408, 409, 412, 550, 551, 553),
    "category 3": (410, 411, 516, 517, 526, 528, 529, 530, 531, 533, 557, 558, 559, 562),
}  # fmt: skip
"""300VW's test videos by difficulty: good light, unconstrained light, and unconstrained conditions (Shen et al.
2015).
"""
_CATEGORY_OF_VIDEO = {f"{video:03}": name for name, videos in _CATEGORIES.items() for video in videos}

_WFLW_POINTS = 98
_ATTRIBUTES = ("pose", "expression", "illumination", "make_up", "occlusion", "blur")


class FacePoints(RecordDataset):
    """Every `.pts` file of the split below the root, with its image."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str, origin: float) -> None:
        super().__init__(entry, root, split)
        self._origin = origin
        self.keep(self._find_labels(), str(self.need(".")))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        points_name, image_name = record
        file, stem = self.root / points_name, Path(image_name).stem
        face = Instance(
            kind="face",
            skeleton="face_300w68",
            keypoints_px=points_from_pts(file) - self._origin,
            valid_px=np.ones(_POINTS, np.bool_),
        )
        is_video = self.entry.name == "300vw"
        sequence = image_name.split("/")[0] if is_video else None
        frame = int(stem) if is_video and stem.isdecimal() else None
        subset = _CATEGORY_OF_VIDEO.get(sequence) if sequence else _subset(points_name)
        tags = {"subset": subset} if subset else {}
        return self.sample_of(image_name, [face], file, sequence=sequence, frame=frame, tags=tags)

    def _find_labels(self) -> Iterator[tuple[str, str]]:
        """Yield `.pts` files and their images, below the root."""
        for file in sorted(self.root.rglob("*.pts")):
            is_video = file.parent.name == "annot"
            if is_video == (self.entry.name == "300vw") and self._is_in_split(file.relative_to(self.root)):
                stems = file.with_suffix(""), file.parent.parent / "imgs" / file.stem
                images = [stem.with_name(stem.name + ending) for stem in stems for ending in _IMAGES]
                image = next((image for image in images if image.is_file()), images[0])
                yield file.relative_to(self.root).as_posix(), image.relative_to(self.root).as_posix()

    def _is_in_split(self, file: Path) -> bool:
        if self.entry.name == "300vw":
            category = _CATEGORY_OF_VIDEO.get(file.parts[0])
            return self.split == "all" or (category is None) == (self.split == "train")
        own = {_SPLIT_OF_FOLDER[part] for part in self.root.parts + file.parts if part in _SPLIT_OF_FOLDER}
        return self.split == "all" or not own.isdisjoint(_PARTS.get(self.split, (self.split,)))


def _subset(points_name: str) -> str | None:
    """Return the half of 300W's full test set that a file below the root belongs to."""
    places = {_SPLIT_OF_FOLDER[part] for part in Path(points_name).parts if part in _SPLIT_OF_FOLDER}
    return next((name for name in _PARTS["full"] if name in places), None)


def points_from_pts(path: Path) -> FloatArray:
    """Return the points (68, 2) of a `.pts` file as stored."""
    lines = read_lines(path)
    start = next((number for number, line in enumerate(lines) if line.strip() == "{"), len(lines))
    try:
        points = np.array([line.split() for line in lines[start + 1 : -1]], np.float64)
    except ValueError:
        raise InputError(f"{path}: each line between the braces must have x and y") from None
    if points.shape != (_POINTS, 2) or lines[-1].strip() != "}":
        raise InputError(f"{path}: has {len(points)} points; expected {_POINTS} between braces. Is the file complete?")
    return points


class CocoFaces(CocoSet):
    """Faces in COCO's form."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str, origin: float) -> None:
        super().__init__(entry, root, split)
        self._origin = origin
        self.read(_coco_file(root, split), root / "images", root)

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        points = keypoint_fields(annotation, "keypoints", _POINTS, has_visibility=False)
        points["keypoints_px"] -= self._origin
        box = box_from_corner(annotation, "bbox")
        yield Instance(kind="face", skeleton="face_300w68", box=box, **points)


def _coco_file(root: Path, split: str) -> Path:
    name = {"common": "valid_common", "challenging": "valid_challenge", "full": "valid"}.get(split, split)
    return root / "annotations" / f"face_landmarks_300w_{name}.json"


def open_300w(entry: DatasetEntry, root: Path, split: str, *, origin: float | None = None) -> Dataset:
    """Open 300W in either form. By default `origin` is 1 for `.pts` files and 0 for files in COCO's form."""
    if _coco_file(root, split).is_file():
        return CocoFaces(entry, root, split, 0 if origin is None else origin)
    return FacePoints(entry, root, split, 1 if origin is None else origin)


def open_300vw(entry: DatasetEntry, root: Path, split: str, *, origin: float = 1) -> Dataset:
    """Open 300VW, whose pixels count from `origin`."""
    return FacePoints(entry, root, split, origin)


class Wflw(RecordDataset):
    """Images of one list."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self._file = self.need(_list_file(split))
        faces: dict[str, list[str]] = {}
        for number, line in enumerate(read_lines(self._file), 1):
            fields = line.split()
            if len(fields) <= 2 * _WFLW_POINTS:
                raise InputError(
                    f"{self._file}, line {number}: {len(fields)} fields; a face has {2 * _WFLW_POINTS} numbers"
                )
            faces.setdefault(fields[-1], []).append(line)
        self.keep(faces.items(), str(self._file))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        name, lines = record
        return self.sample_of(f"WFLW_images/{name}", (_face(line.split()[:-1]) for line in lines), self.annotations)


def _face(fields: list[str]) -> Instance:
    """Return a face of a line: points first, then rectangle and attributes in some of the lists."""
    numbers = np.array(fields, np.float64)
    points, rest = numbers[: 2 * _WFLW_POINTS].reshape(_WFLW_POINTS, 2), numbers[2 * _WFLW_POINTS :].tolist()
    is_full = len(rest) == 4 + len(_ATTRIBUTES)
    return Instance(
        kind="face",
        skeleton="face_wflw98",
        keypoints_px=points,
        valid_px=np.ones(_WFLW_POINTS, np.bool_),
        box=(rest[0], rest[1], rest[2], rest[3]) if is_full else None,
        extra=dict(zip(_ATTRIBUTES, map(int, rest[4:]), strict=True)) if is_full else {},
    )


class CocoWflw(CocoSet):
    """WFLW in COCO's form."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self.read(_wflw_file(root, split), root / "WFLW_images", root)

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        points = keypoint_fields(annotation, "keypoints", _WFLW_POINTS, has_visibility=False)
        yield Instance(kind="face", skeleton="face_wflw98", box=box_from_corner(annotation, "bbox"), **points)


def _list_file(split: str) -> str:
    if split in ("train", "test"):
        return f"WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt"
    return f"WFLW_annotations/list_98pt_test/list_98pt_{split.replace('-', '_')}.txt"


def _wflw_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"face_landmarks_wflw_{split.replace('-', '_')}.json"


def open_wflw(entry: DatasetEntry, root: Path, split: str) -> Dataset:
    """Open the file in COCO's form, or else the set's own lists."""
    return (CocoWflw if _wflw_file(root, split).is_file() else Wflw)(entry, root, split)
