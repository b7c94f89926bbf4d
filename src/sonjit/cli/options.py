"""Options that several commands share."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Group, Parameter

from sonjit._util.errors import InputError

OUTPUT = Group("Output", sort_key=1)
FINDING = Group("Finding", sort_key=2)
RUNNING = Group("Running", sort_key=3)

FileName: TypeAlias = str | Path
"""File name as the user typed it, always a str. The Path in the union lets shells complete it."""

Input: TypeAlias = Annotated[FileName, Parameter(name="INPUT", allow_leading_hyphen=True)]
"""Input of a command; `-` is standard input."""


@Parameter(name="*", group=RUNNING)
@dataclass(frozen=True)
class BatchOptions:
    """How to process the inputs.

    Attributes:
        limit: Maximum number of frames of each input file.
        jobs: Processes for several files, a folder or a glob. They share the cores.
        workers: pool starts processes on this machine. ray or ray:ADDRESS uses a cluster whose machines have the files
            under the same paths.
        timing: Print the time for reading, detecting and writing per image.
    """

    limit: int | None = None
    jobs: int = 1
    workers: str = "pool"
    timing: Annotated[bool, Parameter(negative="")] = False


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True)
class Output:
    """What to write.

    Attributes:
        save: Table to write: .json, .jsonl, .csv, .parquet or .xlsx; or a character that follows a body or a person:
            .bvh, .glb or .vrma. For many files one table, a folder, or a name with {name} such as 'tables/{name}.csv'.
        rows: What a row of a .csv, .parquet or .xlsx table describes: a keypoint, an instance, or an instance with a
            column per keypoint and axis (wide). Default: keypoint; instance for .xlsx.
        bones: Bone names of a .bvh, .glb or .vrma character. Default: vrm.
        draw: Image, video, or looping GIF or WebP to write with the results drawn in. For many files a folder.
        draw_errors: Draw a ring around each refined hand keypoint, with its expected error as radius.
        count: Count repetitions of an angle, e.g. left_knee_angle_rad for squats, or with limits in degrees
            left_elbow_angle_rad:70:140. The count is in labels of drawings and in the column repetitions.
        events: Report when a measure crosses two limits, as NAME:BEGIN:END with limits of angles in degrees, e.g.
            left_elbow_angle_rad:60:120. Repeat the option for further measures. Events are in JSON and in .events.csv.
        measures: Add angles, distances and gestures to the table, and gestures to the drawing.
        json: Print a line of JSON for each frame on standard output, for other programs.
    """

    save: Annotated[FileName | None, Parameter(allow_leading_hyphen=True)] = None  # so that - gets an own message
    rows: Literal["keypoint", "instance", "wide"] | None = None
    bones: Literal["vrm", "mixamo", "unreal", "webxr"] | None = None
    draw: FileName | None = None
    draw_errors: Annotated[bool, Parameter(negative="")] = False
    count: str | None = None
    events: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    measures: Annotated[bool, Parameter(negative="")] = False
    json: Annotated[bool, Parameter(negative="")] = False


def checked_limit(limit: int | None) -> int | None:
    """Return a number of frames that `itertools.islice` accepts.

    Raises:
        InputError: The number is below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: must be at least 1")
    return None if limit is None else min(limit, sys.maxsize)
