"""Serve one annotation project under `/v1/annotate`: its frame sets, images and marks."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sonjit._util import FloatArray, Image, InputError
from sonjit.media.sources.images import encode_image
from sonjit.server.app import ProjectRoutes
from sonjit.server.errors import RefusedError
from sonjit.server.options import SessionOptions, load_json, read_options
from sonjit.server.service import Service
from sonjit_studio import bones, run_folder
from sonjit_studio import marks as joint_marks
from sonjit_studio.labelling import prelabel
from sonjit_studio.project import Project, open_project

T = TypeVar("T")
_JPEG_QUALITY = 88
_DECODED_BYTES = 400_000_000
_ENCODED_BYTES = 200_000_000
_MAX_MARKS = 5000  # per request
_MAX_SIDE_PX = 8192
_CACHE_HEADERS = {"cache-control": "private, max-age=3600"}


class FrameSetQueries:
    """Frame sets of an open project as JSON."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._bone_lengths: dict[int, FloatArray] = {}  # (40,) by frame
        self._hands: dict[int, int] = {}  # hands of which people marked any joint's position, by frame
        self._version = 0  # version of the project whose bones and hands are known
        self._agreement: tuple[int, joint_marks.Agreement] | None = None
        self._lock = threading.Lock()

    def project(self) -> dict[str, object]:
        """Return the constant data of the project."""
        project = self._project
        missing = project.missing()
        return {
            "name": project.name,
            "frames": project.frames,
            "views": [
                {
                    "name": camera.name,
                    "width": camera.width,
                    "height": camera.height,
                    "rotation": camera.R.tolist(),
                    "translation_m": camera.t.tolist(),
                    "missing": missing.get(camera.name, ()),  # frames without an image
                }
                for camera in project.rig
            ],
            "joints": joint_marks.joint_names(),
            "bones": bones.BONES,
            "annotators": project.store.annotators(),
            "version": project.store.version,
        }

    def frame(
        self, frame: int, annotator: str, *, joint: int | None, views: Collection[str], everyone: bool
    ) -> dict[str, object]:
        """Return a frame set for an annotator, with joints in space and in each view, null if unknown.

        `views` may be empty for all. `everyone` triangulates all people's marks, with the median of several in a view.
        """
        rig, store = self._project.rig, self._project.store
        version = store.version
        marks = store.marks(frame)
        people = [mark for mark in marks if mark.annotator != joint_marks.MACHINE]
        annotator_marks = [mark for mark in people if mark.annotator == annotator]
        # marks that a person requested from the machine replace those of the newest run in their views
        requested = [mark for mark in marks if mark.annotator == joint_marks.MACHINE]
        labels = run_folder.machine_marks(self._project, frame)
        machine = [*requested, *(mark for mark in labels if mark.view not in {mark.view for mark in requested})]
        table = joint_marks.mark_table(rig, people if everyone else annotator_marks)
        solution = joint_marks.solve_joints(rig, table)
        lines = {} if joint is None else joint_marks.epipolar_lines(rig, table, joint)
        shown = {name: rig.index(name) for name in rig.names if not views or name in views}
        return {
            "frame": frame,
            "version": version,
            "marks": [vars(mark) for mark in annotator_marks],
            "others": [vars(mark) for mark in people if mark.annotator != annotator],
            "machine": [vars(mark) for mark in machine],
            "conflicts": joint_marks.conflicts(people),
            "points_m": _json_rows(solution.points_m, 6),
            "sigma_mm": _json_rows(1e3 * solution.std_m, 3),
            "projected": {name: _json_rows(rig[name].project(solution.points_m)) for name in shown},
            "residuals_px": {name: _json_rows(solution.residual_px[k]) for name, k in shown.items()},
            "lines": {name: _json_rows(line) for name, line in lines.items() if name in shown},
            "bones": self._warnings(frame, bones.bone_lengths(solution.points_m, np.array(bones.BONES))),
        }

    def progress(self) -> dict[str, object]:
        """Return how many joints can be triangulated and complete a frame, and the review priority, by frame."""
        store = self._project.store
        needs = {frame: asdict(priority) for frame, priority in store.review_priorities().items()}
        version, frames = store.version, store.triangulable()
        with self._lock:
            self._update()
            joints = {frame: bones.JOINTS_PER_HAND * max(1, self._hands.get(frame, 0)) for frame in frames}
        return {"version": version, "joints": joints, "frames": frames, "needs": needs}

    def agreement(self) -> joint_marks.Agreement:
        """Return the agreement of annotators over all frames."""
        store = self._project.store
        version = store.version
        if self._agreement is None or self._agreement[0] != version:
            self._agreement = version, joint_marks.agreement(store.marks())
        return self._agreement[1]

    def _warnings(self, frame: int, lengths_m: FloatArray) -> list[dict[str, object]]:
        """Return bones whose lengths (40,) differ from those of all frames that people have marked."""
        with self._lock:
            self._update()
            usual = bones.median_of_other_frames(self._bone_lengths, frame)
        return bones.bone_warnings(lengths_m, usual)

    def _update(self) -> None:
        """Measure the bones and count the hands of frames that changed. The caller has the lock."""
        store, rig = self._project.store, self._project.rig
        version = store.version
        changed = store.changed_frames(self._version)
        people: dict[int, list[joint_marks.Mark]] = {}
        for marks in [store.marks()] if len(changed) > 8 else map(store.marks, changed):
            for mark in marks:
                if mark.annotator != joint_marks.MACHINE:
                    people.setdefault(mark.frame, []).append(mark)
        for number in changed:
            marks = people.get(number, [])
            points_m = joint_marks.solve_joints(rig, joint_marks.mark_table(rig, marks)).points_m
            self._bone_lengths[number] = bones.bone_lengths(points_m, np.array(bones.BONES))
            self._hands[number] = len({mark.joint // bones.JOINTS_PER_HAND for mark in marks if mark.has_position})
        self._version = version


def _json_rows(array: FloatArray, digits: int = 2) -> list[Any]:
    """Return rounded numbers as JSON. Unknown numbers and points with unknown numbers are None."""
    finite = np.asarray(np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    rounded = np.round(array, digits).tolist()
    return [value if is_known else None for value, is_known in zip(rounded, finite.tolist(), strict=True)]


class ImageRegion(NamedTuple):
    """Region of an image in pixels."""

    x: int
    y: int
    width: int
    height: int


class _ByteCache:
    """Cache of the last used images, decoded or encoded, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._used = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value: Any = make()
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._used += memoryview(value).nbytes
            while self._used > self._max_bytes and len(self._values) > 1:
                self._used -= memoryview(self._values.popitem(last=False)[1]).nbytes
        return value


def _encode(rgb: Image, longest: int, part: ImageRegion | None) -> bytes:
    import cv2

    if part is not None:
        rgb = rgb[max(part.y, 0) : part.y + part.height, max(part.x, 0) : part.x + part.width]
        if rgb.size == 0:
            raise RefusedError("bad_option", f"region {','.join(map(str, part))} lies outside the image")
    while max(rgb.shape) >= 2 * longest:  # halving is several times as fast as other factors
        rgb = np.asarray(cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_image(rgb, ".jpg", (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))


class OpenProject:
    """An open project and the functions behind the endpoints."""

    def __init__(self, project: Project, service: Service) -> None:
        self.project = project
        self.frames = FrameSetQueries(project)
        self._decoded, self._encoded = _ByteCache(_DECODED_BYTES), _ByteCache(_ENCODED_BYTES)
        self._numbers = frozenset(project.frames)
        self._service = service

    async def work(self, function: Callable[[], T], code: str = "bad_option") -> T:
        """Run a function on one of the server's workers. An InputError becomes a refusal with a code."""
        with _refusing(code):
            return await self._service.run(function)

    def jpeg(self, view: str, frame: int, longest: int, part: ImageRegion | None) -> bytes:
        """Return an image or a region as JPEG, its longer side at most `longest` pixels. Images are never scaled up."""
        key = view, frame, longest, part
        return self._encoded.get(key, lambda: _encode(self.rgb(view, frame), longest, part))

    def rgb(self, view: str, frame: int) -> Image:
        """Return an image, (H, W, 3). Raise InputError if it does not exist."""
        return self._decoded.get((view, frame), lambda: self.project.view(view).read(frame))

    def checked_frame(self, text: str | None) -> int:
        """Return the number of a frame. Raise RefusedError if the project does not contain it."""
        number = _number("frame", text)
        if number not in self._numbers:
            raise RefusedError("not_found", f"frame {number} is not in this project: see the frames of /v1/annotate")
        return number

    def check_views(self, names: Sequence[str]) -> None:
        """Raise RefusedError if the project lacks a view."""
        with _refusing("not_found"):
            for name in names:
                self.project.view(name)

    async def frame_state(self, query: QueryParams, frame: int, annotator: str) -> dict[str, object]:
        """Return the frame set of an annotator as JSON; see `FrameSetQueries.frame` for the parameters of the query."""
        joint = _number("joint", query["joint"], joint_marks.JOINTS - 1) if "joint" in query else None
        everyone = query.get("points", "own") == "all"
        views = query.getlist("view")
        return await self.work(
            partial(self.frames.frame, frame, annotator, joint=joint, views=views, everyone=everyone)
        )

    async def write(self, annotator: str, records: list[Any]) -> dict[str, list[dict[str, object]]]:
        """Store a client's marks; return id and version if `written`, id and the newer mark `there` if `refused`."""
        with _refusing("bad_option"):
            bases = [record.pop("base", None) if isinstance(record, dict) else None for record in records]
            marks = [joint_marks.mark_from_dict(record, annotator) for record in records]
            for mark in marks:
                self.project.view(mark.view)
                if mark.frame not in self._numbers:
                    raise InputError(f"mark {mark.id}: frame {mark.frame} is not in this project")
            if not all(base is None or type(base) is int for base in bases):
                raise InputError("base: give the version of the mark that was there, 0 for none")
        results = await self.work(partial(self.project.store.add, marks, bases))
        return {
            "written": [{"id": result.mark.id, "version": result.mark.version} for result in results if result.written],
            "refused": [
                {"id": mark.id, "there": vars(result.mark)}
                for mark, result in zip(marks, results, strict=True)
                if not result.written
            ],
        }

    async def prelabel(self, frame: int, views: list[str]) -> None:
        """Mark views of a frame set with Sonjit's hand detector."""
        options = SessionOptions.from_values("hands", read_options("hands", {"model": "full"}), still=True)
        async with self._service.detector(options) as detector:

            def detect() -> list[joint_marks.Mark]:
                marks: list[joint_marks.Mark] = []
                for view in views:
                    if frame in self.project.view(view).numbers:
                        marks += prelabel(detector.detect, self.rgb(view, frame), frame, view)
                return marks

            marks = await self.work(detect, "bad_image")
        await self.work(partial(self.project.store.add, marks))


def project_routes(folder: Path, service: Service) -> ProjectRoutes:
    """Open the annotation project in a folder for a server."""
    project = open_project(folder)
    return ProjectRoutes(annotation_router(OpenProject(project, service), service), project.close)


def annotation_router(studio: OpenProject, service: Service) -> APIRouter:
    """Return the endpoints of a project."""
    router = APIRouter(prefix="/v1/annotate", tags=["annotation"])
    _add_frame_routes(router, studio)
    _add_mark_routes(router, studio, service)
    _add_review_routes(router, studio)
    return router


def _add_frame_routes(router: APIRouter, studio: OpenProject) -> None:
    """Add the endpoints that read the project, its images and its frame sets."""

    @router.get("")
    async def project() -> Response:
        """Return the views, frames, joints and bones of the project."""
        return JSONResponse(await studio.work(studio.frames.project))

    @router.get("/image")
    async def image(request: Request) -> Response:
        """Return the JPEG of `view` at `frame` with at most `longest` pixels, or its `region=x,y,width,height`."""
        query = request.query_params
        frame = studio.checked_frame(query.get("frame"))
        longest = _number("longest", query.get("longest", "1280"), _MAX_SIDE_PX, minimum=16)
        part = _region(query["region"]) if "region" in query else None
        view = query.get("view", "")
        studio.check_views([view])
        jpeg = await studio.work(partial(studio.jpeg, view, frame, longest, part), "bad_image")
        return Response(jpeg, media_type="image/jpeg", headers=_CACHE_HEADERS)

    @router.get("/frames/{frame}")
    async def frame_state(request: Request, frame: str) -> Response:
        """Return a frame set of `annotator`. `joint` adds epipolar lines; `points=all` uses the marks of everyone."""
        query = request.query_params
        return JSONResponse(await studio.frame_state(query, studio.checked_frame(frame), _annotator(query)))


def _add_mark_routes(router: APIRouter, studio: OpenProject, service: Service) -> None:
    """Add the endpoints that store marks."""

    @router.post("/marks")
    async def mark(request: Request) -> Response:
        """Store marks of `annotator`. The answer also contains the frame set of the last mark."""
        with service.body(request) as limited:
            body = await limited.body()
        sent = _object(body)
        annotator = _annotator(sent)
        records = sent.get("marks")
        if not isinstance(records, list) or not 0 < len(records) <= _MAX_MARKS:
            raise RefusedError("bad_option", f"marks: give a list of 1 to {_MAX_MARKS}")
        answer = await studio.write(annotator, records)
        state = await studio.frame_state(request.query_params, records[-1]["frame"], annotator)
        return JSONResponse({**answer, "state": state})

    @router.post("/prelabel")
    async def label(request: Request) -> Response:
        """Mark `frame` with Sonjit's hand detector, in each `view` or in all views."""
        query = request.query_params
        frame, annotator = studio.checked_frame(query.get("frame")), _annotator(query)
        views = query.getlist("view") or list(studio.project.rig.names)
        studio.check_views(views)
        await studio.prelabel(frame, views)
        return JSONResponse(await studio.frame_state(query, frame, annotator))


def _add_review_routes(router: APIRouter, studio: OpenProject) -> None:
    """Add the endpoints for the progress, the changes and the agreement of annotators."""
    store = studio.project.store

    @router.get("/progress")
    async def progress() -> Response:
        """Number of joints that can be triangulated and review priority, by frame."""
        return JSONResponse(await studio.work(studio.frames.progress))

    @router.get("/changes")
    async def changes(request: Request) -> Response:
        """Return the frames that changed after the version `since`, and their annotators."""
        since = _number("since", request.query_params.get("since"))
        version = store.version
        return JSONResponse({"version": version, "frames": await studio.work(partial(store.changed_frames, since))})

    @router.get("/history")
    async def history(request: Request) -> Response:
        """Return all versions of the marks of `frame` in order."""
        frame = studio.checked_frame(request.query_params.get("frame"))
        return JSONResponse([vars(mark) for mark in await studio.work(partial(store.history, frame))])

    @router.get("/agreement")
    async def agreement() -> Response:
        """Return the agreement of annotators over all frames."""
        return JSONResponse(await studio.work(studio.frames.agreement))


@contextmanager
def _refusing(code: str) -> Generator[None]:
    try:
        yield
    except InputError as error:
        raise RefusedError(code, str(error)) from None


def _annotator(values: Any) -> str:  # noqa: ANN401  # query or JSON object
    name = values.get("annotator")
    with _refusing("bad_option"):
        if not isinstance(name, str) or joint_marks.check_name("annotator", name) == joint_marks.MACHINE:
            raise InputError(f"annotator {name!r:.60}: give a name; {joint_marks.MACHINE!r} is reserved")
    return name


def _number(name: str, text: str | None, maximum: int = 1 << 53, minimum: int = 0) -> int:
    is_number = text is not None and text.isascii() and text.isdecimal() and len(text) < 17
    if text is None or not is_number or not minimum <= int(text) <= maximum:
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
