"""Store marks in one SQLite file that several processes write.

History is append-only. `latest` refers, for each frame, view, joint and annotator, to the current row of history.
Annotators write only their own rows. What `add` has returned is on the disk (write-ahead log, synchronous).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sonjit._util.errors import InputError, JobError
from sonjit.studio.annotation.marks import MACHINE, Mark, ReviewPriority
from sonjit.studio.triangulation.bones import JOINTS_PER_HAND

_SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Errors of SQLite. It raises the second one when its message quotes a damaged schema."""
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
class WriteResult:
    """Result of writing one mark.

    Attributes:
        mark: Current mark in the store: the one sent, or the existing one if `written` is false.
        written: True if the mark was written, now or when the same id was sent before.
    """

    mark: Mark
    written: bool


class AnnotationStore:
    """All marks of a project."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(
                path, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except _SQLITE_ERRORS as error:
            raise InputError(f"{path} cannot be opened: {error}; make its folder writable") from None
        try:
            self._initialize()
        except _SQLITE_ERRORS as error:
            self._database.close()
            raise InputError(f"{path} cannot be used: {error}; is the folder writable and the file a store?") from None
        except InputError:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._lock:
            self._database.close()

    @property
    def version(self) -> int:
        """Number of the newest row of history, 0 for an empty store."""
        return int(self._read("SELECT coalesce(max(version), 0) FROM history")[0][0])

    def add(self, marks: Sequence[Mark], bases: Sequence[int | None] = ()) -> list[WriteResult]:
        """Write marks, either all or none.

        Args:
            bases: Version of the mark that each writer saw: 0 for none, None for any. If another one is current, the
                new mark is not written.
        """
        all_bases = list(bases) or [None] * len(marks)
        if len(all_bases) != len(marks):
            raise InputError(f"{len(all_bases)} bases for {len(marks)} marks: give one for each")
        with self._writing():
            return [self._add(mark, base) for mark, base in zip(marks, all_bases, strict=True)]

    def marks(self, frame: int | None = None, annotator: str | None = None) -> list[Mark]:
        """Return the current marks without cleared ones: of one frame, of one annotator, or all."""
        where = "WHERE (?1 IS NULL OR l.frame = ?1) AND (?2 IS NULL OR l.annotator = ?2) AND h.state <> 'cleared'"
        if frame is not None:  # lets SQLite use the key
            where = where.replace("(?1 IS NULL OR l.frame = ?1)", "l.frame = ?1")
        columns = ", ".join(f"h.{name}" for name in _COLUMNS.split(", "))
        rows = self._read(f"SELECT {columns} FROM latest l JOIN history h USING (version) {where}", (frame, annotator))
        return [self._mark(row) for row in rows]

    def history(self, frame: int | None = None) -> list[Mark]:
        """Return every mark ever written, in order."""
        where = "" if frame is None else "WHERE frame = ?"
        parameters = () if frame is None else (frame,)
        return [
            self._mark(row)
            for row in self._read(f"SELECT {_COLUMNS} FROM history {where} ORDER BY version", parameters)
        ]

    def changed_frames(self, since: int) -> dict[int, tuple[str, ...]]:
        """Return the frames written after a version, with their annotators."""
        found: dict[int, list[str]] = {}
        for frame, name in self._read("SELECT DISTINCT frame, annotator FROM history WHERE version > ?", (since,)):
            found.setdefault(frame, []).append(name)
        return {frame: tuple(sorted(names)) for frame, names in sorted(found.items())}

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

    def hands(self) -> int:
        """Return the number of hands, 0 to 2, of which people marked any joint's position."""
        query = (
            "SELECT count(DISTINCT l.joint >= ?) FROM latest l JOIN history h USING (version) WHERE l.annotator <> ?"
        )
        return self._read(f"{query} AND h.x IS NOT NULL", (JOINTS_PER_HAND, MACHINE))[0][0]

    def review_priorities(self) -> dict[int, ReviewPriority]:
        """Return the review priorities of ranked frames."""
        return {frame: ReviewPriority(*fields) for frame, *fields in self._read("SELECT frame, score, why FROM needs")}

    def set_review_priorities(self, priorities: Mapping[int, ReviewPriority]) -> None:
        """Replace the review priorities."""
        rows = [(frame, priority.score, priority.why) for frame, priority in priorities.items()]
        with self._writing():
            self._database.execute("DELETE FROM needs")
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
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        with self._transaction():  # if several processes open a new store, one creates the tables
            (version,) = self._rows("PRAGMA user_version")[0]
            if version == 0:
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
        row = [getattr(new, name) for name in _COLUMNS.split(", ")]
        row[9] = None
        cursor = self._database.execute(f"INSERT INTO history ({_COLUMNS}) VALUES ({', '.join('?' * 11)})", row)
        version = int(cursor.lastrowid or 0)
        self._database.execute(
            "INSERT OR REPLACE INTO latest (frame, view, joint, annotator, version) VALUES (?, ?, ?, ?, ?)",
            (*mark.key, version),
        )
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
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
