"""Samples as plain JSON types and back: the form in which shards and Parquet hold them.

Field names are those of `Sample` and `Instance`, units included; what is unknown is null or absent. Masks are packed
run lengths. A sample's depth is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.datasets.coco_masks import mask_from_segmentation, rle_from_mask
from sonjit.datasets.sample import Instance, ManoParameters, Sample, SampleCamera

if TYPE_CHECKING:
    from pathlib import Path

_TRUTHS = ("valid_px", "valid_m", "visible")
_LEFT_OUT = ("image", "instances", "camera", "read_depth", "read_mask", "mesh")
Json = dict[str, Any]


def sample_to_dict(sample: Sample) -> Json:
    """A sample without its picture.

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
    """The sample that `sample_to_dict` wrote, with its picture; may raise what a wrong record makes Python raise."""
    names = (item.name for item in fields(Sample) if item.name in data and item.name not in _LEFT_OUT)
    rest: Json = {name: tuple(data[name]) if isinstance(data[name], list) else data[name] for name in names}
    camera = data.get("camera")
    size = data["height"], data["width"]
    return Sample(
        image=image,
        instances=tuple(_instance_from_dict(one, *size) for one in data["instances"]),
        camera=camera and SampleCamera(**{name: np.array(value, np.float64) for name, value in camera.items()}),
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


def _known(one: Sample | Instance | SampleCamera | ManoParameters) -> Json:
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
