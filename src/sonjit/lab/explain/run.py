"""Run explanations over the images of an input: the task of `sonjit explain`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonjit._util.errors import InputError, pluralize
from sonjit.engines.devices import torch_device
from sonjit.lab.explain.saliency import ClassSaliency, Explained, HandSaliency
from sonjit.media import Source, SourceFrame
from sonjit.media.tables.base import ColumnType
from sonjit.results import Box
from sonjit.runs.frame_tables import Record, RecordTable
from sonjit.runs.task import Outputs, Summary, Task, Worker, table_header

_FRAME: dict[str, ColumnType] = {"frame": int, "time": float, "source": str}
_HAND: dict[str, ColumnType] = {"instance": int, "handedness": str, "score": float, "id": int}
_TARGET: dict[str, ColumnType] = {"target": str, "value": float, "unit": str, "bias": float, "box": str, "map": str}
CLASSIFIERS = ("cam-", "fc-")
"""Prefixes of the names of classifiers. `is_classifier` would need PyTorch."""
_CLASS: dict[str, ColumnType] = {
    "network": str, "class": str, "label": int, "probability": float, "score": float, "bias": float, "box": str,
    "map": str,
}  # fmt: skip


@dataclass(frozen=True)
class Explain(Task):
    """Show which parts of images are evidence for an output.

    Attributes:
        targets: Outputs of a hand's landmark network, or classes by name or number; None for the default ones.
        model: `full` or `lite` for hands, or classifiers such as `cam-small`, with commas.
        hand: Number of the hand to explain, counted from 1; None for all hands.
        max_instances: Maximum number of hands.
        mirrored: Treat the images as selfie views.
        models_dir: Folder with the published weight files.
        landmark_model: File of a custom hand landmark network.
        weights: Checkpoint of the classifier, or run of `sonjit train cam`; one per classifier, with commas.
        pooling: Pooling `gap` or `gmp` of a checkpoint that does not contain it.
        names: Text file with the names of the classes, one a line.
        ask: Question for a run of `sonjit train vqa`, whose answers are the classes.
        top: Number of most probable classes.
        boxes: Draw the box around the largest part of each class's map.
        backprop: Draw the gradient's saliency next to each class's map.
        truth: COCO file with boxes to draw in the images with the same file names.
        device: Device: for hands see `create_detector`, for classifiers `torch_device`.
    """

    targets: tuple[str, ...] | None = None
    model: str = "full"
    hand: int | None = None
    max_instances: int = 2
    mirrored: bool = False
    models_dir: str | None = None
    landmark_model: str | None = None
    weights: str | None = None
    pooling: str | None = None
    names: str | None = None
    ask: str | None = None
    top: int = 1
    boxes: bool = False
    backprop: bool = False
    truth: str | None = None
    device: str = "cpu"

    @property
    def of_classes(self) -> bool:
        """Whether the model is a classifier."""
        return self.model.startswith(CLASSIFIERS)

    def count_text(self, count: int) -> str:
        """Return a number of maps, or a text that no hand was found."""
        nothing = "no hand found" if self.hand is None else f"no hand {self.hand} found"
        return pluralize(count, "map") if count else nothing

    @property
    def files(self) -> tuple[str, ...]:
        """Networks, folders of networks, names of classes and labelled boxes."""
        weights = _parts(self.weights or "")
        return tuple(path for path in (self.models_dir, self.landmark_model, *weights, self.names, self.truth) if path)

    def open(self, *, is_stream: bool) -> ExplainWorker:
        """Load the networks."""
        return ExplainWorker(self, is_stream=is_stream)

    def open_table(self, save: str, source: Source) -> RecordTable:
        """Open a table with a record per image, and a row per hand and target or per class."""
        columns = _FRAME | (_CLASS if self.of_classes else _HAND | _TARGET)
        name = self.model if self.of_classes else f"hands-{self.model}"
        return RecordTable(save, table_header(source, name), columns, _rows, _set_index)

    def explainer(self, *, still: bool) -> HandSaliency | ClassSaliency:
        """Load the networks of an explainer.

        Args:
            still: Explain independent images, not streams.
        """
        if self.of_classes:
            return _classifiers(self)
        from sonjit.detectors import create_detector
        from sonjit.detectors.hand_saliency import load_hand_explainer

        shared: dict[str, Any] = {
            "models_dir": self.models_dir, "landmark_model": self.landmark_model, "mirrored": self.mirrored,
            "device": self.device,
        }  # fmt: skip
        explainer = load_hand_explainer(self.model, **shared)
        targets = self.targets or ("handedness",)
        for target in targets:
            explainer.check(target)
        detector = create_detector(
            "hands",
            model=self.model,
            max_instances=self.max_instances,
            static_image=still,
            smoothing="published",
            **shared,
        )
        return HandSaliency(detector, explainer, targets, number=self.hand)


class ExplainWorker(Worker[Explained]):
    """Loaded networks, with what explains them.

    Args:
        task: Description of the work.
        is_stream: Track hands in videos and cameras.
    """

    def __init__(self, task: Explain, *, is_stream: bool) -> None:
        super().__init__()
        self._task = task
        self._explainer = task.explainer(still=not is_stream)

    def start(self, source: Source, outputs: Outputs, files: ExitStack) -> None:
        """Open table and drawing."""
        self._explainer.reset()
        self._source = source
        self._lines: list[str] = []
        self._true = _true_boxes(Path(self._task.truth), Path(source.name)) if self._task.truth else {}
        self._table = self._drawing = None
        if outputs.save is not None:
            self._table = files.enter_context(self._task.open_table(outputs.save, source))
        if outputs.draw is not None:
            self._drawing = files.enter_context(self.open_drawing(outputs.draw, source, outputs))

    def process(self, frame: SourceFrame) -> Explained:
        """Explain an image."""
        name = Path(self._source.frame_source(frame.index) or str(self._source.name)).name if self._true else ""
        true = self._true.get(name, ())
        explained = self._explainer.explain(frame.rgb, frame.time, draw=self._drawing is not None, true=true)
        self._lines = explained.lines
        return explained

    def count(self, item: Explained) -> int:
        """Return the number of maps."""
        return len(item.lines)

    def write(self, frame: SourceFrame, item: Explained) -> None:
        """Write the maps into table and drawing."""
        if self._table is not None:
            name = self._source.frame_source(frame.index)
            about = {"index": frame.index, "time": frame.time} | ({"source": name} if name else {})
            self._table.write(about | item.record)
        if self._drawing is not None and item.drawn is not None:
            self._drawing.write(item.drawn, frame.time, index=frame.index, under=frame)

    def report(self, summary: Summary) -> None:
        """Add the maps of the last image in words."""
        summary.lines = self._lines

    def close(self) -> None:
        """Free the networks."""
        self._explainer.close()


def _set_index(record: Record, index: int, source: str | None) -> Record:
    """Return the record of one of several images."""
    rest = {name: value for name, value in record.items() if name not in ("index", "time", "source")}
    return {"index": index, "time": None} | ({"source": source} if source else {}) | rest


def _rows(record: Record) -> list[Record]:
    """Return a row per hand and target or per class, or one with only the frame."""
    frame = {"frame": record["index"], "time": record["time"], "source": record.get("source")}
    rows = [frame | found for found in record.get("classes", [])]
    for number, hand in enumerate(record.get("hands", [])):
        rows += [frame | {"instance": number} | hand | target for target in hand["maps"]]
    return rows or [frame]


def _classifiers(task: Explain) -> ClassSaliency:
    """Load classifiers. Runs of `sonjit train cam` contain their classes and size."""
    from sonjit.lab.networks.answers import load_answerer
    from sonjit.lab.networks.classifiers import load_classifier

    models, weights = _parts(task.model), _parts(task.weights or "")
    if weights and len(weights) != len(models):
        raise InputError(
            f"--weights: {len(weights)} files for {len(models)} networks. List one per network, separated by commas"
        )
    device = torch_device(task.device)
    pairs = list(zip(models, weights or [None] * len(models), strict=True))
    if task.ask is None:
        classifiers = [load_classifier(name, path, task.pooling) for name, path in pairs]
    else:
        if unsupported := [f"--{name}" for name in ("pooling", "names") if getattr(task, name) is not None]:
            raise InputError(f"{', '.join(unsupported)} cannot be combined with --ask")
        classifiers = [load_answerer(name, path).classifier_for(task.ask) for name, path in pairs]
    for classifier in classifiers:
        classifier.network.to(device)
    names = _lines(Path(task.names)) if task.names else []
    return ClassSaliency(
        classifiers, names, targets=task.targets, top=task.top, boxes=task.boxes, backprop=task.backprop
    )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _true_boxes(path: Path, source: Path) -> dict[str, list[Box]]:
    """Return the boxes of a COCO file for the images of a source, by their file names without folders."""
    from sonjit.lab.datasets import open_dataset

    data = open_dataset("folder", path, images=str(source if source.is_dir() else source.parent))
    return {Path(s.id).name: [item.box for item in s.instances if item.box is not None] for s in data}


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as names of classes ({error})") from None
