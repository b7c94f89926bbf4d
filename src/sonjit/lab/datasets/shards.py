"""Samples as JSON in WebDataset shards and Parquet tables, for sets too large for a folder of files.

Field names are those of `Sample` and `Instance`, units included. Unknown values are null or absent. Masks are packed
run lengths. A sample's depth is not stored.

In a shard, `000042.jpg` is the image as its data set stores it and `000042.json` the result of `sample_to_dict`; every
reader of WebDataset can stream them. `index.json` contains the number of samples. The same set gives the same bytes on
every machine. A shard appears only when it is finished, so that a stopped run continues with the next.

A Parquet table has one row per instance with the fields of its sample; a sample without instances keeps one row.
Keypoints are flat lists. Camera, tags, mesh, mask, extra and other fields are JSON text. `image` is the path of the
image, relative to the table.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.arrays import IntArray
from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit._util.json_text import json_from
from sonjit._util.pools import Progress
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.coco import mask_from_segmentation, rle_from_mask
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry, naming
from sonjit.lab.datasets.sample import Instance, ManoParameters, Sample
from sonjit.media.sources.images import SNIFF_BYTES, encode_image, image_format, read_bytes
from sonjit.media.tables.columns import arrow

INDEX = "index.json"
_ENDINGS = {"jpeg": "jpg", "tiff": "tif"}

_TRUTHS = ("valid_px", "valid_m", "visible")
_SKIPPED_FIELDS = ("image", "instances", "camera", "read_depth", "read_mask", "mesh")
Json = dict[str, Any]


def save_shards(
    folder: Path, dataset: Dataset, *, per_shard: int = 1000, progress: Progress = Progress()
) -> list[Path]:
    """Write a data set as shards and keep the shards of an earlier run.

    Args:
        folder: Folder, created if needed.
        dataset: Data set to write.
        per_shard: Samples per shard.
        progress: Receiver of the progress in samples.

    Returns:
        Shards written by this call.
    """
    if per_shard < 1:
        raise InputError(f"per_shard is {per_shard} and must be at least 1")
    index = {
        "dataset": dataset.entry.name,
        "split": dataset.split,
        "licence": dataset.entry.licence,
        "samples": len(dataset),
        "per_shard": per_shard,
    }
    if (folder / INDEX).is_file():
        if read_json(folder / INDEX) != index:
            raise InputError(f"{folder} contains shards of other data or settings: choose another folder or delete it")
    else:
        write_json(folder / INDEX, index, indent=1)
    written: list[Path] = []
    for number in range(-(-len(dataset) // per_shard)):
        path = folder / shard_name(number)
        indices = range(number * per_shard, min((number + 1) * per_shard, len(dataset)))
        if path.is_file():
            progress.advance(len(indices))
            continue
        with atomic_file(path) as draft, tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample_index in indices:
                add_sample(tar, sample_index, dataset[sample_index])
                progress.advance()
        written.append(path)
    return written


def image_bytes(sample: Sample) -> tuple[bytes, str]:
    """Return a sample's image as encoded bytes, unchanged if it is a file, and the matching file ending."""
    match sample.image:
        case Path():
            data = read_bytes(sample.image)
        case bytes():
            data = sample.image
        case _:
            return encode_image(sample.rgb(), ".png"), "png"
    found = image_format(data[:SNIFF_BYTES])
    if found is None:
        raise InputError(f"{sample.dataset} {sample.id}: the image is none, or it is damaged")
    return data, _ENDINGS.get(found, found)


class Shards(Dataset):
    """Data set of shards that reads each sample at its offset; only the offsets stay in memory."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        index = read_json(self.need(INDEX))
        with naming(str(root / INDEX)):
            self._count, self._per_shard = int(index["samples"]), int(index["per_shard"])
        self._places: dict[int, IntArray] = {}

    def __len__(self) -> int:
        return self._count

    def load(self, index: int) -> Sample:
        number, row = divmod(index, self._per_shard)
        path = self.root / shard_name(number)
        if number not in self._places:
            self._places[number] = self._places_in(path, min(self._per_shard, self._count - number * self._per_shard))
        offset, size, labels, labels_size = self._places[number][row].tolist()
        with path.open("rb") as file:
            file.seek(offset)
            image = file.read(size)
            file.seek(labels)
            text = file.read(labels_size)
        with naming(f"{path}, sample {index}"):
            return sample_from_dict(json.loads(text), image)

    def _places_in(self, path: Path, count: int) -> IntArray:
        """Return offsets and sizes (N, 4) of each sample's image and labels."""
        self.need(path.name)
        try:
            with tarfile.open(path, "r:") as tar:
                found = [(item.offset_data, item.size) for item in tar]
        except (OSError, tarfile.TarError) as error:
            raise InputError(f"{path} is not a tar file or was cut off: {error}; convert or copy it again") from None
        if len(found) != 2 * count:
            raise InputError(f"{path} contains {len(found)} files; expected {2 * count}; convert or copy it again")
        return np.array(found, np.int64).reshape(count, 4)


def add_sample(tar: tarfile.TarFile, index: int, sample: Sample) -> None:
    """Append a sample's image and labels to a shard; `index` is the index in the data set."""
    image, ending = image_bytes(sample)
    labels = json_from(sample_to_dict(sample), sort_keys=True)
    for name, data in ((ending, image), ("json", labels.encode())):
        member = tarfile.TarInfo(f"{index:08d}.{name}")  # no owner and no time, so that the bytes are reproducible
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"{number:06d}.tar"


def sample_to_dict(sample: Sample) -> Json:
    """Return a sample as JSON types, without its image.

    >>> from pathlib import Path
    >>> sample_to_dict(Sample(dataset="d", id="a.jpg", image=Path("a.jpg"), width=2, height=1))
    {'dataset': 'd', 'id': 'a.jpg', 'width': 2, 'height': 1, 'instances': []}
    """
    result = _changed_fields(sample)
    if sample.camera is not None:
        result["camera"] = _changed_fields(sample.camera)
    result["instances"] = [instance_to_dict(instance) for instance in sample.instances]
    return result


def sample_from_dict(data: Json, image: Path | bytes) -> Sample:
    """Return the sample of `sample_to_dict` with its image. A wrong record may raise KeyError, TypeError and similar
    errors.
    """
    names = (item.name for item in fields(Sample) if item.name in data and item.name not in _SKIPPED_FIELDS)
    rest: Json = {name: tuple(data[name]) if isinstance(data[name], list) else data[name] for name in names}
    camera = data.get("camera")
    size = data["height"], data["width"]
    return Sample(
        image=image,
        instances=tuple(_instance_from_dict(instance, *size) for instance in data["instances"]),
        camera=camera and CalibratedCamera(**{name: np.array(value, np.float64) for name, value in camera.items()}),
        **rest,
    )


def instance_to_dict(instance: Instance) -> Json:
    """Return an instance as JSON types, with its mask as packed run lengths."""
    result = _changed_fields(instance)
    if instance.mesh is not None:
        result["mesh"] = _changed_fields(instance.mesh)
    if (mask := instance.mask()) is not None:
        result["mask"] = rle_from_mask(np.asarray(mask, np.bool_))
    return result


def _instance_from_dict(data: Json, height: int, width: int) -> Instance:
    values: Json = {}
    for item in fields(Instance):
        name, value = item.name, data.get(item.name)
        if value is None:
            continue
        if name in _TRUTHS:
            value = np.array(value, np.bool_)
        elif name.endswith(("_px", "_m")):
            value = np.array(value, np.float64)  # null becomes NaN
        elif name == "mesh":
            arrays = {key: np.array(item, np.float64) for key, item in value.items() if isinstance(item, list)}
            value = ManoParameters(**{"trans": None} | value | arrays)
        elif isinstance(value, list):
            value = tuple(value)
        values[name] = value
    mask = data.get("mask")
    return Instance(**values, read_mask=mask and partial(mask_from_segmentation, mask, height, width))


def _changed_fields(record: Sample | Instance | CalibratedCamera | ManoParameters) -> Json:
    """Return the fields that differ from their defaults as JSON types."""
    values = ((item, getattr(record, item.name)) for item in fields(record) if item.name not in _SKIPPED_FIELDS)
    return {
        item.name: plain(value)
        for item, value in values
        if not (value is None or value is item.default or (isinstance(value, (str, tuple, Mapping)) and not value))
    }


def plain(value: Any) -> Any:  # noqa: ANN401  # JSON
    """Return a value as JSON types; NaN becomes null.

    >>> plain({"a": np.array([[1.5, np.nan]])})
    {'a': [[1.5, None]]}
    """
    match value:
        case np.ndarray() | np.generic():
            finite = value.dtype.kind in "biu" or (value.dtype.kind == "f" and np.isfinite(value).all())
            return value.tolist() if finite else plain(value.tolist())  # one by one takes long
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)


_SAMPLES_PER_GROUP = 512
_MARK = b"sonjit_dataset"
_SAMPLE_COLUMNS = {
    "sample": "int64", "id": "string", "image": "string", "width": "int32", "height": "int32", "dataset": "string",
    "subject": "string", "sequence": "string", "frame": "int64", "view": "string", "source": "string",
    "licence": "string", "upright": "bool", "reduced": "bool", "camera": "json", "tags": "json",
    "sample_more": "json",
}  # fmt: skip
_INSTANCE_COLUMNS = {
    "instance": "int32", "kind": "string", "side": "string", "skeleton": "string", "category": "string",
    "category_id": "int64", "crowd": "bool", "area_px2": "float64", "box": "float64 list",
    "keypoints_px": "float64 list", "valid_px": "bool list", "visible": "bool list", "keypoints_m": "float64 list",
    "valid_m": "bool list", "derived": "int32 list", "vertices_m": "float64 list", "mesh": "json", "mask": "json",
    "extra": "json", "instance_more": "json",
}  # fmt: skip
_COLUMNS = _SAMPLE_COLUMNS | _INSTANCE_COLUMNS
_WIDTHS = {"keypoints_px": 2, "keypoints_m": 3, "vertices_m": 3}


def save_parquet(path: Path, samples: Iterable[Json]) -> None:
    """Write samples as `sample_to_dict` returns them, with `image`. The file appears only when it is complete."""
    pa = arrow()
    schema = pa.schema([(name, _type(pa, kind)) for name, kind in _COLUMNS.items()], metadata={_MARK: b"1"})
    with (
        atomic_file(path) as draft,
        draft.open("wb") as file,  # Arrow refuses paths that are not UTF-8
        pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        rows: list[Json] = []
        for number, sample in enumerate(samples):
            rows += _rows(number, sample)
            if number % _SAMPLES_PER_GROUP == _SAMPLES_PER_GROUP - 1:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def is_dataset_parquet(path: Path) -> bool:
    """Check whether a Parquet file contains a data set and not a table of frames."""
    pa = arrow()
    try:
        with path.open("rb") as opened, pa.parquet.ParquetFile(opened) as file:
            return _MARK in (file.schema_arrow.metadata or {})
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} is not a Parquet file or was cut off: {error}") from None


def records_from_parquet(path: Path) -> Iterator[Json]:
    """Yield the samples that `save_parquet` wrote, reading one row group at a time."""
    with path.open("rb") as opened, arrow().parquet.ParquetFile(opened) as file:
        rows = (row for batch in file.iter_batches() for row in batch.to_pylist())
        for _, of_sample in groupby(rows, key=lambda row: row["sample"]):
            group = list(of_sample)
            instances = [_row_fields(row, _INSTANCE_COLUMNS) for row in group if row["instance"] is not None]
            yield _row_fields(group[0], _SAMPLE_COLUMNS) | {"instances": instances}


def _rows(number: int, sample: Json) -> Iterator[Json]:
    shared = _row_cells({"sample": number} | {k: v for k, v in sample.items() if k != "instances"}, _SAMPLE_COLUMNS)
    for index, instance in enumerate(sample["instances"]):
        yield shared | _row_cells({"instance": index} | instance, _INSTANCE_COLUMNS)
    if not sample["instances"]:
        yield shared


def _row_cells(values: Json, columns: dict[str, str]) -> Json:
    """Return a row's cells. Fields without a column go into the last one."""
    *_, last = columns
    values = values | {last: {name: value for name, value in values.items() if name not in columns} or None}
    row: Json = {}
    for name, kind in columns.items():
        value = values.get(name)
        if value is not None and kind == "json":
            value = json_from(value, spaced=True, sort_keys=True)
        elif value is not None and name in _WIDTHS:
            value = [item for point in value for item in point]
        row[name] = value
    return row


def _row_fields(row: Json, columns: dict[str, str]) -> Json:
    """Return the fields of a row of `_row_cells`, without the row number."""
    _, *names, last = columns
    result: Json = json.loads(row[last]) if row[last] else {}
    for name in names:
        value = row[name]
        if value is None:
            continue
        if columns[name] == "json":
            value = json.loads(value)
        elif name in _WIDTHS:
            value = np.reshape(np.array(value, object), (-1, _WIDTHS[name])).tolist()
        result[name] = value
    return result


def _type(pa: Any, kind: str) -> Any:  # noqa: ANN401  # pyarrow's stubs are partial
    name, _, is_list = kind.partition(" ")
    types = {"json": pa.string(), "string": pa.string(), "bool": pa.bool_(), "int32": pa.int32(), "int64": pa.int64()}
    item = types.get(name) or pa.float64()
    return pa.list_(item) if is_list else item
