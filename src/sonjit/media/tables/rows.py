"""Read frames from rows."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from sonjit._util import InputError
from sonjit._util.extensions import load_extensions
from sonjit.media.tables.layout import ERROR_COLUMN, SOURCE_COLUMN, VALUES
from sonjit.results import RESULT_TYPES, Body, Face, Frame, Hand, Person, Result

RowRecord: TypeAlias = "Mapping[str, Any]"  # a row's values by the columns' names


def frames_from_rows(rows: Iterable[RowRecord], *, people: bool = False) -> list[Frame]:
    """Convert rows, as columns by name with None for unknown values, to frames in order.

    Bodies become people if `people`, or if any body is followed by a hand or face of its index, which only parts are.
    """
    frames: list[tuple[Frame, list[tuple[int, Result]]]] = []
    by_frame = groupby(rows, key=lambda row: (row["frame"], row["time"], row.get(SOURCE_COLUMN)))
    for (index, time, source), of_frame in by_frame:
        frames.append((Frame(index, time, source=source), [_instance(group) for group in _groups(of_frame)]))
    people = people or any(_after_body(numbered_results) for _, numbered_results in frames)
    for frame, numbered_results in frames:
        for number, result in numbered_results:
            _put(frame, number, result, people=people)
    return [frame for frame, _ in frames]


def _groups(rows: Iterable[RowRecord]) -> list[list[RowRecord]]:
    """Return the rows of each instance of a frame. Keypoint 0 starts a new instance."""
    groups: list[list[RowRecord]] = []
    for row in rows:
        if row["instance"] is not None:
            if row["keypoint"] == 0 or not groups:
                groups.append([])
            groups[-1].append(row)
    return groups


def _instance(rows: list[RowRecord]) -> tuple[int, Result]:
    """Convert the rows of an instance to its index and result."""
    first = rows[0]
    number, kind = first["instance"], first["kind"]
    where = f"frame {first['frame']}, instance {number}"
    if all(result.kind != kind for result in RESULT_TYPES.values()):
        load_extensions()
    result_type = next(
        (result for result in RESULT_TYPES.values() if result.kind == kind and result is not Person), None
    )
    if result_type is None:
        raise InputError(f"{where}: unknown kind {kind!r}")
    counts = tuple(result_type.skeletons)
    points_of_kind = [(number, kind, k) for k in range(len(rows))]
    if [(row["instance"], row["kind"], row["keypoint"]) for row in rows] != points_of_kind or len(rows) not in counts:
        raise InputError(f"{where}: a {kind} has {' or '.join(map(str, counts))} keypoints in order")
    columns = {
        name: np.array([np.nan if row.get(name) is None else row[name] for row in rows], np.float32)
        for name in (*VALUES, ERROR_COLUMN)
    }
    return number, result_type.from_columns(first, columns)


def _after_body(numbered_results: list[tuple[int, Result]]) -> bool:
    """Check whether a body is followed by a hand or face of the same index."""
    bodies: set[int] = set()
    for number, result in numbered_results:
        if isinstance(result, Body):
            bodies.add(number)
        elif number in bodies:
            return True
    return False


def _put(frame: Frame, number: int, result: Result, *, people: bool) -> None:
    """Add an instance to its list, or to the person whose body came right before it."""
    if people and isinstance(result, Body):
        frame.people.append(Person(result))
    elif people and frame.people and isinstance(result, (Hand, Face)):
        slot = "face" if isinstance(result, Face) else f"{result.handedness.lower()}_hand"
        person = frame.people[-1]
        if number != len(frame.people) - 1 or getattr(person, slot) is not None:
            raise InputError(f"frame {frame.index}: {slot} {number} belongs to no body, or its body has one already")
        setattr(person, slot, result)
    else:
        frame.add([result])
