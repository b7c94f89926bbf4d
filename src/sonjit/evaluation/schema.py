"""The fields of eval.json, as types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.evaluation.predictions import Mode


class MetricRecord(TypedDict):
    """One metric, see `metrics.Metric`; None for NaN."""

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
    """The main metric of one keypoint, part or bin of how much is hidden."""

    name: str
    mean: float | None
    low: float | None
    high: float | None
    counted: int
    missing: int


class CurveRecord(TypedDict):
    """A curve, see `documents.plots.Curve`."""

    title: str
    x: list[float]
    y: list[float | None]
    unit: str


class SummaryRecord(TypedDict):
    """What a run comes to, see `metrics.MetricSummary`."""

    metrics: list[MetricRecord]
    parts: dict[str, list[PartRecord]]
    curves: list[CurveRecord]


class Units(TypedDict):
    """A column per property of what was evaluated, a row each."""

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
    """A row of `Units` that is drawn, and the image's file."""

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
    """A model's file; by its name in the catalog, with its hash where it is there."""

    name: NotRequired[str]
    file: str
    sha256: NotRequired[str]


class ModelRecord(TypedDict):
    """A model's name in reports, its files, and what else was chosen: a detector's search, what weights do not say.

    `settings` are how a classifier was asked; `supervision` is what it was trained on: weak, on classes alone.
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
    """What eval.json holds."""

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
