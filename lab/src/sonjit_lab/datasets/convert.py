"""Convert data sets to COCO keypoints or Parquet.

A Parquet table has a row per instance, named as the fields of `Sample` and `Instance`; a sample without instances keeps
one row. Unknown values are null or absent, masks are packed run lengths, keypoints flat lists, and nested values JSON
text. Depth is not stored. `image` is the path of the image, relative to the table.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util import InputError, json_from, pools
from sonjit._util.files import atomic_file, atomic_text, write_bytes
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media.sources.images import encode_image
from sonjit.media.tables.columns import arrow
from sonjit.media.tables.labels import category_record
from sonjit.segmentation.coco import rle_from_mask
from sonjit_lab.datasets.coco import Record, box_from_mask, mask_from_segmentation
from sonjit_lab.datasets.dataset import Dataset
from sonjit_lab.datasets.sample import Instance, ManoParameters, Sample

_TRUTHS = ("valid_px", "valid_m", "visible")
_SKIPPED_FIELDS = ("image", "instances", "camera", "read_depth", "read_mask", "mesh")
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
_IMAGE_FIELDS = ("subject", "sequence", "frame", "view", "tags")


def sample_to_dict(sample: Sample) -> Record:
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


def sample_from_dict(data: Record, image: Path) -> Sample:
    """Return the sample of `sample_to_dict` with its image; wrong records raise KeyError, TypeError and the like."""
    names = (item.name for item in fields(Sample) if item.name in data and item.name not in _SKIPPED_FIELDS)
    rest: Record = {name: tuple(data[name]) if isinstance(data[name], list) else data[name] for name in names}
    camera = data.get("camera")
    size = data["height"], data["width"]
    if camera is not None:
        arrays = {name: np.array(value, np.float64) for name, value in camera.items() if name != "model"}
        camera = CalibratedCamera(**arrays, model=camera.get("model", "pinhole"))
    return Sample(
        image=image,
        instances=tuple(_instance_from_dict(instance, *size) for instance in data["instances"]),
        camera=camera,
        **rest,
    )


def instance_to_dict(instance: Instance) -> Record:
    """Return an instance as JSON types, with its mask as packed run lengths."""
    result = _changed_fields(instance)
    if instance.mesh is not None:
        result["mesh"] = _changed_fields(instance.mesh)
    if (mask := instance.mask()) is not None:
        result["mask"] = rle_from_mask(np.asarray(mask, np.bool_))
    return result


def _instance_from_dict(data: Record, height: int, width: int) -> Instance:
    values: Record = {}
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


def _changed_fields(record: Sample | Instance | CalibratedCamera | ManoParameters) -> Record:
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


def save_parquet(path: Path, samples: Iterable[Record]) -> None:
    """Write samples as `sample_to_dict` returns them, with `image`. The file appears only when it is complete."""
    pa = arrow()
    schema = pa.schema([(name, _type(pa, kind)) for name, kind in _COLUMNS.items()], metadata={_MARK: b"1"})
    with (
        atomic_file(path) as draft,
        draft.open("wb") as file,  # Arrow refuses paths that are not UTF-8
        pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        rows: list[Record] = []
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


def records_from_parquet(path: Path) -> Iterator[Record]:
    """Yield the samples that `save_parquet` wrote, reading one row group at a time."""
    with path.open("rb") as opened, arrow().parquet.ParquetFile(opened) as file:
        rows = (row for batch in file.iter_batches() for row in batch.to_pylist())
        for _, of_sample in groupby(rows, key=lambda row: row["sample"]):
            group = list(of_sample)
            instances = [_row_fields(row, _INSTANCE_COLUMNS) for row in group if row["instance"] is not None]
            yield _row_fields(group[0], _SAMPLE_COLUMNS) | {"instances": instances}


def _rows(number: int, sample: Record) -> Iterator[Record]:
    shared = _row_cells({"sample": number} | {k: v for k, v in sample.items() if k != "instances"}, _SAMPLE_COLUMNS)
    for index, instance in enumerate(sample["instances"]):
        yield shared | _row_cells({"instance": index} | instance, _INSTANCE_COLUMNS)
    if not sample["instances"]:
        yield shared


def _row_cells(values: Record, columns: dict[str, str]) -> Record:
    """Return a row's cells. Fields without a column go into the last one."""
    *_, last = columns
    values = values | {last: {name: value for name, value in values.items() if name not in columns} or None}
    row: Record = {}
    for name, kind in columns.items():
        value = values.get(name)
        if value is not None and kind == "json":
            value = json_from(value, spaced=True, sort_keys=True)
        elif value is not None and name in _WIDTHS:
            value = [item for point in value for item in point]
        row[name] = value
    return row


def _row_fields(row: Record, columns: dict[str, str]) -> Record:
    """Return the fields of a row of `_row_cells`, without the row number."""
    _, *names, last = columns
    result: Record = json.loads(row[last]) if row[last] else {}
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


def convert_dataset(dataset: Dataset, path: Path, *, progress: pools.Progress = pools.Progress()) -> None:
    """Write a data set in another format; `open_dataset("folder", path)` reads it.

    Args:
        dataset: Data set to write.
        path: `.json` for COCO keypoints, or `.parquet` for a table. They refer to the original image files; images
            without a file are written to the folder `{name}_images`.
        progress: Receiver of the progress in samples.

    Raises:
        InputError: The file ending is unknown, or a sample is bad.
        MissingExtraError: pyarrow is not installed and `.parquet` is requested.
    """
    ending = path.suffix.lower()
    if ending == ".json":
        save_coco(path, dataset, progress=progress)
    elif ending == ".parquet":
        save_parquet(path, _records(dataset, path, progress))
    else:
        raise InputError(f"{path}: Unknown file ending {ending!r}. Choose from .json and .parquet")


def save_coco(path: Path, dataset: Dataset, *, progress: pools.Progress = pools.Progress()) -> None:
    """Write a data set as COCO keypoints with the additional fields of `folder`, without meshes and vertices."""
    with atomic_text(path) as file:
        images: list[str] = []
        categories: dict[tuple[int, str, str | None, tuple[str, ...]], Record] = {}
        classes, count = dataset.categories(), 0
        used = set[int]()
        file.write('{"annotations": [')
        for index, sample in enumerate(dataset, 1):
            number = index if sample.image_id is None else sample.image_id
            record: Record = {
                "id": number,
                "file_name": _image_file(sample, index, path),
                "width": sample.width,
                "height": sample.height,
                "license": 1,
                "upright": sample.upright,
            }
            record |= {
                name: plain(value) for name in _IMAGE_FIELDS if (value := getattr(sample, name)) not in (None, {})
            }
            if sample.reduced:
                record["reduced"] = True
            if (camera := sample.camera) is not None:
                places = {"K": camera.K, "R": camera.R, "t_m": camera.t, "distortion": camera.distortion}
                record["camera"] = {name: value.tolist() for name, value in places.items() if value is not None}
                record["camera"] |= {"model": camera.model} if camera.distortion is not None else {}
            images.append(json_from(record, spaced=True))
            for instance in sample.instances:
                skeleton = instance.skeleton if instance.keypoints_px is not None else None
                category_id = category_of(instance, classes)
                key = category_id, instance.category or instance.kind, skeleton, instance.keypoint_names
                classes.setdefault(category_id, key[1])
                if key not in categories:
                    category_id = max(used | classes.keys()) + 1 if category_id in used else category_id
                    categories[key] = category_record(category_id, *key[1:])
                    used.add(category_id)
                category = categories[key]
                file.write(",\n" if count else "\n")
                count += 1
                file.write(json_from(coco_annotation(count, number, category["id"], instance), spaced=True))
            progress.advance()
        file.write('\n],\n"images": [\n' + ",\n".join(images))
        file.write('\n],\n"categories": ' + json_from(list(categories.values()), spaced=True))
        file.write(',\n"licenses": ' + json_from([{"id": 1, "name": dataset.entry.licence}], spaced=True) + "}\n")


def category_of(instance: Instance, categories: Mapping[int, str]) -> int:
    """Return the id of an instance's category, see `Dataset.categories`; the next free one if it is not there."""
    if instance.category_id is not None:
        return instance.category_id
    fitting = (number for number, name in categories.items() if name == (instance.category or instance.kind))
    return next(fitting, max(categories, default=0) + 1)


def coco_annotation(number: int, image: int | str, category: int, instance: Instance) -> Record:
    """Return an annotation of COCO with a number, the id of its image and of its category."""
    record: Record = {"id": number, "image_id": image, "category_id": category, "iscrowd": int(instance.crowd)}
    if instance.side:
        record["hand_side"] = instance.side.lower()
    points = instance.keypoints_px
    if points is not None:
        labelled = np.asarray(np.isfinite(points).all(axis=1), np.bool_)
        labelled = labelled if instance.valid_px is None else labelled & instance.valid_px
        hidden = np.zeros(len(points), np.bool_) if instance.visible is None else ~instance.visible
        flags = np.where(labelled, np.where(hidden, 1, 2), 0)
        rows = zip(np.where(labelled[:, None], points, 0).tolist(), flags.tolist(), strict=True)
        record["keypoints"] = [value for (x, y), flag in rows for value in (x, y, flag)]
        record["num_keypoints"] = int(labelled.sum())
        if instance.derived:
            record["derived"] = list(instance.derived)
        if instance.keypoints_m is not None:
            valid = np.isfinite(instance.keypoints_m) if instance.valid_m is None else instance.valid_m[:, None]
            record["keypoints3d"] = plain(np.where(valid, instance.keypoints_m * 1000, np.nan))
    if (mask := instance.mask()) is not None:
        record["segmentation"] = rle_from_mask(np.asarray(mask, np.bool_))
    if box := instance.box or _box_around(record) or (None if mask is None else box_from_mask(mask)):
        record["bbox"] = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        area = record["bbox"][2] * record["bbox"][3] if mask is None else int(mask.sum())
        record["area"] = area if instance.area_px2 is None else instance.area_px2
    if "group" in instance.extra:
        record["group"] = plain(instance.extra["group"])
    return record


def _box_around(record: Record) -> tuple[float, float, float, float] | None:
    points = np.reshape(record.get("keypoints", []), (-1, 3))
    points = points[points[:, 2] > 0, :2]
    if len(points) < 2 or not (np.ptp(points, axis=0) > 0).all():
        return None
    (x_min, y_min), (x_max, y_max) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x_min, y_min, x_max, y_max


def _records(dataset: Dataset, path: Path, progress: pools.Progress) -> Any:  # noqa: ANN401  # a generator of JSON
    for number, sample in enumerate(dataset, 1):
        yield sample_to_dict(sample) | {"image": _image_file(sample, number, path)}
        progress.advance()


def _image_file(sample: Sample, number: int, path: Path) -> str:
    """Return the image's path relative to the annotation file. An image without a file is written to one."""
    if not isinstance(sample.image, Path):
        file = path.parent / f"{path.stem}_images" / f"{number:08d}.png"
        write_bytes(file, encode_image(sample.rgb(), ".png"))
    else:
        file = sample.image
    return Path(os.path.relpath(file, path.parent)).as_posix()
