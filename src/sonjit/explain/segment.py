"""Objects of an input as masks, by Mask R-CNN: COCO results, annotated output, and each step of the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit.arrays import BoolArray, FloatArray, Image, IntArray
from sonjit.datasets import coco_result
from sonjit.datasets.formats.coco import CocoResult
from sonjit.engines.devices import torch_device
from sonjit.explain.overlay import grid as panel_grid
from sonjit.files import atomic_folder
from sonjit.media import Source, SourceFrame, open_drawing_writer
from sonjit.media.annotated.writers import encode_image
from sonjit.media.drawing.instances import PERSON_COLOURS, draw_tint
from sonjit.media.drawing.strokes import Colour, Label, draw_captions, draw_labels, draw_path
from sonjit.media.tables.base import ColumnType
from sonjit.networks.mask_rcnn.mask_rcnn import DetectedInstances, Steps, load_mask_rcnn, paste_masks
from sonjit.networks.mask_rcnn.rpn import Candidates
from sonjit.runs.processor import Outputs, Pass, Processor, Session, Summary, counted
from sonjit.runs.records import Record, RecordTable

_LEVEL_COLOURS = {level: PERSON_COLOURS[level - 2] for level in range(2, 7)}
_MOST_BOXES = 200  # of the best: more would hide the image
_SIDE_PX = 160  # of the small images in a row
_ROWS = 6  # instances of which maps and masks are shown
_ABOVE = [np.array([0.0, -1.0]), np.array([0.0, 1.0])]


def draw_instances(rgb: Image, found: DetectedInstances, names: Sequence[str]) -> Image:
    """A new image with a coloured mask, a box, the category and the confidence of each instance.

    Args:
        rgb: (H, W, 3) uint8.
        found: in its pixels, best first.
        names: of the labels 1, 2, ...
    """
    canvas = rgb.copy()
    boxes, scores, labels = found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()
    if found.masks.shape[-1]:
        masks = paste_masks(found.masks, found.boxes, rgb.shape[:2]).cpu().numpy()
        for i, mask in reversed(list(enumerate(masks))):  # the surest on top
            draw_tint(canvas, mask, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    for i, box in enumerate(boxes):
        _draw_box(canvas, box, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    written: list[Label] = []
    for i, ((x_min, y_min, x_max, y_max), score, label) in enumerate(zip(boxes, scores, labels, strict=True)):
        top, size = np.array([(x_min + x_max) / 2, y_min]), float(np.hypot(x_max - x_min, y_max - y_min))
        colour = PERSON_COLOURS[i % len(PERSON_COLOURS)]
        written.append(Label(f"{names[label - 1]} {score:.2f}", top, _ABOVE, colour, size))
    draw_labels(canvas, written)
    return canvas


def semantic_labels(found: DetectedInstances, size: tuple[int, int]) -> IntArray:
    """Semantic segmentation out of instances: the category of each pixel, whichever of its objects it belongs to.

    Args:
        found: in one image, best first; where two cover a pixel, the surer one counts.
        size: of the image, height and width.

    Returns:
        (H, W) int64: labels 1, 2, ..., and 0 for the background.
    """
    labels = np.zeros(size, np.int64)
    if found.masks.shape[-1]:
        masks = paste_masks(found.masks, found.boxes, size).cpu().numpy() >= 0.5
        for mask, label in reversed(list(zip(masks, found.labels.tolist(), strict=True))):
            labels[mask] = label
    return labels


def draw_tasks(rgb: Image, found: DetectedInstances, names: Sequence[str]) -> Image:
    """A new image (2 H, 2 W, 3): what is there, where one is, the category of each pixel, the pixels of each object.

    Args:
        rgb: (H, W, 3) uint8.
        found: in its pixels, best first.
        names: of the labels 1, 2, ...
    """
    scores: list[float] = found.scores.tolist()
    labels: list[int] = found.labels.tolist()
    best = {label: score for score, label in reversed(list(zip(scores, labels, strict=True)))}
    one, words = rgb.copy(), [f"{names[label - 1]} {best[label]:.2f}" for label in sorted(best)]
    if scores:
        _draw_box(one, found.boxes[0].tolist(), PERSON_COLOURS[labels[0] % len(PERSON_COLOURS)])
    semantic, categories = rgb.copy(), semantic_labels(found, (rgb.shape[0], rgb.shape[1]))
    for label in sorted(best):
        draw_tint(semantic, (categories == label).astype(np.float32), PERSON_COLOURS[label % len(PERSON_COLOURS)])
    shown: list[str] = [names[label - 1] for label in sorted(best)]
    where = [f"{names[labels[0] - 1]} {scores[0]:.2f}"] if scores else []
    panels: tuple[tuple[NDArray[np.uint8], list[str]], ...] = (
        (rgb.copy(), ["classification", *words]),
        (one, ["localization", *where]),
        (semantic, ["semantic segmentation", *shown]),
        (draw_instances(rgb, found, names), ["instance segmentation"]),
    )
    for canvas, lines in panels:
        draw_captions(canvas, lines)
    drawn = [canvas for canvas, _ in panels]
    return panel_grid([drawn[:2], drawn[2:]])


def results_from_instances(
    found: DetectedInstances, size: tuple[int, int], image_id: int, category_ids: Sequence[int]
) -> list[CocoResult]:
    """Instances as records of COCO's results format.

    Args:
        found: in one image.
        size: its height and width.
        image_id: its id in the data set.
        category_ids: of the labels 1, 2, ...
    """
    masks: Sequence[BoolArray | None] = [None] * len(found.boxes)
    if found.masks.shape[-1]:
        masks = list(paste_masks(found.masks, found.boxes, size).cpu().numpy() >= 0.5)
    ids = [category_ids[label - 1] for label in found.labels.tolist()]
    rows = zip(ids, found.boxes.tolist(), found.scores.tolist(), masks, strict=True)
    return [coco_result(image_id, *row) for row in rows]


def step_images(
    rgb: Image, found: DetectedInstances, steps: Steps, names: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """An image of each step, in order, with a name for its file.

    Args:
        rgb: (H, W, 3) uint8, the only image of the forward pass.
        found: in it.
        steps: of the forward pass.
        names: of the labels 1, 2, ...
    """
    import cv2

    high, wide = steps.sizes[0]
    small = np.asarray(cv2.resize(rgb, (wide, high)), np.uint8)
    padded = "x".join(map(str, reversed(steps.images.shape[-2:])))
    yield "1-resized", _titled(small, f"1 resized to {wide}x{high}, padded to {padded}")
    yield "2-pyramid", _pyramid_image(steps)
    ratio = np.array([rgb.shape[1] / wide, rgb.shape[0] / high] * 2)
    yield "3-anchors", _anchor_image(rgb, steps, ratio)
    before, after, final = steps.rpn.before_nms[0], steps.rpn.after_nms[0], steps.rpn.proposals[0]
    for name, title, boxes in (
        ("4-proposals-before-nms", "4 moved and clipped, before NMS", before),
        ("5-proposals-after-nms", "5 after NMS on each level", after),
        ("6-proposals", "6 best of all levels", final),
    ):
        yield name, _candidate_image(rgb, boxes, title, ratio)
    yield "7-roi-features", _roi_image(small, steps)
    yield "8-masks", _mask_image(rgb, found, names)
    yield "9-instances", _titled(draw_instances(rgb, found, names), f"9 found: {len(found.boxes)}")


def _pyramid_image(steps: Steps) -> Image:
    """The mean over the channels of each level above the likeliest anchor of each cell."""
    high, wide = steps.images.shape[-2:]
    size = round(_SIDE_PX * wide / high), _SIDE_PX
    tiles: list[NDArray[np.uint8]] = []
    for level, (grid, logits) in enumerate(zip(steps.pyramid, steps.rpn.objectness, strict=True), 2):
        cells = logits[0].sigmoid().reshape(*grid.shape[-2:], -1).amax(-1)
        mean, likely = _heat(grid[0].mean(0), size), _heat(cells, size)
        shape = f"{grid.shape[-1]}x{grid.shape[-2]}"
        tiles.append(
            np.vstack([_titled(mean, f"P{level} {shape}"), _titled(likely, f"objectness to {cells.max():.2f}")])
        )
    return np.hstack(tiles)


def _anchor_image(rgb: Image, steps: Steps, ratio: FloatArray) -> Image:
    """The three anchors of each level's middle cell, and how many there are in all."""
    canvas = rgb // 2
    lines: list[str] = ["3 anchors of the middle cell of each level"]
    for level, (grid, anchors) in enumerate(zip(steps.pyramid, steps.rpn.anchors, strict=True), 2):
        rows, columns = grid.shape[-2:]
        middle = ((rows // 2) * columns + columns // 2) * 3
        for box in anchors[middle : middle + 3].tolist():
            _draw_box(canvas, box * ratio, _LEVEL_COLOURS[level])
        lines.append(f"P{level}: {len(anchors)}")
    draw_captions(canvas, lines)
    return canvas


def _candidate_image(rgb: Image, candidates: Candidates, title: str, ratio: FloatArray) -> Image:
    """The likeliest boxes in their level's colour, enlarged by a ratio to the image."""
    canvas = rgb // 2
    best = candidates.scores.sort(descending=True).indices[:_MOST_BOXES].flip(0)  # the best on top
    for box, level in zip(candidates.boxes[best].tolist(), candidates.levels[best].tolist(), strict=True):
        _draw_box(canvas, box * ratio, _LEVEL_COLOURS[level])
    counts = ", ".join(f"P{level} {int((candidates.levels == level).sum())}" for level in _LEVEL_COLOURS)
    shown = f"; the best {_MOST_BOXES} drawn" if len(candidates.boxes) > _MOST_BOXES else ""
    draw_captions(canvas, [f"{title}: {len(candidates.boxes)}{shown}", counts])
    return canvas


def _roi_image(small: NDArray[np.uint8], steps: Steps) -> Image:
    """The best proposals, cut out, and the mean over the channels of their maps."""
    boxes, scores = steps.rpn.proposals[0].boxes[:_ROWS], steps.rpn.proposals[0].scores
    size = _SIDE_PX, _SIDE_PX
    tiles = [
        np.vstack(
            [
                _titled(_cut(small, box, size), f"objectness {score:.2f}"),
                _titled(_heat(grid.mean(0), size), f"{grid.shape[-1]}x{grid.shape[-2]} of P{level}"),
            ]
        )
        for box, score, grid, level in zip(
            boxes.tolist(), scores.tolist(), steps.box_maps, steps.levels.tolist(), strict=False
        )
    ]
    return np.hstack(tiles) if tiles else _titled(small // 2, "7 no proposals")


def _mask_image(rgb: Image, found: DetectedInstances, names: Sequence[str]) -> Image:
    """The best instances, cut out, and their masks before they are laid over the image."""
    size = _SIDE_PX, _SIDE_PX
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), found.masks, strict=True)
    tiles = [
        np.vstack(
            [
                _titled(_cut(rgb, box, size), f"{names[label - 1]} {score:.2f}"),
                _titled(_heat(mask, size), f"mask {mask.shape[-1]}x{mask.shape[-2]}"),
            ]
        )
        for box, score, label, mask in list(rows)[:_ROWS]
        if mask.numel()
    ]
    return np.hstack(tiles) if tiles else _titled(rgb // 2, "8 no masks")


def _heat(values: Tensor, size: tuple[int, int]) -> Image:
    """A map (h, w) in colours from its least to its greatest value, its cells as squares."""
    import cv2

    grid = values.detach().float().cpu().numpy()
    share = (grid - grid.min()) / max(float(grid.max() - grid.min()), 1e-12)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return np.asarray(cv2.resize(colours, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _cut(rgb: Image, box: Sequence[float], size: tuple[int, int]) -> Image:
    import cv2

    height, width = rgb.shape[:2]
    left, top = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    part = rgb[top : max(round(box[3]), top + 1), left : max(round(box[2]), left + 1)]
    return np.asarray(cv2.resize(part, size), np.uint8)


def _titled(canvas: Image, title: str) -> Image:
    titled = np.array(canvas, order="C")
    draw_captions(titled, [title])
    return titled


def _draw_box(canvas: Image, box: Sequence[float] | FloatArray, colour: Colour) -> None:
    x_min, y_min, x_max, y_max = box
    corners = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]], np.float64)
    draw_path(canvas, corners, colour, max(1, round(max(canvas.shape[:2]) / 400)))


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
        device: see `torch_device`.
        tasks: draw each image as the four tasks, see `draw_tasks`.
    """

    weights: str | None = None
    min_score: float = 0.5
    min_side: int | None = None
    device: str = "cpu"
    tasks: bool = False

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
        self.device = torch_device(processor.device)
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
                drawing = open_drawing_writer(outputs.draw, source)
                self._drawing = stack.enter_context(self.beside_others(drawing, outputs.draw, outputs))
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
            draw = draw_tasks if self._session.processor.tasks else draw_instances
            self._drawing.write(draw(frame.rgb, found, names), frame.time, index=frame.index, under=frame)

    def report(self, summary: Summary) -> None:
        summary.lines = self._lines
        if self._session.processor.weights == "demo":
            summary.notes.append("demo weights are placeholders: they show that it runs, and find nothing")


def _placed(record: Record, index: int, source: str | None) -> Record:
    """The record of a still as one of many."""
    return {**record, "image_id": _number(source, index)}


def _rows(record: Record) -> list[Record]:
    return [{**record, **dict(zip(("x", "y", "width", "height"), record["bbox"], strict=True))}]


def _number(source: str | None, index: int) -> int:
    """The id of an image in COCO's results: the number that its file is named, as COCO's are, or its place."""
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
