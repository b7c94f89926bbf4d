"""Models of an evaluation, their predictions, the items that compare them with labels, and the records of a run.

The records are eval.json, and the journal of samples from which a stopped run resumes.
"""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NotRequired, Self, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError, IntArray, data_files, json_from
from sonjit._util.files import write_text
from sonjit.results import Body, Box, Person
from sonjit.results import Instance as Result
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.datasets.convert import sample_to_dict
from sonjit_lab.datasets.sample import name_of, ordered_hand

_MIN_VISIBILITY = 0.5  # minimum visibility of a keypoint that a model predicts as visible
_UNHASHED = ("id", "image_id", "dataset", "source", "licence")  # fields of a sample that change no result
_MAX_MATCH_DISTANCE = 0.5  # maximum mean distance of a match, as a share of the truth's longer side
Mode = Literal["tracking", "reacquisition", "ground-truth boxes", "predictions"]
"""Source of a model's crop: the previous frame, its own search, the truth; or predictions made before."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """One predicted instance."""

    skeleton: str | None = "hand_mediapipe21"  # keypoint order; None for that of the labels
    side: str | None = None  # side of a hand
    side_score: float = 1.0  # confidence of the side, 0 to 1
    score: float = 1.0  # confidence, 0 to 1
    keypoints_px: NDArray[np.floating] | None = None  # keypoints (K, 2) in pixels of the image
    visible: NDArray[np.bool_] | None = None  # mask (K,) of the keypoints predicted to be visible
    # keypoints (K, 3) in metres in the camera's axes, with any origin unless `placed`
    keypoints_m: NDArray[np.floating] | None = None
    placed: bool = False  # True if the 3D keypoints are in the camera's frame
    vertices_m: NDArray[np.floating] | None = None  # vertices (V, 3) in the same frame
    box: Box | None = None  # box as x_min, y_min, x_max, y_max in pixels
    mask: NDArray[np.bool_] | None = None  # mask (H, W)
    box_of_mask: bool = False  # True if the box is that of the mask
    category_id: int | None = None  # id of its class in the data set
    category: str | None = None  # name of its class, if the model knows it
    map: NDArray[np.float32] | None = None  # evidence (h, w) for its class by position in the input
    instance: int | None = None  # index of its instance in the sample; None to match it
    person: int | None = None  # index of its person in the image; None if unknown
    # confidence of its person, if the model gives one in addition to that of the part
    person_score: float | None = None
    # probabilities of a right and of a left hand; None if the model has none
    hand_type: tuple[float, float] | None = None
    root_depth_m: float | None = None  # depth of its root in the camera's frame, if the model predicts it
    # root (3,) of a left hand relative to the right one's, if the model predicts it
    root_offset_m: NDArray[np.float64] | None = None


class Model(ABC):
    """Model that makes predictions for images."""

    modes: tuple[Mode, ...] = ("ground-truth boxes",)  # modes in which it can be evaluated
    notes: Sequence[str] = ()  # findings of `check`, for the report
    supervision: str = ""  # what a classifier was trained on: "weak" for classes only, "box" for labelled boxes
    settings: Mapping[str, str] = MappingProxyType({})  # settings of a classifier's evaluation

    @abstractmethod
    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """Return the predictions for an image (H, W, 3)."""

    def check(self, samples: Iterable[Sample], categories: Callable[[], Mapping[int, str]]) -> None:  # noqa: B027
        """Refuse samples for which the model has no predictions, before any work; `categories` names the classes."""

    def use_orders(self, orders: Mapping[int, IntArray]) -> None:  # noqa: B027  # most models have an order of their own
        """Take the order of keypoints in the annotation files, by category, as that of results in COCO's format."""

    def begin(self, mode: Mode) -> None:  # noqa: B027  # most models keep no state
        """Prepare a mode. The next image has no predecessor."""

    def close(self) -> None:  # noqa: B027  # most models have nothing to free
        """Free all resources."""


class WindowModel(Model):
    """Model that uses the neighbouring frames of a recording."""

    @abstractmethod
    def predict_window(self, samples: Sequence[Sample], index: int) -> list[Prediction]:
        """Return the hands of one sample, from the frames around it in its recording."""


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluatedItem:
    """Evaluated item: an instance or an image."""

    instance: int = -1  # index in the sample, -1 for the image
    side: str | None = None  # side of a hand, if known
    hidden: float = math.nan  # share of its keypoints that are hidden; NaN where unknown
    # errors per keypoint, by alignment or metric; NaN is not evaluated, inf not predicted
    errors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict[str, "NDArray[np.float64]"])
    # single metrics, with the same meaning of NaN and inf
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    points_px: NDArray[np.float64] | None = None  # predicted keypoints (K, 2), for drawings
    records: Sequence[Mapping[str, Any]] = ()  # COCO records for average precision
    # labels of the person: region, skin tone, gender, age
    group: Mapping[str, str] = field(default_factory=dict[str, str])
    # conditions of its image; several values are separated by "; "
    conditions: Mapping[str, str] = field(default_factory=dict[str, str])
    track: str = ""  # recording and hand that it is a frame of; "" outside of recordings
    frame: int = 0  # frame number in the recording
    # predicted and true keypoints (2, K, 3) relative to the root, in the unit of the errors, of a frame of a track
    motion: NDArray[np.float64] | None = None

    def to_dict(self) -> Mapping[str, object]:
        """Return plain JSON types: NaN is null, and infinity a text."""
        return self.__dict__ | {
            "hidden": _plain(self.hidden),
            "errors": {name: _plain(item.tolist()) for name, item in self.errors.items()},
            "numbers": {name: _plain(item) for name, item in self.numbers.items()},
            "points_px": None if self.points_px is None else _plain(self.points_px.round(3).tolist()),
            "motion": None if self.motion is None else _plain(self.motion.tolist()),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "EvaluatedItem":
        """Return the item that `to_dict` wrote."""
        arrays: dict[str, Any] = {
            name: None if (item := data[name]) is None else _array(item) for name in ("points_px", "motion")
        }
        read: dict[str, Any] = {
            "hidden": float(_array(data["hidden"])),
            "errors": {name: _array(item) for name, item in data["errors"].items()},
            "numbers": {name: float(_array(item)) for name, item in data["numbers"].items()},
        }
        return cls(**{**data, **read, **arrays})


def match_predictions(
    instances: Sequence[tuple[int, Instance]], predictions: Sequence[Prediction]
) -> dict[int, Prediction]:
    """Match predictions with instances one to one, nearest first.

    A prediction with an instance index belongs to that instance. Others are matched by their keypoints in the image, at
    a mean distance of at most half the instance's size, or without them by side, or if there is only one of both.
    """
    matches = {prediction.instance: prediction for prediction in predictions if prediction.instance is not None}
    free = [prediction for prediction in predictions if prediction.instance is None]
    left = [(number, instance) for number, instance in instances if number not in matches]
    pairs = [
        (distance, index, number, prediction)
        for index, prediction in enumerate(free)
        for number, instance in left
        if (distance := _distance(instance, prediction, is_only=len(left) == len(free) == 1)) is not None
    ]
    used: set[int] = set()
    for _, index, number, prediction in sorted(pairs, key=lambda pair: pair[:3]):
        if index not in used and number not in matches:
            used.add(index)
            matches[number] = prediction
    return matches


def group_of(instance: Instance) -> dict[str, str]:
    """Return the labels of the person without those that identify the person."""
    group: Mapping[str, Any] = instance.extra.get("group") or {}
    return {str(name): str(value) for name, value in group.items() if name != "subject" and value is not None}


def in_known_order(instance: Instance, sample: Sample) -> Instance | None:
    """Return an instance whose keypoints have a known order, a hand in MediaPipe's; None without such keypoints.

    Raises:
        InputError: The keypoints have neither names nor a stated order.
    """
    if instance.kind == "hand":
        return ordered_hand(instance, name_of(sample))
    if instance.kind != "object" and instance.keypoints_px is not None and instance.skeleton is None:
        raise InputError(
            f"{name_of(sample)}: the order of the {len(instance.keypoints_px)} keypoints of a {instance.kind} is not "
            "known. Name them in the file, or state the order as keypoint_order, such as body_coco17"
        )
    return instance


def hidden_share(instance: Instance) -> float:
    """Return the share of an instance's labelled keypoints that are hidden, 0 to 1; NaN if unlabelled."""
    if instance.visible is None:
        return math.nan
    labelled = np.ones(len(instance.visible), np.bool_) if instance.valid_px is None else instance.valid_px
    return 1 - float(instance.visible[labelled].mean()) if labelled.any() else math.nan


def match_shape(prediction: NDArray[np.floating] | None, truth: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return a prediction in the shape (K, D) and the unit of the truth; NaN without one."""
    if prediction is None:
        return np.full(truth.shape, np.nan)
    if prediction.shape != truth.shape:
        raise InputError(
            f"{name} {prediction.shape} for a truth of {truth.shape}: must have one row per keypoint, in the same order"
        )
    return np.asarray(prediction, np.float64)


def _distance(instance: Instance, prediction: Prediction, *, is_only: bool) -> float | None:
    """Return the distance of a prediction from an instance in units of its size; None if it does not match."""
    truth = instance.labelled_px
    if truth is not None and prediction.keypoints_px is not None and len(truth) == len(prediction.keypoints_px):
        errors_px = np.linalg.norm(np.asarray(prediction.keypoints_px, np.float64)[:, :2] - truth, axis=1)
        size = float(np.nanmax(np.nanmax(truth, 0) - np.nanmin(truth, 0)))
        if not np.isfinite(errors_px).any() or not size > 0:
            return None
        share = float(np.nanmean(errors_px)) / size
        return share if share <= _MAX_MATCH_DISTANCE else None
    if instance.side is not None and prediction.side is not None:
        return 1.0 if instance.side == prediction.side else None
    return 1.0 if is_only else None


def _plain(value: Any) -> Any:  # noqa: ANN401  # numbers, and lists of them
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if math.isnan(value):
        return None
    return "inf" if math.isinf(value) else value


def _array(value: Any) -> NDArray[np.float64]:  # noqa: ANN401
    return np.array(value, np.float64)  # None reads as NaN, "inf" as infinity


def prediction_from_result(instance: Result, person: int | None = None) -> Prediction:
    """Return a hand, face or body of Sonjit as a prediction; `person` is the index of its person in the image."""
    points = np.asarray(instance.keypoints, np.float64)
    return Prediction(
        skeleton=instance.skeleton.name,
        side=instance.handedness,
        side_score=1.0 if (sure := getattr(instance, "handedness_score", None)) is None else float(sure),
        score=float(instance.score),
        keypoints_px=points[:, :2],
        visible=np.asarray(instance.visibility > _MIN_VISIBILITY, np.bool_) if isinstance(instance, Body) else None,
        keypoints_m=None if instance.keypoints_3d is None else np.asarray(instance.keypoints_3d, np.float64),
        box=instance.box,
        person=person,
    )


def predictions_from_results(results: Sequence[Any]) -> list[Prediction]:
    """Return hands, faces and bodies as predictions, and people as their parts."""
    return [
        prediction_from_result(part, number if isinstance(item, Body | Person) else None)
        for number, item in enumerate(results)
        for part in (item.parts if isinstance(item, Person) else (item,))
    ]


class ImpossibleTableError(InputError):
    """Error of a table with contradictory numbers."""


class Units(TypedDict):
    """Evaluated items as columns, with a row per item."""

    place: list[int]
    dataset: list[str]
    sample: list[str]
    instance: list[int]
    subject: list[str | None]
    side: list[str | None]
    group: list[dict[str, str]]
    value: list[float | None]
    found: list[bool]


def labelled_units(units: Units) -> Units:
    """Return the rows of labelled instances, or of images, without those of false and duplicate detections."""
    if max(units["instance"], default=-1) < 0:
        return units
    kept = [row for row, instance in enumerate(units["instance"]) if instance >= 0]
    columns = cast("Mapping[str, list[Any]]", units).items()
    return cast("Units", {name: [column[row] for row in kept] for name, column in columns})


class MetricRecord(TypedDict):
    """One `metrics.Metric`; None for NaN."""

    name: str
    title: str
    value: float | None
    unit: str
    better: Literal["lower", "higher"]
    low: float | None
    high: float | None
    counted: int
    missing: int


class PartRecord(TypedDict):
    """Mean of a joint, finger or other part, ends of its interval, and numbers of values and of missing ones."""

    name: str
    mean: float | None
    low: float | None
    high: float | None
    counted: int
    missing: int


class CurveRecord(TypedDict):
    """One `sonjit.report.documents.Curve`; None for NaN."""

    title: str
    x: list[float]
    y: list[float | None]
    unit: str


class WorstRecord(TypedDict):
    """One of the worst cases: its row in the units, and the file of its image."""

    row: int
    file: str


class RunRecord(TypedDict):
    """One mode of an evaluation: a `metrics.MetricSummary`, and the worst rows of `units` with their image files."""

    metrics: list[MetricRecord]
    parts: dict[str, list[PartRecord]]
    curves: list[CurveRecord]
    mode: Mode
    main: str
    samples: int
    evaluated: int
    left_out: list[str]
    doubtful: NotRequired[list[str]]  # contradictions of labels that were evaluated
    intervals_draw: str
    units: Units
    worst: NotRequired[list[WorstRecord]]
    patterns: NotRequired[dict[str, str]]


class FileRecord(TypedDict):
    """File of a model with its hash if it exists: `name` in the catalog of published weights, or a `path`."""

    name: NotRequired[str]
    file: str
    path: NotRequired[str]
    sha256: NotRequired[str]


class ModelRecord(TypedDict):
    """Name, files and options of a model for reports: the search of a detector, and settings outside the weights.

    `settings` are those of a classifier's evaluation; `supervision` is what it was trained on, weak for classes only.
    """

    name: str
    files: list[FileRecord]
    search: NotRequired[str]
    max_instances: NotRequired[int]
    layout: NotRequired[str]
    root_input_scale: NotRequired[float]
    settings: NotRequired[dict[str, str]]
    supervision: NotRequired[str]


class EvaluationRecord(TypedDict):
    """Content of eval.json."""

    protocol: Mapping[str, Any]
    data: list[Mapping[str, Any]]
    samples: int
    model: ModelRecord
    sonjit: str
    command: str
    complete: bool
    data_sha256: str
    machine: Mapping[str, Any]
    versions: dict[str, str]
    skipped: list[str]
    runs: list[RunRecord]


def load_evaluation(path: Path) -> EvaluationRecord:
    """Load an eval.json and check its consistency."""
    record = data_files.read_json(path)
    if not isinstance(record, dict) or not {"protocol", "model", "runs", "data"} <= record.keys():
        raise InputError(f"{path} is not an eval.json of sonjit eval")
    try:
        evaluation = cast("EvaluationRecord", record)
        for run in evaluation["runs"]:
            _check(path, evaluation, run)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged, or was written by another version of sonjit eval ({error})") from None
    return evaluation


def main_metric(run: RunRecord) -> MetricRecord | None:
    """Return the main metric of a run, or None if the run lacks it."""
    return next((metric for metric in run["metrics"] if metric["name"] == run["main"]), None)


def _check(path: Path, record: EvaluationRecord, run: RunRecord) -> None:
    """Refuse metrics that contradict themselves."""
    main = main_metric(run)
    for metric in run["metrics"]:
        low, high = metric["low"], metric["high"]
        if metric["value"] is not None and low is not None and high is not None and low > high:
            raise ImpossibleTableError(f"{path}: {metric['name']}: its interval {low:g} to {high:g} is upside down")
    unit_values = [value for value in run["units"]["value"] if value is not None]
    if main is None or main["value"] is None or not unit_values or record["protocol"]["average"] != "all":
        return
    low, high = min(unit_values), max(unit_values)
    slack = 1e-6 * max(1.0, abs(high))
    if not low - slack <= main["value"] <= high + slack:
        raise ImpossibleTableError(
            f"{path}: {main['name']}, {run['mode']}: the mean {main['value']:g} is outside of its values, "
            f"{low:g} to {high:g}"
        )


@dataclass(frozen=True)
class JournalLine:
    """One sample with its evaluation."""

    place: int  # index of the sample in the run's order
    dataset: str  # name of its data set
    id: str  # id of the sample
    subject: str | None  # subject; None where unknown
    sha256: str  # hash of its labels and image
    evaluated: tuple[EvaluatedItem, ...]  # items of its instances, or one for the image
    problem: str | None = None  # reason why it was excluded; None if it was evaluated
    doubt: str | None = None  # contradiction of its labels; None without one
    submission: str = ""
    sequence: str | None = None

    def to_json(self) -> str:
        """Return the line."""
        data = self.__dict__ | {"evaluated": [item.to_dict() for item in self.evaluated]}
        return json_from(data)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the object of a line from `to_json`."""
        data = json.loads(line)
        return cls(**data | {"evaluated": tuple(EvaluatedItem.from_dict(item) for item in data["evaluated"])})


class Journal:
    """Journal that grows by a line per sample in any order, and is sorted when it is closed.

    Another run than `about` cannot resume from it. `groups`: indices of the samples that are evaluated together, in the
    order of the lines. Incomplete groups, and those with samples that are not `is_current`, are evaluated again.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        groups: Sequence[tuple[int, ...]],
        *,
        resume: bool,
        is_current: Callable[[JournalLine], bool] = lambda _: True,
    ) -> None:
        self.path = path
        self._description = json_from(about, spaced=True)
        self._order = [index for group in groups for index in group]
        lines = self._read(check=True) if resume and path.is_file() else []
        done = {line.place for line in lines if is_current(line)}
        self.left = [group for group in groups if not done.issuperset(group)]
        repeated = {index for group in self.left for index in group}
        self._write([line for line in lines if line.place not in repeated])

    def close(self) -> list[JournalLine]:
        """Sort the lines and return them."""
        lines = self._read()
        self._write(lines)
        return lines

    def _write(self, lines: Sequence[JournalLine]) -> None:
        write_text(self.path, "".join(f"{line}\n" for line in (self._description, *(line.to_json() for line in lines))))

    def _read(self, *, check: bool = False) -> list[JournalLine]:
        """Return the lines in order. A truncated line is evaluated again."""
        try:
            about, *rest = self.path.read_text("utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be read ({error}); start again without --resume") from None
        if check:
            self._check(about)
        by_place: dict[int, JournalLine] = {}
        for text in rest:
            try:
                line = JournalLine.from_json(text)
            except (ValueError, KeyError, TypeError, OverflowError):
                continue
            by_place[line.place] = line
        return [by_place[index] for index in self._order if index in by_place]

    def _check(self, about: str) -> None:
        current = json.loads(self._description)
        try:
            before = json.loads(about)
        except ValueError:
            raise InputError(f"{self.path} is not a journal of sonjit eval; start again without --resume") from None
        if differs := [key for key in current if before.get(key) != current[key]]:
            raise InputError(f"{self.path} is of a run with another {', '.join(differs)}; start again without --resume")


def hash_of(sample: Sample) -> str:
    """Return the hash of a sample's labels and image. Its names and licence do not count."""
    try:
        labels = sample_to_dict(sample)
    except InputError:  # a protocol without masks does not need their files
        unmasked = tuple(replace(instance, read_mask=None) for instance in sample.instances)
        labels = sample_to_dict(replace(sample, instances=unmasked))
    digest = hashlib.sha256(json_from({k: v for k, v in labels.items() if k not in _UNHASHED}).encode())
    digest.update(sample.image.read_bytes() if isinstance(sample.image, Path) else sample.rgb().tobytes())
    return digest.hexdigest()


def hash_of_lines(lines: Sequence[JournalLine]) -> str:
    """Return the hash of all data of a run, in its order."""
    return hashlib.sha256("".join(line.sha256 for line in lines).encode()).hexdigest()
