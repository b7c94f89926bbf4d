"""The jobs that there are, and the thread that does them one after the other."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit.server.errors import RefusedError
from sonjit.server.job import ENDED, INPUT, UploadJob

if TYPE_CHECKING:
    from collections.abc import Generator

    from sonjit.server.settings import Settings


class Jobs:
    """Every job from its upload until it is removed, and a temporary folder for all their files.

    Jobs run in the order in which their uploads ended, one at a time, so that streams keep their share of the machine.

    Args:
        settings: the limits.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._jobs: dict[str, UploadJob] = {}
        self._uploads = 0
        self._closed = False
        self._root: tempfile.TemporaryDirectory[str] | None = None
        self._worker = ThreadPoolExecutor(1, "sonjit-job")

    @property
    def active(self) -> int:
        """How many are coming in, waiting or running."""
        with self._lock:
            return self._active()

    def newest_first(self) -> list[UploadJob]:
        """All of them."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def find(self, job_id: str) -> UploadJob:
        """One of them; RefusedError where it is not there."""
        with self._lock:
            if job_id not in self._jobs:
                raise RefusedError(
                    "not_found", f"no job {job_id[:40]!r}: it was deleted, or younger ones pushed it out"
                )
            return self._jobs[job_id]

    @contextmanager
    def place(self) -> Generator[Path]:
        """A folder for one upload, and the promise that there is room for its job; RefusedError where there is none.

        The folder is removed if the block fails.
        """
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
                yield folder
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        finally:
            with self._lock:
                self._uploads -= 1

    def add(self, job: UploadJob) -> None:
        """Let a job run after those before it."""
        with self._lock:
            if self._closed:
                raise RefusedError("busy", "the server is stopping")
            self._jobs[job.id] = job
            self._worker.submit(self._run, job)

    def delete(self, job_id: str) -> None:
        """Stop a job if need be, and remove it with its files."""
        job = self.find(job_id)
        with self._lock:
            self._jobs.pop(job_id, None)
        job.cancel()
        job.clear()

    def close(self) -> None:
        """Cancel every job and remove all files; may be called twice."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        self._worker.shutdown(cancel_futures=True)
        with self._lock:
            root, self._root = self._root, None
        if root is not None:
            root.cleanup()

    def _active(self) -> int:
        return self._uploads + sum(job.state not in ENDED for job in self._jobs.values())

    def _new_folder(self) -> Path:
        try:
            with self._lock:
                if self._root is None:
                    self._root = tempfile.TemporaryDirectory(prefix="sonjit-jobs-", ignore_cleanup_errors=True)
                folder = Path(self._root.name) / secrets.token_hex(8)
            (folder / INPUT).mkdir(parents=True)
        except OSError as error:
            raise storage_refusal(error) from None
        return folder

    def _run(self, job: UploadJob) -> None:
        job.run()
        with self._lock:
            ended = [job for job in self._jobs.values() if job.state in ENDED]
            pushed_out = ended[: max(0, len(ended) - self.settings.keep_jobs)]
            for old in pushed_out:
                del self._jobs[old.id]
        for old in pushed_out:
            old.clear()


def storage_refusal(error: OSError) -> RefusedError:
    """What the disk refuses, as clients are told."""
    where = tempfile.gettempdir()
    reason = error.strerror or type(error).__name__
    return RefusedError("failed", f"{where} of the server cannot take the upload: {reason}; make room or set TMPDIR")
