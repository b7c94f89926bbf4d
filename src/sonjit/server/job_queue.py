"""The jobs that there are, and the thread that does them one after the other."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sonjit.errors import InputError
from sonjit.files import WorkFolder, sole_writer
from sonjit.server.errors import RefusedError
from sonjit.server.job import ENDED, INPUT, UploadJob
from sonjit.server.job_records import read_records, write_record
from sonjit.server.settings import Settings


class Jobs:
    """Every job from its upload until it is removed, and the folder of all their files, by default a temporary one.

    Jobs run in the order in which their uploads ended, one at a time, so that streams keep their share of the machine.
    In a folder of their own they outlive the server: when it stops, those that wait or run are left as they are, and
    the next server that is given the folder lists what has ended and begins the others anew.

    Args:
        settings: the limits, and the folder.

    Raises:
        InputError: the folder cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._jobs: dict[str, UploadJob] = {}
        self._uploads = 0
        self._coming_bytes = 0
        self._closed = False
        self._root: WorkFolder | None = None
        self._worker = ThreadPoolExecutor(1, "sonjit-job")
        self._held = ExitStack()
        if settings.jobs_folder is not None:
            self._take_over(settings.jobs_folder)

    @property
    def active(self) -> int:
        """How many are coming in, waiting or running."""
        with self._lock:
            return self._active()

    def newest_first(self, owner: str | None = None) -> list[UploadJob]:
        """All of them, or those of one client."""
        with self._lock:
            return [job for job in reversed(self._jobs.values()) if owner in (None, job.owner)]

    def find(self, job_id: str, owner: str) -> UploadJob:
        """One of them; RefusedError where it is not there, or another client's."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or (job.is_private and not job.owner == owner):
                raise RefusedError(
                    "not_found",
                    f"no job {job_id[:40]!r}: it was deleted, younger ones pushed it out, or the server began anew",
                )
            return job

    @contextmanager
    def place(self) -> Generator[tuple[Path, Callable[[int], None]]]:
        """A folder for one upload, and the promise that there is room for its job; RefusedError where there is none.

        The folder is removed if the block fails. The function beside it takes so many bytes more of the disk, and
        raises RefusedError where there are none left, not even after finished jobs were pushed out.
        """
        own = 0

        def take(count: int) -> None:
            nonlocal own
            own += count
            self._make_room(count)

        with self._lock:
            if self._closed:
                raise RefusedError("busy", "the server is stopping")
            if self._active() >= self.settings.max_jobs:
                raise RefusedError(
                    "busy", f"{self.settings.max_jobs} jobs are waiting or running (--max-jobs): try again later"
                )
            self._uploads += 1
        try:
            folder = self._new_folder()
            try:
                yield folder, take
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        finally:
            with self._lock:
                self._uploads -= 1
                self._coming_bytes -= own

    def add(self, job: UploadJob) -> None:
        """Let a job run after those before it."""
        with self._lock:
            if self._closed:
                raise RefusedError("busy", "the server is stopping")
            job.measure()
            self._jobs[job.id] = job
            self._record(job)
            self._worker.submit(self._run, job)

    def delete(self, job: UploadJob) -> None:
        """Stop a job if need be, and remove it with its files."""
        with self._lock:
            self._jobs.pop(job.id, None)
        job.cancel()
        job.clear()

    def close(self) -> None:
        """Leave every job in its folder, or cancel it and remove all files; may be called twice."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs.values())
        for job in jobs:
            if self.settings.jobs_folder is None:
                job.cancel()
            else:
                job.suspend()
        self._worker.shutdown(cancel_futures=True)
        self._held.close()
        with self._lock:
            root, self._root = self._root, None
        if root is not None:
            root.cleanup()

    def _active(self) -> int:
        return self._uploads + sum(job.state not in ENDED for job in self._jobs.values())

    def _new_folder(self) -> Path:
        try:
            with self._lock:
                if self.settings.jobs_folder is None and self._root is None:
                    self._root = WorkFolder()
                root = self.settings.jobs_folder or Path(self._root.name if self._root else "")
            folder = root / secrets.token_hex(8)
            (folder / INPUT).mkdir(parents=True)
        except OSError as error:
            raise storage_refusal(error, self.settings) from None
        return folder

    def _take_over(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held.enter_context(sole_writer(folder))
            jobs = read_records(folder, self.settings)
        except OSError as error:
            raise InputError(f"--jobs-folder {folder}: {error.strerror}; choose another folder") from None
        self._jobs = {job.id: job for job in jobs}
        for job in jobs:
            if job.state == "waiting":
                self._worker.submit(self._run, job)

    def _record(self, job: UploadJob) -> None:
        if self.settings.jobs_folder is not None and job.id in self._jobs:
            job.folder.mkdir(exist_ok=True)  # those that failed have none any more
            write_record(job)

    def _run(self, job: UploadJob) -> None:
        job.run()
        if job.is_suspended and job.state not in ENDED:
            return
        job.measure()
        with self._lock:
            self._record(job)
            old = [self._push_out() for _ in range(len(self._ended()) - self.settings.keep_jobs)]
        for one in old:
            one.clear()

    def _make_room(self, count: int) -> None:
        """Take so many bytes of the disk for what is coming in; finished jobs go where there are too few."""
        most, old = self.settings.max_disk_bytes, list[UploadJob]()
        with self._lock:
            self._coming_bytes += count
            while (used := self._coming_bytes + sum(job.disk_bytes for job in self._jobs.values())) > most:
                if not self._ended():
                    break
                old.append(self._push_out())
        for one in old:
            one.clear()
        if used > most:
            raise RefusedError(
                "busy",
                f"the files of all jobs would take more than {self.settings.max_disk_mb:g} MB (--max-disk-mb): "
                "delete jobs or try again later",
            )

    def _ended(self) -> list[UploadJob]:
        return [job for job in self._jobs.values() if job.state in ENDED]

    def _push_out(self) -> UploadJob:
        """Forget the oldest finished job of the address that has most of them, so that nobody pushes out others'."""
        ended = self._ended()
        counts = Counter(job.address for job in ended)
        old = max(ended, key=lambda job: counts[job.address])  # of several the first, which is the oldest
        return self._jobs.pop(old.id)


def storage_refusal(error: OSError, settings: Settings) -> RefusedError:
    """What the disk refuses, as reported to clients; the log says where, too."""
    where = settings.jobs_folder or tempfile.gettempdir()
    reason = error.strerror or type(error).__name__
    way_out = "set TMPDIR" if settings.jobs_folder is None else "give another --jobs-folder"
    _LOG.error("%s: %s", where, reason)
    return RefusedError("failed", f"the server's disk cannot take the upload: {reason}; make room or {way_out}")


_LOG = logging.getLogger("sonjit.server")
