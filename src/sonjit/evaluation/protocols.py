"""Protocols, each a file of data: a named recipe per published table: which samples, alignment and metrics.

Which samples a protocol evaluates, in which order.
"""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, field, fields, replace
from importlib import resources
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sonjit.datasets import open_dataset
from sonjit.errors import InputError, SonjitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from sonjit.datasets import Dataset, Sample
    from sonjit.evaluation.predictions import LandmarkKind, Mode

_LOOKED_AT = 100
"""Samples that say what a data set labels."""
Alignment = Literal["absolute", "root", "bone", "procrustes"]


@dataclass(frozen=True)
class DataChoice:
    """One data set of a protocol.

    Attributes:
        set: its name.
        splits: which part: the first of these that is there; without any, the set's first.
        folder: below the root; "" where the root is the set's own.
        options: of the set.
    """

    set: str
    splits: tuple[str, ...] = ()
    folder: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Protocol:
    """How a table is made.

    Attributes:
        name: as `--protocol` takes it.
        title: for people.
        source: who defined it.
        task: what is evaluated, by the evaluator that is registered for it.
        main: the metric that stands for it.
        unit: of its metrics.
        data: which data sets; of several, those that are there.
        average: of 3D joints: by joint first, or over all.
        alignments: of 3D joints, each with metrics of its own.
        root: joint that 3D joints are relative to: the wrist, or the palm's centre, which is then evaluated for it.
        names: metrics of an alignment that have a name of their own.
        mirror: Procrustes may reflect, as the released code does.
        auc: least and greatest threshold of PCK in the unit, and how many.
        f_thresholds: of F-scores of meshes, in the unit.
        curve: the same three numbers for 2D.
        pupils: errors of faces are also given in parts of the distance of the pupils.
        parts: of people, which are evaluated besides the body.
        tables: published ones to show beside it.
        notes: what one has to know to read it.
        modes: ways to ask a model; all of the model's without any.
        search: of detectors, where the caller names none.
        max_instances: that detectors hold at most, likewise.
        exhaustive: whatever is found and not labelled is false; else it does not count.
        submission: how the challenge's server wants joints and vertices; "" where there is none.
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
    names: tuple[tuple[str, str], ...] = ()
    mirror: bool = False
    auc: tuple[float, float, int] = (0, 50, 100)
    f_thresholds: tuple[float, ...] = ()
    curve: tuple[float, float, int] = (0, 50, 101)
    pupils: bool = False
    parts: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ()
    search: str = "fast"
    max_instances: int = 4
    exhaustive: bool = True
    submission: Literal["", "freihand", "ho3d", "dexycb"] = ""


def list_protocols() -> list[str]:
    """Names of all protocols, in order."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def load_protocol(name: str) -> Protocol:
    """One protocol.

    Args:
        name: as `list_protocols` gives it, or the path of a TOML file, whose name is then the protocol's.

    Raises:
        InputError: an unknown name; lists the known ones. A file that cannot be read or is not a protocol.
    """
    if name.endswith(".toml"):
        return _load(Path(name).stem, Path(name))
    if name not in (known := list_protocols()):
        raise InputError(f"unknown protocol {name!r}; known: {', '.join(known)}, or the path of a .toml file")
    return _load(name, _folder() / f"{name}.toml")


_LISTS = {"alignments", "auc", "f_thresholds", "curve", "parts", "tables", "notes", "modes"}


def _load(name: str, file: Traversable) -> Protocol:
    try:
        data: dict[str, Any] = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: no TOML: {error}") from None
    known = [one for one in fields(Protocol) if one.name != "name"]
    if unknown := sorted(set(data) - {one.name for one in known}):
        raise InputError(f"{file}: unknown field {', '.join(unknown)}; known: {', '.join(one.name for one in known)}")
    needed = [one.name for one in known if one.default is MISSING]
    if missing := [one for one in needed if one not in data]:
        raise InputError(f"{file}: lacks {', '.join(missing)}; a protocol has {', '.join(needed)}")
    try:
        data["data"] = tuple(DataChoice(**one | {"splits": tuple(one.get("splits", ()))}) for one in data["data"])
        data["names"] = tuple(data.get("names", {}).items())
        for key in _LISTS & data.keys():
            data[key] = tuple(data[key])
    except (TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{file}: a value of another type than in the protocols of Sonjit ({error})") from None
    return Protocol(name=name, **data)


def _folder() -> Traversable:
    return resources.files("sonjit.evaluation") / "protocols"


class ProtocolData:
    """The samples of one data set or several, as one sequence.

    Args:
        protocol: which sets.
        root: the set's own folder; of several sets, the folder that holds theirs.
        chosen: other sets instead, "NAME" or "NAME:SPLIT", at the root itself.
        split: instead of the protocol's.
        skip_bad: leave bad samples out.
        limit: only so many of each set.

    Raises:
        InputError: nothing is there; a set says what is missing.
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
            raise InputError(f"--root {root}: no such folder; give the folder of the data set")
        choices = _chosen(chosen, protocol.data) if chosen else list(protocol.data)
        if split is not None:
            choices = [replace(one, splits=(split,)) for one in choices]
        there = [one for one in choices if (root / one.folder).is_dir()]
        if not there:
            wanted = ", ".join(one.folder for one in choices)
            raise InputError(
                f"--root {root}: holds no folder of {protocol.name}'s data sets ({wanted}); "
                "or name the set that it is with --data"
            )
        self.choices = there
        self.sets: list[Dataset] = [_open(one, root / one.folder, skip_bad=skip_bad) for one in there]
        self.places = [
            (number, index)
            for number, one in enumerate(self.sets)
            for index in range(len(one) if limit is None else min(limit, len(one)))
        ]
        if not self.places:
            raise InputError(f"{', '.join(one.set for one in there)} in {root}: no sample to evaluate")
        self.skipped = [f"{one.id}: {one.reason}" for dataset in self.sets for one in dataset.skipped]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> Sample:
        number, index = self.places[place]
        return self.sets[number][index]

    def in_recordings(self) -> RecordedData:
        """The same samples, those of a recording after one another."""
        return RecordedData(self, [place for group in self.recordings() for place in group])

    def recordings(self) -> list[tuple[int, ...]]:
        """Places of each recording's images in their order, as tracking needs them; an image of none is alone."""
        keys: list[tuple[int, bool, str, str, int, int]] = []
        for place, (number, _) in enumerate(self.places):
            sample = self[place]
            if sample.sequence is None:
                keys.append((number, False, "", "", place, place))
            else:
                keys.append((number, True, sample.sequence, sample.view or "", sample.frame or 0, place))
        groups = groupby(sorted(keys), lambda key: key[:4] if key[1] else key)
        return [tuple(key[-1] for key in group) for _, group in groups]

    def readable(self) -> Iterator[Sample]:
        """All samples but for bad ones that are to be left out."""
        for place in range(len(self)):
            try:
                sample = self[place]
            except SonjitError:
                if not self._skip_bad:
                    raise
            else:
                yield sample

    def labels(self) -> LandmarkKind:
        """Of which kind the first labelled keypoints are; hands where none of the first samples has any."""
        for sample in islice(self.readable(), _LOOKED_AT):
            for one in sample.instances:
                if one.kind != "object" and one.keypoints_px is not None:
                    return one.kind
        return "hand"

    def describe(self) -> list[dict[str, str]]:
        """Sets, splits, licences and where they are to be had."""
        return [
            {"set": one.entry.name, "split": one.split, "licence": one.entry.licence, "where": one.entry.where}
            for one in self.sets
        ]


class RecordedData:
    """Samples in the order of their recordings.

    Attributes:
        order: places of the data that they are, which `at` turns back.
    """

    def __init__(self, data: ProtocolData, order: Sequence[int]) -> None:
        self._data = data
        self.order = order
        self.at = {place: number for number, place in enumerate(order)}

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Sample:
        return self._data[self.order[index]]


def _open(choice: DataChoice, root: Path, *, skip_bad: bool) -> Dataset:
    """A set with the first of its splits that is there; where none is, the error is about the first."""
    first = None
    for split in choice.splits or (None,):
        try:
            return open_dataset(choice.set, root, split, skip_bad=skip_bad, **choice.options)
        except InputError as error:
            first = first or error
    assert first is not None
    raise first


def _chosen(names: Sequence[str], known: Sequence[DataChoice]) -> list[DataChoice]:
    """Sets by name; one that the protocol has keeps its options."""
    options = {one.set: one.options for one in known}
    pairs = [name.partition(":") for name in names]
    return [DataChoice(name, (split,) if split else (), options=options.get(name, {})) for name, _, split in pairs]
