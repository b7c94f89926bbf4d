"""Find objects as masks, the task of `sonjit segment`.

The bundled network of people and hands runs on OpenVINO. The lab provides other weights of Mask R-CNN, `hand-masks` and
the drawn steps, which require PyTorch.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol, cast

import cv2
import numpy as np

from sonjit._util import Image, InputError, data_files, pluralize
from sonjit._util.extensions import find_function
from sonjit.engines import EngineOptions, load_number_engine, model_file
from sonjit.media import Anonymise, Source, SourceFrame
from sonjit.media.sources.base import SourceKind
from sonjit.media.tables.base import ColumnType
from sonjit.runs.frame_tables import RecordTable
from sonjit.runs.hiding import Covered
from sonjit.runs.task import Outputs, Summary, Task, Worker
from sonjit.segmentation.instances import Finder, Instances, draw_instances, draw_tasks, results_from_instances

BUNDLED: Final = data_files.ASSETS / "people_and_hands.onnx"
"""Network of people and hands; docs/mask-rcnn.md describes its training."""
_PEOPLE_AND_HANDS: Final = ((1, "person"), (2, "hand"))
CATEGORIES: Final = "sonjit_categories"
"""Metadata key of an exported Mask R-CNN for the ids and names of its labels 1, 2, ... as JSON."""
_EXPORTED: Final = (".onnx", ".xml")
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # colour around the network's input, which is its 0
_COLUMNS: dict[str, ColumnType] = {
    "image_id": int,
    "category_id": int,
    "score": float,
    "x": float,
    "y": float,
    "width": float,
    "height": float,
    "segmentation": str,
}


class ExportedFinder:
    """Find instances with a score of at least `min_score` with an exported Mask R-CNN on OpenVINO, without PyTorch.

    `path`: file of `sonjit export mask-rcnn`. Default: the bundled network of people and hands.
    """

    def __init__(self, min_score: float, path: Path = BUNDLED) -> None:
        from sonjit.engines.openvino import read_model  # loads slowly

        path = model_file(path)
        self.categories: Sequence[tuple[int, str]] = _PEOPLE_AND_HANDS
        if path != BUNDLED:
            model, key = read_model(path), ["framework", CATEGORIES]  # where OpenVINO stores ONNX metadata
            if not model.has_rt_info(key):
                raise InputError(f"{path} is not a Mask R-CNN of sonjit export mask-rcnn --weights RUN --out {path}")
            records = json.loads(model.get_rt_info(key).astype(str))
            self.categories = [(int(record["id"]), str(record["name"])) for record in records]
        self._engine = load_number_engine(path, EngineOptions())
        self._side: int = self._engine.inputs[0].shape[-1]
        self._removes_repeats = path == BUNDLED
        self._min_score = min_score

    def find(self, rgb: Image) -> Instances:
        """Return the instances in an image (H, W, 3), uint8 RGB, best first."""
        height, width = rgb.shape[:2]
        scale = self._side / max(height, width)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        resized = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        self._engine.inputs[0][:] = _MEAN[:, None, None]
        self._engine.inputs[0][0, :, : size[1], : size[0]] = resized.transpose(2, 0, 1) / np.float32(255)
        boxes, scores, labels, masks = (output[0].copy() for output in self._engine.run())
        boxes *= np.array([width / size[0], height / size[1]] * 2, np.float32)
        np.clip(boxes, 0, (width, height) * 2, out=boxes)
        instances = Instances(boxes, scores, labels.astype(np.int64), masks).select(scores > self._min_score)
        return instances.without_repeats() if self._removes_repeats else instances


@dataclass(frozen=True)
class Segment(Task):
    """Find objects as boxes, categories and masks."""

    # weights as `load_mask_rcnn` takes them, None for people and hands, or a run of `sonjit train hand-masks`
    weights: str | None = None
    min_score: float = 0.5  # minimum confidence, 0 to 1
    # length to which the short side of an image is resized, in pixels; None for the one of the weights
    min_side: int | None = None
    device: str = "cpu"  # device, see `torch_device`
    tasks: bool = False  # draw each image as the four tasks, see `draw_tasks`
    steps: bool = False  # True if the steps of Mask R-CNN are drawn
    ids: str | None = None  # COCO file whose images have the ids of the results; None for the indices of the images
    anonymise: Anonymise = "none"  # how people are hidden below drawings

    @property
    def files(self) -> tuple[str, ...]:
        """Weights, and the file of the ids."""
        return tuple(path for path in (self.weights, self.ids) if path is not None)

    def count_text(self, count: int) -> str:
        """Return a number of instances with their noun."""
        return pluralize(count, "instance")

    def open(self, source: SourceKind) -> "SegmentWorker":
        """Load the network, which treats every image as independent."""
        return SegmentWorker(self)

    def open_table(self, save: str, source: Source) -> RecordTable:
        """Open a file in COCO's results format, or rows of boxes and masks."""
        texts = self.ids is not None and not all(isinstance(item, int) for item in _ids_by_name(self.ids).values())
        columns = _COLUMNS | {"image_id": str} if texts else _COLUMNS
        return RecordTable(
            save,
            None,
            columns,
            lambda record: [{**record, **dict(zip(("x", "y", "width", "height"), record["bbox"], strict=True))}],
            lambda record, index, source: {**record, "image_id": _number(self.ids, source, index)},
        )


class StepsFinder(Finder, Protocol):
    """A network that also draws the steps of its forward pass."""

    def draw_steps(self, folder: Path, rgb: Image, names: Sequence[str]) -> None:
        """Write an image for each step on an image (H, W, 3), uint8 RGB. `names` are of labels 1, 2, ..."""
        ...


class SegmentWorker(Worker[Instances]):
    """Loaded network."""

    def __init__(self, task: Segment) -> None:
        super().__init__(task.anonymise)
        self._task = task
        is_exported = task.weights is not None and task.weights.endswith(_EXPORTED)
        needs_torch = task.min_side is not None or task.device != "cpu" or task.steps
        if is_exported and needs_torch:
            raise InputError(f"--min-side, --device and --steps do not apply to {task.weights}; give its run")
        if is_exported or (task.weights is None and not needs_torch):
            self._finder: Finder = ExportedFinder(task.min_score, Path(task.weights or BUNDLED))
        else:
            self._finder = find_function("open_finder", "another network for segmentation")(task)
        self._ids, self._names = map(list, zip(*self._finder.categories, strict=True))

    def start(self, source: Source, outputs: Outputs, files: ExitStack) -> None:
        """Open table and drawing."""
        self._source, self._steps = source, outputs.figures
        self._prints, self._lines = not outputs.paths, list[str]()
        self._table = self._drawing = None
        if outputs.save is not None:
            self._table = files.enter_context(self._task.open_table(outputs.save, source))
        if outputs.draw is not None:
            self._drawing = files.enter_context(self.open_drawing(outputs.draw, source, outputs))

    def process(self, frame: SourceFrame) -> Instances:
        """Find the objects in an image, and draw the steps on the first image."""
        if self._steps is not None:
            cast("StepsFinder", self._finder).draw_steps(Path(self._steps), frame.rgb, self._names)
            self._steps = None
        instances = self._finder.find(frame.rgb)
        if self._prints:
            self._lines += _lines(self._source.frame_source(frame.index) or str(frame.index), instances, self._names)
        return instances

    def count(self, item: Instances) -> int:
        """Return the number of instances."""
        return len(item.boxes)

    def write(self, frame: SourceFrame, item: Instances) -> None:
        """Write the instances into table and drawing."""
        instances = item
        if self._table is not None:
            only = str(self._source.files[0]) if len(self._source.files) == 1 else None
            number = _number(self._task.ids, self._source.frame_source(frame.index) or only, frame.index)
            for record in results_from_instances(instances, frame.rgb.shape[:2], number, self._ids):
                self._table.write(record)
        if self._drawing is not None:
            draw = draw_tasks if self._task.tasks else draw_instances
            is_person = np.array([self._names[label - 1] == "person" for label in instances.labels.tolist()], np.bool_)
            people = [
                (x_min, y_min, x_max, y_max) for x_min, y_min, x_max, y_max in instances.boxes[is_person].tolist()
            ]
            rgb = self.hidden.below(frame, Covered(people=people))
            self._drawing.write(draw(rgb, instances, self._names), frame.time, index=frame.index, under=frame)

    def report(self, summary: Summary) -> None:
        """Add the instances in words, and a note on placeholder weights."""
        summary.lines = self._lines
        if self._task.weights == "demo":
            summary.notes.append("demo weights are placeholders for trying the command: they find nothing")


def _number(ids: str | None, source: str | None, index: int) -> int | str:
    """Return the id of an image: that of a COCO file, or else its index."""
    if ids is None:
        return index
    path, ids_by_name = Path(source or ""), _ids_by_name(ids)
    names = ("/".join(path.parts[start:]) for start in range(len(path.parts)))
    image_id = next((ids_by_name[name] for name in names if name in ids_by_name), None)
    if image_id is None:
        raise InputError(f"--ids {ids} has no image {source or index}")
    return image_id


@cache
def _ids_by_name(path: str) -> dict[str, int | str]:
    data = data_files.read_json(Path(path))
    try:
        ids_by_name: dict[str, int | str] = {str(image["file_name"]): image["id"] for image in data["images"]}
    except (KeyError, TypeError):
        ids_by_name = {}
    if not ids_by_name or not all(type(item) in (int, str) for item in ids_by_name.values()):
        raise InputError(f"--ids {path}: no COCO file with file_name and id, a number or a text, of each image")
    return ids_by_name


def _lines(name: str, instances: Instances, names: list[str]) -> list[str]:
    return [
        f"{name}: {names[label - 1]} {score:.2f} at {', '.join(f'{edge:.0f}' for edge in box)}"
        for label, score, box in zip(
            instances.labels.tolist(), instances.scores.tolist(), instances.boxes.tolist(), strict=True
        )
    ]
