"""Results as JSON text, fast: what `to_dict(full=True)` holds, without a dict per keypoint on the way."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.json_text import json_from
from sonjit.results import Body, Face, Hand, Person, shortest_floats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sonjit.results import Box, Instance

Said = dict[str, Any]
"""Further members of an instance, such as its measures."""
_MASK_PX = 512
_RLE = 3  # OpenCV's IMWRITE_PNG_STRATEGY_RLE: of a mask the smallest files in the shortest time


def json_of_all(found: Sequence[Instance | Person], said: Sequence[Said] | None) -> str:
    """A JSON list of results.

    Args:
        found: what one detector gave.
        said: further members of each instance in the order of `Frame.instances()`, or None.
    """
    rest = iter(said or ())
    return (
        "[" + ",".join(_person(one, rest) if isinstance(one, Person) else _instance(one, rest) for one in found) + "]"
    )


def strict_dict(one: Instance | Person) -> dict[str, Any]:
    """A result in tfjs-models' shape, bodies with their mask where they have one."""
    shown = one.to_dict()
    if isinstance(one, Person):
        return shown | {"body": strict_dict(one.body)}
    if isinstance(one, Body) and one.mask is not None:
        shown["segmentation"] = segmentation_dict(one.mask)
    return shown


def segmentation_dict(mask: NDArray[np.float32]) -> dict[str, Any]:
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


def _person(person: Person, said: Iterator[Said]) -> str:
    parts = {
        "body": person.body,
        "leftHand": person.left_hand,
        "rightHand": person.right_hand,
        "face": person.face,
    }
    members = [f'"id":{json_from(person.id)}']
    members += [f'"{name}":{"null" if one is None else _instance(one, said)}' for name, one in parts.items()]
    return "{" + ",".join(members) + "}"


def _instance(one: Instance, said: Iterator[Said]) -> str:
    """A hand, face or body: its keypoints as text, the few other members as a dict."""
    names = one.skeleton.keypoints
    rest: dict[str, Any] = {"score": one.score, "id": one.id, "box": _box(one.box)}
    if isinstance(one, Hand):
        scored = [] if one.visibility is None else [one.visibility]
        keys = ("x", "y", "z", *(["score"] if scored else []))
        points = {
            "keypoints": _points(np.column_stack([one.keypoints, *scored]), keys, names),
            "keypoints3D": _points(np.column_stack([one.keypoints_3d, *scored]), keys, names),
        }
        rest |= {"handedness": one.handedness, "handednessScore": one.handedness_score}
    elif isinstance(one, Face):
        axes = "xy" if len(one.keypoints) == 6 else "xyz"
        points = {"keypoints": _points(one.keypoints, axes, names)}
    else:
        points = _body_points(one, names)
        if one.mask is not None:
            rest["segmentation"] = segmentation_dict(one.mask)
    rest |= next(said, {})
    return json_from(rest)[:-1] + "," + ",".join(f'"{name}":{text}' for name, text in points.items()) + "}"


def _body_points(body: Body, names: tuple[str, ...]) -> dict[str, str]:
    image = np.column_stack([body.keypoints, body.visibility, body.presence])
    world = np.column_stack([body.keypoints_3d, body.visibility])
    return {
        "keypoints": _points(image, ("x", "y", "z", "score", "presence"), names),
        "keypoints3D": _points(world, ("x", "y", "z", "score"), names),
    }


def _points(columns: NDArray[np.float32], keys: Sequence[str], names: tuple[str, ...]) -> str:
    """A list of points (K, C), an object each of C numbers and perhaps a name."""
    values = columns[:, : len(keys)]
    # Any text of a float32 that NumPy gives is its shortest decimal, and JSON but for NaN and infinity.
    texts: list[str] = values.astype(np.float32).ravel().astype("U").tolist()
    if not np.isfinite(values).all():
        texts = ["null" if text.lstrip("-") in ("nan", "inf") else text for text in texts]
    return _template(tuple(keys), names) % tuple(texts)


@lru_cache(maxsize=64)
def _template(keys: tuple[str, ...], names: tuple[str, ...]) -> str:
    numbers = ",".join(f'"{key}":%s' for key in keys)
    members = [f',"name":{json_from(name)}'.replace("%", "%%") if name else "" for name in names]
    return "[" + ",".join("{" + numbers + member + "}" for member in members) + "]"


def _box(box: Box) -> dict[str, float]:
    x_min, y_min, x_max, y_max = shortest_floats(np.array(box, np.float32))
    width, height = shortest_floats(np.array([x_max - x_min, y_max - y_min], np.float32))
    return {"xMin": x_min, "yMin": y_min, "xMax": x_max, "yMax": y_max, "width": width, "height": height}
