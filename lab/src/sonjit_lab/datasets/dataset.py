"""Base classes of data sets: sequences of samples that are read on access, also by PyTorch's loaders.

`RecordDataset` makes each sample from a small record. All records are JSON in one block of bytes, which takes the
memory of their text, pickles at once, and is shared between the processes of a loader. Lists of objects are not.
"""

from __future__ import annotations

import inspect
import json
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from sonjit._util import FloatArray, InputError
from sonjit.geometry.cameras import check_camera
from sonjit.media.sources.images import image_size, read_bytes, still_geometry
from sonjit.results import Box
from sonjit_lab.datasets.sample import Instance, InstanceKind, ManoParameters, Sample


class AbsentError(InputError):
    """A split has no file or no sample."""


@dataclass(frozen=True)
class DatasetEntry:
    """Record of a data set before it is opened.

    Attributes:
        name: Name for `open_dataset`.
        title: Title as written by the owners.
        open: Function that opens the set: `open(entry, root, split, **options)`.
        splits: Names of the splits; the first is the default.
        kinds: Kinds of instances.
        licence: Licence in a few words.
        where: URL of the download page.
        needs: Files required below the root; `{split}` is replaced by the split.
        further_splits: Splits that only some folders of this kind have.
    """

    name: str
    title: str
    open: Callable[..., Dataset]
    splits: tuple[str, ...]
    kinds: tuple[InstanceKind, ...]
    licence: str
    where: str
    needs: tuple[str, ...]
    further_splits: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """Return the options that `open_dataset` accepts for this set, in addition to root and split."""
        return tuple(inspect.signature(self.open).parameters)[3:]


@dataclass(frozen=True)
class Skipped:
    """Sample that is excluded.

    Attributes:
        id: Id of the sample, or its index in the set if it cannot be read.
        reason: Reason in one line.
    """

    id: str
    reason: str


class Identity(NamedTuple):
    """Identity of a sample, so that a split has no person and no recording on both sides."""

    id: str
    subject: str | None = None
    sequence: str | None = None
    image: Path | None = None  # file of the image; None for frames of videos and arrays
    dataset: str = ""  # name of the set, in which subjects have their names
    view: str | None = None
    frame: str | None = None


def identity_of(sample: Sample) -> Identity:
    """Return the identity of a sample."""
    image = sample.image if isinstance(sample.image, Path) else None
    facts = sample.subject, sample.sequence, sample.view, sample.frame
    subject, sequence, view, frame = (None if fact is None else str(fact) for fact in facts)
    return Identity(sample.id, subject, sequence, image, sample.dataset, view, frame)


def collate_samples(batch: Sequence[Sample], **_: object) -> list[Sample]:
    """Return a batch of samples as a list, because images and numbers of instances differ."""
    return list(batch)


class Dataset(Sequence["Sample"]):
    """Samples of one split.

    Attributes:
        entry: Record of the set.
        root: Folder with its files.
        split: Name of the split.
        skipped: Excluded samples: frames without labels in the set itself and, if requested, bad ones.
        wrong: Problems of samples that were found when the annotations were read, by index.
    """

    skipped: tuple[Skipped, ...] = ()

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        self.entry = entry
        self.root = root
        self.split = split
        self.wrong: dict[int, str] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, index: int) -> Sample:
        """Return the sample at 0 <= index < len(self)."""

    def identity(self, index: int) -> Identity:
        """Return the identity of the sample at 0 <= index < len(self). Large sets read it without the labels."""
        return identity_of(self.load(index))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Sample | Dataset:
        """Return one sample, or a subset for a slice. Negative indices count from the end."""
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"{self.entry.name} {self.split} has {len(self)} samples; {index} is out of range")
        return self.load(row)

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Return samples for `torch.utils.data.DataLoader`, whose default collate function then makes lists of samples.

        PyTorch's map of collate functions receives an entry for `Sample`, in each worker.
        """
        from torch.utils.data._utils.collate import default_collate_fn_map

        default_collate_fn_map.setdefault(Sample, collate_samples)
        return [self[index] for index in indices]

    def categories(self) -> dict[int, str]:
        """Return the names of the classes by id, sorted by id. Sets without classes have one class per kind of
        instance.

        All labels are read.
        """
        instances = (instance for sample in self for instance in sample.instances)
        labelled_classes = dict.fromkeys(
            (instance.category_id, instance.category or instance.kind) for instance in instances
        )
        classes = {category_id: name for category_id, name in labelled_classes if category_id is not None}
        free = (number for number in range(1, len(labelled_classes) + 1) if number not in classes)
        unnumbered = sorted(
            {name for category_id, name in labelled_classes if category_id is None} - set(classes.values())
        )
        return dict(sorted((classes | dict(zip(free, unnumbered, strict=False))).items()))

    def subset(self, indices: Iterable[int]) -> Dataset:
        """Return the samples at these indices, in this order.

        Raises:
            InputError: An index is out of range.
        """
        rows = np.fromiter(indices, np.int64)
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self)):
            wrong = rows[(rows < 0) | (rows >= len(self))][0]
            raise InputError(f"{self.entry.name} {self.split} has {len(self)} samples; {wrong} is out of range")
        return _Subset(self, rows)

    def sample_of(
        self,
        path: str,
        instances: Iterable[Instance],
        source: object,
        size: tuple[int, int] | None = None,
        **more: Any,  # noqa: ANN401  # any field of a sample
    ) -> Sample:
        """Return the sample of one image.

        Args:
            path: Path of the image below the root, which is also the sample's id.
            instances: Instances in the image.
            source: File with its labels.
            size: Width and height in pixels; None reads them from the file.
            **more: Additional fields of the sample, or replacements for these.

        Raises:
            InputError: A box, a labelled keypoint or a fitted hand has a value that is not a finite number, or the
                camera cannot be one.
        """
        image = more.pop("image", self.root / path)
        width, height = size_of_image(image) if size is None else size
        fields: dict[str, Any] = {"dataset": self.entry.name, "id": path, "licence": self.entry.licence}
        fields |= {"instances": tuple(instances), "source": str(source)} | more
        sample = Sample(image=image, width=width, height=height, **fields)
        _check_values(sample)
        return sample

    def need(self, below_root: str | Path) -> Path:
        """Return the full path of a required file or folder.

        Raises:
            AbsentError: It is missing. The message names the file, its expected location and the download page.
        """
        path = self.root / below_root
        if path.exists():
            return path
        if not self.root.is_dir():
            raise AbsentError(f"{self.root}: no such folder; choose the folder with the files of {self.entry.title}")
        raise AbsentError(
            f"{self.entry.name}: {below_root} is missing in {self.root}; get it from {self.entry.where} "
            "and unpack it there"
        )


def _check_values(sample: Sample) -> None:
    """Refuse an impossible camera, and labels that are not finite numbers. Unlabelled keypoints may be NaN."""
    if sample.camera is not None:
        check_camera(sample.camera, f"{sample.source}: {sample.id}: camera")
    values: list[tuple[str, object]] = []
    for number, instance in enumerate(sample.instances):
        values += [(f"{name} of instance {number}", getattr(instance, name)) for name in ("box", "area_px2")]
        if instance.keypoints_px is not None and instance.valid_px is not None:
            values.append((f"keypoints of instance {number}", instance.keypoints_px[instance.valid_px]))
        if instance.keypoints_m is not None and instance.valid_m is not None:
            values.append((f"3D keypoints of instance {number}", instance.keypoints_m[instance.valid_m]))
        if isinstance(instance.mesh, ManoParameters):
            values += [
                (f"MANO's {name} of instance {number}", getattr(instance.mesh, name))
                for name in ("pose", "betas", "trans")
            ]
    for name, value in values:
        array = np.asarray(0 if value is None else value)
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise InputError(f"{sample.source}: {sample.id}: {name} has a value that is not a finite number")


class _Subset(Dataset):
    def __init__(self, dataset: Dataset, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        super().__init__(dataset.entry, dataset.root, dataset.split)
        self.skipped = dataset.skipped
        self._dataset = dataset
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def categories(self) -> dict[int, str]:
        return self._dataset.categories()

    def load(self, index: int) -> Sample:
        return self._dataset.load(int(self._rows[index]))

    def identity(self, index: int) -> Identity:
        return self._dataset.identity(int(self._rows[index]))


class PackedRecords:
    """Records of plain JSON types.

    >>> records = PackedRecords([{"a": 1}, ["b"]])
    >>> len(records), records[1]
    (2, ['b'])
    """

    def __init__(self, records: Iterable[Any]) -> None:
        block, ends = bytearray(), [0]
        for record in records:
            block += json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
            ends.append(len(block))
        self._block = bytes(block)
        self._ends = np.array(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401  # JSON
        return json.loads(self._block[self._ends[index] : self._ends[index + 1]])


class RecordDataset(Dataset):
    """Data set with one record per sample."""

    records: PackedRecords  # one record per sample
    annotations: str  # file of the records, shown in error messages

    def keep(self, records: Iterable[Any], annotations: str) -> None:
        """Pack the records. Each loader calls it once, at the end of its `__init__`."""
        self.annotations = annotations
        with naming(annotations):
            self.records = PackedRecords(records)
        if not len(self.records):
            raise AbsentError(f"{annotations}: no samples of the split {self.split!r} of {self.entry.name}")

    def __len__(self) -> int:
        return len(self.records)

    def load(self, index: int) -> Sample:
        with naming(f"{self.annotations}, sample {index}"):
            return self.sample(self.records[index])

    @abstractmethod
    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        """Return the sample of one record. A record without a required field is an InputError with file and field."""


@contextmanager
def naming(prefix: str) -> Generator[None]:
    """Convert the errors that wrong records cause in the block into one InputError that names their location."""
    try:
        yield
    except KeyError as error:
        raise InputError(f"{prefix}: the field {error} is missing") from None
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{prefix}: {error}") from None


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not blank."""
    try:
        return [line for line in read_bytes(path).decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text: {error.reason} at byte {error.start}") from None


def size_of_image(path: Path, *, upright: bool = False) -> tuple[int, int]:
    """Read the stored width and height in pixels of an image file, or with `upright` those of the shown image."""
    try:
        with path.open("rb") as file:
            size = image_size(file)
            geometry = still_geometry(file) if upright and size else None
    except OSError as error:
        raise InputError(f"the image {path} is missing or cannot be read: {error.strerror}") from None
    if size is None:
        raise InputError(f"{path} is not an image, or it is damaged; copy or download it again")
    return size if geometry is None else geometry.shown_size(*size)


def points_with_flags(record: Mapping[str, Any], field: str, count: int) -> tuple[FloatArray, FloatArray]:
    """Return `count` keypoints (K, 2) in COCO's form, flat or in triples, NaN where the flag is 0, and flags (K,)."""
    values = np.asarray(record[field], np.float64)
    if values.size != 3 * count:
        raise ValueError(f"{_id_of(record)}{field} has {values.size} numbers; expected {3 * count} (x, y, flag)")
    values = values.reshape(count, 3)
    return np.where(values[:, 2:] > 0, values[:, :2], np.nan), values[:, 2]


def box_from_corner(record: Mapping[str, Any], field: str) -> Box | None:
    """Return a box stored as x, y, width, height; None if the field is absent or empty."""
    value = record.get(field)
    if value is None:
        return None
    if len(value) != 4:
        raise ValueError(f"{_id_of(record)}{field} has {len(value)} numbers; expected 4: x, y, width, height")
    x, y, width, height = map(float, value)
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def _id_of(record: Mapping[str, Any]) -> str:
    return f"annotation {record['id']}: " if "id" in record else ""
