"""ILSVRC localization: one class per image and a box per object of it.

Source: the layout and files of https://www.kaggle.com/c/imagenet-object-localization-challenge. A class's number is its
place in `LOC_synset_mapping.txt`, the order in which torchvision's networks count. Box corners are given as the files
have them: pixels that still belong to the object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from sonjit.datasets.dataset import DatasetEntry, RecordDataset, naming, read_lines, size_of_image
from sonjit.datasets.registry import register
from sonjit.datasets.sample import Instance, Sample
from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sonjit.results import Box

_Boxes = list[tuple[str, list[float]]]


class IlsvrcLocalization(RecordDataset):
    """Images of `LOC_{split}_solution.csv`, with `labels="folders"` all of train, with or without boxes."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str, *, labels: str = "boxes") -> None:
        super().__init__(entry, root, split)
        if labels not in ("boxes", "folders"):
            raise InputError(f"{entry.name}: labels is 'boxes' or 'folders', not {labels!r}")
        mapping = self.need("LOC_synset_mapping.txt")
        lines = [line.split(" ", 1) for line in read_lines(mapping)]
        self._titles: dict[str, str] = {one: rest[0] if rest else one for one, *rest in lines}
        self._numbers = {wnid: number for number, wnid in enumerate(self._titles)}
        self._images = self.need(f"ILSVRC/Data/CLS-LOC/{split}")
        self._marks = root / "ILSVRC" / "Annotations" / "CLS-LOC" / split
        solution = root / f"LOC_{split}_solution.csv"
        if solution.is_file():
            boxes = dict(_solution(solution))
        elif self._marks.is_dir():
            boxes = {file.stem: None for file in sorted(self._marks.rglob("*.xml"))}
        else:
            boxes = dict(_solution(self.need(solution.name)))
        if labels == "folders":
            names = (path.stem for path in sorted(self._images.rglob("*.JPEG")))
            boxes = {name: boxes.get(name, []) for name in names}
        self.keep(boxes.items(), str(solution))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        """One image with the boxes of its class."""
        name, boxes = record
        wnid = name.partition("_")[0]
        place = f"{wnid}/{name}" if self.split == "train" else name
        path = self._images / f"{place}.JPEG"
        width, height = size_of_image(path)
        marks = self._marks / f"{place}.xml"
        size, marked = _marks_of(marks) if marks.is_file() else ((width, height), [])
        boxes = marked if boxes is None else boxes
        scale = width / size[0], height / size[1]  # some XML describes another copy of its image
        objects = [(one, self._scaled(box, scale)) for one, box in boxes]
        if not objects and wnid in self._numbers:
            objects = [(wnid, None)]
        return Sample(
            dataset=self.entry.name,
            id=f"ILSVRC/Data/CLS-LOC/{self.split}/{place}.JPEG",
            image=path,
            width=width,
            height=height,
            instances=tuple(self._instance(one, box) for one, box in objects),
            source=self.annotations,
            licence=self.entry.licence,
        )

    @staticmethod
    def _scaled(box: list[float], scale: tuple[float, float]) -> Box:
        x_min, y_min, x_max, y_max = box
        return x_min * scale[0], y_min * scale[1], x_max * scale[0], y_max * scale[1]

    def _instance(self, wnid: str, box: Box | None) -> Instance:
        if wnid not in self._numbers:
            raise InputError(f"the class {wnid} is not in LOC_synset_mapping.txt")
        return Instance(
            kind="object",
            box=box,
            category=self._titles[wnid],
            category_id=self._numbers[wnid],
            extra={"wnid": wnid},
        )


def _solution(path: Path) -> Iterator[tuple[str, _Boxes | None]]:
    """Names of images with wnid and corners of each box; the field is wnid xmin ymin xmax ymax, repeated."""
    for line in read_lines(path)[1:]:
        name, _, text = line.partition(",")
        fields = text.split()
        if not fields or len(fields) % 5:
            raise InputError(f"{path}: {name} has {len(fields)} values in PredictionString, not 5 for each box")
        with naming(f"{path}: {name}"):
            yield name, [(fields[k], [float(v) for v in fields[k + 1 : k + 5]]) for k in range(0, len(fields), 5)]


def _marks_of(path: Path) -> tuple[tuple[int, int], _Boxes]:
    """Size of the image that an XML file describes, and its boxes."""
    try:
        tree = ElementTree.parse(path).getroot()
        size = int(tree.findtext("size/width", "")), int(tree.findtext("size/height", ""))
        corners = ("xmin", "ymin", "xmax", "ymax")
        boxes = [
            (one.findtext("name", ""), [float(one.findtext(f"bndbox/{corner}", "")) for corner in corners])
            for one in tree.iter("object")
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{path} is damaged, or lacks size or bndbox: {error}") from None
    if min(size) < 1:
        raise InputError(f"{path}: size is {size[0]} x {size[1]}")
    return size, boxes


register(
    DatasetEntry(
        name="ilsvrc-loc",
        title="ILSVRC localization (ImageNet)",
        open=IlsvrcLocalization,
        splits=("val", "train"),
        kinds=("object",),
        licence="non-commercial research, by registration",
        where="https://www.kaggle.com/c/imagenet-object-localization-challenge",
        needs=("LOC_synset_mapping.txt", "LOC_{split}_solution.csv", "ILSVRC/Data/CLS-LOC/{split}"),
    )
)
