"""What a published network gives for every hand of a data set, row by row: computed once, kept in the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from sonjit.arrays import BoolArray, IntArray
from sonjit.files import atomic_file
from sonjit.training.recipes import TrainingRequest


class ArrayRows:
    """Arrays of the same length: a dataclass of them inherits from this.

    Attributes:
        image: (N,) number of the image that each row is of.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    image: IntArray

    def __len__(self) -> int:
        return len(self.image)

    def take(self, rows: BoolArray | IntArray) -> Self:
        """Some of the rows."""
        return type(self)(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Several in one; image numbers count on."""
        values = {item.name: np.concatenate([getattr(one, item.name) for one in parts]) for item in fields(cls)}
        starts = np.cumsum([0, *(one.image.max(initial=-1) + 1 for one in parts[:-1])])
        values["image"] = np.concatenate([one.image + start for one, start in zip(parts, starts, strict=True)])
        return cls(**values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{item.name: arrays[item.name] for item in fields(cls)})

    def save(self, path: Path) -> None:
        """An `.npz` file, there under its name when it is whole."""
        with atomic_file(path) as draft:
            np.savez(draft, **{item.name: getattr(self, item.name) for item in fields(self)})

    @classmethod
    def of_folders(
        cls,
        request: TrainingRequest,
        names: Iterable[str],
        file_name: str,
        compute: Callable[[Path, Callable[[int, int], None]], Self],
    ) -> Self:
        """Rows of some folders below the data; once computed they are kept in the run's folder.

        Args:
            request: what to train.
            names: of the folders.
            file_name: where those of the folder `{}` are kept, below the run's folder.
            compute: gives those of a folder, and reports how many images are done, of how many.
        """
        assert request.data is not None
        parts: list[Self] = []
        for name in names:
            file = request.out / file_name.format(name)
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                compute(request.data / name, lambda done, of: request.progress(done, of, {})).save(file)
            parts.append(cls.load(file))
        return cls.joined(parts)
