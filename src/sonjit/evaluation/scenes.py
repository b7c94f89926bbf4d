"""Informative objects in scenes: what lies where the map of an image's class is high, and pictures of those places.

Source: Zhou et al. 2016, Learning Deep Features for Discriminative Localization, section 4.2: the objects that most
often overlap the regions of high activation. A region is where the map is above half of its maximum; it holds an object
that lies in it by half, or that covers half of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit.evaluation.metrics import MetricSummary, mean_metric
from sonjit.evaluation.predictions import EvaluatedItem
from sonjit.media.annotated.writers import encode_image
from sonjit.media.drawing.strokes import draw_captions
from sonjit.metrics import mean_interval
from sonjit.metrics.breakdown import Part
from sonjit.metrics.localization import TIGHT, box_from_map

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Sample
    from sonjit.evaluation.predictions import Prediction
    from sonjit.evaluation.protocols import Protocol, ProtocolData
    from sonjit.evaluation.records import JournalLine
    from sonjit.results import Box

_HALF = 0.5
_OBJECTS = 6  # of a class in the table, as in the paper
_COLUMNS, _SIDE_PX = 5, 160  # of a class's picture
_CLASSES = 12  # with pictures


class SceneEvaluator:
    """Evaluates which labelled objects the evidence for an image's class lies on; the class is its tag `class`."""

    def __init__(self, protocol: Protocol) -> None:
        self.main = protocol.main

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """The image, where its class is known: in per cent."""
        scene = sample.tags.get("class")
        best = max(predictions, key=lambda one: one.score, default=None)
        if scene is None or best is None or best.map is None:
            return []
        region = high_region(best.map, sample.width, sample.height)
        held: dict[str, bool] = {}
        for one in sample.instances:
            if one.box is not None and one.category is not None:
                held[one.category] = held.get(one.category, False) or region_holds(region, one.box)
        right = 100 * float(best.category == scene) if best.category is not None else math.nan
        numbers = {"regions_with_objects": 100 * float(any(held.values())), "classification_error_1": 100 - right}
        box = box_from_map(region.astype(np.float32))
        record = {
            "class": str(scene), "found": best.category == scene, "objects": held, "map": best.map.tolist(),
            "region": None if box is None else list(box),
        }  # fmt: skip
        return [EvaluatedItem(numbers=numbers, records=[record])]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """How many regions hold an object; by class and object, in how many images with it the region holds it."""
        titles = {
            "regions_with_objects": "regions that hold a labelled object",
            "classification_error_1": "classification error, top 1",
        }
        summary = MetricSummary()
        for name, title in titles.items():
            column = np.array([one.numbers[name] for one in evaluated], np.float64).reshape(-1, 1)
            better = "higher" if name == self.main else "lower"
            summary.metrics.append(mean_metric(name, title, column, "%", clusters=clusters, better=better))
        rows: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
        for one in evaluated:
            for name, inside in one.records[0]["objects"].items():
                rows[one.records[0]["class"]][name].append(inside)
        parts: list[Part] = []
        for scene in sorted(rows):
            ranked = sorted(rows[scene].items(), key=lambda row: (-sum(row[1]), row[0]))
            for name, inside in ranked[:_OBJECTS]:
                share = 100 * float(np.mean(inside))
                parts.append(Part(f"{scene}: {name}", share, mean_interval(100.0 * np.array(inside)), len(inside), 0))
        summary.parts["object"] = parts
        summary.values = [one.numbers[self.main] for one in evaluated]
        return summary


def high_region(values: NDArray[np.floating], width: int, height: int) -> NDArray[np.bool_]:
    """Where a map (h, w), enlarged to an image (height, width), is above half of its maximum, if anywhere above 0."""
    import cv2

    large = cv2.resize(np.asarray(values, np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray((large > TIGHT * large.max()) & (large.max() > 0), np.bool_)


def region_holds(region: NDArray[np.bool_], box: Box) -> bool:
    """Whether half of a box is in a region, or half of the region in the box."""
    height, width = region.shape
    left, right = (min(max(round(edge), 0), width) for edge in (box[0], box[2]))
    top, bottom = (min(max(round(edge), 0), height) for edge in (box[1], box[3]))
    shared = int(region[top:bottom, left:right].sum())
    whole = max((right - left) * (bottom - top), 1)
    return shared > 0 and (shared >= _HALF * whole or shared >= _HALF * int(region.sum()))


class _Found(NamedTuple):
    """An image whose class is found: its place in the data, the class's map, and the region as box."""

    place: int
    values: NDArray[np.float32]
    region: Box


def draw_patterns(data: ProtocolData, lines: Sequence[JournalLine]) -> dict[str, bytes]:
    """What a class's images have in common, of at most twelve classes.

    Returns:
        For each class a JPEG: the mean of the maps of the images that are rightly found, each scaled to a maximum of 1,
        then the regions with the strongest evidence, cut out of their images.
    """
    import cv2

    from sonjit.explain.overlay import enlarge, overlay

    by_class: dict[str, list[_Found]] = defaultdict(list)
    for line in lines:
        for one in line.evaluated:
            for record in one.records:
                if record["found"] and record["region"]:
                    found = _Found(line.place, np.array(record["map"], np.float32), record["region"])
                    by_class[record["class"]].append(found)
    pictures: dict[str, bytes] = {}
    size = _SIDE_PX, _SIDE_PX
    for scene in sorted(by_class)[:_CLASSES]:
        ranked = sorted(by_class[scene], key=lambda one: -one.values.max())
        mean = np.stack([one.values / one.values.max() for one in ranked]).mean(0).astype(np.float32)
        tiles = [overlay(np.full((*size, 3), 40, np.uint8), enlarge(mean, *size), 0.9)]
        draw_captions(tiles[0], [f"{scene}: mean of {len(ranked)}"])
        for one in ranked[:_COLUMNS]:
            left, top, right, bottom = map(round, one.region)
            cut = data[one.place].rgb()[top:bottom, left:right]
            tiles.append(np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_LINEAR), np.uint8))
        tiles += [np.full_like(tiles[0], 24)] * (1 + _COLUMNS - len(tiles))
        pictures[scene] = encode_image(np.concatenate(tiles, axis=1), ".jpg")
    return pictures
