"""Evaluate informative objects of scenes: labelled objects where the map of an image's class is high.

Source: Zhou et al. 2016, Learning Deep Features for Discriminative Localization, section 4.2: the objects that most
often overlap the regions of high activation. A region is where the map exceeds half of its maximum. It contains an
object if half of the object is in it, or if the object covers half of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from sonjit.lab.datasets import Sample
from sonjit.lab.evaluation.metrics import MetricSummary, mean_metric
from sonjit.lab.evaluation.predictions import EvaluatedItem, Prediction
from sonjit.lab.evaluation.protocols import Protocol, ProtocolData
from sonjit.lab.evaluation.records import JournalLine
from sonjit.lab.metrics import mean_interval
from sonjit.lab.metrics.detection import TIGHT, box_from_map
from sonjit.lab.metrics.statistics import Part
from sonjit.media.drawing.strokes import draw_captions
from sonjit.media.sources.images import encode_image
from sonjit.results import Box

_MIN_SHARE = 0.5
_MAX_OBJECTS = 6  # of a class in the table, as in the paper
_COLUMNS, _SIDE_PX = 5, 160  # of a class's picture
_MAX_CLASSES = 12  # with pictures


class SceneEvaluator:
    """Evaluator of the objects in the evidence for an image's class, which is its tag `class`."""

    def __init__(self, protocol: Protocol) -> None:
        self.main = protocol.main

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the image's results in per cent, if its class is known."""
        scene = sample.tags.get("class")
        best = max(predictions, key=lambda item: item.score, default=None)
        if scene is None or best is None or best.map is None:
            return []
        region = high_region(best.map, sample.width, sample.height)
        is_covered: dict[str, bool] = {}
        for instance in sample.instances:
            if instance.box is not None and instance.category is not None:
                is_covered[instance.category] = is_covered.get(instance.category, False) or region_covers(
                    region, instance.box
                )
        right = 100 * float(best.category == scene) if best.category is not None else math.nan
        numbers = {"regions_with_objects": 100 * float(any(is_covered.values())), "classification_error_1": 100 - right}
        box = box_from_map(region.astype(np.float32))
        record = {
            "class": str(scene), "found": best.category == scene, "objects": is_covered, "map": best.map.tolist(),
            "region": None if box is None else list(box),
        }  # fmt: skip
        return [EvaluatedItem(numbers=numbers, records=[record])]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return the share of regions that contain an object; and by class and object, the share of images whose region
        contains it.
        """
        titles = {
            "regions_with_objects": "regions that contain a labelled object",
            "classification_error_1": "classification error, top 1",
        }
        summary = MetricSummary()
        for name, title in titles.items():
            column = np.array([item.numbers[name] for item in evaluated], np.float64).reshape(-1, 1)
            better = "higher" if name == self.main else "lower"
            summary.metrics.append(mean_metric(name, title, column, "%", clusters=clusters, better=better))
        rows: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
        for image in evaluated:
            for name, inside in image.records[0]["objects"].items():
                rows[image.records[0]["class"]][name].append(inside)
        parts: list[Part] = []
        for scene in sorted(rows):
            ranked = sorted(rows[scene].items(), key=lambda row: (-sum(row[1]), row[0]))
            for name, inside in ranked[:_MAX_OBJECTS]:
                share = 100 * float(np.mean(inside))
                parts.append(Part(f"{scene}: {name}", share, mean_interval(100.0 * np.array(inside)), len(inside), 0))
        summary.parts["object"] = parts
        summary.values = [item.numbers[self.main] for item in evaluated]
        return summary


def high_region(values: NDArray[np.floating], width: int, height: int) -> NDArray[np.bool_]:
    """Return where a map (h, w), scaled to (height, width), exceeds half of its maximum, if that is above 0."""
    import cv2

    large = cv2.resize(np.asarray(values, np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray((large > TIGHT * large.max()) & (large.max() > 0), np.bool_)


def region_covers(region: NDArray[np.bool_], box: Box) -> bool:
    """Return whether half of a box is in a region, or half of the region in the box."""
    height, width = region.shape
    left, right = (min(max(round(edge), 0), width) for edge in (box[0], box[2]))
    top, bottom = (min(max(round(edge), 0), height) for edge in (box[1], box[3]))
    shared = int(region[top:bottom, left:right].sum())
    box_area = max((right - left) * (bottom - top), 1)
    return shared > 0 and (shared >= _MIN_SHARE * box_area or shared >= _MIN_SHARE * int(region.sum()))


def draw_patterns(data: ProtocolData, lines: Sequence[JournalLine]) -> dict[str, bytes]:
    """Draw what images of a class have in common, for at most twelve classes.

    Returns:
        JPEG for each class: the mean of the maps of its correctly classified images, each scaled to a maximum of 1,
        then the regions with the strongest evidence.
    """
    import cv2

    from sonjit.lab.explain.overlay import enlarge, overlay

    by_class: dict[str, list[tuple[int, NDArray[np.float32], Box]]] = defaultdict(list)
    for line in lines:
        for image in line.evaluated:
            for record in image.records:
                if record["found"] and record["region"]:
                    values = np.array(record["map"], np.float32)
                    by_class[record["class"]].append((line.place, values, record["region"]))
    pictures: dict[str, bytes] = {}
    size = _SIDE_PX, _SIDE_PX
    for scene in sorted(by_class)[:_MAX_CLASSES]:
        ranked = sorted(by_class[scene], key=lambda item: -item[1].max())
        mean = np.stack([values / values.max() for _, values, _ in ranked]).mean(0).astype(np.float32)
        tiles = [overlay(np.full((*size, 3), 40, np.uint8), enlarge(mean, *size), 0.9)]
        draw_captions(tiles[0], [f"{scene}: mean of {len(ranked)}"])
        for index, _, region in ranked[:_COLUMNS]:
            left, top, right, bottom = map(round, region)
            cut = data[index].rgb()[top:bottom, left:right]
            tiles.append(np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_LINEAR), np.uint8))
        tiles += [np.full_like(tiles[0], 24)] * (1 + _COLUMNS - len(tiles))
        pictures[scene] = encode_image(np.concatenate(tiles, axis=1), ".jpg")
    return pictures
