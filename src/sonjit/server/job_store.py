"""All jobs of the server from upload to removal, and the thread that runs them."""

import logging
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

from sonjit._util import InputError, SonjitError
from sonjit._util.extensions import LoadedExtensions
from sonjit._util.files import WorkFolder, check_local, sync
from sonjit.server.errors import RefusedError, refusal_from
from sonjit.server.job import ENDED, UploadJob
from sonjit.server.job_files import NETWORK_BYTES, JobEnd, JobInput, run_detectors
from sonjit.server.job_rows import DATABASE, OLD_MARKER, JobRows
from sonjit.server.processes import CrashError, TooSlowError, Worker
from sonjit.server.settings import MB, Settings

_LOG = logging.getLogger("sonjit.server")


class JobStore:
    """All jobs from upload to removal, and the folder of their files.

    Jobs run one at a time in the order in which their uploads ended, so that streams keep their share of the machine.
    The store is the only owner of a job's folder. While a job runs, the runner thread removes its files. The cleaner
    thread removes the files of evicted jobs, because the event loop must not wait for the disk.

    Without `jobs_folder` the files are in a temporary folder. Jobs in a `jobs_folder` survive the server: the next
    server lists the finished jobs and restarts the others. Their rows are in `jobs.sqlite`.
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
        if settings.jobs_folder is None:
            self._rows = JobRows(None)
        else:
            self._rows = _open_jobs_folder(settings.jobs_folder)
            self._jobs = {job.id: job for job in self._rows.load(settings.jobs_folder)}
        for job in self._jobs.values():
            if job.state == "waiting":
                self._runner.submit(self._run, job)

    @property
    def disk_mb(self) -> float:
        """Size of the files of all jobs in megabytes."""
        with self._lock:
            return round(self._used_bytes() / MB, 1)

    @property
    def active(self) -> int:
        """Number of jobs that are uploading, waiting or running."""
        with self._lock:
            return sum(job.state not in ENDED for job in self._jobs.values())

    def newest_first(self) -> list[UploadJob]:
        """Return all uploaded jobs."""
        with self._lock:
            return [job for job in reversed(self._jobs.values()) if job.state != "uploading"]

    def find(self, job_id: str) -> UploadJob:
        """Return a job. Raise RefusedError if it does not exist."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state == "uploading":
                raise RefusedError("not_found", f"no job {job_id[:40]!r} is on this server")
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
        assert self._root is not None
        job.folder = self._root / secrets.token_hex(8)
        with self._lock:
            self._require_open()
            if self.active >= self.settings.max_jobs:
                raise RefusedError(
                    "busy", f"{self.settings.max_jobs} jobs are waiting or running (--max-jobs): try again later"
                )
            self._jobs[job.id] = job
        try:
            self._rows.insert(job)
            job.input_folder.mkdir(parents=True)
        except (OSError, SonjitError) as error:
            with self._lock:
                self._jobs.pop(job.id, None)
            self._remove(job)
            raise storage_refusal(error, self.settings) from None

    def reserve(self, job: UploadJob, count: int) -> None:
        """Add bytes to the size of an upload. Evict finished jobs if the files of all jobs exceed the quota."""
        max_bytes = self.settings.max_disk_mb * MB
        with self._lock:
            job.disk_bytes += count
            while (used := self._used_bytes()) > max_bytes:
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
        self._require_listed(job)
        job.input = given
        self._queue(job)

    def repeat(self, job: UploadJob) -> None:
        """Run a failed or cancelled job again. Raise RefusedError if it ended otherwise or its files are gone."""
        if not job.repeatable:
            raise RefusedError("conflict", f"job {job.id} is {job.state} or its files are gone: send the files again")
        self._queue(job)

    def _queue(self, job: UploadJob) -> None:
        try:
            self._rows.update(job, "waiting")
        except SonjitError as error:
            raise storage_refusal(error, self.settings) from None
        with self._lock:
            self._require_listed(job)
            job.begin()
            job.move("waiting")
            self._runner.submit(self._run, job)

    def describe(self, job: UploadJob, texts: Mapping[str, str]) -> None:
        """Change the title, the client's name and the note of a job."""
        job.describe(texts)
        try:
            self._rows.update(job)
        except SonjitError as error:
            raise storage_refusal(error, self.settings) from None

    def file(self, job: UploadJob, name: str) -> Path:
        """Return one of the files of a job. The first call writes most of them."""
        known = job.summaries
        path = job.file(name)
        if job.summaries is not known:
            self._save(job)
        return path

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
            job.move("cancelled")
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
            self._remove(job)
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
        self._rows.close()
        with self._preparing:
            self._resources.close()

    def _require_listed(self, job: UploadJob) -> None:
        with self._lock:
            self._require_open()
            if job.id not in self._jobs:
                raise RefusedError("conflict", "the upload was cancelled")

    def _require_open(self) -> None:
        if self._is_closed:
            raise RefusedError("busy", "the server is stopping")

    def _ended(self) -> list[UploadJob]:
        return [job for job in self._jobs.values() if job.state in ENDED]

    def _used_bytes(self) -> int:
        return sum(job.disk_bytes for job in self._jobs.values())

    def _evict(self) -> None:
        """Remove the oldest finished job."""
        self._remove_later(self._jobs.pop(self._ended()[0].id))

    def _remove_later(self, job: UploadJob) -> None:
        with suppress(RuntimeError):  # the store is closed. The next server removes what is left
            self._cleaner.submit(self._remove, job)

    def _remove(self, job: UploadJob) -> None:
        """Remove the folder and the row of a job. The next server completes an interrupted removal."""
        try:
            self._rows.begin_removal(job.id)
        except SonjitError as error:  # a full disk, in which the folder makes room
            _LOG.warning("%s", error)
        shutil.rmtree(job.folder, ignore_errors=True)
        try:
            self._rows.delete(job.id)
        except SonjitError as error:
            _LOG.warning("%s", error)

    def _run(self, job: UploadJob) -> None:
        """Run a job, unless it was cancelled or suspended while it waited."""
        with self._lock:
            if job.state != "waiting" or job.is_suspended:
                return
            worker = job.worker = Worker(self.settings.max_pixels, NETWORK_BYTES, job.folder)
            job.started_s = time.monotonic()
            job.move("running")
        self._end(job, self._work(job, worker))
        self._finish(job)

    def _end(self, job: UploadJob, end: JobEnd | str) -> None:
        """Note the end of a run: what it found, or the reason of a failure."""
        with self._lock:
            if job.is_suspended and job.state == "running" and isinstance(end, str):
                job.move("waiting")
                return
            job.seconds = time.monotonic() - job.started_s
            job.ended = datetime.now(UTC).isoformat(timespec="seconds")
            if job.state != "running":  # it was cancelled
                return
            if isinstance(end, str):
                job.message = end
            else:
                job.problems = [*job.problems, *map(job.redacted, end.problems)]
                job.length, job.summaries = end.length, end.summaries
            job.move("failed" if isinstance(end, str) else "done")

    def _work(self, job: UploadJob, worker: Worker) -> JobEnd | str:
        """Run a job in its process and return what it found, or the reason of a failure."""
        given, minutes = job.input, self.settings.max_job_minutes
        try:
            with worker:
                end = JobEnd(
                    **worker.call(
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
        return end

    def _advance(self, job: UploadJob, progress: Mapping[str, object]) -> None:
        """Store the progress that a running job reports."""
        for name in ("of", "frames", "instances"):
            if job.state == "running" and isinstance(count := progress.get(name), int):
                setattr(job, name, count)

        job.seconds = time.monotonic() - job.started_s

    def _finish(self, job: UploadJob) -> None:
        """Remove the files that an ended job does not need, and evict jobs beyond `keep_jobs` and `max_disk_mb`."""
        with self._lock:
            is_listed = job.id in self._jobs
        if not is_listed:
            self._remove(job)
        elif self._save(job):  # otherwise the next server repeats the job, with its input
            job.clean()
        with self._lock:
            while len(ended := self._ended()) > self.settings.keep_jobs or (
                len(ended) > 1 and self._used_bytes() > self.settings.max_disk_mb * MB
            ):
                self._evict()

    def _save(self, job: UploadJob) -> bool:
        """Write the state of a job; False if the disk refuses it."""
        try:
            self._rows.update(job)
        except SonjitError as error:
            _LOG.warning("%s", error)
            return False
        return True


def _open_jobs_folder(root: Path) -> JobRows:
    """Open or create a jobs folder. Raise InputError if it contains other files, or another server uses it."""
    check_local(root)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {path.name for path in root.iterdir()}
        if names and names.isdisjoint((DATABASE, OLD_MARKER)):
            raise InputError(
                f"--jobs-folder {root} contains files that Sonjit did not create. Choose a new or empty folder."
            )
        rows = JobRows(root)
        if DATABASE not in names:
            root.chmod(0o700)
        return rows
    except OSError as error:
        raise InputError(f"--jobs-folder {root}: {error.strerror}; choose another folder") from None


def storage_refusal(error: OSError | SonjitError, settings: Settings) -> RefusedError:
    """Return the refusal for a disk error. The log names the folder; the client's message does not."""
    folder = settings.jobs_folder or tempfile.gettempdir()
    reason = str(error) if isinstance(error, SonjitError) else error.strerror or type(error).__name__
    remedy = "set TMPDIR" if settings.jobs_folder is None else "give another --jobs-folder"
    _LOG.error("%s: %s", folder, reason)
    return RefusedError("failed", f"the server's disk cannot take the upload: {reason}; make room or {remedy}")
