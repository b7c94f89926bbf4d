"""Jobs of the server from upload to removal: their state, files and records, and the thread that runs them."""

import json
import logging
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from sonjit._util import InputError, JsonObject, SonjitError, json_from
from sonjit._util.extensions import LoadedExtensions
from sonjit._util.files import WorkFolder, sole_writer, sync, write_text
from sonjit.media import TABLE_ENDINGS, convert_table
from sonjit.media.tables.base import TableRows
from sonjit.report import joint_angles
from sonjit.report.texts import Language
from sonjit.runs import ROW_ENDINGS, convert_events, convert_motions
from sonjit.server.errors import RefusedError, refusal_from
from sonjit.server.job_files import NETWORK_BYTES, JobInput, run_detectors, task_of
from sonjit.server.options import DetectorChoice, read_detector
from sonjit.server.processes import CrashError, TooSlowError, Worker
from sonjit.server.settings import MB, Settings

MARKER = ".sonjit-jobs"  # file in a jobs folder. It shows that Sonjit created the folder and may remove jobs from it.
_MARKER_TEXT = "Sonjit stores the jobs of `sonjit serve --jobs-folder` in this folder and removes them.\n"
_FOLDER_NAME = re.compile("[0-9a-f]{16}")
_REMOVED = ".removed"  # ending of the folder of a deleted job
_LOG = logging.getLogger("sonjit.server")
State = Literal["uploading", "waiting", "running", "done", "failed", "cancelled"]

ENDED = ("done", "failed", "cancelled")
INPUT, RECORD = "input", "job.json"  # names in a job's folder
MORE_TABLES: Mapping[str, TableRows] = {".instances.csv": "instance", ".wide.csv": "wide", ".xlsx": "instance"}
"""Endings of tables with other rows than keypoints, and what a row describes."""
_REPORTS: Mapping[str, Language] = {
    "report.html": "en",
    "report.pdf": "en",
    "report.ko.html": "ko",
    "report.ko.pdf": "ko",
}
"""Languages of the reports of a job, by file."""
_RECORDED = (
    "id",
    "number",
    "frames",
    "of",
    "instances",
    "message",
    "problems",
    "address",
    "draw",
    "style",
    "owner",
    "is_private",
)
"""Attributes that a record contains as they are."""


@dataclass(eq=False)
class UploadJob:
    """Detectors that run over one upload."""

    detectors: tuple[DetectorChoice, ...]  # kind and options of each, as returned by `read_options`
    owner: str  # secret of the client that owns the job
    draw: bool = True  # if True, make an annotated copy of the input
    # Settings of the annotated copy, of `DrawingStyle`
    style: JsonObject = field(default_factory=JsonObject)
    is_private: bool = False  # True if only the owner may access the job, even by its id
    address: str = ""  # network address of the client
    id: str = field(default_factory=lambda: secrets.token_hex(16))  # part of the job's URLs
    number: int = field(default_factory=time.time_ns)  # creation time in nanoseconds, above those of older jobs
    folder: Path = field(init=False)  # folder of the job's files. The store creates and removes it.
    input: JobInput = field(init=False)  # uploaded files; known when the upload is complete
    state: State = "uploading"  # changes only under the store's lock
    frames: int = 0
    of: int | None = None  # expected number of images; None if unknown
    instances: int = 0
    message: str | None = None
    problems: list[str] = field(default_factory=list[str])  # unreadable images, and changes of what was read
    disk_bytes: int = 0
    is_suspended: bool = False  # True if the server stops and the next server restarts the job
    worker: Worker | None = None
    ran_s: float = 0.0  # run time before the server restarted
    started_s: float | None = None  # on the clock of `time.monotonic`
    ended_s: float | None = None
    _converting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def input_folder(self) -> Path:
        """Folder of the uploaded files."""
        return self.folder / INPUT

    @property
    def drawing(self) -> Path | None:
        """Path of the annotated copy; None if the client requested none."""
        return self.folder / f"drawn{self.input.drawing}" if self.draw else None

    @property
    def _reported_model(self) -> str | None:
        """Model of the body whose angles a report describes; None if the job has no report."""
        models = [str(options["model"]) for kind, options in self.detectors if kind in ("body", "holistic")]
        return models[0] if models and self.input.drawing == ".mp4" else None

    @property
    def files(self) -> list[str]:
        """Names of the files that clients can download: tables, a report and the drawing, see `file`."""
        is_single = len(self.detectors) == 1  # wide tables have the columns of one detector
        names = [f"result{end}" for end in (*TABLE_ENDINGS, *MORE_TABLES) if is_single or end != ".wide.csv"]
        if self.input.drawing == ".mp4" and task_of(self.detectors).has_gestures:
            names += [f"{table}{ending}" for table in ("motions", "events") for ending in ROW_ENDINGS]
        if self._reported_model:
            names += _REPORTS
        if self.drawing is not None and self.drawing.exists():  # otherwise `problems` contains the encoder's message
            names.append(self.drawing.name)
        return names

    @property
    def seconds(self) -> float:
        """Run time in seconds."""
        if self.started_s is None:
            return self.ran_s
        return (self.ended_s or time.monotonic()) - self.started_s

    def to_dict(self) -> JsonObject:
        """Return the job as clients see it."""
        state = self.state  # read first: the files of a finished job exist before its state changes
        names = self.files if state == "done" else []
        keys = ["drawn" if name.startswith("drawn") else name.removeprefix("result.") for name in names]
        return {
            "id": self.id,
            "kind": "+".join(kind for kind, _ in self.detectors),
            "model": "+".join(f"{kind}-{options['model']}" for kind, options in self.detectors),
            "name": self.input.name,
            "state": state,
            "frames": self.frames,
            "of": self.of,
            "instances": self.instances,
            "seconds": round(self.seconds, 2),
            "message": self.message,
            "problems": list(self.problems),
            "downloads": {key: f"/v1/jobs/{self.id}/{name}" for key, name in zip(keys, names, strict=True)},
        }

    def measure(self) -> None:
        """Update `disk_bytes`."""
        sizes: list[int] = []
        for parent, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):  # another thread removed it
                    sizes.append(Path(parent, name).lstat().st_size)
        self.disk_bytes = sum(sizes)

    def file(self, name: str) -> Path:
        """Return one of `files`. The first call writes a table or a report, which may raise an error of Sonjit's."""
        path, lines = self.folder / name, self.folder / "result.jsonl"
        table, _, ending = name.partition(".")
        with self._converting:
            if not path.exists():
                if table == "result":
                    convert_table(lines, path, task_of(self.detectors).columns, rows=MORE_TABLES.get(f".{ending}"))
                elif table == "report":
                    model = self._reported_model or "full"
                    joint_angles.write_report(
                        path,
                        lines,
                        self.drawing,
                        self.input.name,
                        model,
                        language=_REPORTS[name],
                        anonymise=task_of(self.detectors, self.style).style.anonymise,
                    )
                else:
                    (convert_motions if table == "motions" else convert_events)(lines, path)
                self.measure()
        return path

    def redacted(self, line: str) -> str:
        """Return a message without the paths of the server."""
        folder = str(self.input_folder)
        for path, shown in ((folder + os.sep, ""), (folder, self.input.name), (str(self.folder) + os.sep, "")):
            line = line.replace(path, shown)
        return line

    def save(self) -> None:
        """Write the record of the job, so that the next server restarts it or lists its results."""
        given = None
        if self.state != "uploading":
            given = vars(self.input) | {"source": self.input.source.relative_to(self.folder).as_posix()}
        record = {name: getattr(self, name) for name in _RECORDED} | {
            "state": "waiting" if self.state == "running" else self.state,  # the next server restarts a running job
            "seconds": round(self.seconds, 2),
            "given": given,
            "detectors": [{"kind": kind, **options} for kind, options in self.detectors],
        }
        write_text(self.folder / RECORD, json_from(record), synced=True)

    def clean(self) -> None:
        """Remove the output of a waiting job, the input of a finished one, and all of a failed or cancelled one."""
        with suppress(OSError):  # the job was deleted meanwhile
            for path in self.folder.iterdir():
                is_input = path.name == INPUT
                is_needed = is_input if self.state == "waiting" else self.state == "done" and not is_input
                if path.name != RECORD and not is_needed:
                    with suppress(OSError):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.folder.rmdir()  # only if it is empty
        self.measure()


def load_job(folder: Path) -> UploadJob:
    """Return the job of a record, or raise an error if this version cannot read it. Remove unfinished output."""
    record: dict[str, Any] = {"style": {}} | json.loads((folder / RECORD).read_text("utf-8"))  # a later addition
    if record["state"] not in get_args(State):  # a newer server wrote it
        raise ValueError(f"Unknown state {record['state']!r}")
    detectors = tuple(read_detector(detector, job=True) for detector in record["detectors"])
    job = UploadJob(detectors, state=record["state"], **{name: record[name] for name in _RECORDED})
    job.folder = folder
    if job.state != "uploading":
        job.input = JobInput(**record["given"] | {"source": folder / record["given"]["source"]})
    if job.state != "uploading":
        job.clean()
    if job.state == "waiting":
        job.frames = job.instances = 0
    else:
        job.ran_s = float(record["seconds"])
    return job


class JobStore:
    """All jobs from upload to removal, and the folder of their files.

    Jobs run one at a time in the order in which their uploads ended, so that streams keep their share of the machine.
    The store is the only owner of a job's folder. While a job runs, the runner thread removes its files. The cleaner
    thread removes the files of evicted jobs, because the event loop must not wait for the disk.

    Without `jobs_folder` the files are in a temporary folder. Jobs in a `jobs_folder` survive the server: the next
    server lists the finished jobs and restarts the others.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.RLock()
        self._preparing = threading.Lock()  # another lock, because the event loop waits for that of the jobs
        self._jobs: dict[str, UploadJob] = {}
        self._is_closed = False
        self._root = settings.jobs_folder
        self._runner = ThreadPoolExecutor(1, "sonjit-job")
        self._cleaner = ThreadPoolExecutor(1, "sonjit-job-cleaner")
        self._resources = ExitStack()
        if settings.jobs_folder is not None:
            self._open_jobs_folder(settings.jobs_folder)

    @property
    def active(self) -> int:
        """Number of jobs that are uploading, waiting or running."""
        with self._lock:
            return sum(job.state not in ENDED for job in self._jobs.values())

    def newest_first(self, owner: str | None = None) -> list[UploadJob]:
        """Return all uploaded jobs, or those of one client."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.state != "uploading"]
        return [job for job in reversed(jobs) if owner in (None, job.owner)]

    def find(self, job_id: str, owner: str) -> UploadJob:
        """Return a job. Raise RefusedError if it does not exist or belongs to another client."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state == "uploading" or (job.is_private and not job.owner == owner):
                raise RefusedError(
                    "not_found",
                    f"no job {job_id[:40]!r}: it was deleted, newer jobs replaced it, or the server restarted",
                )
            return job

    def prepare(self) -> None:
        """Create the temporary folder. This may take long, because it removes the folders of killed servers."""
        with self._preparing:
            self._require_open()
            try:
                self._root = self._root or Path(self._resources.enter_context(WorkFolder()))
            except OSError as error:
                raise storage_refusal(error, self.settings) from None

    def add(self, job: UploadJob) -> None:
        """Add a job and make the folder for its upload. Call `submit` or `discard` when the upload ends."""
        self.prepare()
        with self._lock:
            self._require_open()
            if self.active >= self.settings.max_jobs:
                raise RefusedError(
                    "busy", f"{self.settings.max_jobs} jobs are waiting or running (--max-jobs): try again later"
                )
            assert self._root is not None
            job.folder = self._root / secrets.token_hex(8)
            # the clock may step back
            job.number = max([job.number, *(other.number + 1 for other in self._jobs.values())])
            try:
                job.input_folder.mkdir(parents=True)
            except OSError as error:
                raise storage_refusal(error, self.settings) from None
            self._jobs[job.id] = job
            self._write_record(job)

    def reserve(self, job: UploadJob, count: int) -> None:
        """Add bytes to the size of an upload. Evict finished jobs if the files of all jobs exceed the quota."""
        max_bytes = self.settings.max_disk_mb * MB
        with self._lock:
            job.disk_bytes += count
            while (used := sum(other.disk_bytes for other in self._jobs.values())) > max_bytes:
                if not self._ended():
                    break
                self._evict()
        if used > max_bytes:
            raise RefusedError(
                "busy",
                f"the files of all jobs would take more than {self.settings.max_disk_mb:g} MB (--max-disk-mb): "
                "delete jobs or try again later",
            )

    def submit(self, job: UploadJob, given: JobInput) -> None:
        """Queue a job whose upload is complete. Raise RefusedError if the server stops."""
        with self._lock:
            self._require_open()
            if job.id not in self._jobs:
                raise RefusedError("conflict", "the upload was cancelled")
            job.input, job.state = given, "waiting"
            self._write_record(job)
            self._runner.submit(self._run, job)

    def discard(self, job: UploadJob) -> None:
        """Remove a job whose upload failed. Its files are removed in the background."""
        with self._lock:
            if job.state == "uploading" and self._jobs.pop(job.id, None) is not None:
                self._remove_later(job)

    def cancel(self, job: UploadJob) -> None:
        """Stop a job and remove its files. A finished job does not change."""
        with self._lock:
            before = job.state
            if before in ENDED:
                return
            job.state = "cancelled"
            if job.worker is not None:
                job.worker.kill()
        if before == "waiting":  # otherwise the runner thread removes the files
            self._finish(job)

    def delete(self, job: UploadJob) -> None:
        """Stop a job and remove it with its files."""
        with self._lock:
            self._jobs.pop(job.id, None)
            has_ended = job.state in ENDED
        if has_ended:
            _remove(job.folder)
        else:
            self.cancel(job)

    def close(self) -> None:
        """Suspend all jobs of a `jobs_folder`, or cancel all jobs and remove their files; may be called twice."""
        with self._lock:
            self._is_closed = True
            jobs = [job for job in self._jobs.values() if job.state not in ENDED]
            for job in jobs:
                job.is_suspended = self.settings.jobs_folder is not None
                if job.is_suspended and job.worker is not None:
                    job.worker.kill()
        for job in jobs:
            if not job.is_suspended:
                self.cancel(job)
        self._runner.shutdown(cancel_futures=True)
        self._cleaner.shutdown()
        with self._preparing:
            self._resources.close()

    def _require_open(self) -> None:
        if self._is_closed:
            raise RefusedError("busy", "the server is stopping")

    def _ended(self) -> list[UploadJob]:
        return [job for job in self._jobs.values() if job.state in ENDED]

    def _evict(self) -> None:
        """Remove the oldest finished job of the address that has the most, so that no client evicts others' jobs."""
        ended = self._ended()
        counts = Counter(job.address for job in ended)
        self._remove_later(self._jobs.pop(max(ended, key=lambda job: counts[job.address]).id))

    def _remove_later(self, job: UploadJob) -> None:
        with suppress(RuntimeError):  # the store is closed and its temporary folder was removed
            self._cleaner.submit(_remove, job.folder)

    def _run(self, job: UploadJob) -> None:
        """Run a job, unless it was cancelled or suspended while it waited."""
        with self._lock:
            if job.state != "waiting" or job.is_suspended:
                return
            job.state, job.worker = "running", Worker(self.settings.max_pixels, NETWORK_BYTES, job.folder)
            job.started_s = time.monotonic()
        message = self._work(job, job.worker)
        with self._lock:
            if message is not None and job.is_suspended and job.state == "running":
                job.state = "waiting"
                return
            job.ended_s = time.monotonic()
            if job.state == "running":
                job.state, job.message = "done" if message is None else "failed", message
        self._finish(job)

    def _work(self, job: UploadJob, worker: Worker) -> str | None:
        """Run a job in its process and return the reason of a failure."""
        given, minutes = job.input, self.settings.max_job_minutes
        try:
            with worker:
                problems: list[str] = worker.call(
                    run_detectors,
                    LoadedExtensions.snapshot(),
                    given,
                    job.folder,
                    job.drawing,
                    job.detectors,
                    job.style,
                    seconds=60 * minutes,
                    report_progress=lambda progress: self._advance(job, progress),
                )
            if self.settings.jobs_folder is not None:
                for path in job.folder.iterdir():
                    if path.is_file():
                        sync(path)
        except TooSlowError:
            return (
                f"{given.name} ran for {minutes:g} minutes and was stopped after {job.frames} images: "
                "send less, or raise --max-job-minutes"
            )
        except Exception as error:
            is_stopped = job.state != "running" or job.is_suspended  # it was killed, and files may be missing
            if isinstance(error, CrashError):
                error = InputError(f"{given.name} cannot be read: it {error}; export it again")
            return "stopped" if is_stopped else job.redacted(str(refusal_from(error)))
        job.problems = [*job.problems, *map(job.redacted, problems)]
        return None

    def _advance(self, job: UploadJob, progress: Mapping[str, object]) -> None:
        """Store the progress that a running job reports."""
        for name in ("of", "frames", "instances"):
            if job.state == "running" and isinstance(count := progress.get(name), int):
                setattr(job, name, count)

    def _finish(self, job: UploadJob) -> None:
        """Remove the files that a finished job does not need, and evict jobs beyond `keep_jobs`."""
        with self._lock:
            is_listed = job.id in self._jobs
            if is_listed:  # before files are removed, because the next server restarts a job that has not ended
                self._write_record(job)
        if is_listed:
            job.clean()
        else:
            _remove(job.folder)
        with self._lock:
            while len(self._ended()) > self.settings.keep_jobs:
                self._evict()

    def _write_record(self, job: UploadJob) -> None:
        """Write `job.json` in a `jobs_folder`. A job whose record the disk refuses is lost at a restart."""
        if self.settings.jobs_folder is None:
            return
        try:
            job.save()
        except SonjitError as error:
            _LOG.warning("%s", error)

    def _open_jobs_folder(self, root: Path) -> None:
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._resources.enter_context(sole_writer(root, wait=False))
            if not (root / MARKER).is_file():
                if any(root.iterdir()):
                    raise InputError(
                        f"--jobs-folder {root} contains files that Sonjit did not create. Choose a new or empty folder."
                    )
                root.chmod(0o700)
                write_text(root / MARKER, _MARKER_TEXT)
            jobs = _read_jobs(root)
        except OSError as error:
            self._resources.close()
            raise InputError(f"--jobs-folder {root}: {error.strerror}; choose another folder") from None
        except SonjitError:
            self._resources.close()
            raise
        self._jobs = {job.id: job for job in jobs}
        for job in jobs:
            if job.state == "waiting":
                self._runner.submit(self._run, job)


def storage_refusal(error: OSError, settings: Settings) -> RefusedError:
    """Return the refusal for a disk error. The log names the folder; the client's message does not."""
    folder = settings.jobs_folder or tempfile.gettempdir()
    reason = error.strerror or type(error).__name__
    remedy = "set TMPDIR" if settings.jobs_folder is None else "give another --jobs-folder"
    _LOG.error("%s: %s", folder, reason)
    return RefusedError("failed", f"the server's disk cannot take the upload: {reason}; make room or {remedy}")


def _remove(folder: Path) -> None:
    """Remove the folder of a job. It gets another name first, so that the next server completes the removal."""
    with suppress(OSError):  # it does not exist, or Windows has one of its files open
        folder = folder.rename(folder.with_name(folder.name + _REMOVED))
    shutil.rmtree(folder, ignore_errors=True)


def _read_jobs(root: Path) -> list[UploadJob]:
    """Read the jobs of a folder in their order. Remove deleted jobs and unfinished uploads, and nothing else."""
    jobs: list[UploadJob] = []
    for folder in list(root.iterdir()):
        if folder.name == MARKER:
            continue
        if _FOLDER_NAME.fullmatch(folder.name.removesuffix(_REMOVED)) and folder.suffix == _REMOVED:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        if not _FOLDER_NAME.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            _LOG.warning("%s: this is not a job. Sonjit does not change it.", folder)
            continue
        try:
            job = load_job(folder)
        except FileNotFoundError:
            with suppress(OSError):  # it is missing or not empty
                (folder / INPUT).rmdir()
            try:
                folder.rmdir()
            except OSError:
                _LOG.warning("%s: this folder has no %s. Sonjit does not change it.", folder, RECORD)
        except (OSError, SonjitError, ValueError, KeyError, TypeError, OverflowError) as error:
            _LOG.warning("%s: this job cannot be read (%s). Remove its folder.", folder, error)
        else:
            if job.state == "uploading":
                shutil.rmtree(folder, ignore_errors=True)
            else:
                jobs.append(job)
    return sorted(jobs, key=lambda job: job.number)
