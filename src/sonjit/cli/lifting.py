"""The options of `sonjit hands` and `sonjit mesh` that put hands into the camera's space."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from sonjit.errors import InputError

if TYPE_CHECKING:
    from sonjit.lifting import Lift


@Parameter(name="*", group=Group("Lifting", sort_key=4))
@dataclass(frozen=True)
class Lifting:
    """Hands in the camera's space.

    Attributes:
        lift: Network that sees both hands at once: x_m, y_m and z_m are then metres from the lens, not from the hand.
        lift_weights: A checkpoint, official or own; the .xml that sonjit export made of it, twice as fast; or demo,
            placeholder weights.
        lift_layout: Data set that an official checkpoint was trained on; Sonjit's own say it.
        root_weights: Checkpoint of RootNet, for the distance; without it that comes from the size of the hands.
        root_input_scale: What white is to an official checkpoint of RootNet: 255 in the release; Sonjit's own say it.
        lift_box: x,y,width,height in pixels around the hands of one person: InterNet then says which are there, also
            where the detector finds none.
        lift_device: Where both networks run: cpu, gpu, cuda:1, mps or auto.
        camera: fx,fy,cx,cy in pixels; without it 60 degrees across the longer side are assumed.
    """

    lift: Literal["internet"] | None = None
    lift_weights: str | None = None
    lift_layout: Literal["interhand", "stb", "rhd"] | None = None
    root_weights: str | None = None
    root_input_scale: Literal[1, 255] | None = None
    lift_box: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    lift_device: str = "cpu"
    camera: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None


def lift_from(lifting: Lifting, *, mirrored: bool, alone: tuple[str, ...] = ()) -> Lift | None:
    """What is asked for.

    Args:
        lifting: the options.
        mirrored: the images are selfie views.
        alone: which of the options mean something without --lift too.

    Raises:
        InputError: options that do not go together, or weights that are missing.
    """
    if lifting.lift is None:
        given = [item.name for item in fields(lifting) if getattr(lifting, item.name) != item.default]
        if stray := [f"--{name.replace('_', '-')}" for name in given if name not in alone]:
            raise InputError(f"{', '.join(stray)}: only with --lift internet")
        return None
    from sonjit.geometry.cameras import camera_from_text
    from sonjit.lifting import Lift

    return Lift(
        lifting.lift,
        lifting.lift_weights,
        lifting.root_weights,
        lifting.lift_layout,
        lifting.root_input_scale,
        None if lifting.camera is None else camera_from_text(lifting.camera),
        mirrored,
        lifting.lift_device,
        None if lifting.lift_box is None else _box(lifting.lift_box),
    )


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = map(float, text.split(","))
    except ValueError:
        raise InputError(f"--lift-box {text}: give x,y,width,height in pixels") from None
    return x, y, width, height


def tell_notes(lift: Lift | None) -> None:
    """Say what was taken for granted, once the work is done: a line that says why it failed comes alone."""
    for note in [] if lift is None else lift.notes:
        sys.stderr.write(f"sonjit: {note}\n")
