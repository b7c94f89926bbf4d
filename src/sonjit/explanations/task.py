"""Explain the hands or the classes of images: the task of `sonjit explain`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from sonjit._util import Image, data_files, pluralize
from sonjit._util.extensions import find_function
from sonjit._util.records import field, numbers_of
from sonjit.detectors import Detector
from sonjit.detectors.create import detector_from
from sonjit.detectors.kinds import options_for
from sonjit.detectors.options import is_still
from sonjit.explanations.hand_saliency import HandExplainer, TargetMap, load_hand_explainer
from sonjit.explanations.imagenet import IMAGE_MODELS, ClassMap, ImageClassifier, class_index
from sonjit.geometry.boxes import box_around
from sonjit.media import Anonymise, Source, SourceFrame
from sonjit.media.drawing.heat_maps import (
    corners_of,
    draw_boxes,
    draw_colour_bar,
    draw_outline,
    enlarge,
    grid,
    overlay,
    panel,
    place,
    side_by_side,
)
from sonjit.media.drawing.labels import Label, draw_captions, draw_labels
from sonjit.media.drawing.strokes import NEUTRAL
from sonjit.media.sources.base import SourceKind
from sonjit.media.tables.base import ColumnType
from sonjit.results import Box, Hand
from sonjit.runs.frame_tables import Record, RecordTable
from sonjit.runs.session import Omitted
from sonjit.runs.task import Outputs, Summary, Task, Worker

_FRAME: dict[str, ColumnType] = {"frame": int, "time": float, "source": str}
_HAND: dict[str, ColumnType] = {"instance": int, "handedness": str, "score": float, "id": int}
_TARGET: dict[str, ColumnType] = {"target": str, "value": float, "unit": str, "bias": float, "box": str, "map": str}
CLASSIFIERS = ("cam-", "fc-")  # prefixes of the names of classifiers of your own. `is_classifier` would need PyTorch.
_OF_HAND = re.compile(r"handedness|presence|\w+\.[xyz](_m)?")  # outputs of the hand landmark network
_CLASS: dict[str, ColumnType] = {
    "network": str,
    "class": str,
    "label": int,
    "probability": float,
    "score": float,
    "bias": float,
    "box": str,
    "map": str,
}


class Explained(NamedTuple):
    """Explanation of an image: its JSON record, one line per output, and panels (H, W', 3) if they are drawn."""

    record: dict[str, object]
    lines: list[str]
    drawn: NDArray[np.uint8] | None


class HandSaliency:
    """Detect hands and explain the outputs of the landmark network for hand `number`, from 1, or for all."""

    def __init__(
        self, detector: Detector[Any], explainer: HandExplainer, targets: Sequence[str], *, number: int | None = None
    ) -> None:
        self._detector, self._explainer = detector, explainer
        self._targets, self._number = targets, number
        self.omitted = Omitted()

    def explain(self, rgb: Image, time: float | None, shown: Image | None, true: Sequence[Box] = ()) -> Explained:
        """Explain an image (H, W, 3).

        The record has a line per hand and target. A panel per target is over the image `shown`, if it is given.
        """
        detections = self._detector.detect(rgb, time=time)
        self.omitted.add(len(detections), detections.total, time)
        hands: list[Hand] = detections
        if self._number is not None:
            hands = hands[self._number - 1 : self._number]
        maps = [self._explainer.explain(rgb, hand, self._targets) for hand in hands]
        records = [
            {"handedness": hand.handedness, "score": hand.score, "id": hand.id, "maps": [*map(_to_dict, of_hand)]}
            for hand, of_hand in zip(hands, maps, strict=True)
        ]
        lines = [
            f"{hand.handedness} hand {hand.score:.2f}: {_short(target)} = "
            f"mean of the map {target.values.mean(dtype=np.float64):.4g} + bias {target.bias:.4g}"
            for hand, of_hand in zip(hands, maps, strict=True)
            for target in of_hand
        ]
        drawn = None if shown is None else self._panels(shown, hands, maps, true)
        return Explained({"hands": records}, lines, drawn)

    def reset(self) -> None:
        """Forget the tracked hands."""
        self._detector.reset()
        self.omitted = Omitted()

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
            if not hands:
                draw_captions(canvas, ["no hand found"])
            draw_boxes(canvas, true=true)
            _label_maps(canvas, hands, [of_hand[number] for of_hand in maps])
            panels.append(canvas)
        return side_by_side(panels)


class ClassModel(Protocol):
    """A classifier that can be explained."""

    @property
    def model(self) -> str:
        """Name of the network."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Names of the classes; empty if they are not known."""
        ...

    @property
    def ids(self) -> Sequence[int]:
        """Ids of the classes in the data set of the training."""
        ...

    @property
    def has_maps(self) -> bool:
        """Whether the network has class activation maps. Otherwise `explain` returns saliency by backprop."""
        ...

    def explain(self, rgb: Image, classes: Sequence[int] | None = None, top: int = 1) -> list[ClassMap]:
        """Return the maps of classes, or of the `top` most probable ones, of an image (H, W, 3), uint8 RGB."""
        ...


class BackpropModel(ClassModel, Protocol):
    """A classifier that also computes saliency from the gradients of its scores."""

    def saliency(self, rgb: Image, classes: Sequence[int]) -> list[ClassMap]:
        """Return the saliency of classes of an image (H, W, 3), uint8 RGB."""
        ...


class ClassSaliency:
    """Explain the classes of images with one classifier, or compare several.

    `targets`: names or numbers of classes; None for the `top` most probable; `boxes`: draw the box around the largest
    part above 20 % of each map's maximum; `saliency`: the same classifiers if the saliency by backprop is drawn next to
    each map, or below it if there are several networks. Networks without maps always have it.
    """

    def __init__(
        self,
        classifiers: Sequence[ClassModel],
        *,
        targets: Sequence[str] | None = None,
        top: int = 1,
        boxes: bool = False,
        saliency: Sequence[BackpropModel] = (),
    ) -> None:
        self._classifiers = classifiers
        self._top = top
        self._boxes = boxes
        self._saliency = saliency
        self._names = [list(classifier.names) for classifier in classifiers]
        self._classes = [
            None if targets is None else [class_index(target, class_names, len(classifier.ids)) for target in targets]
            for classifier, class_names in zip(classifiers, self._names, strict=True)
        ]

    def explain(self, rgb: Image, time: float | None, shown: Image | None, true: Sequence[Box] = ()) -> Explained:
        """Explain an image (H, W, 3).

        The record has a line per class and network. A panel is over the image `shown`, if it is given.
        """
        explanations = [self._explain_network(number, rgb, shown, true) for number in range(len(self._classifiers))]
        records = [record for part, _, _ in explanations for record in part]
        lines = [line for _, part, _ in explanations for line in part]
        if shown is None:
            return Explained({"classes": records}, lines, None)
        if len(explanations) == 1:
            return Explained({"classes": records}, lines, side_by_side(explanations[0][2]))
        return Explained(
            {"classes": records}, lines, grid(list(zip(*(panels for _, _, panels in explanations), strict=True)))
        )

    def _explain_network(
        self, number: int, rgb: Image, shown: Image | None, true: Sequence[Box]
    ) -> tuple[list[dict[str, object]], list[str], list[Image]]:
        """Return records, lines and panels of one network. Each network of a comparison has equally many panels."""
        classifier, names = self._classifiers[number], self._names[number]
        several = len(self._classifiers) > 1
        height, width = rgb.shape[:2]
        network = classifier.model
        has_maps = classifier.has_maps
        has_saliency = bool(self._saliency)
        class_maps = compared = classifier.explain(rgb, self._classes[number], self._top)
        if has_maps and has_saliency and shown is not None:
            compared = self._saliency[number].saliency(rgb, [class_map.label for class_map in class_maps])
        title = f"{network.partition('-')[2] or network}: " if several else ""
        records: list[dict[str, object]] = []
        lines: list[str] = []
        panels: list[Image] = []
        for class_map, saliency in zip(class_maps, compared, strict=True):
            name = names[class_map.label] if class_map.label < len(names) else f"class {class_map.label}"
            box = class_map.box
            records.append(
                {
                    **({"network": network} if several else {}),
                    "class": name,
                    "label": class_map.label,
                    "probability": class_map.probability,
                    "score": class_map.score,
                    "bias": class_map.bias if has_maps else None,
                    "box": None if box is None else dict(zip(("xMin", "yMin", "xMax", "yMax"), box, strict=True)),
                    "map": class_map.values.tolist(),
                }
            )
            lines.append(f"{title}{name} {class_map.probability:.2f}: score {class_map.score:.4g}")
            if shown is None:
                continue
            heading = f"{title}{name} {class_map.probability:.2f}"
            if has_maps:
                panels.append(self._panel(shown, class_map, heading, true))
            elif several and has_saliency:
                blank = np.full((height, width), np.nan, np.float32)
                panels.append(panel(shown, blank, f"{heading}: no map"))
            if has_saliency or not has_maps:
                panels.append(self._panel(shown, saliency, f"{heading}, backprop", true))
        return records, lines, panels

    def _panel(self, rgb: Image, shown: ClassMap, title: str, true: Sequence[Box]) -> Image:
        height, width = rgb.shape[:2]
        drawn = panel(rgb, enlarge(shown.values, width, height), title)
        draw_boxes(drawn, true=true, predicted=[shown.box] if self._boxes and shown.box else [])
        return drawn

    def reset(self) -> None:
        """Do nothing: images are independent."""

    def close(self) -> None:
        """Do nothing: the networks are freed with the object."""


def _to_dict(target_map: TargetMap) -> dict[str, object]:
    return {
        "target": target_map.target,
        "value": target_map.value,
        "unit": target_map.unit,
        "bias": target_map.bias,
        "box": target_map.box._asdict(),
        "map": target_map.values.tolist(),
    }


def _label_maps(canvas: Image, hands: Sequence[Hand], maps: Sequence[TargetMap]) -> None:
    """Write value and colours of a target's map next to each hand, in place."""
    titles: list[Label] = []
    ends: list[Label] = []
    for hand, target_map in zip(hands, maps, strict=True):
        area = x_min, y_min, x_max, _ = box_around(corners_of(target_map.box))
        top = np.array([(x_min + x_max) / 2, y_min])
        directions = np.array([0.0, -1.0]), np.array([-1.0, 0.0]), np.array([1.0, 0.0])
        titles.append(Label(f"{hand.handedness}: {_short(target_map)}", top, directions, NEUTRAL, x_max - x_min))
        ends += draw_colour_bar(canvas, target_map.values, area)
    draw_labels(canvas, titles + ends)


def _short(target_map: TargetMap) -> str:
    """Return the value with its unit, and the probability of a logit; handedness is positive for the right hand."""
    share = f" (p {1 / (1 + math.exp(-target_map.value)):.2f})" if target_map.unit == "logit" else f" {target_map.unit}"
    return f"{target_map.target} {target_map.value:.4g}{share}"


@Parameter(name="*")
@dataclass(frozen=True)
class Explain(Task):
    """Show which parts of images are evidence for an output.

    Attributes:
        of: Outputs to explain, with commas, shown side by side. Hands: handedness (of the person's right hand),
            presence, or a coordinate such as wrist.x in pixels of the crop or wrist.x_m in metres. Classifiers: names
            of classes, parts of them, or numbers. Default: the most probable class, or handedness for hands.
        model: efficientnet_lite0 or mobilenet_v2 for photographs; full or lite for hands; or classifiers of
            sonjit networks 'cam-*' or 'fc-*', with commas. Default: full for outputs and options of hands, or else
            efficientnet_lite0.
        hand: Number of the hand to explain, counted from 1. Default: all hands.
        max_instances: Maximum number of hands.
        mirrored: Treat the input as a selfie view.
        models_dir: Folder with the published weight files.
        landmark_model: File of a custom hand landmark network.
        weights: Folder of a run of sonjit train cam, or checkpoint of the classifier such as torchvision's. For several
            classifiers, one for each, separated by commas.
        pooling: Pooling of a checkpoint that does not contain it: gap (mean) or gmp (maximum).
        names: Text file with the names of the classes, one per line. Runs of sonjit train cam contain them.
        ask: Question to answer with a run of sonjit train vqa as --weights. The classes are its answers.
        top: Number of most probable classes to explain.
        boxes: Draw a red box around the largest region above 20 % of the map of each class.
        backprop: Draw the gradient's saliency next to each class's map.
        truth: COCO file with labelled boxes, drawn in green in the images with the same file names.
        device: Device of the networks: cpu, gpu, npu or auto; for cam-* and fc-* cpu, gpu, cuda:1, mps or auto.
        anonymise: In pictures: black draws on black, blur blurs all heads that a search finds,
            persons all people. Each removes the sound.
    """

    of: str | None = None
    model: Annotated[str, Parameter(show_default=False)] = ""
    hand: int | None = None
    max_instances: int = 2
    mirrored: Annotated[bool, Parameter(negative="")] = False
    models_dir: str | None = None
    landmark_model: str | None = None
    weights: str | None = None
    pooling: Literal["gap", "gmp"] | None = None
    names: str | None = None
    ask: str | None = None
    top: int = 1
    boxes: Annotated[bool, Parameter(negative="")] = False
    backprop: Annotated[bool, Parameter(negative="")] = False
    truth: str | None = None
    device: str = "cpu"
    anonymise: Anonymise = "none"

    @property
    def targets(self) -> tuple[str, ...] | None:
        """The outputs to explain; None for the default ones."""
        return None if self.of is None else tuple(parts_of(self.of))

    def with_default_model(self) -> Self:
        """Return the task with a model: that of hands for their outputs and options, or that of photographs."""
        of_hands = self.hand is not None or self.max_instances != 2 or self.mirrored or self.landmark_model is not None
        of_hands = of_hands or any(_OF_HAND.fullmatch(target) for target in self.targets or ())
        return replace(self, model=self.model or ("full" if of_hands else IMAGE_MODELS[0]))

    @property
    def of_classes(self) -> bool:
        """Whether the model is a classifier."""
        return self.model.startswith((*CLASSIFIERS, *IMAGE_MODELS))

    def count_text(self, count: int) -> str:
        """Return a number of maps, or a text that no hand was found."""
        nothing = "no hand found" if self.hand is None else f"no hand {self.hand} found"
        return pluralize(count, "map") if count else nothing

    @property
    def files(self) -> tuple[str, ...]:
        """Networks, folders of networks, names of classes and labelled boxes."""
        weights = parts_of(self.weights or "")
        return tuple(path for path in (self.models_dir, self.landmark_model, *weights, self.names, self.truth) if path)

    def open(self, source: SourceKind) -> ExplainWorker:
        """Load the networks."""
        return ExplainWorker(self, source)

    def open_table(self, save: str, source: Source) -> RecordTable:
        """Open a table with a record per image, and a row per hand and target or per class."""
        columns = _FRAME | (_CLASS if self.of_classes else _HAND | _TARGET)
        name = self.model if self.of_classes else f"hands-{self.model}"
        header = {"source": source.name} | {key: getattr(source, key) for key in ("width", "height", "fps")}
        return RecordTable(save, header | {"model": name}, columns, _rows, _set_index)

    def explainer(self, *, still: bool) -> HandSaliency | ClassSaliency:
        """Load the networks, for independent images (`still`) or for streams."""
        if self.of_classes:
            return _classifiers(self)

        explainer = load_hand_explainer(
            self.model,
            models_dir=self.models_dir,
            landmark_model=self.landmark_model,
            mirrored=self.mirrored,
            device=self.device,
        )
        targets = self.targets or ("handedness",)
        for target in targets:
            explainer.check(target)
        options = options_for(
            "hands",
            model=self.model,
            max_instances=self.max_instances,
            models_dir=self.models_dir,
            landmark_model=self.landmark_model,
            mirrored=self.mirrored,
            device=self.device,
            static_image=still,
            smoothing="published",
        )
        detector = detector_from(options)
        return HandSaliency(detector, explainer, targets, number=self.hand)


class ExplainWorker(Worker[Explained]):
    """Loaded networks, with what explains them."""

    def __init__(self, task: Explain, source: SourceKind) -> None:
        super().__init__(task.anonymise, task.models_dir)
        self._task = task
        self._explainer = task.explainer(still=is_still(source))

    def start(self, source: Source, outputs: Outputs, files: ExitStack) -> None:
        """Open table and drawing."""
        self._explainer.reset()
        self._source = source
        self._lines: list[str] = []
        self._true = _true_boxes(Path(self._task.truth)) if self._task.truth else {}
        self._table = self._drawing = None
        if outputs.save is not None:
            self._table = files.enter_context(self._task.open_table(outputs.save, source))
        if outputs.draw is not None:
            self._drawing = files.enter_context(self.open_drawing(outputs.draw, source, outputs))

    def process(self, frame: SourceFrame) -> Explained:
        """Explain an image."""
        name = Path(self._source.frame_source(frame.index) or str(self._source.name)).name if self._true else ""
        true = self._true.get(name, ())
        shown = None if self._drawing is None else self.hidden.below(frame)
        explained = self._explainer.explain(frame.rgb, frame.time, shown, true)
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
        """Add the maps of the last image in words, and the number of hands that are not explained."""
        summary.lines = self._lines
        if isinstance(self._explainer, HandSaliency) and (omitted := self._explainer.omitted.text) is not None:
            summary.notes.append(f"{self._source.name}: {omitted}. Use --max-instances.")

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
    rows = [frame | class_record for class_record in record.get("classes", [])]
    for number, hand in enumerate(record.get("hands", [])):
        rows += [frame | {"instance": number} | hand | target for target in hand["maps"]]
    return rows or [frame]


def _classifiers(task: Explain) -> ClassSaliency:
    """Load classifiers."""
    models = parts_of(task.model)
    if set(models) <= set(IMAGE_MODELS) and not task.backprop:
        shipped = [ImageClassifier(name, task.models_dir, task.device) for name in models]
        return ClassSaliency(shipped, targets=task.targets, top=task.top, boxes=task.boxes)
    loaded = find_function("load_classifiers", "another classifier")(task)
    return ClassSaliency(
        loaded, targets=task.targets, top=task.top, boxes=task.boxes, saliency=loaded if task.backprop else ()
    )


def parts_of(text: str) -> list[str]:
    """Return the parts of a text that commas separate."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _true_boxes(path: Path) -> dict[str, list[Box]]:
    """Return the boxes of a COCO file by the file names of its images without folders."""
    content = data_files.read_json(path)
    names = {
        field(image, "id", str(path)): Path(field(image, "file_name", str(path))).name
        for image in field(content, "images", str(path))
    }
    boxes: dict[str, list[Box]] = {name: [] for name in names.values()}
    for index, item in enumerate(field(content, "annotations", str(path))):
        named = f"{path}: annotations[{index}]"
        x, y, width, height = numbers_of(item, "bbox", (4,), named).tolist()
        name = names.get(field(item, "image_id", named))
        if name is not None:
            boxes[name].append((x, y, x + width, y + height))
    return boxes
