"""Open data sets by name.

The records of the sets come from `catalog.toml` and from `register`.
"""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import Any, Literal

from sonjit._util import InputError, SonjitError, data_files, extensions, unknown_name
from sonjit_lab.datasets.checks import check_sample
from sonjit_lab.datasets.dataset import Dataset, DatasetEntry, Skipped

Check = Literal["first", "all", "none"]  # samples to check when a set is opened, see `check_sample`
_ENTRIES: extensions.Registry[DatasetEntry] = extensions.Registry("data set")


def check_all(dataset: Dataset, *, skip_bad: bool = False) -> Dataset:
    """Check every sample; `skip_bad` lists bad samples in `skipped` and continues."""
    good: list[int] = []
    bad: list[Skipped] = []
    for index in range(len(dataset)):
        try:
            check_sample(dataset[index])
        except SonjitError as error:
            if not skip_bad:
                raise
            bad.append(Skipped(f"#{index}", str(error)))
        else:
            good.append(index)
    if not bad:
        return dataset
    usable = dataset.subset(good)
    usable.skipped = (*dataset.skipped, *bad)
    return usable


def register(entry: DatasetEntry) -> DatasetEntry:
    """Register a data set. The module of a set outside this package calls it once per name.

    Raises:
        InputError: The name is already registered.
    """
    _ENTRIES.add(entry.name, entry)
    return entry


def list_datasets() -> list[str]:
    """Return the sorted names of all data sets."""
    return sorted(_entries())


def dataset_entry(name: str) -> DatasetEntry:
    """Return the record of a data set.

    Raises:
        InputError: The set is unknown. The message lists the known ones.
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
        name: Name from `list_datasets`.
        root: Folder with the unpacked set.
        split: Name of the split; by default the entry's first.
        check: Samples whose labels are checked before the set is returned. `first` also refuses what was found wrong
            when the annotations were read.
        skip_bad: Check all samples, exclude the bad ones and list them in `Dataset.skipped`.
        **options: Options of the set, see `DatasetEntry.options`.

    Raises:
        InputError: A name, split or option is unknown; a file is missing (the message names its download page); an
            annotation is bad (the message names file and field); or 3D labels do not project onto 2D labels.
    """
    entry = dataset_entry(name)
    chosen = entry.splits[0] if split is None else split
    if chosen not in (every := (*entry.splits, *entry.further_splits)):
        raise InputError(f"{name}: {unknown_name('split', chosen, every)}")
    if unknown := sorted(set(options) - set(entry.options)):
        option_names = ", ".join(entry.options) or "none"
        raise InputError(f"{name}: Unknown option {', '.join(map(repr, unknown))}. Choose from {option_names}")
    dataset = entry.open(entry, Path(root), chosen, **options)
    if skip_bad:
        return check_all(dataset, skip_bad=True)
    if check == "all":
        return check_all(dataset)
    if check == "first" and dataset.wrong:
        first, *others = dataset.wrong.values()
        more = f", and {len(others)} more of {len(dataset)} samples are bad" if others else ""
        raise InputError(f"{first}{more}; skip_bad leaves bad samples out")
    if check == "first" and len(dataset):
        check_sample(dataset[0])
    return dataset


@dataclass(frozen=True)
class _Reader:
    """Function of the lab that opens a data set, and imports its module on first use."""

    path: str

    def __call__(self, *args: Any, **options: Any) -> Dataset:  # noqa: ANN401  # each set's own
        return self._function(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @property
    def _function(self) -> Callable[..., Dataset]:
        module, _, name = self.path.partition(":")
        return getattr(import_module(f"sonjit_lab.{module}"), name)


@cache
def _load_catalog() -> None:
    for name, record in data_files.read_toml_table(resources.files("sonjit_lab.datasets") / "catalog.toml").items():
        reader = _Reader(record.pop("reader"))
        facts: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
        }
        _ENTRIES.add(name, DatasetEntry(name=name, open=reader, **facts))


def _entries() -> extensions.Registry[DatasetEntry]:
    _load_catalog()
    extensions.load_extensions()
    return _ENTRIES
