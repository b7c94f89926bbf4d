"""An input explained image by image: maps over it, and a file of maps and numbers.

Hands are explained by their landmark network, images by a classifier.
"""

from __future__ import annotations

import json
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
from sonjit.explain.overlay import draw_boxes, draw_outline, enlarge, overlay, panel, place, side_by_side
from sonjit.media import Source, SourceFrame, open_drawing_writer
from sonjit.media.drawing.strokes import draw_captions
from sonjit.media.tables.base import ColumnType
from sonjit.metrics.localization import box_from_map
from sonjit.results import Hand
from sonjit.runs.processor import Outputs, Pass, Processor, StillAndStream, Summary, counted, table_header
from sonjit.runs.records import Record, RecordTable

if TYPE_CHECKING:
    from sonjit.networks import Network


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

    def explain(self, rgb: Image, time: float | None, *, draw: bool) -> Explained:
        """Explain an image (H, W, 3); `time` in seconds, None for a still."""
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

    def explain(self, rgb: Image, time: float | None, *, draw: bool) -> Explained:
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
        return Explained(record, lines, self._panels(rgb, hands, maps) if draw else None)

    def reset(self) -> None:
        """Track no hand of the images before."""
        self._detector.reset()

    def close(self) -> None:
        """Free the networks."""
        self._detector.close()

    def _panels(self, rgb: Image, hands: list[Hand], maps: list[list[TargetMap]]) -> Image:
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
            panels.append(canvas)
        return side_by_side(panels)


class ClassesExplained:
    """Explains the classes of whole images.

    Args:
        network: one of `list_networks("cam-*")`, in eval mode.
        size: side of its square input in pixels.
        names: of the classes; their numbers where there is none.
        classes: which to explain; the `top` most probable where None.
        top: how many, where no classes are given.
        boxes: draw the box around the largest part above 20 % of each map's maximum.
        backprop: draw the baseline's saliency beside each map.
    """

    def __init__(
        self,
        network: Network,
        size: int,
        names: Sequence[str] = (),
        *,
        classes: Sequence[int] | None = None,
        top: int = 1,
        boxes: bool = False,
        backprop: bool = False,
    ) -> None:
        self._network, self._size, self._names = network, size, names
        self._classes, self._top, self._boxes, self._backprop = classes, top, boxes, backprop

    def explain(self, rgb: Image, time: float | None, *, draw: bool) -> Explained:
        """One line and one panel per class."""
        from sonjit.explain.classes import explain_classes

        height, width = rgb.shape[:2]
        records: list[dict[str, object]] = []
        lines: list[str] = []
        panels: list[NDArray[np.uint8]] = []
        for one in explain_classes(self._network, rgb, self._size, self._classes, self._top):
            name = self._names[one.label] if one.label < len(self._names) else f"class {one.label}"
            large = enlarge(one.values, width, height)
            box = box_from_map(large)
            records.append({
                "class": name, "label": one.label, "probability": one.probability, "score": one.score, "bias": one.bias,
                "box": None if box is None else dict(zip(("xMin", "yMin", "xMax", "yMax"), box, strict=True)),
                "map": one.values.tolist(),
            })  # fmt: skip
            lines.append(f"{name} {one.probability:.2f}: score {one.score:.4g}")
            if draw:
                panels.append(panel(rgb, large, f"{name} {one.probability:.2f}"))
                if self._boxes and box is not None:
                    draw_boxes(panels[-1], predicted=[box])
                if self._backprop:
                    panels.append(panel(rgb, self._saliency(rgb, one.label), f"{name}, backprop"))
        return Explained({"classes": records}, lines, side_by_side(panels) if draw else None)

    def reset(self) -> None:
        """Every image stands alone."""

    def close(self) -> None:
        """Nothing is held but the network."""

    def _saliency(self, rgb: Image, label: int) -> Float32Array:
        from sonjit.explain.classes import backprop_saliency, image_tensor

        saliency = backprop_saliency(self._network, image_tensor(rgb, self._size).to(self._network.device), [label])
        return enlarge(saliency[0].cpu().numpy(), rgb.shape[1], rgb.shape[0])


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
        landmark_model: hand landmark network of your own.
        weights: checkpoint of the classifier.
        names: text file with the classes' names, one a line.
        top: how many of the most probable classes.
        boxes: draw the box around the largest part of each class's map.
        backprop: draw the gradient's saliency beside each class's map.
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
    names: str | None = None
    top: int = 1
    boxes: bool = False
    backprop: bool = False
    device: str = "cpu"

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


def _classifier(asked: Explain) -> ClassesExplained:
    """The classifier in a checkpoint; what `sonjit train cam` wrote beside it says its classes and size."""
    from sonjit.networks import create_network, load_checkpoint, network_entry

    name = asked.model
    size = network_entry(name).inputs[0].shape[-1]
    if asked.weights is None:
        raise InputError(f"{name}: name its checkpoint with --weights: {network_entry(name).where}")
    path = Path(asked.weights)
    held = {key.removeprefix("module."): value for key, value in load_checkpoint(path).items()}
    head = held.get("head.weight", held.get("fc.weight") if name.startswith("cam-resnet") else None)
    if head is None:
        raise InputError(f"{path}: holds no layer of classes for {name}; train it first")
    settings = _settings_beside(path)
    pooling = settings.get("pooling", "gap")
    network = create_network(name, path, classes=len(head), pooling=pooling).eval().to(torch_device(asked.device))
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
