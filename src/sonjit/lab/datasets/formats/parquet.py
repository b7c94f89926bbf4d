"""Data sets as Parquet: one row per instance with the fields of its sample; a sample without instances keeps one row.

Names and units are those of `Sample` and `Instance`. Keypoints are flat lists. Camera, tags, mesh, mask (packed run
lengths), extra and other fields are JSON text. `image` is the path of the image, relative to the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit._util.json_text import json_from
from sonjit.media.tables.parquet_tables import arrow

_SAMPLES_PER_GROUP = 512
_MARK = b"sonjit_dataset"
_SAMPLE_COLUMNS = {
    "sample": "int64",
    "id": "string",
    "image": "string",
    "width": "int32",
    "height": "int32",
    "dataset": "string",
    "subject": "string",
    "sequence": "string",
    "frame": "int64",
    "view": "string",
    "source": "string",
    "licence": "string",
    "upright": "bool",
    "reduced": "bool",
    "camera": "json",
    "tags": "json",
    "sample_more": "json",
}
_INSTANCE_COLUMNS = {
    "instance": "int32",
    "kind": "string",
    "side": "string",
    "skeleton": "string",
    "category": "string",
    "category_id": "int64",
    "crowd": "bool",
    "area_px2": "float64",
    "box": "float64 list",
    "keypoints_px": "float64 list",
    "valid_px": "bool list",
    "visible": "bool list",
    "keypoints_m": "float64 list",
    "valid_m": "bool list",
    "derived": "int32 list",
    "vertices_m": "float64 list",
    "mesh": "json",
    "mask": "json",
    "extra": "json",
    "instance_more": "json",
}
_COLUMNS = _SAMPLE_COLUMNS | _INSTANCE_COLUMNS
_WIDTHS = {"keypoints_px": 2, "keypoints_m": 3, "vertices_m": 3}
Json = dict[str, Any]


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
