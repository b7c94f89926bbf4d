"""Explainers of the images of an input: hands by their landmark network, images by a classifier."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from sonjit.explain.overlay import draw_boxes, draw_outline, enlarge, overlay, panel, place, side_by_side
from sonjit.media.drawing.labels import draw_captions
from sonjit.metrics.localization import box_from_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.detectors import Detector
    from sonjit.explain.hands import HandExplainer, TargetMap
    from sonjit.networks import Network
    from sonjit.results import Hand


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

    def explain(self, rgb: NDArray[np.uint8], time: float | None, *, draw: bool) -> Explained:
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
        self,
        detector: Detector[Any],
        explainer: HandExplainer,
        targets: Sequence[str],
        *,
        number: int | None = None,
    ) -> None:
        self._detector, self._explainer = detector, explainer
        self._targets, self._number = targets, number

    def explain(self, rgb: NDArray[np.uint8], time: float | None, *, draw: bool) -> Explained:
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

    def _panels(self, rgb: NDArray[np.uint8], hands: list[Hand], maps: list[list[TargetMap]]) -> NDArray[np.uint8]:
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

    def explain(self, rgb: NDArray[np.uint8], time: float | None, *, draw: bool) -> Explained:
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

    def _saliency(self, rgb: NDArray[np.uint8], label: int) -> NDArray[np.float32]:
        from sonjit.explain.classes import backprop_saliency, image_tensor

        saliency = backprop_saliency(self._network, image_tensor(rgb, self._size), [label])
        return enlarge(saliency[0].numpy(), rgb.shape[1], rgb.shape[0])


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
