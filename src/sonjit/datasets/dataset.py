"""What every data set is: a sequence of samples that are read when they are asked for.

Torch's loaders take one as it is. It pickles small enough for worker processes: indices are arrays, files are opened
anew for each sample.

Data sets whose samples are made from one small record each: kept as JSON in one block, read one at a time.

A million records in one block of bytes cost what their text costs, pickle at once, and are shared between the processes
of a loader, which lists of Python objects are not.
"""

from __future__ import annotations

import inspect
import json
import struct
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from sonjit.arrays import FloatArray
from sonjit.datasets.sample import Instance, InstanceKind, Sample
from sonjit.errors import InputError
from sonjit.media.sources.image_files import SNIFF_BYTES, image_format, image_size, jpeg_segments, read_bytes
from sonjit.results import Box


@dataclass(frozen=True)
class DatasetEntry:
    """What is known of a data set before it is opened.

    Attributes:
        name: as it is asked for.
        title: as its owners write it.
        open: makes the set: `open(entry, root, split, **options)`.
        splits: which there are; the first is the default.
        kinds: what its instances are.
        licence: what its owners allow, in a few words.
        where: the page where it is to be had.
        needs: what has to be below the root, `{split}` standing for the split.
    """

    name: str
    title: str
    open: Callable[..., Dataset]
    splits: tuple[str, ...]
    kinds: tuple[InstanceKind, ...]
    licence: str
    where: str
    needs: tuple[str, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """What `open_dataset` takes for this set beside root and split."""
        return tuple(inspect.signature(self.open).parameters)[3:]


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

    def categories(self) -> dict[int, str]:
        """Names of the classes by their ids, in order of these; sets without classes have one per kind of instance.

        All labels are read.
        """
        found = {(one.category_id, one.category or one.kind) for sample in self for one in sample.instances}
        names = sorted({name for _, name in found})
        return dict(sorted((names.index(name) + 1 if own is None else own, name) for own, name in found))

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

    def sample_of(
        self,
        place: str,
        instances: Iterable[Instance],
        source: object,
        size: tuple[int, int] | None = None,
        **more: Any,  # noqa: ANN401  # any field of a sample
    ) -> Sample:
        """The sample of one image.

        Args:
            place: of the image, below the root; its id too.
            instances: what is in it.
            source: file of its labels.
            size: width and height in pixels; as the file says where it is None.
            **more: further fields of the sample, or others in place of these.
        """
        image = more.pop("image", self.root / place)
        width, height = size_of_image(image) if size is None else size
        fields: dict[str, Any] = {"dataset": self.entry.name, "id": place, "licence": self.entry.licence}
        fields |= {"instances": tuple(instances), "source": str(source)} | more
        return Sample(image=image, width=width, height=height, **fields)

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

    def categories(self) -> dict[int, str]:
        return self._whole.categories()

    def load(self, index: int) -> Sample:
        return self._whole.load(int(self._places[index]))


_APP1, _ORIENTATION, _QUARTER_TURNS = 0xE1, 0x0112, range(5, 9)  # of JPEG and EXIF
_HEAD_BYTES = 1 << 16  # of an image: holds the size but for images with very long comments


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
    """A set that keeps a record per sample.

    Attributes:
        records: one per sample.
        annotations: the file that they come from, for error messages.
    """

    records: PackedRecords
    annotations: str

    def keep(self, records: Iterable[Any], annotations: str) -> None:
        """Pack the records; each loader does it once, at the end of its `__init__`.

        Raises:
            InputError: there are none.
        """
        self.annotations = annotations
        with naming(annotations):
            self.records = PackedRecords(records)
        if not len(self.records):
            raise InputError(f"{annotations}: no samples of the split {self.split!r} of {self.entry.name}")

    def __len__(self) -> int:
        return len(self.records)

    def load(self, index: int) -> Sample:
        """The sample of one record; a record that lacks something is an InputError with file and field."""
        with naming(f"{self.annotations}, sample {index}"):
            return self.sample(self.records[index])

    @abstractmethod
    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        """The sample of a record; may raise what a wrong record makes Python raise."""


@contextmanager
def naming(where: str) -> Generator[None]:
    """Turn what wrong records make Python raise inside the block into one InputError that says where it was."""
    try:
        yield
    except KeyError as error:
        raise InputError(f"{where}: the field {error} is missing") from None
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {error}") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that hold anything."""
    try:
        return [line for line in read_bytes(path).decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text: {error.reason} at byte {error.start}") from None


def size_of_image(path: Path, *, upright: bool = False) -> tuple[int, int]:
    """Width and height in pixels, from the file's head alone.

    Args:
        path: of the image.
        upright: as it is when turned as its EXIF orientation says (JPEG), not as stored.

    Raises:
        InputError: missing, or no image.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(f"the image {path} is missing or cannot be read: {error.strerror}") from None
    found = image_format(head[:SNIFF_BYTES])
    size = image_size(head, found) or image_size(read_bytes(path), found)
    if size is None:
        raise InputError(f"{path} is not an image, or it is damaged; copy or download it again")
    lies = upright and found == "jpeg" and _exif_orientation(head) in _QUARTER_TURNS
    return (size[1], size[0]) if lies else size


def _exif_orientation(head: bytes) -> int:
    """1..8 as EXIF counts; 1 where a JPEG's head says nothing."""
    for marker, start in jpeg_segments(head):
        if marker == _APP1 and head[start + 2 : start + 8] == b"Exif\0\0":
            tiff = head[start + 8 : start + int.from_bytes(head[start : start + 2])]
            order = "<" if tiff[:2] == b"II" else ">"
            try:
                (position,) = struct.unpack_from(order + "I", tiff, 4)
                (count,) = struct.unpack_from(order + "H", tiff, position)
                entries = (struct.unpack_from(order + "HHIH", tiff, position + 2 + 12 * k) for k in range(count))
                return next((value for tag, _, _, value in entries if tag == _ORIENTATION), 1)
            except struct.error:
                return 1
    return 1


def points_with_flags(record: Mapping[str, Any], field: str, count: int) -> tuple[FloatArray, FloatArray]:
    """Keypoints as COCO writes them, flat or in threes.

    Args:
        record: that has them.
        field: under which name.
        count: how many there have to be.

    Returns:
        (K, 2) x, y in pixels, NaN where the flag is 0; (K,) flags.

    Raises:
        ValueError: another number of them.
    """
    values = np.asarray(record[field], np.float64)
    if values.size != 3 * count:
        raise ValueError(f"{_id_of(record)}{field} holds {values.size} numbers and must hold {3 * count} (x, y, flag)")
    values = values.reshape(count, 3)
    return np.where(values[:, 2:] > 0, values[:, :2], np.nan), values[:, 2]


def box_from_corner(record: Mapping[str, Any], field: str) -> Box | None:
    """The box that a record gives as x, y, width, height; None where it holds nothing.

    Raises:
        ValueError: not four numbers.
    """
    value = record.get(field)
    if value is None:
        return None
    if len(value) != 4:
        raise ValueError(f"{_id_of(record)}{field} holds {len(value)} numbers and must hold 4: x, y, width, height")
    x, y, width, height = map(float, value)
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def _id_of(record: Mapping[str, Any]) -> str:
    return f"annotation {record['id']}: " if "id" in record else ""
