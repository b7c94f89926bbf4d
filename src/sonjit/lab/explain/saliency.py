"""Explain the hands or the classes of one image: records, lines and annotated panels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Float32Array, Image
from sonjit._util.errors import InputError
from sonjit.detectors import Detector
from sonjit.detectors.hand_saliency import HandExplainer, TargetMap
from sonjit.geometry.boxes import box_around
from sonjit.lab.explain.overlay import (
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
from sonjit.lab.metrics.detection import box_from_map
from sonjit.media.drawing.strokes import NEUTRAL, Label, draw_captions, draw_labels
from sonjit.results import Box, Hand

if TYPE_CHECKING:
    from sonjit.lab.networks.classifiers import Classifier


class Explained(NamedTuple):
    """Explanation of an image.

    Attributes:
        record: JSON object for files of results, such as `{"hands": [...]}`.
        lines: Text with one line per explained output.
        drawn: Image (H, W', 3) uint8 with a panel per target; None without a drawing.
    """

    record: dict[str, Any]
    lines: list[str]
    drawn: NDArray[np.uint8] | None


class HandSaliency:
    """Detect hands and explain the outputs of the landmark network for each.

    Args:
        detector: Detector of hands.
        explainer: Explainer of their landmark network.
        targets: Names of outputs.
        number: Number of the hand to explain, counted from 1; None for all hands.
    """

    def __init__(
        self, detector: Detector[Any], explainer: HandExplainer, targets: Sequence[str], *, number: int | None = None
    ) -> None:
        self._detector, self._explainer = detector, explainer
        self._targets, self._number = targets, number

    def explain(self, rgb: Image, time: float | None, *, draw: bool, true: Sequence[Box] = ()) -> Explained:
        """Return one line per hand and target, and one panel per target."""
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
            f"{hand.handedness} hand {hand.score:.2f}: {_line(target)}"
            for hand, of_hand in zip(hands, maps, strict=True)
            for target in of_hand
        ]
        drawn = self._panels(rgb, hands, maps, true) if draw else None
        return Explained(record, lines, drawn)

    def reset(self) -> None:
        """Forget the tracked hands."""
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
            if not hands:
                draw_captions(canvas, ["no hand found"])
            draw_boxes(canvas, true=true)
            _label_maps(canvas, hands, [of_hand[number] for of_hand in maps])
            panels.append(canvas)
        return side_by_side(panels)


class ClassSaliency:
    """Explain the classes of images with one classifier, or compare several.

    Args:
        classifiers: Classifiers of `load_classifier`.
        names: Names of the classes instead of those of the classifiers.
        targets: Names or numbers of the classes to explain; None for the `top` most probable.
        top: Number of classes if none are named.
        boxes: Draw the box around the largest part above 20 % of each map's maximum.
        backprop: Draw the baseline's saliency next to each map, or below it if there are several networks. Networks
            without maps always have it.

    Raises:
        InputError: A network does not have a class.
    """

    def __init__(
        self,
        classifiers: Sequence[Classifier],
        names: Sequence[str] = (),
        *,
        targets: Sequence[str] | None = None,
        top: int = 1,
        boxes: bool = False,
        backprop: bool = False,
    ) -> None:
        self._classifiers, self._top, self._boxes, self._backprop = classifiers, top, boxes, backprop
        self._names = [list(names or classifier.names) for classifier in classifiers]
        self._classes = [
            None if targets is None else [_class_number(target, own, len(classifier.ids)) for target in targets]
            for classifier, own in zip(classifiers, self._names, strict=True)
        ]

    def explain(self, rgb: Image, time: float | None, *, draw: bool, true: Sequence[Box] = ()) -> Explained:
        """Return one line and one panel per class and network."""
        parts = [self._explain_network(number, rgb, true, draw=draw) for number in range(len(self._classifiers))]
        records = [record for part, _, _ in parts for record in part]
        lines = [line for _, part, _ in parts for line in part]
        if not draw:
            return Explained({"classes": records}, lines, None)
        if len(parts) == 1:
            return Explained({"classes": records}, lines, side_by_side(parts[0][2]))
        return Explained({"classes": records}, lines, grid(list(zip(*(panels for _, _, panels in parts), strict=True))))

    def _explain_network(
        self, number: int, rgb: Image, true: Sequence[Box], *, draw: bool
    ) -> tuple[list[dict[str, object]], list[str], list[Image]]:
        """Return records, lines and panels of one network. Each network of a comparison has equally many panels."""
        from sonjit.lab.explain.classes import explain_classes, saliency_of_classes

        classifier, names = self._classifiers[number], self._names[number]
        several = len(self._classifiers) > 1
        title = f"{classifier.network.name.partition('-')[2]}: " if several else ""
        height, width = rgb.shape[:2]
        options = rgb, classifier.size, self._classes[number], self._top
        has_maps = classifier.pooling is not None
        found = (explain_classes if has_maps else saliency_of_classes)(classifier.network, *options)
        labels = [class_map.label for class_map in found]
        compared = found
        if has_maps and self._backprop and draw:
            compared = saliency_of_classes(classifier.network, rgb, classifier.size, labels)
        records: list[dict[str, object]] = []
        lines: list[str] = []
        panels: list[Image] = []
        for class_map, saliency in zip(found, compared, strict=True):
            name = names[class_map.label] if class_map.label < len(names) else f"class {class_map.label}"
            large = enlarge(class_map.values, width, height)
            box = box_from_map(large)
            records.append({
                **({"network": classifier.network.name} if several else {}),
                "class": name, "label": class_map.label, "probability": class_map.probability, "score": class_map.score,
                "bias": class_map.bias if has_maps else None,
                "box": None if box is None else dict(zip(("xMin", "yMin", "xMax", "yMax"), box, strict=True)),
                "map": class_map.values.tolist(),
            })  # fmt: skip
            lines.append(f"{title}{name} {class_map.probability:.2f}: score {class_map.score:.4g}")
            if not draw:
                continue
            shown = f"{title}{name} {class_map.probability:.2f}"
            if has_maps:
                panels.append(self._panel(rgb, large, shown, true))
            elif several and self._backprop:
                panels.append(self._panel(rgb, np.full((height, width), np.nan, np.float32), f"{shown}: no map", ()))
            if self._backprop or not has_maps:
                panels.append(self._panel(rgb, enlarge(saliency.values, width, height), f"{shown}, backprop", true))
        return records, lines, panels

    def _panel(self, rgb: Image, values: Float32Array, title: str, true: Sequence[Box]) -> Image:
        drawn = panel(rgb, values, title)
        box = box_from_map(values) if self._boxes else None
        draw_boxes(drawn, true=true, predicted=[] if box is None else [box])
        return drawn

    def reset(self) -> None:
        """Do nothing: images are independent."""

    def close(self) -> None:
        """Do nothing: the networks are freed with the object."""


def _to_dict(found: TargetMap) -> dict[str, object]:
    return {
        "target": found.target, "value": found.value, "unit": found.unit, "bias": found.bias,
        "box": found.box._asdict(), "map": found.values.tolist(),
    }  # fmt: skip


def _label_maps(canvas: Image, hands: Sequence[Hand], maps: Sequence[TargetMap]) -> None:
    """Write value and colours of a target's map next to each hand, in place."""
    titles: list[Label] = []
    ends: list[Label] = []
    for hand, found in zip(hands, maps, strict=True):
        area = x_min, y_min, x_max, _ = box_around(corners_of(found.box))
        top = np.array([(x_min + x_max) / 2, y_min])
        directions = np.array([0.0, -1.0]), np.array([-1.0, 0.0]), np.array([1.0, 0.0])
        titles.append(Label(f"{hand.handedness}: {_short(found)}", top, directions, NEUTRAL, x_max - x_min))
        ends += draw_colour_bar(canvas, found.values, area)
    draw_labels(canvas, titles + ends)


def _short(found: TargetMap) -> str:
    """Return the value with its unit, and the probability of a logit.

    The logit of handedness is positive for the person's right hand.
    """
    share = f" (p {1 / (1 + math.exp(-found.value)):.2f})" if found.unit == "logit" else f" {found.unit}"
    return f"{found.target} {found.value:.4g}{share}"


def _line(found: TargetMap) -> str:
    return f"{_short(found)} = mean of the map {found.values.mean(dtype=np.float64):.4g} + bias {found.bias:.4g}"


def _class_number(target: str, names: list[str], count: int) -> int:
    if target in names:
        return names.index(target)
    if target.isdecimal() and int(target) < count:
        return int(target)
    choices = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else f"0 to {count - 1}"
    raise InputError(f"--of: Unknown class {target!r}. Choose from {choices}")
