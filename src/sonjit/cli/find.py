"""`sonjit hands|face|body|holistic`: one command for each kind of detector, made of the tables of kinds and options."""

from __future__ import annotations

import inspect
from dataclasses import field, make_dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonjit.cli.lifting import Lifting, lift_from, tell_notes
from sonjit.cli.options import FINDING, OUTPUT, RUNNING, FileName, Input, Output, Several
from sonjit.detectors.kinds import KINDS, find_kind, options_of
from sonjit.errors import InputError
from sonjit.results import Hand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sonjit.detectors.kinds import KindEntry
    from sonjit.detectors.options import Option, OptionValue
    from sonjit.lifting import Lift

_GROUPS = {"Finding": FINDING, "Running": RUNNING}
_TYPES: dict[str, type] = {"boolean": bool, "integer": int, "number": float, "string": str, "path": str}
_INPUT = (
    "Images, folders, globs and videos; or camera:0, or a network camera such as rtsp://host/stream, or - for standard "
    "input."
)
_MASK = "People cut out of the image: .png for an image, .webm for a video; for many files a folder."


def detect_command(kind: str) -> Callable[..., int]:
    """The command of a kind: its options are those that the kind knows."""
    entry = find_kind(kind)
    detector_class = _option_class(entry)
    has_mask, lifts = "segmentation" in options_of(entry), entry.result is Hand
    keyword, variadic = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL
    parameters = [inspect.Parameter("sources", variadic, annotation=Annotated[Input, Parameter(help=_INPUT)])]
    grouped: dict[str, type] = {"output": Output, "detector": detector_class, "several": Several}
    grouped |= {"lifting": Lifting} if lifts else {}
    parameters += [
        inspect.Parameter(name, keyword, default=None, annotation=annotation | None)
        for name, annotation in grouped.items()
    ]
    if has_mask:
        mask_type = Annotated[FileName | None, Parameter(group=OUTPUT, help=_MASK)]
        parameters.append(inspect.Parameter("mask", keyword, default=None, annotation=mask_type))

    def command(
        *sources: FileName,
        mask: FileName | None = None,
        output: Output | None = None,
        detector: object = None,
        several: Several | None = None,
        lifting: Lifting | None = None,
    ) -> int:
        options = detector or detector_class()
        given: dict[str, OptionValue] = {one.name: getattr(options, one.name) for one in command_line_options(entry)}
        return _detect(entry, sources, given, mask, output or Output(), several or Several(), lifting or Lifting())

    command.__name__, command.__doc__ = kind, _help(entry)
    command.__signature__ = inspect.Signature(parameters, return_annotation=int)  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": int}
    return command


def command_line_options(entry: KindEntry) -> list[Option]:
    """The options of a kind that the command line offers as such."""
    return [one for one in options_of(entry).values() if one.command_line]


def _option_class(entry: KindEntry) -> type:
    """A dataclass with a field for each option that a kind knows on the command line; None is "not given"."""
    items = [(one.name, _annotation(one), field(default=None)) for one in command_line_options(entry)]
    made = make_dataclass(f"{entry.name.capitalize()}Options", items, frozen=True)
    made.__module__ = __name__  # cyclopts takes apart no class of the standard library, where this one was made
    return Parameter(name="*")(made)


def _annotation(option: Option) -> object:
    plain: object = Literal[option.choices] if option.choices else _TYPES[option.type]
    default = None if option.default is None else str(option.default)
    parameter = Parameter(
        group=_GROUPS[option.group],
        help=option.help,
        negative="" if option.default is False else None,
        show_default=False if default is None else lambda _: default,
    )
    return Annotated[plain | None, parameter]  # pyright: ignore[reportOperatorIssue]


def _help(entry: KindEntry) -> str:
    return "\n\n".join([entry.summary, *(f"`{call}` {what}" for call, what in entry.examples)])


def _detect(
    entry: KindEntry,
    sources: Sequence[FileName],
    given: dict[str, OptionValue],
    mask: FileName | None,
    output: Output,
    several: Several,
    lifting: Lifting,
) -> int:
    from sonjit.cli.report import report_job
    from sonjit.gestures import find_gestures
    from sonjit.runs import Detect, Outputs

    if output.save == "-":
        raise InputError("--save -: for lines on standard output write --json")
    options = {name: value for name, value in given.items() if value is not None}
    options.setdefault("model", next(iter(entry.models)))
    if mask is not None:
        options["segmentation"] = True
    lift = _lift(lifting, options)
    processor = Detect(entry.name, options, output.measures, output.count, lift)
    _ = processor.counting  # refuse a wrong name or file before any work
    if processor.gestures is not None:
        find_gestures(processor.gestures)
    files = (None if one is None else str(one) for one in (output.save, output.draw, mask))
    status = report_job(sources, processor, Outputs(*files, json=output.json), several)
    tell_notes(lift)
    return status


def _lift(lifting: Lifting, options: Mapping[str, OptionValue]) -> Lift | None:
    if options.get("flip_horizontal") and lifting.lift is not None:
        raise InputError("--flip-horizontal moves hands away from where the camera sees them: leave it out with --lift")
    return lift_from(lifting, mirrored=bool(options.get("mirrored")))


def __getattr__(name: str) -> Callable[..., int]:
    """`sonjit.cli.find:hands`: the command of a kind, made when it is first asked for."""
    if name not in KINDS:
        raise AttributeError(name)
    return detect_command(name)
