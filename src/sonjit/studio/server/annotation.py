"""The endpoints under `/v1/annotate`: images and marks of one project."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sonjit._util.errors import InputError
from sonjit.server.client_text import load_json
from sonjit.server.errors import RefusedError
from sonjit.server.middleware import limited
from sonjit.server.options import SessionOptions, read_options
from sonjit.server.service import Service
from sonjit.studio.annotation.marks import JOINTS, MACHINE, Mark, check_name, mark_from_dict, mark_to_dict
from sonjit.studio.annotation.project import Project, open_project
from sonjit.studio.automatic.labelling import prelabel
from sonjit.studio.server.annotation_frames import Frames, FrameState, ImageRegion, Images

T = TypeVar("T")
_MAX_MARKS = 5000  # per request
_MAX_SIDE_PX = 8192
_CACHE_HEADERS = {"cache-control": "private, max-age=3600"}


class Studio:
    """An open project and the functions behind the endpoints.

    Args:
        project: Open project.
        service: Parts of the server.
    """

    def __init__(self, project: Project, service: Service) -> None:
        self.project = project
        self.frames = Frames(project)
        self.images = Images(project)
        self._numbers = frozenset(project.frames)
        self._service = service
        self._queue = service.workers.new_queue()

    async def work(self, function: Callable[[], T], code: str = "bad_option") -> T:
        """Run a function on one of the server's workers. An InputError becomes a refusal with a code."""
        with _refusing(code):
            return await self._queue.run(function)

    def known_frame(self, text: str | None) -> int:
        """Return the number of a frame. Raise RefusedError if the project does not contain it."""
        number = _number("frame", text)
        if number not in self._numbers:
            raise RefusedError("not_found", f"frame {number} is not in this project: see the frames of /v1/annotate")
        return number

    async def write(self, annotator: str, records: list[Any]) -> dict[str, list[dict[str, object]]]:
        """Store the marks of a client. Marks that conflict with newer ones are refused.

        Returns:
            `written`: id and version of each stored mark; `refused`: id of each refused mark, and `there`, the newer
            mark of the project.
        """
        with _refusing("bad_option"):
            bases = [record.pop("base", None) if isinstance(record, dict) else None for record in records]
            marks = [self._check_mark(mark_from_dict(record, annotator)) for record in records]
            if not all(base is None or type(base) is int for base in bases):
                raise InputError("base: give the version of the mark that was there, 0 for none")
        results = await self.work(partial(self.project.store.add, marks, bases))
        return {
            "written": [{"id": result.mark.id, "version": result.mark.version} for result in results if result.written],
            "refused": [
                {"id": mark.id, "there": mark_to_dict(result.mark)}
                for mark, result in zip(marks, results, strict=True)
                if not result.written
            ],
        }

    async def prelabel(self, frame: int, views: list[str]) -> None:
        """Mark views of a frame set with Sonjit's hand detector."""
        options = SessionOptions.from_values("hands", read_options("hands", {"model": "full"}), still=True)
        pool = self._service.detectors
        detector = await pool.take_async(options)

        def detect() -> list[Mark]:
            marks: list[Mark] = []
            for view in views:
                if frame in self.project.view(view).numbers:
                    marks += prelabel(detector.detect, self.images.rgb(view, frame), frame, view)
            return marks

        running = asyncio.ensure_future(self.work(detect, "bad_image"))
        running.add_done_callback(lambda _: pool.give_back(options, detector))
        marks = await asyncio.shield(running)
        await self.work(partial(self.project.store.add, marks))

    def _check_mark(self, mark: Mark) -> Mark:
        self.project.view(mark.view)
        if mark.frame not in self._numbers:
            raise InputError(f"mark {mark.id}: frame {mark.frame} is not in this project")
        return mark


def project_router(folder: Path, service: Service) -> tuple[APIRouter, Callable[[], None]]:
    """Open an annotation project. Return its endpoints and a function that closes it.

    Raises:
        InputError: The folder contains no project that can be opened.
    """
    project = open_project(folder)
    return annotation_router(Studio(project, service), service), project.close


def annotation_router(studio: Studio, service: Service) -> APIRouter:
    """Return the endpoints of a project."""
    router = APIRouter(prefix="/v1/annotate", tags=["annotation"])
    frames, store = studio.frames, studio.project.store

    async def state(request: Request, frame: int, annotator: str) -> FrameState:
        query = request.query_params
        joint = _number("joint", query["joint"], JOINTS - 1) if "joint" in query else None
        everyone = query.get("points", "own") == "all"
        views = query.getlist("view")
        return await studio.work(partial(frames.frame, frame, annotator, joint=joint, views=views, everyone=everyone))

    @router.get("")
    async def project() -> Response:
        """Views, frames, joints and bones of the project."""
        return JSONResponse(await studio.work(frames.project))

    @router.get("/image")
    async def image(request: Request) -> Response:
        """Image of `view` at `frame` as JPEG with at most `longest` pixels, or its `region=x,y,width,height`."""
        query = request.query_params
        frame = studio.known_frame(query.get("frame"))
        longest = _number("longest", query.get("longest", "1280"), _MAX_SIDE_PX, minimum=16)
        part = _region(query["region"]) if "region" in query else None
        with _refusing("not_found"):
            view = query.get("view", "")
            studio.project.view(view)
        jpeg = await studio.work(partial(studio.images.jpeg, view, frame, longest, part), "bad_image")
        return Response(jpeg, media_type="image/jpeg", headers=_CACHE_HEADERS)

    @router.get("/frames/{frame}")
    async def frame_state(request: Request, frame: str) -> Response:
        """Frame set of `annotator`. `joint` adds epipolar lines; `points=all` uses the marks of all annotators."""
        return JSONResponse(await state(request, studio.known_frame(frame), _annotator(request.query_params)))

    @router.post("/marks")
    async def mark(request: Request) -> Response:
        """Store marks of `annotator`. The answer also contains the frame set of the last mark."""
        with service.image_bytes.body() as take:
            body = await limited(request, service.settings.max_body_bytes, "--max-body-mb", take).body()
        sent = _object(body)
        annotator = _annotator(sent)
        records = sent.get("marks")
        if not isinstance(records, list) or not 0 < len(records) <= _MAX_MARKS:
            raise RefusedError("bad_option", f"marks: give a list of 1 to {_MAX_MARKS}")
        answer = await studio.write(annotator, records)
        return JSONResponse({**answer, "state": await state(request, records[-1]["frame"], annotator)})

    @router.post("/prelabel")
    async def label(request: Request) -> Response:
        """Mark `frame` with Sonjit's hand detector, in each `view` or in all views."""
        query = request.query_params
        frame, annotator = studio.known_frame(query.get("frame")), _annotator(query)
        views = query.getlist("view") or list(studio.project.rig.names)
        with _refusing("not_found"):
            for view in views:
                studio.project.view(view)
        await studio.prelabel(frame, views)
        return JSONResponse(await state(request, frame, annotator))

    @router.get("/progress")
    async def progress() -> Response:
        """Number of joints that can be triangulated and review priority, by frame."""
        return JSONResponse(await studio.work(frames.progress))

    @router.get("/changes")
    async def changes(request: Request) -> Response:
        """Frames that changed after the version `since`, and their annotators."""
        since = _number("since", request.query_params.get("since"))
        version = store.version
        return JSONResponse({"version": version, "frames": await studio.work(partial(store.changed_frames, since))})

    @router.get("/history")
    async def history(request: Request) -> Response:
        """Return all versions of the marks of `frame` in order."""
        frame = studio.known_frame(request.query_params.get("frame"))
        return JSONResponse([mark_to_dict(result) for result in await studio.work(partial(store.history, frame))])

    @router.get("/agreement")
    async def agreement() -> Response:
        """Agreement of annotators over all frames."""
        return JSONResponse(await studio.work(frames.agreement))

    return router


@contextmanager
def _refusing(code: str) -> Generator[None]:
    try:
        yield
    except InputError as error:
        raise RefusedError(code, str(error)) from None


def _annotator(values: Any) -> str:  # noqa: ANN401  # query or JSON object
    name = values.get("annotator")
    with _refusing("bad_option"):
        if not isinstance(name, str) or check_name("annotator", name) == MACHINE:
            raise InputError(f"annotator {name!r:.60}: give a name; {MACHINE!r} is reserved")
    return name


def _number(name: str, text: str | None, maximum: int = 1 << 53, minimum: int = 0) -> int:
    if (
        text is None
        or not (text.isascii() and text.isdecimal() and len(text) < 17)
        or not minimum <= int(text) <= maximum
    ):
        raise RefusedError("bad_option", f"{name} {text!r:.40}: give a whole number from {minimum} to {maximum}")
    return int(text)


def _region(text: str) -> ImageRegion:
    numbers = text.split(",")
    if len(numbers) != 4:
        raise RefusedError("bad_option", f"region {text!r:.60}: give x,y,width,height in pixels")
    return ImageRegion(*(_number("region", number, 1 << 20) for number in numbers))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        content = load_json(body, "the body")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RefusedError("bad_option", "the body is not a JSON object: send {annotator, marks}")
    return cast("Mapping[str, Any]", content)
