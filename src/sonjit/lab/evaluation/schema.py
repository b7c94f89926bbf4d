"""Fields of eval.json as types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.lab.evaluation.predictions import Mode


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
