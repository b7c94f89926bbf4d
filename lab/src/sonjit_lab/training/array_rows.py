"""Rows of arrays that a recipe computes once from each folder of images and saves in its run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from sonjit._util import BoolArray, InputError, IntArray, data_files, files
from sonjit_lab.datasets import open_dataset
from sonjit_lab.datasets.dataset import Identity
from sonjit_lab.datasets.splits import SplitReport, hold_out, identities, split_report
from sonjit_lab.training.recipes import TrainingRequest

R = TypeVar("R", bound="ArrayRows")


def folder_key(data: Path, name: str) -> str:
    """Return a name for results computed from a folder below the data. Changed data get another name."""
    return f"{name}-{files.sha256_of_folder(data / name)[:8]}"


class ArrayRows:
    """Base class of dataclasses whose fields are arrays of equal length (N, ...)."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    image: IntArray  # (N,) index of the image of each row

    def __len__(self) -> int:
        return len(self.image)

    def take(self, rows: BoolArray | IntArray) -> Self:
        """Return the rows of a mask (N,) or of indices (M,)."""
        return type(self)(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    @classmethod
    def concatenate(cls, tables: Sequence[Self]) -> Self:
        """Concatenate tables. The image indices of a table continue after those of the previous table."""
        values = {item.name: np.concatenate([getattr(table, item.name) for table in tables]) for item in fields(cls)}
        starts = np.cumsum([0, *(table.image.max(initial=-1) + 1 for table in tables[:-1])])
        values["image"] = np.concatenate([table.image + start for table, start in zip(tables, starts, strict=True)])
        return cls(**values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `save` wrote."""
        arrays = data_files.read_npz(path)
        return cls(**{item.name: arrays[item.name] for item in fields(cls)})

    def save(self, path: Path) -> None:
        """Write an `.npz` file atomically."""
        with files.atomic_file(path) as draft:
            np.savez(draft, **{item.name: getattr(self, item.name) for item in fields(self)})

    @classmethod
    def from_folders(
        cls,
        request: TrainingRequest,
        names: Iterable[str],
        file_name: str,
        compute: Callable[[Path, Callable[[int, int], None]], Self],
    ) -> Self:
        """Return the rows of some data folders as one table, see `by_folder`."""
        return cls.concatenate(cls.by_folder(request, names, file_name, compute))

    @classmethod
    def by_folder(
        cls,
        request: TrainingRequest,
        names: Iterable[str],
        file_name: str,
        compute: Callable[[Path, Callable[[int, int], None]], Self],
    ) -> list[Self]:
        """Return a table for each data folder; computed rows are saved in the run's folder and read from there.

        `file_name` contains `{}` for the `folder_key`.
        """
        assert request.data is not None
        tables: list[Self] = []
        for name in names:
            file = request.out / file_name.format(folder_key(request.data, name))
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                compute(request.data / name, lambda done, of: request.progress(done, of, {})).save(file)
            tables.append(cls.load(file))
        return tables


class CalibrationImages:
    """Images of the training folders that only calibrate probabilities, see `hold_out`.

    No person of these images is in the others, and no recording where people are unknown.

    Attributes:
        report: Separation of the other images from those for calibration.
    """

    def __init__(self, request: TrainingRequest, folders: Iterable[str], share: float) -> None:
        """Choose about a share of the images of some folders below the data."""
        assert request.data is not None
        names = list(dict.fromkeys(folders))
        sources = [identities(open_dataset("folder", request.data / name, check="none")) for name in names]
        self._chosen = dict(zip(names, hold_out(sources, share), strict=True))
        training: list[Identity] = []
        chosen: list[Identity] = []
        for name, source in zip(names, sources, strict=True):
            is_chosen = np.isin(np.arange(len(source)), self._chosen[name]).tolist()
            for item, is_for_calibration in zip(source, is_chosen, strict=True):
                (chosen if is_for_calibration else training).append(item)
        self.report: SplitReport = split_report(training, chosen)

    def split(self, names: Sequence[str], tables: Sequence[R]) -> tuple[R, R]:
        """Return the rows to train on and those for calibration, from the table of each folder.

        Raises:
            InputError: One of the two has no rows.
        """
        parts = [np.isin(table.image, self._chosen[name]) for name, table in zip(names, tables, strict=True)]
        is_chosen = np.concatenate(parts)
        rows = type(tables[0]).concatenate(tables)
        if is_chosen.all() or not is_chosen.any():
            raise InputError(f"{len(rows)} crops of hands are too few to train and calibrate: render more images")
        return rows.take(~is_chosen), rows.take(is_chosen)
