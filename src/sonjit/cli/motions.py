"""`sonjit motions`: motions of hands in a video, as events."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sonjit import track
from sonjit._util.errors import InputError
from sonjit._util.json_text import json_from
from sonjit._util.text import pluralize
from sonjit.cli.options import FileName, checked_limit
from sonjit.gestures import MotionRecognizer
from sonjit.gestures.learned import find_motions
from sonjit.runs.frame_tables import motion_record, open_motion_table

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
    """Find swipes, waves, pinches, claps and other motions of hands.

    Each event is printed as a line of JSON, or written to a table. The last line counts the motions.

    Example: `sonjit motions clip.mp4 --save events.csv`

    Args:
        source: Camera or video.
        save: Table of the events instead of lines: .json, .jsonl, .csv or .parquet.
        mirrored: Treat the input as a selfie view, in which left and right are exchanged.
        progress: Add the events between the begin and the end of each motion, frame by frame.
        gestures: Additional motions to find: a file of sonjit gestures train, or asl for the letters J and Z.
        limit: Maximum number of frames.
    """
    limit = checked_limit(limit)
    custom = None if gestures is None else find_motions(gestures)
    if custom is not None and not custom.names:
        raise InputError(f"--gestures {gestures}: contains only static gestures, no motions")
    recognizer = MotionRecognizer(custom=custom)
    frames = found = 0
    with nullcontext() if save is None else open_motion_table(str(save)) as table:

        def report(index: int, events: Iterable[MotionEvent]) -> None:
            nonlocal found
            for event in events:
                found += event.phase == "end"
                if event.phase == "progress" and not progress:
                    continue
                if table is not None:
                    table.write(motion_record(index, event))
                else:
                    sys.stdout.write(json_from(dict(motion_record(index, event))) + "\n")
                    sys.stdout.flush()

        index = 0
        for frame in islice(track(str(source), "hands", mirrored=mirrored), limit):
            index, frames = frame.index, frames + 1
            report(index, recognizer(frame.hands, frame.time))
        report(index, recognizer.finish())
    wrote = "" if save is None else f"; wrote {save}"
    sys.stderr.write(f"{pluralize(found, 'motion')} in {pluralize(frames, 'frame')}{wrote}\n")
