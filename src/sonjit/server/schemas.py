"""JSON schemas of the endpoints' answers for `/openapi.json`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from sonjit.detectors.kinds import KINDS
from sonjit.results import Points, Result
from sonjit.results.measures import measure_names
from sonjit.server.errors import STATUS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit._util.json_text import Json, JsonObject

_NUMBER: JsonObject = {"type": "number"}
_INTEGER: JsonObject = {"type": "integer"}
_STRING: JsonObject = {"type": "string"}
_SIDE: JsonObject = {"type": "string", "enum": ["Left", "Right"]}
_TYPES: dict[str, JsonObject] = {"float": _NUMBER, "int": _INTEGER, "str": _STRING, "Handedness": _SIDE}
_BOX_KEYS = ("xMin", "yMin", "xMax", "yMax", "width", "height")


def responses(schema: JsonObject, description: str, status: int = 200) -> JsonObject:
    """Return the `responses` of an endpoint that answers JSON, including refusals."""
    refusal = _object({"error": _object({"code": {**_STRING, "enum": list(STATUS)}, "message": _STRING})})
    return {
        str(status): {"description": description, "content": _json(schema)},
        "4XX": {"description": "Refused. The message has the remedy.", "content": _json(refusal)},
    }


def image_answer(kind: str) -> JsonObject:
    """Return the schema of the answer of `POST /v1/KIND`."""
    entry = KINDS[kind]
    found: JsonObject = {"type": "array", "items": _result(entry.result)}
    return _object({"width": _INTEGER, "height": _INTEGER, "model": _STRING, entry.list_name: found})


def job_answer() -> JsonObject:
    """Return the schema of a job."""
    states: JsonObject = {**_STRING, "enum": ["waiting", "running", "done", "failed", "cancelled"]}
    texts = dict.fromkeys(("id", "kind", "model", "name"), _STRING)
    counts: dict[str, JsonObject] = {
        "frames": _INTEGER,
        "of": _or_null(_INTEGER),
        "instances": _INTEGER,
        "seconds": _NUMBER,
    }
    rest: dict[str, JsonObject] = {
        "message": _or_null(_STRING),
        "problems": {"type": "array", "items": _STRING},
        "downloads": {"type": "object", "additionalProperties": _STRING},
    }
    return _object({**texts, "state": states, **counts, **rest})


def _result(kind: type[Result]) -> JsonObject:
    """Return the schema of a result, including the fields of `full=true` and other options."""
    own: dict[str, JsonObject] = {}
    required: list[str] = []
    types = {item.name: str(item.type) for item in fields(kind)}  # pyright: ignore[reportArgumentType]  # a dataclass
    for item in kind.schema:
        if isinstance(item, Points):
            own[item.key] = {"type": "array", "items": _point(item)}
            is_required = item.key == "keypoints"
        else:
            box = _object(dict.fromkeys(_BOX_KEYS, _NUMBER))
            own[item.key] = box if item.is_box else _plain(types.get(item.name, ""))
            is_required = not (item.full or item.is_optional)
        required += [item.key] * is_required
    for key, part in kind.members.values():
        own[key] = _or_null(_result(part))
        required.append(key)
    if kind.members:
        own["id"] = _or_null(_INTEGER)
    else:
        own["skeleton"] = {**_STRING, "description": "Names and bones are in GET /v1/kinds."}
        own |= _additions(kind.kind)
    return _object(own, required)


def _additions(kind: str) -> dict[str, JsonObject]:
    names = measure_names(kind)
    measures: JsonObject = _object(dict.fromkeys(names, _or_null(_NUMBER)))
    added: dict[str, JsonObject] = {"measures": {**measures, "description": "With measures=true."}} if names else {}
    if kind == "hand":
        gesture = _or_null(_object({"name": _STRING, "score": _NUMBER}))
        known = "With gestures or measures=true; null or absent for none that is known."
        added["gesture"] = {**gesture, "description": known}
        added["map"] = {"type": "object", "description": "With explain: a saliency map."}
    if kind == "body":
        png: JsonObject = {**_STRING, "contentEncoding": "base64", "contentMediaType": "image/png"}
        mask = _object({"width": _INTEGER, "height": _INTEGER, "png": png})
        added["segmentation"] = {**mask, "description": "With segmentation=true."}
    return added


def _point(item: Points) -> JsonObject:
    axes = dict.fromkeys("xyz" if item.columns else "xy", _or_null(_NUMBER))
    scores = {score.key: _NUMBER for score in item.scores}
    return _object({**axes, **scores, **({"name": _STRING} if item.named else {})}, ["x", "y"])


def _plain(hint: str) -> JsonObject:
    """Return the schema of a type such as `float` or `int | None`; empty for other types."""
    parts = [part.strip() for part in hint.split("|")]
    schema = _TYPES.get(parts[0], {})
    return _or_null(schema) if "None" in parts and schema else schema


def _object(properties: Mapping[str, JsonObject], required: list[str] | None = None) -> JsonObject:
    keys: list[Json] = list(properties) if required is None else [*required]
    return {"type": "object", "properties": dict(properties), "required": keys}


def _or_null(schema: JsonObject) -> JsonObject:
    if set(schema) == {"type"}:
        return {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _json(schema: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema}}
