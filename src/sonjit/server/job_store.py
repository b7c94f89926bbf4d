"""Store the server's jobs from upload to removal, and run them in a thread."""

from __future__ import annotations

import logging
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
from pathlib import Path

from sonjit._util.errors import InputError, SonjitError
from sonjit._util.files import WorkFolder, sole_writer, write_text
from sonjit.server.errors import RefusedError, refusal_from
from sonjit.server.job_process import JobInput, JobProcess, TooSlowError, request_for
from sonjit.server.options import DetectorChoice
from sonjit.server.settings import Settings
from sonjit.server.upload_job import ENDED, INPUT, RECORD, UploadJob, load_job

MARKER = ".sonjit-jobs"
"""File in a jobs folder. It shows that Sonjit created the folder and may remove jobs from it."""
_MARKER_TEXT = "Sonjit stores the jobs of `sonjit serve --jobs-folder` in this folder and removes them.\n"
_FOLDER_NAME = re.compile("[0-9a-f]{16}")
_LOG = logging.getLogger("sonjit.server")


class JobStore:
    """All jobs from upload to removal, and the folder of their files.

    Jobs run one at a time in the order in which their uploads ended, so that streams keep their share of the machine.
    The store is the only owner of a job's folder. While a job runs, the runner thread removes its files. The cleaner
    thread removes the files of evicted jobs, because the event loop must not wait for the disk.

    Without `jobs_folder` the files are in a temporary folder. Jobs in a `jobs_folder` survive the server: the next
    server lists the finished jobs and restarts the others.

    Args:
        settings: Limits and folder.

    Raises:
        InputError: The folder cannot be used, or contains files that Sonjit did not create.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
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
            return self._active()

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
        if self._root is not None:
            return
        try:
            folder = WorkFolder()
        except OSError as error:
            raise storage_refusal(error, self.settings) from None
        with self._lock:
            if self._root is None and not self._is_closed:
                self._root = Path(folder.name)
                self._resources.callback(folder.cleanup)
                return
        folder.cleanup()

    def create(
        self,
        detectors: tuple[DetectorChoice, ...],
        owner: str,
        *,
        draw: bool = True,
        is_private: bool = False,
        address: str = "",
    ) -> UploadJob:
        """Create a job and the folder for its upload. Call `submit` or `discard` when the upload ends.

        Raises:
            RefusedError: There are too many jobs, the server stops, or the disk refuses the folder.
        """
        self.prepare()
        with self._lock:
            self._require_open()
            if self._active() >= self.settings.max_jobs:
                raise RefusedError(
                    "busy", f"{self.settings.max_jobs} jobs are waiting or running (--max-jobs): try again later"
                )
            assert self._root is not None
            last = max((other.number for other in self._jobs.values()), default=0)
            job = UploadJob(
                folder=self._root / secrets.token_hex(8),
                detectors=detectors,
                draw=draw,
                owner=owner,
                is_private=is_private,
                address=address,
                number=max(time.time_ns(), last + 1),  # the clock may step back
            )
            try:
                job.input_folder.mkdir(parents=True)
            except OSError as error:
                raise storage_refusal(error, self.settings) from None
            self._jobs[job.id] = job
            self._write_record(job)
        return job

    def reserve(self, job: UploadJob, count: int) -> None:
        """Add bytes to the size of an upload. Evict finished jobs if the files of all jobs exceed the quota.

        Raises:
            RefusedError: The quota is exceeded and no finished job is left.
        """
        with self._lock:
            job.disk_bytes += count
            while (used := sum(other.disk_bytes for other in self._jobs.values())) > self.settings.max_disk_bytes:
                if not self._ended():
                    break
                self._evict()
        if used > self.settings.max_disk_bytes:
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
            if job.process is not None:
                job.process.kill()
        if before == "waiting":  # otherwise the runner thread removes the files
            self._finish(job)

    def delete(self, job: UploadJob) -> None:
        """Stop a job and remove it with its files."""
        with self._lock:
            self._jobs.pop(job.id, None)
            has_ended = job.state in ENDED
        if has_ended:
            shutil.rmtree(job.folder, ignore_errors=True)
        else:
            self.cancel(job)

    def close(self) -> None:
        """Suspend all jobs of a `jobs_folder`, or cancel all jobs and remove their files; may be called twice."""
        with self._lock:
            self._is_closed = True
            jobs = [job for job in self._jobs.values() if job.state not in ENDED]
            for job in jobs:
                job.is_suspended = self.settings.jobs_folder is not None
                if job.is_suspended and job.process is not None:
                    job.process.kill()
        for job in jobs:
            if not job.is_suspended:
                self.cancel(job)
        self._runner.shutdown(cancel_futures=True)
        self._cleaner.shutdown()
        self._resources.close()

    def _require_open(self) -> None:
        if self._is_closed:
            raise RefusedError("busy", "the server is stopping")

    def _active(self) -> int:
        return sum(job.state not in ENDED for job in self._jobs.values())

    def _ended(self) -> list[UploadJob]:
        return [job for job in self._jobs.values() if job.state in ENDED]

    def _evict(self) -> None:
        """Remove the oldest finished job of the address that has the most, so that no client evicts others' jobs."""
        ended = self._ended()
        counts = Counter(job.address for job in ended)
        self._remove_later(self._jobs.pop(max(ended, key=lambda job: counts[job.address]).id))

    def _remove_later(self, job: UploadJob) -> None:
        with suppress(RuntimeError):  # the store is closed and its temporary folder was removed
            self._cleaner.submit(shutil.rmtree, job.folder, ignore_errors=True)

    def _run(self, job: UploadJob) -> None:
        """Run a job, unless it was cancelled or suspended while it waited."""
        with self._lock:
            if job.state != "waiting" or job.is_suspended:
                return
            job.state, job.process = "running", JobProcess(self.settings.max_pixels, job.folder)
            job.start_clock()
        message = self._work(job, job.process)
        with self._lock:
            if message is not None and job.is_suspended and job.state == "running":
                job.state = "waiting"
                return
            job.stop_clock()
            if job.state == "running":
                job.state, job.message = "done" if message is None else "failed", message
        self._finish(job)

    def _work(self, job: UploadJob, process: JobProcess) -> str | None:
        """Run a job in its process and return the reason of a failure."""
        given, minutes = job.uploaded, self.settings.max_job_minutes
        try:
            with process:
                request = request_for(job.folder, given, job.detectors, job.drawing)
                problems = process.work(
                    given.name, request, 60 * minutes, lambda progress: self._advance(job, progress)
                )
        except TooSlowError:
            return (
                f"{given.name} ran for {minutes:g} minutes and was stopped after {job.frames} images: "
                "send less, or raise --max-job-minutes"
            )
        except Exception as error:
            is_stopped = (
                job.state != "running" or job.is_suspended
            )  # its process was killed and its files may be missing
            return "stopped" if is_stopped else job.redacted(str(refusal_from(error)))
        job.problems = [job.redacted(line) for line in problems]
        return None

    def _advance(self, job: UploadJob, progress: Mapping[str, object]) -> None:
        """Store the progress that a running job reports."""
        for name in ("of", "frames", "instances"):
            if job.state == "running" and isinstance(count := progress.get(name), int):
                setattr(job, name, count)

    def _finish(self, job: UploadJob) -> None:
        """Remove the files that a finished job does not need, and evict jobs beyond `keep_jobs`."""
        is_kept = job.state == "done" and job.id in self._jobs
        shutil.rmtree(job.input_folder if is_kept else job.folder, ignore_errors=True)
        job.measure()
        with self._lock:
            if job.id in self._jobs:
                self._write_record(job)
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


def _read_jobs(root: Path) -> list[UploadJob]:
    """Read the jobs of a folder in their order. Remove unfinished uploads and nothing else."""
    jobs: list[UploadJob] = []
    for folder in root.iterdir():
        if folder.name == MARKER:
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
        except (OSError, SonjitError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("%s: this job cannot be read (%s). Remove its folder.", folder, error)
        else:
            if job.state == "uploading":
                shutil.rmtree(folder, ignore_errors=True)
            else:
                jobs.append(job)
    return sorted(jobs, key=lambda job: job.number)
