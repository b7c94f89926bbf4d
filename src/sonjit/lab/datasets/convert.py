"""Convert data sets to COCO keypoints, Parquet or WebDataset shards, and split them by subject.

No person or image is in two parts of a split. A hash of the seed and the name assigns each group. The order of the
samples does not matter, and the same seed gives the same split on every machine.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.arrays import IntArray
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_text, write_bytes
from sonjit._util.json_text import json_from
from sonjit._util.pools import Progress
from sonjit.lab.datasets.coco import rle_from_mask
from sonjit.lab.datasets.dataset import Dataset
from sonjit.lab.datasets.sample import Instance, Sample
from sonjit.lab.datasets.shards import image_bytes, plain, sample_to_dict, save_parquet, save_shards
from sonjit.results.skeletons import load_skeleton

_IMAGE_FIELDS = ("subject", "sequence", "frame", "view", "tags")
Json = dict[str, Any]


def convert_dataset(dataset: Dataset, path: Path, *, per_shard: int = 1000, progress: Progress = Progress()) -> None:
    """Write a data set in another format; `open_dataset("folder" or "shards", path)` reads it.

    Args:
        dataset: Data set to write.
        path: `.json` for COCO keypoints, `.parquet` for a table, or a folder for WebDataset shards. The first two refer
            to the original image files; images without a file are written to the folder `{name}_images`.
        per_shard: Samples per shard.
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
    elif not ending:
        save_shards(path, dataset, per_shard=per_shard, progress=progress)
    else:
        raise InputError(
            f"{path}: Unknown file ending {ending!r}. Choose from .json (COCO), .parquet, or a folder for shards"
        )


def save_coco(path: Path, dataset: Dataset, *, progress: Progress = Progress()) -> None:
    """Write a data set as COCO keypoints with the additional fields of `folder`, without meshes and vertices."""
    with atomic_text(path) as file:
        images: list[str] = []
        categories: dict[tuple[str, str | None, tuple[str, ...]], Json] = {}
        used, count = set[int](), 0
        file.write('{"annotations": [')
        for index, sample in enumerate(dataset, 1):
            number = index if sample.image_id is None else sample.image_id
            record: Json = {
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
            images.append(json_from(record, spaced=True))
            for instance in sample.instances:
                skeleton = instance.skeleton if instance.keypoints_px is not None else None
                key = instance.category or instance.kind, skeleton, instance.keypoint_names
                if key not in categories:
                    own = instance.category_id
                    own = max(used, default=0) + 1 if own is None or own in used else own
                    categories[key] = _category(own, *key)
                    used.add(own)
                category = categories[key]
                file.write(",\n" if count else "\n")
                count += 1
                file.write(json_from(_annotation(count, number, category["id"], instance), spaced=True))
            progress.advance()
        file.write('\n],\n"images": [\n' + ",\n".join(images))
        file.write('\n],\n"categories": ' + json_from(list(categories.values()), spaced=True))
        file.write(',\n"licenses": ' + json_from([{"id": 1, "name": dataset.entry.licence}], spaced=True) + "}\n")


def _category(number: int, name: str, skeleton: str | None, keypoint_names: tuple[str, ...]) -> Json:
    record: Json = {"id": number, "name": name}
    try:
        known = load_skeleton(skeleton or "")
    except InputError:  # a convention of the set's own
        return record | ({"keypoints": list(keypoint_names)} if keypoint_names else {})
    lines = [[a + 1, b + 1] for a, b in known.connections]
    return record | {"keypoints": list(known.keypoints), "skeleton": lines}


def _annotation(number: int, image: int, category: int, instance: Instance) -> Json:
    record: Json = {"id": number, "image_id": image, "category_id": category, "iscrowd": int(instance.crowd)}
    if instance.side:
        record["hand_side"] = instance.side.lower()
    points = instance.keypoints_px
    if points is not None:
        known = np.asarray(np.isfinite(points).all(axis=1), np.bool_)
        known = known if instance.valid_px is None else known & instance.valid_px
        hidden = np.zeros(len(points), np.bool_) if instance.visible is None else ~instance.visible
        flags = np.where(known, np.where(hidden, 1, 2), 0)
        rows = zip(np.where(known[:, None], points, 0).tolist(), flags.tolist(), strict=True)
        record["keypoints"] = [value for (x, y), flag in rows for value in (x, y, flag)]
        record["num_keypoints"] = int(known.sum())
        if instance.keypoints_m is not None:
            valid = np.isfinite(instance.keypoints_m) if instance.valid_m is None else instance.valid_m[:, None]
            record["keypoints3d"] = plain(np.where(valid, instance.keypoints_m * 1000, np.nan))
    if (box := instance.box or _box_around(record)) is not None:
        record["bbox"] = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        record["area"] = instance.area_px2 or record["bbox"][2] * record["bbox"][3]
    if (mask := instance.mask()) is not None:
        record["segmentation"] = rle_from_mask(np.asarray(mask, np.bool_))
    if "group" in instance.extra:
        record["group"] = plain(instance.extra["group"])
    return record


def _box_around(record: Json) -> tuple[float, float, float, float] | None:
    points = np.reshape(record.get("keypoints", []), (-1, 3))
    points = points[points[:, 2] > 0, :2]
    if len(points) < 2 or not (np.ptp(points, axis=0) > 0).all():
        return None
    (x_min, y_min), (x_max, y_max) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x_min, y_min, x_max, y_max


def _records(dataset: Dataset, path: Path, progress: Progress) -> Any:  # noqa: ANN401  # a generator of JSON
    for number, sample in enumerate(dataset, 1):
        yield sample_to_dict(sample) | {"image": _image_file(sample, number, path)}
        progress.advance()


def _image_file(sample: Sample, number: int, path: Path) -> str:
    """Return the image's path relative to the annotation file. An image without a file is written to one."""
    if not isinstance(sample.image, Path):
        data, ending = image_bytes(sample)
        file = path.parent / f"{path.stem}_images" / f"{number:08d}.{ending}"
        write_bytes(file, data)
    else:
        file = sample.image
    return Path(os.path.relpath(file, path.parent)).as_posix()


@dataclass(frozen=True, eq=False)
class Part:
    """Part of a split.

    Attributes:
        name: Name, e.g. "train".
        indices: Indices (N,) of its samples, int64, sorted.
        groups: Subjects in the part, or recordings or images if no subject is known.
        sha256: Hash of the ids of its samples, which identifies the part in a report.
    """

    name: str
    indices: IntArray
    groups: tuple[str, ...]
    sha256: str


def split_dataset(
    dataset: Dataset | Sequence[Sample], shares: Mapping[str, float], *, seed: int = 0, same_images: bool = True
) -> dict[str, Part]:
    """Split by subject, by recording if no subject is known, or by image if no recording is known.

    Args:
        dataset: Data set to split; the labels of every sample are read once.
        shares: Share of the samples in each part, e.g. `{"train": 0.8, "val": 0.1, "test": 0.1}`, with the sum 1.
            Groups are never cut, so a few large ones reach the shares only approximately.
        seed: Seed of the assignment.
        same_images: Keep groups together that share an identical image file.

    Raises:
        InputError: The shares do not add up to 1, or there are fewer groups than parts.
    """
    ids: list[str] = []
    groups: list[str] = []
    files: list[Path | bytes | None] = []
    for sample in dataset:
        ids.append(sample.id)
        groups.append(sample.subject or sample.sequence or sample.id)
        files.append(sample.image if isinstance(sample.image, (Path, bytes)) else None)
    joined = _merge_groups(groups, files) if same_images else groups
    assigned = split_groups(joined, shares, seed=seed)
    parts: dict[str, Part] = {}
    for name in shares:
        indices = np.array([k for k, group in enumerate(joined) if assigned[group] == name], np.int64)
        subjects = sorted({groups[k] for k in indices.tolist()})
        parts[name] = Part(name, indices, tuple(subjects), _hash_words(sorted(ids[k] for k in indices.tolist())))
    return parts


def split_groups(groups: Sequence[str], shares: Mapping[str, float], *, seed: int = 0) -> dict[str, str]:
    """Return the part of each group.

    Args:
        groups: Group of every sample, so that large groups weigh more.
        shares: Share of the samples in each part.
        seed: Seed of the assignment.
    """
    if not shares or any(share <= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"shares {dict(shares)} must be above 0 and add up to 1")
    sizes: dict[str, int] = defaultdict(int)
    for group in groups:
        sizes[group] += 1
    if len(sizes) < len(shares):
        raise InputError(f"{len(sizes)} subjects cannot be split into {len(shares)} parts: {', '.join(shares)}")
    targets = {name: share * len(groups) for name, share in shares.items()}
    empty = set(shares)
    assigned: dict[str, str] = {}
    order = sorted(sizes, key=lambda group: _hash_words([str(seed), group]))
    for index, group in enumerate(order):
        open_to = empty if len(order) - index <= len(empty) else targets.keys()  # no part stays without a group
        part = max(open_to, key=lambda name: (targets[name] / shares[name], name))
        targets[part] -= sizes[group]
        empty.discard(part)
        assigned[group] = part
    return assigned


def _merge_groups(groups: Sequence[str], files: Sequence[Path | bytes | None]) -> list[str]:
    """Merge groups that share a file into one, named after the alphabetically first."""
    by_size: dict[int, dict[Path | bytes, set[str]]] = defaultdict(lambda: defaultdict(set))
    for group, file in zip(groups, files, strict=True):
        if isinstance(file, bytes) or (file is not None and file.is_file()):
            by_size[len(file) if isinstance(file, bytes) else file.stat().st_size][file].add(group)
    leader: dict[str, str] = {}

    def lead(group: str) -> str:
        while (above := leader.get(group, group)) != group:
            group = above
        return group

    def join(together: Iterable[str]) -> None:
        first, *others = sorted({lead(group) for group in together})
        leader.update(dict.fromkeys(others, first))

    for same_size in by_size.values():
        by_content: dict[str, set[str]] = defaultdict(set)
        for file, found in same_size.items():
            content = "" if len(same_size) == 1 else _hash_content(file)  # a size of its own: no need to read it
            by_content[content] |= found
        for together in by_content.values():
            join(together)
    return [lead(group) for group in groups]


def _hash_content(file: Path | bytes) -> str:
    return hashlib.sha256(file if isinstance(file, bytes) else file.read_bytes()).hexdigest()


def _hash_words(words: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()
