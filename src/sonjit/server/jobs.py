"""The endpoints of jobs, which turn a video or images into tables and an annotated copy."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import Any, cast

from fastapi import APIRouter, Depends, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from sonjit._util import InputError, Json, JsonObject, SonjitError, json_from
from sonjit._util.files import sync
from sonjit._util.settings import Option, read_settings
from sonjit.detectors.kinds import KINDS
from sonjit.media import DrawingStyle
from sonjit.server import middleware, service
from sonjit.server import options as client_options
from sonjit.server.errors import RefusedError, refusal_from
from sonjit.server.job import ENDED, JobState, JobTexts, UploadJob
from sonjit.server.job_files import JobInput, Upload, check_beginning, input_from_files
from sonjit.server.job_store import JobStore, storage_refusal
from sonjit.server.kinds import responses, upload_body
from sonjit.server.settings import MB, Settings

_DETECTORS = Option(
    'Several detectors with their options as JSON: [{"kind": "hands", "model": "lite"}, {"kind": "face"}]. '
    "Replaces kind and its options.",
    name="detectors",
)
_DRAW = Option("Write a drawing too.", name="draw", type="boolean", default=True)
_STYLE = Option(
    'Settings of the drawing as JSON, with the names of DrawingStyle: {"colour": "#ff8800", "thickness": 2}.',
    name="style",
    default="{}",
)
_NAME = Option("File name of a body that is one file.", name="name", default="upload")
_OF_JOB = (_DRAW, _STYLE, _NAME)  # parameters of a job, not of its detectors

_MAX_CHECKED = 2 * MB  # bytes of the beginning of a file
_BETWEEN_EVENTS_S = 0.1
_KEEP_ALIVE_S = 15  # minimum interval between progress events, and interval of comments that keep a connection open


def _parameters() -> list[Json]:
    """Return the parameters of `POST /v1/jobs`, including the options of all kinds."""
    kind = Option("Kind of instance to find.", name="kind", choices=tuple(KINDS))
    options = {
        name: option
        for kind_name in KINDS
        for name, option in client_options.known_options(kind_name, job=True).items()
    }
    options["model"] = Option("Model of the kind. Default: its first model.", name="model")
    return client_options.query_parameters((kind, _DETECTORS, *_OF_JOB, *options.values()))


def job_router(store: JobStore) -> APIRouter:
    """Return the endpoints under `/v1/jobs`."""
    router, root = APIRouter(prefix="/v1/jobs", tags=["jobs"]), store.settings.root_path

    single = responses(JobState, "The job.")
    several = responses(list[JobState], "The jobs of the server.")
    created = responses(JobState, "The queued job.", 202)
    request_form: JsonObject = {"parameters": _parameters(), "requestBody": upload_body()}

    @router.post("", status_code=202, responses=created, openapi_extra=request_form)
    async def create(request: Request) -> Response:
        """Create a job. Send a video or image as the body, or several files as `file` in a multipart form."""
        try:
            job = await _create_job(request, store)
        except RefusedError as refusal:
            response = refusal.response()
            if "content-length" in request.headers:  # it will end: a client cut off in its upload reads no answer
                del response.headers["connection"]
            return response
        return JSONResponse(job.to_dict(root), 202, {"location": f"{root}/v1/jobs/{job.id}"})

    @router.post("/check", status_code=204)
    async def check(request: Request, name: str = "upload") -> Response:
        """Refuse the beginning of a large file if it is neither a video nor an image, before all of it is sent."""
        head = await middleware.limited(request, _MAX_CHECKED, "the part", lambda _: None).body()
        await asyncio.to_thread(check_beginning, head, name, max_pixels=store.settings.max_pixels)
        return Response(status_code=204)

    @router.get("", responses=several)
    def list_jobs() -> Response:
        """Return the jobs of the server, newest first."""
        return JSONResponse([job.to_dict(root) for job in store.newest_first()])

    async def find(job_id: str) -> UploadJob:
        return store.find(job_id)

    dependency: Any = Depends(find)

    @router.get("/{job_id}", responses=single)
    def status(job: UploadJob = dependency) -> Response:
        """Return the state of a job."""
        return JSONResponse(job.to_dict(root))

    @router.get("/{job_id}/events")
    async def events(request: Request, job: UploadJob = dependency) -> Response:
        """Send events with the job after every change, until it ends."""
        return _event_stream(request, job, root)

    @router.post("/{job_id}/cancel", responses=single)
    def cancel(job: UploadJob = dependency) -> Response:
        """Cancel a job and remove its files."""
        store.cancel(job)
        return JSONResponse(job.to_dict(root))

    @router.post("/{job_id}/repeat", responses=single)
    def repeat(job: UploadJob = dependency) -> Response:
        """Run a failed or cancelled job again, if `repeatable`."""
        store.repeat(job)
        return JSONResponse(job.to_dict(root))

    @router.patch("/{job_id}", responses=single)
    def describe(texts: JobTexts, job: UploadJob = dependency) -> Response:
        """Change the title, the name of the recorded client and the note of a job."""
        store.describe(job, texts.model_dump(exclude_unset=True))
        return JSONResponse(job.to_dict(root))

    @router.delete("/{job_id}", status_code=204)
    def delete(job: UploadJob = dependency) -> Response:
        """Delete a job and its files."""
        store.delete(job)
        return Response(status_code=204)

    @router.get("/{job_id}/{file}")
    def download(file: str, job: UploadJob = dependency) -> Response:
        """Return one of the `downloads` of a job: a table of results, motions or events, or the drawing."""
        return _download(store, job, file)

    return router


def _download(store: JobStore, job: UploadJob, file: str) -> Response:
    """Return a file of a job, named after its input."""
    try:
        path = _file_of(store, job, file)
        status = path.stat()
    except (OSError, SonjitError):
        store.find(job.id)  # a job that was deleted meanwhile has its own message
        raise
    table = file.partition(".")[0]
    suffix = {"result": "", "drawn": "-drawn"}.get(table, f".{table}")
    name = f"{PurePath(job.input.name).stem}{suffix}{''.join(path.suffixes)}"
    return _Download(path, filename=name, stat_result=status)


async def _create_job(request: Request, store: JobStore) -> UploadJob:
    """Return the job of a request, queued. Requests are refused before the body is read where possible."""
    settings = store.settings
    query = client_options.single_values(request.query_params)
    given = {option.name: query.pop(option.name) for option in _OF_JOB if option.name in query}
    job_options = {option.name: option.default for option in _OF_JOB} | client_options.read_values(
        _OF_JOB, given, "a job", is_query=True
    )
    style = _read_style(str(job_options["style"]))
    detectors = _detectors(query)
    for kind, options in detectors:
        service.require_weights(kind, str(options["model"]))
    job = UploadJob(detectors, draw=bool(job_options["draw"]), style=style)
    await asyncio.to_thread(store.add, job)
    try:
        body = middleware.limited(request, int(settings.max_job_mb * MB), "--max-job-mb", partial(store.reserve, job))
        given = await _receive_input(body, job, str(job_options["name"]), settings)
        await asyncio.to_thread(store.submit, job, given)
    finally:
        store.discard(job)  # only if the upload failed
    return job


def _read_style(text: str) -> JsonObject:
    """Return the settings of a drawing from JSON, after they are checked."""
    reason = 'give an object of settings, such as {"thickness": 2}'
    try:
        style: object = json.loads(text)
        if isinstance(style, dict):
            read_settings(DrawingStyle, cast("JsonObject", style), "setting")
            return cast("JsonObject", style)
    except InputError as error:
        reason = str(error)
    except (ValueError, RecursionError):
        pass
    raise RefusedError("bad_option", f"style: {reason}")


def _detectors(query: dict[str, str]) -> tuple[client_options.DetectorChoice, ...]:
    """Return the detectors of a query: one by its kind and options, or several as JSON."""
    if _DETECTORS.name not in query:
        return (client_options.read_detector(query, job=True, is_query=True),)
    text = query.pop(_DETECTORS.name)
    if query:
        raise RefusedError(
            "bad_option", f"{min(query)[:60]!r} does not apply together with detectors. Add it to each of them"
        )
    try:
        listed: object = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    return client_options.read_detectors(listed or None, job=True)


async def _receive_input(body: Request, job: UploadJob, name: str, settings: Settings) -> JobInput:
    """Write a body into files. Raise RefusedError if they are not the input of a job."""
    try:
        upload = Upload(job.input_folder, body.headers.get("content-type", ""), name)
        try:
            async for data in body.stream():
                await asyncio.to_thread(upload.feed, data)
            upload.finish()
        finally:
            upload.close()
        if settings.jobs_folder is not None:
            for file in upload.files:
                await asyncio.to_thread(sync, file)
        job.problems = upload.problems
        if upload.problems and not upload.files:
            raise RefusedError("bad_image", f"no file came: {upload.problems[0]}")
        return await asyncio.to_thread(input_from_files, upload.files, upload.folder, max_pixels=settings.max_pixels)
    except OSError as error:
        raise storage_refusal(error, settings) from None
    except SonjitError as error:
        raise refusal_from(error, "bad_image") from None


def _event_stream(request: Request, job: UploadJob, root: str) -> Response:
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    if request.method == "HEAD":  # without waiting for the end
        return Response(media_type="text/event-stream", headers=headers)
    return StreamingResponse(_events(job, root), media_type="text/event-stream", headers=headers)


async def _events(job: UploadJob, root: str) -> AsyncIterator[str]:
    """Yield the job after every change. Polling is cheap, so that listeners need no queues."""
    sent: Mapping[str, Any] = {}
    last_s = time.monotonic()
    while True:
        now = job.to_dict(root)
        if now | {"seconds": 0} != sent:
            sent, last_s = now | {"seconds": 0}, time.monotonic()
            yield f"data: {json_from(now)}\n\n"
        elif time.monotonic() - last_s > _KEEP_ALIVE_S:
            last_s = time.monotonic()
            yield ": still here\n\n"
        if now["state"] in ENDED or job.is_suspended:
            return
        await asyncio.sleep(_BETWEEN_EVENTS_S)


def _file_of(store: JobStore, job: UploadJob, file: str) -> Path:
    """Return a file of a finished job; the first call writes a table. Raise RefusedError if there is no such file."""
    if job.state in ("waiting", "running"):
        raise RefusedError("conflict", f"job {job.id} is {job.state}: wait until it is done")
    if job.state != "done":
        reason = "was cancelled" if job.state == "cancelled" else f"failed: {job.message}"
        raise RefusedError("not_found", f"job {job.id} has no results: it {reason}")
    if file not in job.files:
        if job.drawing is not None and file == job.drawing.name and job.problems:  # the encoder refused it
            raise RefusedError("not_found", job.problems[-1])
        raise RefusedError("not_found", f"job {job.id} has no {file[:40]!r}. Choose from {', '.join(job.files)}")
    return store.file(job, file)


class _Download(FileResponse):
    """A file that may be removed before it is opened. The headers are sent when it is open."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or the reason why it is missing."""
        head: list[Message] = []

        async def send_when_open(message: Message) -> None:
            if message["type"] == "http.response.start":
                head.append(message)
                return
            while head:
                await send(head.pop())
            await send(message)

        try:
            await super().__call__(scope, receive, send_when_open)
        except FileNotFoundError:
            removed = RefusedError("not_found", "the job and its files were removed just now")
            await removed.response()(scope, receive, send)
