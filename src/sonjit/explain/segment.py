"""Objects of an input as masks, by Mask R-CNN: COCO results, annotated output, and each step of the network."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sonjit.errors import InputError
from sonjit.explain.instances import draw_instances, results_from_instances, step_images
from sonjit.files import atomic_folder
from sonjit.media import Source, SourceFrame, open_drawing_writer
from sonjit.media.annotated.images import encode_image
from sonjit.media.tables.base import ColumnType
from sonjit.networks.mask_rcnn.mask_rcnn import DetectedInstances, Steps, load_mask_rcnn
from sonjit.runs.processor import Outputs, Pass, Processor, Session, Summary, counted
from sonjit.runs.records import Record, RecordTable

_COLUMNS: dict[str, ColumnType] = {
    "image_id": int, "category_id": int, "score": float, "x": float, "y": float, "width": float, "height": float,
    "segmentation": str,
}  # fmt: skip


@dataclass(frozen=True)
class Segment(Processor):
    """Find objects as boxes, categories and masks.

    Attributes:
        weights: what `load_mask_rcnn` takes.
        min_score: least confidence, 0 to 1.
        min_side: what the short side of an image becomes, in pixels; None for what the weights are for.
        device: of torch.
    """

    weights: str | None = None
    min_score: float = 0.5
    min_side: int | None = None
    device: str = "cpu"

    def found(self, count: int) -> str:
        """So many instances."""
        return counted(count, "instance", "instances")

    def load(self) -> _Segmenting:
        """The network on its device."""
        return _Segmenting(self)

    def open_table(self, save: str, source: Source) -> RecordTable:
        """Records in COCO's results format; rows of their boxes and masks."""
        return RecordTable(save, None, _COLUMNS, _rows, _placed)


class _Found(NamedTuple):
    instances: DetectedInstances
    steps: Steps | None


class _Segmenting(Session):
    def __init__(self, processor: Segment) -> None:
        self.processor = processor
        side = processor.min_side
        sides = {} if side is None else {"min_side": side, "max_side": side * 5 // 3}
        network, categories, *_ = load_mask_rcnn(processor.weights, min_score=processor.min_score, **sides)
        self.names, self.ids = [one.name for one in categories], [one.id for one in categories]
        self.device = _device(processor.device)
        self.network = network.to(self.device)

    def begin(self, source: Source, outputs: Outputs) -> _SegmentPass:
        return _SegmentPass(self, source, outputs)


class _SegmentPass(Pass[_Found]):
    def __init__(self, session: _Segmenting, source: Source, outputs: Outputs) -> None:
        super().__init__()
        self._session, self._source, self._steps = session, source, outputs.figures
        self._tells, self._lines = not outputs.paths, list[str]()
        self._table = self._drawing = None
        with ExitStack() as stack:
            if outputs.save is not None:
                self._table = stack.enter_context(session.processor.open_table(outputs.save, source))
            if outputs.draw is not None:
                self._drawing = stack.enter_context(open_drawing_writer(outputs.draw, source))
            self.outputs = stack.pop_all()

    def process(self, frame: SourceFrame) -> _Found:
        pixels = torch.from_numpy(frame.rgb).to(self._session.device).permute(2, 0, 1).float() / 255
        with torch.no_grad():
            (found,), between = self._session.network.find_with_steps([pixels])
        if self._tells:
            self._lines += _lines(
                self._source.frame_source(frame.index) or str(frame.index), found, self._session.names
            )
        return _Found(found, None if self._steps is None else between)

    def count(self, result: _Found) -> int:
        return len(result.instances.boxes)

    def write(self, frame: SourceFrame, result: _Found) -> None:
        found, names = result.instances, self._session.names
        if self._steps is not None and result.steps is not None:
            _draw_steps(Path(self._steps), frame.rgb, found, result.steps, names)
            self._steps = None  # of the first image alone
        if self._table is not None:
            number = _number(self._source.frame_source(frame.index), frame.index)
            for record in results_from_instances(found, frame.rgb.shape[:2], number, self._session.ids):
                self._table.write(record)
        if self._drawing is not None:
            self._drawing.write(draw_instances(frame.rgb, found, names), frame.time, index=frame.index)

    def report(self, summary: Summary) -> None:
        summary.lines = self._lines


def _placed(record: Record, index: int, source: str | None) -> Record:
    """The record of a still as one of many."""
    return {**record, "image_id": _number(source, index)}


def _rows(record: Record) -> list[Record]:
    return [{**record, **dict(zip(("x", "y", "width", "height"), record["bbox"], strict=True))}]


def _number(source: str | None, index: int) -> int:
    """The id of an image in COCO's results: the number that its file is named, as COCO's are, or its place."""
    stem = Path(source or "").stem
    return int(stem) if stem.isdecimal() else index


def _draw_steps(folder: Path, rgb: NDArray[np.uint8], found: DetectedInstances, steps: Steps, names: list[str]) -> None:
    with atomic_folder(folder) as draft:
        for name, image in step_images(rgb, found, steps, names):
            (draft / f"{name}.png").write_bytes(encode_image(image, ".png"))


def _lines(name: str, found: DetectedInstances, names: list[str]) -> list[str]:
    return [
        f"{name}: {names[label - 1]} {score:.2f} at {', '.join(f'{edge:.0f}' for edge in box)}"
        for label, score, box in zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    ]


def _device(name: str) -> torch.device:
    """A device that is there."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name}: not usable here ({reason}); give cpu") from None
    return device
