"""`sonjit motions`: what hands do in a video, as events."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from sonjit.cli.options import FileName
from sonjit.errors import InputError

if TYPE_CHECKING:
    from sonjit.runs.records import Record

_COLUMNS: Final = {
    "frame": int,
    "time": float,
    "name": str,
    "phase": str,
    "id": int,
    "handedness": str,
    "strength": float,
    "moved_x": float,
    "moved_y": float,
    "count": float,
}


def motions(
    source: Annotated[FileName, Parameter(name="INPUT")] = "camera:0",
    *,
    save: FileName | None = None,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    progress: Annotated[bool, Parameter(negative="")] = False,
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
        limit: Stop after so many frames.
    """
    from sonjit import track
    from sonjit.gestures import MotionRecognizer
    from sonjit.json_text import json_from
    from sonjit.runs.records import RecordTable

    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: at least 1 frame")
    recognizer = MotionRecognizer()
    with ExitStack() as stack:
        table = None
        if save is not None:
            table = RecordTable(str(save), None, _COLUMNS, _rows, _unplaced)
            stack.enter_context(table)
        for frame in islice(track(str(source), "hands", mirrored=mirrored), limit):
            for event in recognizer(frame.hands, frame.time):
                if event.phase == "progress" and not progress:
                    continue
                record: Record = {"frame": frame.index, **event.to_dict()}
                if table is not None:
                    table.write(record)
                else:
                    sys.stdout.write(json_from(dict(record)) + "\n")
                    sys.stdout.flush()


def _rows(record: Record) -> list[Record]:
    x, y = record["moved"]
    return [{**record, "moved_x": x, "moved_y": y}]


def _unplaced(record: Record, _index: int, _source: str | None) -> Record:
    return record
