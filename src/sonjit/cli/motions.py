"""`sonjit motions`: what hands do in a video, as events."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sonjit.cli.options import FileName
from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sonjit.results import MotionEvent


def motions(
    source: Annotated[FileName, Parameter(name="INPUT")] = "camera:0",
    *,
    save: FileName | None = None,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    progress: Annotated[bool, Parameter(negative="")] = False,
    gestures: str | None = None,
    limit: int | None = None,
) -> None:
    """Find swipes, waves, pinches, claps and other motions of hands in a video or camera.

    Prints a line of JSON for each event, or writes them to a table.

    Example: `sonjit motions clip.mp4 --save events.csv`

    Args:
        source: A camera or a video.
        save: Table of the events in place of the lines: .json, .jsonl, .csv or .parquet.
        mirrored: The input is a selfie view: left and right are exchanged in it.
        progress: Give what each motion says between its begin and its end too, frame by frame.
        gestures: Custom motions to find too: a file of sonjit gestures train, or asl for the letters J and Z.
        limit: Stop after so many frames.
    """
    from sonjit import track
    from sonjit.gestures import MotionRecognizer
    from sonjit.gestures.learned import find_motions
    from sonjit.json_text import json_from
    from sonjit.runs.motion_table import MotionTable, motion_record

    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: at least 1 frame")
    custom = None if gestures is None else find_motions(gestures)
    if custom is not None and not custom.names:
        raise InputError(f"--gestures {gestures}: holds no motions, only gestures that are held; leave it out")
    recognizer = MotionRecognizer(custom=custom)
    with nullcontext() if save is None else MotionTable(str(save)) as table:

        def report(index: int, events: Iterable[MotionEvent]) -> None:
            for event in events:
                if event.phase == "progress" and not progress:
                    continue
                if table is not None:
                    table.write_event(index, event)
                else:
                    sys.stdout.write(json_from(dict(motion_record(index, event))) + "\n")
                    sys.stdout.flush()

        index = 0
        for frame in islice(track(str(source), "hands", mirrored=mirrored), limit):
            index = frame.index
            report(index, recognizer(frame.hands, frame.time))
        report(index, recognizer.finish())
