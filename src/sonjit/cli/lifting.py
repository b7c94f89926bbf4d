"""Options of `sonjit hands` and `sonjit mesh` that lift hands into the camera's space."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from sonjit._util.errors import InputError
from sonjit.geometry.cameras import camera_from_text
from sonjit.runs.lifting import Lift


@Parameter(name="*", group=Group("Lifting", sort_key=4))
@dataclass(frozen=True)
class Lifting:
    """Hands in the camera's space.

    Attributes:
        lift: Network for both hands together. x_m, y_m and z_m are then metres from the lens, not from the hand.
        lift_weights: Checkpoint, official or your own; its .xml by sonjit export, which is twice as fast; or demo for
            placeholder weights.
        lift_layout: Data set of an official checkpoint. Sonjit's own checkpoints contain it.
        root_weights: Checkpoint of RootNet for the distance. Default: from the size of the hands.
        root_input_scale: Value of white for an official checkpoint of RootNet: 255 in the release. Sonjit's own
            checkpoints contain it.
        lift_box: x,y,width,height in pixels around the hands of one person. InterNet then decides which hands are
            visible, even without a detection.
        lift_device: Device of both networks: cpu, gpu, cuda:1, mps or auto.
        camera: fx,fy,cx,cy in pixels, for --lift and --distance. Default: 60 degrees across the longer side.
    """

    lift: Literal["internet"] | None = None
    lift_weights: str | None = None
    lift_layout: Literal["interhand", "stb", "rhd"] | None = None
    root_weights: str | None = None
    root_input_scale: Literal[1, 255] | None = None
    lift_box: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    lift_device: str = "cpu"
    camera: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None


def lift_from(lifting: Lifting, *, mirrored: bool, independent: tuple[str, ...] = ()) -> Lift | None:
    """Return the settings for lifting, or None without --lift.

    Args:
        lifting: Options of the command line.
        mirrored: The images are selfie views.
        independent: Names of the options that do not require --lift.

    Raises:
        InputError: Options do not fit each other, or weights are missing.
    """
    if lifting.lift is None:
        changed = [item.name for item in fields(lifting) if getattr(lifting, item.name) != item.default]
        if dependent := [f"--{name.replace('_', '-')}" for name in changed if name not in independent]:
            raise InputError(f"{', '.join(dependent)} requires --lift internet")
        return None

    return Lift(
        network=lifting.lift,
        weights=lifting.lift_weights,
        root_weights=lifting.root_weights,
        layout=lifting.lift_layout,
        root_input_scale=lifting.root_input_scale,
        camera=None if lifting.camera is None else camera_from_text(lifting.camera),
        mirrored=mirrored,
        device=lifting.lift_device,
        box=None if lifting.lift_box is None else _box(lifting.lift_box),
    )


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = map(float, text.split(","))
    except ValueError:
        raise InputError(f"--lift-box {text}: write x,y,width,height in pixels") from None
    return x, y, width, height


def print_notes(lift: Lift | None) -> None:
    """Print the assumptions of lifting, after the work: an error message is printed without them."""
    for note in [] if lift is None else lift.notes:
        sys.stderr.write(f"sonjit: {note}\n")
