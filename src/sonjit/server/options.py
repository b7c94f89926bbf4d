"""The options of detectors, in one table: for query strings, streams, jobs and the description of the endpoints."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sonjit.detectors.kinds import KINDS
from sonjit.server.errors import RefusedError
from sonjit.server.sessions import TARGETS, TARGETS_TOLD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.datastructures import QueryParams

Schema = dict[str, Any]
"""A JSON schema of a single value."""

OPTIONS: dict[str, Schema] = {
    "model": {"type": "string", "description": "the first is the default"},
    "max_instances": {"type": "integer", "minimum": 1, "maximum": 10},
    "static_image": {"type": "boolean", "description": "every image stands alone"},
    "mirrored": {"type": "boolean", "description": "the image is a selfie view"},
    "flip_horizontal": {"type": "boolean", "description": "x is counted from the right"},
    "smoothing": {"type": "string", "enum": ["none", "published", "one_euro"]},
    "min_detection_score": {"type": "number", "minimum": 0, "maximum": 1},
    "min_presence_score": {"type": "number", "minimum": 0, "maximum": 1},
    "search_interval": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "measures": {"type": "boolean", "description": "add measures to each instance, and its gesture to each hand"},
    "segmentation": {"type": "boolean", "description": "give each body its mask"},
    "smooth_segmentation": {"type": "boolean", "description": "smooth masks over time; true by default"},
    "visibility": {"type": "boolean", "description": "give each hand's keypoints the probability that they are seen"},
    "explain": {"type": "string", "enum": ["none", *TARGETS], "description": f"none, {TARGETS_TOLD}"},
}
_PEOPLE = ("body", "holistic")
_KINDS_OF = {"segmentation": _PEOPLE, "smooth_segmentation": _PEOPLE, "visibility": ("hands",), "explain": ("hands",)}
"""Options that are of some kinds alone, and of images and streams, not of jobs."""
_SHORT = 10


@dataclass(frozen=True)
class Spec:
    """One detector with every option filled in; equal specs are served by equal detectors."""

    kind: str
    model: str
    max_instances: int
    static_image: bool
    mirrored: bool
    flip_horizontal: bool
    smoothing: str
    min_detection_score: float
    min_presence_score: float
    search_interval: int
    measures: bool
    segmentation: bool = False
    smooth_segmentation: bool = True
    visibility: bool = False
    explain: str = "none"

    @property
    def name(self) -> str:
        """Of its networks, e.g. `hands-full`."""
        return f"{self.kind}-{self.model}"

    @property
    def detector(self) -> Spec:
        """The same without what does not concern the detector itself."""
        return replace(self, measures=False, explain="none")

    @classmethod
    def filled(cls, kind: str, options: Mapping[str, Any], *, still: bool) -> Spec:
        """The spec of some options as `read_options` gives them, for a still or a stream."""
        entry = KINDS[kind]
        defaults: dict[str, Any] = {
            "max_instances": entry.max_instances,
            "static_image": still,
            "mirrored": False,
            "flip_horizontal": False,
            "smoothing": "none" if still else entry.stream_smoothing,
            "min_detection_score": entry.detection_scores.get(options["model"], 0.5),
            "min_presence_score": 0.5,
            "search_interval": 5,
            "measures": False,
        }
        return cls(kind, **(defaults | dict(options)))

    def to_dict(self) -> dict[str, Any]:
        """As a client would write it."""
        return {
            name: value for name, value in asdict(self).items() if name == "kind" or name in known_options(self.kind)
        }


def read_kind(kind: object) -> str:
    """One of the kinds of detectors; RefusedError otherwise."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise RefusedError("bad_option", f"unknown kind {_shown(kind)}; known: {', '.join(KINDS)}")
    return kind


def read_options(kind: str, given: Mapping[str, object], *, job: bool = False) -> dict[str, Any]:
    """Options of one detector, checked; the model stands there in any case.

    Args:
        kind: as `read_kind` gives it.
        given: by name; a value may be the text of a query.
        job: whether they are those of a job.

    Raises:
        RefusedError: an unknown name or value.
    """
    known = known_options(kind, job=job)
    for name in given:
        if name not in known:
            whose = f"a job of {kind}" if job else kind
            raise RefusedError("bad_option", f"{whose}: unknown option {_shown(name)}; known: {', '.join(known)}")
    values = {name: read_value(name, value, known[name]) for name, value in given.items()}
    return {"model": KINDS[kind].models[0]} | values


def known_options(kind: str, *, job: bool = False) -> dict[str, Schema]:
    """The options of a kind of detector by name, and what each may be; jobs have fewer."""
    known = {name: schema for name, schema in OPTIONS.items() if name not in _KINDS_OF or kind in _KINDS_OF[name]}
    if job:
        known = {name: known[name] for name in job_options()}
    return known | {"model": OPTIONS["model"] | {"enum": list(KINDS[kind].models)}}


def job_options() -> dict[str, Schema]:
    """The options of jobs of any kind."""
    return {name: schema for name, schema in OPTIONS.items() if name not in _KINDS_OF}


def read_value(name: str, value: object, schema: Schema) -> Any:  # noqa: ANN401  # of the schema's type
    """One value of the schema's type, read out of text where need be; RefusedError where it is none."""
    kind = schema["type"]
    if isinstance(value, str):
        value = _from_text(value, kind)
    if kind == "number" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    expected = {"string": str, "boolean": bool, "integer": int, "number": float}[kind]
    if type(value) is not expected or not _is_within(value, schema):
        raise RefusedError("bad_option", f"{name}={_shown(value)}: give {_wanted(schema)}")
    return value


def single_values(query: QueryParams) -> dict[str, str]:
    """A query string's parameters without the token; RefusedError where one stands there twice."""
    pairs = [(name, value) for name, value in query.multi_items() if name != "token"]
    values = dict(pairs)
    if len(values) < len(pairs):
        raise RefusedError("bad_option", f"{_shown(_twice(name for name, _ in pairs))} is given more than once")
    return values


def detector_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as `create_detector` and `Task` take them."""
    arguments = {name: value for name, value in options.items() if name not in ("kind", "measures", "explain")}
    if arguments.get("smoothing") == "none":
        arguments["smoothing"] = None
    return arguments


def _from_text(text: str, kind: str) -> object:
    """The value that a text stands for; the text itself where it stands for none."""
    try:
        if kind == "boolean":
            return {"true": True, "false": False}.get(text, text)
        if kind == "integer" and len(text) < 20:
            return int(text)
        return float(text) if kind == "number" else text
    except ValueError:
        return text


def _is_within(value: Any, schema: Schema) -> bool:  # noqa: ANN401
    if "enum" in schema:
        return value in schema["enum"]
    return schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)  # never so for NaN


def _wanted(schema: Schema) -> str:
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}" if len(schema["enum"]) < _SHORT else schema["description"]
    if schema["type"] == "boolean":
        return "true or false"
    noun = "a whole number" if schema["type"] == "integer" else "a number"
    return f"{noun} from {schema['minimum']} to {schema['maximum']}"


def _shown(value: object) -> str:
    """A client's value, short enough for one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _twice(names: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))
