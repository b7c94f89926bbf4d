"""The options that every finding command shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Group, Parameter

OUTPUT = Group("Output", sort_key=1)
FINDING = Group("Finding", sort_key=2)
RUNNING = Group("Running", sort_key=3)

FileName: TypeAlias = str | Path
"""Comes as it was typed, a str; the Path lets shells complete it."""

Input = Annotated[FileName, Parameter(name="INPUT", allow_leading_hyphen=True)]  # - is standard input


@Parameter(name="*", group=RUNNING)
@dataclass(frozen=True)
class Several:
    """How to go through the inputs.

    Attributes:
        limit: Stop after so many frames of each input file.
        jobs: Processes for several files, a folder or a glob; they share the cores.
        workers: A pool of processes here; or ray, or ray:ADDRESS, a cluster whose machines see the files under the same
            paths.
        timing: Print how long reading, finding and writing took for each image.
    """

    limit: int | None = None
    jobs: int = 1
    workers: str = "pool"
    timing: Annotated[bool, Parameter(negative="")] = False


SEVERAL = Several()


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True)
class Output:
    """What becomes of an input.

    Attributes:
        save: Table to write: .json, .jsonl, .csv or .parquet. Of many files one table, a
            folder, or a name with {name} in it such as 'tables/{name}.csv'.
        draw: Image, video, or GIF or WebP that loops, to write with what was found drawn in; for many files a folder.
        count: Count repetitions of an angle, e.g. left_knee_angle_rad for squats, or with limits in degrees
            left_elbow_angle_rad:70:140; drawn, and a column of the table.
        measures: Add angles, distances and gestures to the table, and gestures to the drawing.
        json: Print a line of JSON for each frame on standard output, for other programs.
    """

    save: Annotated[FileName | None, Parameter(allow_leading_hyphen=True)] = None  # so that - gets a word of its own
    draw: FileName | None = None
    count: str | None = None
    measures: Annotated[bool, Parameter(negative="")] = False
    json: Annotated[bool, Parameter(negative="")] = False
