"""`sonjit control`: hands that move other programs."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonjit.cli.options import FileName
from sonjit.errors import InputError


def control(
    map_file: Annotated[Path, Parameter(name="MAP")],
    source: Annotated[FileName, Parameter(name="INPUT")] = "camera:0",
    *,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    gestures: Path | None = None,
    limit: int | None = None,
) -> None:
    """Let gestures, motions and measures of hands act on other programs, by the rules of a map, until Ctrl-C.

    Nothing is sent to an address that does not stand in the map.

    Example: `sonjit control slides.toml --dry-run`

    Args:
        map_file: TOML file of rules, see docs/gestures.md.
        source: A camera or a video.
        dry_run: Send nothing, and print a line of JSON for each command.
        mirrored: The input is a selfie view: left and right are exchanged in it.
        gestures: Custom gestures (sonjit gestures train) that rules may name too.
        limit: Stop after so many frames.
    """
    from contextlib import nullcontext

    from sonjit import track
    from sonjit.gestures import LearnedGestures
    from sonjit.gestures.control import Controller
    from sonjit.gestures.outlets import Outlets
    from sonjit.gestures.rules import load_map
    from sonjit.json_text import json_from

    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: at least 1 frame")
    custom = None if gestures is None else LearnedGestures.load(gestures)
    control_map = load_map(map_file, () if custom is None else custom.names)
    if custom is not None and not {control_map.pause, *(rule.on for rule in control_map.rules)} & set(custom.names):
        raise InputError(
            f"--gestures {gestures}: no rule of {map_file} names {' or '.join(custom.names)}; leave it out"
        )
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
                does = "paused" if controller.is_paused else "goes on"
                sys.stderr.write(f"{does} at {frame.time:.2f} s: {control_map.pause}\n")
