"""The first sheet of a workbook: what a report states, and the repetitions as numbers."""

import math
from collections.abc import Sequence

from sonjit.media.tables.base import Summary
from sonjit.report import contents
from sonjit.report.recording import SIDES, Bend, Recording


def summary_of(recordings: Sequence[Recording]) -> Summary:
    """Return the sheet about the people of one video, in the language of the recordings.

    Times are in seconds, angles in degrees. The table has a row for each repetition of each person.
    """
    first = recordings[0]
    several = len(recordings) > 1
    headings = ("number", "joint", "begin s", "end s", "deepest at s", "left °", "right °", "angle error °")
    people = [contents.person_of(recording) for recording in recordings]
    rows = [
        (*((person,) if several else ()), number, recording.text(joint), *_cells(recording, bend))
        for person, recording in zip(people, recordings, strict=True)
        for joint, bends in recording.bends.items()
        for number, bend in enumerate(bends, 1)
    ]
    lead = [
        f"{person}: {recording.headline}." if several else f"{recording.headline}."
        for person, recording in zip(people, recordings, strict=True)
    ]
    names = [*((first.text("person"),) if several else ()), *map(first.text, headings)]
    facts = [(first.text("file"), first.name)]
    for person, recording in zip(people, recordings, strict=True):
        facts.append((person, contents.facts_of(recording)))
        facts += [(recording.text("left and right"), recording.sides)] if recording.sides else []
        facts += [
            (recording.text("Not counted"), f"{name}, {time} s: {why}") for name, time, why in recording.incomplete
        ]
    method = contents.method_of(first)
    facts += zip([first.text("How it was measured"), *[""] * (len(method) - 1)], method, strict=True)
    return Summary(first.text("Summary"), lead, names if rows else (), rows, facts)


def _cells(recording: Recording, bend: Bend) -> tuple[float | None, ...]:
    """Return the times, the smallest angle of each side, and the error of the deepest one."""
    sides = {name.partition("_")[0]: value for name, (value, _) in bend.lowest.items()}
    times = bend.begin_s, bend.end_s, bend.lowest[bend.deepest][1]
    error = recording.errors_deg[bend.deepest]
    return (
        *(round(time, 3) for time in times),
        *(round(sides[side], 1) if side in sides else None for side in SIDES),
        round(error, 1) if math.isfinite(error) else None,
    )
