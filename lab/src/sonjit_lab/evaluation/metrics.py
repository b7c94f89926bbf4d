"""Compute the metrics of a run with their intervals and parts, also by conditions of an instance's image.

Conditions are measured in the image or read from its labels.
"""

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from sonjit.report.documents import Curve
from sonjit.results import Box
from sonjit.results.skeletons import Skeleton
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.evaluation.predictions import EvaluatedItem, MetricRecord, PartRecord
from sonjit_lab.metrics import Part, by_bin, by_class, by_joint, by_joints, found, mean_error, missing_count
from sonjit_lab.metrics.statistics import intervals, ratio, resampled_means, rows

CONDITIONS = {
    "size": "size, longest side",
    "view": "view",
    "light": "light, median luma 0 to 255",
    "colour": "colour",
    "sharpness": "sharpness, variance of the Laplacian at 128 px",
    "people": "people in the image",
    "subset": "the data set's own subsets",
    "skin": "skin, as named or by its individual typology angle in the image",
    "note": "what the label notes",
}
"""Conditions by which recall is reported, and their measurement."""

_SIZES = (32, 64, 128, 256, 512)
_DARK, _BRIGHT = 64, 160
_GREY_CHROMA = 4.0  # mean CIELAB chroma below which an image counts as grey
_SHARPNESS_PX, _BLURRED = 128, 100.0
_TONES = ((41, "41° and more, light"), (28, "28 to 41°, intermediate"), (10, "10 to 28°, tan"))
_DARKEST_TONE = "under 10°, brown or dark"  # classes of the individual typology angle (Chardon, Cretois, Hourseau 1991)
_SKIN_SHARE = 0.3
_MIN_LUMA = 60  # minimum median luma for an estimate of skin tone. Below it, the tone is that of the light.
_NOTES = {
    "gloves": r"\bgloves?\b",
    "rings": r"\brings?\b",
    "glasses": r"glasses",
    "blurred": r"blur|focus",
    "poor light": r"\b(dark|dim|backlit|over-lit|low contrast|shade)",
    "cut by the edge": r"\bcut by|outside the picture",
    "partly hidden": r"hidden|merge|behind|\bunder\b|clasped|neighbour",
    "borderline": r"borderline|unsure|uncertain",
    "render": r"\bCGI\b",
}
_ATTRIBUTES = ("pose", "expression", "illumination", "make_up", "occlusion", "blur")
"""Attributes of WFLW's faces; a face with an attribute belongs to the test subset of that name."""
_TAGS = {
    "gloves": "glove",
    "rings": "rings",
    "held object": "held",
    "partly hidden": "occluders",
    "poor light": "low_light",
    "blurred": "motion_blur",
    "infrared": "infrared",
}
"""Factors of rendered images with the same meaning."""
Average = Literal["joint", "all"]
Better = Literal["lower", "higher"]
_MAX_JOINTS = 42  # maximum number of joints with a row each. A face mesh is reported by its parts only.


def image_conditions(sample: Sample, rgb: NDArray[np.uint8]) -> dict[str, str]:
    """Return whether an image (H, W, 3) is in colour or grey, and the number of labelled people."""
    import cv2

    small = cv2.resize(rgb, (64, 64), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    conditions = {"colour": "grey" if np.linalg.norm(lab[..., 1:], axis=2).mean() < _GREY_CHROMA else "colour"}
    people = sum(instance.kind == "body" and not instance.crowd for instance in sample.instances)
    if subset := sample.tags.get("subset"):
        conditions["subset"] = str(subset)
    if people:
        conditions["people"] = "1" if people == 1 else "2 to 4" if people < 5 else "5 or more"
    return conditions


def instance_conditions(instance: Instance, box: Box, sample: Sample, rgb: NDArray[np.uint8]) -> dict[str, str]:
    """Return the conditions of one instance in its box of the image (H, W, 3)."""
    import cv2

    x_min, y_min, x_max, y_max = (round(edge) for edge in box)
    top, left = (min(max(edge, 0), side - 1) for edge, side in zip((y_min, x_min), rgb.shape[:2], strict=True))
    cut = rgb[top : max(y_max, top + 1), left : max(x_max, left + 1)]
    luma = cv2.cvtColor(np.ascontiguousarray(cut), cv2.COLOR_RGB2GRAY)
    conditions = {"size": size_class(max(box[2] - box[0], box[3] - box[1]))}
    if subsets := [name for name in _ATTRIBUTES if instance.extra.get(name) == 1]:
        conditions["subset"] = "; ".join(subsets)
    if view := instance.extra.get("view"):
        conditions["view"] = str(view)
    middle = float(np.median(luma))
    conditions["light"] = (
        f"under {_DARK}, dark"
        if middle < _DARK
        else f"{_BRIGHT} and more, bright"
        if middle >= _BRIGHT
        else f"{_DARK} to {_BRIGHT}"
    )
    scale = _SHARPNESS_PX / max(luma.shape)
    scaled = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    blurred = cv2.Laplacian(scaled, cv2.CV_64F).var() < _BLURRED
    conditions["sharpness"] = f"under {_BLURRED:g}, blurred" if blurred else f"{_BLURRED:g} and more, sharp"
    if skin := _skin(instance, cut, rgb):
        conditions["skin"] = skin
    if notes := _notes(str(instance.extra.get("note", "")), sample.tags):
        conditions["note"] = "; ".join(notes)
    return conditions


def size_class(longest_px: float) -> str:
    """Return the class of a longest side in pixels."""
    above = [edge for edge in _SIZES if longest_px >= edge]
    if not above:
        return f"under {_SIZES[0]} px"
    return f"{above[-1]} px and more" if above[-1] == _SIZES[-1] else f"{above[-1]} to {_SIZES[len(above)]} px"


def class_order(name: str) -> tuple[bool, float, str]:
    """Return a key that sorts classes: those under a number first, then by their first number, then by name."""
    first = re.search(r"\d+", name)
    return not name.startswith("under"), float(first[0]) if first else 0.0, name


def individual_typology_angle(rgb: NDArray[np.uint8]) -> float | None:
    """Return arctan((L* - 50) / b*) in degrees, for the median colour of skin in the middle of a box (H, W, 3).

    The result is None if less than a third of the middle has the chroma of skin (Chai and Ngan 1999). It describes the
    image, including light and white balance, and not the person.

    >>> round(individual_typology_angle(np.full((8, 8, 3), (224, 172, 140), np.uint8)))
    46
    """
    import cv2

    height, width = rgb.shape[:2]
    middle = np.ascontiguousarray(rgb[height // 4 : height - height // 4, width // 4 : width - width // 4])
    _, red, blue = np.moveaxis(cv2.cvtColor(middle, cv2.COLOR_RGB2YCrCb), 2, 0)
    skin = (red >= 133) & (red <= 173) & (blue >= 77) & (blue <= 127)
    if skin.mean() < _SKIN_SHARE:
        return None
    lab = cv2.cvtColor(middle.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[skin]
    lightness, _, yellow = np.median(lab, axis=0).tolist()
    return float(np.degrees(np.arctan2(lightness - 50, max(yellow, 1e-3))))


def _skin(instance: Instance, cut: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> str | None:
    """Return the skin tone of the label or the render, or else an estimate if the light permits one."""
    group: Mapping[str, Any] = instance.extra.get("group") or {}
    if named := instance.extra.get("skin") or group.get("skin_tone"):
        return f"tone {named}"
    if instance.kind == "body" or np.median(rgb) < _MIN_LUMA:
        return None
    angle = individual_typology_angle(cut)
    if angle is None:
        return None
    return next((name for least, name in _TONES if angle >= least), _DARKEST_TONE)


def _notes(note: str, tags: Mapping[str, Any]) -> list[str]:
    from_note = [name for name, words in _NOTES.items() if re.search(words, note)]
    from_tags = [name for name, key in _TAGS.items() if tags.get(key) not in (None, 0, "none")]  # False is 0
    return list(dict.fromkeys([*from_note, *from_tags]))


@dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str  # name of the metric, as in the published tables
    title: str  # title for reports
    value: float  # value over all predictions; NaN if nothing was evaluated
    unit: str  # unit of value and interval
    better: Better = "lower"  # direction of improvement
    low: float = math.nan  # lower end of the 95 % interval; NaN where undefined
    high: float = math.nan  # upper end of the interval
    counted: int = 0  # number of values
    missing: int = 0  # number of missing predictions, which are in no mean

    def to_dict(self) -> MetricRecord:
        """Return the metric as plain JSON types; NaN stays."""
        return cast("MetricRecord", asdict(self))


@dataclass
class MetricSummary:
    """Summary of a run."""

    metrics: list[Metric] = field(default_factory=list[Metric])  # metrics of the table
    # rows of the main metric by "joint", "finger" or "hidden"
    parts: dict[str, list[Part]] = field(default_factory=dict[str, "list[Part]"])
    curves: list[Curve] = field(default_factory=list[Curve])  # PCK curves
    # main metric of each evaluated item; NaN without a value, inf where nothing was predicted
    values: list[float] = field(default_factory=list[float])

    def add(
        self,
        name: str,
        title: str,
        values: NDArray[np.float64],
        unit: str,
        clusters: Sequence[Hashable],
        *,
        better: Better = "lower",
        average: Average = "all",
    ) -> None:
        """Add the mean of values (N,) or (N, K) in the given unit, see `mean_metric`."""
        self.metrics.append(mean_metric(name, title, values, unit, average=average, clusters=clusters, better=better))

    def parts_to_dict(self) -> dict[str, list[PartRecord]]:
        """Return the parts as plain JSON types; NaN and inf stay."""
        return {key: [_record_from_part(part) for part in parts] for key, parts in self.parts.items()}


def _record_from_part(part: Part) -> PartRecord:
    low, high = part.interval
    return {
        "name": part.name,
        "mean": part.mean,
        "low": low,
        "high": high,
        "counted": part.counted,
        "missing": part.missing,
    }


def mean_metric(
    name: str,
    title: str,
    errors: NDArray[np.float64],
    unit: str,
    *,
    average: Average = "all",
    clusters: Sequence[Hashable] | None = None,
    better: Better = "lower",
) -> Metric:
    """Return the mean and interval of errors (N, ...) in a unit over clusters (N,).

    Errors are NaN where nothing was evaluated, and inf where nothing was predicted.
    """
    finite_errors = rows(found(errors))
    low, high = _interval(finite_errors, average, clusters)
    mean, counted, missing = (
        mean_error(finite_errors, average),
        int(np.isfinite(finite_errors).sum()),
        missing_count(errors),
    )
    return Metric(name, title, mean, unit, better, low, high, counted, missing)


def column(evaluated: Sequence[EvaluatedItem], name: str) -> NDArray[np.float64]:
    """Return a number of each item (N,); NaN where it has none."""
    return np.array([item.numbers.get(name, math.nan) for item in evaluated], np.float64)


def areas_under_pck(errors: NDArray[np.float64], low: float, high: float, steps: int) -> NDArray[np.float64]:
    """Return the contribution of each error (N, K) to the area under the PCK curve, 0 to 1: their mean is the AUC.

    >>> areas_under_pck(np.array([[0.0, 10.0, np.inf]]), 0, 10, 3)
    array([[1.  , 0.25, 0.  ]])
    """
    thresholds = np.linspace(low, high, steps)
    weights = np.convolve(np.diff(thresholds), [0.5, 0.5]) / (high - low)  # (T,) trapezoids
    after = np.append(np.cumsum(weights[::-1])[::-1], 0.0)  # of the thresholds from each on
    areas = after[np.searchsorted(thresholds, errors)]
    return np.where(np.isnan(errors), np.nan, areas)


def parts_of(
    errors: NDArray[np.float64],
    skeleton: Skeleton | None,
    hidden: NDArray[np.float64],
    clusters: Sequence[Hashable] | None,
) -> dict[str, list[Part]]:
    """Return errors (N, K) by joint, by finger or other named part, and by hidden share."""
    parts: dict[str, list[Part]] = {}
    if skeleton is not None and len(skeleton.keypoints) == errors.shape[1]:
        if errors.shape[1] <= _MAX_JOINTS:
            parts["joint"] = by_joint(errors, skeleton.keypoints, clusters=clusters)
        if skeleton.groups:
            parts["part"] = by_joints(errors, skeleton.groups, clusters=clusters)
    if np.isfinite(hidden).any():
        parts["hidden"] = by_bin(errors, hidden, clusters=clusters)
    return parts


def parts_by_condition(
    values: NDArray[np.float64], conditions: Sequence[Mapping[str, str]], clusters: Sequence[Hashable] | None
) -> dict[str, list[Part]]:
    """Return values (N, K) by the classes of each condition of N items, without conditions that are never known."""
    parts: dict[str, list[Part]] = {}
    for factor in CONDITIONS:
        classes = [set(filter(None, item.get(factor, "").split("; "))) for item in conditions]
        names = sorted(set[str]().union(*classes), key=class_order)
        if names:
            parts[factor] = by_class(values, classes, names, clusters=clusters)
    return parts


def row_means(errors: NDArray[np.float64]) -> list[float]:
    """Return the mean of each row (N, K), in its unit: NaN if nothing was evaluated, inf if nothing was predicted."""
    means: list[float] = []
    for row in errors:
        evaluated = row[~np.isnan(row)]
        finite_values = evaluated[np.isfinite(evaluated)]
        unknown = math.inf if evaluated.size else math.nan
        means.append(float(finite_values.mean()) if finite_values.size else unknown)
    return means


def stack_rows(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return rows (K,) as (N, K), in their unit."""
    return np.stack(rows) if rows else np.zeros((0, 1))


def _interval(
    errors: NDArray[np.float64], average: Average, clusters: Sequence[Hashable] | None
) -> tuple[float, float]:
    finite = np.isfinite(errors)
    sums = np.where(finite, errors, 0.0)
    if average == "all":
        drawn = resampled_means(sums.sum(1, keepdims=True), finite.sum(1, keepdims=True), clusters=clusters)
    elif (finite.sum(0) == 1).any():
        return math.nan, math.nan  # undefined for a joint that one sample has, and for a mean with it
    else:
        table = resampled_means(sums, finite.astype(np.int64), clusters=clusters)  # (R, K)
        drawn_finite = np.isfinite(table)
        drawn = ratio(np.where(drawn_finite, table, 0).sum(1), drawn_finite.sum(1))[:, None]
    low, high = intervals(drawn)[0]
    return low, high
