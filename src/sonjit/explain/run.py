"""An input explained image by image: maps over it, and a file of maps and numbers.

Hands are explained by their landmark network, images by a classifier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import Float32Array, Image
from sonjit.detectors import Detector
from sonjit.engines.devices import torch_device
from sonjit.errors import InputError
from sonjit.explain.hands import HandExplainer, TargetMap
from sonjit.explain.overlay import draw_boxes, draw_outline, enlarge, grid, overlay, panel, place, side_by_side
from sonjit.media import Source, SourceFrame, open_drawing_writer
from sonjit.media.drawing.strokes import draw_captions
from sonjit.media.tables.base import ColumnType
from sonjit.metrics.localization import box_from_map
from sonjit.results import Box, Hand
from sonjit.runs.processor import Outputs, Pass, Processor, StillAndStream, Summary, counted, table_header
from sonjit.runs.records import Record, RecordTable

if TYPE_CHECKING:
    from sonjit.networks.classifiers import Classifier


class Explained(NamedTuple):
    """What explains one image.

    Attributes:
        record: for files of results, such as `{"hands": [...]}`.
        lines: in words, one line for each thing that was explained.
        drawn: (H, W', 3) uint8, a panel per target side by side; None where no drawing was asked for.
    """

    record: dict[str, Any]
    lines: list[str]
    drawn: NDArray[np.uint8] | None


class Explainer(Protocol):
    """Explains images, one after the other."""

    def explain(self, rgb: Image, time: float | None, *, draw: bool, true: Sequence[Box] = ()) -> Explained:
        """Explain an image (H, W, 3); `time` in seconds, None for a still; `true` are labelled boxes, to draw."""
        ...

    def reset(self) -> None:
        """The next image follows no other."""
        ...

    def close(self) -> None:
        """Free the networks."""
        ...


class HandsExplained:
    """Finds hands and explains the landmark network's outputs for each.

    Args:
        detector: of hands.
        explainer: of their landmark network.
        targets: names that it knows.
        number: only this hand, counted from 1 in the detector's order; all of them where None.
    """

    def __init__(
        self, detector: Detector[Any], explainer: HandExplainer, targets: Sequence[str], *, number: int | None = None
    ) -> None:
        self._detector, self._explainer = detector, explainer
        self._targets, self._number = targets, number

    def explain(self, rgb: Image, time: float | None, *, draw: bool, true: Sequence[Box] = ()) -> Explained:
        """One line per hand and target, one panel per target."""
        hands: list[Hand] = self._detector.detect(rgb, time=time)
        if self._number is not None:
            hands = hands[self._number - 1 : self._number]
        maps = [self._explainer.explain(rgb, hand, self._targets) for hand in hands]
        record = {
            "hands": [
                {
                    "handedness": hand.handedness,
                    "score": hand.score,
                    "id": hand.id,
                    "maps": [_to_dict(m) for m in of_hand],
                }
                for hand, of_hand in zip(hands, maps, strict=True)
            ]
        }
        lines = [
            f"{hand.handedness} hand {hand.score:.2f}: {_line(one)}"
            for hand, of_hand in zip(hands, maps, strict=True)
            for one in of_hand
        ]
        drawn = self._panels(rgb, hands, maps, true) if draw else None
        return Explained(record, lines, drawn)

    def reset(self) -> None:
        """Track no hand of the images before."""
        self._detector.reset()

    def close(self) -> None:
        """Free the networks."""
        self._detector.close()

    def _panels(self, rgb: Image, hands: list[Hand], maps: list[list[TargetMap]], true: Sequence[Box]) -> Image:
        height, width = rgb.shape[:2]
        panels: list[NDArray[np.uint8]] = []
        for number in range(len(self._targets)):
            canvas = rgb.copy()
            for of_hand in maps:
                canvas = overlay(canvas, place(of_hand[number].values, of_hand[number].box, width, height))
                draw_outline(canvas, of_hand[number].box)
            captions = [
                f"{hand.handedness}: {_short(of_hand[number])}" for hand, of_hand in zip(hands, maps, strict=True)
            ]
            draw_captions(canvas, captions or ["no hand found"])
            draw_boxes(canvas, true=true)
            panels.append(canvas)
        return side_by_side(panels)


class ClassesExplained:
    """Explains the classes of whole images, by one network or by several beside each other.

    Args:
        classifiers: as `load_classifier` gives them.
        names: of the classes, where the networks' own are not meant; their numbers where nobody names them.
        wanted: names or numbers of the classes to explain; the `top` most probable where None.
        top: how many, where no classes are given.
        boxes: draw the box around the largest part above 20 % of each map's maximum.
        backprop: draw the baseline's saliency beside each map, or below it where there are several networks; of a
            network without maps it is drawn anyway.

    Raises:
        InputError: a class that a network does not have.
    """

    def __init__(
        self,
        classifiers: Sequence[Classifier],
        names: Sequence[str] = (),
        *,
        wanted: Sequence[str] | None = None,
        top: int = 1,
        boxes: bool = False,
        backprop: bool = False,
    ) -> None:
        self._classifiers, self._top, self._boxes, self._backprop = classifiers, top, boxes, backprop
        self._names = [list(names or one.names) for one in classifiers]
        self._classes = [
            None if wanted is None else [_class_number(name, known, len(one.ids)) for name in wanted]
            for one, known in zip(classifiers, self._names, strict=True)
        ]

    def explain(self, rgb: Image, time: float | None, *, draw: bool, true: Sequence[Box] = ()) -> Explained:
        """One line and one panel per class and network."""
        parts = [self._of(number, rgb, true, draw=draw) for number in range(len(self._classifiers))]
        records = [record for part in parts for record in part.records]
        lines = [line for part in parts for line in part.lines]
        if not draw:
            return Explained({"classes": records}, lines, None)
        if len(parts) == 1:
            return Explained({"classes": records}, lines, side_by_side(parts[0].panels))
        return Explained({"classes": records}, lines, grid(list(zip(*(part.panels for part in parts), strict=True))))

    def _of(self, number: int, rgb: Image, true: Sequence[Box], *, draw: bool) -> _OfNetwork:
        """What one network says; as many panels whichever it is, where several are compared."""
        from sonjit.explain.classes import explain_classes, saliency_of_classes

        classifier, names = self._classifiers[number], self._names[number]
        several = len(self._classifiers) > 1
        title = f"{classifier.network.name.partition('-')[2]}: " if several else ""
        height, width = rgb.shape[:2]
        asked = rgb, classifier.size, self._classes[number], self._top
        has_maps = classifier.pooling is not None
        found = (explain_classes if has_maps else saliency_of_classes)(classifier.network, *asked)
        labels = [one.label for one in found]
        compared = found
        if has_maps and self._backprop and draw:
            compared = saliency_of_classes(classifier.network, rgb, classifier.size, labels)
        of = _OfNetwork([], [], [])
        for one, saliency in zip(found, compared, strict=True):
            name = names[one.label] if one.label < len(names) else f"class {one.label}"
            large = enlarge(one.values, width, height)
            box = box_from_map(large)
            of.records.append({
                **({"network": classifier.network.name} if several else {}),
                "class": name, "label": one.label, "probability": one.probability, "score": one.score,
                "bias": one.bias if has_maps else None,
                "box": None if box is None else dict(zip(("xMin", "yMin", "xMax", "yMax"), box, strict=True)),
                "map": one.values.tolist(),
            })  # fmt: skip
            of.lines.append(f"{title}{name} {one.probability:.2f}: score {one.score:.4g}")
            if not draw:
                continue
            shown = f"{title}{name} {one.probability:.2f}"
            if has_maps:
                of.panels.append(self._panel(rgb, large, shown, true))
            elif several and self._backprop:
                of.panels.append(self._panel(rgb, np.full((height, width), np.nan, np.float32), f"{shown}: no map", ()))
            if self._backprop or not has_maps:
                of.panels.append(self._panel(rgb, enlarge(saliency.values, width, height), f"{shown}, backprop", true))
        return of

    def _panel(self, rgb: Image, values: Float32Array, title: str, true: Sequence[Box]) -> Image:
        drawn = panel(rgb, values, title)
        box = box_from_map(values) if self._boxes else None
        draw_boxes(drawn, true=true, predicted=[] if box is None else [box])
        return drawn

    def reset(self) -> None:
        """Every image stands alone."""

    def close(self) -> None:
        """Nothing is held but the networks."""


class _OfNetwork(NamedTuple):
    records: list[dict[str, object]]
    lines: list[str]
    panels: list[NDArray[np.uint8]]


def _to_dict(one: TargetMap) -> dict[str, object]:
    return {
        "target": one.target, "value": one.value, "unit": one.unit, "bias": one.bias,
        "box": one.box._asdict(), "map": one.values.tolist(),
    }  # fmt: skip


def _short(one: TargetMap) -> str:
    """The value, and its probability.

    A logit is that of the person's right hand, so a left one's is negative.
    """
    share = f" (p {1 / (1 + math.exp(-one.value)):.2f})" if one.unit == "logit" else f" {one.unit}"
    return f"{one.target} {one.value:.4g}{share}"


def _line(one: TargetMap) -> str:
    return f"{_short(one)} = mean of the map {one.values.mean(dtype=np.float64):.4g} + bias {one.bias:.4g}"


_FRAME: dict[str, ColumnType] = {"frame": int, "time": float, "source": str}
_HAND: dict[str, ColumnType] = {"instance": int, "handedness": str, "score": float, "id": int}
_TARGET: dict[str, ColumnType] = {"target": str, "value": float, "unit": str, "bias": float, "box": str, "map": str}
CLASSIFIERS = ("cam-", "fc-")
"""How names of classifiers begin; `is_classifier` would need PyTorch."""

_CLASS: dict[str, ColumnType] = {
    "network": str, "class": str, "label": int, "probability": float, "score": float, "bias": float, "box": str,
    "map": str,
}  # fmt: skip


@dataclass(frozen=True)
class Explain(Processor):
    """Show which parts of images are evidence for an output.

    Attributes:
        targets: of a hand's landmark network, or classes by name or number; None for the usual ones.
        model: of hands `full` or `lite`, or a classifier such as `cam-small`; several with commas.
        hand: only this one, counted from 1.
        max_instances: how many hands to look for.
        mirrored: the images are selfie views.
        models_dir: folder with the published weight files.
        landmark_model: hand landmark network of your own.
        weights: checkpoint of the classifier, or run of `sonjit train cam`; with commas as many as classifiers.
        pooling: `gap` or `gmp`, of a checkpoint that does not say it.
        names: text file with the classes' names, one a line.
        ask: question whose answers are the classes, of a run of `sonjit train vqa`.
        top: how many of the most probable classes.
        boxes: draw the box around the largest part of each class's map.
        backprop: draw the gradient's saliency beside each class's map.
        truth: COCO file whose boxes are drawn, those of the image with the same file name.
        device: where networks run: of hands see `create_detector`, of classifiers `torch_device`.
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
        """Whether a classifier is explained."""
        return self.model.startswith(CLASSIFIERS)

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
            return _classifiers(self)
        from sonjit.detectors import create_detector
        from sonjit.explain.hands import load_hand_explainer

        shared: dict[str, Any] = {
            "models_dir": self.models_dir, "landmark_model": self.landmark_model, "mirrored": self.mirrored,
            "device": self.device,
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
        self._true = _true_boxes(Path(processor.truth), Path(source.name)) if processor.truth else {}
        with ExitStack() as stack:
            if outputs.save is not None:
                self._table = stack.enter_context(processor.open_table(outputs.save, source))
            if outputs.draw is not None:
                drawing = open_drawing_writer(outputs.draw, source)
                self._drawing = stack.enter_context(self.beside_others(drawing, outputs.draw, outputs))
            self.outputs = stack.pop_all()

    def process(self, frame: SourceFrame) -> Explained:
        name = Path(self._source.frame_source(frame.index) or str(self._source.name)).name if self._true else ""
        true = self._true.get(name, ())
        explained = self._explainer.explain(frame.rgb, frame.time, draw=self._drawing is not None, true=true)
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
            self._drawing.write(result.drawn, frame.time, index=frame.index, under=frame)

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


def _classifiers(asked: Explain) -> ClassesExplained:
    """The classifiers in checkpoints; what `sonjit train cam` wrote beside them says their classes and size."""
    from sonjit.networks.answers import load_answerer
    from sonjit.networks.classifiers import load_classifier

    models, weights = _parts(asked.model), _parts(asked.weights or "")
    if weights and len(weights) != len(models):
        raise InputError(f"--weights: {len(weights)} files for {len(models)} networks; give one each, with commas")
    device = torch_device(asked.device)
    pairs = list(zip(models, weights or [None] * len(models), strict=True))
    if asked.ask is None:
        classifiers = [load_classifier(name, path, asked.pooling) for name, path in pairs]
    else:
        if given := [f"--{name}" for name in ("pooling", "names") if getattr(asked, name) is not None]:
            raise InputError(f"{', '.join(given)}: a run of sonjit train vqa says that itself; leave it out with --ask")
        classifiers = [load_answerer(name, path).asked(asked.ask) for name, path in pairs]
    for one in classifiers:
        one.network.to(device)
    known = _lines(Path(asked.names)) if asked.names else []
    return ClassesExplained(
        classifiers, known, wanted=asked.targets, top=asked.top, boxes=asked.boxes, backprop=asked.backprop
    )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _true_boxes(path: Path, source: Path) -> dict[str, list[Box]]:
    """The boxes of a COCO file, whose images are the source's, by their file names without folders."""
    from sonjit.datasets import open_dataset

    data = open_dataset("folder", path, images=str(source if source.is_dir() else source.parent))
    return {Path(sample.id).name: [one.box for one in sample.instances if one.box is not None] for sample in data}


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
