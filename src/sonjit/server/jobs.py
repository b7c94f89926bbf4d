"""The endpoints of jobs: a whole video or any number of images in; tables and a drawing out.

What a job made, as files that browsers save.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from sonjit.detectors.kinds import KINDS
from sonjit.detectors.options import Option
from sonjit.errors import SonjitError
from sonjit.json_text import Json, json_from
from sonjit.media import TABLE_ENDINGS
from sonjit.runs import ROW_ENDINGS
from sonjit.server.detector_pool import require_weights
from sonjit.server.errors import RefusedError, refusal_from
from sonjit.server.job import ENDED, INPUT, UploadJob
from sonjit.server.job_queue import Jobs, storage_refusal
from sonjit.server.middleware import limited
from sonjit.server.options import (
    BINARY,
    DetectorChoice,
    each_kind_once,
    known_options,
    query_parameters,
    read_detector,
    read_value,
    single_values,
    upload_body,
)
from sonjit.server.schemas import job_answer, responses
from sonjit.server.settings import Settings
from sonjit.server.tokens import KEPT_S
from sonjit.server.uploads import JobInput, Upload, input_from_files, open_upload

_DETECTORS = Option(
    "detectors",
    "string",
    'Several at once, each with its options, as JSON: [{"kind": "hands", "model": "lite"}, {"kind": "face"}]; '
    "in place of kind and its options.",
)
_DRAW = Option("draw", "boolean", "Make a drawing as well.", default=True)
_NAME = Option("name", "string", "What to call a body that is one file.", default="upload")

_BODY = upload_body({"type": "array", "items": BINARY})
_PIECE_BYTES = 1 << 20  # of an upload: written by another thread, while the loop serves others
_BETWEEN_EVENTS_S = 0.1
_KEEP_ALIVE_S = 15


def _parameters() -> list[Json]:
    """Of `POST /v1/jobs`: its own, and the options of all kinds together."""
    kind = Option("kind", "string", "What to find.", choices=tuple(KINDS))
    options = {name: one for known in KINDS for name, one in known_options(known, job=True).items()}
    options["model"] = Option("model", "string", "Which of the kind's models; by default its first.")
    return query_parameters((kind, _DETECTORS, _DRAW, _NAME, *options.values()))


def job_router(jobs: Jobs) -> APIRouter:
    """The endpoints below `/v1/jobs`."""
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

    one = {"responses": responses(job_answer(), "The job.")}
    several = {"responses": responses({"type": "array", "items": job_answer()}, "The jobs of this client.")}
    begun = {"responses": responses(job_answer(), "The job, which waits for its turn.", 202)}

    @router.post("", status_code=202, openapi_extra={"parameters": _parameters(), "requestBody": _BODY, **begun})
    async def create(request: Request) -> Response:
        """Begin a job: a video or images as the body, or as files called `file` of a multipart form."""
        try:
            job = await _job_from(request, jobs)
        except RefusedError as refusal:
            response = refusal.response()
            if "content-length" in request.headers:  # it will end: a client cut off in its upload reads no answer
                del response.headers["connection"]
            return response
        return _with_owner(JSONResponse(job.to_dict(), 202, {"location": f"/v1/jobs/{job.id}"}), job.owner)

    @router.get("", openapi_extra=several)
    async def list_jobs(request: Request) -> Response:
        """The jobs of this client, newest first."""
        owner = _owner(request) or secrets.token_hex(16)
        return _with_owner(JSONResponse([job.to_dict() for job in jobs.newest_first(owner)]), owner)

    @router.get("/{job_id}", openapi_extra=one)
    async def status(request: Request, job_id: str) -> Response:
        """One job."""
        return JSONResponse(jobs.find(job_id, _owner(request)).to_dict())

    @router.get("/{job_id}/events")
    async def events(request: Request, job_id: str) -> Response:
        """Server-sent events: the job after every change, the last when it has ended."""
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        job = jobs.find(job_id, _owner(request))
        return StreamingResponse(_events(job), media_type="text/event-stream", headers=headers)

    @router.post("/{job_id}/cancel", openapi_extra=one)
    def cancel(request: Request, job_id: str) -> Response:
        """Stop it; what was made is thrown away."""
        job = jobs.find(job_id, _owner(request))
        job.cancel()
        return JSONResponse(job.to_dict())

    @router.delete("/{job_id}", status_code=204)
    def delete(request: Request, job_id: str) -> Response:
        """Cancel it if need be, and remove its files."""
        jobs.delete(jobs.find(job_id, _owner(request)))
        return Response(status_code=204)

    @router.get("/{job_id}/result.{ending}")
    def result(request: Request, job_id: str, ending: str) -> Response:
        """The table: `json`, `jsonl`, `csv` or `parquet`."""
        job = _done(jobs.find(job_id, _owner(request)))
        if f".{ending}" not in TABLE_ENDINGS:
            raise RefusedError("not_found", f"no table {ending[:20]!r}; known: {', '.join(TABLE_ENDINGS)}")
        return download(jobs, job, lambda: job.table(f".{ending}"), "")

    @router.get("/{job_id}/motions.{ending}")
    def motions(request: Request, job_id: str, ending: str) -> Response:
        """The table of motions of hands: `csv` or `parquet`; JSON tables hold them themselves."""
        job = _done(jobs.find(job_id, _owner(request)))
        if f".{ending}" not in ROW_ENDINGS:
            raise RefusedError("not_found", f"no motions.{ending[:20]}; known: {', '.join(ROW_ENDINGS)}")
        if not job.has_motions:
            raise RefusedError("not_found", "no motions: they are those of videos, with gestures or measures of hands")
        return download(jobs, job, lambda: job.motions(f".{ending}"), ".motions")

    @router.get("/{job_id}/drawn.{ending}")
    def drawn(request: Request, job_id: str, ending: str) -> Response:
        """The drawing: `mp4` of a video, `jpg` of one image, `zip` of several."""
        job = _done(jobs.find(job_id, _owner(request)))
        path = job.drawing
        if path is None or path.suffix != f".{ending}":
            there = "was not asked for (draw=false)" if path is None else f"is {path.name}"
            raise RefusedError("not_found", f"no drawn.{ending[:20]}: the drawing of this job {there}")
        if not path.exists() and job.problems:  # its encoder refused it
            raise RefusedError("not_found", job.problems[-1])
        return download(jobs, job, lambda: path, "-drawn")

    return router


_COOKIE = "sonjit_jobs"


def _owner(request: Request) -> str:
    """The secret of a client that has one, else an empty text."""
    secret = request.cookies.get(_COOKIE, "")
    return secret if re.fullmatch("[0-9a-f]{32}", secret) else ""


def _with_owner(response: Response, owner: str) -> Response:
    """Let a browser keep its secret, out of reach of any script and of other sites."""
    response.set_cookie(_COOKIE, owner, max_age=KEPT_S, path="/v1/jobs", httponly=True, samesite="strict")
    return response


async def _job_from(request: Request, jobs: Jobs) -> UploadJob:
    """The job that a request asks for, waiting in the queue; refuses what it can before it reads the body."""
    settings = jobs.settings
    query = single_values(request.query_params)
    draw = bool(read_value(_DRAW, query.pop("draw", True)))
    name = query.pop("name", "upload")
    detectors = _detectors(query)
    for kind, options in detectors:
        require_weights(kind, str(options["model"]))
    with jobs.place() as (folder, take):
        body = limited(request, settings.max_job_bytes, "--max-job-mb", take)
        try:
            given = await _take_in(body, folder / INPUT, name, settings)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)  # gigabytes take long: not in the loop
            raise
        owner = _owner(request)
        job = UploadJob(
            folder, given, detectors, draw, settings.max_job_minutes, settings.max_pixels,
            owner or secrets.token_hex(16), bool(owner), request.client.host if request.client else "",
        )  # fmt: skip
        jobs.add(job)
    return job


def _detectors(query: dict[str, str]) -> tuple[DetectorChoice, ...]:
    """Those that a query asks for: one by its kind and options, or several as JSON."""
    if _DETECTORS.name not in query:
        return (read_detector(query, job=True),)
    text = query.pop(_DETECTORS.name)
    if query:
        raise RefusedError("bad_option", f"{min(query)[:60]!r} beside detectors: write it into each of them")
    try:
        listed: object = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not listed:
        raise RefusedError("bad_option", 'detectors: give a list such as [{"kind": "hands"}, {"kind": "face"}]')
    detectors = tuple(read_detector(one, job=True) for one in cast("list[object]", listed))
    each_kind_once(kind for kind, _ in detectors)
    return detectors


async def _take_in(body: Request, folder: Path, name: str, settings: Settings) -> JobInput:
    """What a body holds, in files below a folder; RefusedError where that is not a job's input."""
    try:
        upload = open_upload(folder, body.headers.get("content-type", ""), name)
        try:
            await _receive(body, upload)
        finally:
            upload.close()
        return await asyncio.to_thread(input_from_files, upload.files, upload.folder, max_pixels=settings.max_pixels)
    except OSError as error:
        raise storage_refusal(error, settings) from None
    except SonjitError as error:
        raise refusal_from(error, "bad_image") from None


async def _receive(body: Request, upload: Upload) -> None:
    """Read a body to its end into files."""
    piece = bytearray()
    async for data in body.stream():
        piece += data
        if len(piece) >= _PIECE_BYTES:
            await asyncio.to_thread(upload.feed, bytes(piece))
            piece.clear()
    await asyncio.to_thread(upload.feed, bytes(piece))
    upload.finish()


async def _events(job: UploadJob) -> AsyncIterator[str]:
    """The job whenever it has changed; looking is cheap enough to need no queue per listener."""
    sent: Mapping[str, Any] = {}
    last_s = time.monotonic()
    while True:
        now = job.to_dict()
        if now | {"seconds": 0} != sent:
            sent, last_s = now | {"seconds": 0}, time.monotonic()
            yield f"data: {json_from(now)}\n\n"
        elif time.monotonic() - last_s > _KEEP_ALIVE_S:
            last_s = time.monotonic()
            yield ": still here\n\n"
        if now["state"] in ENDED or job.is_suspended:
            return
        await asyncio.sleep(_BETWEEN_EVENTS_S)


def _done(job: UploadJob) -> UploadJob:
    """A job that has results."""
    if job.state in ("waiting", "running"):
        raise RefusedError("conflict", f"job {job.id} is {job.state}: wait until it is done")
    if job.state != "done":
        raise RefusedError("not_found", f"job {job.id} has no results: it {_ending_of(job)}")
    return job


def _ending_of(job: UploadJob) -> str:
    return "was cancelled" if job.state == "cancelled" else f"failed: {job.message}"


_MEDIA_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".mp4": "video/mp4",
    ".jpg": "image/jpeg",
    ".zip": "application/zip",
}


def download(jobs: Jobs, job: UploadJob, make: Callable[[], Path], addition: str) -> Response:
    """A file named after the source; browsers may ask for parts of it."""
    try:
        path = make()
        size = path.stat()
    except (OSError, SonjitError):
        jobs.find(job.id, job.owner)  # where it was deleted meanwhile, that is what to say
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
