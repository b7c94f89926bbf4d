"""The rows of jobs in an SQLite file, from which the next server continues.

A row is written before the folder of its job, and removed after it. So each folder that a server may remove has a row,
also after a kill or a power cut.
"""

import json
import logging
import re
import shutil
import sqlite3
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sonjit._util import InputError, JobError, JsonObject, SonjitError, files, json_from
from sonjit.server.job import UploadJob

DATABASE = "jobs.sqlite"
OLD_MARKER, _OLD_RECORD, _OLD_OVERVIEW = ".sonjit-jobs", "job.json", "overview.json"
"""Files of the layout before the database: one marks the jobs folder, the other is in the folder of each job."""
_APPLICATION = 0x534A4F42  # identifies the file as that of Sonjit's jobs
_LAYOUT = 2  # of the tables. A further field of a record is no new layout.
_REMOVED = "removed"  # state of a row whose job is being removed
_EMPTY = ("failed", "cancelled")  # states of jobs that may have no files
_FOLDER_NAME = re.compile("[0-9a-f]{16}")
_LOG = logging.getLogger("sonjit.server")
_Row = tuple[str, str, str, Mapping[str, object]]  # id, name of the folder, state and record


class JobRows(files.Closing):
    """Rows of all jobs of a folder. One server at a time can open them; any thread may call the methods.

    Each change waits for the disk.
    """

    def __init__(self, root: Path | None) -> None:
        """Open or create the file of a jobs folder; None keeps the rows in memory.

        Raise InputError if another server uses it, or it is not a file of this or an older version.
        """
        self._root = root
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            ":memory:" if root is None else root / DATABASE, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._check_owner()
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")  # each change survives a power cut
            self._database.execute("PRAGMA foreign_keys = ON")
            self._migrate()
        except sqlite3.Error as error:
            self._database.close()
            reason = "is in use by another server: stop it, or" if _is_busy(error) else f"{DATABASE} fails: {error};"
            raise InputError(f"--jobs-folder {root} {reason} give another folder") from None
        except BaseException:
            self._database.close()
            raise

    def insert(self, job: UploadJob) -> None:
        """Add the row of a job. Raise JobError if the disk refuses it."""
        with self._writing():
            self._insert(job.id, job.folder.name, job.state, job.record())

    def update(self, job: UploadJob, state: str | None = None) -> None:
        """Write a job, or another state for it. Raise JobError if the disk refuses it."""
        with self._writing():
            state = state or job.state
            stored = "waiting" if state == "running" else state  # the next server restarts a running job
            self._database.execute(
                "UPDATE jobs SET state = ?, record = ? WHERE id = ? AND state != ?",
                (stored, json_from(job.record()), job.id, _REMOVED),
            )

    def begin_removal(self, job_id: str) -> None:
        """Note that a job is being removed, so that the next server completes it."""
        with self._writing():
            self._database.execute("UPDATE jobs SET state = ? WHERE id = ?", (_REMOVED, job_id))

    def delete(self, job_id: str) -> None:
        """Remove the row of a job whose folder is removed."""
        with self._writing():
            self._database.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def load(self, root: Path) -> list[UploadJob]:
        """Return the jobs in their order. Complete interrupted removals, and remove interrupted uploads and output."""
        jobs: list[UploadJob] = []
        for job_id, name, state, record in self._database.execute(
            "SELECT id, folder, state, record FROM jobs ORDER BY number"
        ).fetchall():
            folder = root / name
            if not _FOLDER_NAME.fullmatch(name) or folder.is_symlink():
                _LOG.warning("%s: this is not the folder of a job. Sonjit does not change it.", folder)
            elif state in ("uploading", _REMOVED) or not (state in _EMPTY or folder.is_dir()):
                shutil.rmtree(folder, ignore_errors=True)
                self.delete(job_id)
            else:
                try:
                    job = UploadJob.from_record(json.loads(record), job_id, folder, state)
                except (SonjitError, ValueError, KeyError, TypeError) as error:
                    _LOG.warning("%s: this job cannot be read (%s). Remove its folder.", folder, error)
                    continue
                if job.state == "done" and job.ended is None:
                    overview: JsonObject = {"ended": None, "length": None, "summaries": []}
                    with suppress(OSError, ValueError):  # the file of an older version
                        overview |= json.loads((folder / _OLD_OVERVIEW).read_bytes())
                    job.summarise(overview)
                job.clean()
                jobs.append(job)
        return jobs

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._database.close()

    def _check_owner(self) -> None:
        """Raise InputError if another program, or a newer version, wrote the file."""
        tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master")}
        if not tables:
            return
        if self._database.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
            raise InputError(f"--jobs-folder {self._root}: Sonjit did not create {DATABASE}. Choose a new folder.")
        if self._version() > _LAYOUT:
            raise InputError(
                f"--jobs-folder {self._root} is of a newer version of Sonjit: use that one, or choose a new folder"
            )

    def _version(self) -> int:
        return int(self._database.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()[0])

    def _migrate(self) -> None:
        """Create the table, with the jobs of an older layout."""
        with self._writing():
            self._database.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._database.execute("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, applied TEXT)")
            version, old = self._version(), list[_Row]()
            if version < _LAYOUT:
                if version:
                    old = self._rows_of_three_tables()
                elif self._root is not None:
                    old = _rows_of_files(self._root)
                self._database.execute(
                    "CREATE TABLE jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "
                    "folder TEXT NOT NULL UNIQUE, state TEXT NOT NULL, record TEXT NOT NULL)"
                )
                self._database.execute("INSERT INTO migrations VALUES (?, datetime('now'))", (_LAYOUT,))
                for row in old:
                    self._insert(*row)
        if self._root is not None:
            if not version:
                for _, folder, *_ in old:
                    (self._root / folder / _OLD_RECORD).unlink(missing_ok=True)
            (self._root / OLD_MARKER).unlink(missing_ok=True)

    def _insert(self, job_id: str, folder: str, state: str, record: Mapping[str, object]) -> None:
        self._database.execute(
            "INSERT INTO jobs (id, folder, state, record) VALUES (?, ?, ?, ?)",
            (job_id, folder, state, json_from(record)),
        )

    def _rows_of_three_tables(self) -> list[_Row]:
        """Return the jobs of the first layout of the database, and remove its tables."""
        rows: list[_Row] = []
        for number, job_id, folder, state, draw, style, source, name, drawing, *values in self._database.execute(
            "SELECT number, id, folder, state, draw, style, source, name, drawing, frames, of, instances, seconds, "
            "message FROM jobs ORDER BY number"
        ).fetchall():
            detectors = self._database.execute(
                "SELECT kind, options FROM detectors WHERE job = ? ORDER BY position", (number,)
            )
            problems = self._database.execute("SELECT line FROM problems WHERE job = ? ORDER BY position", (number,))
            record = dict(zip(("frames", "of", "instances", "seconds", "message"), values, strict=True)) | {
                "detectors": [{"kind": kind, **json.loads(options)} for kind, options in detectors],
                "problems": [line for (line,) in problems],
                "draw": bool(draw),
                "style": json.loads(style),
                "input": {"source": source or "", "name": name or "", "drawing": drawing or ""},
            }
            rows.append((job_id, folder, state, record))
        for table in ("problems", "detectors", "jobs"):
            self._database.execute(f"DROP TABLE {table}")
        return rows

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Write all changes of a block or none."""
        try:
            with self._lock:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._database.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):  # a full disk may have ended the transaction
                        self._database.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            if _is_busy(error):
                raise
            raise JobError(f"{DATABASE}: {error}") from None


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _rows_of_files(root: Path) -> list[_Row]:
    """Return the jobs of the layout before the database in their order."""
    rows: dict[int, _Row] = {}
    for path in sorted(root.glob(f"*/{_OLD_RECORD}")) if (root / OLD_MARKER).is_file() else []:
        if not _FOLDER_NAME.fullmatch(path.parent.name) or path.parent.is_symlink():
            continue
        try:
            record: JsonObject = json.loads(path.read_text("utf-8"))
            record["input"] = record.pop("given", None) or {"source": "", "name": "", "drawing": ""}
            rows[int(str(record["number"]))] = (str(record["id"]), path.parent.name, str(record["state"]), record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("%s: this job cannot be read (%s). Remove its folder.", path.parent, error)
    return [rows[number] for number in sorted(rows)]
