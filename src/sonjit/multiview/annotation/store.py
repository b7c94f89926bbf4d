"""The store of marks: one SQLite file, written by several at once.

History is only ever added to. `latest` holds, for each frame, view, joint and annotator, the row of history that counts
now; nobody writes another's rows. What `add` has returned is on the disk (write-ahead log, synchronous).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sonjit.errors import InputError, JobError
from sonjit.multiview.annotation.marks import MACHINE, Mark

if TYPE_CHECKING:
    from pathlib import Path

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
        except sqlite3.Error as error:
            raise InputError(f"{path} cannot be opened: {error}; make its folder writable") from None
        try:
            self._begin()
        except sqlite3.Error as error:
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
        return int(self._rows("SELECT coalesce(max(version), 0) FROM history")[0][0])

    def add(self, marks: Sequence[Mark], bases: Sequence[int | None] = ()) -> list[WriteResult]:
        """Write marks, all or, where the disk refuses, none.

        Args:
            marks: new ones.
            bases: for each mark, the version of the one that its writer saw there: 0 for none, None for whatever
                it is. Where another one stands by now, nothing is written for that mark.

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
        rows = self._rows(f"SELECT {columns} FROM latest l JOIN history h USING (version) {where}", (frame, annotator))
        return [Mark(*row) for row in rows]

    def history(self, frame: int | None = None) -> list[Mark]:
        """Every mark ever written, in order."""
        where = "" if frame is None else "WHERE frame = ?"
        given = () if frame is None else (frame,)
        return [Mark(*row) for row in self._rows(f"SELECT {_COLUMNS} FROM history {where} ORDER BY version", given)]

    def changed_frames(self, since: int) -> dict[int, tuple[str, ...]]:
        """Frames written to after a version, and by whom."""
        found: dict[int, list[str]] = {}
        for frame, name in self._rows("SELECT DISTINCT frame, annotator FROM history WHERE version > ?", (since,)):
            found.setdefault(frame, []).append(name)
        return {frame: tuple(sorted(names)) for frame, names in sorted(found.items())}

    def annotators(self) -> list[str]:
        """All annotators but the machine."""
        rows = self._rows("SELECT DISTINCT annotator FROM latest WHERE annotator <> ? ORDER BY annotator", (MACHINE,))
        return [name for (name,) in rows]

    def triangulable(self) -> dict[int, int]:
        """For each frame with human marks: how many joints have a place in two views or more, by one annotator."""
        rows = self._rows(
            "SELECT frame, count(DISTINCT CASE WHEN views > 1 THEN joint END) FROM (SELECT l.frame AS frame,"
            " l.joint AS joint, sum(h.x IS NOT NULL) AS views FROM latest l JOIN history h USING (version)"
            " WHERE l.annotator <> ? AND h.state <> 'cleared' GROUP BY l.frame, l.annotator, l.joint) GROUP BY frame",
            (MACHINE,),
        )
        return dict(rows)

    def needs(self) -> dict[int, Need]:
        """How much frames need attention, where that was ranked."""
        return {frame: Need(*rest) for frame, *rest in self._rows("SELECT frame, score, why FROM needs")}

    def set_needs(self, needs: Mapping[int, Need]) -> None:
        """Replace the ranking.

        Raises:
            JobError: as for `add`.
        """
        rows = [(frame, need.score, need.why) for frame, need in needs.items()]
        with self._writing():
            self._database.execute("DELETE FROM needs")
            self._database.executemany("INSERT INTO needs VALUES (?, ?, ?)", rows)

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
        known = self._rows(f"SELECT {_COLUMNS} FROM history WHERE id = ?", (mark.id,))
        if known:
            old = Mark(*known[0])
            if replace(old, version=0, time_s=0) != replace(mark, version=0, time_s=0):
                raise InputError(f"mark id {mark.id!r} was used for another mark: give each its own")
            return WriteResult(old, written=True)
        there = self._rows(
            f"SELECT {_COLUMNS} FROM history WHERE version ="
            " (SELECT version FROM latest WHERE frame = ? AND view = ? AND joint = ? AND annotator = ?)",
            mark.place,
        )
        current = Mark(*there[0]) if there else replace(mark, state="cleared", x=None, y=None)
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

    def _rows(self, statement: str, given: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(statement, given).fetchall()

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            with self._lock, self._transaction():
                yield
        except sqlite3.Error as error:
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
