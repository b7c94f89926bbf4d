"""The table of kinds, and their options.

The record of a kind is at the end of the kind's module. `register_kind` adds a kind to `create_detector`, the command
line, tables, the server and the live app. The kind's result type owns its skeleton, measures, table columns and
drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sonjit._util import InputError, unknown_name
from sonjit._util.extensions import Registry
from sonjit._util.settings import Option, declared_options
from sonjit.detectors.options import CommonOptions
from sonjit.results import Body, Result, register_result

if TYPE_CHECKING:
    from sonjit.detectors.interfaces import Kind, StillSearch
    from sonjit.detectors.smoothing import Smoother
    from sonjit.engines.precision import Landmarks

    NewSmoothers = Callable[[Any], Callable[[], Smoother[Any] | None]]


KINDS: Registry[KindEntry] = Registry(
    "kind",
    values={
        "hands": "sonjit.detectors.kinds.hands:HANDS",
        "face": "sonjit.detectors.kinds.face_networks:FACE",
        "body": "sonjit.detectors.kinds.body:BODY",
        "holistic": "sonjit.detectors.kinds.holistic:HOLISTIC",
    },
)
"""Entries of the kinds by name. The module of an entry is imported when the entry is first used."""


def usual_smoothers(options: CommonOptions) -> Callable[[], Smoother[Any] | None]:
    """Return a factory of the smoothers that the options name."""
    from sonjit.detectors.smoothing import keypoint_smoothers

    return keypoint_smoothers(options)


@dataclass(frozen=True)
class Model:
    """One model of a kind."""

    name: str  # name of the model, as `create_detector` takes it
    weights: Mapping[str, str]  # names of its files in the catalogue by role
    min_detection_score: float = 0.5  # default minimum score of a new detection
    # True if the results are boxes, found in every frame. They have their own table columns and no measures.
    is_box: bool = False


@dataclass(frozen=True)
class PageSupport:
    """What the module for web pages requires to find a kind.

    Attributes:
        files: Files of the package that its search of still images requires.
        networks: Weights that this search requires besides those that propose instances, by role.
        without: Options that pages lack.
    """

    files: tuple[str, ...] = ("proposals.tflite",)
    networks: Mapping[str, str] = field(default_factory=dict[str, str])
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class KindEntry:
    """Describe a kind before its networks are loaded.

    `search` may be an import string such as `"package.module:function"`, for modules that load slowly
    or import the kind.

    Attributes:
        name: Name of the kind, as `create_detector` takes it.
        result: Result type of the detectors. Its `list_name` names the list of a frame.
        summary: Summary line for the command line.
        plural: Plural noun for messages.
        models: Models by name, the default first.
        model_help: Advice on which model to choose.
        load: Function that makes the pipeline's `Kind` and loads its networks.
        options: Dataclass of the options.
        smoothers: Function that takes the options and returns a factory of smoothers for new tracks.
        search: Function that makes the thorough search of a loaded kind; None if there is none.
        search_weights: Catalogue names of the further networks that the thorough search of stills requires.
        instances: Kinds of the instances with keypoints in the results, such as ("hand",).
        examples: Pairs of a command and its description, for the help of the command line.
        weight_groups: Catalogue groups that `sonjit models pull` fetches for the kind.
        int8: Model that runs each network which has an int8 form, by the name of its weights, and what it gives.
        pages: What web pages require to find the kind; None if they cannot without a server.
        has_maps: Whether the server explains its results by saliency maps.
    """

    name: str
    result: type[Result]
    summary: str
    plural: str
    models: Mapping[str, Model]
    model_help: str
    load: Callable[[Any], Kind[Any, Any]]
    options: type[CommonOptions] = CommonOptions
    smoothers: NewSmoothers = usual_smoothers
    search: Callable[[Any, Any], StillSearch[Any] | None] | str | None = None
    search_weights: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    weight_groups: tuple[str, ...] = ()
    int8: Mapping[str, tuple[str, Landmarks]] = field(default_factory=dict[str, "tuple[str, Landmarks]"])
    pages: PageSupport | None = None
    has_maps: bool = False

    @property
    def has_bodies(self) -> bool:
        """Check whether the results have bodies, of which there are reports and characters."""
        return Body.kind in self.instances

    @property
    def list_name(self) -> str:
        """Return the name of the list of a frame that contains the results."""
        return self.result.list_name


def register_kind(entry: KindEntry) -> KindEntry:
    """Register a kind with its result type.

    Raises:
        InputError: The name, or the list of the result type, is already registered.
    """
    register_result(entry.result)
    KINDS.add(entry.name, entry)
    return entry


def find_model(name: str) -> tuple[KindEntry, Model]:
    """Return kind and model of a name such as `hands-full`. `hands` means the kind's default model."""
    kind, _, model = name.partition("-")
    entry = KINDS.find(kind)
    model = model or next(iter(entry.models))
    if model not in entry.models:
        raise InputError(unknown_name(f"{kind} model", model, entry.models))
    return entry, entry.models[model]


def options_of(entry: KindEntry) -> dict[str, Option]:
    """Return the options of a kind by name; `model` has the kind's own choices."""
    declared = dict(declared_options(entry.options))
    models = tuple(entry.models)
    declared["model"] = replace(declared["model"], help=entry.model_help, choices=models, default=models[0])
    return declared


def make_options(entry: KindEntry, values: Mapping[str, object]) -> CommonOptions:
    """Check the values of options by name and fill in the rest.

    None means the default, except for `smoothing`. An option of another kind is accepted with its default.
    """
    options = options_of(entry)
    checked: dict[str, object] = {}
    for name, value in values.items():
        if name in options:
            is_own_filter = name == "smoothing" and (value is None or callable(value))
            if is_own_filter or value is not None:
                checked[name] = value if is_own_filter else options[name].check(value)
        elif value is not None and not any(
            (other := options_of(kind).get(name)) and other.default == value for kind in KINDS.values()
        ):
            nearest = get_close_matches(name, options, n=1)
            hint = f"Did you mean {nearest[0]}? " if nearest else ""
            known = f"{hint}Choose from {', '.join(options)}."
            raise InputError(f"{name}={value!r}: {entry.name} has no option {name}. {known}")
    model = entry.models[str(checked.get("model", next(iter(entry.models))))]
    defaults: dict[str, object] = {"kind": entry.name, "model": model.name}
    defaults["min_detection_score"] = model.min_detection_score
    defaults["has_own_limit"] = "max_instances" in checked
    complete: Any = defaults | checked  # checked against the types of the fields
    return entry.options(**complete)


def options_for(kind: str, **values: object) -> CommonOptions:
    """Return the checked options of a kind by its name, as `make_options` does."""
    return make_options(KINDS.find(kind), values)


def check_options(options: CommonOptions, given: Mapping[str, object]) -> None:
    """Check that no option is ignored because of the others, as each `Option` states it.

    A value that describes what happens anyway is accepted. `given` are the values that a caller chose.
    """
    entry = KINDS.find(options.kind)
    is_box = entry.models[options.model].is_box
    for name, option in declared_options(entry.options).items():
        value = getattr(options, name)
        cause = ""
        if value != getattr(entry.options, name, None):
            if option.requires and not getattr(options, option.requires):
                raise InputError(f"{name}={value!r} requires {option.requires}=True")
            if option.of_streams and given.get("static_image") and value not in option.for_stills:
                cause = "static_image=True"
            elif option.of_keypoints and is_box:
                cause = f"model={options.model!r}"
        elif option.useless_with and given.get(name) is not None and getattr(options, option.useless_with, False):
            cause = f"{option.useless_with}=True"
        if cause:
            raise InputError(f"{name}={value!r} has no effect with {cause}")
