"""Marks: where a person or a machine sees a joint in one frame of one view; the joints that follow; their store.

A joint is a number from 0 to 41: 21 keypoints of the right hand in MediaPipe's order, then 21 of the left.

The store is one SQLite file, written by several at once. History is only ever added to. `latest` holds, for each frame,
view, joint and annotator, the row of history that counts now; nobody writes another's rows. What `add` has returned is
on the disk (write-ahead log, synchronous).
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, get_args

import numpy as np

from sonjit.arrays import BoolArray, FloatArray
from sonjit.errors import InputError, JobError
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.triangulation.bones import PER_HAND, SIDES
from sonjit.multiview.triangulation.triangulation import triangulate
from sonjit.skeletons import load_skeleton

JOINTS: Final = 2 * PER_HAND
MACHINE: Final = "machine"
"""The annotator whose marks are a machine's."""

MarkState = Literal["seen", "occluded", "uncertain", "absent", "cleared"]
"""`occluded`: hidden, its place is estimated; `absent`: not in the image; `cleared`: the mark was deleted."""

MarkSource = Literal["H", "M", "H+M"]
"""By a human, by a machine, or by a machine and checked by a human."""

WEIGHTS: Final[Mapping[MarkState, float]] = {"seen": 1.0, "occluded": 0.5, "uncertain": 0.25}
"""Weight of a mark with a place in a triangulation."""

_LONGEST_NAME = 60
_LONGEST_ID = 64
_FARTHEST_PX = 1e6
_FRAMES = 1 << 53
_MEMBERS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("id", "view", "state", "source"), str),
    **dict.fromkeys(("frame", "joint"), int),
    **dict.fromkeys(("x", "y"), float),
}


_FAULTS = (sqlite3.Error, UnicodeDecodeError)
"""Of SQLite; the second where its own message quotes a damaged schema."""


@dataclass(frozen=True)
class Mark:
    """One mark.

    Attributes:
        id: given by its writer, unique; sent twice, it is written once.
        frame: number of the frame set.
        view: name of the camera.
        joint: 0 to 41.
        annotator: who.
        state: how it is seen.
        x, y: pixels of the view; None where absent or cleared.
        source: by whom the place was found.
        version: of the store when it was written; 0 before.
        time_s: since 1970, when it was written; 0 before.
    """

    id: str
    frame: int
    view: str
    joint: int
    annotator: str
    state: MarkState = "seen"
    x: float | None = None
    y: float | None = None
    source: MarkSource = "H"
    version: int = 0
    time_s: float = 0.0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: names the field and its value.
        """
        check_name("annotator", self.annotator)
        if not (0 < len(self.id) <= _LONGEST_ID and self.id.isprintable()):
            raise InputError(f"mark id {self.id[:80]!r}: give 1 to {_LONGEST_ID} printable characters")
        if not 0 <= self.frame < _FRAMES:
            raise InputError(f"mark {self.id}: frame {self.frame}; frames are numbers from 0")
        if not 0 <= self.joint < JOINTS:
            raise InputError(f"mark {self.id}: joint {self.joint}; joints are 0 to {JOINTS - 1}")
        for name, value, known in (("state", self.state, MarkState), ("source", self.source, MarkSource)):
            if value not in get_args(known):
                raise InputError(f"mark {self.id}: {name} {value!r}; known: {', '.join(get_args(known))}")
        if (self.source == "M") != (self.annotator == MACHINE):
            raise InputError(f"mark {self.id}: source {self.source} by {self.annotator}; M is what {MACHINE!r} writes")
        if not self.has_place:
            if self.x is not None or self.y is not None:
                raise InputError(f"mark {self.id}: {self.state} with a place; leave x and y out")
        elif not all(abs(value) < _FARTHEST_PX for value in self.xy_px):
            raise InputError(f"mark {self.id}: x {self.x} and y {self.y}; give pixels of the view")

    @property
    def has_place(self) -> bool:
        """Whether it has x and y."""
        return self.state in WEIGHTS

    @property
    def xy_px(self) -> tuple[float, float]:
        """Its place; NaN without."""
        return (math.nan, math.nan) if self.x is None or self.y is None else (self.x, self.y)

    @property
    def place(self) -> tuple[int, str, int, str]:
        """Its key, of which there is one mark: frame, view, joint, annotator."""
        return self.frame, self.view, self.joint, self.annotator


def check_name(what: str, name: str) -> str:
    """An annotator's or a project's name.

    Raises:
        InputError: empty, too long or not printable.
    """
    if not (0 < len(name) <= _LONGEST_NAME and name.isprintable() and name == name.strip()):
        raise InputError(f"{what} {name[:80]!r}: give 1 to {_LONGEST_NAME} printable characters")
    return name


def joint_names() -> tuple[str, ...]:
    """Names of all joints, such as `right_wrist`."""
    names = load_skeleton("hand_mediapipe21").keypoints
    return tuple(f"{side.lower()}_{name}" for side in SIDES for name in names)


def mark_from_dict(record: object, annotator: str) -> Mark:
    """A mark as a client sends it.

    Raises:
        InputError: a member is missing, unknown or of another type.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"a mark is an object, not {record!r:.60}")
    members: Mapping[Any, Any] = record  # pyright: ignore[reportUnknownVariableType]  # JSON
    given = {name: _member(name, value) for name, value in members.items() if value is not None}
    if missing := [name for name in ("id", "frame", "view", "joint") if name not in given]:
        raise InputError(f"a mark lacks {', '.join(missing)}")
    return Mark(annotator=annotator, **given)


def _member(name: object, value: object) -> Any:  # noqa: ANN401  # of a mark's own types
    kind = _MEMBERS.get(str(name))
    if kind is None:
        raise InputError(f"mark member {name!r:.60} is not known; known: {', '.join(_MEMBERS)}")
    if kind is float and type(value) in (int, float):
        return float(value)  # pyright: ignore[reportArgumentType]
    if type(value) is not kind:
        raise InputError(f"mark {name} {value!r:.60}: give {'text' if kind is str else 'a number'}")
    return value


class MarkRecord(TypedDict):
    """A `Mark` as JSON."""

    id: str
    frame: int
    view: str
    joint: int
    annotator: str
    state: MarkState
    x: float | None
    y: float | None
    source: MarkSource
    version: int
    time_s: float


def mark_to_dict(mark: Mark) -> MarkRecord:
    """As `mark_from_dict` reads it, with annotator, version and time."""
    return MarkRecord(**vars(mark))


@dataclass(frozen=True, eq=False)
class MarkTable:
    """The marks of one frame set as arrays over cameras, in the rig's order, and joints.

    Attributes:
        points_px: (C, 42, 2) NaN where there is none.
        weights: (C, 42) of each; 0 where there is none.
    """

    points_px: FloatArray
    weights: FloatArray

    @property
    def valid(self) -> BoolArray:
        """(C, 42) which marks have a place."""
        return self.weights > 0


def table_of_marks(rig: CameraRig, marks: Iterable[Mark]) -> MarkTable:
    """The median of all marks of a view and joint; views that are not in the rig are left out.

    Args:
        rig: the cameras.
        marks: of one frame set, of one annotator or of several.
    """
    places: dict[tuple[int, int], list[Mark]] = {}
    views = {name: number for number, name in enumerate(rig.names)}
    for mark in marks:
        if mark.has_place and mark.view in views:
            places.setdefault((views[mark.view], mark.joint), []).append(mark)
    points = np.full((len(rig), JOINTS, 2), np.nan)
    weights = np.zeros((len(rig), JOINTS))
    for place, group in places.items():
        points[place] = np.median([mark.xy_px for mark in group], axis=0)
        weights[place] = np.mean([WEIGHTS.get(mark.state, 0.0) for mark in group])
    return MarkTable(points, weights)


_LINE_POINTS = 24


@dataclass(frozen=True, eq=False)
class SolvedJoints:
    """The joints of one frame set, triangulated.

    Attributes:
        points_m: (42, 3) in the world; NaN for joints with fewer than two marks.
        sigma_m: (42,) how well each is known: the root of its covariance's trace; NaN.
        residual_px: (C, 42) from each mark to the joint's projection; NaN without mark.
        projected_px: (C, 42, 2) in every view; NaN where unknown or not before the camera.
    """

    points_m: FloatArray
    sigma_m: FloatArray
    residual_px: FloatArray
    projected_px: FloatArray


def solve_joints(rig: CameraRig, table: MarkTable) -> SolvedJoints:
    """Joints from marks, by `triangulate` with the marks' weights; all marks count, residuals are shown."""
    found = triangulate(rig, table.points_px, table.valid, np.where(table.valid, table.weights, 1.0))
    sigma = np.sqrt(np.trace(found.covariance_m2, axis1=-2, axis2=-1))
    return SolvedJoints(found.points_m, sigma, found.residual_px, rig.project(found.points_m))


def epipolar_lines(rig: CameraRig, table: MarkTable, joint: int) -> dict[str, FloatArray]:
    """Epipolar lines (N, 2) in pixels by view, of a joint that is marked in one view alone."""
    (marked,) = np.nonzero(table.valid[:, joint])
    if len(marked) != 1:
        return {}
    own = rig.cameras[int(marked[0])]
    lines = {
        other.name: own.epipolar_line(table.points_px[marked[0], joint], other, points=_LINE_POINTS)
        for other in rig
        if other is not own
    }
    return {name: line for name, line in lines.items() if len(line)}


VERSION: Final = 1
_BUSY_S: Final = 20.0
_COLUMNS: Final = "id, frame, view, joint, annotator, state, x, y, source, version, time_s"
_TABLES: Final = """
CREATE TABLE history (
    version INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, frame INTEGER NOT NULL, view TEXT NOT NULL,
    joint INTEGER NOT NULL, annotator TEXT NOT NULL, state TEXT NOT NULL, x REAL, y REAL, source TEXT NOT NULL,
    time_s REAL NOT NULL);
CREATE TABLE latest (
    frame INTEGER NOT NULL, annotator TEXT NOT NULL, joint INTEGER NOT NULL, view TEXT NOT NULL,
    version INTEGER NOT NULL REFERENCES history, PRIMARY KEY (frame, annotator, joint, view)) WITHOUT ROWID;
CREATE TABLE needs (frame INTEGER PRIMARY KEY, score REAL NOT NULL, why TEXT NOT NULL);
CREATE INDEX history_by_frame ON history (frame, version);
"""


@dataclass(frozen=True)
class WriteResult:
    """What became of one mark that was sent.

    Attributes:
        mark: as the store has it now: the one sent, or where `written` is false the one that was there already.
        written: now, or when the same id was sent before.
    """

    mark: Mark
    written: bool


@dataclass(frozen=True)
class Need:
    """How much a frame needs attention: the higher the more, and why."""

    score: float
    why: str = ""


class AnnotationStore:
    """All marks of a project.

    Args:
        path: the file; created where it is missing.

    Raises:
        InputError: the file cannot be written, is not such a store, or comes from a newer Sonjit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        except _FAULTS as error:
            raise InputError(f"{path} cannot be opened: {error}; make its folder writable") from None
        try:
            self._begin()
        except _FAULTS as error:
            self._database.close()
            raise InputError(f"{path} cannot be used: {error}; is the folder writable and the file a store?") from None
        except InputError:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            self._database.close()

    @property
    def version(self) -> int:
        """Number of the newest row of history; 0 for an empty store."""
        return int(self._read("SELECT coalesce(max(version), 0) FROM history")[0][0])

    def add(self, marks: Sequence[Mark], bases: Sequence[int | None] = ()) -> list[WriteResult]:
        """Write marks, all or, where the disk refuses, none.

        Args:
            marks: new ones.
            bases: for each mark, the version of the one that its writer saw there: 0 for none, None for whatever
                it is. Where another one is by now, nothing is written for that mark.

        Raises:
            InputError: an id that was used for another mark.
            JobError: the disk is full, or another program holds the store.
        """
        wanted = list(bases) or [None] * len(marks)
        if len(wanted) != len(marks):
            raise InputError(f"{len(wanted)} bases for {len(marks)} marks: give one each")
        with self._writing():
            return [self._add(mark, base) for mark, base in zip(marks, wanted, strict=True)]

    def marks(self, frame: int | None = None, annotator: str | None = None) -> list[Mark]:
        """The marks that count now, without cleared ones; of one frame, of one annotator, or all."""
        where = "WHERE (?1 IS NULL OR l.frame = ?1) AND (?2 IS NULL OR l.annotator = ?2) AND h.state <> 'cleared'"
        if frame is not None:  # lets SQLite use the key
            where = where.replace("(?1 IS NULL OR l.frame = ?1)", "l.frame = ?1")
        columns = ", ".join(f"h.{name}" for name in _COLUMNS.split(", "))
        rows = self._read(f"SELECT {columns} FROM latest l JOIN history h USING (version) {where}", (frame, annotator))
        return [self._mark(row) for row in rows]

    def history(self, frame: int | None = None) -> list[Mark]:
        """Every mark ever written, in order."""
        where = "" if frame is None else "WHERE frame = ?"
        given = () if frame is None else (frame,)
        return [
            self._mark(row) for row in self._read(f"SELECT {_COLUMNS} FROM history {where} ORDER BY version", given)
        ]

    def changed_frames(self, since: int) -> dict[int, tuple[str, ...]]:
        """Frames written to after a version, and by whom."""
        found: dict[int, list[str]] = {}
        for frame, name in self._read("SELECT DISTINCT frame, annotator FROM history WHERE version > ?", (since,)):
            found.setdefault(frame, []).append(name)
        return {frame: tuple(sorted(names)) for frame, names in sorted(found.items())}

    def annotators(self) -> list[str]:
        """All annotators but the machine."""
        rows = self._read("SELECT DISTINCT annotator FROM latest WHERE annotator <> ? ORDER BY annotator", (MACHINE,))
        return [name for (name,) in rows]

    def triangulable(self) -> dict[int, int]:
        """For each frame with human marks: how many joints have a place in two views or more, by one annotator."""
        rows = self._read(
            "SELECT frame, count(DISTINCT CASE WHEN views > 1 THEN joint END) FROM (SELECT l.frame AS frame,"
            " l.joint AS joint, sum(h.x IS NOT NULL) AS views FROM latest l JOIN history h USING (version)"
            " WHERE l.annotator <> ? AND h.state <> 'cleared' GROUP BY l.frame, l.annotator, l.joint) GROUP BY frame",
            (MACHINE,),
        )
        return dict(rows)

    def hands(self) -> int:
        """Of how many hands, the right and the left, people have marked any joint's place: 0 to 2."""
        asked = (
            "SELECT count(DISTINCT l.joint >= ?) FROM latest l JOIN history h USING (version) WHERE l.annotator <> ?"
        )
        return self._read(f"{asked} AND h.x IS NOT NULL", (PER_HAND, MACHINE))[0][0]

    def needs(self) -> dict[int, Need]:
        """How much frames need attention, where that was ranked."""
        return {frame: Need(*rest) for frame, *rest in self._read("SELECT frame, score, why FROM needs")}

    def set_needs(self, needs: Mapping[int, Need]) -> None:
        """Replace the ranking.

        Raises:
            JobError: as for `add`.
        """
        rows = [(frame, need.score, need.why) for frame, need in needs.items()]
        with self._writing():
            self._database.execute("DELETE FROM needs")
            self._database.executemany("INSERT INTO needs VALUES (?, ?, ?)", rows)

    def forget(self, annotator: str) -> None:
        """Let no mark of an annotator count any more; history keeps them.

        Raises:
            JobError: as for `add`.
        """
        with self._writing():
            self._database.execute("DELETE FROM latest WHERE annotator = ?", (annotator,))

    def _begin(self) -> None:
        (version,) = self._rows("PRAGMA user_version")[0]
        if version > VERSION:
            raise InputError(
                f"{self.path} was written by a newer Sonjit (version {version}, known {VERSION}): update Sonjit"
            )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        with self._transaction():  # of several that open a new store at once, one makes the tables
            (version,) = self._rows("PRAGMA user_version")[0]
            if version == 0:
                for statement in _TABLES.split(";\n"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {VERSION}")

    def _add(self, mark: Mark, base: int | None) -> WriteResult:
        if known := self._rows(f"SELECT {_COLUMNS} FROM history WHERE id = ?", (mark.id,)):
            old = self._mark(known[0])
            if replace(old, version=0, time_s=0) != replace(mark, version=0, time_s=0):
                raise InputError(f"mark id {mark.id!r} was used for another mark: give each its own")
            return WriteResult(old, written=True)
        there = self._rows(
            f"SELECT {_COLUMNS} FROM history WHERE version ="
            " (SELECT version FROM latest WHERE frame = ? AND view = ? AND joint = ? AND annotator = ?)",
            mark.place,
        )
        current = self._mark(there[0]) if there else replace(mark, state="cleared", x=None, y=None)
        if base is not None and base != current.version and not (base == 0 and current.state == "cleared"):
            return WriteResult(current, written=False)
        new = replace(mark, time_s=time.time())
        row = [getattr(new, name) for name in _COLUMNS.split(", ")]
        row[9] = None
        cursor = self._database.execute(f"INSERT INTO history ({_COLUMNS}) VALUES ({', '.join('?' * 11)})", row)
        version = int(cursor.lastrowid or 0)
        self._database.execute(
            "INSERT OR REPLACE INTO latest (frame, view, joint, annotator, version) VALUES (?, ?, ?, ?, ?)",
            (*mark.place, version),
        )
        return WriteResult(replace(new, version=version), written=True)

    def _read(self, statement: str, given: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._rows(statement, given)
        except _FAULTS as error:
            raise InputError(f"{self.path} is damaged: {error}; take a copy of it from before") from None

    def _mark(self, row: Sequence[Any]) -> Mark:
        try:
            return Mark(*row)
        except (InputError, TypeError, ValueError) as error:
            raise InputError(f"{self.path} is damaged: {error}; take a copy of it from before") from None

    def _rows(self, statement: str, given: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(statement, given).fetchall()

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            with self._lock, self._transaction():
                yield
        except _FAULTS as error:
            raise JobError(f"{self.path} cannot be written: {error}; free space or close what holds it") from None

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
