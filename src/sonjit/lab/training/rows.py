"""Arrays with one row per hand, which a published network computes once and which are saved in the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from sonjit._util.arrays import BoolArray, IntArray
from sonjit._util.data_files import read_npz
from sonjit._util.files import atomic_file
from sonjit.lab.training.recipes import TrainingRequest


class ArrayRows:
    """Base class of dataclasses of arrays of equal length.

    Attributes:
        image: (N,) index of the image of each row.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    image: IntArray

    def __len__(self) -> int:
        return len(self.image)

    def take(self, rows: BoolArray | IntArray) -> Self:
        """Return a selection of the rows."""
        return type(self)(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Concatenate several parts; each part's image indices continue after those of the part before."""
        values = {item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)}
        starts = np.cumsum([0, *(part.image.max(initial=-1) + 1 for part in parts[:-1])])
        values["image"] = np.concatenate([part.image + start for part, start in zip(parts, starts, strict=True)])
        return cls(**values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `save` wrote."""
        arrays = read_npz(path)
        return cls(**{item.name: arrays[item.name] for item in fields(cls)})

    def save(self, path: Path) -> None:
        """Write an `.npz` file atomically."""
        with atomic_file(path) as draft:
            np.savez(draft, **{item.name: getattr(self, item.name) for item in fields(self)})

    @classmethod
    def from_folders(
        cls,
        request: TrainingRequest,
        names: Iterable[str],
        file_name: str,
        compute: Callable[[Path, Callable[[int, int], None]], Self],
    ) -> Self:
        """Return the rows of some data folders; computed rows are saved in the run's folder and read from there.

        Args:
            request: Training request.
            names: Names of the folders, relative to the data.
            file_name: File name for a folder, relative to the run's folder, with `{}` for the folder's name.
            compute: Function that returns the rows of a folder and reports the number of finished images and of all
                images.
        """
        assert request.data is not None
        parts: list[Self] = []
        for name in names:
            file = request.out / file_name.format(name)
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                compute(request.data / name, lambda done, of: request.progress(done, of, {})).save(file)
            parts.append(cls.load(file))
        return cls.concatenate(parts)
