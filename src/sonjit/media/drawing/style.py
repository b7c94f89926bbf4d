"""Settings of drawings, and the style of the instance that is being drawn.

The command line, the live app, the server and the documentation get their settings from the fields of `DrawingStyle`.
Two renderers draw them: this package, and `painter.ts` of the page.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, Literal, TypeAlias

from sonjit._util.settings import Option, check_settings

Anonymise: TypeAlias = Literal["none", "black", "blur", "persons"]
_drawn = partial(Option, group="Output")
INSTANCE: Final = "instance"  # value of `DrawingStyle.colour`


@dataclass(frozen=True)
class DrawingStyle:
    """Settings of drawings, as in the live app and on the command line.

    [A table](../options.md#drawings) describes them. Other values raise InputError.

    Example:
        >>> DrawingStyle(colour="#ff8800", thickness=2).boxes
        False
    """

    colour: Annotated[
        str,
        _drawn(
            "Colour of drawings such as #ff8800, or instance for one per instance. Default: by part.",
            pattern="(instance|#[0-9a-fA-F]{6})?",
            form="#rrggbb, or instance",
        ),
    ] = ""
    thickness: Annotated[float, _drawn("Factor of line widths, 0.5 to 3.", minimum=0.5, maximum=3)] = 1.0
    points: Annotated[bool, _drawn("Draw keypoints.")] = True
    boxes: Annotated[bool, _drawn("Draw the box of each instance.")] = False
    labels: Annotated[bool, _drawn("Write name, score and id next to each instance.")] = True
    gestures: Annotated[bool, _drawn("Write gestures into the labels.", command_line=False)] = True
    errors: Annotated[
        bool,
        _drawn("Draw a ring around each refined hand keypoint, with its expected error as radius."),
    ] = False
    background: Annotated[Literal["image", "black"], _drawn("What is below the drawing.")] = "image"
    anonymise: Annotated[
        Anonymise,
        _drawn(
            "In drawings and masks: black draws on black, blur blurs all heads that a search finds, persons "
            "all people. Each removes the sound.",
        ),
    ] = "none"

    def __post_init__(self) -> None:
        """Check the settings."""
        check_settings(self)

    @property
    def is_black(self) -> bool:
        """Whether the image is not shown."""
        return "black" in (self.background, self.anonymise)


USUAL = DrawingStyle()
STYLE = ContextVar("STYLE", default=USUAL)  # style of the instance that is being drawn, which `Strokes` and `own` read
