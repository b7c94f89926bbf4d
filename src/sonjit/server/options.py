"""Options that clients may set: those of the detectors, and two of the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from starlette.datastructures import QueryParams

from sonjit._util.errors import InputError
from sonjit._util.json_text import Json, JsonObject
from sonjit.detectors.kinds import KINDS, make_options, options_of
from sonjit.detectors.option import Option, OptionValue
from sonjit.detectors.options import CommonOptions
from sonjit.gestures.shipped import CANNED
from sonjit.results.skeletons import load_skeleton
from sonjit.server.errors import RefusedError

_KEYPOINTS = load_skeleton("hand_mediapipe21").keypoints
_AXES = ("x", "y", "z", "x_m", "y_m", "z_m")
TARGETS = ("handedness", "presence", *(f"{name}.{axis}" for name in _KEYPOINTS for axis in _AXES))
"""Outputs of the hand network that have saliency maps."""
_TARGETS_HELP = (
    "none, handedness, presence, or x, y, z (pixels of the network's input), x_m, y_m, z_m (metres) of a keypoint, "
    f"as in index_finger_tip.x; keypoints: {', '.join(_KEYPOINTS)}"
)

MEASURES = Option(
    "Add measures to each instance, and the gesture to each hand.", name="measures", type="boolean", default=False
)
_EXPLAIN = Option(
    f"Add to each hand the saliency map of one output of its network: {_TARGETS_HELP}.",
    name="explain",
    default="none",
    choices=("none", *TARGETS),
)
_NOT_OF_JOBS = ("segmentation", "smooth_segmentation", "visibility", _EXPLAIN.name)


DetectorChoice: TypeAlias = tuple[str, dict[str, OptionValue]]
"""Kind of a detector and its options."""
BINARY: JsonObject = {"type": "string", "format": "binary"}


@dataclass(frozen=True)
class SessionOptions:
    """Options of one detector, and what the server adds to its results.

    Attributes:
        detector: Options of the detector.
        measures: If True, add measures to each instance.
        explain: Output of the hand network whose saliency map is added, or "none".
    """

    detector: CommonOptions
    measures: bool = False
    explain: str = "none"

    @property
    def kind(self) -> str:
        """Return the kind of the detector."""
        return self.detector.kind

    @property
    def name(self) -> str:
        """Return the name of the model, such as `hands-full`."""
        return f"{self.kind}-{self.detector.model}"

    @property
    def key(self) -> SessionOptions:
        """Return the options that require another detector: sessions with equal keys share detectors."""
        detector = replace(self.detector, gestures=None) if self.has_hands else self.detector
        return SessionOptions(detector)

    @property
    def gestures(self) -> str | None:
        """Return the gestures to classify. Measures include the shipped gestures."""
        chosen: str | None = getattr(self.detector, "gestures", None)
        return chosen or (CANNED if self.measures and self.has_hands else None)

    @property
    def has_hands(self) -> bool:
        """Check whether the results contain hands, whose gestures can be classified."""
        return "gestures" in known_options(self.kind)

    @classmethod
    def from_values(cls, kind: str, values: Mapping[str, OptionValue], *, still: bool) -> SessionOptions:
        """Return the options of a still or a stream, from the values of `read_options`."""
        options = {"static_image": still, **values}
        measures, explain = bool(options.pop("measures", False)), str(options.pop("explain", "none"))
        if options.get("gestures") == "none":
            del options["gestures"]
        detector = make_options(KINDS[kind], options)
        return cls(replace(detector, smoothing=detector.resolved_smoothing), measures, explain)

    def to_dict(self) -> JsonObject:
        """Return the options as a client writes them."""
        values: dict[str, Json] = {**vars(self.detector), **vars(self)}
        values["gestures"] = getattr(self.detector, "gestures", None) or "none"
        return {"kind": self.kind} | {name: values[name] for name in known_options(self.kind)}


def read_kind(kind: object) -> str:
    """Return a known kind of detector, or raise a RefusedError."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise RefusedError("bad_option", f"Unknown kind {_shortened(kind)}. Choose from {', '.join(KINDS)}.")
    return kind


def read_options(kind: str, values: Mapping[str, object], *, job: bool = False) -> dict[str, OptionValue]:
    """Check the options of one detector, and add the default model.

    Args:
        kind: Kind, as `read_kind` returns it.
        values: Values by name. A value may be the text of a query.
        job: True if the options belong to a job.

    Raises:
        RefusedError: A name or a value is not allowed.
    """
    known = known_options(kind, job=job)
    for name in values:
        if name not in known:
            owner = f"a job of {kind}" if job else kind
            message = f"Unknown option {_shortened(name)} of {owner}. Choose from {', '.join(known)}."
            raise RefusedError("bad_option", message)
    checked = {name: read_value(known[name], value) for name, value in values.items()}
    return {"model": known["model"].default} | checked


def read_detector(
    detector: object, *, job: bool = False, defaults: Mapping[str, object] | None = None
) -> DetectorChoice:
    """Read an object such as `{"kind": "hands", "model": "lite"}`.

    Args:
        detector: Value from a client's JSON.
        job: True if the options belong to a job.
        defaults: Options that the object may override.

    Raises:
        RefusedError: The value is not such an object.
    """
    if not isinstance(detector, dict):
        raise RefusedError("bad_option", 'detectors: each is an object such as {"kind": "hands", "model": "lite"}')
    options = dict(defaults or {}) | cast("dict[str, object]", detector)
    kind = read_kind(options.pop("kind", None))
    return kind, read_options(kind, options, job=job)


def refuse_duplicate_kinds(kinds: Iterable[str]) -> None:
    """Raise a RefusedError if a kind occurs twice."""
    kinds = list(kinds)
    if duplicate := next((kind for kind in kinds if kinds.count(kind) > 1), None):
        raise RefusedError("bad_option", f"detectors: duplicate kind {duplicate}")


def known_options(kind: str, *, job: bool = False) -> dict[str, Option]:
    """Return the options of a kind that clients may set, by name, with the bounds for clients. Jobs have fewer."""
    detector = [option for option in options_of(KINDS[kind]).values() if option.remote and option.type != "path"]
    options = [*detector, MEASURES, *([_EXPLAIN] if kind == "hands" else [])]
    return {option.name: _for_clients(option) for option in options if not (job and option.name in _NOT_OF_JOBS)}


def _for_clients(option: Option) -> Option:
    """Return an option with the choices and the maximum for clients."""
    if option.remote_choices:
        return replace(option, default="none", choices=option.remote_choices)
    return option if option.remote_maximum is None else replace(option, maximum=option.remote_maximum)


def read_value(option: Option, value: object) -> OptionValue:
    """Return a value as the option's type, parsed if it is text; RefusedError if it is not allowed."""
    try:
        if value is not None:
            return option.check(_from_text(value, option.type) if isinstance(value, str) else value)
    except InputError:
        pass
    wanted = _TARGETS_HELP if option is _EXPLAIN else option.wanted
    raise RefusedError("bad_option", f"{option.name}={_shortened(value)}: give {wanted}")


def single_values(query: QueryParams) -> dict[str, str]:
    """Return the parameters of a query string, or raise a RefusedError if one occurs twice."""
    pairs = query.multi_items()
    values = dict(pairs)
    if len(values) < len(pairs):
        raise RefusedError("bad_option", f"{_shortened(_duplicate(name for name, _ in pairs))} is given more than once")
    return values


def value_schema(option: Option) -> JsonObject:
    """Return the JSON schema of an option."""
    members = {"default": option.default, "minimum": option.minimum, "maximum": option.maximum}
    schema: JsonObject = {"type": option.type, "description": option.help}
    schema |= {name: cast("Json", value) for name, value in members.items() if value is not None}
    if option.choices:
        schema["enum"] = list(option.choices)
    return schema


def query_parameters(options: Iterable[Option]) -> list[Json]:
    """Describe options as the parameters of a query."""
    return [
        {"name": option.name, "in": "query", "required": False, "schema": value_schema(option)} for option in options
    ]


def upload_body(file: JsonObject) -> JsonObject:
    """Describe a request body: a file, or a form whose field `file` has a schema."""
    form: JsonObject = {"schema": {"type": "object", "properties": {"file": file}}}
    content: JsonObject = {"application/octet-stream": {"schema": BINARY}, "multipart/form-data": form}
    return {"required": True, "content": content}


def _from_text(text: str, value_type: str) -> bool | float | str:
    """Parse a text as an option type, or return the text if that is not possible."""
    try:
        if value_type == "boolean":
            return {"true": True, "false": False}.get(text, text)
        if value_type == "integer" and len(text) < 20:
            return int(text)
        return float(text) if value_type == "number" else text
    except ValueError:
        return text


def _shortened(value: object) -> str:
    """Return a client's value, short enough for one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _duplicate(names: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))
