"""Results as JSON text, with additional members such as measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sonjit._util.json_text import json_from
from sonjit.results.schema import Value

if TYPE_CHECKING:
    from sonjit._util.arrays import Float32Array
    from sonjit._util.json_text import JsonObject
    from sonjit.results.schema import Points, Result


def results_to_json(results: Sequence[Result], additions: Sequence[JsonObject] | None = None, *, full: bool) -> str:
    """Return results as a JSON list.

    Args:
        results: Results of one detector.
        additions: Additional members of each part, in the order of `Frame.instances`. A person has several parts.
        full: If True, write all fields and the skeleton's name, as `to_dict(full=True)` does. Otherwise write only the
            fields of tfjs-models.
    """
    remaining = iter(additions or ())
    if not full:
        return json_from([_strict_dict(result, remaining) for result in results])
    return f"[{','.join(_full_text(result, remaining) for result in results)}]"


def _strict_dict(result: Result, additions: Iterator[JsonObject]) -> JsonObject:
    shown = result.to_dict()
    for name, (key, _) in result.members.items():
        part: Result | None = getattr(result, name)
        shown[key] = None if part is None else _strict_dict(part, additions)
    return shown if result.members else shown | next(additions, {})


def _full_text(result: Result, additions: Iterator[JsonObject]) -> str:
    """Return one result as JSON. Keypoints become text without a dict per keypoint, which is several times as fast."""
    if result.members:
        parts: dict[str, Result | None] = {key: getattr(result, name) for name, (key, _) in result.members.items()}
        texts = {"id": json_from(result.id)}
        texts |= {key: "null" if part is None else _full_text(part, additions) for key, part in parts.items()}
        return "{" + ",".join(f'"{key}":{text}' for key, text in texts.items()) + "}"
    skeleton, lists = result.skeleton, ""
    values: JsonObject = {}
    for item in result.schema:
        value = getattr(result, item.name)
        if isinstance(item, Value):
            values |= item.to_dict(value)
        elif value is not None:
            names = skeleton.keypoints if item.named else ("",) * len(value)
            lists += f',"{item.key}":{_points_text(result, item, value, names)}'
    values |= {"skeleton": skeleton.name} | next(additions, {})
    return json_from(values)[:-1] + lists + "}"


def _points_text(result: Result, item: Points, points: Float32Array, names: tuple[str, ...]) -> str:
    """Return points (K, 2 or 3) as a list of objects with their axes, scores and names."""
    axes = item.axes(points, full=True)
    scores = {score.key: array for score in item.scores if (array := getattr(result, score.name)) is not None}
    columns = np.column_stack([points[:, : len(axes)], *scores.values()])
    # NumPy's text of a float32 is its shortest decimal. It is valid JSON except for NaN and infinity.
    texts: list[str] = columns.astype(np.float32, copy=False).ravel().astype("U").tolist()
    if not np.isfinite(columns).all():
        texts = ["null" if text.lstrip("-") in ("nan", "inf") else text for text in texts]
    return _template((*axes, *scores), names) % tuple(texts)


@lru_cache(maxsize=64)
def _template(keys: tuple[str, ...], names: tuple[str, ...]) -> str:
    numbers = ",".join(f'"{key}":%s' for key in keys)
    members = [f',"name":{json_from(name)}'.replace("%", "%%") if name else "" for name in names]
    return "[" + ",".join("{" + numbers + member + "}" for member in members) + "]"
