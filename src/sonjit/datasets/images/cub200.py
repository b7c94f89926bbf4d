"""CUB-200-2011: birds with class, box and parts; source: https://www.vision.caltech.edu/datasets/cub_200_2011/.

Classes count from 0 here, as networks do, and from 1 in the files. Boxes come as x, y, width, height.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.datasets.dataset import DatasetEntry, RecordDataset, naming, read_lines, size_of_image
from sonjit.datasets.registry import register
from sonjit.datasets.sample import Instance, Sample
from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_PARTS = 15


class Cub200(RecordDataset):
    """One bird per image."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        base = root if (root / "images.txt").is_file() else root / "CUB_200_2011"
        self._images = base / "images"
        below = base.relative_to(root)
        for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt"):
            self.need(below / name)
        self.keep(_records(base, split), str(base / "images.txt"))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        """One image."""
        path = self._images / record["name"]
        width, height = size_of_image(path)
        x, y, box_width, box_height = record["box"]
        parts = np.array(record["parts"], np.float64).reshape(-1, 3) if record["parts"] else None
        known = None if parts is None else parts[:, 2] > 0
        bird = Instance(
            kind="object",
            skeleton=None if parts is None else "cub200_parts15",
            keypoints_px=None if parts is None or known is None else np.where(known[:, None], parts[:, :2], np.nan),
            valid_px=known,
            box=(x, y, x + box_width, y + box_height),
            category=record["class"],
            category_id=record["class_id"],
        )
        return Sample(
            dataset=self.entry.name,
            id=f"images/{record['name']}",
            image=path,
            width=width,
            height=height,
            instances=(bird,),
            tags={"split": "train" if record["train"] else "test"},
            source=self.annotations,
            licence=self.entry.licence,
        )


def _records(base: Path, split: str) -> Iterator[Mapping[str, object]]:
    names = _by_id(base / "images.txt")
    classes = _by_id(base / "image_class_labels.txt")
    train = _by_id(base / "train_test_split.txt")
    boxes = _by_id(base / "bounding_boxes.txt")
    titles = _by_id(base / "classes.txt") if (base / "classes.txt").is_file() else {}
    parts: dict[str, list[float]] = {}
    if (base / "parts" / "part_locs.txt").is_file():
        for line in read_lines(base / "parts" / "part_locs.txt"):
            image, _, *values = line.split()
            parts.setdefault(image, []).extend(map(float, values))
    for one, name in names.items():
        for file, table in (("image_class_labels", classes), ("train_test_split", train), ("bounding_boxes", boxes)):
            if one not in table:
                raise InputError(f"{base / file}.txt says nothing of the image {one} ({name[0]})")
        box = [float(value) for value in boxes[one]]
        if len(box) != 4:
            raise InputError(f"{base / 'bounding_boxes.txt'}: image {one} has {len(box)} numbers for its box, not 4")
        if len(located := parts.get(one, [])) not in (0, 3 * _PARTS):
            raise InputError(f"{base / 'parts' / 'part_locs.txt'}: image {one} has {len(located) // 3} parts, not 15")
        is_train = train[one][0] == "1"
        if split in ("all", "train" if is_train else "test"):
            number = classes[one][0]
            yield {
                "name": name[0],
                "class": titles.get(number, [name[0].split("/")[0]])[0],
                "class_id": int(number) - 1,
                "train": is_train,
                "box": box,
                "parts": located,
            }


def _by_id(path: Path) -> dict[str, list[str]]:
    """The fields of each line after its first, which is an id."""
    with naming(str(path)):
        return {key: rest for key, *rest in (line.split() for line in read_lines(path))}


register(
    DatasetEntry(
        name="cub200",
        title="CUB-200-2011",
        open=Cub200,
        splits=("train", "test", "all"),
        kinds=("object",),
        licence="non-commercial research",
        where="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        needs=("CUB_200_2011/images.txt", "CUB_200_2011/images", "CUB_200_2011/bounding_boxes.txt"),
    )
)
