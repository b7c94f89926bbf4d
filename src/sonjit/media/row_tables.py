"""Frames as rows, one per frame × instance × keypoint, and their CSV form (RFC 4180)."""

from __future__ import annotations

import csv
import math
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.errors import InputError
from sonjit.media.frame_writer import FrameWriter
from sonjit.media.outputs import Draft, failing_as_job
from sonjit.results import Frame, Hand, shortest_floats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

COLUMNS = (
    *("frame", "time", "instance", "id", "kind", "handedness", "score"),
    *("keypoint", "name", "x", "y", "z", "x_m", "y_m", "z_m", "visibility"),
)
"""`instance` counts the hands of one frame, `keypoint` the points of one hand; x, y, z are pixels, x_m, y_m, z_m
metres. A frame with nothing found keeps one row with only `frame` and `time` (and `source`)."""

SOURCE_COLUMN = "source"
"""The last column for a folder of stills: the picture's file."""

Row = tuple[Any, ...]


def rows_from_frame(frame: Frame, *, with_source: bool) -> list[Row]:
    """The rows of one frame as plain Python values; unknown is `None`, never NaN."""
    source = (frame.source,) if with_source else ()
    if not frame.hands:
        return [(frame.index, frame.time, *(None,) * (len(COLUMNS) - 2), *source)]
    rows: list[Row] = []
    for instance, hand in enumerate(frame.hands):
        start = (frame.index, frame.time, instance, hand.id, hand.kind, hand.handedness, _known(hand.score))
        points = np.hstack([hand.keypoints, hand.keypoints_3d])  # (21, 6)
        values = [[_known(value) for value in row] for row in shortest_floats(points)]
        names = hand.skeleton.keypoints
        rows += [
            (*start, k, name, *row, None, *source) for k, (name, row) in enumerate(zip(names, values, strict=True))
        ]
    return rows


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def frames_from_rows(rows: Iterable[dict[str, Any]]) -> list[Frame]:
    """The frames whose rows these are, in their order; columns by name, unknown as `None`."""
    frames: list[Frame] = []
    for (index, time, source), of_frame in groupby(
        rows, key=lambda row: (row["frame"], row["time"], row.get(SOURCE_COLUMN))
    ):
        frame = Frame(index, time, [], source)
        for instance, of_hand in groupby(of_frame, key=lambda row: row["instance"]):
            if instance is not None:
                frame.hands.append(_hand_from_rows(list(of_hand)))
        frames.append(frame)
    return frames


def _hand_from_rows(rows: list[dict[str, Any]]) -> Hand:
    first = rows[0]
    if first["kind"] != Hand.kind:
        raise InputError(f"frame {first['frame']}: unknown kind {first['kind']!r} of instance")
    if [row["keypoint"] for row in rows] != list(range(21)):
        raise InputError(f"frame {first['frame']}, instance {first['instance']}: a hand has keypoints 0..20 in order")

    def points(*axes: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.array([[np.nan if row[a] is None else row[a] for a in axes] for row in rows], np.float32)  # (21, 3)

    return Hand(first["handedness"], first["score"], points("x", "y", "z"), points("x_m", "y_m", "z_m"), first["id"])


class CsvWriter(FrameWriter):
    """RFC 4180: comma, CRLF, UTF-8, one line of column names."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._draft = Draft(path)
        self._file = self._draft.draft.open("w", encoding="utf-8", newline="", errors="surrogateescape")
        self._csv = csv.writer(self._file)
        self._with_source: bool | None = None

    def write(self, frame: Frame) -> None:
        """Append the rows of one frame; the first frame decides whether there is a `source` column."""
        with failing_as_job(self._draft.final):
            self._csv.writerows(rows_from_frame(frame, with_source=self._begin(frame.source is not None)))

    def _begin(self, with_source: bool) -> bool:
        if self._with_source is None:
            self._with_source = with_source
            self._csv.writerow((*COLUMNS, SOURCE_COLUMN) if with_source else COLUMNS)
        return self._with_source

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            self._begin(False)
            self._file.close()
        self._draft.keep()

    def _abort(self) -> None:
        try:
            self._file.close()
        except OSError:  # a full disk refuses the rest of the buffer once more
            pass
        finally:
            self._draft.drop()


_PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("frame", "instance", "id", "keypoint"), int),
    **dict.fromkeys(("time", "score", "x", "y", "z", "x_m", "y_m", "z_m", "visibility"), float),
}


def load_csv(path: Path) -> list[Frame]:
    """Read what CsvWriter wrote."""
    with path.open(encoding="utf-8", newline="", errors="surrogateescape") as file:
        reader = csv.DictReader(file, strict=True)
        if missing := set(COLUMNS) - set(reader.fieldnames or ()):
            raise InputError(f"{path}: columns are missing: {', '.join(sorted(missing))}")
        return frames_from_rows(
            {name: _PARSERS.get(name, str)(text) if text else None for name, text in row.items()} for row in reader
        )
