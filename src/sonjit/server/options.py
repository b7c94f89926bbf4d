"""Read what clients send: options of detectors, query strings, JSON and TOML texts.

`/openapi.json` and `GET /v1/kinds` have the schemas of the options.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from starlette.datastructures import QueryParams

from sonjit._util import Json, JsonObject
from sonjit._util.settings import Option, OptionValue
from sonjit.detectors.kinds import KINDS, make_options, options_of
from sonjit.detectors.options import CommonOptions
from sonjit.gestures.classifier import CANNED
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
    "Add measures to each instance, and the gesture to each hand.",
    requires_server=True,
    needs_full=True,
    name="measures",
    type="boolean",
    default=False,
)
LABELS = Option("Write gestures into the labels of hands.", name="gesture_labels", type="boolean", default=True)
_EXPLAIN = Option(
    "Add to each hand the saliency map of one output of its network, such as handedness or index_finger_tip.x.",
    requires_server=True,
    needs_full=True,
    in_jobs=False,
    name="explain",
    default="none",
    choices=("none", *TARGETS),
)
_MAX_MAP_CHARACTERS = 64_000
_MAX_MAP_DEPTH = 32  # maximum numbers of characters and of nested brackets of a control map
_MAX_JSON_CONTAINERS = 500_000
"""Lists and objects of a JSON text; 20 MB of recordings have fewer, and each takes some 200 bytes."""

DetectorChoice: TypeAlias = tuple[str, dict[str, OptionValue]]  # kind of a detector and its options


@dataclass(frozen=True)
class SessionOptions:
    """Options of one detector, and what the server adds to its results."""

    detector: CommonOptions
    measures: bool = False  # if True, add measures to each instance
    explain: str = "none"  # output of the hand network whose saliency map is added, or "none"

    @property
    def kind(self) -> str:
        """Return the kind of the detector."""
        return self.detector.kind

    @property
    def name(self) -> str:
        """Return the name of the model, such as `hands-full`."""
        return f"{self.kind}-{self.detector.model}"

    @property
    def key(self) -> "SessionOptions":
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
    def from_values(cls, kind: str, values: Mapping[str, OptionValue], *, still: bool) -> "SessionOptions":
        """Return the options of a still or a stream, from the values of `read_options`."""
        options = {"static_image": still, **values}
        measures, explain = bool(options.pop("measures", False)), str(options.pop("explain", "none"))
        if options.get("gestures") == "none":
            del options["gestures"]
        detector = make_options(KINDS[kind], options).for_input("image" if still else "camera")
        return cls(replace(detector, smoothing=detector.resolved_smoothing, is_live=not still), measures, explain)

    def to_dict(self) -> JsonObject:
        """Return the options as a client writes them."""
        values: dict[str, Json] = {**vars(self.detector), **vars(self)}
        values["gestures"] = getattr(self.detector, "gestures", None) or "none"
        return {"kind": self.kind} | {name: values[name] for name in known_options(self.kind)}


def known_options(kind: str, *, job: bool = False) -> dict[str, Option]:
    """Return the options of a kind that clients may set, by name, with the bounds for clients. Jobs have fewer."""
    detector = [option for option in options_of(KINDS[kind]).values() if option.remote and option.type != "path"]
    labels = [LABELS] if job and "gestures" in options_of(KINDS[kind]) else []
    options = [*detector, MEASURES, *labels, *([_EXPLAIN] if KINDS[kind].has_maps else [])]
    return {option.name: _for_clients(option) for option in options if option.in_jobs or not job}


def _for_clients(option: Option) -> Option:
    """Return an option with the choices and the maximum for clients."""
    if option.remote_choices:
        return replace(option, default="none", choices=option.remote_choices)
    return option if option.remote_maximum is None else replace(option, maximum=option.remote_maximum)


def option_schemas(options: Iterable[Option]) -> dict[str, JsonObject]:
    """Return the JSON schema of each option by its name."""
    return {option.name: _schema_of(option) for option in options}


def _schema_of(option: Option) -> JsonObject:
    schema: dict[str, Json | None] = {
        "default": cast("Json", option.default),
        "description": option.help,
        "enum": [*option.choices] or None,
        "maximum": option.maximum,
        "minimum": option.minimum,
        "pattern": option.pattern or None,
        "type": option.type,
    }
    return {key: value for key, value in schema.items() if value is not None}


def query_parameters(options: Iterable[Option]) -> list[Json]:
    """Describe options as the parameters of a query."""
    schemas = option_schemas(options).items()
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in schemas]


def read_values(
    options: Iterable[Option], values: Mapping[str, object], owner: str, *, is_query: bool = False
) -> dict[str, OptionValue]:
    """Check the values of options: those of JSON by their types, those of a query by their text."""
    option_of_name = {option.name: option for option in options}
    checked: dict[str, OptionValue] = {}
    for name, value in values.items():
        if name not in option_of_name:
            message = f"Unknown option {_shortened(name)} of {owner}. Choose from {', '.join(option_of_name)}."
            raise RefusedError("bad_option", message)
        checked[name] = option_of_name[name].read(value, parses=is_query)
        if checked[name] is None:
            wanted = _TARGETS_HELP if name == _EXPLAIN.name else option_of_name[name].wanted
            raise RefusedError("bad_option", f"{name}={_shortened(value)}: give {wanted}")
    return checked


def read_options(
    kind: str, values: Mapping[str, object], *, job: bool = False, more: tuple[Option, ...] = (), is_query: bool = False
) -> dict[str, OptionValue]:
    """Check the options of one detector, and add the default model."""
    option_of_name = known_options(kind, job=job)
    checked = read_values(
        (*option_of_name.values(), *more), values, f"a job of {kind}" if job else kind, is_query=is_query
    )
    return {"model": option_of_name["model"].default} | checked


def read_detector(
    detector: object, *, job: bool = False, defaults: Mapping[str, object] | None = None, is_query: bool = False
) -> DetectorChoice:
    """Read an object such as `{"kind": "hands", "model": "lite"}`."""
    if not isinstance(detector, dict):
        raise RefusedError("bad_option", 'detectors: each is an object such as {"kind": "hands", "model": "lite"}')
    options = dict(defaults or {}) | cast("dict[str, object]", detector)
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        what = _without_kind(options) if kind is None else f"Unknown kind {_shortened(kind)}"
        raise RefusedError("bad_option", f"{what}. Choose from {', '.join(KINDS)}.")
    return kind, read_options(kind, options, job=job, is_query=is_query)


def _without_kind(options: Mapping[str, object]) -> str:
    """Return the reason why options have no kind. It names the option that was probably meant."""
    option_names = {name for kind in KINDS for name in known_options(kind)}
    unknown = next((name for name in options if name not in option_names), None)
    if unknown is None:
        return "kind is missing"
    value = options[unknown]
    meant = value if isinstance(value, str) and value in KINDS else "..."
    return f"kind is missing, and {_shortened(unknown)} is not an option: write kind={meant}"


def read_detectors(
    listed: object, *, job: bool = False, defaults: Mapping[str, object] | None = None
) -> tuple[DetectorChoice, ...]:
    """Read a list of the objects of `read_detector`. Raise RefusedError if it is not one, or a kind occurs twice."""
    if not isinstance(listed, list):
        raise RefusedError("bad_option", 'detectors: give a list such as [{"kind": "hands"}, {"kind": "face"}]')
    read = tuple(read_detector(entry, job=job, defaults=defaults) for entry in cast("list[object]", listed))
    kinds = [kind for kind, _ in read]
    if duplicate := next((kind for kind in kinds if kinds.count(kind) > 1), None):
        raise RefusedError("bad_option", f"detectors: duplicate kind {duplicate}")
    return read


def single_values(query: QueryParams) -> dict[str, str]:
    """Return the parameters of a query string, or raise a RefusedError if one occurs twice."""
    values = dict(query.items())
    if duplicate := next((name for name in values if len(query.getlist(name)) > 1), None):
        raise RefusedError("bad_option", f"{_shortened(duplicate)} is given more than once")
    return values


def load_json(text: str | bytes, name: str) -> Any:  # noqa: ANN401  # JSON
    """Return the content of a client's JSON. Raise RefusedError, ValueError or RecursionError if it is none.

    Lists and objects are counted first, because parsers need much more memory.
    """
    encoded = text.encode("utf-8", "replace") if isinstance(text, str) else text
    count = encoded.count(b"[") + encoded.count(b"{")
    if count > _MAX_JSON_CONTAINERS:
        raise RefusedError("too_large", f"{name}: {count} lists and objects are more than {_MAX_JSON_CONTAINERS}")
    return json.loads(text)


def require_short_map(text: str) -> None:
    """Raise RefusedError if a control map in TOML is too long, or brackets are nested too deeply."""
    if len(text) > _MAX_MAP_CHARACTERS:
        raise RefusedError("too_large", f"the map has more than {_MAX_MAP_CHARACTERS} characters")
    depth = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if depth > _MAX_MAP_DEPTH:
            raise RefusedError("bad_option", f"the map: brackets are nested more than {_MAX_MAP_DEPTH} deep")


def check_pixels(width: int, height: int, max_pixels: int, name: str = "the image") -> None:
    """Raise RefusedError if an image or a frame has too many pixels."""
    if width * height > max_pixels:
        raise RefusedError(
            "too_many_pixels",
            f"{name} has {width} x {height} pixels, more than {max_pixels / 1e6:g} million: "
            "send a smaller one or raise --max-megapixels",
        )


def _shortened(value: object) -> str:
    """Return a client's value, short enough for one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
