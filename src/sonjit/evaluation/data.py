"""Which samples a protocol judges, in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sonjit.datasets import open_dataset
from sonjit.errors import InputError
from sonjit.evaluation.protocols import DataChoice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sonjit.datasets import Dataset, Sample
    from sonjit.evaluation.protocols import Protocol


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
        if not root.is_dir():
            raise InputError(f"--root {root}: no such folder; give the folder of the data set")
        choices = _chosen(chosen) if chosen else list(protocol.data)
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
            raise InputError(f"{', '.join(one.set for one in there)} in {root}: no sample to judge")
        self.skipped = [f"{one.id}: {one.reason}" for dataset in self.sets for one in dataset.skipped]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> Sample:
        number, index = self.places[place]
        return self.sets[number][index]

    def by_recording(self) -> list[int]:
        """Places with the pictures of each recording one after the other, as tracking needs them."""
        keys: list[tuple[int, str, str, int, int]] = []
        for place, (number, _) in enumerate(self.places):
            sample = self[place]
            if sample.sequence is None:
                keys.append((number, "", "", 0, place))
            else:
                keys.append((number, sample.sequence, sample.view or "", sample.frame or 0, place))
        return [key[-1] for key in sorted(keys)]

    def describe(self) -> list[dict[str, str]]:
        """Sets, splits, licences and where they are to be had."""
        return [
            {"set": one.entry.name, "split": one.split, "licence": one.entry.licence, "where": one.entry.where}
            for one in self.sets
        ]


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


def _chosen(names: Sequence[str]) -> list[DataChoice]:
    pairs = [name.partition(":") for name in names]
    return [DataChoice(name, (split,) if split else ()) for name, _, split in pairs]
