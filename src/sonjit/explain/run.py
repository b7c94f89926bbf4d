"""An input explained image by image: maps over it, and a file of maps and numbers."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonjit.errors import InputError
from sonjit.explain.explainers import ClassesExplained, Explained, HandsExplained
from sonjit.media import open_drawing_writer
from sonjit.runs.processor import Outputs, Pass, Processor, StillAndStream, Summary, counted, table_header
from sonjit.runs.records import RecordTable

if TYPE_CHECKING:
    from sonjit.explain.explainers import Explainer
    from sonjit.media import Source, SourceFrame
    from sonjit.runs.records import ColumnType, Record

_FRAME: dict[str, ColumnType] = {"frame": int, "time": float, "source": str}
_HAND: dict[str, ColumnType] = {"instance": int, "handedness": str, "score": float, "id": int}
_TARGET: dict[str, ColumnType] = {"target": str, "value": float, "unit": str, "bias": float, "box": str, "map": str}
_CLASS: dict[str, ColumnType] = {
    "class": str, "label": int, "probability": float, "score": float, "bias": float, "box": str, "map": str,
}  # fmt: skip


@dataclass(frozen=True)
class Explain(Processor):
    """Show which parts of images are evidence for an output.

    Attributes:
        targets: of a hand's landmark network, or classes by name or number; None for the usual ones.
        model: of hands `full` or `lite`, or a classifier such as `cam-small`.
        hand: only this one, counted from 1.
        max_instances: how many hands to look for.
        mirrored: the images are selfie views.
        models_dir: folder with the published weight files.
        landmark_model: hand landmark network of one's own.
        weights: checkpoint of the classifier.
        names: text file with the classes' names, one a line.
        top: how many of the most probable classes.
        boxes: draw the box around the largest part of each class's map.
        backprop: draw the gradient's saliency beside each class's map.
    """

    targets: tuple[str, ...] | None = None
    model: str = "full"
    hand: int | None = None
    max_instances: int = 2
    mirrored: bool = False
    models_dir: str | None = None
    landmark_model: str | None = None
    weights: str | None = None
    names: str | None = None
    top: int = 1
    boxes: bool = False
    backprop: bool = False

    @property
    def of_classes(self) -> bool:
        """Whether a classifier is explained."""
        return self.model.startswith("cam-")

    def found(self, count: int) -> str:
        """So many maps, or that there was no hand."""
        nothing = "no hand found" if self.hand is None else f"no hand {self.hand} found"
        return counted(count, "map", "maps") if count else nothing

    def load(self) -> _Explaining:
        """Nothing yet: stills and streams want other explainers."""
        return _Explaining(self)

    def open_table(self, save: str, source: Source) -> RecordTable:
        """A record per image; a row per hand and target, or per class."""
        columns = _FRAME | (_CLASS if self.of_classes else _HAND | _TARGET)
        name = self.model if self.of_classes else f"hands-{self.model}"
        return RecordTable(save, table_header(source, name), columns, _rows, _placed)

    def explainer(self, *, still: bool) -> Explainer:
        """What explains images that stand alone or follow each other; its networks are loaded."""
        if self.of_classes:
            return _classifier(self)
        from sonjit.detectors import create_detector
        from sonjit.explain.hands import load_hand_explainer

        shared: dict[str, Any] = {
            "models_dir": self.models_dir, "landmark_model": self.landmark_model, "mirrored": self.mirrored,
        }  # fmt: skip
        explainer = load_hand_explainer(self.model, **shared)
        targets = self.targets or ("handedness",)
        for target in targets:
            explainer.check(target)
        detector = create_detector(
            "hands", model=self.model, max_instances=self.max_instances, static_image=still, **shared
        )
        return HandsExplained(detector, explainer, targets, number=self.hand)


class _Explaining(StillAndStream["Explainer"]):
    def __init__(self, processor: Explain) -> None:
        super().__init__()
        self._processor = processor

    def open(self, *, still: bool) -> Explainer:
        return self._processor.explainer(still=still)

    def begin(self, source: Source, outputs: Outputs) -> _ExplainPass:
        return _ExplainPass(self._processor, self.fresh(source), source, outputs)


class _ExplainPass(Pass[Explained]):
    def __init__(self, processor: Explain, explainer: Explainer, source: Source, outputs: Outputs) -> None:
        super().__init__()
        self._source, self._explainer = source, explainer
        self._table = self._drawing = None
        self._lines: list[str] = []
        with ExitStack() as stack:
            if outputs.save is not None:
                self._table = stack.enter_context(processor.open_table(outputs.save, source))
            if outputs.draw is not None:
                self._drawing = stack.enter_context(open_drawing_writer(outputs.draw, source))
            self.outputs = stack.pop_all()

    def process(self, frame: SourceFrame) -> Explained:
        explained = self._explainer.explain(frame.rgb, frame.time, draw=self._drawing is not None)
        self._lines = explained.lines
        return explained

    def count(self, result: Explained) -> int:
        return len(result.lines)

    def write(self, frame: SourceFrame, result: Explained) -> None:
        if self._table is not None:
            name = self._source.frame_source(frame.index)
            about = {"index": frame.index, "time": frame.time} | ({"source": name} if name else {})
            self._table.write(about | result.record)
        if self._drawing is not None and result.drawn is not None:
            self._drawing.write(result.drawn, frame.time, index=frame.index)

    def report(self, summary: Summary) -> None:
        summary.lines = self._lines


def _placed(record: Record, index: int, source: str | None) -> Record:
    """The record of a still as one of many."""
    rest = {name: value for name, value in record.items() if name not in ("index", "time", "source")}
    return {"index": index, "time": None} | ({"source": source} if source else {}) | rest


def _rows(record: Record) -> list[Record]:
    """A row per hand and target or per class; one with the frame alone where there is none."""
    frame = {"frame": record["index"], "time": record["time"], "source": record.get("source")}
    rows = [frame | one for one in record.get("classes", [])]
    for number, hand in enumerate(record.get("hands", [])):
        rows += [frame | {"instance": number} | hand | one for one in hand["maps"]]
    return rows or [frame]


def _classifier(asked: Explain) -> ClassesExplained:
    """The classifier in a checkpoint; what `sonjit train cam` wrote beside it says its classes and size."""
    from sonjit.networks import create_network, load_checkpoint, network_entry

    name = asked.model
    size = network_entry(name).inputs[0].shape[-1]
    if asked.weights is None:
        raise InputError(f"{name}: name its checkpoint with --weights; untrained, its maps mean nothing")
    path = Path(asked.weights)
    held = {key.removeprefix("module."): value for key, value in load_checkpoint(path).items()}
    head = held.get("head.weight", held.get("fc.weight") if name.startswith("cam-resnet") else None)
    if head is None:
        raise InputError(f"{path}: holds no layer of classes for {name}; train it first")
    settings = _settings_beside(path)
    pooling = settings.get("pooling", "gap")
    network = create_network(name, path, classes=len(head), pooling=pooling).eval()
    known: list[str] = _lines(Path(asked.names)) if asked.names else list(settings.get("classes", []))
    classes = None if asked.targets is None else [_class_number(one, known, len(head)) for one in asked.targets]
    return ClassesExplained(
        network, int(settings.get("size", size)), known, classes=classes, top=asked.top, boxes=asked.boxes,
        backprop=asked.backprop,
    )  # fmt: skip


def _settings_beside(path: Path) -> dict[str, Any]:
    file = path.with_name("settings.json")
    try:
        return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); remove it or copy it again") from None


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as names of classes, one a line ({error})") from None


def _class_number(wanted: str, names: list[str], count: int) -> int:
    if wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and int(wanted) < count:
        return int(wanted)
    known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else f"0 to {count - 1}"
    raise InputError(f"--of {wanted}: no such class; known: {known}")
