"""Settings of drawings, and the style of the instance that is being drawn."""

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from sonjit._util import InputError

Anonymise: TypeAlias = Literal["none", "black", "blur", "persons"]


@dataclass(frozen=True)
class DrawingStyle:
    """Settings of drawings, as in the live app.

    Attributes:
        colour: Colour of everything such as `"#ff8800"`; `"instance"` for one per instance; empty for the usual ones.
        thickness: Factor of line widths, 0.5 to 3.
        points: Draw keypoints.
        boxes: Draw the box of each instance.
        labels: Write a label such as "Right 0.98 #1" (title, score, id) next to each instance.
        gestures: Write gestures into the labels.
        errors: Draw a ring around each refined keypoint of a hand, with its expected error as radius.
        background: `"image"` or `"black"`.
        anonymise: `"black"` draws on black, `"blur"` blurs faces and heads, `"persons"` also bodies, `"none"` keeps
            them. Runs and the command line search for everybody; `sonjit.draw` hides only those in the results.
    """

    colour: str = ""
    thickness: float = 1.0
    points: bool = True
    boxes: bool = False
    labels: bool = True
    gestures: bool = True
    errors: bool = False
    background: Literal["image", "black"] = "image"
    anonymise: Anonymise = "none"

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.colour not in ("", "instance") and not re.fullmatch("#[0-9a-fA-F]{6}", self.colour):
            raise InputError(f"colour {self.colour!r}: give #rrggbb or instance")
        if not 0.5 <= self.thickness <= 3:
            raise InputError(f"thickness {self.thickness}: must be 0.5 to 3")
        if self.background not in ("image", "black") or self.anonymise not in get_args(Anonymise):
            raise InputError("background is image or black, and anonymise none, black, blur or persons")

    @property
    def is_black(self) -> bool:
        """Whether the image is not shown."""
        return "black" in (self.background, self.anonymise)


USUAL = DrawingStyle()
STYLE = ContextVar("STYLE", default=USUAL)  # style of the instance that is being drawn, which `Strokes` and `own` read
