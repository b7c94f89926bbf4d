"""One job of the server: its state, its files, and the record that the next server reads."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from sonjit._util.files import write_text
from sonjit._util.json_text import JsonObject, json_from
from sonjit.media import TABLE_ENDINGS, convert_table
from sonjit.media.tables.base import TableRows
from sonjit.runs import ROW_ENDINGS, convert_events, convert_motions
from sonjit.server.job_process import JobInput, JobProcess, task_of
from sonjit.server.options import DetectorChoice, read_detector

State = Literal["uploading", "waiting", "running", "done", "failed", "cancelled"]

ENDED = ("done", "failed", "cancelled")
INPUT, RECORD = "input", "job.json"
"""Names in a job's folder."""
MORE_TABLES: Mapping[str, TableRows] = {".instances.csv": "instance", ".wide.csv": "wide", ".xlsx": "instance"}
"""Endings of tables with other rows than keypoints, and what a row describes."""
_RECORDED = ("id", "number", "frames", "of", "instances", "message", "problems", "disk_bytes", "address")


@dataclass(eq=False)
class UploadJob:
    """Detectors that run over one upload.

    Attributes:
        folder: Folder of the job's files. The store creates and removes it.
        detectors: Kind and options of each detector, as returned by `read_options`.
        draw: If True, make an annotated copy of the input.
        owner: Secret of the client that owns the job.
        is_private: True if only the owner may access the job, even by its id.
        address: Network address of the client.
        id: Random id; part of the job's URLs.
        number: Creation time in nanoseconds, above those of older jobs; jobs are sorted by it.
        input: Uploaded files; None during the upload.
        state: State of the job; changes only under the store's lock.
        frames: Number of processed images.
        of: Expected number of images; None if unknown.
        instances: Number of detected instances.
        message: Reason of a failure.
        problems: One line for each image that cannot be read.
        disk_bytes: Size of the job's files.
        is_suspended: True if the server stops and the next server restarts the job.
        process: Process that runs the job.
        ran_s: Run time before the server restarted.
    """

    folder: Path
    detectors: tuple[DetectorChoice, ...]
    draw: bool
    owner: str
    is_private: bool = False
    address: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    number: int = field(default_factory=time.time_ns)
    input: JobInput | None = None
    state: State = "uploading"
    frames: int = 0
    of: int | None = None
    instances: int = 0
    message: str | None = None
    problems: list[str] = field(default_factory=list[str])
    disk_bytes: int = 0
    is_suspended: bool = False
    process: JobProcess | None = None
    ran_s: float = 0.0
    _started_s: float | None = field(default=None, init=False)
    _ended_s: float | None = field(default=None, init=False)
    _converting: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def input_folder(self) -> Path:
        """Folder of the uploaded files."""
        return self.folder / INPUT

    @property
    def uploaded(self) -> JobInput:
        """The input of a job whose upload is complete."""
        assert self.input is not None
        return self.input

    @property
    def drawing(self) -> Path | None:
        """Path of the annotated copy; None if the client requested none."""
        return self.folder / f"drawn{self.uploaded.drawing}" if self.draw else None

    @property
    def has_motions(self) -> bool:
        """Whether the job has tables of hand motions, which requires a video and gestures."""
        return self.uploaded.drawing == ".mp4" and task_of(self.detectors).has_gestures

    @property
    def seconds(self) -> float:
        """Run time in seconds."""
        if self._started_s is None:
            return self.ran_s
        return (self._ended_s or time.monotonic()) - self._started_s

    def start_clock(self) -> None:
        """Start to measure the run time."""
        self._started_s = time.monotonic()

    def stop_clock(self) -> None:
        """Stop to measure the run time."""
        self._ended_s = time.monotonic()

    def to_dict(self) -> JsonObject:
        """Return the job as clients see it."""
        state = self.state  # read first: the files of a finished job exist before its state changes
        endpoint, drawing = f"/v1/jobs/{self.id}", self.drawing
        downloads: JsonObject = {ending[1:]: f"{endpoint}/result{ending}" for ending in self.table_endings}
        if state == "done" and self.has_motions:
            downloads |= {f"motions{ending}": f"{endpoint}/motions{ending}" for ending in ROW_ENDINGS}
            downloads |= {f"events{ending}": f"{endpoint}/events{ending}" for ending in ROW_ENDINGS}
        if drawing is not None and drawing.exists():  # otherwise `problems` contains the encoder's message
            downloads["drawn"] = f"{endpoint}/{drawing.name}"
        return {
            "id": self.id,
            "kind": "+".join(kind for kind, _ in self.detectors),
            "model": "+".join(f"{kind}-{options['model']}" for kind, options in self.detectors),
            "name": self.uploaded.name,
            "state": state,
            "frames": self.frames,
            "of": self.of,
            "instances": self.instances,
            "seconds": round(self.seconds, 2),
            "message": self.message,
            "problems": list(self.problems),
            "downloads": downloads if state == "done" else {},
        }

    @property
    def table_endings(self) -> list[str]:
        """Endings of the result tables. Wide tables have the columns of one detector."""
        return [
            ending for ending in (*TABLE_ENDINGS, *MORE_TABLES) if ending != ".wide.csv" or len(self.detectors) == 1
        ]

    def measure(self) -> None:
        """Update `disk_bytes`."""
        sizes: list[int] = []
        for parent, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):  # another thread removed it
                    sizes.append(Path(parent, name).lstat().st_size)
        self.disk_bytes = sum(sizes)

    def table(self, ending: str) -> Path:
        """Return the result table with one of `table_endings`. The first call writes it.

        Raises:
            JobError: The disk refuses the file.
            MissingExtraError: Parquet requires pyarrow.
        """
        columns = task_of(self.detectors).columns
        rows = MORE_TABLES.get(ending)
        return self._converted(f"result{ending}", lambda lines, path: convert_table(lines, path, columns, rows=rows))

    def motions(self, ending: str) -> Path:
        """Return the table of motions in a format; see `table` and `has_motions`."""
        return self._converted(f"motions{ending}", convert_motions)

    def events(self, ending: str) -> Path:
        """Return the table of events in a format; see `table` and `has_motions`."""
        return self._converted(f"events{ending}", convert_events)

    def _converted(self, name: str, convert: Callable[[Path, Path], None]) -> Path:
        path = self.folder / name
        with self._converting:
            if not path.exists():
                convert(self.folder / "result.jsonl", path)
                self.measure()
        return path

    def redacted(self, line: str) -> str:
        """Return a message without the paths of the server."""
        folder = str(self.input_folder)
        for path, shown in ((folder + os.sep, ""), (folder, self.uploaded.name), (str(self.folder) + os.sep, "")):
            line = line.replace(path, shown)
        return line

    def save(self) -> None:
        """Write the record of the job, so that the next server restarts it or lists its results.

        Raises:
            JobError: The disk refuses the file.
        """
        given = None
        if self.input is not None:
            source = self.input.source.relative_to(self.folder).as_posix()
            given = {"source": source, "name": self.input.name, "drawing": self.input.drawing}
        record = {
            **{name: getattr(self, name) for name in _RECORDED},
            "state": "waiting" if self.state == "running" else self.state,  # the next server restarts a running job
            "seconds": round(self.seconds, 2),
            "given": given,
            "detectors": [{"kind": kind, **options} for kind, options in self.detectors],
            "draw": self.draw,
            "owner": self.owner,
            "is_private": self.is_private,
        }
        write_text(self.folder / RECORD, json_from(record))


def load_job(folder: Path) -> UploadJob:
    """Return the job of a record. The output of an interrupted run is removed.

    Raises:
        OSError, ValueError, KeyError, TypeError: There is no record, or this version cannot read it.
    """
    record: dict[str, Any] = json.loads((folder / RECORD).read_text("utf-8"))
    if record["state"] not in get_args(State):  # a newer server wrote it
        raise ValueError(f"Unknown state {record['state']!r}")
    job = UploadJob(
        folder,
        tuple(read_detector(detector, job=True) for detector in record["detectors"]),
        bool(record["draw"]),
        str(record["owner"]),
        bool(record["is_private"]),
        state=record["state"],
        **{name: record[name] for name in _RECORDED},
    )
    if (given := record["given"]) is not None:
        job.input = JobInput(folder / given["source"], given["name"], given["drawing"])
    elif job.state != "uploading":
        raise ValueError("its record has no input")
    if job.state == "waiting":
        _remove_output(folder)
        job.frames = job.instances = 0
    else:
        job.ran_s = float(record["seconds"])
    return job


def _remove_output(folder: Path) -> None:
    """Remove the files that an interrupted run of a job wrote."""
    for path in folder.iterdir():
        if path.name not in (INPUT, RECORD):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
