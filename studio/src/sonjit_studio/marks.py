"""Define, store and triangulate marks of joints in views, compare annotators and rank frame sets for review.

A mark is the position of a joint in one view of a frame set, set by a person or a machine. A joint is an index from 0
to 41: 21 keypoints of the right hand in MediaPipe's order, then 21 of the left.

Several processes write marks into one SQLite file. History is append-only. `latest` refers, for each frame, view, joint
and annotator, to the current row of history. Annotators write only their own rows. What `add` has returned is on the
disk (write-ahead log, synchronous).
"""

import math
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, cast, get_args

import numpy as np

from sonjit._util import BoolArray, FloatArray, InputError, JobError
from sonjit.results.skeletons import load_skeleton
from sonjit_studio import bones, triangulation
from sonjit_studio.rig import CameraRig

JOINTS: Final = 2 * bones.JOINTS_PER_HAND
MACHINE: Final = "machine"  # annotator name of machine marks
MarkState = Literal["seen", "occluded", "uncertain", "absent", "cleared"]
"""`occluded`: hidden, its position is estimated; `absent`: not in the image; `cleared`: the mark was deleted."""
MarkSource = Literal["H", "M", "H+M"]  # H: human; M: machine; H+M: machine, checked by a human
WEIGHTS: Final[Mapping[MarkState, float]] = {"seen": 1.0, "occluded": 0.5, "uncertain": 0.25}  # for triangulation
_MAX_NAME = 60
_MAX_ID = 64
_MAX_COORDINATE_PX = 1e6
_MAX_FRAMES = 1 << 53
_MEMBER_TYPES: Final[Mapping[str, type]] = {
    **dict.fromkeys(("id", "view", "state", "source"), str),
    **dict.fromkeys(("frame", "joint"), int),
    **dict.fromkeys(("x", "y"), float),
}
_LINE_POINTS = 24  # number of points of an epipolar line
THRESHOLDS_PX = (1.0, 2.0, 5.0, 10.0)  # distances for which the fraction of pairs below them is reported
CONFLICT_PX = 10.0  # distance of two marks above which they conflict
_SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # SQLite raises the second if its message quotes a damaged schema
VERSION: Final = 1
_LOCK_TIMEOUT_S: Final = 20.0
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
class Mark:
    """One mark."""

    id: str
    frame: int
    view: str
    joint: int  # index from 0 to 41
    annotator: str
    state: MarkState = "seen"
    x: float | None = None  # pixels of the view, None if absent or cleared, as `y`
    y: float | None = None
    source: MarkSource = "H"
    version: int = 0  # of the store at which it was written, 0 before
    time_s: float = 0.0  # of writing since 1970, 0 before

    def __post_init__(self) -> None:
        """Check every field."""
        check_name("annotator", self.annotator)
        if not (0 < len(self.id) <= _MAX_ID and self.id.isprintable()):
            raise InputError(f"mark id {self.id[:80]!r}: give 1 to {_MAX_ID} printable characters")
        if not 0 <= self.frame < _MAX_FRAMES:
            raise InputError(f"mark {self.id}: frame {self.frame}; frames are numbers from 0")
        if not 0 <= self.joint < JOINTS:
            raise InputError(f"mark {self.id}: joint {self.joint}; joints are 0 to {JOINTS - 1}")
        for name, value, enum in (("state", self.state, MarkState), ("source", self.source, MarkSource)):
            if value not in get_args(enum):
                raise InputError(f"mark {self.id}: {name} {value!r}. Choose from {', '.join(get_args(enum))}")
        if (self.source == "M") != (self.annotator == MACHINE):
            raise InputError(
                f"mark {self.id}: source {self.source} by {self.annotator}; source M requires annotator {MACHINE!r}"
            )
        if not self.has_position:
            if self.x is not None or self.y is not None:
                raise InputError(f"mark {self.id}: state {self.state} requires no x and y")
        elif not all(abs(value) < _MAX_COORDINATE_PX for value in self.position_px):
            raise InputError(f"mark {self.id}: x {self.x} and y {self.y}; give pixels of the view")

    @property
    def has_position(self) -> bool:
        """Whether the mark has x and y."""
        return self.state in WEIGHTS

    @property
    def position_px(self) -> tuple[float, float]:
        """Position in pixels, NaN without one."""
        return (math.nan, math.nan) if self.x is None or self.y is None else (self.x, self.y)

    @property
    def key(self) -> tuple[int, str, int, str]:
        """Key of the mark, unique among current marks: frame, view, joint, annotator."""
        return self.frame, self.view, self.joint, self.annotator


def check_name(what: str, name: str) -> str:
    """Check an annotator's or a project's name and return it."""
    if not (0 < len(name) <= _MAX_NAME and name.isprintable() and name == name.strip()):
        raise InputError(f"{what} {name[:80]!r}: give 1 to {_MAX_NAME} printable characters")
    return name


def joint_names() -> tuple[str, ...]:
    """Return the names of all joints, such as `right_wrist`."""
    names = load_skeleton("hand_mediapipe21").keypoints
    return tuple(f"{side.lower()}_{name}" for side in bones.SIDES for name in names)


def mark_from_dict(record: object, annotator: str) -> Mark:
    """Parse a mark of a client. Raise an InputError if a member is missing, unknown or of another type."""
    if not isinstance(record, Mapping):
        raise InputError(f"a mark is an object, not {record!r:.60}")
    members: dict[str, Any] = {}
    for name, value in cast("Mapping[Any, Any]", record).items():
        kind = _MEMBER_TYPES.get(str(name))
        if kind is None and value is not None:
            raise InputError(f"unknown mark member {name!r:.60}. Choose from {', '.join(_MEMBER_TYPES)}")
        if kind is float and type(value) is int:
            value = float(value) if abs(value) < _MAX_COORDINATE_PX else math.inf  # huge ones are no floats
        if value is not None and type(value) is not kind:
            raise InputError(f"mark {name} {value!r:.60}: give {'text' if kind is str else 'a number'}")
        members |= {} if value is None else {name: value}
    if missing := [name for name in ("id", "frame", "view", "joint") if name not in members]:
        raise InputError(f"a mark lacks {', '.join(missing)}")
    return Mark(annotator=annotator, **members)


@dataclass(frozen=True, eq=False)
class MarkTable:
    """The marks of one frame set as arrays over cameras, in the rig's order, and joints."""

    points_px: FloatArray  # (C, 42, 2), NaN without a mark
    weights: FloatArray  # (C, 42), 0 without a mark

    @property
    def valid(self) -> BoolArray:
        """Which marks (C, 42) have a position."""
        return self.weights > 0


def mark_table(rig: CameraRig, marks: Iterable[Mark]) -> MarkTable:
    """Return the median of all marks of each view and joint. Views outside the rig are ignored."""
    groups: dict[tuple[int, int], list[Mark]] = {}
    views = {name: number for number, name in enumerate(rig.names)}
    for mark in marks:
        if mark.has_position and mark.view in views:
            groups.setdefault((views[mark.view], mark.joint), []).append(mark)
    points = np.full((len(rig), JOINTS, 2), np.nan)
    weights = np.zeros((len(rig), JOINTS))
    for entry, group in groups.items():
        points[entry] = np.median([mark.position_px for mark in group], axis=0)
        weights[entry] = np.mean([WEIGHTS.get(mark.state, 0.0) for mark in group])
    return MarkTable(points, weights)


def solve_joints(rig: CameraRig, table: MarkTable) -> triangulation.Triangulation:
    """Triangulate joints (42,) from all marks with their weights. Residuals reveal wrong marks."""
    return triangulation.triangulate(rig, table.points_px, table.valid, np.where(table.valid, table.weights, 1.0))


def epipolar_lines(rig: CameraRig, table: MarkTable, joint: int) -> dict[str, FloatArray]:
    """Return epipolar lines (N, 2) in pixels by view, for a joint that is marked in only one view."""
    (marked,) = np.nonzero(table.valid[:, joint])
    if len(marked) != 1:
        return {}
    camera = rig.cameras[int(marked[0])]
    point = table.points_px[marked[0], joint]
    others = (other for other in rig if other is not camera)
    lines = {other.name: camera.epipolar_line(point, other, points=_LINE_POINTS) for other in others}
    return {name: line for name, line in lines.items() if len(line)}


class Distances(TypedDict):
    """Distances in pixels of pairs of marks that both have a position, and fractions `within` each threshold."""

    pairs: int
    mean_px: float | None
    median_px: float | None
    p95_px: float | None
    within: dict[str, float]


class Statistics(Distances):
    """Distances of pairs of marks, and the fraction of the pairs (`states`) with the same state."""

    same_state: float | None
    states: int


class Agreement(TypedDict):
    """Agreement of people over all pairs of their marks, by joint and by pair of annotators."""

    thresholds_px: list[float]
    all: Statistics
    joints: dict[str, Distances]
    annotators: dict[str, Statistics]


class Conflict(TypedDict):
    """Disagreement of people on one joint in one view, and the largest distance of their marks in pixels."""

    view: str
    joint: int
    annotators: list[str]
    apart_px: float | None


def agreement(marks: Iterable[Mark], thresholds_px: Sequence[float] = THRESHOLDS_PX) -> Agreement:
    """Measure the agreement between human annotators. Machine and cleared marks are ignored.

    Distances of pairs of marks of `all`, by `joints` and by `annotators` ("Ann | Ben") are pixels, None without pairs,
    and fractions `within` each of `thresholds_px`.
    """
    by_pair: dict[tuple[str, str], list[tuple[Mark, Mark]]] = {}
    for group in _groups(marks):
        for first, second in combinations(group, 2):
            by_pair.setdefault((first.annotator, second.annotator), []).append((first, second))
    pairs = [pair for marked in by_pair.values() for pair in marked]
    by_joint = {joint: [pair for pair in pairs if pair[0].joint == joint] for joint in range(JOINTS)}
    of_joints = {joint_names()[joint]: _distances(marked, thresholds_px) for joint, marked in by_joint.items()}
    of_pairs = {" | ".join(names): marked for names, marked in sorted(by_pair.items())}
    return {
        "thresholds_px": list(thresholds_px),
        "all": _statistics(pairs, thresholds_px),
        "joints": {name: distances for name, distances in of_joints.items() if distances["pairs"]},
        "annotators": {names: _statistics(marked, thresholds_px) for names, marked in of_pairs.items()},
    }


def conflicts(marks: Iterable[Mark]) -> list[Conflict]:
    """Return the disagreements of people in one frame set on a position or visibility, the largest distance first."""
    disagreements: list[Conflict] = []
    for group in _groups(marks):
        positions = np.array([mark.position_px for mark in group if mark.has_position])
        apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1) if len(positions) > 1 else None
        distance = None if apart is None else float(apart.max())
        if (distance is not None and distance > CONFLICT_PX) or 0 < len(positions) < len(group):
            people = [mark.annotator for mark in group]
            disagreements.append(
                Conflict(view=group[0].view, joint=group[0].joint, annotators=people, apart_px=distance)
            )
    return sorted(disagreements, key=lambda conflict: -(conflict["apart_px"] or 0))


def _groups(marks: Iterable[Mark]) -> list[list[Mark]]:
    """Group people's marks of the same joint and image if there are several, ordered by annotator."""
    groups: dict[tuple[int, str, int], list[Mark]] = {}
    for mark in marks:
        if mark.annotator != MACHINE and mark.state != "cleared":
            groups.setdefault((mark.frame, mark.view, mark.joint), []).append(mark)
    return [sorted(group, key=lambda mark: mark.annotator) for group in groups.values() if len(group) > 1]


def _statistics(pairs: Sequence[tuple[Mark, Mark]], thresholds_px: Sequence[float]) -> Statistics:
    same_state = float(np.mean([a.state == b.state for a, b in pairs])) if pairs else None
    return {**_distances(pairs, thresholds_px), "same_state": same_state, "states": len(pairs)}


def _distances(pairs: Sequence[tuple[Mark, Mark]], thresholds_px: Sequence[float]) -> Distances:
    """Return statistics of the distances of those pairs of marks that both have a position."""
    ends = [(a.position_px, b.position_px) for a, b in pairs if a.has_position and b.has_position]
    apart = np.array(ends, np.float64).reshape(-1, 2, 2)
    px = np.linalg.norm(apart[:, 0] - apart[:, 1], axis=1)
    if not len(px):
        return {"pairs": 0, "mean_px": None, "median_px": None, "p95_px": None, "within": {}}
    return {
        "pairs": len(px),
        "mean_px": float(px.mean()),
        "median_px": float(np.median(px)),
        "p95_px": float(np.percentile(px, 95)),
        "within": {f"{threshold:g}": float((px <= threshold).mean()) for threshold in thresholds_px},
    }


@dataclass(frozen=True)
class ReviewPriority:
    """How much a frame set needs review, and why. Higher scores come first."""

    score: float
    why: str = ""


@dataclass(frozen=True)
class WriteResult:
    """Result of writing one mark."""

    mark: Mark  # current mark in the store: the one sent, or the existing one if `written` is false
    written: bool  # True if the mark was written, now or when the same id was sent before


class AnnotationStore:
    """All marks of a project."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(path, _LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except _SQLITE_ERRORS as error:
            raise InputError(f"{path} cannot be opened: {error}; make its folder writable") from None
        try:
            self._initialize()
        except (*_SQLITE_ERRORS, InputError) as error:
            self._database.close()
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} cannot be used: {error}; is the folder writable and the file a store?") from None

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._lock:
            self._database.close()

    @property
    def version(self) -> int:
        """Number of the newest row of history, 0 for an empty store."""
        return int(self._read("SELECT coalesce(max(version), 0) FROM history")[0][0])

    def add(self, marks: Sequence[Mark], bases: Sequence[int | None] = ()) -> list[WriteResult]:
        """Write all marks or none, except those whose base is not current.

        `bases`: version of the mark that each writer saw: 0 for none, None for any.
        """
        with self._writing():
            return [self._add(mark, base) for mark, base in zip(marks, bases or [None] * len(marks), strict=True)]

    def marks(self, frame: int | None = None) -> list[Mark]:
        """Return the current marks without cleared ones, of one frame or all."""
        where, parameters = ("", ()) if frame is None else ("l.frame = ? AND ", (frame,))
        columns = ", ".join(f"h.{name}" for name in _COLUMNS.split(", "))
        query = f"SELECT {columns} FROM latest l JOIN history h USING (version) WHERE {where} h.state <> 'cleared'"
        return [self._mark(row) for row in self._read(query, parameters)]

    def history(self, frame: int | None = None) -> list[Mark]:
        """Return every mark ever written, in order."""
        where, parameters = ("", ()) if frame is None else ("WHERE frame = ?", (frame,))
        rows = self._read(f"SELECT {_COLUMNS} FROM history {where} ORDER BY version", parameters)
        return [self._mark(row) for row in rows]

    def changed_frames(self, since: int) -> dict[int, tuple[str, ...]]:
        """Return the frames written after a version, with their annotators."""
        annotators: dict[int, list[str]] = {}
        for frame, name in self._read("SELECT DISTINCT frame, annotator FROM history WHERE version > ?", (since,)):
            annotators.setdefault(frame, []).append(name)
        return {frame: tuple(sorted(names)) for frame, names in sorted(annotators.items())}

    def annotators(self) -> list[str]:
        """Return all annotators but the machine."""
        rows = self._read("SELECT DISTINCT annotator FROM latest WHERE annotator <> ? ORDER BY annotator", (MACHINE,))
        return [name for (name,) in rows]

    def triangulable(self) -> dict[int, int]:
        """Return the number of joints that one annotator marked in two or more views, by frame with human marks."""
        rows = self._read(
            "SELECT frame, count(DISTINCT CASE WHEN views > 1 THEN joint END) FROM (SELECT l.frame AS frame,"
            " l.joint AS joint, sum(h.x IS NOT NULL) AS views FROM latest l JOIN history h USING (version)"
            " WHERE l.annotator <> ? AND h.state <> 'cleared' GROUP BY l.frame, l.annotator, l.joint) GROUP BY frame",
            (MACHINE,),
        )
        return dict(rows)

    def review_priorities(self) -> dict[int, ReviewPriority]:
        """Return the review priorities of ranked frames."""
        return {frame: ReviewPriority(*fields) for frame, *fields in self._read("SELECT frame, score, why FROM needs")}

    def set_review_priorities(self, priorities: Mapping[int, ReviewPriority]) -> None:
        """Replace the review priorities."""
        with self._writing():
            self._database.execute("DELETE FROM needs")
            rows = ((frame, priority.score, priority.why) for frame, priority in priorities.items())
            self._database.executemany("INSERT INTO needs VALUES (?, ?, ?)", rows)

    def delete_marks_of(self, annotator: str) -> None:
        """Delete an annotator's current marks. They remain in the history."""
        with self._writing():
            self._database.execute("DELETE FROM latest WHERE annotator = ?", (annotator,))

    def _initialize(self) -> None:
        """Check the version, and create the tables of a new store."""
        (version,) = self._rows("PRAGMA user_version")[0]
        if version > VERSION:
            raise InputError(
                f"{self.path} was written by a newer Sonjit (version {version}, known {VERSION}): update Sonjit"
            )
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:  # SQLite does not wait for others that open the store
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self._database.execute("PRAGMA synchronous = FULL")
        with self._transaction():  # if several processes open a new store, one creates the tables
            if self._rows("PRAGMA user_version") == [(0,)]:
                for statement in _TABLES.split(";\n"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {VERSION}")

    def _add(self, mark: Mark, base: int | None) -> WriteResult:
        if known_rows := self._rows(f"SELECT {_COLUMNS} FROM history WHERE id = ?", (mark.id,)):
            old = self._mark(known_rows[0])
            if replace(old, version=0, time_s=0) != replace(mark, version=0, time_s=0):
                raise InputError(f"mark id {mark.id!r} was used for another mark: give each its own")
            return WriteResult(old, written=True)
        current_rows = self._rows(
            f"SELECT {_COLUMNS} FROM history WHERE version ="
            " (SELECT version FROM latest WHERE frame = ? AND view = ? AND joint = ? AND annotator = ?)",
            mark.key,
        )
        current = self._mark(current_rows[0]) if current_rows else replace(mark, state="cleared", x=None, y=None)
        if base is not None and base != current.version and not (base == 0 and current.state == "cleared"):
            return WriteResult(current, written=False)
        new = replace(mark, time_s=time.time())
        row = [None if name == "version" else getattr(new, name) for name in _COLUMNS.split(", ")]
        cursor = self._database.execute(f"INSERT INTO history ({_COLUMNS}) VALUES ({', '.join('?' * 11)})", row)
        version = int(cursor.lastrowid or 0)
        statement = "INSERT OR REPLACE INTO latest (frame, view, joint, annotator, version) VALUES (?, ?, ?, ?, ?)"
        self._database.execute(statement, (*mark.key, version))
        return WriteResult(replace(new, version=version), written=True)

    def _read(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Query rows, and report a damaged file as an InputError."""
        try:
            return self._rows(statement, parameters)
        except _SQLITE_ERRORS as error:
            raise InputError(f"{self.path} is damaged: {error}; restore a backup") from None

    def _mark(self, row: Sequence[Any]) -> Mark:
        try:
            return Mark(*row)
        except (InputError, TypeError, ValueError) as error:
            raise InputError(f"{self.path} is damaged: {error}; restore a backup") from None

    def _rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(statement, parameters).fetchall()

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Run a write transaction, and report failures as a JobError."""
        try:
            with self._lock, self._transaction():
                yield
        except _SQLITE_ERRORS as error:
            raise JobError(
                f"{self.path} cannot be written: {error}; free disk space or close the program that locks it"
            ) from None

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            yield
