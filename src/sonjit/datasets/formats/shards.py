"""WebDataset shards: tar files with an image and its labels per sample, for sets too large for a folder of files.

`000042.jpg` is the image as its data set stores it and `000042.json` what `sample_to_dict` says of it; any reader of
WebDataset can stream them. `index.json` holds their number. The same set gives the same bytes on every machine. A
shard takes its name when it is finished, so that a stopped run goes on with the next.

Samples as plain JSON types and back: the form in which shards and Parquet hold them.

Field names are those of `Sample` and `Instance`, units included; what is unknown is null or absent. Masks are packed
run lengths. A sample's depth is left out.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sonjit.arrays import IntArray
from sonjit.datasets.dataset import Dataset, DatasetEntry, naming
from sonjit.datasets.formats.coco import mask_from_segmentation, rle_from_mask
from sonjit.datasets.reading import load_json
from sonjit.datasets.sample import Instance, ManoParameters, Sample
from sonjit.errors import InputError
from sonjit.files import atomic_file, write_text
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media.sources.image_files import SNIFF_BYTES, image_format, read_bytes

INDEX = "index.json"
_ENDINGS = {"jpeg": "jpg", "tiff": "tif"}


def save_shards(
    folder: Path, dataset: Dataset, *, per_shard: int = 1000, advance: Callable[[], None] = lambda: None
) -> list[Path]:
    """Write a set as shards; those that are there from a run before are kept.

    Args:
        folder: made if need be.
        dataset: what to write.
        per_shard: samples in each.
        advance: called after each sample.

    Returns:
        The shards that were written now.

    Raises:
        InputError: the folder holds shards of something else, or a sample is bad.
        JobError: the disk is full.
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
        if load_json(folder / INDEX) != index:
            raise InputError(f"{folder} holds other shards, or with other settings: choose another folder or empty it")
    else:
        write_text(folder / INDEX, json.dumps(index, indent=1) + "\n")
    written: list[Path] = []
    for number in range(-(-len(dataset) // per_shard)):
        path = folder / shard_name(number)
        places = range(number * per_shard, min((number + 1) * per_shard, len(dataset)))
        if path.is_file():
            for _ in places:
                advance()
            continue
        with atomic_file(path) as draft, tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
            for place in places:
                add_sample(tar, place, dataset[place])
                advance()
        written.append(path)
    return written


def image_bytes(sample: Sample) -> tuple[bytes, str]:
    """A sample's image as a file's bytes, untouched where it is one, and the ending that fits them."""
    match sample.image:
        case Path():
            data = read_bytes(sample.image)
        case bytes():
            data = sample.image
        case _:
            import cv2

            bgr = cv2.cvtColor(sample.rgb(), cv2.COLOR_RGB2BGR)
            return cv2.imencode(".png", bgr)[1].tobytes(), "png"
    found = image_format(data[:SNIFF_BYTES])
    if found is None:
        raise InputError(f"{sample.dataset} {sample.id}: the image is none, or it is damaged")
    return data, _ENDINGS.get(found, found)


class Shards(Dataset):
    """Shards read back, one sample at a time from its offset; only the offsets stay in memory."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        index = load_json(self.need(INDEX))
        with naming(str(root / INDEX)):
            self._count, self._per_shard = int(index["samples"]), int(index["per_shard"])
        self._places: dict[int, IntArray] = {}

    def __len__(self) -> int:
        return self._count

    def load(self, index: int) -> Sample:
        """The sample at a place."""
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
        """(N, 4) offset and size of each sample's image and labels."""
        self.need(path.name)
        try:
            with tarfile.open(path, "r:") as tar:
                found = [(one.offset_data, one.size) for one in tar]
        except (OSError, tarfile.TarError) as error:
            raise InputError(f"{path} is not a tar file or was cut off: {error}; convert or copy it again") from None
        if len(found) != 2 * count:
            raise InputError(f"{path} holds {len(found)} files and must hold {2 * count}; convert or copy it again")
        return np.array(found, np.int64).reshape(count, 4)


def add_sample(tar: tarfile.TarFile, place: int, sample: Sample) -> None:
    """Append a sample's image and labels to a shard; `place` is that in the whole set."""
    image, ending = image_bytes(sample)
    labels = json.dumps(sample_to_dict(sample), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    for name, data in ((ending, image), ("json", labels.encode())):
        member = tarfile.TarInfo(f"{place:08d}.{name}")  # of nobody, at no time: the same bytes every time
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def shard_name(number: int) -> str:
    """Of the file of a shard."""
    return f"{number:06d}.tar"


_TRUTHS = ("valid_px", "valid_m", "visible")
_LEFT_OUT = ("image", "instances", "camera", "read_depth", "read_mask", "mesh")

Json = dict[str, Any]


def sample_to_dict(sample: Sample) -> Json:
    """A sample without its image.

    >>> from pathlib import Path
    >>> sample_to_dict(Sample(dataset="d", id="a.jpg", image=Path("a.jpg"), width=2, height=1))
    {'dataset': 'd', 'id': 'a.jpg', 'width': 2, 'height': 1, 'instances': []}
    """
    result = _known(sample)
    if sample.camera is not None:
        result["camera"] = _known(sample.camera)
    result["instances"] = [instance_to_dict(one) for one in sample.instances]
    return result


def sample_from_dict(data: Json, image: Path | bytes) -> Sample:
    """The sample that `sample_to_dict` wrote, with its image; may raise what a wrong record makes Python raise."""
    names = (item.name for item in fields(Sample) if item.name in data and item.name not in _LEFT_OUT)
    rest: Json = {name: tuple(data[name]) if isinstance(data[name], list) else data[name] for name in names}
    camera = data.get("camera")
    size = data["height"], data["width"]
    return Sample(
        image=image,
        instances=tuple(_instance_from_dict(one, *size) for one in data["instances"]),
        camera=camera and CalibratedCamera(**{name: np.array(value, np.float64) for name, value in camera.items()}),
        **rest,
    )


def instance_to_dict(one: Instance) -> Json:
    """An instance, its mask as packed run lengths."""
    result = _known(one)
    if one.mesh is not None:
        result["mesh"] = _known(one.mesh)
    if (mask := one.mask()) is not None:
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


def _known(one: Sample | Instance | CalibratedCamera | ManoParameters) -> Json:
    """The fields that differ from their defaults, as plain types."""
    values = ((item, getattr(one, item.name)) for item in fields(one) if item.name not in _LEFT_OUT)
    return {
        item.name: plain(value)
        for item, value in values
        if not (value is None or value is item.default or (isinstance(value, (str, tuple, Mapping)) and not value))
    }


def plain(value: Any) -> Any:  # noqa: ANN401  # JSON
    """A value as JSON types; NaN becomes null.

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
