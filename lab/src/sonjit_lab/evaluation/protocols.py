"""Protocols, the samples that they evaluate, published tables next to Sonjit's metrics, and tables of groups.

A protocol is a TOML file with the samples, alignment and metrics of a published table. Published tables are checked
too, because a mean outside of its own range is impossible. A table of groups shows how evenly a model serves groups.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import combinations, groupby, islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from sonjit._util import InputError, SonjitError, data_files, unknown_name
from sonjit.report import documents as docs
from sonjit.report.documents import number
from sonjit_lab.datasets import Dataset, Sample, open_dataset
from sonjit_lab.datasets.dataset import AbsentError
from sonjit_lab.evaluation import predictions
from sonjit_lab.evaluation.metrics import class_order
from sonjit_lab.metrics import group_report, mean_interval

_MAX_LABEL_SAMPLES = 100  # number of samples that are read to find the kind of labels
Alignment = Literal["absolute", "root", "bone", "procrustes"]
T = TypeVar("T")
FEWEST = 20  # minimum number of instances of a group
_GROUP_KEYS = ("dataset", "sample", "subject", "instance")
_PAIR_SEPARATOR = " x "


@dataclass(frozen=True)
class DataChoice:
    """Data set of a protocol."""

    set: str  # name of the set
    splits: tuple[str, ...] = ()  # splits, of which the first existing one is used; by default the set's first
    folder: str = ""  # folder below the root; "" if the root is the set's own
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])  # options of the set


@dataclass(frozen=True)
class Protocol:
    """Definition of a table.

    Attributes:
        name: Name for `--protocol`.
        title: Title for reports.
        source: Author or page of the definition.
        task: Name of the registered evaluator.
        main: Main metric.
        unit: Unit of its metrics.
        data: Data sets, of which those that exist are used.
        average: Averaging of 3D joints: by joint first, or over all values.
        alignments: Alignments of 3D joints, each with its own metrics.
        root: Joint that 3D joints are relative to: the wrist, or the palm's centre, which then replaces the wrist.
        names: Names of metrics by alignment, if they have their own.
        mirror: True if Procrustes may reflect, as in the released code.
        auc: Minimum and maximum threshold of PCK in the unit, and the number of thresholds.
        f_thresholds: Thresholds of F-scores of meshes, in the unit.
        curve: Minimum, maximum and number of thresholds of the 2D curve.
        pupils: True if face errors are also given in units of the distance of the pupils.
        parts: Parts of people that are evaluated in addition to the body.
        tables: Published tables to compare with.
        notes: Notes for readers of the table.
        modes: Modes of the model; by default all.
        search: Default search of detectors.
        max_instances: Default maximum number of instances of detectors.
        exhaustive: True if everything is labelled, so that other detections are false; otherwise they do not count.
        submission: Format of the challenge's server for joints and vertices; "" without a server.
        last_pixels: True if the labels' boxes end with the last pixels of objects, which overlaps then include.
    """

    name: str
    title: str
    source: str
    task: str
    main: str
    unit: str
    data: tuple[DataChoice, ...]
    average: Literal["joint", "all"] = "joint"
    alignments: tuple[Alignment, ...] = ()
    root: Literal["wrist", "palm"] = "wrist"
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    mirror: bool = False
    auc: tuple[float, float, int] = (0, 50, 100)
    f_thresholds: tuple[float, ...] = ()
    curve: tuple[float, float, int] = (0, 50, 101)
    pupils: bool = False
    parts: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    modes: tuple[predictions.Mode, ...] = ()
    search: str = "fast"
    max_instances: int = 4
    exhaustive: bool = True
    submission: Literal["", "freihand", "ho3d", "dexycb"] = ""
    last_pixels: bool = False


def list_protocols() -> list[str]:
    """Return the sorted names of all protocols."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def load_protocol(name: str | Path) -> Protocol:
    """Load a protocol.

    Args:
        name: Name from `list_protocols`, or path of a TOML file, whose name is then the default for the protocol's.

    Raises:
        InputError: The name is unknown (the message lists the known ones), or the file cannot be read or is no
            protocol.
    """
    name = str(name)
    if name.endswith(".toml"):
        return data_files.read_toml(Path(name), Protocol, name=Path(name).stem)
    if name not in (known := list_protocols()):
        raise InputError(f"Unknown protocol {name!r}. Choose from {', '.join(known)}, or the path of a .toml file")
    return data_files.read_toml(_folder() / f"{name}.toml", Protocol, name=name)


def _folder() -> Traversable:
    return resources.files("sonjit_lab.evaluation") / "protocols"


class ProtocolData:
    """Samples of one or several data sets as one sequence, at most `limit` of each set.

    `root`: the set's own folder, or the folder that contains those of several sets; `chosen`: other sets, "NAME" or
    "NAME:SPLIT", in the root; `split`: replaces the protocol's.
    """

    def __init__(
        self,
        protocol: Protocol,
        root: Path,
        *,
        chosen: Sequence[str] = (),
        split: str | None = None,
        skip_bad: bool = False,
        limit: int | None = None,
    ) -> None:
        self._skip_bad = skip_bad
        if not root.is_dir():
            raise InputError(f"--root {root}: no such folder; choose the folder of the data set")
        options = {choice.set: choice.options for choice in protocol.data}  # a set of the protocol keeps them
        pairs = [name.partition(":") for name in chosen]
        own = [DataChoice(name, (part,) if part else (), options=options.get(name, {})) for name, _, part in pairs]
        choices = own or list(protocol.data)
        if split is not None:
            choices = [replace(choice, splits=(split,)) for choice in choices]
        existing = [choice for choice in choices if (root / choice.folder).is_dir()]
        if not existing:
            expected = ", ".join(choice.folder for choice in choices)
            raise InputError(f"--root {root} has no folder of {protocol.name}'s data sets ({expected}); set --data")
        self.choices = existing
        self.sets: list[Dataset] = [_open(choice, root / choice.folder, skip_bad=skip_bad) for choice in existing]
        self._indices = [
            (number, index)
            for number, dataset in enumerate(self.sets)
            for index in range(len(dataset) if limit is None else min(limit, len(dataset)))
        ]
        if not self._indices:
            raise InputError(f"{', '.join(choice.set for choice in existing)} in {root}: no sample to evaluate")
        self.skipped = [f"{item.id}: {item.reason}" for dataset in self.sets for item in dataset.skipped]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, row: int) -> Sample:
        number, index = self._indices[row]
        return self.sets[number][index]

    def order_by_recording(self) -> "RecordedData":
        """Return the same samples with those of each recording in succession."""
        return RecordedData(self, [index for group in self.recordings() for index in group])

    def recordings(self) -> list[tuple[int, ...]]:
        """Return the indices of each recording's images in order, as tracking needs them; other images are single."""
        keys: list[tuple[int, bool, str, str, int, int]] = []
        for index, (of_set, _) in enumerate(self._indices):
            sample = self[index]
            if sample.sequence is None:
                keys.append((of_set, False, "", "", index, index))
            else:
                keys.append((of_set, True, sample.sequence, sample.view or "", sample.frame or 0, index))
        groups = groupby(sorted(keys), lambda key: key[:4] if key[1] else key)
        return [tuple(key[-1] for key in group) for _, group in groups]

    def readable(self) -> Iterator[Sample]:
        """Yield all samples except bad ones that are excluded."""
        for index in range(len(self)):
            try:
                sample = self[index]
            except SonjitError:
                if not self._skip_bad:
                    raise
            else:
                yield sample

    def labels(self) -> predictions.LandmarkKind:
        """Return the kind of the first labelled keypoints, or hands if the first samples have none."""
        for sample in islice(self.readable(), _MAX_LABEL_SAMPLES):
            for instance in sample.instances:
                if instance.kind != "object" and instance.keypoints_px is not None:
                    return instance.kind
        return "hand"

    def categories(self) -> dict[int, str]:
        """Return the names of the classes of all sets by id."""
        return {item: name for dataset in self.sets for item, name in dataset.categories().items()}

    def describe(self) -> list[dict[str, str]]:
        """Return sets, splits, licences and download pages."""
        return [
            {
                "set": dataset.entry.name,
                "split": dataset.split,
                "licence": dataset.entry.licence,
                "where": dataset.entry.where,
            }
            for dataset in self.sets
        ]


class RecordedData(Sequence["Sample"]):
    """Samples in the order of their recordings; `order` has their indices in the data, and `at` is the inverse."""

    def __init__(self, data: ProtocolData, order: Sequence[int]) -> None:
        self._data = data
        self.order = order
        self.at = {index: number for number, index in enumerate(order)}

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Sample:  # pyright: ignore[reportIncompatibleMethodOverride]  # no slices
        return self._data[self.order[index]]


def _open(choice: DataChoice, root: Path, *, skip_bad: bool) -> Dataset:
    """Open a set with the first of its splits that exists. If none does, the error is about the first."""
    first = None
    for split in choice.splits or (None,):
        try:
            return open_dataset(choice.set, root, split, skip_bad=skip_bad, **choice.options)
        except AbsentError as error:
            first = first or error
    assert first is not None
    raise first


@dataclass(frozen=True)
class Column:
    """Metric of a published table."""

    metric: str  # name of the metric in Sonjit's evaluation
    title: str  # title in the published table
    unit: str  # unit of the numbers; "" for shares


@dataclass(frozen=True)
class Row:
    """Method of a published table."""

    method: str  # name of the method
    values: tuple[float, ...]  # value of each column; NaN where nothing was published
    source: str  # paper, table or page
    kind: str = ""  # input or training of the method; "" without
    reference: str = ""  # number in the references of the table's paper, such as "[36]"; "" without

    @property
    def title(self) -> str:
        """Return name and reference."""
        return f"{self.method} {self.reference}".strip()


@dataclass(frozen=True)
class PublishedTable:
    """Published benchmark."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    kind: str = ""  # heading of the rows' kinds if they have their own column; "" if they follow the method


@dataclass(frozen=True)
class GroupSummary:
    """Published statistics of the means of groups."""

    model: str  # name of the model
    factor: str  # factor in which the groups differ
    low: float  # smallest group mean
    high: float  # largest group mean
    mean: float = math.nan  # mean of the groups' means; NaN where not given, as for the following attributes
    stdev: float = math.nan  # standard deviation over the groups
    discrepancy: float = math.nan  # difference between groups: largest minus smallest, or average minus worst
    count: int | None = None  # number of groups; None where not given
    mode: str = ""  # tracking or reacquisition; "" where not given


@dataclass(frozen=True)
class PublishedGroups:
    """Groups of a published model card."""

    name: str
    title: str
    metric: str  # name of the metric in Sonjit's evaluation
    unit: str
    better: str  # direction of improvement: "lower" or "higher"
    source: str
    groups: tuple[GroupSummary, ...]
    goal: float = math.nan  # maximum discrepancy that the card allows; NaN without


def list_published() -> list[str]:
    """Return the sorted names of all published tables."""
    files = (resources.files("sonjit_lab.evaluation") / "published").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_table(name: str) -> PublishedTable:
    """Load a published benchmark.

    Raises:
        InputError: The name is unknown, or is that of a card's groups.
    """
    table = _load(name, PublishedTable, "columns", f"{name} contains the groups of a model card: use load_groups")
    for row in table.rows:
        if len(row.values) != len(table.columns):
            raise predictions.ImpossibleTableError(
                f"{name}: {row.method} has {len(row.values)} values for {len(table.columns)} columns"
            )
    return table


def load_groups(name: str) -> PublishedGroups:
    """Load the groups of a published card as printed; `check_summary` checks them.

    Raises:
        InputError: The name is unknown, or is that of a benchmark.
    """
    return _load(name, PublishedGroups, "groups", f"{name} contains the rows of a benchmark: use load_table")


def _load(name: str, kind: type[T], key: str, problem: str) -> T:
    if name not in (known := list_published()):
        raise InputError(unknown_name("published table", name, known))
    file = resources.files("sonjit_lab.evaluation") / "published" / f"{name}.toml"
    if key not in data_files.read_toml_table(file):
        raise InputError(problem)
    return data_files.read_toml(file, kind, name=name)


def check_summary(summary: GroupSummary) -> None:
    """Refuse impossible statistics: a mean outside of the range, or more spread than the range allows."""
    rounding = 0.05  # the largest of each printed number
    low, high, slack = summary.low, summary.high, 2 * rounding
    groups = max(summary.count or 0, 2)
    bound = (high - low) / 2 * math.sqrt(groups / (groups - 1))  # Popoviciu's bound, of a sample
    if low > high + rounding:
        problem = f"the minimum {low:g} is above the maximum {high:g}"
    elif summary.mean < low - slack or summary.mean > high + slack:
        problem = f"the mean {summary.mean:g} is outside of its range, {low:g} to {high:g}"
    elif summary.stdev < 0 or summary.stdev > bound + slack:
        problem = (
            f"groups between {low:g} and {high:g} cannot have a standard deviation of {summary.stdev:g}; "
            f"at most {bound:.3g}"
        )
    elif summary.discrepancy < -slack or summary.discrepancy > high - low + slack:
        problem = f"a discrepancy of {summary.discrepancy:g} is more than the range, {low:g} to {high:g}"
    else:
        return
    mode = f", {summary.mode}" if summary.mode else ""
    raise predictions.ImpossibleTableError(f"{summary.model}, {summary.factor}{mode}: {problem}")


def published_blocks(record: predictions.EvaluationRecord) -> Iterator[docs.Block]:
    """Yield published tables that share a metric with a record of their protocol, and the groups of published cards."""
    main = {run["main"] for run in record["runs"]}
    tables = [(table, comparison(table, record)) for table in map(load_table, record["protocol"]["tables"])]
    shown = [(table, block) for table, block in tables if block is not None]
    groups = [block for metric in sorted(main) for block in published_groups(metric)]
    if shown or groups:
        yield docs.Heading("Comparison with published results")
    for table, block in shown:
        yield docs.Heading(table.title, 3)
        yield block
        yield from map(docs.Text, table.notes)
    yield from groups


def comparison(table: PublishedTable, record: predictions.EvaluationRecord) -> docs.Table | None:
    """Return a published table with a row of ours per mode; None without a common metric."""
    model, samples = record["model"], record["samples"]
    name = ", ".join([model["name"], *model.get("settings", {}).values()])
    sets = f"{', '.join(item['set'] for item in record['data'])}: {samples} image{'s' * (samples != 1)}"
    ours: list[tuple[str, ...]] = []
    for run in record["runs"]:
        metrics = {metric["name"]: metric for metric in run["metrics"]}
        cells = [
            number(_convert_unit(metrics[column.metric], column.unit)) if column.metric in metrics else "–"
            for column in table.columns
        ]
        if any(cell != "–" for cell in cells):
            kind = (model.get("supervision", "–"),) if table.kind else ()
            ours.append((f"Sonjit: {name}, {run['mode']}", *kind, *cells, sets))
    return table_block(table, ours) if ours else None


def _convert_unit(metric: predictions.MetricRecord, unit: str) -> float | None:
    """Return a metric in a published table's unit: shares and per cent differ by 100."""
    value = metric["value"]
    if value is None or metric["unit"] == unit:
        return value
    return value / 100 if metric["unit"] == "%" else value * 100


def table_block(table: PublishedTable, ours: Sequence[tuple[str, ...]] = ()) -> docs.Table:
    """Return a published table below our rows: method, kind if the table has that column, values, data."""
    headings = (f"{column.title} {column.unit}".strip() for column in table.columns)
    rows = [
        (
            *((row.title, row.kind) if table.kind else (f"{row.title}{f' ({row.kind})' if row.kind else ''}",)),
            *map(number, row.values),
            row.source,
        )
        for row in table.rows
    ]
    kind = (table.kind,) if table.kind else ()
    return docs.Table(("method", *kind, *headings, "data or source"), (*ours, *rows), text_columns=1 + len(kind))


def published_groups(metric: str) -> Iterator[docs.Block]:
    """Yield the groups of published cards for a metric, and report impossible ones."""
    for card in cards_of(metric):
        rows: list[tuple[str, ...]] = []
        refused: list[str] = []
        for group in card.groups:
            try:
                check_summary(group)
            except predictions.ImpossibleTableError as error:
                refused.append(f"not shown: {error}")
                continue
            model_and_mode = f"{group.model}{f', {group.mode}' if group.mode else ''}"
            cells = (group.mean, group.stdev, group.low, group.high, group.high - group.low)
            rows.append((model_and_mode, group.factor, *(number(value) for value in cells), str(group.count or "–")))
        yield docs.Heading(f"Published: {card.title}", 3)
        headings = ("model", "by", "mean %", "sd", "least", "greatest", "greatest - least", "groups")
        yield docs.Table(headings, tuple(rows))
        if refused:
            yield docs.BulletList(tuple(refused))
        yield docs.Text(f"Source: {card.source}. On images that were never published: they do not rank against ours.")


def cards_of(metric: str) -> list[PublishedGroups]:
    """Return the published cards with that metric."""
    cards = (load_groups(name) for name in list_published() if name.startswith("card-"))
    return [card for card in cards if card.metric == metric]


@dataclass(frozen=True)
class GroupRow:
    """Row of a table of groups."""

    name: str  # name of the group
    count: int  # number of instances with a value
    missing: int  # number of instances that were not found
    subjects: int  # number of different people, 0 where unknown
    mean: float  # mean of the values; NaN without any, as for the following attributes
    stdev: float  # sample standard deviation of the values
    least: float  # minimum value
    greatest: float  # maximum value
    low: float  # lower end of the mean's 95 % interval
    high: float  # upper end of the interval
    enough: bool  # True if the group is large enough to be evaluated


@dataclass(frozen=True)
class Factor:
    """Factor in which groups differ."""

    name: str  # name of a column of the group file, or of two
    rows: tuple[GroupRow, ...]  # groups in order
    unknown: int  # number of instances without a known group
    worst: str = ""  # name of the worst group; "" with fewer than two that can be evaluated
    # mean of the means of those groups, with equal weights; NaN with fewer than two, as for the following
    average: float = math.nan
    stdev: float = math.nan  # standard deviation of those means
    gap: float = math.nan  # gap between the worst group and the average
    range: float = math.nan  # largest minus smallest mean


def load_group_file(path: Path) -> list[dict[str, str]]:
    """Read a CSV file with `subject` or `sample` (and `dataset`, `instance`), then a column per factor."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--groups {path}: cannot be read as CSV ({error})") from None
    if not rows:
        raise InputError(f"--groups {path} has no row below its headings")
    names = [name for name in rows[0] if name]
    if not {"subject", "sample"} & set(names):
        raise InputError(f"--groups {path} requires a column subject or sample; it has {', '.join(names)}")
    if not set(names) - set(_GROUP_KEYS):
        raise InputError(f"--groups {path} requires a column per factor, such as gender, age, fitzpatrick or region")
    return rows


def groups_of(units: predictions.Units) -> list[dict[str, str]]:
    """Return rows in the form of a group file from the labels of the data set; empty if it labels no groups."""
    names = sorted({name for group in units["group"] for name in group})
    rows = zip(units["dataset"], units["sample"], units["instance"], units["group"], strict=True)
    return [
        {"dataset": dataset, "sample": sample, "instance": str(instance)}
        | {name: group.get(name, "") for name in names}
        for dataset, sample, instance, group in rows
        if names
    ]


def factors_of(
    units: predictions.Units,
    groups: Sequence[Mapping[str, str]],
    *,
    better: Literal["lower", "higher"],
    fewest: int = FEWEST,
) -> list[Factor]:
    """Return each factor of a group file, then each pair of factors, from the units of a run in eval.json."""
    keys = [name for name in _GROUP_KEYS if name in groups[0]]
    by_key: dict[tuple[str, ...], Mapping[str, str]] = {}
    for row in groups:
        key = tuple((row[name] or "").strip() for name in keys)
        if by_key.setdefault(key, row) != row:
            raise InputError(f"the file of --groups has different rows of {', '.join(key)}; give one")
    columns = [["" if item is None else str(item) for item in units[key]] for key in keys]
    rows = [by_key.get(key) for key in zip(*columns, strict=True)]
    if not any(rows):
        example = ", ".join(f"{key} {column[0]}" for key, column in zip(keys, columns, strict=True) if column)
        raise InputError(f"the file of --groups contains no sample of the evaluation, such as {example}")
    names = [name for name in groups[0] if name and name not in _GROUP_KEYS]
    labels = {name: [(row[name] or "").strip() or None if row else None for row in rows] for name in names}
    for first, second in combinations(names, 2):
        pairs = zip(labels[first], labels[second], strict=True)
        labels[first + _PAIR_SEPARATOR + second] = [_PAIR_SEPARATOR.join((a, b)) if a and b else None for a, b in pairs]
    return [_factor(name, units, item, higher=better == "higher", fewest=fewest) for name, item in labels.items()]


def _factor(name: str, units: predictions.Units, labels: Sequence[str | None], *, higher: bool, fewest: int) -> Factor:
    rows = tuple(
        _row(group, units, [index for index, label in enumerate(labels) if label == group], fewest)
        for group in sorted({label for label in labels if label is not None}, key=class_order)
    )
    evaluated, unknown = [row for row in rows if row.enough], sum(label is None for label in labels)
    if len(evaluated) < 2:
        return Factor(name, rows, unknown)
    report = group_report([row.mean for row in evaluated], [row.name for row in evaluated])
    worst = (min if higher else max)(evaluated, key=lambda row: row.mean).name
    gap = report.worst_vs_average(higher_is_better=higher)
    return Factor(name, rows, unknown, worst, report.average, report.stdev_sample, gap, report.max_minus_min)


def _row(name: str, units: predictions.Units, indices: Sequence[int], fewest: int) -> GroupRow:
    values = np.array([units["value"][index] for index in indices], np.float64)  # None becomes NaN
    known = values[np.isfinite(values)]
    subjects = [units["subject"][index] for index in indices]
    clusters = [  # of resampling: a person, or an image
        ("sample", units["sample"][index]) if subject is None else ("subject", subject)
        for index, subject in zip(indices, subjects, strict=True)
    ]
    low, high = mean_interval(values, clusters=clusters)
    return GroupRow(
        name=name,
        count=int(known.size),
        missing=sum(not units["found"][index] for index in indices),
        subjects=len(set(subjects) - {None}),
        mean=float(known.mean()) if known.size else math.nan,
        stdev=float(known.std(ddof=1)) if known.size > 1 else math.nan,
        least=float(known.min()) if known.size else math.nan,
        greatest=float(known.max()) if known.size else math.nan,
        low=low,
        high=high,
        enough=known.size >= fewest,
    )


def verdict(factor: Factor, goal: float, unit: str) -> str:
    """Return one sentence that compares the worst group's gap to the average with a goal, NaN without one."""
    few = [row.name for row in factor.rows if not row.enough]
    small = f" Too small to evaluate: {', '.join(few)}." if few else ""
    if not factor.worst:
        return f"By {factor.name}: fewer than two groups are large enough to compare.{small}"
    gap = f"By {factor.name}: the worst group, {factor.worst}, is {factor.gap:.2f} {unit} worse than the average"
    if math.isnan(goal):
        return f"{gap}. No goal was set.{small}"
    return f"{gap}, {'within' if factor.gap <= goal else 'beyond'} the goal of {goal:g} {unit}.{small}"
