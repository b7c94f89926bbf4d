"""What a job made, as files that browsers save."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, Response

from sonjit.errors import SonjitError
from sonjit.server.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import Message, Receive, Scope, Send

    from sonjit.server.job import Job
    from sonjit.server.job_queue import Jobs

_MEDIA_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".mp4": "video/mp4",
    ".jpg": "image/jpeg",
    ".zip": "application/zip",
}


def download(jobs: Jobs, job: Job, make: Callable[[], Path], addition: str) -> Response:
    """A file named after the source; browsers may ask for parts of it."""
    try:
        path = make()
        size = path.stat()
    except (OSError, SonjitError):
        jobs.find(job.id)  # where it was deleted meanwhile, that is what to say
        raise
    name = f"{PurePath(job.given.name).stem}{addition}{path.suffix}"
    return _Download(path, media_type=_MEDIA_TYPES[path.suffix], filename=name, stat_result=size)


class _Download(FileResponse):
    """A file that may be removed before it is opened: nothing is promised until then."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or that it is gone."""
        head: Message | None = None

        async def send_once_open(message: Message) -> None:
            nonlocal head
            if message["type"] == "http.response.start":
                head = message
                return
            if head is not None:
                promise, head = head, None
                await send(promise)
            await send(message)

        try:
            await super().__call__(scope, receive, send_once_open)
        except FileNotFoundError:
            gone = RefusedError("not_found", "the job and its files were removed just now")
            await gone.response()(scope, receive, send)
