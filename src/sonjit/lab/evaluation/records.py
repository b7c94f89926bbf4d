"""Records of an evaluation: eval.json, and the journal of samples from which a stopped run resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, Self, TypedDict, cast

from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError
from sonjit._util.files import write_text
from sonjit._util.json_text import json_from
from sonjit.lab.datasets import Sample
from sonjit.lab.evaluation.predictions import EvaluatedItem, Mode


class ImpossibleTableError(InputError):
    """Error of a table with contradictory numbers."""


class MetricRecord(TypedDict):
    """Metric, see `metrics.Metric`; None for NaN."""

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
    """Main metric of one keypoint, part or bin of the hidden share."""

    name: str
    mean: float | None
    low: float | None
    high: float | None
    counted: int
    missing: int


class CurveRecord(TypedDict):
    """Curve, see `documents.plots.Curve`."""

    title: str
    x: list[float]
    y: list[float | None]
    unit: str


class SummaryRecord(TypedDict):
    """Summary of a run, see `metrics.MetricSummary`."""

    metrics: list[MetricRecord]
    parts: dict[str, list[PartRecord]]
    curves: list[CurveRecord]


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


class WorstCase(TypedDict):
    """Row of `Units` that is drawn, and its image file."""

    row: int
    file: str


class RunRecord(SummaryRecord):
    """One mode of an evaluation."""

    mode: Mode
    main: str
    samples: int
    evaluated: int
    left_out: list[str]
    intervals_draw: str
    units: Units
    worst: NotRequired[list[WorstCase]]
    patterns: NotRequired[dict[str, str]]


class FileRecord(TypedDict):
    """File of a model with its hash if it exists.

    `name` is its name in the catalog of published weights. Files of the caller have a `path` instead.
    """

    name: NotRequired[str]
    file: str
    path: NotRequired[str]
    sha256: NotRequired[str]


class ModelRecord(TypedDict):
    """Name, files and options of a model for reports: a detector's search, and what the weights do not contain.

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
    data: list[dict[str, str]]
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
    record = read_json(path)
    if not isinstance(record, dict) or not {"protocol", "model", "runs", "data"} <= record.keys():
        raise InputError(f"{path} is not an eval.json of sonjit eval")
    try:
        found = cast("EvaluationRecord", record)
        for run in found["runs"]:
            _check(path, found, run)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged, or was written by another version of sonjit eval ({error})") from None
    return found


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
    known = [value for value in run["units"]["value"] if value is not None]
    if main is None or main["value"] is None or not known or record["protocol"]["average"] != "all":
        return
    low, high = min(known), max(known)
    slack = 1e-6 * max(1.0, abs(high))
    if not low - slack <= main["value"] <= high + slack:
        raise ImpossibleTableError(
            f"{path}: {main['name']}, {run['mode']}: the mean {main['value']:g} is outside of its values, "
            f"{low:g} to {high:g}"
        )


@dataclass(frozen=True)
class JournalLine:
    """One sample with its evaluation.

    Attributes:
        place: Index of the sample in the run's order.
        dataset: Name of its data set.
        id: Id of the sample.
        subject: Subject; None where unknown.
        sha256: Hash of its labels and image.
        evaluated: Items of its instances, or one for the image.
        problem: Reason why it was excluded; None if it was evaluated.
    """

    place: int
    dataset: str
    id: str
    subject: str | None
    sha256: str
    evaluated: tuple[EvaluatedItem, ...]
    problem: str | None = None
    submission: str = ""

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

    Args:
        path: File of the journal.
        about: Description of the run. Another run cannot resume from it.
        groups: Indices of the samples that are evaluated together, in the order of the lines.
        resume: Resume from an existing file. Incomplete or changed groups are evaluated again.
        is_current: Function that checks whether the sample of a line is unchanged.

    Attributes:
        left: Groups still to evaluate.
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
        found: dict[int, JournalLine] = {}
        for text in rest:
            try:
                line = JournalLine.from_json(text)
            except (ValueError, KeyError, TypeError):
                continue
            found[line.place] = line
        return [found[index] for index in self._order if index in found]

    def _check(self, about: str) -> None:
        current = json.loads(self._description)
        try:
            before = json.loads(about)
        except ValueError:
            raise InputError(f"{self.path} is not a journal of sonjit eval; start again without --resume") from None
        if differs := [key for key in current if before.get(key) != current[key]]:
            raise InputError(
                f"{self.path} belongs to a run with another {', '.join(differs)}; start again without --resume"
            )


def hash_of(sample: Sample) -> str:
    """Return the hash of a sample's labels and image."""
    digest = hashlib.sha256()
    for instance in sample.instances:
        for array in (
            instance.keypoints_px,
            instance.valid_px,
            instance.keypoints_m,
            instance.valid_m,
            instance.vertices_m,
        ):
            digest.update(b"-" if array is None else array.tobytes())
        digest.update(
            repr(
                (
                    instance.kind,
                    instance.side,
                    instance.box,
                    instance.category_id,
                    instance.crowd,
                    instance.extra.get("clear"),
                )
            ).encode()
        )
    match sample.image:
        case bytes():
            digest.update(sample.image)
        case Path():
            digest.update(sample.image.read_bytes())
        case _:
            digest.update(sample.rgb().tobytes())
    return digest.hexdigest()


def hash_of_lines(lines: Sequence[JournalLine]) -> str:
    """Return the hash of all data of a run, in its order."""
    return hashlib.sha256("".join(line.sha256 for line in lines).encode()).hexdigest()
