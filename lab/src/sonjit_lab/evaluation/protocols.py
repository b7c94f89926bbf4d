"""Protocols, the samples that they evaluate, published tables next to Sonjit's metrics, and tables of groups.

A protocol is a TOML file with the samples, alignment and metrics of a published table. Published tables are checked
too, because a mean outside of its own range is impossible. A table of groups shows how evenly a model serves groups.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from sonjit._util import InputError, IntArray, SonjitError, data_files
from sonjit_lab.datasets import Dataset, Sample, open_dataset
from sonjit_lab.datasets.dataset import AbsentError
from sonjit_lab.datasets.folder import Folder
from sonjit_lab.datasets.sample import LandmarkKind
from sonjit_lab.evaluation import predictions

_MAX_LABEL_SAMPLES = 100  # number of samples that are read to find the kind of labels
Alignment = Literal["absolute", "root", "bone", "procrustes"]
T = TypeVar("T")
FEWEST = 20  # minimum number of instances of a group


@dataclass(frozen=True)
class DataChoice:
    """Data set of a protocol."""

    set: str  # name of the set
    splits: tuple[str, ...] = ()  # splits, of which the first existing one is used; by default the set's first
    folder: str = ""  # folder below the root; "" if the root is the set's own
    options: Mapping[str, Any] = field(default_factory=dict[str, object])  # options of the set


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
        submission: Format of the challenge's server; "" without a server.
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
    submission: Literal["", "coco", "freihand", "ho3d", "dexycb"] = ""
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
    if name not in (names := list_protocols()):
        raise InputError(f"Unknown protocol {name!r}. Choose from {', '.join(names)}, or the path of a .toml file")
    return data_files.read_toml(_folder() / f"{name}.toml", Protocol, name=name)


def _folder() -> Traversable:
    return resources.files("sonjit_lab.evaluation") / "protocols"


class ProtocolData:
    """Samples of one or several data sets as one sequence, at most `limit` of each set.

    `root`: the set's own folder, or the folder that contains those of several sets; `chosen`: other sets, "NAME" or
    "NAME:SPLIT", in the root; `split`: replaces the protocol's; `options`: of each set, such as `{"order": "mano"}`.
    """

    def __init__(
        self,
        protocol: Protocol,
        root: Path,
        *,
        chosen: Sequence[str] = (),
        split: str | None = None,
        options: Mapping[str, Any] | None = None,
        skip_bad: bool = False,
        limit: int | None = None,
    ) -> None:
        self._skip_bad = skip_bad
        self._options = dict(options or {})
        if not root.is_dir():
            raise InputError(f"--root {root}: no such folder; choose the folder of the data set")
        known = {choice.set: choice.options for choice in protocol.data}  # a set of the protocol keeps them
        pairs = [name.partition(":") for name in chosen]
        chosen_data = [
            DataChoice(name, (part,) if part else (), options=known.get(name, {})) for name, _, part in pairs
        ]
        choices = chosen_data or list(protocol.data)
        if split is not None:
            choices = [replace(choice, splits=(split,)) for choice in choices]
        choices = [replace(choice, options={**choice.options, **self._options}) for choice in choices]
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

    def labels(self) -> LandmarkKind:
        """Return the kind of the first labelled keypoints, or hands if the first samples have none."""
        for sample in islice(self.readable(), _MAX_LABEL_SAMPLES):
            for instance in sample.instances:
                if instance.kind != "object" and instance.keypoints_px is not None:
                    return instance.kind
        return "hand"

    def categories(self) -> dict[int, str]:
        """Return the names of the classes of all sets by id."""
        return {item: name for dataset in self.sets for item, name in dataset.categories().items()}

    def keypoint_orders(self) -> dict[int, IntArray]:
        """Return the order of keypoints in the files of the sets, by category, see `Folder.keypoint_orders`."""
        return {
            item: order
            for dataset in self.sets
            if isinstance(dataset, Folder)
            for item, order in dataset.keypoint_orders.items()
        }

    def describe(self) -> list[Mapping[str, Any]]:
        """Return sets, splits, licences, download pages, and options if some were given."""
        options = {"options": self._options} if self._options else {}
        return [
            {
                "set": dataset.entry.name,
                "split": dataset.split,
                "licence": dataset.entry.licence,
                "where": dataset.entry.where,
                **options,
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
