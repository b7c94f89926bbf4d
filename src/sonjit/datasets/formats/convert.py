"""Data sets into other forms: COCO keypoints, Parquet, WebDataset shards."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from sonjit.datasets.dataset import Dataset
from sonjit.datasets.formats.coco import rle_from_mask
from sonjit.datasets.formats.parquet import save_parquet
from sonjit.datasets.formats.shards import image_bytes, plain, sample_to_dict, save_shards
from sonjit.datasets.sample import Instance, Sample
from sonjit.errors import InputError
from sonjit.files import atomic_text, write_bytes
from sonjit.skeletons import load_skeleton

_OF_IMAGE = ("subject", "sequence", "frame", "view", "tags")
Json = dict[str, Any]


def convert_dataset(
    dataset: Dataset, path: Path, *, per_shard: int = 1000, advance: Callable[[], None] = lambda: None
) -> None:
    """Write a data set in another form; `open_dataset("folder" or "shards", path)` reads it back.

    Args:
        dataset: what to write.
        path: `.json` for COCO keypoints, `.parquet` for a table, or a folder for WebDataset shards. The first two point
            to the images where they lie; images that lie in no file are written to `{name}_images` beside.
        per_shard: samples in each shard.
        advance: called after each sample.

    Raises:
        InputError: another ending, or a bad sample.
        MissingExtraError: `.parquet` without pyarrow.
    """
    ending = path.suffix.lower()
    if ending == ".json":
        save_coco(path, dataset, advance=advance)
    elif ending == ".parquet":
        save_parquet(path, _records(dataset, path, advance))
    elif not ending:
        save_shards(path, dataset, per_shard=per_shard, advance=advance)
    else:
        raise InputError(f"{path}: unknown ending {ending!r}; known: .json (COCO), .parquet, or a folder for shards")


def save_coco(path: Path, dataset: Dataset, *, advance: Callable[[], None] = lambda: None) -> None:
    """Write a set as COCO keypoints, with Sonjit's further fields (see `folder`); meshes and vertices are left out."""
    with atomic_text(path) as file:
        _write_coco(file, dataset, path, advance)


def _write_coco(file: TextIO, dataset: Dataset, path: Path, advance: Callable[[], None]) -> None:
    """Annotations go to disk as they come; images and categories, which are small, at the end."""
    images: list[str] = []
    categories: dict[tuple[str, str | None, tuple[str, ...]], Json] = {}
    count = 0
    file.write('{"annotations": [')
    for number, sample in enumerate(dataset, 1):
        images.append(json.dumps(_image(number, sample, path)))
        for one in sample.instances:
            skeleton = one.skeleton if one.keypoints_px is not None else None
            key = one.category or one.kind, skeleton, one.keypoint_names
            category = categories.setdefault(key, _category(len(categories) + 1, *key))
            file.write(",\n" if count else "\n")
            count += 1
            file.write(json.dumps(_annotation(count, number, category["id"], one)))
        advance()
    file.write('\n],\n"images": [\n' + ",\n".join(images))
    file.write('\n],\n"categories": ' + json.dumps(list(categories.values())))
    file.write(',\n"licenses": ' + json.dumps([{"id": 1, "name": dataset.entry.licence}]) + "}\n")


def _image(number: int, sample: Sample, path: Path) -> Json:
    record: Json = {
        "id": number,
        "file_name": _image_file(sample, number, path),
        "width": sample.width,
        "height": sample.height,
        "license": 1,
        "upright": sample.upright,
    }
    record |= {name: plain(value) for name in _OF_IMAGE if (value := getattr(sample, name)) not in (None, {})}
    if sample.reduced:
        record["reduced"] = True
    if (camera := sample.camera) is not None:
        places = {"K": camera.K, "R": camera.R, "t_m": camera.t, "distortion": camera.distortion}
        record["camera"] = {name: value.tolist() for name, value in places.items() if value is not None}
    return record


def _category(number: int, name: str, skeleton: str | None, keypoint_names: tuple[str, ...]) -> Json:
    record: Json = {"id": number, "name": name}
    try:
        known = load_skeleton(skeleton or "")
    except InputError:  # a convention of the set's own
        return record | ({"keypoints": list(keypoint_names)} if keypoint_names else {})
    lines = [[a + 1, b + 1] for a, b in known.connections]
    return record | {"keypoints": list(known.keypoints), "skeleton": lines}


def _annotation(number: int, image: int, category: int, one: Instance) -> Json:
    record: Json = {"id": number, "image_id": image, "category_id": category, "iscrowd": int(one.crowd)}
    if one.side:
        record["hand_side"] = one.side.lower()
    points = one.keypoints_px
    if points is not None:
        known = np.asarray(np.isfinite(points).all(axis=1), np.bool_)
        known = known if one.valid_px is None else known & one.valid_px
        hidden = np.zeros(len(points), np.bool_) if one.visible is None else ~one.visible
        flags = np.where(known, np.where(hidden, 1, 2), 0)
        rows = zip(np.where(known[:, None], points, 0).tolist(), flags.tolist(), strict=True)
        record["keypoints"] = [value for (x, y), flag in rows for value in (x, y, flag)]
        record["num_keypoints"] = int(known.sum())
        if one.keypoints_m is not None:
            valid = np.isfinite(one.keypoints_m) if one.valid_m is None else one.valid_m[:, None]
            record["keypoints3d"] = plain(np.where(valid, one.keypoints_m * 1000, np.nan))
    if (box := one.box or _box_around(record)) is not None:
        record["bbox"] = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        record["area"] = one.area_px2 or record["bbox"][2] * record["bbox"][3]
    if (mask := one.mask()) is not None:
        record["segmentation"] = rle_from_mask(np.asarray(mask, np.bool_))
    if "group" in one.extra:
        record["group"] = plain(one.extra["group"])
    return record


def _box_around(record: Json) -> tuple[float, float, float, float] | None:
    points = np.reshape(record.get("keypoints", []), (-1, 3))
    points = points[points[:, 2] > 0, :2]
    if len(points) < 2 or not (np.ptp(points, axis=0) > 0).all():
        return None
    (x_min, y_min), (x_max, y_max) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x_min, y_min, x_max, y_max


def _records(dataset: Dataset, path: Path, advance: Callable[[], None]) -> Any:  # noqa: ANN401  # a generator of JSON
    for number, sample in enumerate(dataset, 1):
        yield sample_to_dict(sample) | {"image": _image_file(sample, number, path)}
        advance()


def _image_file(sample: Sample, number: int, path: Path) -> str:
    """The image's path relative to the file that names it; an image that lies in no file is written to one."""
    if not isinstance(sample.image, Path):
        data, ending = image_bytes(sample)
        file = path.parent / f"{path.stem}_images" / f"{number:08d}.{ending}"
        write_bytes(file, data)
    else:
        file = sample.image
    return Path(os.path.relpath(file, path.parent)).as_posix()
