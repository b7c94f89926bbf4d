"""The endpoints below `/v1/annotate`: the images and marks of one project."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypedDict, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sonjit.errors import InputError
from sonjit.multiview.annotation.marks import (
    JOINTS,
    MACHINE,
    Mark,
    MarkRecord,
    check_name,
    mark_from_dict,
    mark_to_dict,
)
from sonjit.multiview.annotation.project import Project
from sonjit.multiview.automatic.labels import prelabel
from sonjit.server.annotation_frames import Frames, FrameState, ImageRegion, Images
from sonjit.server.errors import RefusedError
from sonjit.server.middleware import limited
from sonjit.server.options import SessionOptions, read_options
from sonjit.server.service import Service

T = TypeVar("T")
_MOST_MARKS = 5000  # of one call
_LONGEST_PX = 8192
_KEEP = {"cache-control": "private, max-age=3600"}


class WrittenMark(TypedDict):
    """A mark that was written."""

    id: str
    version: int


class RefusedMark(TypedDict):
    """A mark that was not written, and the one that is there."""

    id: str
    there: MarkRecord


class WriteAnswer(TypedDict):
    """The answer of `POST /v1/annotate/marks`, without the frame set's state."""

    written: list[WrittenMark]
    refused: list[RefusedMark]


class Studio:
    """An open project behind the endpoints.

    Args:
        project: what is annotated.
        service: the server's parts.
    """

    def __init__(self, project: Project, service: Service) -> None:
        self.project = project
        self.frames = Frames(project)
        self.images = Images(project)
        self._numbers = frozenset(project.frames)
        self._service = service
        self._lane = service.workers.lane()

    async def work(self, what: Callable[[], T], code: str = "bad_option") -> T:
        """The result of a call on one of the server's workers; a wrong input is refused with a code."""
        with _refusing(code):
            return await self._lane.run(what)

    def known_frame(self, text: str | None) -> int:
        """A frame's number; RefusedError where the project has none such."""
        number = _number("frame", text)
        if number not in self._numbers:
            raise RefusedError("not_found", f"frame {number} is not in this project: see the frames of /v1/annotate")
        return number

    async def write(self, annotator: str, records: list[Any]) -> WriteAnswer:
        """Store marks that a client sent: which are written, and which met a newer one."""
        with _refusing("bad_option"):
            bases = [record.pop("base", None) if isinstance(record, dict) else None for record in records]
            marks = [self._checked(mark_from_dict(record, annotator)) for record in records]
            if not all(base is None or type(base) is int for base in bases):
                raise InputError("base: give the version of the mark that was there, 0 for none")
        results = await self.work(partial(self.project.store.add, marks, bases))
        return {
            "written": [{"id": one.mark.id, "version": one.mark.version} for one in results if one.written],
            "refused": [
                {"id": mark.id, "there": mark_to_dict(one.mark)}
                for mark, one in zip(marks, results, strict=True)
                if not one.written
            ],
        }

    async def prelabel(self, frame: int, views: list[str]) -> None:
        """Let Sonjit's hand detector mark views of one frame set."""
        options = SessionOptions.filled("hands", read_options("hands", {"model": "full"}), still=True)
        pool = self._service.detectors
        detector = await asyncio.to_thread(pool.take, options)

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

    def _checked(self, mark: Mark) -> Mark:
        self.project.view(mark.view)
        if mark.frame not in self._numbers:
            raise InputError(f"mark {mark.id}: frame {mark.frame} is not in this project")
        return mark


def annotation_router(studio: Studio, service: Service) -> APIRouter:
    """The endpoints of one project."""
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
        """The project: its views, frames, joints and bones."""
        return JSONResponse(await studio.work(frames.project))

    @router.get("/image")
    async def image(request: Request) -> Response:
        """`view` at `frame` as JPEG, at most `longest` pixels; or of it `region=x,y,width,height`."""
        query = request.query_params
        frame = studio.known_frame(query.get("frame"))
        longest = _number("longest", query.get("longest", "1280"), _LONGEST_PX, least=16)
        part = _region(query["region"]) if "region" in query else None
        with _refusing("not_found"):
            view = query.get("view", "")
            studio.project.view(view)
        jpeg = await studio.work(partial(studio.images.jpeg, view, frame, longest, part), "bad_image")
        return Response(jpeg, media_type="image/jpeg", headers=_KEEP)

    @router.get("/frames/{frame}")
    async def frame_state(request: Request, frame: str) -> Response:
        """One frame set as `annotator` sees it; `joint` adds its epipolar lines, `points=all` uses everyone's marks."""
        return JSONResponse(await state(request, studio.known_frame(frame), _annotator(request.query_params)))

    @router.post("/marks")
    async def mark(request: Request) -> Response:
        """Write marks of `annotator`; answers which were written, and the frame of the last as `frames` would."""
        with service.image_bytes.body() as take:
            body = await limited(request, service.settings.max_body_bytes, "--max-body-mb", take).body()
        sent = _object(body)
        annotator = _annotator(sent)
        records = sent.get("marks")
        if not isinstance(records, list) or not 0 < len(records) <= _MOST_MARKS:
            raise RefusedError("bad_option", f"marks: give a list of 1 to {_MOST_MARKS}")
        answer = await studio.write(annotator, records)
        return JSONResponse({**answer, "state": await state(request, records[-1]["frame"], annotator)})

    @router.post("/prelabel")
    async def label(request: Request) -> Response:
        """Let Sonjit's hand detector mark `frame`, in each `view` that is given, or in all."""
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
        """Joints that can be triangulated, by frame, and how much frames need attention."""
        return JSONResponse(await studio.work(frames.progress))

    @router.get("/changes")
    async def changes(request: Request) -> Response:
        """Who wrote to which frame after the version `since`."""
        since = _number("since", request.query_params.get("since"))
        version = store.version
        return JSONResponse({"version": version, "frames": await studio.work(partial(store.changed_frames, since))})

    @router.get("/history")
    async def history(request: Request) -> Response:
        """Every mark ever written to `frame`, in order."""
        frame = studio.known_frame(request.query_params.get("frame"))
        return JSONResponse([mark_to_dict(one) for one in await studio.work(partial(store.history, frame))])

    @router.get("/agreement")
    async def agreement() -> Response:
        """How well annotators agree, over all frames."""
        return JSONResponse(await studio.work(frames.agreement))

    return router


@contextmanager
def _refusing(code: str) -> Generator[None]:
    try:
        yield
    except InputError as error:
        raise RefusedError(code, str(error)) from None


def _annotator(given: Any) -> str:  # noqa: ANN401  # query or JSON object
    name = given.get("annotator")
    with _refusing("bad_option"):
        if not isinstance(name, str) or check_name("annotator", name) == MACHINE:
            raise InputError(f"annotator {name!r:.60}: give a name; {MACHINE!r} is reserved")
    return name


def _number(name: str, text: str | None, most: int = 1 << 53, least: int = 0) -> int:
    if text is None or not (text.isascii() and text.isdecimal() and len(text) < 17) or not least <= int(text) <= most:
        raise RefusedError("bad_option", f"{name} {text!r:.40}: give a whole number from {least} to {most}")
    return int(text)


def _region(text: str) -> ImageRegion:
    numbers = text.split(",")
    if len(numbers) != 4:
        raise RefusedError("bad_option", f"region {text!r:.60}: give x,y,width,height in pixels")
    return ImageRegion(*(_number("region", one, 1 << 20) for one in numbers))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError("bad_option", "the body is not a JSON object: send {annotator, marks}")
    return found
