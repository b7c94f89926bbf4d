"""What clients may ask for: the options of detectors that are open to them, and two of the server's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from starlette.datastructures import QueryParams

from sonjit.detectors.kinds import KINDS, filled_options, options_of
from sonjit.detectors.options import DetectorOptions, Option, OptionValue
from sonjit.errors import InputError
from sonjit.gestures.shipped import CANNED
from sonjit.json_text import Json, JsonObject
from sonjit.server.errors import RefusedError
from sonjit.skeletons import load_skeleton

_KEYPOINTS = load_skeleton("hand_mediapipe21").keypoints
_AXES = ("x", "y", "z", "x_m", "y_m", "z_m")
TARGETS = ("handedness", "presence", *(f"{name}.{axis}" for name in _KEYPOINTS for axis in _AXES))
"""Every output of the hand network that a saliency map can be had of."""
_TARGETS_HELP = (
    "none, handedness, presence, or x, y, z (pixels of the network's input), x_m, y_m, z_m (metres) of a keypoint, "
    f"as in index_finger_tip.x; keypoints: {', '.join(_KEYPOINTS)}"
)

MEASURES = Option("measures", "boolean", "Add measures to each instance, and its gesture to each hand.", default=False)
_EXPLAIN = Option(
    "explain",
    "string",
    f"Add to each hand the saliency map of one output of its network: {_TARGETS_HELP}.",
    default="none",
    choices=("none", *TARGETS),
    kinds=("hands",),
)
_NOT_OF_JOBS = ("segmentation", "smooth_segmentation", "visibility", _EXPLAIN.name)


@dataclass(frozen=True)
class SessionOptions:
    """One detector with every option filled in, and what is added to its results.

    Attributes:
        detector: its options but for the smoothing: filters cannot be compared.
        smoothing: the filter's name.
        measures: add measures to each instance.
        explain: which output of the hand network to add a saliency map of, or "none".
    """

    detector: DetectorOptions
    smoothing: str
    measures: bool = False
    explain: str = "none"

    @property
    def kind(self) -> str:
        """Of the detector."""
        return self.detector.kind

    @property
    def name(self) -> str:
        """Of its networks, e.g. `hands-full`."""
        return f"{self.kind}-{self.detector.model}"

    @property
    def key(self) -> SessionOptions:
        """The same without what does not concern the detector itself; equal keys are served by equal detectors."""
        return replace(self, detector=replace(self.detector, gestures=None), measures=False, explain="none")

    @property
    def gestures(self) -> str | None:
        """Which gestures hands are told by; measures bring the shipped ones."""
        return self.detector.gestures or (CANNED if self.measures and self.has_hands else None)

    @property
    def has_hands(self) -> bool:
        """Whether there are hands whose gestures can be told."""
        return "gestures" in known_options(self.kind)

    @classmethod
    def filled(cls, kind: str, given: Mapping[str, OptionValue], *, still: bool) -> SessionOptions:
        """All options of a still or a stream, of those that `read_options` gives."""
        entry = KINDS[kind]
        values = {"static_image": still} | dict(given)
        measures, explain = bool(values.pop("measures", False)), str(values.pop("explain", "none"))
        if values.get("gestures") == "none":
            del values["gestures"]
        smoothing = str(values.pop("smoothing", "none" if still else entry.stream_smoothing))
        return cls(filled_options(entry, values, smoothing=None), smoothing, measures, explain)

    def to_dict(self) -> JsonObject:
        """As a client would write it."""
        detector = self.detector
        values: dict[str, Json] = {**vars(detector), **cast("JsonObject", detector.own), **vars(self)}
        values["gestures"] = detector.gestures or "none"
        return {"kind": self.kind} | {name: values[name] for name in known_options(self.kind)}


def read_kind(kind: object) -> str:
    """One of the kinds of detectors; RefusedError otherwise."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise RefusedError("bad_option", f"unknown kind {_shown(kind)}; known: {', '.join(KINDS)}")
    return kind


def read_options(kind: str, given: Mapping[str, object], *, job: bool = False) -> dict[str, OptionValue]:
    """Options of one detector, checked; the model is there in any case.

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
    return {"model": known["model"].default} | {name: read_value(known[name], one) for name, one in given.items()}


DetectorChoice: TypeAlias = tuple[str, dict[str, OptionValue]]
"""The kind of a detector, and its options."""


def read_detector(listed: object, *, job: bool = False, given: Mapping[str, object] | None = None) -> DetectorChoice:
    """An object such as `{"kind": "hands", "model": "lite"}`; RefusedError where it is not one.

    Args:
        listed: from a client's JSON.
        job: whether the options are those of a job.
        given: options for what says nothing of its own.
    """
    if not isinstance(listed, dict):
        raise RefusedError("bad_option", 'detectors: each is an object such as {"kind": "hands", "model": "lite"}')
    options = dict(given or {}) | cast("dict[str, object]", listed)
    kind = read_kind(options.pop("kind", None))
    return kind, read_options(kind, options, job=job)


def each_kind_once(kinds: Iterable[str]) -> None:
    """RefusedError where a kind is there twice."""
    kinds = list(kinds)
    if twice := next((kind for kind in kinds if kinds.count(kind) > 1), None):
        raise RefusedError("bad_option", f"detectors: {twice} is there more than once; give each kind once")


def known_options(kind: str, *, job: bool = False) -> dict[str, Option]:
    """The options of a kind of detector that clients may set, by name, within their bounds; jobs have fewer."""
    theirs = [one for one in options_of(KINDS[kind]).values() if one.remote and one.type != "path"]
    own = [one for one in (MEASURES, _EXPLAIN) if one.kinds is None or kind in one.kinds]
    return {one.name: _for_clients(one) for one in (*theirs, *own) if not (job and one.name in _NOT_OF_JOBS)}


def _for_clients(one: Option) -> Option:
    """An option with what clients may ask for."""
    if one.remote_choices:
        return replace(one, default="none", choices=one.remote_choices)
    return one if one.remote_maximum is None else replace(one, maximum=one.remote_maximum)


def read_value(option: Option, value: object) -> OptionValue:
    """A value of the option's type, read out of text where need be; RefusedError where it is not one."""
    try:
        read = option.check(_from_text(value, option.type) if isinstance(value, str) else value)  # pyright: ignore[reportArgumentType]  # that is what it checks
    except InputError:
        read = None
    if read is None:
        raise RefusedError("bad_option", f"{option.name}={_shown(value)}: give {_wanted(option)}")
    return read


def single_values(query: QueryParams) -> dict[str, str]:
    """A query string's parameters; RefusedError where one is there twice."""
    pairs = query.multi_items()
    values = dict(pairs)
    if len(values) < len(pairs):
        raise RefusedError("bad_option", f"{_shown(_twice(name for name, _ in pairs))} is given more than once")
    return values


def value_schema(option: Option) -> JsonObject:
    """What an option's value may be, as JSON schema."""
    members = {"default": option.default, "minimum": option.minimum, "maximum": option.maximum}
    schema: JsonObject = {"type": option.type, "description": option.help}
    schema |= {name: cast("Json", value) for name, value in members.items() if value is not None}
    if option.choices:
        schema["enum"] = list(option.choices)
    return schema


def query_parameters(options: Iterable[Option], required: str = "") -> list[Json]:
    """Options as the parameters of a query, for the description of the endpoints."""
    return [
        {"name": one.name, "in": "query", "required": one.name == required, "schema": value_schema(one)}
        for one in options
    ]


BINARY: JsonObject = {"type": "string", "format": "binary"}


def upload_body(file: JsonObject) -> JsonObject:
    """A request's body that is a file, or a form whose field `file` has a schema, for the description of endpoints."""
    form: JsonObject = {"schema": {"type": "object", "properties": {"file": file}}}
    content: JsonObject = {"application/octet-stream": {"schema": BINARY}, "multipart/form-data": form}
    return {"required": True, "content": content}


def _from_text(text: str, kind: str) -> bool | float | str:
    """The value that a text stands for; the text itself where it stands for none."""
    try:
        if kind == "boolean":
            return {"true": True, "false": False}.get(text, text)
        if kind == "integer" and len(text) < 20:
            return int(text)
        return float(text) if kind == "number" else text
    except ValueError:
        return text


def _wanted(option: Option) -> str:
    return _TARGETS_HELP if option is _EXPLAIN else option.wanted


def _shown(value: object) -> str:
    """A client's value, short enough for one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _twice(names: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))
