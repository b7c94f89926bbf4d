"""`sonjit control`: other programs controlled with hands."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonjit import track
from sonjit._util.errors import InputError
from sonjit._util.json_text import json_from
from sonjit.cli.options import FileName, checked_limit
from sonjit.gestures import LearnedGestures
from sonjit.gestures.control import Controller
from sonjit.gestures.outlets import Outlets
from sonjit.gestures.rules import load_map


def control(
    map_file: Annotated[Path, Parameter(name="MAP")],
    source: Annotated[FileName, Parameter(name="INPUT")] = "camera:0",
    *,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    gestures: Path | None = None,
    limit: int | None = None,
) -> None:
    """Control other programs with gestures, motions and measures of hands.

    A map contains the rules. Commands are sent only to addresses in the map. Ctrl-C ends the program.

    Example: `sonjit control slides.toml --dry-run`

    Args:
        map_file: TOML file of rules, as the guide on control describes.
        source: Camera or video.
        dry_run: Send nothing. Print each command as a line of JSON.
        mirrored: Treat the input as a selfie view, in which left and right are exchanged.
        gestures: File of sonjit gestures train with custom gestures for the rules.
        limit: Maximum number of frames.
    """
    from contextlib import nullcontext

    limit = checked_limit(limit)
    custom = None if gestures is None else LearnedGestures.load(gestures)
    control_map = load_map(map_file, () if custom is None else custom.names)
    if custom is not None and not {control_map.pause, *(rule.on for rule in control_map.rules)} & set(custom.names):
        raise InputError(f"--gestures {gestures}: no rule of {map_file} uses {' or '.join(custom.names)}")
    controller = Controller(control_map, custom)
    with nullcontext() if dry_run else Outlets(control_map.rules) as outlets:
        for frame in islice(track(str(source), "hands", mirrored=mirrored), limit):
            height, width = frame.image.shape[:2]
            was_paused = controller.is_paused
            for command in controller(frame.hands, frame.time, (width, height)):
                if outlets is None:
                    sys.stdout.write(json_from(command.to_dict()) + "\n")
                    sys.stdout.flush()
                else:
                    outlets.send(command)
            if controller.is_paused != was_paused:
                state = "paused" if controller.is_paused else "resumed"
                sys.stderr.write(f"{state} at {frame.time:.2f} s: {control_map.pause}\n")
