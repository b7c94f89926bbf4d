"""Which data sets there are: one record each, in `catalog.toml`, or by `register` from outside."""

from __future__ import annotations

import inspect
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import Any, Literal

from sonjit.datasets.checks import check_all, check_sample
from sonjit.datasets.dataset import Dataset, DatasetEntry
from sonjit.errors import InputError
from sonjit.extensions import Registry, load_extensions

Check = Literal["first", "all", "none"]
"""Which samples are checked when a set is opened: see `checks.check_sample`."""


_ENTRIES: Registry[DatasetEntry] = Registry("data set")


def register(entry: DatasetEntry) -> DatasetEntry:
    """Make a data set known; the module of a set outside this package calls it once per name.

    Raises:
        InputError: the name is taken.
    """
    return _ENTRIES.add(entry.name, entry)


def list_datasets() -> list[str]:
    """Names of all data sets, in order."""
    return sorted(_entries())


def dataset_entry(name: str) -> DatasetEntry:
    """The record of a data set.

    Raises:
        InputError: no such set; names the known ones.
    """
    return _entries().find(name)


def open_dataset(
    name: str,
    root: str | os.PathLike[str],
    split: str | None = None,
    *,
    check: Check = "first",
    skip_bad: bool = False,
    **options: Any,  # noqa: ANN401  # each set's own
) -> Dataset:
    """Open one split of a data set.

    Args:
        name: as `list_datasets` gives it.
        root: the folder that it was unpacked into.
        split: by default the entry's first.
        check: whose labels are held against themselves before anything is handed out.
        skip_bad: check all samples, leave the bad ones out and list them in `Dataset.skipped`.
        **options: the set's own, see `DatasetEntry.options`.

    Raises:
        InputError: an unknown name, split or option; a missing file, with where it is to be had; a bad annotation, with
            file and field; labels whose 3D does not fall on their 2D.
    """
    entry = dataset_entry(name)
    chosen = entry.splits[0] if split is None else split
    if chosen not in entry.splits:
        raise InputError(f"{name} has no split {chosen!r}; known: {', '.join(entry.splits)}")
    if unknown := sorted(set(options) - set(entry.options)):
        known = ", ".join(entry.options) or "none"
        raise InputError(f"{name}: unknown option {', '.join(map(repr, unknown))}; known: {known}")
    dataset = entry.open(entry, Path(root), chosen, **options)
    if skip_bad:
        return check_all(dataset, skip_bad=True)
    if check == "all":
        return check_all(dataset)
    if check == "first" and len(dataset):
        check_sample(dataset[0])
    return dataset


@dataclass(frozen=True)
class _Reader:
    """What opens a data set of this package; its module is imported when it is asked for."""

    place: str

    def __call__(self, *given: Any, **options: Any) -> Dataset:  # noqa: ANN401  # each set's own
        return self._found(*given, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._found)

    @property
    def _found(self) -> Callable[..., Dataset]:
        module, _, name = self.place.partition(":")
        return getattr(import_module(f"sonjit.datasets.{module}"), name)


@cache
def _load_catalog() -> None:
    text = resources.files("sonjit.datasets").joinpath("catalog.toml").read_text("utf-8")
    for name, record in tomllib.loads(text).items():
        reader = _Reader(record.pop("reader"))
        facts: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
        }
        _ENTRIES.add(name, DatasetEntry(name=name, open=reader, **facts))


def _entries() -> Registry[DatasetEntry]:
    _load_catalog()
    load_extensions()
    return _ENTRIES
