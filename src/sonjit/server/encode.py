"""Results as JSON text, fast: what `to_dict(full=True)` holds, without a dict per keypoint on the way."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sonjit.json_text import json_from
from sonjit.results import Value, box_to_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sonjit.json_text import JsonObject
    from sonjit.results import Points, Result

_MASK_PX = 512
_RLE = 3  # OpenCV's IMWRITE_PNG_STRATEGY_RLE: of a mask the smallest files in the shortest time


def json_of_all(found: Sequence[Result], members: Sequence[JsonObject] | None) -> str:
    """A JSON list of results, each with the name of its skeleton.

    Args:
        found: what one detector gave.
        members: further ones of each instance in the order of `Frame.instances()`, or None.
    """
    rest = iter(members or ())
    return f"[{','.join(_text(one, rest) for one in found)}]"


def strict_dict(one: Result) -> JsonObject:
    """A result in tfjs-models' shape, bodies with their mask where they have one."""
    shown = one.to_dict()
    for name, (key, _) in one.members.items():
        part: Result | None = getattr(one, name)
        shown[key] = None if part is None else strict_dict(part)
    return shown | _segmentation(one)


def segmentation_dict(mask: NDArray[np.float32]) -> JsonObject:
    """A mask as plain JSON types: `{"width", "height", "png"}`, an 8-bit grey PNG in base64, 255 for sure.

    Args:
        mask: (H, W) probabilities; made smaller where it is longer than 512 pixels, which is twice what the network
            gives.
    """
    import cv2

    grey = cv2.convertScaleAbs(mask, alpha=255)
    height, width = grey.shape
    scale = _MASK_PX / max(height, width)
    if scale < 1:
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    png = cv2.imencode(".png", grey, (cv2.IMWRITE_PNG_STRATEGY, _RLE))[1]
    return {"width": width, "height": height, "png": base64.b64encode(png.tobytes()).decode()}


def _text(one: Result, members: Iterator[JsonObject]) -> str:
    """One result as its schema says: keypoints straight as text, the few other members as a dict."""
    if one.members:
        parts: dict[str, Result | None] = {key: getattr(one, name) for name, (key, _) in one.members.items()}
        texts = {"id": json_from(one.id)}
        texts |= {key: "null" if part is None else _text(part, members) for key, part in parts.items()}
        return "{" + ",".join(f'"{key}":{text}' for key, text in texts.items()) + "}"
    skeleton, lists = one.skeleton, ""
    values: JsonObject = {}
    for item in one.schema:
        value = getattr(one, item.name)
        if isinstance(item, Value):
            values[item.key] = box_to_dict(value) if item.is_box else value
        elif value is not None:
            names = skeleton.keypoints if item.named else ("",) * len(value)
            lists += f',"{item.key}":{_points(one, item, value, names)}'
    values |= {"skeleton": skeleton.name} | _segmentation(one) | next(members, {})
    return json_from(values)[:-1] + lists + "}"


def _segmentation(one: Result) -> JsonObject:
    mask: NDArray[np.float32] | None = getattr(one, "mask", None)
    return {} if mask is None else {"segmentation": segmentation_dict(mask)}


def _points(one: Result, item: Points, points: NDArray[np.float32], names: tuple[str, ...]) -> str:
    """A list of points (K, 2 or 3), an object each of its axes, its scores and its name where it has one."""
    axes = item.axes(points, full=True)
    scores = {score.key: array for score in item.scores if (array := getattr(one, score.name)) is not None}
    columns = np.column_stack([points[:, : len(axes)], *scores.values()])
    # Any text of a float32 that NumPy gives is its shortest decimal, and JSON but for NaN and infinity.
    texts: list[str] = columns.astype(np.float32, copy=False).ravel().astype("U").tolist()
    if not np.isfinite(columns).all():
        texts = ["null" if text.lstrip("-") in ("nan", "inf") else text for text in texts]
    return _template((*axes, *scores), names) % tuple(texts)


@lru_cache(maxsize=64)
def _template(keys: tuple[str, ...], names: tuple[str, ...]) -> str:
    numbers = ",".join(f'"{key}":%s' for key in keys)
    members = [f',"name":{json_from(name)}'.replace("%", "%%") if name else "" for name in names]
    return "[" + ",".join("{" + numbers + member + "}" for member in members) + "]"
