"""The rows of jobs in an SQLite file, from which the next server continues.

A row is written before the folder of its job, and removed after it. So each folder that a server may remove has a row,
also after a kill or a power cut.
"""

import json
import logging
import re
import shutil
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from sonjit._util import InputError, JobError, JsonObject, SonjitError, files, json_from
from sonjit.server.job import State, UploadJob
from sonjit.server.job_files import JobInput
from sonjit.server.options import read_detector

DATABASE = "jobs.sqlite"
OLD_MARKER, _OLD_RECORD = ".sonjit-jobs", "job.json"
"""Files of the layout before the database: one marks the jobs folder, the other is in the folder of each job."""
_APPLICATION = 0x534A4F42  # identifies the file as that of Sonjit's jobs
_MIGRATIONS = (
    """
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, folder TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL, draw INTEGER NOT NULL, style TEXT NOT NULL, source TEXT, name TEXT, drawing TEXT,
        frames INTEGER NOT NULL, of INTEGER, instances INTEGER NOT NULL, seconds REAL NOT NULL, message TEXT
    );
    CREATE TABLE detectors (
        job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, position INTEGER NOT NULL, kind TEXT NOT NULL,
        options TEXT NOT NULL, PRIMARY KEY (job, position)
    );
    CREATE TABLE problems (
        job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, position INTEGER NOT NULL, line TEXT NOT NULL,
        PRIMARY KEY (job, position)
    );
    """,
)
"""Statements that lead from each version of the tables to the next. Released ones do not change."""
_REMOVED = "removed"  # state of a row whose job is being removed
_EMPTY = ("failed", "cancelled")  # states of jobs without files
_FOLDER_NAME = re.compile("[0-9a-f]{16}")
_LOG = logging.getLogger("sonjit.server")


class JobRows(files.Closing):
    """Rows of all jobs of a folder. One server at a time can open them; callers exclude each other by a lock."""

    def __init__(self, root: Path | None) -> None:
        """Open or create the file of a jobs folder; None keeps the rows in memory.

        Raise InputError if another server uses it, or it is not a file of this or an older version.
        """
        self._root = root
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
            self._insert(job)

    def update(self, job: UploadJob) -> None:
        """Write the state of a job. Raise JobError if the disk refuses it."""
        with self._writing():
            names = ", ".join(f"{name} = :{name}" for name in _values(job))
            self._database.execute(f"UPDATE jobs SET {names} WHERE id = :id", _values(job))
            self._write_problems(job)

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
        for row in self._rows("SELECT * FROM jobs ORDER BY number"):
            folder = root / row["folder"]
            if not _FOLDER_NAME.fullmatch(row["folder"]) or folder.is_symlink():
                _LOG.warning("%s: this is not the folder of a job. Sonjit does not change it.", folder)
            elif row["state"] in ("uploading", _REMOVED) or not (row["state"] in _EMPTY or folder.is_dir()):
                shutil.rmtree(folder, ignore_errors=True)
                self.delete(row["id"])
            else:
                try:
                    jobs.append(self._load(row, folder))
                except (SonjitError, ValueError, KeyError, TypeError) as error:
                    _LOG.warning("%s: this job cannot be read (%s). Remove its folder.", folder, error)
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
        if self._version() > len(_MIGRATIONS):
            raise InputError(
                f"--jobs-folder {self._root} is of a newer version of Sonjit: use that one, or choose a new folder"
            )

    def _version(self) -> int:
        return int(self._database.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()[0])

    def _migrate(self) -> None:
        """Create the tables, or lead them to this version."""
        records: list[UploadJob] = []
        with self._writing():
            self._database.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._database.execute("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, applied TEXT)")
            version = self._version()
            for number, statements in enumerate(_MIGRATIONS[version:], version + 1):
                for statement in statements.split(";"):
                    self._database.execute(statement)
                self._database.execute("INSERT INTO migrations VALUES (?, datetime('now'))", (number,))
            if version == 0 and self._root is not None:
                records = _old_records(self._root)
            for job in records:
                self._insert(job)
        for job in records:
            (job.folder / _OLD_RECORD).unlink(missing_ok=True)
        if self._root is not None:
            (self._root / OLD_MARKER).unlink(missing_ok=True)

    def _insert(self, job: UploadJob) -> None:
        values = {"id": job.id, "folder": job.folder.name, "draw": job.draw, "style": json_from(job.style)} | _values(
            job
        )
        places = ", ".join(f":{name}" for name in values)
        number = self._database.execute(f"INSERT INTO jobs ({', '.join(values)}) VALUES ({places})", values).lastrowid
        detectors = [
            (number, position, kind, json_from(options)) for position, (kind, options) in enumerate(job.detectors)
        ]
        self._database.executemany("INSERT INTO detectors VALUES (?, ?, ?, ?)", detectors)
        self._write_problems(job)

    def _write_problems(self, job: UploadJob) -> None:
        (number,) = self._database.execute("SELECT number FROM jobs WHERE id = ?", (job.id,)).fetchone()
        self._database.execute("DELETE FROM problems WHERE job = ?", (number,))
        lines = [(number, position, line) for position, line in enumerate(job.problems)]
        self._database.executemany("INSERT INTO problems VALUES (?, ?, ?)", lines)

    def _load(self, row: Mapping[str, Any], folder: Path) -> UploadJob:
        detectors = self._rows("SELECT kind, options FROM detectors WHERE job = ? ORDER BY position", row["number"])
        problems = self._rows("SELECT line FROM problems WHERE job = ? ORDER BY position", row["number"])
        given = {name: row[name] for name in ("source", "name", "drawing")}
        record = {**row, "draw": bool(row["draw"]), "style": json.loads(row["style"]), "given": given}
        record["detectors"] = [
            {"kind": database_row["kind"], **json.loads(database_row["options"])} for database_row in detectors
        ]
        record["problems"] = [database_row["line"] for database_row in problems]
        job = _job_of(record, folder)
        job.clean()
        return job

    def _rows(self, query: str, *values: object) -> list[Mapping[str, Any]]:
        cursor = self._database.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Write all changes of a block or none."""
        try:
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


def _values(job: UploadJob) -> JsonObject:
    """Return the columns of a job that change."""
    source = name = drawing = None
    if job.state != "uploading":
        source, name, drawing = job.input.source.relative_to(job.folder).as_posix(), job.input.name, job.input.drawing
    return {
        "id": job.id,
        "state": "waiting" if job.state == "running" else job.state,  # the next server restarts a running job
        "source": source,
        "name": name,
        "drawing": drawing,
        "frames": job.frames,
        "of": job.of,
        "instances": job.instances,
        "seconds": round(job.seconds, 2),
        "message": job.message,
    }


def _job_of(record: Mapping[str, Any], folder: Path) -> UploadJob:
    """Return the job of a record. Raise an error if this version cannot read it."""
    if record["state"] not in get_args(State):
        raise ValueError(f"Unknown state {record['state']!r}")
    detectors = tuple(read_detector(detector, job=True) for detector in record["detectors"])
    names = {item.name for item in fields(UploadJob) if item.init} & record.keys() - {"detectors"}
    job = UploadJob(detectors, **{name: record[name] for name in names})
    job.folder = folder
    if job.state != "uploading":
        given = record["given"]
        job.input = JobInput(folder / given["source"], given["name"], given["drawing"])
    if job.state == "waiting":  # it starts again
        job.frames = job.instances = 0
    else:
        job.ran_s = float(record["seconds"])
    return job


def _old_records(root: Path) -> list[UploadJob]:
    """Return the jobs of the layout before the database in their order."""
    jobs: dict[int, UploadJob] = {}
    for path in sorted(root.glob(f"*/{_OLD_RECORD}")) if (root / OLD_MARKER).is_file() else []:
        if not _FOLDER_NAME.fullmatch(path.parent.name) or path.parent.is_symlink():
            continue
        try:
            record: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
            jobs[int(record["number"])] = _job_of(record, path.parent)
        except (OSError, SonjitError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("%s: this job cannot be read (%s). Remove its folder.", path.parent, error)
    return [jobs[number] for number in sorted(jobs)]
