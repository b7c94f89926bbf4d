"""Find objects as masks, the task of `sonjit segment`: by Mask R-CNN or `hand-masks`, with COCO results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from sonjit._util.arrays import BoolArray, Image
from sonjit._util.errors import InputError, pluralize
from sonjit._util.files import atomic_folder
from sonjit.engines.devices import torch_device
from sonjit.lab.datasets import coco_result
from sonjit.lab.datasets.coco import CocoResult
from sonjit.lab.explain.hand_masks import CATEGORIES, is_hand_masks, load_hand_masks
from sonjit.lab.explain.segment_drawing import draw_instances, draw_tasks, step_images
from sonjit.lab.networks.mask_rcnn.mask_rcnn import DetectedInstances, Steps, load_mask_rcnn, paste_masks
from sonjit.media import Source, SourceFrame
from sonjit.media.sources.images import encode_image
from sonjit.media.tables.base import ColumnType
from sonjit.runs.frame_tables import Record, RecordTable
from sonjit.runs.task import Outputs, Summary, Task, Worker

_COLUMNS: dict[str, ColumnType] = {
    "image_id": int, "category_id": int, "score": float, "x": float, "y": float, "width": float, "height": float,
    "segmentation": str,
}  # fmt: skip


def results_from_instances(
    found: DetectedInstances, size: tuple[int, int], image_id: int, category_ids: Sequence[int]
) -> list[CocoResult]:
    """Return instances as records of COCO's results format.

    Args:
        found: Instances in one image.
        size: Height and width of the image.
        image_id: Id of the image in the data set.
        category_ids: Ids of the labels 1, 2, ...
    """
    masks: Sequence[BoolArray | None] = [None] * len(found.boxes)
    if found.masks.shape[-1]:
        masks = list(paste_masks(found.masks, found.boxes, size).cpu().numpy() >= 0.5)
    ids = [category_ids[label - 1] for label in found.labels.tolist()]
    rows = zip(ids, found.boxes.tolist(), found.scores.tolist(), masks, strict=True)
    return [coco_result(image_id, *row) for row in rows]


@dataclass(frozen=True)
class Segment(Task):
    """Find objects as boxes, categories and masks.

    Attributes:
        weights: Weights as `load_mask_rcnn` takes them, or a run of `sonjit train hand-masks`.
        min_score: Minimum confidence, 0 to 1.
        min_side: Length to which the short side of an image is resized, in pixels; None for the one of the weights.
        device: Device, see `torch_device`.
        tasks: Draw each image as the four tasks, see `draw_tasks`.
    """

    weights: str | None = None
    min_score: float = 0.5
    min_side: int | None = None
    device: str = "cpu"
    tasks: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """Weights."""
        return () if self.weights is None else (self.weights,)

    def count_text(self, count: int) -> str:
        """Return a number of instances with their noun."""
        return pluralize(count, "instance")

    def open(self, *, is_stream: bool) -> SegmentWorker:
        """Load the network, which treats every image as independent."""
        del is_stream
        return SegmentWorker(self)

    def open_table(self, save: str, source: Source) -> RecordTable:
        """Open a file in COCO's results format, or rows of boxes and masks."""
        del source
        return RecordTable(save, None, _COLUMNS, _rows, _set_image_id)


class _Segmentation(NamedTuple):
    instances: DetectedInstances
    steps: Steps | None


class SegmentWorker(Worker[_Segmentation]):
    """Loaded network.

    Args:
        task: Description of the work.
    """

    def __init__(self, task: Segment) -> None:
        super().__init__()
        self._task = task
        self._device = torch_device(task.device)
        self._hands = self._network = None
        if task.weights is not None and is_hand_masks(task.weights):
            if task.min_side is not None:
                raise InputError("--min-side applies only to Mask R-CNN, not to hand-masks")
            self._hands = load_hand_masks(task.weights, min_score=task.min_score, device=self._device)
            categories = CATEGORIES
        else:
            side = task.min_side
            sides = {} if side is None else {"min_side": side, "max_side": side * 5 // 3}
            network, categories, *_ = load_mask_rcnn(task.weights, min_score=task.min_score, **sides)
            self._network = network.to(self._device)
        self._names, self._ids = [category.name for category in categories], [category.id for category in categories]

    def start(self, source: Source, outputs: Outputs, files: ExitStack) -> None:
        """Open table and drawing."""
        if self._hands is not None and outputs.figures is not None:
            raise InputError("--steps applies only to Mask R-CNN, not to hand-masks")
        self._source, self._steps = source, outputs.figures
        self._prints, self._lines = not outputs.paths, list[str]()
        self._table = self._drawing = None
        if outputs.save is not None:
            self._table = files.enter_context(self._task.open_table(outputs.save, source))
        if outputs.draw is not None:
            self._drawing = files.enter_context(self.open_drawing(outputs.draw, source, outputs))

    def process(self, frame: SourceFrame) -> _Segmentation:
        """Find the objects in an image."""
        if self._hands is not None:
            found, steps = self._hands.find(frame.rgb), None
        else:
            assert self._network is not None
            pixels = torch.from_numpy(frame.rgb).to(self._device).permute(2, 0, 1).float() / 255
            with torch.no_grad():
                (found,), steps = self._network.find_with_steps([pixels])
        if self._prints:
            self._lines += _lines(self._source.frame_source(frame.index) or str(frame.index), found, self._names)
        return _Segmentation(found, None if self._steps is None else steps)

    def count(self, item: _Segmentation) -> int:
        """Return the number of instances."""
        return len(item.instances.boxes)

    def write(self, frame: SourceFrame, item: _Segmentation) -> None:
        """Write the instances into table and drawing, and the steps of the first image into a folder."""
        found = item.instances
        if self._steps is not None and item.steps is not None:
            _draw_steps(Path(self._steps), frame.rgb, found, item.steps, self._names)
            self._steps = None
        if self._table is not None:
            number = _number(self._source.frame_source(frame.index), frame.index)
            for record in results_from_instances(found, frame.rgb.shape[:2], number, self._ids):
                self._table.write(record)
        if self._drawing is not None:
            draw = draw_tasks if self._task.tasks else draw_instances
            self._drawing.write(draw(frame.rgb, found, self._names), frame.time, index=frame.index, under=frame)

    def report(self, summary: Summary) -> None:
        """Add the instances in words, and a note on placeholder weights."""
        summary.lines = self._lines
        if self._task.weights == "demo":
            summary.notes.append("demo weights are placeholders for trying the command: they find nothing")


def _set_image_id(record: Record, index: int, source: str | None) -> Record:
    """Return the record of one of several images."""
    return {**record, "image_id": _number(source, index)}


def _rows(record: Record) -> list[Record]:
    return [{**record, **dict(zip(("x", "y", "width", "height"), record["bbox"], strict=True))}]


def _number(source: str | None, index: int) -> int:
    """Return the id of an image in COCO's results: the number in its file name, or its index."""
    stem = Path(source or "").stem
    return int(stem) if stem.isdecimal() else index


def _draw_steps(folder: Path, rgb: Image, found: DetectedInstances, steps: Steps, names: list[str]) -> None:
    with atomic_folder(folder) as draft:
        for name, image in step_images(rgb, found, steps, names):
            (draft / f"{name}.png").write_bytes(encode_image(image, ".png"))


def _lines(name: str, found: DetectedInstances, names: list[str]) -> list[str]:
    return [
        f"{name}: {names[label - 1]} {score:.2f} at {', '.join(f'{edge:.0f}' for edge in box)}"
        for label, score, box in zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    ]
