"""What every data set is: a sequence of samples that are read when they are asked for.

Torch's loaders take one as it is. It pickles small enough for worker processes: indices are arrays, files are opened
anew for each sample.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from sonjit.datasets.registry import DatasetEntry
    from sonjit.datasets.sample import Sample


@dataclass(frozen=True)
class Skipped:
    """A sample that is left out.

    Attributes:
        id: of the sample, or its place in the set where it could not be read.
        reason: one line.
    """

    id: str
    reason: str


class Dataset(Sequence["Sample"]):
    """The samples of one split.

    Attributes:
        entry: the set's record.
        root: where its files are.
        split: which part of it.
        skipped: what was left out: frames that the set itself leaves without labels, and, where asked for, bad ones.
    """

    skipped: tuple[Skipped, ...] = ()

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        self.entry = entry
        self.root = root
        self.split = split

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, index: int) -> Sample:
        """The sample at 0 <= index < len(self)."""

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Sample | Dataset:
        """One sample, or a part of the set; negative places count from the end."""
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"{self.entry.name} {self.split} has {len(self)} samples; there is no {index}")
        return self.load(place)

    def subset(self, indices: Iterable[int]) -> Dataset:
        """The samples at these places, in this order.

        Raises:
            InputError: a place that the set does not have.
        """
        places = np.fromiter(indices, np.int64)
        if places.size and not (places.min() >= 0 and places.max() < len(self)):
            wrong = places[(places < 0) | (places >= len(self))][0]
            raise InputError(f"{self.entry.name} {self.split} has {len(self)} samples; there is no {wrong}")
        return _Subset(self, places)

    def need(self, below_root: str | Path) -> Path:
        """The full path of a file or folder that has to be there.

        Raises:
            InputError: it is not; names what is missing, where it belongs and where it is to be had.
        """
        path = self.root / below_root
        if path.exists():
            return path
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder; give the folder that {self.entry.title} was unpacked into")
        raise InputError(
            f"{self.entry.name}: {below_root} is missing in {self.root}; get it from {self.entry.where} "
            "and unpack it there"
        )


class _Subset(Dataset):
    def __init__(self, whole: Dataset, places: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        super().__init__(whole.entry, whole.root, whole.split)
        self.skipped = whole.skipped
        self._whole = whole
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def load(self, index: int) -> Sample:
        return self._whole.load(int(self._places[index]))
