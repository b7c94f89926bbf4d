"""Evaluate detection (recall, false and duplicate detections, precision) and informative objects of scenes.

The box of a detection surrounds its keypoints within the image. It matches a label if their IoU is 0.3 or more, or if
its centre is in the label's box and its longest side is between half and twice the label's. Detections are assigned by
descending score, each to the free label with the largest IoU. One that matches only assigned labels is a duplicate, one
that matches none is false. Unclear labels and detections in a crowd's area do not count. Informative objects overlap a
region where the map of an image's class exceeds half of its maximum, by half of either. Source: Zhou et al. 2016,
Learning Deep Features for Discriminative Localization, section 4.2.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from sonjit.explanations.maps import TIGHT, box_from_map
from sonjit.media.drawing.labels import draw_captions
from sonjit.media.sources.images import encode_image
from sonjit.results import LEAST_SIDE_SCORE, Box
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.datasets.sample import LandmarkKind
from sonjit_lab.evaluation.metrics import (
    MetricSummary,
    column,
    image_conditions,
    instance_conditions,
    mean_metric,
    parts_by_condition,
)
from sonjit_lab.evaluation.predictions import (
    EvaluatedItem,
    JournalLine,
    Prediction,
    group_of,
    hidden_share,
)
from sonjit_lab.evaluation.protocols import Protocol, ProtocolData
from sonjit_lab.metrics import box_iou, mean_interval
from sonjit_lab.metrics.statistics import Part

_MIN_IOU = 0.3  # minimum IoU of a detection and its label
_MIN_SIZE_RATIO, _MAX_SIZE_RATIO = 0.5, 2.0  # of longest sides, if the centre is in the label
_MAX_HIDDEN = 0.5  # maximum occluded share of a label that must be found
_MIN_KEYPOINTS = 10  # minimum number of keypoints whose box is used. With fewer, the detector's own box is more exact.
_SCORE_EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
_KINDS = get_args(LandmarkKind)
_MIN_SHARE = 0.5
_MAX_OBJECTS = 6  # of a class in the table, as in the paper
_COLUMNS, _SIDE_PX = 5, 160  # of a class's picture
_MAX_CLASSES = 12  # with pictures


class Assignment(NamedTuple):
    """Assignment of detections to labels."""

    detection_of_label: dict[int, int]  # index of the detection by index of the label
    doubled: list[int]  # indices of detections whose labels were all assigned
    false: list[int]  # indices of detections that match no label, best first


def assign(detections: Sequence[tuple[Box, float]], labels: Sequence[Box], crowds: Sequence[Box] = ()) -> Assignment:
    """Assign detections, pairs of box and score, to labels.

    >>> assign([((0, 0, 9, 9), 0.8), ((0, 0, 10, 10), 0.9), ((50, 0, 60, 9), 0.7)], [(0, 0, 10, 10)])
    Assignment(detection_of_label={0: 1}, doubled=[0], false=[2])
    """
    result = Assignment({}, [], [])
    for index in sorted(range(len(detections)), key=lambda item: -detections[item][1]):
        box = detections[index][0]
        fitting = [number for number, label in enumerate(labels) if _fits(box, label)]
        free = [number for number in fitting if number not in result.detection_of_label]
        if free:
            result.detection_of_label[max(free, key=lambda number: box_iou(box, labels[number]))] = index
        elif fitting:
            result.doubled.append(index)
        elif not any(_contains_centre(area, box) for area in crowds):
            result.false.append(index)
    return result


class DetectionEvaluator:
    """Evaluator of the detection of one kind of instance."""

    main = "recall"

    def __init__(self, protocol: Protocol, kind: LandmarkKind = "hand") -> None:
        self._exhaustive, self._kind = protocol.exhaustive, kind

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return each label that must be found, then each duplicate or false detection."""
        if self._kind not in sample.tags.get("labelled", _KINDS):
            return []
        labelled = [
            (number, item, box)
            for number, item in enumerate(sample.instances)
            if item.kind == self._kind and (box := item.bounds()) is not None
        ]
        crowds, labels = (
            [box for _, item, box in labelled if item.crowd],
            [label for label in labelled if not label[1].crowd],
        )
        detections = [(box, item) for item in predictions if (box := self._box(item, sample)) is not None]
        assigned = assign([(box, item.score) for box, item in detections], [box for *_, box in labels], crowds)
        rgb = sample.rgb()
        about = image_conditions(sample, rgb)
        result: list[EvaluatedItem] = []
        for index, (number, label, box) in enumerate(labels):
            # The label's own flag, or else whether at least half of the keypoints are visible, if that is known.
            if not label.extra.get("clear", not hidden_share(label) > _MAX_HIDDEN):
                continue
            detection = (
                detections[assigned.detection_of_label[index]][1] if index in assigned.detection_of_label else None
            )
            result.append(
                EvaluatedItem(
                    instance=number,
                    side=label.side,
                    hidden=float(label.extra.get("hidden", hidden_share(label))),
                    numbers=_numbers(label, detection),
                    points_px=None if detection is None else _points(detection),
                    group=group_of(label),
                    conditions=about | instance_conditions(label, box, sample, rgb),
                )
            )
        for name in ("doubled", "false") if self._exhaustive else ():
            wrong = [detections[index][1] for index in getattr(assigned, name)]
            result += [
                EvaluatedItem(numbers={name: 1.0, "score": item.score}, points_px=_points(item)) for item in wrong
            ]
        return result

    def _box(self, prediction: Prediction, sample: Sample) -> Box | None:
        """Return the box within the image; None for another kind of instance."""
        kind = (prediction.skeleton or "").partition("_")[0]
        corners = _points(prediction)
        if (kind in _KINDS and kind != self._kind) or corners is None or not np.isfinite(corners).any():
            return None
        (x_min, y_min), (x_max, y_max) = np.nanmin(corners, 0).tolist(), np.nanmax(corners, 0).tolist()
        return max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(sample.width)), min(y_max, float(sample.height))

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return recall, precision and sides, recall by condition, and precision by score."""
        recalled, scores = column(evaluated, "found"), column(evaluated, "score")
        # 100 for the detection of a clear label, 0 for a false or duplicate one, and NaN for a missed label.
        right = np.where(np.isnan(scores), np.nan, np.where(np.isnan(recalled), 0.0, 100.0))
        summary = MetricSummary(values=np.nan_to_num(recalled).tolist())
        summary.add("recall", "recall: clear labels found", recalled, "%", clusters, better="higher")
        if self._exhaustive:
            summary.add("precision", "precision: correct detections", right, "%", clusters, better="higher")
            for name, title in (("false", "false detections"), ("doubled", "duplicates")):
                wrong = np.where(np.isnan(right), np.nan, 100.0 * np.isfinite(column(evaluated, name)))
                summary.add(name, title, wrong, "%", clusters)
        for name, number, title in (
            ("handedness", "side", "side"),
            ("side_known", "side_known", f"known sides, {LEAST_SIDE_SCORE:g} and more"),
        ):
            if np.isfinite(side := column(evaluated, number)).any():
                summary.add(name, title, side, "%", clusters, better="higher")
        summary.parts = parts_by_condition(recalled[:, None], [item.conditions for item in evaluated], clusters)
        if self._exhaustive:
            summary.parts["score"] = _precision_by_score(scores, right, clusters)
        return summary


def _fits(box: Box, label: Box) -> bool:
    ratio = _longest_side(box) / max(_longest_side(label), 1e-6)
    is_near = _contains_centre(label, box) and _MIN_SIZE_RATIO <= ratio <= _MAX_SIZE_RATIO
    return is_near or box_iou(box, label) >= _MIN_IOU


def _contains_centre(area: Box, box: Box) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return area[0] <= x <= area[2] and area[1] <= y <= area[3]


def _longest_side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _numbers(instance: Instance, detection: Prediction | None) -> dict[str, float]:
    """Return whether it was found and on which side, in per cent, and the detection's score."""
    if detection is None:
        return {"found": 0.0}
    numbers = {"found": 100.0, "score": detection.score}
    if instance.side and detection.side:
        numbers["side"] = 100.0 * (instance.side == detection.side)
        if detection.side_score >= LEAST_SIDE_SCORE:
            numbers["side_known"] = numbers["side"]
    return numbers


def _points(prediction: Prediction) -> NDArray[np.float64] | None:
    """Return the keypoints, or the corners of the box if there are only a few."""
    points = prediction.keypoints_px
    if prediction.box is None or (points is not None and len(points) >= _MIN_KEYPOINTS):
        return None if points is None else np.asarray(points[:, :2], np.float64)
    return np.array(prediction.box, np.float64).reshape(2, 2)


def _precision_by_score(
    scores: NDArray[np.float64], right: NDArray[np.float64], clusters: Sequence[Hashable]
) -> list[Part]:
    rows: list[Part] = []
    for low, high in zip(_SCORE_EDGES, (*_SCORE_EDGES[1:], math.inf), strict=True):
        inside = (scores >= low) & (scores < high)
        if not inside.any():
            continue
        values = np.where(inside, right, np.nan)
        finite_values = values[np.isfinite(values)]
        mean = float(finite_values.mean()) if finite_values.size else math.nan
        interval = mean_interval(values, clusters=clusters)
        rows.append(Part(f"{low:g} to {min(high, 1):g}", mean, interval, int(finite_values.size), 0))
    return rows


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
                covers = region_covers(region, instance.box)
                is_covered[instance.category] = is_covered.get(instance.category, False) or covers
        right = 100 * float(best.category == scene) if best.category is not None else math.nan
        numbers = {"regions_with_objects": 100 * float(any(is_covered.values())), "classification_error_1": 100 - right}
        box = box_from_map(region.astype(np.float32))
        record = {
            "class": str(scene),
            "found": best.category == scene,
            "objects": is_covered,
            "map": best.map.tolist(),
            "region": None if box is None else list(box),
        }
        return [EvaluatedItem(numbers=numbers, records=[record])]

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return the share of regions with an object; and by class and object, the share of images with it."""
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
    """Return the mask (H, W) of an image where a map (h, w), scaled to it, exceeds half of its maximum.

    The mask is False everywhere if the maximum is not above 0.
    """
    import cv2

    large = cv2.resize(np.asarray(values, np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray((large > TIGHT * large.max()) & (large.max() > 0), np.bool_)


def region_covers(region: NDArray[np.bool_], box: Box) -> bool:
    """Return whether half of a box in pixels is in a region, a mask (H, W), or half of the region in the box."""
    height, width = region.shape
    left, right = (min(max(round(edge), 0), width) for edge in (box[0], box[2]))
    top, bottom = (min(max(round(edge), 0), height) for edge in (box[1], box[3]))
    shared = int(region[top:bottom, left:right].sum())
    box_area = max((right - left) * (bottom - top), 1)
    return shared > 0 and (shared >= _MIN_SHARE * box_area or shared >= _MIN_SHARE * int(region.sum()))


def draw_patterns(data: ProtocolData, lines: Sequence[JournalLine]) -> dict[str, bytes]:
    """Draw what images of a class have in common, as JPEG, for at most twelve classes.

    First comes the mean of the maps of its correctly classified images, each scaled to a maximum of 1, then the regions
    with the strongest evidence.
    """
    import cv2

    from sonjit.media.drawing.heat_maps import enlarge, overlay

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
