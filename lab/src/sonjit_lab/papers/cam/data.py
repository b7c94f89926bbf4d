"""Read images with classes and boxes: CUB-200-2011 and ILSVRC.

CUB-200-2011 (https://www.vision.caltech.edu/datasets/cub_200_2011/): birds; classes count from 0 here, from 1 in files.

ILSVRC (https://www.kaggle.com/c/imagenet-object-localization-challenge): a class's number is its index in
`LOC_synset_mapping.txt`. Box corners are the last pixels of the object.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from sonjit._util import InputError, unknown_name
from sonjit.results import Box
from sonjit_lab.datasets import dataset
from sonjit_lab.datasets.sample import Instance, Sample

_BIRD_PARTS = 15
_Boxes = list[tuple[str, list[float]]]


class Cub200(dataset.RecordDataset):
    """One bird per image."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        base = root if (root / "images.txt").is_file() else root / "CUB_200_2011"
        self._images = base / "images"
        below = base.relative_to(root)
        for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt"):
            self.need(below / name)
        self.keep(_records(base, split), str(base / "images.txt"))
        titles = _by_id(base / "classes.txt") if (base / "classes.txt").is_file() else {}
        self._titles = {int(number) - 1: name for number, (name, *_) in titles.items()}

    def categories(self) -> dict[int, str]:
        return self._titles or super().categories()

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        x, y, box_width, box_height = record["box"]
        parts = np.array(record["parts"], np.float64).reshape(-1, 3) if record["parts"] else None
        labelled = None if parts is None else parts[:, 2] > 0
        bird = Instance(
            kind="object",
            skeleton=None if parts is None else "cub200_parts15",
            keypoints_px=None
            if parts is None or labelled is None
            else np.where(labelled[:, None], parts[:, :2], np.nan),
            valid_px=labelled,
            box=(x, y, x + box_width, y + box_height),
            category=record["class"],
            category_id=record["class_id"],
        )
        tags = {"split": "train" if record["train"] else "test"}
        image = self._images / record["name"]
        return self.sample_of(f"images/{record['name']}", [bird], self.annotations, image=image, tags=tags)


def _records(base: Path, split: str) -> Iterator[Mapping[str, object]]:
    names = _by_id(base / "images.txt")
    classes = _by_id(base / "image_class_labels.txt")
    train = _by_id(base / "train_test_split.txt")
    boxes = _by_id(base / "bounding_boxes.txt")
    titles = _by_id(base / "classes.txt") if (base / "classes.txt").is_file() else {}
    parts: dict[str, list[float]] = {}
    if (base / "parts" / "part_locs.txt").is_file():
        lines = (line.split() for line in dataset.read_lines(base / "parts" / "part_locs.txt"))
        for image, _, *values in sorted(lines, key=lambda fields: int(fields[1])):
            parts.setdefault(image, []).extend(map(float, values))
    for file, table in (("image_class_labels", classes), ("train_test_split", train), ("bounding_boxes", boxes)):
        if unknown := table.keys() - names.keys():
            raise InputError(f"{base / 'images.txt'} has no line for image {min(unknown)} of {file}.txt")
        if missing := names.keys() - table.keys():
            raise InputError(f"{base / file}.txt has no line for image {min(missing)} ({names[min(missing)][0]})")
    for item, name in names.items():
        box = [float(value) for value in boxes[item]]
        if len(box) != 4:
            raise InputError(f"{base / 'bounding_boxes.txt'}: image {item} has {len(box)} numbers for its box, not 4")
        if len(located := parts.get(item, [])) not in (0, 3 * _BIRD_PARTS):
            raise InputError(f"{base / 'parts' / 'part_locs.txt'}: image {item} has {len(located) // 3} parts, not 15")
        is_train = train[item][0] == "1"
        if split in ("all", "train" if is_train else "test"):
            number = classes[item][0]
            yield {
                "name": name[0],
                "class": titles.get(number, [name[0].split("/")[0]])[0],
                "class_id": int(number) - 1,
                "train": is_train,
                "box": box,
                "parts": located,
            }


def _by_id(path: Path) -> dict[str, list[str]]:
    """Return the fields of each line after the first, by the first, which is an id."""
    fields: dict[str, list[str]] = {}
    for line in dataset.read_lines(path):
        key, *rest = line.split()
        if key in fields:
            raise InputError(f"{path} has two lines of {key}; get it again")
        fields[key] = rest
    return fields


class IlsvrcLocalization(dataset.RecordDataset):
    """Images of `LOC_{split}_solution.csv`; with `labels="folders"` all of train, with or without boxes."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str, *, labels: str = "boxes") -> None:
        super().__init__(entry, root, split)
        if labels not in ("boxes", "folders"):
            raise InputError(f"{entry.name}: {unknown_name('labels', labels, ('boxes', 'folders'))}")
        mapping = self.need("LOC_synset_mapping.txt")
        lines = [line.split(" ", 1) for line in dataset.read_lines(mapping)]
        self._titles: dict[str, str] = {item: rest[0] if rest else item for item, *rest in lines}
        if len(self._titles) < len(lines):
            raise InputError(f"{mapping} has two lines of one class; get it again")
        self._numbers = {wnid: number for number, wnid in enumerate(self._titles)}
        self._images = self.need(f"ILSVRC/Data/CLS-LOC/{split}")
        self._box_file = root / "ILSVRC" / "Annotations" / "CLS-LOC" / split
        solution = root / f"LOC_{split}_solution.csv"
        if solution.is_file():
            boxes = dict(_solution(solution))
        elif self._box_file.is_dir():
            boxes = {file.stem: None for file in sorted(self._box_file.rglob("*.xml"))}
        else:
            boxes = dict(_solution(self.need(solution.name)))
        if labels == "folders":
            names = (path.stem for path in sorted(self._images.rglob("*.JPEG")))
            boxes = {name: boxes.get(name, []) for name in names}
        self.keep(boxes.items(), str(solution))

    def categories(self) -> dict[int, str]:
        return dict(enumerate(self._titles.values()))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        name, boxes = record
        wnid = name.partition("_")[0]
        image_name = f"{wnid}/{name}" if self.split == "train" else name
        width, height = dataset.size_of_image(self._images / f"{image_name}.JPEG")
        marks = self._box_file / f"{image_name}.xml"
        size, marked = _read_boxes(marks) if marks.is_file() else ((width, height), [])
        boxes = marked if boxes is None else boxes
        scale = width / size[0], height / size[1]  # some XML describes another copy of its image
        objects = [(item, self._scale_box(box, scale)) for item, box in boxes]
        if not objects and wnid in self._numbers:
            objects = [(wnid, None)]
        instances = (self._instance(item, box) for item, box in objects)
        name = f"ILSVRC/Data/CLS-LOC/{self.split}/{image_name}.JPEG"
        return self.sample_of(name, instances, self.annotations, (width, height))

    @staticmethod
    def _scale_box(box: list[float], scale: tuple[float, float]) -> Box:
        x_min, y_min, x_max, y_max = box
        return x_min * scale[0], y_min * scale[1], x_max * scale[0], y_max * scale[1]

    def _instance(self, wnid: str, box: Box | None) -> Instance:
        if wnid not in self._numbers:
            raise InputError(f"the class {wnid} is not in LOC_synset_mapping.txt")
        return Instance(
            kind="object", box=box, category=self._titles[wnid], category_id=self._numbers[wnid], extra={"wnid": wnid}
        )


def _solution(path: Path) -> Iterator[tuple[str, _Boxes | None]]:
    """Yield names of images with wnid and corners of each box; the field repeats wnid xmin ymin xmax ymax."""
    for line in dataset.read_lines(path)[1:]:
        name, _, text = line.partition(",")
        fields = text.split()
        if not fields or len(fields) % 5:
            raise InputError(f"{path}: {name} has {len(fields)} values in PredictionString, not 5 for each box")
        with dataset.naming(f"{path}: {name}"):
            yield name, [(fields[k], [float(v) for v in fields[k + 1 : k + 5]]) for k in range(0, len(fields), 5)]


def _read_boxes(path: Path) -> tuple[tuple[int, int], _Boxes]:
    """Return the image size and the boxes of an XML file."""
    try:
        tree = ElementTree.parse(path).getroot()
        size = int(tree.findtext("size/width", "")), int(tree.findtext("size/height", ""))
        corners = ("xmin", "ymin", "xmax", "ymax")
        boxes = [
            (item.findtext("name", ""), [float(item.findtext(f"bndbox/{corner}", "")) for corner in corners])
            for item in tree.iter("object")
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{path} is damaged, or lacks size or bndbox: {error}") from None
    if min(size) < 1:
        raise InputError(f"{path}: size is {size[0]} x {size[1]}")
    return size, boxes
