"""`create_detector`: make a running detector from names and options."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields, replace
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal, NewType, Unpack, overload

from sonjit._util import InputError
from sonjit._util.extensions import resolved
from sonjit._util.option import declared_options
from sonjit.detectors import options as option_types
from sonjit.detectors import tracking
from sonjit.detectors.interfaces import Kind, StillSearch
from sonjit.detectors.kinds import KindEntry, find_kind, make_options, refuse_unused_options
from sonjit.detectors.options import CommonOptions
from sonjit.detectors.pipeline import Detector
from sonjit.results import Body, Face, Hand, Person, Result

if TYPE_CHECKING:  # the choices of options would take the order of these types
    from sonjit.detectors.arguments import (
        ExactBodyArguments,
        ExactFaceArguments,
        ExactHandArguments,
        ExactHolisticArguments,
    )
    from sonjit.media.sources.base import SourceKind

KindName = NewType("KindName", str)
"""A kind that is known at run time: the name of a registered kind, or a TOML file of a network."""
_OPTIONS_ENTRY = "        **options: Options of the kind."
"""Line in the docstring of `create_detector` that the descriptions of the options replace."""


@overload
def create_detector(kind: Literal["hands"] = "hands", **options: Unpack[ExactHandArguments]) -> Detector[Hand]: ...


@overload
def create_detector(kind: Literal["face"], **options: Unpack[ExactFaceArguments]) -> Detector[Face]: ...


@overload
def create_detector(kind: Literal["body"], **options: Unpack[ExactBodyArguments]) -> Detector[Body]: ...


@overload
def create_detector(kind: Literal["holistic"], **options: Unpack[ExactHolisticArguments]) -> Detector[Person]: ...


@overload
def create_detector(kind: KindName, **options: object) -> Detector[Result]: ...


def create_detector(kind: str = "hands", **options: object) -> Detector[Any]:
    """Create a detector.

    The dataclass of a kind in `sonjit.detectors.options` has the options of the kind: `HandOptions`, `FaceOptions`,
    `BodyOptions` or `HolisticOptions`. None means the default, except for `smoothing`, where it means no smoothing.
    `smoothing` also accepts a filter object, see `Filter`.

    Args:
        kind: Kind of instance to find: `"hands"`, `"face"`, `"body"`, `"holistic"`, or a registered one, which type
            checkers accept as `sonjit.detectors.KindName("spots")`.
        **options: Options of the kind.

    Raises:
        InputError: A name is unknown, the kind does not have an option, a value is out of bounds, an option has no
            effect with the others, or a model file is missing. The message names the remedy.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     [hand.handedness for hand in detector.detect("photo.jpg")]
        ['Left', 'Right']
    """
    return detector_for_input(kind, options, "camera")


def detector_for_input(kind: str, options: Mapping[str, object], source: SourceKind) -> Detector[Any]:
    """Create a detector for a source. Options of streams do not apply to stills."""
    checked = make_options(find_kind(kind), options).for_input(source)
    refuse_unused_options(checked, options)
    return detector_from(checked)


def detector_from(options: CommonOptions) -> Detector[Any]:
    """Create a detector from checked options."""
    entry = find_kind(options.kind)
    kind = _load(entry, options)
    search = _load_search(entry, options, kind) if options.is_thorough else None
    spreads = options.spreads_windows and not entry.models[options.model].is_box
    stream_search = resolved(entry.stream_search)(options, kind) if spreads and entry.stream_search else None
    new_smoother = entry.smoothers(options)
    tracker = tracking.Tracker(
        new_smoother,
        merge_nested=options.search != "fast",
        propagate=kind.propagate if options.search != "fast" else None,
        max_tracks=options.max_instances,
        overlap_keypoints=kind.overlap_keypoints,
    )
    one_of_several = replace(options, threads=1, shared=True)
    custom = {"detector": options.detector_model, "landmark": options.landmark_model}
    own = {role: file.name for role, file in custom.items() if file}
    networks = {**entry.models[options.model].weights, **kind.networks, **own}
    return Detector(
        kind,
        tracker,
        options,
        search=search,
        stream_search=stream_search,
        create_sibling=lambda: detector_from(one_of_several),
        networks=networks,
        keypoint_count=kind.keypoint_count or next(iter(entry.result.skeletons)),
    )


def _load(entry: KindEntry, options: CommonOptions) -> Kind[Any, Any]:
    """Load a kind. If a network is missing, name the command that fetches all networks of the kind."""
    try:
        return entry.load(options)
    except InputError as error:
        pulls = [f"sonjit models pull {name}" for name in entry.models[options.model].weights.values()]
        named = next((pull for pull in pulls if entry.weight_groups and str(error).endswith(pull)), None)
        if named is None:
            raise
        message = f"{str(error).removesuffix(named)}sonjit models pull {' '.join(entry.weight_groups)}"
        raise InputError(message) from error


def _load_search(entry: KindEntry, options: CommonOptions, kind: Kind[Any, Any]) -> StillSearch[Any] | None:
    """Load the thorough search of a detector."""
    for name in entry.search_weights:
        try:
            options.file(name)
        except InputError as error:
            groups = " ".join(entry.weight_groups)
            raise InputError(
                f"{error} (search={options.search!r} needs it for images: sonjit models pull {groups} fetches all of "
                "its networks, search='fast' does without)"
            ) from error
    search = resolved(entry.search)(options, kind) if entry.search else None
    if search is None and options.search == "thorough":
        images = "images" if options.static_image else "streams"
        raise InputError(
            f"search='thorough' is not available for {entry.name} {options.model} in {images}. Use search='auto'."
        )
    return search


def option_parameters() -> tuple[list[inspect.Parameter], list[str]]:
    """Return the parameters of all options and their descriptions, for the documentation of `create_detector`."""
    kinds = (
        CommonOptions,
        option_types.HandOptions,
        option_types.FaceOptions,
        option_types.BodyOptions,
        option_types.HolisticOptions,
    )
    options = {name: option for kind in reversed(kinds) for name, option in declared_options(kind).items()}
    texts: list[str] = []
    parameters: list[inspect.Parameter] = []
    for name, option in sorted(options.items(), key=lambda item: item[1].group):
        defaults = {field.default for kind in kinds[1:] for field in fields(kind) if field.name == name}
        default = defaults.pop() if len(defaults) == 1 and option.default_by != "model" else None
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default))
        choices = f" Choices: {', '.join(option.choices)}." if option.choices else ""
        texts.append(fill(f"{name}: {option.help}{choices}", 120, initial_indent=" " * 8, subsequent_indent=" " * 12))
    return parameters, texts


def _document_options() -> None:
    """Give `create_detector` the signature and the argument descriptions of its options."""
    parameters, texts = option_parameters()
    first, last = inspect.signature(create_detector).parameters.values()
    create_detector.__signature__ = inspect.Signature([first, *parameters, last])  # pyright: ignore[reportFunctionMemberAccess]
    if create_detector.__doc__:  # absent under python -OO
        create_detector.__doc__ = create_detector.__doc__.replace(_OPTIONS_ENTRY, "\n".join(texts))


_document_options()
